"""What the package says of each of its operations, held against what the server says of its commands."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

import pytest

import redisext
from redisext.command import Op
from tests.servers import RedisServer

REPEATABLE: Final = {
    "WATCH": "a key may be watched twice",
    "GET": "it only reads, of the primary",
    "HGET": "it only reads, of the primary",
    "EXISTS": "it only reads, of the primary",
    "BLPOP": "it wakes who waits for a lock; one that was taken and lost only lets a waiter look again later",
    "BLMOVE": "it moves an element to where it is",
    "wait for the lock no longer": "it is of one token, of which nobody speaks but the one who leaves",
    "extend the lock": "it is of one token, and both times for as long",
    "see whether the transaction was carried out": "it is decided once, and what was decided stays",
    "put back what was taken": "a second time there is nothing left in the record to put back",
}
"""What is repeatable although it may do more than read, and why."""


def found_in(what: object, seen: set[int]) -> Iterator[Op]:
    """The operations in a value, and in what it is made of."""
    if id(what) in seen:
        return
    seen.add(id(what))
    if isinstance(what, Op):
        yield what
        return
    parts: Iterable[object] = ()
    if isinstance(what, Mapping):
        parts = cast("Mapping[object, object]", what).values()
    elif isinstance(what, (tuple, list, set, frozenset)):
        parts = cast("Iterable[object]", what)
    elif ours(what if isinstance(what, type) else type(what)):
        parts = getattr(what, "__dict__", {}).values()
    for part in [*parts]:
        yield from found_in(part, seen)


def ours(kind: type) -> bool:
    return kind.__module__.startswith("redisext")


def operations() -> dict[str, Op]:
    """All of the package, each by where it stands and its name."""
    found: dict[str, Op] = {}
    for module in pkgutil.walk_packages(redisext.__path__, "redisext."):
        for name, value in vars(importlib.import_module(module.name)).items():
            for op in found_in(value, set()):
                if op.name:  # the one that stands for any that reads has none
                    found[f"{module.name.removeprefix('redisext.')}.{name}: {op.name}"] = op
    return found


OPERATIONS: Final = operations()
COMMANDS: Final = {name: op for name, op in OPERATIONS.items() if op.script is None}
SCRIPTS: Final = {name: op for name, op in OPERATIONS.items() if op.script is not None}


def flags(server: RedisServer, command: str) -> set[str]:
    """What the server says of *command*."""
    [told] = cast("list[list[list[bytes]]]", server.call("COMMAND", "INFO", command))
    return {one.decode() for one in told[2]}


def called(op: Op) -> set[str]:
    """The commands that its script calls."""
    assert op.script is not None
    return {*re.findall(r'redis\.p?call\("(\w+)"', op.script.source)}


def test_they_are_all_found() -> None:
    names = {op.name for op in OPERATIONS.values()}
    assert {"GET", "ZADD", "BRPOP", "RPOP", "BLMOVE", "WATCH", "length and first page", "release the lock"} <= names
    assert len(COMMANDS) > 60
    assert len(SCRIPTS) > 12


@pytest.mark.parametrize("op", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_is_what_the_server_says_it_is(server: RedisServer, op: Op) -> None:
    told = flags(server, op.name)
    assert op.blocks == ("blocking" in told)
    if op.reads:
        assert "readonly" in told
        assert "write" not in told
    else:
        # What only reads may be asked of the primary, and then it is named with its reason.
        assert "readonly" not in told or op.name in REPEATABLE
    assert not op.recorded


@pytest.mark.parametrize("op", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_script_is_what_its_commands_are(server: RedisServer, op: Op) -> None:
    commands = called(op)
    assert commands
    writes = {name for name in commands if "write" in flags(server, name)}
    assert op.reads == (not writes)
    assert not op.blocks
    assert not any("blocking" in flags(server, name) for name in commands)


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_what_is_repeatable_only_reads_or_has_a_reason(op: Op) -> None:
    if op.repeatable:
        assert op.reads or op.name in REPEATABLE
    else:
        assert not op.reads


def test_each_reason_is_needed() -> None:
    assert {op.name for op in OPERATIONS.values() if op.repeatable and not op.reads} == {*REPEATABLE}
