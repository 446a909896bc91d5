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
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias, cast

import redisext
from redisext.backend.abc import AsyncBackend, Backend
from redisext.errors import LockNotOwned
from tests.faults import checker
from tests.faults.checker import Elements, Findings
from tests.faults.history import History, Outcome, Record
from tests.faults.linearizability import (
    CounterModel,
    LockModel,
    QueueModel,
    RegisterModel,
    StackModel,
    by_structure,
)

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
    one there is the answer.
    """

    kind: str
    key: str
    operation: str
    argument: object
    method: str
    arguments: tuple[object, ...] = ()
    repeatable: bool = False
    read: Callable[[object, object], object] = _itself
    refused: tuple[type[Exception], object] | None = None


Script: TypeAlias = Generator[Call, Record]


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
    """What is done with one structure. *repeats*: whether the backend may send again what it takes for harmless to.

    A write that is sent again after somebody else's came in between undoes that: then no check can be as strict.
    """

    name: str
    per_key = 15
    """How many calls a worker makes on one key."""

    def __init__(self, *, repeats: bool = False) -> None:
        self.repeats = repeats

    def script(self, worker: Worker) -> Script:
        """The calls of one worker, without end."""
        number = 0
        while True:
            key = f"{self.name}:{number}"
            calls = self.calls(worker, key)
            record = yield next(calls)
            for _ in range(self.per_key - 1):
                record = yield calls.send(record)
            number += 1
            calls.close()

    @abstractmethod
    def calls(self, worker: Worker, key: str) -> Script:
        """The calls of one worker on one key, without end."""

    @abstractmethod
    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        """What is wrong with the records of one key, and what *db* has under it."""

    def _own(self, record: Record) -> bool:
        return record.structure.startswith(f"{self.name}:")

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
                yield Call("Counter", key, "get", None, "get", repeatable=True)

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
                yield Call("Map", key, "set", value, "set", (value,), repeatable=True)
            else:
                yield Call("Map", key, "get", None, "get", repeatable=True)

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = redisext.Map[str](key, db).get()
        findings = Findings()
        tries = [one for one in _of(records, "set") if one.argument == held]
        if held is not None and not any(not one.failed for one in tries):
            findings.wrong.append(f"{key}: it holds {held!r}, which nobody set")
        model = RegisterModel(repeats=1 if self.repeats else 0)
        findings.add(checker.linearizable([*records, _final(key, "get", held)], model))
        return findings


class UpdateWorkload(Workload):
    """Appends to the list that a map holds, by `update`, which compares and sets."""

    name = "update"

    def calls(self, worker: Worker, key: str) -> Script:
        while True:
            item = worker.new()
            yield Call("Log", key, "push", item, "update", (partial(_appended, item),))

    def check(self, records: Sequence[Record], key: str, db: Backend) -> Findings:
        held = redisext.Map[list[str]](key, db).get() or []
        findings = Elements(records, held=held).check()
        findings.add(checker.in_order(records, (), held))
        findings.wrong += [
            f"{key}: {one.argument!r} was told a list that does not end with it"
            for one in records
            if one.acknowledged and cast("list[str]", one.answer)[-1] != one.argument
        ]
        return findings


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
            elif chance < 0.4 and not self.repeats:
                mine.append(worker.new())
                pairs = {mine[-1]: "x"}
                yield Call("HashMap", key, "push", mine[-1], "update", (pairs,), repeatable=True)
            elif chance < 0.55 and mine:
                field = mine.pop(worker.random.randrange(len(mine)))
                yield Call("HashMap", key, "remove", field, "pop", (field, None), read=_is_there)
            elif chance < 0.65:
                yield Call("HashMap", key, "take", None, "popitem", read=_first, refused=(KeyError, None))
            elif chance < 0.85:
                yield Call("Tally", f"{key}:tally", "incr", 1, "incr", ("hits",))
            else:
                field, value = f"field {worker.random.randrange(3)}", worker.new()
                yield Call(
                    "HashMap",
                    f"{key}:defaults",
                    "setdefault",
                    (field, value),
                    "setdefault",
                    (field, value),
                    repeatable=True,
                )

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
            elif chance < 0.4 and not self.repeats:
                mine.append(worker.new())
                yield Call("Pool", key, "push", mine[-1], "update", ([mine[-1]],), repeatable=True)
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
                record = yield Call("Lock", key, "acquire", None, "acquire", (LONG,), read=_token)
            else:
                record = yield Call("Lock", key, "acquire", None, "acquire_wait", (LONG,), read=_token)
            if record.answer is not None:
                token = record.answer
                while True:
                    record = yield Call(
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


WORKLOADS: Final[tuple[type[Workload], ...]] = (
    CounterWorkload,
    MapWorkload,
    UpdateWorkload,
    HashMapWorkload,
    PoolWorkload,
    SortedSetWorkload,
    QueueWorkload,
    StackWorkload,
    PriorityQueueWorkload,
    LockWorkload,
)


# --- Running


class Lock(redisext.Lock):
    def acquire_wait(self, expiration: float) -> bool:
        return self.acquire(expiration, wait=0.05)


class AsyncLock(redisext.AsyncLock):
    async def acquire_wait(self, expiration: float) -> bool:
        return await self.acquire(expiration, wait=0.05)


STRUCTURES: Final[Mapping[str, Callable[[str, Backend], object]]] = {
    "Counter": redisext.Counter[int],
    "Map": redisext.Map[str],
    "Log": redisext.Map[list[str]],
    "HashMap": redisext.HashMap[str, str],
    "Tally": redisext.HashMap[str, int],
    "Pool": redisext.Pool[str],
    "SortedSet": redisext.SortedSet[str],
    "Queue": redisext.Queue[str],
    "Stack": redisext.Stack[str],
    "PriorityQueue": redisext.PriorityQueue[str],
    "Lock": Lock,
}
ASYNC_STRUCTURES: Final[Mapping[str, Callable[[str, AsyncBackend], object]]] = {
    "Counter": redisext.AsyncCounter[int],
    "Map": redisext.AsyncMap[str],
    "Log": redisext.AsyncMap[list[str]],
    "HashMap": redisext.AsyncHashMap[str, str],
    "Tally": redisext.AsyncHashMap[str, int],
    "Pool": redisext.AsyncPool[str],
    "SortedSet": redisext.AsyncSortedSet[str],
    "Queue": redisext.AsyncQueue[str],
    "Stack": redisext.AsyncStack[str],
    "PriorityQueue": redisext.AsyncPriorityQueue[str],
    "Lock": AsyncLock,
}

Enough: TypeAlias = Callable[[], bool]
"""Whether the workers may stop."""


def after(history: History, calls: int) -> Enough:
    """When so many were acknowledged."""
    return lambda: history.acknowledged >= calls


def run_threads(
    workloads: Sequence[Workload], db: Backend, history: History, *, seed: int, enough: Enough, workers: int = 4
) -> None:
    """Have so many workers for each workload, each a thread, make calls until there are *enough*."""
    errors: list[BaseException] = []
    stop = threading.Event()
    making: dict[str, Call] = {}

    def work(workload: Workload, worker: Worker) -> None:
        models: dict[tuple[str, str], object] = {}
        script = workload.script(worker)
        try:
            call = next(script)
            while not stop.is_set():
                making[worker.name] = call
                key = (call.kind, call.key)
                if key not in models:
                    models[key] = STRUCTURES[call.kind](call.key, db)
                method: Callable[..., object] = getattr(models[key], call.method)
                with history.asking(
                    worker.name, call.key, call.operation, call.argument, repeatable=call.repeatable
                ) as asked:
                    try:
                        asked.answer = call.read(models[key], method(*call.arguments))
                    except _errors(call):
                        asked.answer = _refusal(call)
                if not asked.record.acknowledged:
                    time.sleep(PACE)
                call = script.send(asked.record)
            del making[worker.name]
        except BaseException as error:  # noqa: BLE001  # it ends the run
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(workload, worker), daemon=True)
        for workload in workloads
        for worker in _workers(workload, seed, workers)
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
    workloads: Sequence[Workload], db: AsyncBackend, history: History, *, seed: int, enough: Enough, workers: int = 4
) -> None:
    """The same, each a task."""
    stop = asyncio.Event()
    making: dict[str, Call] = {}

    async def work(workload: Workload, worker: Worker) -> None:
        models: dict[tuple[str, str], object] = {}
        script = workload.script(worker)
        call = next(script)
        while not stop.is_set():
            making[worker.name] = call
            key = (call.kind, call.key)
            if key not in models:
                models[key] = ASYNC_STRUCTURES[call.kind](call.key, db)
            method: Callable[..., Awaitable[object]] = getattr(models[key], call.method)
            with history.asking(
                worker.name, call.key, call.operation, call.argument, repeatable=call.repeatable
            ) as asked:
                try:
                    asked.answer = call.read(models[key], await method(*call.arguments))
                except _errors(call):
                    asked.answer = _refusal(call)
            if not asked.record.acknowledged:
                await asyncio.sleep(PACE)
            call = script.send(asked.record)
        del making[worker.name]

    async def end() -> None:
        while not enough():  # noqa: ASYNC110  # it may be a thread that has the last word
            await asyncio.sleep(0.005)
        stop.set()

    tasks = [
        asyncio.create_task(work(workload, worker))
        for workload in workloads
        for worker in _workers(workload, seed, workers)
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


class Hang(AssertionError):
    """A call did not end."""


def _check_ended(making: Mapping[str, Call]) -> None:
    if making:
        raise Hang(", ".join(f"{name}: {call.method} on {call.key}" for name, call in making.items()))


def run(
    face: str,
    workloads: Sequence[Workload],
    url: str,
    history: History,
    *,
    seed: int,
    enough: Enough,
    workers: int = 4,
    **options: Any,
) -> None:
    """Run the workloads on the face "sync" or "async", on a backend of its own that is given these options."""

    async def tasks() -> None:
        async with redisext.aconnect(url, **options) as db:
            await run_tasks(workloads, db, history, seed=seed, enough=enough, workers=workers)

    if face == "async":
        asyncio.run(tasks())
        return
    with redisext.connect(url, **options) as db:
        run_threads(workloads, db, history, seed=seed, enough=enough, workers=workers)


def judge(workloads: Sequence[Workload], history: History, db: Backend) -> Findings:
    """What is wrong with a history, when all is over and *db*, on which nothing fails, tells what there is."""
    findings = checker.unexpected(history)
    for workload in workloads:
        findings.add(workload.judge(history, db))
    return findings


def _workers(workload: Workload, seed: int, number: int) -> list[Worker]:
    names = [f"{workload.name} {index}" for index in range(number)]
    return [Worker(name, Random(f"{seed} {name}")) for name in names]


def _errors(call: Call) -> tuple[type[Exception], ...]:
    return () if call.refused is None else (call.refused[0],)


def _refusal(call: Call) -> object:
    assert call.refused is not None
    return call.refused[1]
