"""redis-collections: Python's containers over Redis, pickled. Its counter's `+= 1` is a read and a write."""
# It is installed in an environment of its own, where checkers do not look.
# pyright: reportMissingModuleSource=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import redis
from redis_collections import Counter, Deque, Dict, List, Set, SortedSetCounter

from benchmarks.client import Client, Server, chunks
from benchmarks.operations import BEST, CHUNK
from benchmarks.payload import Payload

T = TypeVar("T")


class RedisCollections(Client[T]):
    title = "redis-collections"
    package = "redis_collections"
    about = "Counter, Dict, Deque, Set, SortedSetCounter; List where all elements are meant"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.redis = redis.Redis(host=server.host, port=server.port)
        self.counter = Counter(redis=self.redis, key=key)
        self.dict: Dict[T] = Dict(redis=self.redis, key=key)
        self.deque: Deque[T] = Deque(redis=self.redis, key=key)
        self.list: List[T] = List(redis=self.redis, key=key)
        self.set: Set[T] = Set(redis=self.redis, key=key)
        self.sorted: SortedSetCounter[T] = SortedSetCounter(redis=self.redis, key=key)

    def counter_increment(self) -> None:
        self.counter["hits"] += 1

    def counter_value(self) -> int:
        return self.counter["hits"]

    def hash_set(self) -> None:
        self.dict["ada"] = self.value

    def hash_get(self) -> T:
        return self.dict["ada"]

    def queue_push_pop(self) -> T:
        self.deque.appendleft(self.value)
        return self.deque.pop()

    def set_add_contains(self) -> bool:
        self.set.add(self.value)
        return self.value in self.set

    def sorted_fill(self) -> None:
        for score, value in enumerate(self.payload.several(BEST)):
            self.sorted.set_score(value, score)

    def sorted_add_range(self) -> list[T]:
        self.sorted.set_score(self.value, 0)
        return [value for value, _ in self.sorted.items(reverse=True)]

    def queue_load(self, count: int) -> None:
        for chunk in chunks(self.payload.several(count)):
            self.list.extend(chunk)

    def queue_size(self) -> int:
        return len(self.list)

    def queue_iterate(self) -> Iterator[T]:
        return iter(self.list)

    def hash_load(self, count: int) -> None:
        for number, chunk in enumerate(chunks(self.payload.several(count))):
            self.dict.update({f"{place}": value for place, value in enumerate(chunk, start=number * CHUNK)})

    def hash_size(self) -> int:
        return len(self.dict)

    def hash_iterate(self) -> Iterator[T]:
        return iter(self.dict.values())

    def close(self) -> None:
        self.redis.close()


CLIENTS: Final = (RedisCollections,)
