"""What redisext 2.0.2 stores, and what it reads back: writes `redisext_2_0_2.json`, beside this file.

It is run where that version is installed, by hand, and needs a redis-server on PATH:

    python3.11 -m venv old
    old/bin/pip install redisext==2.0.2 "redis<5"
    old/bin/python tests/data/make_redisext_2_0_2.py

Values stand in the JSON as Python writes them, stored bytes in hexadecimal.
"""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

# Not the redisext that this repository holds, whose types a checker would take these for.
redis: Any = import_module("redis")
serializer: Any = import_module("redisext.serializer")
backend: Any = import_module("redisext.backend.redis")

ANYTHING = [
    *("0", "1", "-5", "1000000000000000000000000000000"),
    *("0.0", "-0.0", "1.5", "1.9", "1e16", "1e-7", "1e999"),
    *("''", "'text'", r"'\u2603'", r"'\ud800'", "'5'", "'null'", "' '", r"""'"quoted"\n'"""),
    *("b''", "b'bytes'", r"b'\xff\x00'"),
    *("True", "False", "None"),
    *("[]", "[1, [2]]", "{}", "{'b': [], 'a': 1}", "{1: 'a'}", "()", "(1, 2)", "{1}"),
]
"""Values by their source, which is read as a literal: infinity has none of its own."""

STRUCTURES: list[tuple[str, str | None, list[tuple[object, ...]], tuple[object, ...]]] = [
    ("queue.Queue", "JSON", [("push", {"a": 1}), ("push", "b"), ("push", 0)], ("items",)),
    ("queue.Queue", "Pickle", [("push", (1, 2)), ("push", "b")], ("items",)),
    ("queue.Queue", None, [("push", b"\xff"), ("push", "b")], ("items",)),
    ("queue.PriorityQueue", "JSON", [("push", "late", 7), ("push", "soon", -1)], ("pop",)),
    ("stack.Stack", "String", [("push", "first"), ("push", "last")], ("pop",)),
    ("pool.Pool", "Numeric", [("push", 5), ("push", 7), ("push", 5)], ("members",)),
    ("pool.SortedSet", "String", [("add", "low", 1), ("add", "high", 2.5)], ("members", True)),
    ("hashmap.HashMap", "JSON", [("set", "k", [1]), ("set", "n", 5)], ("get", "k")),
    ("hashmap.Map", "JSON", [("set", {"a": [1, 2]})], ("get",)),
    ("hashmap.Map", "Numeric", [("set", 5), ("incr", 2)], ("get",)),
    ("counter.Counter", "Numeric", [("incr",), ("incr", 4)], ("get",)),
]
"""Class, serializer, calls, and the call that reads."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(port=port)
            wait_for(client)
            names = (None, "String", "Numeric", "JSON", "Pickle")
            values = [stored(client, name, source) for name in names for source in ANYTHING]
            structures = [laid_out(client, *structure) for structure in STRUCTURES]
        finally:
            server.terminate()
            server.wait()
    lines = [",\n".join(map(json.dumps, records)) for records in (values, structures)]
    text = '{"values": [\n' + lines[0] + '\n], "structures": [\n' + lines[1] + "\n]}\n"
    Path(__file__).with_name("redisext_2_0_2.json").write_text(text)


def wait_for(client: Any) -> None:
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.01)
        else:
            return


def model_of(client: Any, path: str, name: str | None) -> Any:
    """A model on a new key of the private server."""
    module, _, class_name = path.partition(".")
    base = getattr(import_module(f"redisext.{module}"), class_name)
    where = {"host": "127.0.0.1", "port": client.connection_pool.connection_kwargs["port"], "db": 0}
    attributes = {"CONNECTION": type("Connection", (backend.Connection,), {"MASTER": where})}
    if name is not None:
        attributes["SERIALIZER"] = getattr(serializer, name)
    client.flushdb()
    return type(class_name, (base,), attributes)("key")


def stored(client: Any, name: str | None, source: str) -> dict[str, object]:
    """One value, put into a Map by one serializer, and got from it."""
    model = model_of(client, "hashmap.Map", name)
    result: dict[str, object] = {"serializer": name, "value": source, "stored": None, "read": None}
    try:
        model.set(ast.literal_eval(source))
        result["stored"] = client.get("key").hex()
        result["read"] = repr(model.get())
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what 2.0.2 does
        result["error"] = type(error).__name__
    return result


def laid_out(
    client: Any,
    path: str,
    name: str | None,
    calls: list[tuple[object, ...]],
    read: tuple[object, ...],
) -> dict[str, object]:
    """The keys that some calls leave, and what one more call reads."""
    model = model_of(client, path, name)
    for method, *arguments in calls:
        getattr(model, str(method))(*arguments)
    content: dict[bytes, Any] = {
        b"string": lambda: [client.get("key")],
        b"list": lambda: client.lrange("key", 0, -1),
        b"set": lambda: sorted(client.smembers("key")),
        b"zset": lambda: client.execute_command("ZRANGE", "key", 0, -1, "WITHSCORES"),
        b"hash": lambda: [part for item in sorted(client.hgetall("key").items()) for part in item],
    }
    kind = client.type("key")
    parts: list[Any] = content[kind]()
    result: dict[str, object] = {
        "class": path,
        "serializer": name,
        "calls": repr(calls),
        "type": kind.decode(),
        "content": [(part if isinstance(part, bytes) else repr(part).encode()).hex() for part in parts],
    }
    method, *arguments = read
    return result | {"read": repr(read), "gives": repr(getattr(model, str(method))(*arguments))}


if __name__ == "__main__":
    main()
