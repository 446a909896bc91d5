"""What a client is to the benchmarks: a class with a method for each operation that it can do.

The methods are named as in :mod:`benchmarks.operations`; one that is not there, cannot be done. A client works on a key
of its own, and gives the values that it was given, or :attr:`Client.expected` in their place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import redis

from benchmarks.operations import CHUNK, Operation
from benchmarks.payload import Payload

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    host: str
    port: int
    admin: redis.Redis

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def commands(self) -> int:
        """How many commands the server has carried out so far."""
        return int(self.admin.info("stats")["total_commands_processed"])


class Client(Generic[T]):
    """`title` is what the tables call it, `about` what they say of it."""

    title: ClassVar[str]
    package: ClassVar[str] = ""
    """What is imported to use it, where that is worth timing."""

    about: ClassVar[str] = ""
    embedded: ClassVar[bool] = False
    """Whether there is no server that could tell what it does."""

    payloads: ClassVar[tuple[str, ...]] = ("int", "str", "model", "nested")

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        self.server = server
        self.payload = payload
        self.key = key
        self.value = payload.one

    @property
    def expected(self) -> object:
        """What a read is to give."""
        return self.value

    @classmethod
    def can(cls, operation: Operation, payload: str) -> bool:
        return hasattr(cls, operation.method) and payload in cls.payloads

    def forget(self) -> None:
        """Have nothing stored."""
        self.server.admin.delete(self.key)

    def close(self) -> None:
        pass


class AsyncClient(Client[T]):
    """The same for asyncio: its methods are awaited."""

    async def open(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def chunks(values: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
