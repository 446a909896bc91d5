"""What workers do with each structure while things fail, and how it is judged.

    history = History()
    run_threads([QueueWorkload()], backend, history, seed=7, enough=after(history, 500))
    findings = judge([QueueWorkload()], history, direct)

A workload is written once for both faces: a generator of the calls that one worker makes, which is sent the record of
each. `run_threads` makes them through the structures of a `Backend`, `run_tasks` through those of an `AsyncBackend`.
What they are run on is given to them, so whatever a backend can be told (to retry, exactly once) they are tried with.

Each worker moves to another key after some calls, all at about the same time, so that the history of each key is short
enough to be searched. What is pushed has a name that nobody else gives.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Hashable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final, Protocol, TypeAlias, cast

import redisext
from redisext.backend.abc import AsyncBackend, Backend
from redisext.batch import AsyncTransaction, Pending, Transaction
from redisext.command import Command
from redisext.errors import LockNotOwned
from tests.faults import checker
from tests.faults.checker import Elements, Findings
from tests.faults.history import Cancelled, History, Outcome, Record
from tests.faults.linearizability import (
    CounterModel,
    LockModel,
    QueueModel,
    RegisterModel,
    StackModel,
    by_structure,
)
from tests.threads import start

PACE: Final = 0.003
"""How long (seconds) a worker whose call failed waits before the next one."""

PATIENCE: Final = 60
"""How long (seconds) a run may go on after it should have ended."""

LONG: Final = 600
"""An expiry (seconds) that no run lives to see."""


def _itself(_model: object, result: object) -> object:
    return result


@dataclass(frozen=True)
class Call:
    """A call of `method` on the structure of this `kind` under `key`, and how it is recorded.

    `read` makes the answer of the structure and what the method gave; where it raises the error in `refused`, the other
    one there is the answer. A task cancels it after `cancel` seconds.
    """

    kind: str
    key: str
    operation: str
    argument: object
    method: str
    arguments: tuple[object, ...] = ()
    reads: bool = False
    read: Callable[[object, object], object] = _itself
    refused: tuple[type[Exception], object] | None = None
    cancel: float | None = None


@dataclass(frozen=True)
class Together:
    """Calls that are made in one batch, or, `atomic`, in one transaction."""

    calls: Sequence[Call]
    atomic: bool


Script: TypeAlias = Generator[Call | Together, Sequence[Record]]
"""What a worker does, and is told of it."""


@dataclass
class Worker:
    """Who makes calls: its name, and what is random about it."""

    name: str
    random: Random
    made: int = 0
    """How many names it has given."""

    def new(self) -> str:
        """A name that nobody else gives."""
        self.made += 1
        return f"{self.name}-{self.made}"


class Workload(ABC):
    """What is done with one structure."""

    name: str
    per_key = 15
    """How many calls a worker makes on one key."""

    def script(self, worker: Worker) -> Script:
        """The calls of one worker, without end."""
        number = 0
        while True:
            key = f"{{{self.name}:{number}}}"  # a hash tag: what belongs together is in one slot of a cluster
            calls = self.calls(worker, key)
            records = yield next(calls)
            for _ in range(self.per_key - 1):
                records = yield calls.send(records)
            number += 1
            calls.close()

    @abstractmethod
    def calls(self, worker: Worker, key: str) -> Script:
        """The calls of one worker on one key, without end."""

    @abstractmethod
    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        """What is wrong with the records of one key, and what *db* has under it."""

    def _own(self, record: Record) -> bool:
        return record.structure.startswith(f"{{{self.name}:")

    def judge(self, history: History, db: Backend) -> Findings:
        """What is wrong with all of its keys."""
        findings = Findings()
        for key, records in by_structure(filter(self._own, history.records)).items():
            findings.add(self.check(records, key, db))
        return findings


def _of(records: Sequence[Record], *operations: str) -> list[Record]:
    return [one for one in records if one.operation in operations]


def _final(key: str, operation: str, answer: object) -> Record:
    """What is read when all is over."""
    now = time.monotonic()
    return Record("the end", key, operation, None, now, now, Outcome.ACKNOWLEDGED, answer)


class CounterWorkload(Workload):
    """Increments, and looks at the number."""

    name = "counter"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            if worker.random.random() < 0.8:
                yield Call("Counter", key, "incr", 1, "incr")
            else:
                yield Call("Counter", key, "get", None, "get", reads=True)

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = redisext.Counter[int](key, db).get(0)
        findings = checker.counted(_of(records, "incr"), held)
        findings.add(checker.linearizable([*records, _final(key, "get", held)], CounterModel()))
        return findings


class MapWorkload(Workload):
    """Sets, and reads."""

    name = "map"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            if worker.random.random() < 0.5:
                value = worker.new()
                yield Call("Map", key, "set", value, "set", (value,))
            else:
                yield Call("Map", key, "get", None, "get", reads=True)

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = redisext.Map[str](key, db).get()
        findings = Findings()
        tries = [one for one in _of(records, "set") if one.argument == held]
        if held is not None and not any(not one.failed for one in tries):
            findings.wrong.append(f"{key}: it holds {held!r}, which nobody set")
        findings.add(checker.linearizable([*records, _final(key, "get", held)], RegisterModel()))
        return findings


class UpdateWorkload(Workload):
    """Appends to the list that a map holds, by `update`, which compares and sets."""

    name = "update"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            item = worker.new()
            yield Call("Log", key, "push", item, "update", (partial(_appended, item),))

    def _held(self, key: str, db: Backend) -> list[str]:
        return redisext.Map[list[str]](key, db).get() or []

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = self._held(key, db)
        findings = Elements(records, held=held).check()
        findings.add(checker.in_order(records, (), held))
        findings.wrong += [
            f"{key}: {one.argument!r} was told a list that does not end with it"
            for one in records
            if one.acknowledged and cast("list[str]", one.answer)[-1] != one.argument
        ]
        return findings


class UpdateValueWorkload(UpdateWorkload):
    """The same of a hash map's value."""

    name = "value"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            item = worker.new()
            yield Call("Logs", key, "push", item, "update_value", ("log", partial(_appended, item)))

    def _held(self, key: str, db: Backend) -> list[str]:
        return redisext.HashMap[str, list[str]](key, db).get("log", [])


