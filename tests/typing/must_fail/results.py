"""What comes back, taken for something else."""

# pyright: reportUnknownMemberType=false, reportUnusedExpression=false

from __future__ import annotations

from pydantic import BaseModel

from redisext import NOTHING, Counter, HashMap, Lock, Map, Pool, Queue, SortedSet


class Event(BaseModel):
    name: str


jobs = Queue[Event]("jobs")
numbers = Queue[int]("numbers")

# There may be none.
jobs.pop().name  # E: none
jobs.peek().name  # E: none
jobs.pop_wait(1).name  # E: none
numbers.pop() + 1  # E: operator pyright=reportOptionalOperand
event: Event = jobs.pop()  # E: assignment
event = jobs.pop(default=NOTHING)  # E: assignment mypy=arg-type
Map[Event]("latest").get().name  # E: none
Counter[int]("visitors").get() + 1  # E: operator pyright=reportOptionalOperand
HashMap[str, Event]("events").get("a").name  # E: none
Pool[str]("tokens").pop().upper()  # E: none
SortedSet[str]("scores").score("ada") + 1  # E: operator pyright=reportOptionalOperand
SortedSet[str]("scores").rank("ada") + 1  # E: operator pyright=reportOptionalOperand
Lock("nightly").token.upper()  # E: none

# It is another type.
jobs.push(Event(name="signup")).name  # E: attribute
jobs.items().pop().size  # E: attribute
name: str = numbers.pop(default=0)  # E: assignment mypy=arg-type,assignment
number: int = Counter[float]("litres").incr()  # E: assignment
words: list[str] = numbers.items()  # E: assignment
scored: list[tuple[str, float]] = SortedSet[str]("scores").members(with_scores=True)  # E: assignment
if numbers.pop() == "5":  # E: comparison
    pass
if Counter[int]("visitors").incr() == "5":  # E: comparison
    pass
if jobs.pop() == "signup":  # E: comparison
    pass
for item in numbers:
    item.upper()  # E: attribute
{"a": 1} | HashMap[str, Event]("events")  # E: operator

# It is not carried out yet.
size: int = jobs.commands.size()  # E: assignment
jobs.commands.pop().name  # E: attribute

# There is no such thing.
jobs.popp()  # E: attribute
jobs.push_wait(Event(name="signup"))  # E: attribute
Event(name="signup") in jobs  # E: operator mypy=nothing pyright=nothing
"5" in numbers  # E: operator
jobs[0]  # E: index
jobs.pop(0, 1)  # E: overload
jobs.pop_wait(1, None)  # E: overload
Pool[str]("tokens")[0]  # E: index
Counter[int]("visitors") + 1  # E: operator
with jobs:  # E: context-manager
    pass
with Lock("nightly") as lock:
    lock.name  # E: attribute
