"""What can be measured only once in a process: the first import, the first commands, the memory at its peak.

python -m benchmarks.fresh HOST PORT start PACKAGE MODULE CLASS
python -m benchmarks.fresh HOST PORT fill|memory COUNT MODULE CLASS
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

AT_ONCE: Final = 10_000


def imports(host: str, port: str, package: str, model: str) -> dict[str, float]:  # noqa: ARG001  # as the others
    """Milliseconds, and those of CPU time, of the import beyond that of redis-py and pydantic.

    pydantic imports most of itself only when the first *model* is made.
    """
    importlib.import_module("redis")
    pydantic = importlib.import_module("pydantic")
    if model:
        pydantic.TypeAdapter(pydantic.create_model("Model", name=(str, ...)))
    wall, cpu = time.perf_counter(), time.process_time()
    importlib.import_module(package)
    return {"wall": (time.perf_counter() - wall) * 1e3, "CPU": (time.process_time() - cpu) * 1e3}


def start(host: str, port: str, module: str, name: str) -> dict[str, float]:
    """Milliseconds from nothing but what is imported to the first reply."""
    kind, make = maker(host, port, module, name)
    figures: dict[str, float] = {}
    for what, payload, method in (
        ("increment", "int", "counter_increment"),
        ("push, then pop a model", "model", "queue_push_pop"),
    ):
        if hasattr(kind, method) and payload in kind.payloads:
            began = time.perf_counter()
            client = make(payload)
            getattr(client, method)()
            figures[what] = (time.perf_counter() - began) * 1e3
            client.close()
    return figures


def fill(host: str, port: str, count: str, module: str, name: str) -> dict[str, float]:
    """Put elements there."""
    _, make = maker(host, port, module, name)
    client = make("model")
    client.forget()
    for _ in range(int(count) // AT_ONCE):
        client.queue_load(AT_ONCE)
    client.close()
    return {}


def memory(host: str, port: str, count: str, module: str, name: str) -> dict[str, float]:
    """Megabytes that going through all of them takes beyond what the process had, when it had looked at one."""
    _, make = maker(host, port, module, name)
    client = make("model")
    client.queue_size()
    idle = resident("VmRSS")
    seen = sum(1 for _ in client.queue_iterate())
    peak = resident("VmHWM")
    client.forget()
    client.close()
    assert seen == int(count)
    return {"megabytes": (peak - idle) / 1024}


def maker(host: str, port: str, module: str, name: str) -> tuple[Any, Callable[[str], Any]]:
    from benchmarks.client import Server  # noqa: PLC0415  # not before what is timed
    from benchmarks.payload import PAYLOADS  # noqa: PLC0415  # as above

    redis = importlib.import_module("redis")
    kind = getattr(importlib.import_module(module), name)
    server = Server(host, int(port), redis.Redis(host=host, port=int(port)))

    def make(payload: str) -> Any:
        return kind(server, PAYLOADS[payload], f"fresh/{name}/{payload}")

    return kind, make


def resident(what: str) -> int:
    """Kilobytes of this process in memory: now (`VmRSS`), or at most so far (`VmHWM`).

    Linux tells; what `getrusage` calls the maximum begins with that of the parent.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0])


def main(host: str, port: str, what: str, *arguments: str) -> None:
    measures: dict[str, Callable[..., dict[str, float]]]
    measures = {"imports": imports, "start": start, "fill": fill, "memory": memory}
    print(json.dumps(measures[what](host, port, *arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