def _appended(item: str, log: list[str] | None) -> list[str]:
    return [*(log or []), item]


class HashMapWorkload(Workload):
    """Elements as fields, which are set and taken; numbers to increment; defaults that several set."""

    name = "hashmap"

    def calls(self, worker: Worker, key: str) -> Script:
        mine: list[str] = []
        while True:
            chance = worker.random.random()
            if chance < 0.3:
                mine.append(worker.new())
                yield Call("HashMap", key, "push", mine[-1], "set", (mine[-1], "x"))
            elif chance < 0.4:
                mine.append(worker.new())
                pairs = {mine[-1]: "x"}
                yield Call("HashMap", key, "push", mine[-1], "update", (pairs,))
            elif chance < 0.55 and mine:
                field = mine.pop(worker.random.randrange(len(mine)))
                yield Call("HashMap", key, "remove", field, "pop", (field, None), read=_is_there)
            elif chance < 0.65:
                yield Call("HashMap", key, "take", None, "popitem", read=_first, refused=(KeyError, None))
            elif chance < 0.85:
                yield Call("Tally", f"{key}:tally", "incr", 1, "incr", ("hits",))
            else:
                field, value = f"field {worker.random.randrange(3)}", worker.new()
                pair = (field, value)
                yield Call("HashMap", f"{key}:defaults", "setdefault", pair, "setdefault", pair)

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        if key.endswith(":tally"):
            return checker.counted(records, redisext.HashMap[str, int](key, db).get("hits", 0))
        held = redisext.HashMap[str, str](key, db).all()
        if key.endswith(":defaults"):
            return checker.agreed(records, cast("Mapping[Hashable, Hashable]", held))
        pushes, takes, removes = _of(records, "push"), _of(records, "take"), _of(records, "remove")
        findings = Elements(pushes, takes, removes, list(held)).check()
        findings.wrong += [
            f"{key}: {one.argument!r} is new, and it was told that it is not"
            for one in pushes
            if one.acknowledged and one.answer is False
        ]
        return findings


