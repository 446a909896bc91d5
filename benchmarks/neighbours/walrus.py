"""walrus: containers over redis-py, of which it is a subclass. It stores bytes; what they mean is its user's affair.

Its batches are redis-py's pipelines.
"""
# It is installed in an environment of its own, where checkers do not look.
# pyright: reportMissingModuleSource=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

from walrus import Database

from benchmarks.client import Client, Server, chunks
from benchmarks.operations import BEST, CHUNK
from benchmarks.payload import Payload

T = TypeVar("T")


class Walrus(Client[T]):
    title = "walrus"
    package = "walrus"
    about = "with a model's own JSON around it"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.db = Database(host=server.host, port=server.port)
        self.counter = self.db.counter(key)
        self.hash = self.db.Hash(key)
        self.list = self.db.List(key)
        self.set = self.db.Set(key)
        self.sorted = self.db.ZSet(key)

    def counter_increment(self) -> int:
        return self.counter.incr()

    def counter_value(self) -> int:
        return self.counter.value()

    def map_set(self) -> None:
        self.db[self.key] = self.payload.dump(self.value)

    def map_get(self) -> T:
        return self.payload.load(self.db[self.key])

    def hash_set(self) -> None:
        self.hash["ada"] = self.payload.dump(self.value)

    def hash_get(self) -> T:
        return self.payload.load(self.hash["ada"])

    def queue_push_pop(self) -> T:
        self.list.prepend(self.payload.dump(self.value))
        return self.payload.load(self.list.popright())

    def set_add_contains(self) -> bool:
        self.set.add(self.payload.dump(self.value))
        return self.payload.dump(self.value) in self.set

    def sorted_fill(self) -> None:
        self.sorted.add({self.payload.dump(value): score for score, value in enumerate(self.payload.several(BEST))})

    def sorted_add_range(self) -> list[T]:
        self.sorted.add({self.payload.dump(self.value): 0})
        return [self.payload.load(raw) for raw in self.sorted.range(0, -1, reverse=True)]

    def queue_load(self, count: int) -> None:
        for chunk in chunks(self.payload.several(count)):
            self.list.extend([self.payload.dump(value) for value in chunk])

    def queue_size(self) -> int:
        return len(self.list)

    def queue_iterate(self) -> Iterator[T]:
        for raw in self.list:
            yield self.payload.load(raw)

    def hash_load(self, count: int) -> None:
        for number, chunk in enumerate(chunks(self.payload.several(count))):
            self.hash.update(
                {f"{place}": self.payload.dump(value) for place, value in enumerate(chunk, start=number * CHUNK)}
            )

    def hash_size(self) -> int:
        return len(self.hash)

    def hash_iterate(self) -> Iterator[T]:
        for _, raw in self.hash:
            yield self.payload.load(raw)

    def close(self) -> None:
        self.db.close()


CLIENTS: Final = (Walrus,)
