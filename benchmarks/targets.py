"""What is wanted of Redisext, beside what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.operations import OPERATIONS
from benchmarks.results import Quartiles, Results, beside, quartiles

REDISEXT: Final = "Redisext"
ASYNCIO: Final = "Redisext, asyncio"
OWN: Final = frozenset({REDISEXT, ASYNCIO, "Redisext, embedded", "Redisext, exactly once"})

SINGLE: Final = (
    ("counter: increment", "int"),
    ("queue: push, then pop", "model"),
    ("hash: get", "model"),
    ("hash: set", "model"),
)
BATCHES: Final = tuple((one.title, one.payloads[0]) for one in OPERATIONS if one.title.startswith("batch of 100:"))
BULK: Final = tuple((one.title, "model") for one in OPERATIONS if one.title.startswith(("bulk", "iterate")))
THREADED: Final = tuple((one.title, one.payloads[0]) for one in OPERATIONS if one.title.startswith("16 threads"))
TASKED: Final = tuple((one.title, one.payloads[0]) for one in OPERATIONS if one.title.startswith("100 tasks"))

MEMORY: Final = "memory, iterating 1,000,000"
IMPORTS: Final = {"import beyond redis and pydantic, a model made": "model", "import beyond redis and pydantic": ""}
"""Whether a model was made before: pydantic imports most of itself only then."""


@dataclass(frozen=True)
class Target:
    """`wanted` is the most that it may be; None where it is for information only."""

    what: str
    beside: str
    unit: str
    wanted: float | None
    measured: Quartiles | None

    @property
    def met(self) -> bool | None:
        if self.measured is None or self.wanted is None:
            return None
        return self.measured[1] <= self.wanted


def targets(results: Results) -> Iterator[Target]:
    for cases, client, other, wanted in (
        (SINGLE, REDISEXT, "redis-py", 0.80),
        (SINGLE, REDISEXT, "bare socket", 1.35),
        (BATCHES, REDISEXT, "redis-py", 0.40),
        (BULK, REDISEXT, "redis-py, json", 0.50),
        (THREADED, REDISEXT, "redis-py", 0.80),
        (SINGLE, "Redisext, embedded", "redis-py", 1.0),
        (TASKED, ASYNCIO, "redis.asyncio", 0.20),
        (TASKED, ASYNCIO, "valkey-glide", 1.0),
        ((SINGLE[0], SINGLE[1]), "Redisext, exactly once", REDISEXT, None),
    ):
        for operation, payload in cases:
            what = f"{operation} ({payload})"
            if client not in {REDISEXT, ASYNCIO}:
                what = f"{client.partition(', ')[2]}: {what}"
            yield Target(what, other, "x", wanted, ratio(results, operation, payload, client, other))
    models, bare = IMPORTS
    for what, other, unit, wanted in (
        (models, "wall time", "ms", 30.0),
        (f"{models}, CPU", "CPU time", "ms", 30.0),
        (f"{bare}, CPU", "CPU time", "ms", None),
        (MEMORY, "idle", "MB", 30.0),
    ):
        figure = results.figure(what, REDISEXT)
        yield Target(what, other, unit, wanted, quartiles(figure.values) if figure else None)
    against = list(neighbours(results))
    slower = [target for target in against if not target.met]
    yield Target(
        f"no slower than any neighbour: {len(against) - len(slower)} of {len(against)} comparisons",
        "each neighbour",
        "",
        0,
        (len(slower), len(slower), len(slower)) if against else None,
    )
    yield from slower


def ratio(results: Results, operation: str, payload: str, client: str, other: str) -> Quartiles | None:
    ours, theirs = results.row(operation, payload, client), results.row(operation, payload, other)
    return beside(ours, theirs) if ours and theirs else None


def neighbours(results: Results) -> Iterator[Target]:
    """Redisext beside each of the other libraries, in each case that it can do."""
    for row in results.rows:
        if row.client in OWN or row.client.startswith(("redis-py", "redis.asyncio", "bare socket")):
            continue
        for client in (REDISEXT, ASYNCIO):
            measured = ratio(results, row.operation, row.payload, client, row.client)
            if measured:
                yield Target(row.what, row.client, "x", 1.0, measured)