def _is_there(_model: object, value: object) -> bool:
    return value is not None


def _first(_model: object, pair: object) -> object:
    first, _ = cast("tuple[object, object]", pair)  # as `popitem` gives it
    return first


class PoolWorkload(Workload):
    """Elements that are added, taken and removed; and others, in another pool, that several claim."""

    name = "pool"

    def calls(self, worker: Worker, key: str) -> Script:
        mine: list[str] = []
        while True:
            chance = worker.random.random()
            if chance < 0.3:
                mine.append(worker.new())
                yield Call("Pool", key, "push", mine[-1], "push", (mine[-1],))
            elif chance < 0.4:
                mine.append(worker.new())
                yield Call("Pool", key, "push", mine[-1], "update", ([mine[-1]],))
            elif chance < 0.6:
                yield Call("Pool", key, "take", None, "pop")
            elif chance < 0.7 and mine:
                item = mine.pop(worker.random.randrange(len(mine)))
                yield Call("Pool", key, "remove", item, "remove", (item,), read=_done_so, refused=(KeyError, False))
            else:
                item = f"claim {worker.random.randrange(20)}"
                yield Call("Pool", f"{key}:claims", "claim", item, "push", (item,))

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = redisext.Pool[str](key, db).members()
        if key.endswith(":claims"):
            return checker.claimed(records, held)
        pushes = _of(records, "push")
        findings = Elements(pushes, _of(records, "take"), _of(records, "remove"), held).check()
        # `remove` has no answer, but an error for what was not there.
        findings.wrong += [
            f"{key}: {one.argument!r} is new, and it was told that it is not"
            for one in pushes
            if one.acknowledged and one.answer is False
        ]
        return findings


def _done_so(_model: object, _result: object) -> bool:
    return True


class SortedSetWorkload(Workload):
    """Elements that are added and removed, and others that several claim; a score that is incremented."""

    name = "sorted"

    def calls(self, worker: Worker, key: str) -> Script:
        mine: list[str] = []
        while True:
            chance = worker.random.random()
            if chance < 0.35:
                mine.append(worker.new())
                score = worker.random.randrange(100)
                yield Call("SortedSet", key, "push", mine[-1], "add", (mine[-1], score))
            elif chance < 0.5 and mine:
                item = mine.pop(worker.random.randrange(len(mine)))
                yield Call("SortedSet", key, "remove", item, "rem", (item,))
            elif chance < 0.75:
                yield Call("SortedSet", f"{key}:tally", "incr", 1, "incr", ("hits",))
            else:
                item = f"claim {worker.random.randrange(20)}"
                yield Call("SortedSet", f"{key}:claims", "claim", item, "add", (item, 1))

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = redisext.SortedSet[str](key, db)
        if key.endswith(":tally"):
            return checker.counted(records, int(held.score("hits") or 0))
        if key.endswith(":claims"):
            return checker.claimed(records, held.members())
        pushes = _of(records, "push")
        findings = Elements(pushes, (), _of(records, "remove"), held.members()).check()
        findings.wrong += [
            f"{key}: {one.argument!r} is new, and it was told that it is not"
            for one in pushes
            if one.acknowledged and one.answer is False
        ]
        return findings


class _ListWorkload(Workload):
    """Items that are pushed and taken, by some who wait for them."""

    kind: str

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            chance = worker.random.random()
            if chance < 0.5:
                item = worker.new()
                yield Call(self.kind, key, "push", item, "push", (item,))
            elif chance < 0.9:
                yield Call(self.kind, key, "pop", None, "pop")
            else:
                yield Call(self.kind, key, "pop", None, "pop_wait", (0.02,))


class QueueWorkload(_ListWorkload):
    """Items that are pushed and taken, by some who wait for them."""

    name = "queue"
    kind = "Queue"

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = tuple(reversed(redisext.Queue[str](key, db).items()))
        pushes, takes = _of(records, "push"), _of(records, "pop")
        findings = Elements(pushes, takes, held=held).check()
        findings.add(checker.in_order(pushes, takes, held))
        findings.add(checker.linearizable([*records, _final(key, "items", held)], QueueModel()))
        return findings


