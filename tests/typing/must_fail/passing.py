"""A structure where another is asked for."""

# pyright: reportUnknownMemberType=false, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import MutableMapping, MutableSet, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar

import redisext
from redisext import Backend, Counter, HashMap, Pending, Pool, PriorityQueue, Queue, SortedSet, Stack
from redisext.backend import abc
from redisext.batch import Batches
from redisext.command import Command

T = TypeVar("T")
R = TypeVar("R")


def sweep(queue: Queue[str]) -> None: ...
def count(counter: Counter[int]) -> None: ...
def move(source: Queue[T], destination: Queue[T]) -> None: ...
def change(mapping: MutableMapping[str, int]) -> None: ...
def mark(marks: MutableSet[str]) -> None: ...
def first(items: Sequence[str]) -> None: ...
def carry_out(command: Command[int]) -> None: ...
def connect(backend: Backend) -> None: ...


class Jobs(Queue[T]):
    pass


class Numbers(Queue[int]):
    pass


class Deaf(Batches):
    """It cannot execute."""

    prefix = ""
    location = ""

    @property
    def primary(self) -> Self:
        return self

    def execute_many(self, pending: Sequence[Pending[object]]) -> None: ...

    def session(self, watch: Sequence[bytes] = ()) -> AbstractContextManager[abc.Session]:
        raise NotImplementedError

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class Untold(Deaf):
    """It gives replies, not results."""

    def execute(self, command: Command[R]) -> object:
        return command


sweep(Queue[int]("numbers"))  # E: argument
sweep(Queue[bytes]("raw"))  # E: argument
sweep(Queue[str | None]("words"))  # E: argument
sweep(Stack[str]("words"))  # E: argument
sweep(PriorityQueue[str]("words"))  # E: argument
sweep(Jobs[int]("numbers"))  # E: argument
sweep(Numbers("numbers"))  # E: argument
sweep(Queue.of(int)("numbers"))  # E: argument
move(Queue[int]("numbers"), Queue[str]("words"))  # E: argument mypy=misc
count(Counter[float]("litres"))  # E: argument
change(HashMap[str, str]("words"))  # E: argument
change(HashMap[int, int]("numbers"))  # E: argument
mark(Pool[int]("numbers"))  # E: argument
mark(SortedSet[str]("words"))  # E: argument
first(Queue[str]("words"))  # E: argument
carry_out(Queue[int]("numbers").commands.pop())  # E: argument
carry_out(Counter[float]("litres").commands.incr())  # E: argument
connect(Deaf())  # E: argument
connect(Untold())  # E: argument pyright=nothing ty=nothing
connect("redis://localhost")  # E: argument
Queue[int]("numbers", Deaf())  # E: argument
Queue[int]("numbers", 5)  # E: argument
Queue[int](None, "memory://", 0)  # E: unwanted-argument
Queue[int](5.5)  # E: argument
redisext.connect(5)  # E: argument
redisext.connect("memory://", prefixes="app:")  # E: unwanted-argument ty=unknown-argument pyrefly=unexpected-keyword
redisext.connect("memory://", socket_timeout="5")  # E: argument
redisext.connect("memory://", wait_replicas="1")  # E: argument
redisext.connect("memory://", read_from_replicas="true")  # E: argument
redisext.aconnect("memory://", wait_timeout="1")  # E: argument
redisext.aconnect("memory://", sentinel_password=b"secret")  # E: argument
redisext.NotReplicated("too few", "RPOP")  # E: argument
Queue[int, str]("numbers")  # E: type-argument mypy=misc
Queue[5]("numbers")  # E: type-argument mypy=valid-type pyright=nothing ty=invalid-type-form pyrefly=not-a-type
Queue.of(5)  # E: argument
Queue.of("int")  # E: argument
numbers: Queue[str] = Queue.of(int)("numbers")  # E: assignment
