"""What is measured: one entry for each operation; `method` is what a client calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias, cast

ALL: Final = ("int", "str", "model", "nested")

CHUNK: Final = 1_000
"""How many are sent or fetched at once where a client leaves that to its user."""

BEST: Final = 10
"""How many elements a sorted set holds while one is added to it and all are read."""

THREADS: Final = 16
TASKS: Final = 100


class How(Enum):
    IN_A_ROW = "in a row"
    IN_THREADS = "in threads"
    LOAD = "load"
    ITERATE = "iterate"
    AWAITED = "awaited in a row"
    IN_TASKS = "in tasks"

    @property
    def awaits(self) -> bool:
        return self in {How.AWAITED, How.IN_TASKS}


Shows: TypeAlias = Callable[[object, object, int], bool]
"""Whether the work was done: judged by what a client is expected to give, what it gave, and how often it did it."""


def value(expected: object, found: object, _: int) -> bool:
    return found == expected


def yes(_: object, found: object, __: int) -> bool:
    return found is True


def first_of_ten(expected: object, found: object, _: int) -> bool:
    values = [*cast("Iterable[object]", found)]
    return len(values) == BEST and values[-1] == expected


def count(_: object, found: object, done: int) -> bool:
    return found == done


def elements(expected: object, found: object, done: int) -> bool:
    kinds = [type(one) for one in cast("Iterable[object]", found)]
    return len(kinds) == done and {*kinds} == {type(expected)}


@dataclass(frozen=True)
class Operation:
    """`times` it is done in one measurement, by each of the threads or tasks; `every` so many rounds there is one.

    How it is known to be done: the server must have seen so many `commands` at least for one of it, and what the method
    `proof` (the operation itself, unless another is named) gives then, must be what `shows` it.
    `first` is a method that has to be called once before.
    """

    title: str
    method: str
    how: How = How.IN_A_ROW
    payloads: tuple[str, ...] = ALL
    times: int = 100
    every: int = 1
    size: int = 0
    commands: int = 1
    first: str = ""
    proof: str = ""
    shows: Shows = value


OPERATIONS: Final = (
    Operation("counter: increment", "counter_increment", payloads=("int",), proof="counter_value", shows=count),
    Operation("map: set", "map_set", proof="map_get"),
    Operation("map: get", "map_get", first="map_set"),
    Operation("hash: set", "hash_set", proof="hash_get"),
    Operation("hash: get", "hash_get", first="hash_set"),
    Operation("queue: push, then pop", "queue_push_pop", times=50, commands=2),
    Operation("set: add, then contains", "set_add_contains", times=50, commands=2, shows=yes),
    Operation(
        "sorted set: add, then all of 10",
        "sorted_add_range",
        times=50,
        commands=2,
        first="sorted_fill",
        shows=first_of_ten,
    ),
    Operation(
        "batch of 100: increment",
        "batch_increment",
        payloads=("int",),
        times=5,
        size=100,
        proof="counter_value",
        shows=count,
    ),
    Operation("batch of 100: set", "batch_set", payloads=("model",), times=5, size=100, proof="map_get"),
    Operation("batch of 100: get", "batch_get", payloads=("model",), times=5, size=100, first="map_set"),
    Operation("batch of 100: push, then pop", "batch_push_pop", payloads=("model",), times=5, size=100),
    Operation(
        "batch of 10,000: increment",
        "batch_increment",
        payloads=("int",),
        times=1,
        size=10_000,
        proof="counter_value",
        shows=count,
        every=3,
    ),
    Operation("batch of 10,000: set", "batch_set", payloads=("model",), times=1, size=10_000, proof="map_get", every=3),
    Operation("batch of 10,000: get", "batch_get", payloads=("model",), times=1, size=10_000, first="map_set", every=3),
    Operation(
        "bulk load 100,000: queue",
        "queue_load",
        How.LOAD,
        ("model",),
        size=100_000,
        every=3,
        proof="queue_size",
        shows=count,
    ),
    Operation(
        "bulk load 100,000: hash",
        "hash_load",
        How.LOAD,
        ("model",),
        size=100_000,
        every=3,
        proof="hash_size",
        shows=count,
    ),
    Operation(
        "iterate 100,000: queue",
        "queue_iterate",
        How.ITERATE,
        ("model",),
        size=100_000,
        every=3,
        first="queue_load",
        shows=elements,
    ),
    Operation(
        "iterate 100,000: hash",
        "hash_iterate",
        How.ITERATE,
        ("model",),
        size=100_000,
        every=3,
        first="hash_load",
        shows=elements,
    ),
    Operation(
        "16 threads: increment",
        "counter_increment",
        How.IN_THREADS,
        ("int",),
        times=20,
        proof="counter_value",
        shows=count,
    ),
    Operation("16 threads: push, then pop", "queue_push_pop", How.IN_THREADS, ("model",), times=10, commands=2),
    Operation("16 threads: map get", "map_get", How.IN_THREADS, ("model",), times=20, first="map_set"),
    Operation(
        "100 tasks: increment", "counter_increment", How.IN_TASKS, ("int",), times=5, proof="counter_value", shows=count
    ),
    Operation("100 tasks: push, then pop", "queue_push_pop", How.IN_TASKS, ("model",), times=3, commands=2),
    Operation("100 tasks: map set", "map_set", How.IN_TASKS, ("model",), times=5, proof="map_get"),
    Operation("100 tasks: map get", "map_get", How.IN_TASKS, ("model",), times=5, first="map_set"),
    Operation(
        "asyncio, one by one: increment", "counter_increment", How.AWAITED, ("int",), proof="counter_value", shows=count
    ),
    Operation("asyncio, one by one: push, then pop", "queue_push_pop", How.AWAITED, ("model",), times=50, commands=2),
    Operation("asyncio, one by one: map get", "map_get", How.AWAITED, ("model",), first="map_set"),
)