class StackWorkload(_ListWorkload):
    """The same, the last one first."""

    name = "stack"
    kind = "Stack"

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = tuple(reversed(redisext.Stack[str](key, db).items()))
        findings = Elements(_of(records, "push"), _of(records, "pop"), held=held).check()
        findings.add(checker.linearizable([*records, _final(key, "items", held)], StackModel()))
        return findings


class PriorityQueueWorkload(Workload):
    """The same, the lowest priority first. An item is pushed as (item, priority)."""

    name = "priority"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            chance = worker.random.random()
            if chance < 0.5:
                # The item tells its priority.
                priority = worker.random.randrange(10)
                item = f"{priority} {worker.new()}"
                yield Call("PriorityQueue", key, "push", item, "push", (item, priority))
            elif chance < 0.9:
                yield Call("PriorityQueue", key, "pop", None, "pop")
            else:
                yield Call("PriorityQueue", key, "pop", None, "pop_wait", (0.02,))

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = redisext.PriorityQueue[str](key, db).items()
        pushes, takes = _of(records, "push"), _of(records, "pop")
        findings = Elements(pushes, takes, held=held).check()
        priority = {one.argument: float(str(one.argument).partition(" ")[0]) for one in pushes}
        findings.add(checker.by_priority(pushes, takes, held, priority))
        return findings


class LockWorkload(Workload):
    """Acquires, some waiting for it a little, and releases."""

    name = "lock"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            if worker.random.random() < 0.5:
                [record] = yield Call("Lock", key, "acquire", None, "acquire", (LONG,), read=_token)
            else:
                [record] = yield Call("Lock", key, "acquire", None, "acquire_wait", (LONG,), read=_token)
            if record.answer is not None:
                token = record.answer
                while True:
                    [record] = yield Call(
                        "Lock", key, "release", token, "release", read=_released, refused=(LockNotOwned, "other")
                    )
                    if not record.failed:
                        break

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        findings = checker.exclusive(records, LONG)
        findings.add(checker.linearizable(records, LockModel()))
        return findings


def _token(model: object, acquired: object) -> object:
    return cast("redisext.Lock", model).token if acquired else None


def _released(_model: object, released: object) -> object:
    return "released" if released else "free"


class BatchWorkload(Workload):
    """Several structures at once, in batches and in transactions."""

    name = "batch"
    per_key = 8

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            calls = [self._one(worker, key) for _ in range(worker.random.randint(2, 6))]
            yield Together(calls, atomic=worker.random.random() < 0.4)

    def _one(self, worker: Worker, key: str) -> Call:
        new = worker.new()
        pair = (f"field {worker.random.randrange(3)}", new)
        item = f"claim {worker.random.randrange(20)}"
        return worker.random.choice(
            [
                Call("Counter", f"{key}:hits", "incr", 1, "incr"),
                Call("Counter", f"{key}:hits", "get", None, "get", reads=True),
                Call("Queue", f"{key}:jobs", "push", new, "push", (new,)),
                Call("Queue", f"{key}:jobs", "pop", None, "pop"),
                Call("HashMap", f"{key}:fields", "push", new, "set", (new, "x")),
                Call("HashMap", f"{key}:fields", "take", None, "popitem", read=_first_if_any),
                Call("HashMap", f"{key}:defaults", "setdefault", pair, "setdefault", pair),
                Call("Pool", f"{key}:claims", "claim", item, "push", (item,)),
            ]
        )

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        match key.rpartition(":")[2]:
            case "hits":
                number = redisext.Counter[int](key, db).get(0)
                findings = checker.counted(_of(records, "incr"), number)
                findings.add(checker.linearizable([*records, _final(key, "get", number)], CounterModel()))
                return findings
            case "jobs":
                items = tuple(reversed(redisext.Queue[str](key, db).items()))
                findings = Elements(_of(records, "push"), _of(records, "pop"), held=items).check()
                findings.add(checker.linearizable([*records, _final(key, "items", items)], QueueModel()))
                return findings
            case "fields":
                fields = list(redisext.HashMap[str, str](key, db).all())
                return Elements(_of(records, "push"), _of(records, "take"), held=fields).check()
            case "defaults":
                defaults = redisext.HashMap[str, str](key, db).all()
                return checker.agreed(records, cast("Mapping[Hashable, Hashable]", defaults))
            case _:
                return checker.claimed(records, redisext.Pool[str](key, db).members())


