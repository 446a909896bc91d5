"""One environment's process: it is told over stdin what to measure, and answers over stdout, a line of JSON each.

    python -m benchmarks.worker HOST PORT MODULE...

The first of the modules has the controls, redis-py and redis.asyncio; all others are measured beside these. A case is
one operation on one payload, done by every client here that can. Each client has connections and a key of its own in
each case. Before a client is measured it has to show that it does the work, and once more when all is over.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

import redis

from benchmarks.client import AsyncClient, Client, Server
from benchmarks.operations import OPERATIONS, TASKS, THREADS, How, Operation
from benchmarks.payload import PAYLOADS

LONGEST: Final = 4.0
"""Seconds that one measurement may take; who would need longer is given less to do, and its time multiplied."""


class NotDone(Exception):
    """A client did not do the work."""


@dataclass
class Contender:
    """A client in a case: how much it is given to do at once, and how much it has done."""

    client: Client[Any]
    size: int
    done: int = 0


@dataclass
class Case:
    operation: Operation
    contenders: dict[str, Contender] = field(default_factory=dict[str, Contender])


class Worker:
    def __init__(self, host: str, port: int, modules: list[str]) -> None:
        self.server = Server(host, port, redis.Redis(host=host, port=port))
        self.kinds: dict[type[Client[Any]], str] = {
            kind: module for module in modules for kind in importlib.import_module(module).CLIENTS
        }
        self.controls = modules[0]
        self.cases: dict[tuple[int, str], Case] = {}
        self.threads = ThreadPoolExecutor(THREADS)
        self.loop = asyncio.Runner()

    # --- What it can be told

    def about(self) -> dict[str, object]:
        """Which clients are here."""
        return {
            "python": platform.python_version(),
            "redis-py": version("redis"),
            "clients": {
                kind.title: {
                    "about": kind.about,
                    "package": kind.package,
                    "imported alone": "package" in vars(kind) and self.kinds[kind] != self.controls,
                    "module": module,
                    "class": kind.__name__,
                }
                for kind, module in self.kinds.items()
            },
        }

    def prepare(self, number: int, payload: str, size: int) -> dict[str, object]:
        """Make a case: who is in it, and why others that should be are not."""
        operation = OPERATIONS[number]
        case = self.cases[number, payload] = Case(operation)
        failed: dict[str, str] = {}
        able = [
            kind
            for kind in self.kinds
            if issubclass(kind, AsyncClient) is operation.how.awaits and kind.can(operation, payload)
        ]
        if all(self.kinds[kind] == self.controls for kind in able):
            able = []  # there is nobody to measure
        for kind in able:
            key = f"{os.getpid()}/{kind.title}/{number}/{payload}".replace(" ", "-")
            contender = Contender(kind(self.server, PAYLOADS[payload], key), size)
            try:
                self.begin(contender, operation)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the client's, and is told
                failed[kind.title] = f"{type(error).__name__}: {error}"
            else:
                case.contenders[kind.title] = contender
        gc.collect()
        gc.freeze()  # what stays is not looked through again and again while others are measured
        return {"sizes": {title: one.size for title, one in case.contenders.items()}, "failed": failed}

    def round(self, number: int, payload: str, backwards: bool, only: list[str]) -> dict[str, object]:
        """Have each client of a case (or *only* some) do the work once; the wall and the CPU time (seconds) of each."""
        case = self.cases[number, payload]
        order = [title for title in case.contenders if not only or title in only]
        if backwards:
            order.reverse()
        return {title: self.measure(case.contenders[title], case.operation) for title in order}

    def end(self) -> dict[str, str]:
        """Have all clients show once more that the work was done, and close them; who could not."""
        failed: dict[str, str] = {}
        for case in self.cases.values():
            for title, contender in case.contenders.items():
                try:
                    self.check(contender, case.operation)
                except Exception as error:  # noqa: BLE001  # as in `prepare`
                    failed[title] = f"{case.operation.title}: {type(error).__name__}: {error}"
                if isinstance(contender.client, AsyncClient):
                    self.loop.run(contender.client.aclose())
                contender.client.close()
        self.loop.close()
        self.threads.shutdown()
        return failed

    # --- How it is done

    def begin(self, contender: Contender, operation: Operation) -> None:
        client = contender.client
        if isinstance(client, AsyncClient):
            self.loop.run(client.open())
        if operation.how in {How.LOAD, How.ITERATE}:
            self.fit(contender, operation)
        elif operation.first:
            self.call(client, operation.first)
        before = self.server.commands()
        self.measure(contender, operation)
        seen, least = self.server.commands() - before, self.least(operation, contender.size)
        if seen < least and not client.embedded:
            raise NotDone(f"the server has seen {seen} commands, where there should be {least}")
        self.check(contender, operation)

    def fit(self, contender: Contender, operation: Operation) -> None:
        """Give it less to do, if all would take too long."""
        whole = contender.size
        for part in (1_000, 10_000, whole):
            contender.size = part
            if operation.how is How.ITERATE:
                self.fill(contender, operation.first)
            if part < whole:
                wall = min(self.measure(contender, operation)[0] for _ in range(3))  # the machine may be busy
                if wall * whole / part > LONGEST:
                    return

    def fill(self, contender: Contender, load: str) -> None:
        contender.client.forget()
        getattr(contender.client, load)(contender.size)

    def least(self, operation: Operation, size: int) -> int:
        """The fewest commands that one measurement can be."""
        if operation.how in {How.LOAD, How.ITERATE}:
            return 1
        at_once = {How.IN_THREADS: THREADS, How.IN_TASKS: TASKS}.get(operation.how, 1)
        return operation.commands * operation.times * at_once * (size or 1)

    def measure(self, contender: Contender, operation: Operation) -> tuple[float, float]:
        """Seconds of wall time, and of this process's CPU time."""
        client, times = contender.client, operation.times
        work: Callable[..., Any] = getattr(client, operation.method)
        if operation.how is How.LOAD:
            client.forget()
        gc.collect()
        match operation.how:
            case How.IN_A_ROW if operation.size:
                contender.done += times * contender.size
                return timed(lambda: repeat(times, lambda: work(contender.size)))
            case How.IN_A_ROW:
                contender.done += times
                return timed(lambda: repeat(times, work))
            case How.IN_THREADS:
                contender.done += times * THREADS
                return timed(lambda: consume(self.threads.map(repeat, [times] * THREADS, [work] * THREADS)))
            case How.LOAD:
                contender.done = contender.size
                return timed(lambda: work(contender.size))
            case How.ITERATE:
                contender.done = contender.size
                return timed(lambda: consume(work()))
            case How.AWAITED:
                contender.done += times
                return self.loop.run(atimed(lambda: arepeat(times, work)))
            case How.IN_TASKS:
                contender.done += times * TASKS
                return self.loop.run(atimed(lambda: in_tasks(times, work)))

    def check(self, contender: Contender, operation: Operation) -> None:
        """Raise if the work was not done."""
        client = contender.client
        takes_size = contender.size and not operation.proof and operation.how is not How.ITERATE
        found = self.call(client, operation.proof or operation.method, *([contender.size] if takes_size else []))
        if not operation.shows(client.expected, found, contender.done):
            raise NotDone(f"{operation.proof or operation.method} gives {found!r:.80} after {contender.done}")

    def call(self, client: Client[Any], method: str, *arguments: int) -> object:
        result = getattr(client, method)(*arguments)
        return self.loop.run(result) if isinstance(client, AsyncClient) else result


def repeat(times: int, work: Callable[[], object]) -> None:
    for _ in range(times):
        work()


def consume(elements: Iterable[object]) -> None:
    for _ in elements:
        pass


async def arepeat(times: int, work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(times):
        await work()


async def in_tasks(times: int, work: Callable[[], Awaitable[object]]) -> None:
    await asyncio.gather(*(arepeat(times, work) for _ in range(TASKS)))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


async def atimed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(host: str, port: str, *modules: str) -> None:
    # What a client prints is not taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(host, int(port), [*modules])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answer = getattr(worker, name)(**arguments)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
