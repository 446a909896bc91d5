"""pottery: Python's containers over Redis. It stores JSON; its counter's `+= 1` is a read and a write."""
# It is installed in an environment of its own, where checkers do not look.
# pyright: reportMissingModuleSource=false

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Final, TypeVar

import redis
from pottery import InefficientAccessWarning, RedisCounter, RedisDeque, RedisDict, RedisSet, RedisSimpleQueue

from benchmarks.client import Client, Server, chunks
from benchmarks.operations import CHUNK
from benchmarks.payload import Payload

T = TypeVar("T")

warnings.simplefilter("ignore", InefficientAccessWarning)  # it says so of whatever is done to all elements


class Pottery(Client[T]):
    title = "pottery"
    package = "pottery"
    about = "RedisCounter, RedisDict, RedisSimpleQueue, RedisSet; RedisDeque where all elements are meant"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.redis = redis.Redis(host=server.host, port=server.port)
        self.counter = RedisCounter(redis=self.redis, key=key)
        self.dict = RedisDict(redis=self.redis, key=key)
        self.queue = RedisSimpleQueue(redis=self.redis, key=key)
        self.deque = RedisDeque(redis=self.redis, key=key)
        self.set = RedisSet(redis=self.redis, key=key)

    def counter_increment(self) -> None:
        self.counter["hits"] += 1

    def counter_value(self) -> int:
        return self.counter["hits"]

    def hash_set(self) -> None:
        self.dict["ada"] = self.payload.to_plain(self.value)

    def hash_get(self) -> T:
        return self.payload.from_plain(self.dict["ada"])

    def queue_push_pop(self) -> T:
        self.queue.put(self.payload.to_plain(self.value))
        return self.payload.from_plain(self.queue.get())

    def set_add_contains(self) -> bool:
        self.set.add(self.payload.to_plain(self.value))
        return self.payload.to_plain(self.value) in self.set

    def queue_load(self, count: int) -> None:
        for chunk in chunks(self.payload.several(count)):
            self.deque.extendleft([self.payload.to_plain(value) for value in chunk])

    def queue_size(self) -> int:
        return len(self.deque)

    def queue_iterate(self) -> Iterator[T]:
        for plain in self.deque:
            yield self.payload.from_plain(plain)

    def hash_load(self, count: int) -> None:
        for number, chunk in enumerate(chunks(self.payload.several(count))):
            self.dict.update(
                {f"{place}": self.payload.to_plain(value) for place, value in enumerate(chunk, start=number * CHUNK)}
            )

    def hash_size(self) -> int:
        return len(self.dict)

    def hash_iterate(self) -> Iterator[T]:
        for plain in self.dict.values():
            yield self.payload.from_plain(plain)

    def close(self) -> None:
        self.redis.close()


CLIENTS: Final = (Pottery,)