def _first_if_any(_model: object, pair: object) -> object:
    return None if pair is None else _first(_model, pair)


class TransactionWorkload(Workload):
    """Units that are moved between two counters, and noted; by transactions, and by `transact`, which reads first."""

    name = "transaction"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            note = worker.new()
            if worker.random.random() < 0.5:
                yield Call("Accounts", key, "move", note, "move", (note, worker.random.choice([1, -1])))
            else:
                yield Call("Accounts", key, "move", note, "level", (note,))

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        left = redisext.Counter[int](f"{key}:left", db).get(0)
        right = redisext.Counter[int](f"{key}:right", db).get(0)
        return checker.moved(records, left, right, redisext.HashMap[str, int](f"{key}:notes", db).all())


class WaitingWorkload(Workload):
    """Elements that are pushed, and taken by some who wait for them and are cancelled; in no order."""

    name = "waiting"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            kind = worker.random.choice(["Queue", "Stack", "PriorityQueue", "Pool"])
            its = f"{key}:{kind}"
            chance = worker.random.random()
            cancel = worker.random.choice([0, 0.0005, 0.001, 0.002, 0.005, 0.02])
            if chance < 0.45:
                item = worker.new()
                yield Call(kind, its, "push", item, "push", (item, 1) if kind == "PriorityQueue" else (item,))
            elif chance < 0.65 or kind == "Pool":
                yield Call(kind, its, "take", None, "pop", cancel=cancel)
            elif chance < 0.9:
                yield Call(kind, its, "take", None, "pop_wait", (0.03,), cancel=cancel)
            else:
                yield Call(kind, its, "take", None, "pop_wait", (0.01,))

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held: Mapping[str, Callable[[], Sequence[str]]] = {
            "Queue": redisext.Queue[str](key, db).items,
            "Stack": redisext.Stack[str](key, db).items,
            "PriorityQueue": redisext.PriorityQueue[str](key, db).items,
            "Pool": redisext.Pool[str](key, db).members,
        }
        there = held[key.rpartition(":")[2]]()
        return Elements(_of(records, "push"), _of(records, "take"), held=there).check()


WORKLOADS: Final[tuple[type[Workload], ...]] = (
    CounterWorkload,
    MapWorkload,
    UpdateWorkload,
    UpdateValueWorkload,
    HashMapWorkload,
    PoolWorkload,
    SortedSetWorkload,
    QueueWorkload,
    StackWorkload,
    PriorityQueueWorkload,
    LockWorkload,
    BatchWorkload,
    TransactionWorkload,
    WaitingWorkload,
)


# --- Running


class Lock(redisext.Lock):
    def acquire_wait(self, expiration: float) -> bool:
        return self.acquire(expiration, wait=0.05)


class AsyncLock(redisext.AsyncLock):
    async def acquire_wait(self, expiration: float) -> bool:
        return await self.acquire(expiration, wait=0.05)


Moved: TypeAlias = tuple[int, int | None, int, int]
"""Which way, what was read before (if anything was), and what both sides came to."""


class Accounts:
    """Two counters of which one has what the other lacks, and how often each move was made."""

    def __init__(self, key: str, db: Backend) -> None:
        self._db = db
        self._left = redisext.Counter[int](f"{key}:left", db)
        self._right = redisext.Counter[int](f"{key}:right", db)
        self._notes = redisext.HashMap[str, int](f"{key}:notes", db)

    def _add(self, tx: Transaction, note: str, by: int) -> tuple[Pending[int], Pending[int]]:
        left = tx.add(self._left.commands.incr(by))
        tx.add(self._notes.commands.incr(_note(note, by)))
        return left, tx.add(self._right.commands.incr(-by))

    def move(self, note: str, by: int) -> Moved:
        """In a transaction."""
        with self._db.transaction() as tx:
            left, right = self._add(tx, note, by)
        return by, None, left.result(), right.result()

    def level(self, note: str) -> Moved:
        """From the side that has more."""

        def fill(tx: Transaction) -> tuple[int, int, tuple[Pending[int], Pending[int]]]:
            seen = tx.read(self._left.commands.get(0))
            by = -1 if seen > 0 else 1
            return by, seen, self._add(tx, note, by)

        by, seen, (left, right) = self._db.transact(fill, watch=self._left)
        return by, seen, left.result(), right.result()


