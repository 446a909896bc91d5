"""Values that are not of the element type."""

# pyright: reportUnknownMemberType=false, reportUnusedExpression=false

from __future__ import annotations

from pydantic import BaseModel

from redisext import HashMap, Map, Pool, PriorityQueue, Queue, SortedSet, Stack


class Event(BaseModel):
    name: str


class Signup(Event):
    pass


events = HashMap[str, Event]("events")
by_number = HashMap[int, Event]("events")

Queue[int]("numbers").push("5")  # E: argument
Queue[int]("numbers").push(5, None)  # E: argument
Queue[int]("numbers").push([5, 6])  # E: argument
Queue[int]("numbers").commands.push("5")  # E: argument
Queue[Event]("events").push({"name": "signup"})  # E: argument
Queue[Signup]("signups").push(Event(name="signup"))  # E: argument
Queue("raw").push("text")  # E: argument
Stack[str]("words").push(b"word")  # E: argument
PriorityQueue[str]("tasks").push(1, 1)  # E: argument
PriorityQueue[str]("tasks").push("sweep")  # E: missing-argument
PriorityQueue[str]("tasks").push("sweep", "first")  # E: argument
Map[Event]("latest").set("signup")  # E: argument
Map[Event]("latest").update(lambda event: "signup")  # E: argument mypy=arg-type,return-value
Map[Event]("latest").update(lambda event: event)  # E: argument mypy=arg-type,return-value
Pool[str]("tokens").push(1)  # E: argument
Pool[str]("tokens").add(1)  # E: argument
Pool[str]("tokens").push("t1", "t2")  # E: unwanted-argument
SortedSet[str]("scores").add(3, "ada")  # E: argument
SortedSet[str]("scores").add("ada")  # E: missing-argument
SortedSet[str]("scores").rank(1)  # E: argument
events.set(1, Event(name="signup"))  # E: argument
events.set("a", "signup")  # E: argument
events.get(1)  # E: argument mypy=call-overload
events[1]  # E: argument mypy=index pyrefly=bad-index
events["a"] = "signup"  # E: assignment pyright=reportArgumentType pyrefly=unsupported-operation
events.update({"a": "signup"})  # E: overload mypy=dict-item pyright=reportArgumentType,reportCallIssue
events.update([("a", "signup")])  # E: overload mypy=list-item pyright=reportArgumentType,reportCallIssue
events.update(a="signup")  # E: argument mypy=call-overload
by_number.update(a=Event(name="signup"))  # E: argument mypy=call-overload pyright=reportCallIssue
events.setdefault("a")  # E: missing-argument ty=invalid-argument-type pyrefly=bad-argument-type
by_number.get_many(["a"])  # E: argument mypy=list-item
del events[1]  # E: argument pyrefly=unsupported-operation
