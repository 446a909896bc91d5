"""What every type checker must accept, with the type that it must infer for each expression.

The functions are run too (see `test_checkers`), each on an empty store: what checks also works.

Where a checker cannot follow, a mark says what it finds there (`# E: ty=...`); see `must_fail`.
"""

# No expression here may come out as Any.
# mypy: disallow-any-expr, disallow-any-decorated

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, TypeVar, assert_type

import pytest
import redis
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

import redisext
from redisext import (
    NOTHING,
    Backend,
    Counter,
    DecodeError,
    EncodeError,
    Expire,
    HashMap,
    Key,
    Lock,
    Map,
    Nothing,
    NotReplicated,
    OutcomeUnknown,
    Pending,
    Pool,
    PriorityQueue,
    Queue,
    SortedSet,
    Stack,
)
from redisext.backend import abc
from redisext.backend.memory import MemoryBackend
from redisext.backend.redis import Connection, RedisBackend
from redisext.batch import Batches
from redisext.command import Command, Steps
from redisext.model import Model

T = TypeVar("T")
R = TypeVar("R")
N = TypeVar("N", int, float)


class Event(BaseModel):
    name: str
    size: int = 0


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class User(TypedDict):
    name: str
    age: int


class Pair(NamedTuple):
    left: str
    right: int


EVENT = Event(name="signup")


# --- A queue, from the first line of the README on