class AsyncAccounts:
    """The same under asyncio."""

    def __init__(self, key: str, db: AsyncBackend) -> None:
        self._db = db
        self._left = redisext.AsyncCounter[int](f"{key}:left", db)
        self._right = redisext.AsyncCounter[int](f"{key}:right", db)
        self._notes = redisext.AsyncHashMap[str, int](f"{key}:notes", db)

    def _add(self, tx: AsyncTransaction, note: str, by: int) -> tuple[Pending[int], Pending[int]]:
        left = tx.add(self._left.commands.incr(by))
        tx.add(self._notes.commands.incr(_note(note, by)))
        return left, tx.add(self._right.commands.incr(-by))

    async def move(self, note: str, by: int) -> Moved:
        """In a transaction."""
        async with self._db.transaction() as tx:
            left, right = self._add(tx, note, by)
        return by, None, left.result(), right.result()

    async def level(self, note: str) -> Moved:
        """From the side that has more."""

        async def fill(tx: AsyncTransaction) -> tuple[int, int, tuple[Pending[int], Pending[int]]]:
            seen = await tx.read(self._left.commands.get(0))
            by = -1 if seen > 0 else 1
            return by, seen, self._add(tx, note, by)

        by, seen, (left, right) = await self._db.transact(fill, watch=self._left)
        return by, seen, left.result(), right.result()


def _note(note: str, by: int) -> str:
    return f"{note} {by:+}"


STRUCTURES: Final[Mapping[str, Callable[[str, Backend], object]]] = {
    "Counter": redisext.Counter[int],
    "Map": redisext.Map[str],
    "Log": redisext.Map[list[str]],
    "Logs": redisext.HashMap[str, list[str]],
    "HashMap": redisext.HashMap[str, str],
    "Tally": redisext.HashMap[str, int],
    "Pool": redisext.Pool[str],
    "SortedSet": redisext.SortedSet[str],
    "Queue": redisext.Queue[str],
    "Stack": redisext.Stack[str],
    "PriorityQueue": redisext.PriorityQueue[str],
    "Lock": Lock,
    "Accounts": Accounts,
}
ASYNC_STRUCTURES: Final[Mapping[str, Callable[[str, AsyncBackend], object]]] = {
    "Counter": redisext.AsyncCounter[int],
    "Map": redisext.AsyncMap[str],
    "Log": redisext.AsyncMap[list[str]],
    "Logs": redisext.AsyncHashMap[str, list[str]],
    "HashMap": redisext.AsyncHashMap[str, str],
    "Tally": redisext.AsyncHashMap[str, int],
    "Pool": redisext.AsyncPool[str],
    "SortedSet": redisext.AsyncSortedSet[str],
    "Queue": redisext.AsyncQueue[str],
    "Stack": redisext.AsyncStack[str],
    "PriorityQueue": redisext.AsyncPriorityQueue[str],
    "Lock": AsyncLock,
    "Accounts": AsyncAccounts,
}

Enough: TypeAlias = Callable[[], bool]
"""Whether the workers may stop."""


def after(history: History, calls: int) -> Enough:
    """When so many were acknowledged."""
    return lambda: history.acknowledged >= calls


