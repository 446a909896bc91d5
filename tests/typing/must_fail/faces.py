"""One face where the other is asked for, and what is not awaited."""

# ruff: noqa: B007, F841  # names stand there for their types alone
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnusedExpression=false, reportUnusedVariable=false

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self, TypeVar

from pydantic import BaseModel

import redisext
from redisext import (
    NOTHING,
    AsyncBackend,
    AsyncCounter,
    AsyncHashMap,
    AsyncLock,
    AsyncMap,
    AsyncPool,
    AsyncPriorityQueue,
    AsyncQueue,
    AsyncSortedSet,
    AsyncStack,
    Backend,
    Pending,
    Queue,
)
from redisext.backend import abc
from redisext.batch import AsyncBatches
from redisext.command import Command

R = TypeVar("R")


class Event(BaseModel):
    name: str


EVENT = Event(name="signup")

db = redisext.connect("memory://must-fail")
adb = redisext.aconnect("memory://must-fail")
jobs = AsyncQueue[Event]("jobs", adb)
numbers = AsyncQueue[int]("numbers", adb)
events = AsyncHashMap[str, Event]("events", adb)

# --- One face for the other


def sync(backend: Backend) -> None: ...
def under_asyncio(backend: AsyncBackend) -> None: ...
def sweep(queue: Queue[Event]) -> None: ...
async def sweep_under_asyncio(queue: AsyncQueue[Event]) -> None: ...
def first(items: Iterable[Event]) -> None: ...
def change(mapping: MutableMapping[str, Event]) -> None: ...


class Deaf(AsyncBatches):
    """It cannot execute."""

    prefix = ""
    location = ""

    @property
    def primary(self) -> Self:
        return self

    async def execute_many(self, pending: Sequence[Pending[object]]) -> None: ...

    def session(self, watch: Sequence[bytes] = ()) -> AbstractAsyncContextManager[abc.AsyncSession]:
        raise NotImplementedError

    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class AtOnce(Deaf):
    """It gives results that cannot be awaited."""

    def execute(self, command: Command[R]) -> R:
        return db.execute(command)


class OnASyncBackend(AsyncQueue[Event]):
    CONNECTION = redisext.connect("memory://must-fail")  # E: assignment


class OnAnAsyncBackend(Queue[Event]):
    CONNECTION = redisext.aconnect("memory://must-fail")  # E: assignment


class WithOtherPush(AsyncQueue[str]):
    def push(self, *items: str) -> int:  # E: override pyrefly=bad-override,missing-override-decorator
        return len(items)


AsyncQueue[Event]("jobs", db)  # E: argument
Queue[Event]("jobs", adb)  # E: argument
Queue[Event]("jobs", jobs)  # E: argument
sync(adb)  # E: argument
under_asyncio(db)  # E: argument
under_asyncio(Deaf())  # E: argument
under_asyncio(AtOnce())  # E: argument pyright=nothing ty=nothing
sweep(jobs)  # E: argument
first(jobs)  # E: argument
change(events)  # E: argument

# --- Without await


async def forgotten() -> None:
    jobs.push(EVENT)  # E: not-awaited
    events.set("a", EVENT)  # E: not-awaited
    jobs.pop().name  # E: attribute
    jobs.push(EVENT) + 1  # E: operator
    size: int = jobs.size()  # E: assignment
    taken: Event | None = jobs.pop()  # E: assignment
    if jobs.exists():  # E: mypy=truthy-bool pyright=reportUnnecessaryComparison ty=redundant-condition
        pass
    async for event in jobs.items():  # E: not-iterable
        pass


async def by_operators() -> None:
    for event in jobs:  # E: not-iterable
        pass
    for key in events.keys():  # noqa: SIM118  # E: not-iterable
        pass
    list(jobs)  # E: argument mypy=call-overload
    len(jobs)  # E: argument
    len(events)  # E: argument
    jobs[0]  # E: index
    events["a"]  # E: index
    events["a"] = EVENT  # E: index ty=invalid-assignment pyrefly=unsupported-operation
    del events["a"]  # E: index mypy=attr-defined pyrefly=unsupported-operation
    "a" in events  # E: operator pyrefly=not-iterable
    EVENT in jobs  # E: operator pyrefly=not-iterable
    AsyncPool[str]("tokens", adb) | {"t1"}  # E: operator
    with AsyncLock("nightly", adb):  # E: context-manager
        pass
    with redisext.aconnect("memory://must-fail"):  # E: context-manager mypy=union-attr
        pass
    async with redisext.connect("memory://must-fail"):  # E: context-manager mypy=union-attr
        pass


# --- Awaited, and of another type


async def awaited() -> None:
    (await jobs.pop()).name  # E: none
    (await jobs.pop_wait(1)).name  # E: none
    taken: Event = await jobs.pop()  # E: assignment
    taken = await jobs.pop(default=NOTHING)  # E: assignment mypy=arg-type
    scored: list[str] = await AsyncSortedSet[str]("scores", adb).members(with_scores=True)  # E: assignment
    async for number in numbers:
        number.upper()  # E: attribute
    async with AsyncLock("nightly", adb) as lock:
        lock.name  # E: attribute
    await jobs.popp()  # E: attribute


async def given() -> None:
    await numbers.push("5")  # E: argument
    await jobs.push({"name": "signup"})  # E: argument
    await jobs.push(EVENT, None)  # E: argument
    await AsyncStack[str]("words", adb).push(b"word")  # E: argument
    await AsyncPriorityQueue[str]("tasks", adb).push("sweep")  # E: missing-argument
    await AsyncMap[Event]("latest", adb).set("signup")  # E: argument
    await events.set(1, EVENT)  # E: argument
    await AsyncPool[str]("tokens", adb).add(1)  # E: argument
    await AsyncSortedSet[str]("scores", adb).add("ada")  # E: missing-argument
    await AsyncCounter[int]("visitors", adb).incr(0.5)  # E: argument


async def no_number() -> None:
    await AsyncMap[Event]("latest", adb).incr()  # E: not-a-number


async def no_whole_number() -> None:
    await AsyncMap[int]("best", adb).incr(0.5)  # E: argument ty=no-matching-overload pyrefly=no-matching-overload


async def no_numbers() -> None:
    await events.incr("a")  # E: not-a-number


class Named(AsyncCounter[str]):  # E: type-argument
    pass


AsyncCounter[str]("names", adb)  # E: type-argument
AsyncCounter.of(str)  # E: argument mypy=type-var pyrefly=bad-specialization