def queue(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    assert_type(jobs, Queue[Event])

    assert_type(jobs.push(EVENT), int)
    assert_type(jobs.push(EVENT, EVENT), int)
    assert_type(jobs.push(), int)
    assert_type(jobs.pop(), Event | None)
    assert_type(jobs.pop_wait(1), Event | None)
    assert_type(jobs.pop_wait(timeout=0.5), Event | None)
    assert_type(jobs.peek(), Event | None)
    assert_type(jobs.size(), int)
    assert_type(jobs.items(), list[Event])
    assert_type(len(jobs), int)
    assert_type(list(jobs), list[Event])
    assert_type(bool(jobs), bool)
    for event in jobs:
        assert_type(event, Event)
    jobs.clear()


def queue_without_none(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    event = jobs.pop()
    if event is not None:
        assert_type(event, Event)
        assert_type(event.name, str)
    while (event := jobs.pop()) is not None:
        assert_type(event.size, int)


def queue_with_a_default(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    assert_type(jobs.pop(EVENT), Event)
    assert_type(jobs.pop(default=0), Event | int)  # E: ty=type-assertion-failure
    assert_type(jobs.pop(default=None), Event | None)
    assert_type(jobs.pop_wait(0, default=NOTHING), Event | Nothing)
    assert_type(jobs.pop_wait(default=EVENT, timeout=0), Event)
    assert_type(jobs.peek(default=EVENT), Event)

    event = jobs.pop(default=NOTHING)
    if event is NOTHING:
        assert_type(event, Literal[Nothing.NOTHING])  # E: pyrefly=assert-type
    else:
        assert_type(event, Event)

    maybe = Queue[int | None]("numbers", db).pop(default=NOTHING)
    if maybe is not NOTHING:
        assert_type(maybe, int | None)


def queue_commands(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    assert_type(jobs.commands.push(EVENT), Command[int])
    assert_type(jobs.commands.pop(), Command[Event | None])
    assert_type(jobs.commands.pop(EVENT), Command[Event])
    assert_type(jobs.commands.pop_wait(1), Command[Event | None])
    assert_type(jobs.commands.pop_wait(1, default=NOTHING), Command[Event | Nothing])
    assert_type(jobs.commands.peek(), Command[Event | None])
    assert_type(jobs.commands.size(), Command[int])
    assert_type(jobs.commands.items(), Command[list[Event]])
    assert_type(jobs.commands.page(), Command[tuple[list[Event], int | None]])
    assert_type(jobs.commands.expire(60), Command[bool])
    assert_type(jobs.commands.ttl(), Command[int])
    assert_type(jobs.commands.persist(), Command[bool])
    assert_type(jobs.commands.rename("other"), Command[bool])
    assert_type(jobs.commands.exists(), Command[bool])
    assert_type(jobs.commands.delete(), Command[bool])
    assert_type(db.execute(jobs.commands.push(EVENT)), int)
    assert_type(db.execute(jobs.commands.pop()), Event | None)


# --- The other structures


def stack(db: Backend) -> None:
    plates = Stack[str]("plates", db)
    assert_type(plates.push("blue", "green"), int)
    assert_type(plates.pop(), str | None)
    assert_type(plates.pop(default=NOTHING), str | Nothing)
    assert_type(plates.pop_wait(0.01), str | None)
    assert_type(plates.pop_wait(0, default=NOTHING), str | Nothing)
    assert_type(plates.peek(), str | None)
    assert_type(plates.peek(""), str)
    assert_type(plates.size(), int)
    assert_type(len(plates), int)
    assert_type(plates.items(), list[str])
    assert_type(list(plates), list[str])
    plates.clear()

    assert_type(plates.commands.push("blue"), Command[int])
    assert_type(plates.commands.pop(), Command[str | None])
    assert_type(plates.commands.pop_wait(1), Command[str | None])
    assert_type(plates.commands.peek(NOTHING), Command[str | Nothing])
    assert_type(plates.commands.size(), Command[int])
    assert_type(plates.commands.items(), Command[list[str]])


def priority_queue(db: Backend) -> None:
    tasks = PriorityQueue[Event]("tasks", db)
    assert_type(tasks.push(EVENT, 2), bool)
    assert_type(tasks.push(EVENT, priority=0.5), bool)
    assert_type(tasks.pop(), Event | None)
    assert_type(tasks.pop(default=NOTHING), Event | Nothing)
    assert_type(tasks.pop_wait(0), Event | None)
    assert_type(tasks.pop_wait(0, default=EVENT), Event)
    assert_type(tasks.peek(), Event | None)
    assert_type(tasks.peek(default=NOTHING), Event | Nothing)
    assert_type(tasks.items(), list[Event])
    assert_type(tasks.size(), int)
    assert_type(len(tasks), int)
    assert_type(EVENT in tasks, bool)
    tasks.clear()

    assert_type(tasks.commands.push(EVENT, 1), Command[bool])
    assert_type(tasks.commands.pop(), Command[Event | None])
    assert_type(tasks.commands.pop_wait(1), Command[Event | None])
    assert_type(tasks.commands.peek(EVENT), Command[Event])
    assert_type(tasks.commands.items(), Command[list[Event]])
    assert_type(tasks.commands.contains(EVENT), Command[bool])
    assert_type(tasks.commands.size(), Command[int])


def counter(db: Backend) -> None:
    visitors = Counter[int]("visitors", db)
    assert_type(visitors.get(), int | None)
    assert_type(visitors.get(0), int)
    assert_type(visitors.get(default=NOTHING), int | Nothing)
    assert_type(visitors.incr(), int)
    assert_type(visitors.incr(by=5), int)
    assert_type(visitors.decr(2), int)
    visitors.set(7)
    assert_type(visitors.reset(), int | None)

    assert_type(visitors.commands.get(), Command[int | None])
    assert_type(visitors.commands.get(0), Command[int])
    assert_type(visitors.commands.incr(), Command[int])
    assert_type(visitors.commands.decr(2), Command[int])
    assert_type(visitors.commands.set(7), Command[None])
    assert_type(visitors.commands.reset(), Command[int | None])


def counter_of_floats(db: Backend) -> None:
    litres = Counter[float]("litres", db)
    assert_type(litres.get(), float | None)
    assert_type(litres.incr(), float)
    assert_type(litres.incr(0.5), float)
    assert_type(litres.decr(1), float)
    litres.set(1)
    litres.set(1.5)
    assert_type(litres.reset(), float | None)
    assert_type(litres.commands.incr(0.5), Command[float])


def one_value(db: Backend) -> None:
    latest = Map[Event]("latest", db)
    assert_type(latest.get(), Event | None)
    assert_type(latest.get(EVENT), Event)
    assert_type(latest.get(default=NOTHING), Event | Nothing)
    assert_type(latest.set(EVENT), bool)
    assert_type(latest.put(EVENT), bool)
    assert_type(latest.update(lambda old: old or EVENT), Event)
    assert_type(latest.exists(), bool)
    assert_type(latest.remove(), bool)

    def renamed(old: Event | None) -> Event:
        return Event(name="renamed", size=0 if old is None else old.size)

    assert_type(latest.update(renamed), Event)

    assert_type(latest.commands.get(), Command[Event | None])
    assert_type(latest.commands.get(EVENT), Command[Event])
    assert_type(latest.commands.set(EVENT), Command[bool])
    assert_type(latest.commands.update(renamed), Steps[Event])
    assert_type(latest.commands.delete(), Command[bool])


def one_number(db: Backend) -> None:
    best = Map[int]("best", db)
    assert_type(best.incr(), int)
    assert_type(best.incr(by=2), int)
    assert_type(best.decr(), int)
    assert_type(best.update(lambda score: max(score or 0, 7)), int)
    assert_type(best.commands.incr(), Command[int])
    assert_type(best.commands.decr(2), Command[int])

    level = Map[float]("level", db)
    assert_type(level.incr(), float)
    assert_type(level.incr(0.5), float)
    assert_type(level.decr(1), float)
    assert_type(level.commands.incr(0.5), Command[float])
    assert_type(level.commands.decr(), Command[float])


def many_values(db: Backend) -> None:
    events = HashMap[str, Event]("events", db)
    assert_type(events.set("a", EVENT), bool)
    assert_type(events.get("a"), Event | None)
    assert_type(events.get("a", EVENT), Event)
    assert_type(events.get("a", NOTHING), Event | Nothing)
    assert_type(events.get("a", default=None), Event | None)
    assert_type(events.get_many(["a", "b"]), dict[str, Event])
    assert_type(events.all(), dict[str, Event])
    assert_type(events.remove("a"), bool)

    assert_type(events.commands.get("a"), Command[Event | None])
    assert_type(events.commands.get("a", NOTHING), Command[Event | Nothing])
    assert_type(events.commands.set("a", EVENT), Command[bool])
    assert_type(events.commands.update([("a", EVENT)]), Command[None])
    assert_type(events.commands.remove("a"), Command[bool])
    assert_type(events.commands.pop("a"), Command[Event | None])
    assert_type(events.commands.popitem(), Command[tuple[str, Event] | None])
    assert_type(events.commands.setdefault("a", EVENT), Command[Event])
    assert_type(events.commands.contains("a"), Command[bool])
    assert_type(events.commands.get_many(["a"]), Command[dict[str, Event]])
    assert_type(events.commands.all(), Command[dict[str, Event]])
    assert_type(events.commands.size(), Command[int])
    assert_type(events.commands.page(), Command[tuple[list[tuple[str, Event]], int | None]])


def many_values_as_a_dict_has_them(db: Backend) -> None:
    events = HashMap[str, Event]("events", db)
    events["a"] = EVENT
    assert_type(events["a"], Event)
    assert_type("a" in events, bool)
    assert_type(len(events), int)
    assert_type(list(events), list[str])
    assert_type(dict(events), dict[str, Event])
    for name, event in events.items():
        assert_type(name, str)
        assert_type(event, Event)
    assert_type(list(events.pairs()), list[tuple[str, Event]])
    assert_type(list(events.values()), list[Event])
    assert_type(set(events.keys()), set[str])

    events.update({"b": EVENT})
    events.update({"b": EVENT}, c=EVENT)
    events.update([("b", EVENT)])
    events.update([("b", EVENT)], c=EVENT)
    events.update(c=EVENT)
    events.update(HashMap[str, Event]("others", db))
    events |= {"d": EVENT}
    assert_type(events, HashMap[str, Event])
    assert_type(events | {"e": EVENT}, dict[str, Event])
    assert_type({"e": EVENT} | events, dict[str, Event])
    assert_type(events.setdefault("f", EVENT), Event)

    assert_type(events.pop("a"), Event)
    assert_type(events.pop("a", EVENT), Event)
    assert_type(events.pop("a", None), Event | None)
    del events["b"]
    assert_type(events.popitem(), tuple[str, Event])
    events.clear()


def many_numbers(db: Backend) -> None:
    stock = HashMap[str, int]("stock", db)
    assert_type(stock.incr("apples"), int)
    assert_type(stock.incr("apples", by=2), int)
    assert_type(stock.commands.incr("apples"), Command[int])

    prices = HashMap[Pair, float]("prices", db)
    assert_type(prices.incr(Pair("a", 1)), float)
    assert_type(prices.incr(Pair("a", 1), 0.5), float)
    assert_type(prices.commands.incr(Pair("a", 1), 0.5), Command[float])


def pool(db: Backend) -> None:
    tokens = Pool[str]("tokens", db)
    assert_type(tokens.push("t1"), bool)
    tokens.add("t2")
    assert_type(tokens.contains("t1"), bool)
    assert_type("t1" in tokens, bool)
    assert_type(tokens.members(), list[str])
    assert_type(tokens.peek(), str | None)
    assert_type(tokens.peek(default=NOTHING), str | Nothing)
    assert_type(len(tokens), int)
    assert_type(list(tokens), list[str])
    assert_type(tokens.pop(), str | None)
    assert_type(tokens.pop(default=NOTHING), str | Nothing)
    tokens.discard("t2")
    tokens.add("t3")
    tokens.remove("t3")
    tokens.clear()

    assert_type(tokens.commands.push("t1"), Command[bool])
    assert_type(tokens.commands.remove("t1"), Command[bool])
    assert_type(tokens.commands.pop(), Command[str | None])
    assert_type(tokens.commands.peek(""), Command[str])
    assert_type(tokens.commands.members(), Command[list[str]])
    assert_type(tokens.commands.contains("t1"), Command[bool])
    assert_type(tokens.commands.size(), Command[int])
    assert_type(tokens.commands.push_all(["t1", "t2"]), Command[None])
    assert_type(tokens.commands.remove_all(["t1", 2]), Command[None])
    assert_type(tokens.commands.keep({"t1"}), Command[None])
    assert_type(tokens.commands.toggle({"t1"}), Command[None])
    assert_type(tokens.commands.page(), Command[tuple[list[str], int | None]])


def pool_as_a_set(db: Backend) -> None:
    tokens = Pool[str]("tokens", db)
    others = Pool[str]("others", db)
    tokens |= {"t1", "t2"}
    tokens |= others
    tokens &= {"t1", "t2"}
    tokens ^= {"t2"}
    tokens -= {"t2"}
    assert_type(tokens, Pool[str])
    assert_type(tokens | {"t3"}, set[str])
    assert_type(tokens | {3}, set[str | int])
    assert_type(tokens & {"t1"}, set[str])
    assert_type(tokens - others, set[str])
    assert_type(tokens ^ {"t1"}, set[str])
    assert_type(tokens <= {"t1"}, bool)
    assert_type(tokens < others, bool)
    assert_type(tokens >= {"t1"}, bool)
    assert_type(tokens > others, bool)
    assert_type(tokens == {"t1"}, bool)
    assert_type(tokens.isdisjoint(["t1"]), bool)


def sorted_set(db: Backend) -> None:
    scores = SortedSet[str]("scores", db)
    assert_type(scores.add("ada", 3), bool)
    assert_type(scores.add("bob", score=1.5), bool)
    assert_type(scores.incr("bob"), float)
    assert_type(scores.incr("bob", by=4), float)
    assert_type(scores.score("ada"), float | None)
    assert_type(scores.rank("ada"), int | None)
    assert_type(scores.contains("ada"), bool)
    assert_type("ada" in scores, bool)
    assert_type(scores.length(), int)
    assert_type(scores.length("-inf", 3), int)
    assert_type(scores.length(start_score="(1", end_score=2.5), int)
    assert_type(len(scores), int)
    assert_type(list(scores), list[str])
    assert_type(scores.rem("ada"), bool)
    assert_type(scores.truncate(10), int)
    assert_type(scores.clean_by_score(0, "+inf"), bool)
    assert_type(scores.clean(), bool)

    assert_type(scores.commands.add("ada", 3), Command[bool])
    assert_type(scores.commands.rem("ada"), Command[bool])
    assert_type(scores.commands.incr("ada"), Command[float])
    assert_type(scores.commands.score("ada"), Command[float | None])
    assert_type(scores.commands.rank("ada"), Command[int | None])
    assert_type(scores.commands.contains("ada"), Command[bool])
    assert_type(scores.commands.size(), Command[int])
    assert_type(scores.commands.length(), Command[int])
    assert_type(scores.commands.members(), Command[list[str]])
    assert_type(scores.commands.members(10), Command[list[str]])
    assert_type(scores.commands.members_with_scores(), Command[list[tuple[float, str]]])
    assert_type(scores.commands.members_by_score(), Command[list[str]])
    assert_type(scores.commands.members_by_score_with_scores(), Command[list[tuple[float, str]]])
    assert_type(scores.commands.truncate(10), Command[int])
    assert_type(scores.commands.clean_by_score(0, 1), Command[bool])


def sorted_set_with_scores(db: Backend) -> None:
    scores = SortedSet[str]("scores", db)
    asked = bool(scores)
    assert_type(scores.members(), list[str])
    assert_type(scores.members(with_scores=False), list[str])
    assert_type(scores.members(with_scores=True), list[tuple[float, str]])
    assert_type(scores.members(with_scores=asked), list[str] | list[tuple[float, str]])
    assert_type(scores.members(limit=10), list[str])
    assert_type(scores.members(True, limit=10), list[tuple[float, str]])
    assert_type(scores.members_by_score(), list[str])
    assert_type(scores.members_by_score(1, "(5"), list[str])
    assert_type(scores.members_by_score(1, 5, True), list[tuple[float, str]])
    assert_type(scores.members_by_score(with_scores=True), list[tuple[float, str]])
    assert_type(scores.members_by_score(max_score=5, with_scores=True), list[tuple[float, str]])
    assert_type(scores.members_by_score(1, with_scores=asked), list[str] | list[tuple[float, str]])


def lock(db: Backend) -> None:
    nightly = Lock("nightly", db)
    assert_type(nightly.acquire(), bool)
    assert_type(nightly.token, str | None)
    assert_type(nightly.release(), bool)
    assert_type(nightly.acquire(30), bool)
    assert_type(nightly.acquire(expiration=0.5, wait=0), bool)
    assert_type(nightly.extend(60), bool)
    assert_type(nightly.locked(), bool)
    assert_type(nightly.remove(), bool)
    assert_type(nightly.acquire(None, wait=math.inf), bool)
    nightly.release()
    with nightly as held:
        assert_type(held, Lock)

    assert_type(nightly.commands.acquire("token", 30), Command[bool])
    assert_type(nightly.commands.acquire_wait("token", None, 5), Steps[bool])
    assert_type(nightly.commands.release("token"), Command[int])
    assert_type(nightly.commands.extend("token", 30), Command[bool])
    assert_type(nightly.commands.locked(), Command[bool])


def any_key(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    assert_type(jobs.expire(60), bool)
    assert_type(jobs.expire(seconds=0.5), bool)
    assert_type(jobs.ttl(), int)
    assert_type(jobs.persist(), bool)
    assert_type(jobs.rename("done"), bool)
    assert_type(jobs.exists(), bool)
    assert_type(jobs.key, str | bytes | int)
    assert_type(jobs.backend, Backend)
    assert_type(Queue[Event](5, db).rename(b"jobs"), bool)


def the_client_behind(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    assert_type(jobs.connect_to_master(), redis.Redis)
    assert_type(jobs.connect_to_slave(), redis.Redis)


# --- Element types


def element_types(db: Backend) -> None:
    assert_type(Queue[int]("q1", db).pop(), int | None)
    assert_type(Queue[str]("q2", db).pop(), str | None)
    assert_type(Queue[bytes]("q3", db).pop(), bytes | None)
    assert_type(Queue[Point]("q4", db).pop(), Point | None)
    assert_type(Queue[User]("q5", db).push({"name": "Ada", "age": 36}), int)
    assert_type(Queue[User]("q5", db).pop(), User | None)
    assert_type(Queue[Pair]("q6", db).pop(), Pair | None)
    assert_type(Queue[datetime]("q7", db).pop(), datetime | None)
    assert_type(Queue[list[Event]]("q8", db).pop(), list[Event] | None)
    assert_type(Queue[dict[str, list[int]]]("q9", db).pop(), dict[str, list[int]] | None)
    assert_type(Queue[Event | Point]("q10", db).pop(), Event | Point | None)
    assert_type(Queue[int | None]("q11", db).pop(), int | None)
    assert_type(Queue[tuple[str, int]]("q12", db).push(("a", 1)), int)
    assert_type(Queue[Literal["on", "off"]]("q13", db).push("on"), int)
    assert_type(Queue[Annotated[int, Field(ge=0)]]("q14", db).pop(), int | None)
    assert_type(Queue["Later"]("q15", db).pop(), "Later | None")  # E: pyrefly=assert-type,not-a-type
    assert_type(Pool[Point]("p1", db).pop(), Point | None)
    assert_type(SortedSet[Pair]("s1", db).members(), list[Pair])
    assert_type(HashMap[int, User]("h1", db).all(), dict[int, User])


class Later(BaseModel):
    name: str


def raw_bytes_where_no_type_is_given(db: Backend) -> None:
    assert_type(Queue("queue", db), Queue[bytes])
    assert_type(Queue("queue", db).pop(), bytes | None)
    assert_type(Stack("stack", db).pop(), bytes | None)
    assert_type(PriorityQueue("priorities", db).pop(), bytes | None)
    assert_type(Map("map", db).get(), bytes | None)
    assert_type(HashMap("hash", db).all(), dict[bytes, bytes])
    assert_type(Pool("pool", db).members(), list[bytes])
    assert_type(SortedSet("sorted", db).members(), list[bytes])
    assert_type(Counter("counter", db).incr(), int)


def types_known_only_at_run_time(db: Backend) -> None:
    assert_type(Queue.of(Event), type[Queue[Event]])
    assert_type(Queue.of(Event)("queue", db).pop(), Event | None)
    assert_type(Stack.of(Event)("stack", db), Stack[Event])
    assert_type(PriorityQueue.of(Event)("priorities", db), PriorityQueue[Event])
    assert_type(Map.of(Event)("map", db), Map[Event])
    assert_type(HashMap.of(str, Event)("hash", db), HashMap[str, Event])
    assert_type(Pool.of(str)("pool", db), Pool[str])
    assert_type(SortedSet.of(str)("sorted", db), SortedSet[str])
    assert_type(Counter.of(int)("counter", db), Counter[int])
    assert_type(Counter.of(float)("counter", db), Counter[float])

    def queue_of(kind: type[T]) -> Queue[T]:
        return Queue.of(kind)("queue", db)

    assert_type(queue_of(Point), Queue[Point])


# --- Subclasses


class Jobs(Queue[T]):
    def drain(self) -> Iterator[T]:
        while True:
            item = self.pop(default=NOTHING)
            if item is NOTHING:
                return
            yield item


class EventJobs(Jobs[Event]):
    KEY = "jobs"

    def names(self) -> list[str]:
        return [event.name for event in self]


class Inbox(Queue):
    """Of raw bytes."""


class ByName(HashMap[str, T]):
    pass


def subclasses(db: Backend) -> None:
    assert_type(Jobs[Event]("jobs", db), Jobs[Event])
    assert_type(Jobs[Event]("jobs", db).pop(), Event | None)
    assert_type(list(Jobs[int]("jobs", db).drain()), list[int])
    assert_type(EventJobs(connection=db).pop(), Event | None)
    assert_type(EventJobs(None, db).names(), list[str])
    assert_type(EventJobs("other", db).commands.pop(), Command[Event | None])
    assert_type(Inbox("inbox", db).pop(), bytes | None)
    assert_type(ByName[Event]("names", db).get("a"), Event | None)
    assert_type(ByName[int]("names", db).incr("a"), int)


# --- What a class says of itself


class TenZeroZeroOne(Connection):
    MASTER = {"host": "10.0.0.1", "port": 6379, "db": 0}
    SLAVE = "redis://10.0.0.2:6379/0"


class TenZeroZeroTwo(redisext.backend.redis.Connection):
    MASTER = "redis://10.0.0.2:6379/0"


class Visitors(Counter[int]):
    CONNECTION = "memory://visitors"
    EXPIRE: ClassVar[float | None] = 60


class SiteVisitors(Visitors):
    KEY = "site"
    EXPIRE = 0.5


class OnABackend(Queue[int]):
    KEY = b"numbers"
    CONNECTION = redisext.connect("memory://numbers")
    EXPIRE = None


class OnAConnectionClass(Queue[int]):
    KEY = 7
    CONNECTION = TenZeroZeroOne
    CONNECTION_REUSE = False


class Session(Map[User], Expire, Key):
    """As redisext 2.0.2 asked for expiry and rename."""

    CONNECTION = "memory://sessions"
    CONNECTION_REUSE = False
    EXPIRE = 3600


class OwnCodec:
    """An instance of it is a serializer."""

    def __init__(self, indent: int) -> None:
        self.indent = indent

    def encode(self, item: Event) -> str:
        return item.model_dump_json(indent=self.indent)

    def decode(self, item: bytes) -> Event:
        return Event.model_validate_json(item)


class Upper:
    """It is a serializer itself."""

    @staticmethod
    def encode(item: str) -> bytes:
        return item.upper().encode()

    @staticmethod
    def decode(item: bytes) -> str:
        return item.decode()


class AsRaw(Queue[bytes]):
    SERIALIZER = redisext.serializer.Raw


class AsString(Queue[str]):
    SERIALIZER = redisext.serializer.String


class AsNumeric(Queue[int]):
    SERIALIZER = redisext.serializer.Numeric


class AsJSON(Queue[dict[str, int]]):
    SERIALIZER = redisext.serializer.JSON


class AsPickle(Queue[Point]):
    SERIALIZER = redisext.serializer.Pickle


class AsOwn(Queue[Event]):
    SERIALIZER = OwnCodec(indent=2)


class AsStatic(Queue[str]):
    SERIALIZER = Upper


def declarations(db: Backend) -> None:
    assert_type(SiteVisitors(), SiteVisitors)
    assert_type(SiteVisitors().incr(), int)
    assert_type(SiteVisitors().expire(), bool)
    assert_type(Visitors("other").get(), int | None)
    assert_type(OnABackend().pop(), int | None)
    assert_type(OnAConnectionClass(), OnAConnectionClass)
    assert_type(Session("ada").set({"name": "Ada", "age": 36}), bool)
    assert_type(Session("ada").expire(), bool)
    assert_type(Session("ada").rename("lovelace"), bool)
    assert_type(AsRaw("raw", db).pop(), bytes | None)
    assert_type(AsString("string", db).pop(), str | None)
    assert_type(AsNumeric("numeric", db).pop(), int | None)
    assert_type(AsJSON("json", db).pop(), dict[str, int] | None)
    assert_type(AsPickle("pickle", db).pop(), Point | None)
    assert_type(AsOwn("own", db).pop(), Event | None)
    assert_type(AsStatic("static", db).pop(), str | None)


# --- Functions that take a structure, or what it stands in for


def take(queue: Queue[T], otherwise: T) -> T:
    item = queue.pop(default=NOTHING)
    return otherwise if item is NOTHING else item


def move(source: Queue[T], destination: Queue[T]) -> int:
    item = source.pop(default=NOTHING)
    return destination.size() if item is NOTHING else destination.push(item)


def add_one(counter: Counter[N]) -> N:
    return counter.incr()


def carried_out(backend: Backend, *commands: Command[R]) -> list[R]:
    return [backend.execute(command) for command in commands]


def rename_event(events: MutableMapping[str, Event], old: str, new: str) -> None:
    events[new] = events.pop(old)


def names(events: Mapping[str, Event]) -> list[str]:
    return [event.name for event in events.values()]


def mark(seen: MutableSet[str], name: str) -> bool:
    new = name not in seen
    seen.add(name)
    return new


def seconds_left(model: Model) -> int:
    return model.ttl()


def count(things: Collection[object]) -> int:
    return len(things)


def generic_functions(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    assert_type(take(jobs, EVENT), Event)
    assert_type(take(Jobs[int]("numbers", db), 0), int)
    assert_type(move(jobs, EventJobs("others", db)), int)
    assert_type(add_one(Counter[int]("integers", db)), int)
    assert_type(add_one(Counter[float]("floats", db)), float)
    assert_type(carried_out(db, jobs.commands.size(), jobs.commands.push(EVENT)), list[int])


def as_the_collections_they_are(db: Backend) -> None:
    events = HashMap[str, Event]("events", db)
    events["a"] = EVENT
    rename_event(events, "a", "b")
    assert_type(names(events), list[str])
    tokens = Pool[str]("tokens", db)
    assert_type(mark(tokens, "t1"), bool)
    a_set: AbstractSet[str] = tokens
    assert_type(count(a_set), int)
    assert_type(count(events), int)
    assert_type(seconds_left(events), int)
    assert_type(seconds_left(tokens), int)
    assert_type(seconds_left(Queue[Event]("queue", db)), int)
    assert_type(seconds_left(Lock("lock", db)), int)
    iterables: list[Iterable[Event]] = [Queue[Event]("queue", db), Stack[Event]("stack", db), Pool[Event]("pool", db)]
    assert_type([event.name for iterable in iterables for event in iterable], list[str])


# --- Backends


def connecting(db: Backend) -> None:
    with redisext.connect("memory://other", prefix="app:") as own:
        assert_type(own, RedisBackend | MemoryBackend)
        assert_type(Queue[Event]("jobs", own).pop(), Event | None)
        assert_type(Queue[Event]("jobs", own.primary).pop(), Event | None)
        assert_type(own.prefix, str)
    group = redisext.connect(
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
    assert_type(group, RedisBackend | MemoryBackend)
    assert_type(Queue[Event]("jobs", db.primary).pop(), Event | None)
    assert_type(Queue[Event]("jobs", "memory://other").pop(), Event | None)
    assert_type(Queue[Event]("jobs", TenZeroZeroOne), Queue[Event])


class Recorder(Batches):
    """A backend that notes what it hands on; what it inherits is all that batches and transactions need."""

    def __init__(self, backend: Backend) -> None:
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

    def execute(self, command: Command[R]) -> R:
        self.seen.append(repr(command))
        return self.backend.execute(command)

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        self.seen += [repr(one.command) for one in pending]
        self.backend.execute_many(pending)

    def session(self, watch: Sequence[bytes] = ()) -> AbstractContextManager[abc.Session]:
        return self.backend.session(watch)

    def close(self) -> None:
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()


def own_backend(db: Backend) -> None:
    recorder = Recorder(db)
    accepted: Backend = recorder
    assert_type(Queue[Event]("jobs", recorder).pop(), Event | None)
    assert_type(Queue[Event]("jobs", accepted).pop(), Event | None)
    assert recorder.seen == ["Command(RPOP b'jobs')"] * 2
    with accepted.batch() as batch:
        size = batch.add(Queue[Event]("jobs", recorder).commands.push(EVENT))
    assert_type(size.result(), int)


# --- Errors


def errors(db: Backend) -> None:
    numbers = Queue[int]("numbers", db)
    Queue("numbers", db).push(b"no number")
    try:
        numbers.pop()
    except DecodeError as error:
        assert_type(error.raw, bytes)
        assert_type(error.element, str)
        assert_type(error.key, str | None)
    try:
        Queue[Event]("events", db).push(Event.model_construct(name=5))
    except EncodeError as error:
        assert_type(error.reason, str)
        assert_type(error.key, str | None)
    lost = OutcomeUnknown("no reply", numbers.commands.pop())
    assert_type(lost.command, Command[object])
    unconfirmed = NotReplicated("too few", numbers.commands.pop(), 5, 1)
    assert_type(unconfirmed.command, Command[object])
    assert_type(unconfirmed.confirmed, int)
    assert_type(unconfirmed.result, object)
    unknown: OutcomeUnknown = unconfirmed
    assert unknown.sent is False


# --- What no checker can see


def a_type_that_only_an_annotation_names(db: Backend) -> None:
    """At run time the element type is what stands in the brackets; checkers take it from the left side, too."""
    words: Queue[str] = Queue("words", db)
    words.push("text")
    assert repr(words.pop()) == "b'text'"


def numbers_that_are_no_numbers(db: Backend) -> None:
    with pytest.raises(redisext.ConfigurationError, match="int or float, not bool"):
        Counter[bool]("switch", db)
