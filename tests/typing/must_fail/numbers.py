"""Numbers where there are none."""

# pyright: reportUnknownMemberType=false, reportUnusedExpression=false

from __future__ import annotations

from pydantic import BaseModel

from redisext import Counter, HashMap, Lock, Map, Queue, SortedSet


class Event(BaseModel):
    name: str


class Named(Counter[str]):  # E: type-argument
    pass


def count(counter: Counter[str]) -> None: ...  # E: type-argument


Counter[str]("names")  # E: type-argument
Counter[int | None]("numbers")  # E: type-argument
Counter.of(str)  # E: argument mypy=type-var pyrefly=bad-specialization
Counter[int]("visitors").incr("5")  # E: argument
Counter[int]("visitors").incr(0.5)  # E: argument
Counter[int]("visitors").set(0.5)  # E: argument
Counter[int]("visitors").set(None)  # E: argument
Map[Event]("latest").incr()  # E: not-a-number
Map[str]("latest").decr()  # E: not-a-number
Map[bool]("switch").incr()  # E: not-a-number
Map[int | None]("number").incr()  # E: not-a-number
Map[int]("number").incr(0.5)  # E: argument ty=no-matching-overload pyrefly=no-matching-overload
Map[Event]("latest").commands.incr()  # E: not-a-number
HashMap[str, Event]("events").incr("a")  # E: not-a-number
HashMap[str, Event]("events").commands.incr("a")  # E: not-a-number
HashMap[str, int]("stock").incr(1)  # E: argument ty=no-matching-overload pyrefly=no-matching-overload
HashMap[str, int]("stock").incr("apples", 0.5)  # E: argument ty=no-matching-overload pyrefly=no-matching-overload
SortedSet[str]("scores").incr("ada", "1")  # E: argument
SortedSet[str]("scores").truncate(0.5)  # E: argument
SortedSet[str]("scores").members_by_score(None, 5)  # E: overload pyright=reportArgumentType,reportCallIssue
Queue[int]("numbers").pop_wait("5")  # E: argument mypy=call-overload
Queue[int]("numbers").expire("5")  # E: argument
Lock("nightly").acquire("5")  # E: argument
Lock("nightly").acquire(5, 1)  # E: unwanted-argument
Lock("nightly").extend("5")  # E: argument
