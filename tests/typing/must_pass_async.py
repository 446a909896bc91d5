"""The same as `must_pass` for the async faces: what every checker must accept, and the types it must infer.

The functions are run too, each in an event loop of its own, on an empty store.
"""

# No expression here may come out as Any.
# mypy: disallow-any-expr, disallow-any-decorated

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import ClassVar, Literal, Self, TypeVar, assert_type

import redis.asyncio

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
    Expire,
    Key,
    Nothing,
    Pending,
    Queue,
)
from redisext.backend import AsyncConnectionSource, abc
from redisext.backend.memory import AsyncMemoryBackend
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.batch import AsyncBatches
from redisext.command import Command, Steps
from redisext.model import AsyncModel
from tests.typing.must_pass import EVENT, Event, Pair, Point, TenZeroZeroOne, Upper, User

T = TypeVar("T")
R = TypeVar("R")
N = TypeVar("N", int, float)


# --- A queue, from the first line of the README on


async def queue(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    assert_type(jobs, AsyncQueue[Event])

    assert_type(await jobs.push(EVENT), int)
    assert_type(await jobs.push(EVENT, EVENT), int)
    assert_type(await jobs.push(), int)
    assert_type(await jobs.pop(), Event | None)
    assert_type(await jobs.pop_wait(1), Event | None)
    assert_type(await jobs.pop_wait(timeout=0.01), Event | None)
    assert_type(await jobs.peek(), Event | None)
    assert_type(await jobs.size(), int)
    assert_type(await jobs.items(), list[Event])
    assert_type([event async for event in jobs], list[Event])
    assert_type(aiter(jobs), AsyncIterator[Event])
    async for event in jobs:
        assert_type(event, Event)
    await jobs.clear()


async def queue_without_none(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    event = await jobs.pop()
    if event is not None:
        assert_type(event, Event)
        assert_type(event.name, str)
    while (event := await jobs.pop()) is not None:
        assert_type(event.size, int)


async def queue_with_a_default(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    assert_type(await jobs.pop(EVENT), Event)
    assert_type(await jobs.pop(default=0), Event | int)  # E: ty=type-assertion-failure
    assert_type(await jobs.pop(default=None), Event | None)
    assert_type(await jobs.pop_wait(0, default=NOTHING), Event | Nothing)
    assert_type(await jobs.pop_wait(default=EVENT, timeout=0), Event)
    assert_type(await jobs.peek(default=EVENT), Event)

    event = await jobs.pop(default=NOTHING)
    if event is NOTHING:
        assert_type(event, Literal[Nothing.NOTHING])  # E: pyrefly=assert-type
    else:
        assert_type(event, Event)

    maybe = await AsyncQueue[int | None]("numbers", adb).pop(default=NOTHING)
    if maybe is not NOTHING:
        assert_type(maybe, int | None)


async def queue_commands(adb: AsyncBackend) -> None:
    """They are those of the sync face."""
    jobs = AsyncQueue[Event]("jobs", adb)
    assert_type(jobs.commands.push(EVENT), Command[int])
    assert_type(jobs.commands.pop(), Command[Event | None])
    assert_type(jobs.commands.pop(EVENT), Command[Event])
    assert_type(jobs.commands.pop_wait(1, default=NOTHING), Command[Event | Nothing])
    assert_type(jobs.commands.items(), Command[list[Event]])
    assert_type(jobs.commands.ttl(), Command[int])
    assert_type(await adb.execute(jobs.commands.push(EVENT)), int)
    assert_type(await adb.execute(jobs.commands.pop()), Event | None)


async def several_at_a_time(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    visitors = AsyncCounter[int]("visitors", adb)
    size, seen, event = await asyncio.gather(jobs.push(EVENT), visitors.incr(), jobs.pop())
    assert_type(size, int)
    assert_type(seen, int)
    assert_type(event, Event | None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(jobs.pop())
    assert_type(task.result(), Event | None)
    assert_type(await asyncio.wait_for(jobs.pop_wait(0.01), 5), Event | None)


# --- The other structures


async def stack(adb: AsyncBackend) -> None:
    plates = AsyncStack[str]("plates", adb)
    assert_type(await plates.push("blue", "green"), int)
    assert_type(await plates.pop(), str | None)
    assert_type(await plates.pop(default=NOTHING), str | Nothing)
    assert_type(await plates.pop_wait(0.01), str | None)
    assert_type(await plates.pop_wait(0, default=NOTHING), str | Nothing)
    assert_type(await plates.peek(), str | None)
    assert_type(await plates.peek(""), str)
    assert_type(await plates.size(), int)
    assert_type(await plates.items(), list[str])
    assert_type([plate async for plate in plates], list[str])
    await plates.clear()

    assert_type(plates.commands.push("blue"), Command[int])
    assert_type(plates.commands.pop(), Command[str | None])


async def priority_queue(adb: AsyncBackend) -> None:
    tasks = AsyncPriorityQueue[Event]("tasks", adb)
    assert_type(await tasks.push(EVENT, 2), bool)
    assert_type(await tasks.push(EVENT, priority=0.5), bool)
    assert_type(await tasks.pop(), Event | None)
    assert_type(await tasks.pop(default=NOTHING), Event | Nothing)
    assert_type(await tasks.pop_wait(0), Event | None)
    assert_type(await tasks.pop_wait(0, default=EVENT), Event)
    assert_type(await tasks.peek(), Event | None)
    assert_type(await tasks.peek(default=NOTHING), Event | Nothing)
    assert_type(await tasks.items(), list[Event])
    assert_type(await tasks.size(), int)
    assert_type(await tasks.contains(EVENT), bool)
    await tasks.clear()

    assert_type(tasks.commands.push(EVENT, 1), Command[bool])
    assert_type(tasks.commands.pop(), Command[Event | None])


async def counter(adb: AsyncBackend) -> None:
    visitors = AsyncCounter[int]("visitors", adb)
    assert_type(await visitors.get(), int | None)
    assert_type(await visitors.get(0), int)
    assert_type(await visitors.get(default=NOTHING), int | Nothing)
    assert_type(await visitors.incr(), int)
    assert_type(await visitors.incr(by=5), int)
    assert_type(await visitors.decr(2), int)
    await visitors.set(7)
    assert_type(await visitors.reset(), int | None)
    assert_type(visitors.commands.incr(), Command[int])

    litres = AsyncCounter[float]("litres", adb)
    assert_type(await litres.get(), float | None)
    assert_type(await litres.incr(), float)
    assert_type(await litres.incr(0.5), float)
    assert_type(await litres.decr(1), float)
    await litres.set(1)
    assert_type(await litres.reset(), float | None)
    assert_type(litres.commands.incr(0.5), Command[float])


async def one_value(adb: AsyncBackend) -> None:
    latest = AsyncMap[Event]("latest", adb)
    assert_type(await latest.get(), Event | None)
    assert_type(await latest.get(EVENT), Event)
    assert_type(await latest.get(default=NOTHING), Event | Nothing)
    assert_type(await latest.set(EVENT), bool)
    assert_type(await latest.set(EVENT, expire=60), bool)
    assert_type(await latest.put(EVENT), bool)
    assert_type(await latest.update(lambda old: old or EVENT), Event)
    assert_type(await latest.exists(), bool)
    assert_type(await latest.remove(), bool)
    assert_type(latest.commands.get(), Command[Event | None])
    assert_type(latest.commands.update(lambda old: old or EVENT), Steps[Event])


async def one_number(adb: AsyncBackend) -> None:
    best = AsyncMap[int]("best", adb)
    assert_type(await best.incr(), int)
    assert_type(await best.incr(by=2), int)
    assert_type(await best.decr(), int)
    assert_type(await best.update(lambda score: max(score or 0, 7)), int)
    assert_type(best.commands.incr(), Command[int])

    level = AsyncMap[float]("level", adb)
    assert_type(await level.incr(), float)
    assert_type(await level.incr(0.5), float)
    assert_type(await level.decr(1), float)
    assert_type(level.commands.decr(), Command[float])


async def many_values(adb: AsyncBackend) -> None:
    events = AsyncHashMap[str, Event]("events", adb)
    assert_type(await events.set("a", EVENT), bool)
    assert_type(await events.get("a"), Event | None)
    assert_type(await events.get("a", EVENT), Event)
    assert_type(await events.get("a", NOTHING), Event | Nothing)
    assert_type(await events.get("a", default=None), Event | None)
    assert_type(await events.get_many(["a", "b"]), dict[str, Event])
    assert_type(await events.all(), dict[str, Event])
    assert_type(await events.contains("a"), bool)
    assert_type(await events.size(), int)
    assert_type(await events.update_value("a", lambda old: old or EVENT), Event)
    assert_type(await events.setdefault("f", EVENT), Event)
    assert_type(await events.pop("a"), Event)
    assert_type(await events.pop("a", EVENT), Event)
    assert_type(await events.pop("a", None), Event | None)
    assert_type(await events.popitem(), tuple[str, Event])
    assert_type(await events.remove("a"), bool)
    assert_type(events.commands.get("a"), Command[Event | None])
    assert_type(events.commands.all(), Command[dict[str, Event]])
    assert_type(events.commands.update_value("a", lambda old: old or EVENT), Steps[Event])

    await events.update({"b": EVENT})
    await events.update({"b": EVENT}, c=EVENT)
    await events.update([("b", EVENT)])
    await events.update([("b", EVENT)], c=EVENT)
    await events.update(c=EVENT)
    await events.clear()


async def many_values_one_after_the_other(adb: AsyncBackend) -> None:
    events = AsyncHashMap[str, Event]("events", adb)
    await events.set("a", EVENT)
    assert_type(events.keys(), AsyncIterator[str])
    assert_type(events.values(), AsyncIterator[Event])
    assert_type(events.items(), AsyncIterator[tuple[str, Event]])
    assert_type(events.pairs(), AsyncIterator[tuple[str, Event]])
    assert_type([name async for name in events], list[str])
    assert_type({name async for name in events.keys()}, set[str])  # noqa: SIM118  # what a reader may write
    assert_type([event.name async for event in events.values()], list[str])
    assert_type({name: event async for name, event in events.items()}, dict[str, Event])
    async for name, event in events.items():
        assert_type(name, str)
        assert_type(event, Event)


async def many_numbers(adb: AsyncBackend) -> None:
    stock = AsyncHashMap[str, int]("stock", adb)
    assert_type(await stock.incr("apples"), int)
    assert_type(await stock.incr("apples", by=2), int)
    assert_type(stock.commands.incr("apples"), Command[int])

    prices = AsyncHashMap[Pair, float]("prices", adb)
    assert_type(await prices.incr(Pair("a", 1)), float)
    assert_type(await prices.incr(Pair("a", 1), 0.5), float)


async def pool(adb: AsyncBackend) -> None:
    tokens = AsyncPool[str]("tokens", adb)
    assert_type(await tokens.push("t1"), bool)
    await tokens.add("t2")
    assert_type(await tokens.contains("t1"), bool)
    assert_type(await tokens.members(), list[str])
    assert_type(set(await tokens.members()) | {3}, set[str | int])
    assert_type(await tokens.peek(), str | None)
    assert_type(await tokens.peek(default=NOTHING), str | Nothing)
    assert_type(await tokens.size(), int)
    assert_type([token async for token in tokens], list[str])
    assert_type(await tokens.isdisjoint(["t3", 4]), bool)
    await tokens.update({"t3", "t4"})
    await tokens.difference_update(["t4", 5])
    await tokens.symmetric_difference_update({"t1"})
    await tokens.intersection_update({"t2", "t3", 5})
    await tokens.remove("t3")
    await tokens.discard("t3")
    assert_type(await tokens.pop(), str | None)
    assert_type(await tokens.pop(default=NOTHING), str | Nothing)
    await tokens.clear()

    assert_type(tokens.commands.push("t1"), Command[bool])
    assert_type(tokens.commands.members(), Command[list[str]])


async def sorted_set(adb: AsyncBackend) -> None:
    scores = AsyncSortedSet[str]("scores", adb)
    assert_type(await scores.add("ada", 3), bool)
    assert_type(await scores.add("bob", score=1.5), bool)
    assert_type(await scores.incr("bob", by=4), float)
    assert_type(await scores.score("ada"), float | None)
    assert_type(await scores.rank("ada"), int | None)
    assert_type(await scores.contains("ada"), bool)
    assert_type(await scores.size(), int)
    assert_type(await scores.length(), int)
    assert_type(await scores.length(start_score="(1", end_score=2.5), int)
    assert_type([name async for name in scores], list[str])
    assert_type(await scores.rem("ada"), bool)
    assert_type(await scores.truncate(10), int)
    assert_type(await scores.clean_by_score(0, "+inf"), bool)
    assert_type(await scores.clean(), bool)
    assert_type(scores.commands.members_with_scores(), Command[list[tuple[float, str]]])


async def sorted_set_with_scores(adb: AsyncBackend) -> None:
    scores = AsyncSortedSet[str]("scores", adb)
    asked = bool(await scores.size())
    assert_type(await scores.members(), list[str])
    assert_type(await scores.members(with_scores=False), list[str])
    assert_type(await scores.members(with_scores=True), list[tuple[float, str]])
    assert_type(await scores.members(with_scores=asked), list[str] | list[tuple[float, str]])
    assert_type(await scores.members(limit=10), list[str])
    assert_type(await scores.members(True, limit=10), list[tuple[float, str]])
    assert_type(await scores.members_by_score(1, "(5"), list[str])
    assert_type(await scores.members_by_score(1, 5, True), list[tuple[float, str]])
    assert_type(await scores.members_by_score(with_scores=True), list[tuple[float, str]])
    assert_type(await scores.members_by_score(1, with_scores=asked), list[str] | list[tuple[float, str]])


async def lock(adb: AsyncBackend) -> None:
    nightly = AsyncLock("nightly", adb)
    assert_type(await nightly.acquire(), bool)
    assert_type(nightly.token, str | None)
    assert_type(await nightly.release(), bool)
    assert_type(await nightly.acquire(expiration=0.5, wait=0), bool)
    assert_type(await nightly.extend(60), bool)
    assert_type(await nightly.locked(), bool)
    assert_type(await nightly.remove(), bool)
    assert_type(await nightly.acquire(None, wait=math.inf), bool)
    await nightly.release()
    async with nightly as held:
        assert_type(held, AsyncLock)
    assert_type(nightly.commands.locked(), Command[bool])


async def any_key(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    assert_type(await jobs.expire(60), bool)
    assert_type(await jobs.expire(seconds=0.5), bool)
    assert_type(await jobs.ttl(), int)
    assert_type(await jobs.persist(), bool)
    assert_type(await jobs.rename("done"), bool)
    assert_type(await jobs.exists(), bool)
    assert_type(jobs.key, str | bytes | int)
    assert_type(jobs.backend, AsyncBackend)


async def the_client_behind(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    assert_type(jobs.connect_to_master(), redis.asyncio.Redis)
    assert_type(jobs.connect_to_slave(), redis.asyncio.Redis)


# --- Element types


async def element_types(adb: AsyncBackend) -> None:
    assert_type(await AsyncQueue[int]("q1", adb).pop(), int | None)
    assert_type(await AsyncQueue[Point]("q2", adb).pop(), Point | None)
    assert_type(await AsyncQueue[User]("q3", adb).push({"name": "Ada", "age": 36}), int)
    assert_type(await AsyncQueue[User]("q3", adb).pop(), User | None)
    assert_type(await AsyncQueue[list[Event]]("q4", adb).pop(), list[Event] | None)
    assert_type(await AsyncQueue[Event | Point]("q5", adb).pop(), Event | Point | None)
    assert_type(await AsyncHashMap[int, User]("h1", adb).all(), dict[int, User])


async def raw_bytes_where_no_type_is_given(adb: AsyncBackend) -> None:
    assert_type(AsyncQueue("queue", adb), AsyncQueue[bytes])
    assert_type(await AsyncQueue("queue", adb).pop(), bytes | None)
    assert_type(await AsyncStack("stack", adb).pop(), bytes | None)
    assert_type(await AsyncPriorityQueue("priorities", adb).pop(), bytes | None)
    assert_type(await AsyncMap("map", adb).get(), bytes | None)
    assert_type(await AsyncHashMap("hash", adb).all(), dict[bytes, bytes])
    assert_type(await AsyncPool("pool", adb).members(), list[bytes])
    assert_type(await AsyncSortedSet("sorted", adb).members(), list[bytes])
    assert_type(await AsyncCounter("counter", adb).incr(), int)


async def types_known_only_at_run_time(adb: AsyncBackend) -> None:
    assert_type(AsyncQueue.of(Event), type[AsyncQueue[Event]])
    assert_type(await AsyncQueue.of(Event)("queue", adb).pop(), Event | None)
    assert_type(AsyncStack.of(Event)("stack", adb), AsyncStack[Event])
    assert_type(AsyncPriorityQueue.of(Event)("priorities", adb), AsyncPriorityQueue[Event])
    assert_type(AsyncMap.of(Event)("map", adb), AsyncMap[Event])
    assert_type(AsyncHashMap.of(str, Event)("hash", adb), AsyncHashMap[str, Event])
    assert_type(AsyncPool.of(str)("pool", adb), AsyncPool[str])
    assert_type(AsyncSortedSet.of(str)("sorted", adb), AsyncSortedSet[str])
    assert_type(AsyncCounter.of(int)("counter", adb), AsyncCounter[int])
    assert_type(AsyncCounter.of(float)("counter", adb), AsyncCounter[float])

    def queue_of(kind: type[T]) -> AsyncQueue[T]:
        return AsyncQueue.of(kind)("queue", adb)

    assert_type(queue_of(Point), AsyncQueue[Point])


# --- Subclasses, and what a class says of itself


class Jobs(AsyncQueue[T]):
    async def drain(self) -> AsyncIterator[T]:
        while True:
            item = await self.pop(default=NOTHING)
            if item is NOTHING:
                return
            yield item


class EventJobs(Jobs[Event]):
    KEY = "jobs"

    async def names(self) -> list[str]:
        return [event.name async for event in self]


class Inbox(AsyncQueue):
    """Of raw bytes."""


class ByName(AsyncHashMap[str, T]):
    pass


class Visitors(AsyncCounter[int]):
    CONNECTION = "memory://async-visitors"
    EXPIRE: ClassVar[float | None] = 60


class SiteVisitors(Visitors):
    KEY = "site"
    EXPIRE = 0.5


class OnABackend(AsyncQueue[int]):
    KEY = b"numbers"
    CONNECTION = redisext.aconnect("memory://async-numbers")


class OnAConnectionClass(AsyncQueue[int]):
    KEY = 7
    CONNECTION = TenZeroZeroOne
    CONNECTION_REUSE = False


class Session(AsyncMap[User], Expire, Key):
    CONNECTION = "memory://async-sessions"
    EXPIRE = 3600


class AsStatic(AsyncQueue[str]):
    SERIALIZER = Upper


class AsPickle(AsyncQueue[Point]):
    SERIALIZER = redisext.serializer.Pickle


async def subclasses(adb: AsyncBackend) -> None:
    assert_type(Jobs[Event]("jobs", adb), Jobs[Event])
    assert_type(await Jobs[Event]("jobs", adb).pop(), Event | None)
    assert_type([number async for number in Jobs[int]("jobs", adb).drain()], list[int])
    assert_type(await EventJobs(connection=adb).pop(), Event | None)
    assert_type(await EventJobs(None, adb).names(), list[str])
    assert_type(EventJobs("other", adb).commands.pop(), Command[Event | None])
    assert_type(await Inbox("inbox", adb).pop(), bytes | None)
    assert_type(await ByName[Event]("names", adb).get("a"), Event | None)
    assert_type(await ByName[int]("names", adb).incr("a"), int)


async def declarations(adb: AsyncBackend) -> None:
    assert_type(SiteVisitors(), SiteVisitors)
    assert_type(await SiteVisitors().incr(), int)
    assert_type(await SiteVisitors().expire(), bool)
    assert_type(await Visitors("other").get(), int | None)
    assert_type(await OnABackend().pop(), int | None)
    assert_type(OnAConnectionClass(), OnAConnectionClass)
    assert_type(await Session("ada").set({"name": "Ada", "age": 36}), bool)
    assert_type(await Session("ada").expire(), bool)
    assert_type(await AsStatic("static", adb).pop(), str | None)
    assert_type(await AsPickle("pickle", adb).pop(), Point | None)


# --- Functions that take a structure, or what it stands in for


async def take(queue: AsyncQueue[T], otherwise: T) -> T:
    item = await queue.pop(default=NOTHING)
    return otherwise if item is NOTHING else item


async def move(source: AsyncQueue[T], destination: AsyncQueue[T]) -> int:
    item = await source.pop(default=NOTHING)
    return await (destination.size() if item is NOTHING else destination.push(item))


async def add_one(counter: AsyncCounter[N]) -> N:
    return await counter.incr()


async def seconds_left(model: AsyncModel) -> int:
    return await model.ttl()


async def gathered(things: AsyncIterable[T]) -> list[T]:
    return [thing async for thing in things]


def jobs_on(connection: AsyncConnectionSource) -> AsyncQueue[Event]:
    return AsyncQueue[Event]("jobs", connection)


async def generic_functions(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    assert_type(await take(jobs, EVENT), Event)
    assert_type(await take(Jobs[int]("numbers", adb), 0), int)
    assert_type(await move(jobs, EventJobs("others", adb)), int)
    assert_type(await add_one(AsyncCounter[int]("integers", adb)), int)
    assert_type(await add_one(AsyncCounter[float]("floats", adb)), float)
    assert_type(await seconds_left(jobs), int)
    assert_type(await seconds_left(AsyncLock("lock", adb)), int)
    assert_type(await gathered(jobs), list[Event])
    assert_type(await gathered(AsyncPool[str]("tokens", adb)), list[str])
    assert_type(await gathered(AsyncHashMap[str, Event]("events", adb)), list[str])


# --- Backends


async def connecting(adb: AsyncBackend) -> None:
    assert_type(redisext.aconnect("memory://other"), AsyncRedisBackend | AsyncMemoryBackend)
    async with redisext.aconnect("memory://other", prefix="app:") as own:
        assert_type(own, AsyncRedisBackend | AsyncMemoryBackend)
        assert_type(await AsyncQueue[Event]("jobs", own).pop(), Event | None)
        assert_type(await AsyncQueue[Event]("jobs", own.primary).pop(), Event | None)
        assert_type(own.prefix, str)
    group = redisext.aconnect(
        "redis+sentinel://localhost,otherhost/main/0",
        sentinel_username="ada",
        sentinel_password="secret",
        read_from_replicas=True,
        fallback_to_primary=True,
        wait_replicas=1,
        wait_timeout=0.5,
        ssl_certfile=None,
        ssl_keyfile=None,
        ssl_check_hostname=False,
        deadline=10,
        exactly_once=True,
    )
    assert_type(group, AsyncRedisBackend | AsyncMemoryBackend)
    assert_type(await AsyncQueue[Event]("jobs", adb.primary).pop(), Event | None)
    assert_type(await jobs_on(adb).pop(), Event | None)
    assert_type(await jobs_on("memory://other").pop(), Event | None)
    assert_type(jobs_on(TenZeroZeroOne), AsyncQueue[Event])


async def both_faces_on_one_store(adb: AsyncBackend) -> None:
    with redisext.connect("memory://both") as db:
        Queue[Event]("jobs", db).push(EVENT)
    assert await AsyncQueue[Event]("jobs", "memory://both").pop() == EVENT


class Recorder(AsyncBatches):
    """A backend that notes what it hands on; what it inherits is all that batches and transactions need."""

    def __init__(self, backend: AsyncBackend) -> None:
        self.backend = backend
        self.seen: list[str] = []

    @property
    def prefix(self) -> str:
        return self.backend.prefix

    @property
    def location(self) -> str:
        return self.backend.location

    @property
    def primary(self) -> Self:
        return self

    async def execute(self, command: Command[R]) -> R:
        self.seen.append(repr(command))
        return await self.backend.execute(command)

    async def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        self.seen += [repr(one.command) for one in pending]
        await self.backend.execute_many(pending)

    def session(self, watch: Sequence[bytes] = ()) -> AbstractAsyncContextManager[abc.AsyncSession]:
        return self.backend.session(watch)

    async def aclose(self) -> None:
        await self.backend.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self.aclose()


async def own_backend(adb: AsyncBackend) -> None:
    recorder = Recorder(adb)
    accepted: AsyncBackend = recorder
    assert_type(await AsyncQueue[Event]("jobs", recorder).pop(), Event | None)
    assert_type(await AsyncQueue[Event]("jobs", accepted).pop(), Event | None)
    assert recorder.seen == ["Command(RPOP b'jobs')"] * 2
    async with accepted.batch() as batch:
        size = batch.add(AsyncQueue[Event]("jobs", recorder).commands.push(EVENT))
    assert_type(size.result(), int)