def run_threads(
    workloads: Sequence[Workload],
    db: Backend,
    history: History,
    *,
    seed: int,
    enough: Enough,
    workers: int = 4,
    first: int = 0,
) -> None:
    """Have so many workers for each workload, each a thread, make calls until there are *enough*."""
    errors: list[BaseException] = []
    stop = threading.Event()
    making: dict[str, Call | Together] = {}

    def work(workload: Workload, worker: Worker) -> None:
        models: dict[tuple[str, str], object] = {}

        def model(call: Call) -> object:
            key = (call.kind, call.key)
            if key not in models:
                models[key] = STRUCTURES[call.kind](call.key, db)
            return models[key]

        def make(step: Call | Together) -> Sequence[Record]:
            begun = _Begun(history, worker.name, step)
            if isinstance(step, Together):
                with begun.ending(), db.transaction() if step.atomic else db.batch() as block:
                    for call in step.calls:
                        begun.pending.append(block.add(_command(model(call), call)))
            else:
                with begun.ending():
                    method: Callable[..., object] = getattr(model(step), step.method)
                    begun.answer = step.read(model(step), method(*step.arguments))
            return begun.records

        script = workload.script(worker)
        try:
            step = next(script)
            while not stop.is_set():
                making[worker.name] = step
                records = make(step)
                if not all(one.acknowledged for one in records):
                    time.sleep(PACE)
                step = script.send(records)
            making.pop(worker.name, None)
        except BaseException as error:  # noqa: BLE001  # it ends the run
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(workload, worker), daemon=True)
        for workload in workloads
        for worker in _workers(workload, seed, first, workers)
    ]
    for thread in threads:
        thread.start()
    while not enough() and not errors:
        time.sleep(0.005)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    if errors:
        raise errors[0]
    _check_ended(making)


