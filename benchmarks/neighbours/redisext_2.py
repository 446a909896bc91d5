"""Redisext 2.0.2, of 2015. Its names are those of today, by which checkers judge it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import redisext.backend.redis
from benchmarks.client import Client, Server
from benchmarks.operations import BEST
from benchmarks.payload import Payload
from redisext.counter import Counter
from redisext.hashmap import HashMap, Map
from redisext.pool import Pool, SortedSet
from redisext.queue import Queue
from redisext.serializer import JSON, Numeric

T = TypeVar("T")


class Redisext2(Client[T]):
    title = "Redisext 2.0.2"
    package = "redisext.queue"
    about = "its JSON serializer"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)

        class Settings(redisext.backend.redis.Connection):
            MASTER = {"host": server.host, "port": server.port, "db": 0}  # noqa: RUF012  # as it was written

        class Hits(Counter):
            CONNECTION = Settings
            SERIALIZER = Numeric

        class Value(Map):
            CONNECTION = Settings
            SERIALIZER = JSON

        class Users(HashMap):
            CONNECTION = Settings
            SERIALIZER = JSON

        class Jobs(Queue):
            CONNECTION = Settings
            SERIALIZER = JSON

        class Online(Pool):
            CONNECTION = Settings
            SERIALIZER = JSON

        class Best(SortedSet):
            CONNECTION = Settings
            SERIALIZER = JSON

        self.counter = Hits(key)
        # To checkers these are of today, and hold bytes.
        self.map: Any = Value(key)
        self.hash: Any = Users(key)
        self.queue: Any = Jobs(key)
        self.set: Any = Online(key)
        self.sorted: Any = Best(key)

    def counter_increment(self) -> int:
        return self.counter.incr()

    def counter_value(self) -> int | None:
        return self.counter.get()

    def map_set(self) -> None:
        self.map.set(self.payload.to_plain(self.value))

    def map_get(self) -> T:
        return self.payload.from_plain(self.map.get())

    def hash_set(self) -> None:
        self.hash.set("ada", self.payload.to_plain(self.value))

    def hash_get(self) -> T:
        return self.payload.from_plain(self.hash.get("ada"))

    def queue_push_pop(self) -> T:
        self.queue.push(self.payload.to_plain(self.value))
        return self.payload.from_plain(self.queue.pop())

    def set_add_contains(self) -> bool:
        self.set.push(self.payload.to_plain(self.value))
        return bool(self.set.contains(self.payload.to_plain(self.value)))

    def sorted_fill(self) -> None:
        for score, value in enumerate(self.payload.several(BEST)):
            self.sorted.add(self.payload.to_plain(value), score)

    def sorted_add_range(self) -> list[T]:
        self.sorted.add(self.payload.to_plain(self.value), 0)
        return [self.payload.from_plain(plain) for plain in self.sorted.members()]

    def queue_load(self, count: int) -> None:
        for value in self.payload.several(count):
            self.queue.push(self.payload.to_plain(value))

    def queue_size(self) -> object:
        return self.queue.size()

    def queue_iterate(self) -> Iterator[T]:
        for plain in self.queue.items():
            yield self.payload.from_plain(plain)


CLIENTS: Final = (Redisext2,)