async def run_tasks(
    workloads: Sequence[Workload],
    db: AsyncBackend,
    history: History,
    *,
    seed: int,
    enough: Enough,
    workers: int = 4,
    first: int = 0,
    puts_back: bool = False,
) -> None:
    """The same, each a task. *puts_back*: whether what a cancelled call takes is put back."""
    stop = asyncio.Event()
    making: dict[str, Call | Together] = {}

    async def work(workload: Workload, worker: Worker) -> None:
        models: dict[tuple[str, str], object] = {}

        def model(call: Call) -> object:
            key = (call.kind, call.key)
            if key not in models:
                models[key] = ASYNC_STRUCTURES[call.kind](call.key, db)
            return models[key]

        async def make(step: Call | Together) -> Sequence[Record]:
            begun = _Begun(history, worker.name, step)
            if isinstance(step, Together):
                with begun.ending():
                    async with db.transaction() if step.atomic else db.batch() as block:
                        for call in step.calls:
                            begun.pending.append(block.add(_command(model(call), call)))
            else:
                with begun.ending():
                    method: Callable[..., Awaitable[object]] = getattr(model(step), step.method)
                    made = method(*step.arguments)
                    result = await (made if step.cancel is None else _cancelled(made, step.cancel, puts_back))
                    begun.answer = step.read(model(step), result)
            return begun.records

        script = workload.script(worker)
        step = next(script)
        while not stop.is_set():
            making[worker.name] = step
            records = await make(step)
            if not all(one.acknowledged for one in records):
                await asyncio.sleep(PACE)
            step = script.send(records)
        making.pop(worker.name, None)

    async def end() -> None:
        while not enough():  # noqa: ASYNC110  # it may be a thread that has the last word
            await asyncio.sleep(0.005)
        stop.set()

    tasks = [
        asyncio.create_task(work(workload, worker))
        for workload in workloads
        for worker in _workers(workload, seed, first, workers)
    ]
    ending = asyncio.create_task(end())
    try:
        await asyncio.wait((ending, *tasks), return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait(tasks, timeout=PATIENCE, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        _check_ended(making)
    finally:
        for task in (ending, *tasks):
            task.cancel()


async def _cancelled(call: Awaitable[object], seconds: float, puts_back: bool) -> object:
    """What *call* gives if it does so before it is cancelled."""
    task = asyncio.ensure_future(call)
    await asyncio.wait((task,), timeout=seconds)
    task.cancel()
    await asyncio.wait((task,))
    if task.cancelled():
        raise Cancelled(put_back=puts_back)
    return task.result()


class _Begun:
    """A call, or some that are made together, from their beginning to their end."""

    def __init__(self, history: History, worker: str, step: Call | Together) -> None:
        self.pending: list[Pending[object]] = []
        self.answer: object = None
        self._history = history
        self._calls = step.calls if isinstance(step, Together) else [step]
        self._together = isinstance(step, Together)
        self._asked = [
            history.begin(worker, one.key, one.operation, one.argument, reads=one.reads) for one in self._calls
        ]

    @property
    def records(self) -> list[Record]:
        return [one.record for one in self._asked]

    @contextmanager
    def ending(self) -> Generator[None]:
        """Around it."""
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            if not isinstance(raised, Exception):
                raise
        finally:
            if self._together:
                self._end_each(error)
            else:
                self._end_one(error)

    def _end_one(self, error: BaseException | None) -> None:
        [call], [asked] = self._calls, self._asked
        asked.answer = self.answer
        if call.refused is not None and isinstance(error, call.refused[0]):
            _, asked.answer = call.refused
            error = None
        self._history.end(asked, error)

    def _end_each(self, error: BaseException | None) -> None:
        for index, (call, asked) in enumerate(zip(self._calls, self._asked, strict=True)):
            pending = self.pending[index] if index < len(self.pending) else None
            if pending is None or not pending.done:
                self._history.end(asked, error or AssertionError("it has no result"))
            elif pending.error is not None:
                self._history.end(asked, pending.error)
            else:
                asked.answer = call.read(None, pending.result())
                self._history.end(asked)


def _command(model: object, call: Call) -> Command[object]:
    described: Callable[..., Command[object]] = getattr(cast("_Described", model).commands, call.method)
    return described(*call.arguments)


class _Described(Protocol):
    @property
    def commands(self) -> object: ...


class Hang(AssertionError):
    """A call did not end."""


def _check_ended(making: Mapping[str, Call | Together]) -> None:
    if making:
        raise Hang(", ".join(f"{name}: {step}" for name, step in making.items()))


def run(
    face: str,
    workloads: Sequence[Workload],
    url: str,
    history: History,
    *,
    seed: int,
    enough: Enough,
    workers: int = 4,
    first: int = 0,
    **options: Any,
) -> None:
    """Run the workloads on the face "sync" or "async", on a backend of its own that is given these options.

    Or on both: with "mixed", a third of the workers are threads, and the others tasks in two event loops.
    """
    if face == "mixed":
        _run_mixed(workloads, url, history, seed=seed, enough=enough, workers=workers, **options)
    elif face == "async":
        asyncio.run(_run_async(workloads, url, history, seed, enough, workers, first, options))
    else:
        with redisext.connect(url, **options) as db:
            run_threads(workloads, db, history, seed=seed, enough=enough, workers=workers, first=first)


async def _run_async(
    workloads: Sequence[Workload],
    url: str,
    history: History,
    seed: int,
    enough: Enough,
    workers: int,
    first: int,
    options: dict[str, Any],
) -> None:
    puts_back = bool(options.get("exactly_once"))
    async with redisext.aconnect(url, **options) as db:
        await run_tasks(
            workloads, db, history, seed=seed, enough=enough, workers=workers, first=first, puts_back=puts_back
        )


def _run_mixed(
    workloads: Sequence[Workload],
    url: str,
    history: History,
    *,
    seed: int,
    enough: Enough,
    workers: int,
    **options: Any,
) -> None:
    share = max(1, workers // 3)
    parts: list[Future[None]] = []

    def over() -> bool:
        return enough() or any(one.done() for one in parts)  # before its time, for an error

    for index, face in enumerate(("sync", "async", "async")):
        part = partial(run, face, workloads, url, history, seed=seed, enough=over, workers=share, first=index * share)
        parts.append(start(partial(part, **options)))
    for one in parts:
        one.result(3 * PATIENCE)


def judge(workloads: Sequence[Workload], history: History, db: Backend) -> Findings:
    """What is wrong with a history, when all is over and *db*, on which nothing fails, tells what there is."""
    findings = checker.unexpected(history)
    for workload in workloads:
        findings.add(workload.judge(history, db))
    return findings


def _workers(workload: Workload, seed: int, first: int, number: int) -> list[Worker]:
    names = [f"{workload.name} {index}" for index in range(first, first + number)]
    return [Worker(name, Random(f"{seed} {name}")) for name in names]
