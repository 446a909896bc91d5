"""Redisext: on one server, embedded in this process, with each operation recorded on the server; and under asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final, TypeVar

import redisext
from benchmarks.client import AsyncClient, Client, Server, chunks
from benchmarks.operations import BEST, CHUNK, How, Operation
from benchmarks.payload import Payload

T = TypeVar("T")


class Redisext(Client[T]):
    title = "Redisext"
    package = "redisext"
    about = "typed: what is stored is checked, encoded and decoded"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.db = redisext.connect(self.url())

    # Made when first used, as in a program.

    @cached_property
    def counter(self) -> redisext.Counter[int]:
        return redisext.Counter[int](self.key, self.db)

    @cached_property
    def map(self) -> redisext.Map[T]:
        return redisext.Map.of(self.payload.kind)(self.key, self.db)

    @cached_property
    def hash(self) -> redisext.HashMap[str, T]:
        return redisext.HashMap.of(str, self.payload.kind)(self.key, self.db)

    @cached_property
    def queue(self) -> redisext.Queue[T]:
        return redisext.Queue.of(self.payload.kind)(self.key, self.db)

    @cached_property
    def set(self) -> redisext.Pool[T]:
        return redisext.Pool.of(self.payload.kind)(self.key, self.db)

    @cached_property
    def sorted(self) -> redisext.SortedSet[T]:
        return redisext.SortedSet.of(self.payload.kind)(self.key, self.db)

    def url(self) -> str:
        return self.server.url

    def counter_increment(self) -> int:
        return self.counter.incr()

    def counter_value(self) -> int | None:
        return self.counter.get()

    def map_set(self) -> None:
        self.map.set(self.value)

    def map_get(self) -> T | None:
        return self.map.get()

    def hash_set(self) -> None:
        self.hash.set("ada", self.value)

    def hash_get(self) -> T | None:
        return self.hash.get("ada")

    def queue_push_pop(self) -> T | None:
        self.queue.push(self.value)
        return self.queue.pop()

    def set_add_contains(self) -> bool:
        self.set.push(self.value)
        return self.set.contains(self.value)

    def sorted_fill(self) -> None:
        for score, value in enumerate(self.payload.several(BEST)):
            self.sorted.add(value, score)

    def sorted_add_range(self) -> list[T]:
        self.sorted.add(self.value, 0)
        return self.sorted.members()

    def batch_increment(self, size: int) -> None:
        with self.db.batch() as batch:
            pending = [batch.add(self.counter.commands.incr()) for _ in range(size)]
        for one in pending:
            one.result()

    def batch_set(self, size: int) -> None:
        with self.db.batch() as batch:
            for _ in range(size):
                batch.add(self.map.commands.set(self.value))

    def batch_get(self, size: int) -> T | None:
        with self.db.batch() as batch:
            pending = [batch.add(self.map.commands.get()) for _ in range(size)]
        *_, last = [one.result() for one in pending]
        return last

    def batch_push_pop(self, size: int) -> T | None:
        with self.db.batch() as batch:
            for _ in range(size // 2):
                batch.add(self.queue.commands.push(self.value))
            popped = [batch.add(self.queue.commands.pop()) for _ in range(size // 2)]
        *_, last = [one.result() for one in popped]
        return last

    def queue_load(self, count: int) -> None:
        for chunk in chunks(self.payload.several(count)):
            self.queue.push(*chunk)

    def queue_size(self) -> int:
        return self.queue.size()

    def queue_iterate(self) -> Iterator[T]:
        return iter(self.queue)

    def hash_load(self, count: int) -> None:
        for number, chunk in enumerate(chunks(self.payload.several(count))):
            self.hash.update((f"{place}", value) for place, value in enumerate(chunk, start=number * CHUNK))

    def hash_size(self) -> int:
        return self.hash.size()

    def hash_iterate(self) -> Iterator[T]:
        for _, value in self.hash.pairs():
            yield value

    def close(self) -> None:
        self.db.close()


class Embedded(Redisext[T]):
    title = "Redisext, embedded"
    about = "the same on memory://, in the process itself; without a server"
    embedded = True

    def url(self) -> str:
        return "memory://bench"

    def forget(self) -> None:
        self.queue.clear()


class ExactlyOnce(Redisext[T]):
    title = "Redisext, exactly once"
    about = "connect(..., exactly_once=True): each operation that changes something is recorded on the server"

    def url(self) -> str:
        return f"{self.server.url}?exactly_once=true"

    @classmethod
    def can(cls, operation: Operation, payload: str) -> bool:
        methods = {"counter_increment": "int", "queue_push_pop": "model"}
        return operation.how is How.IN_A_ROW and methods.get(operation.method) == payload


class AsyncRedisext(AsyncClient[T]):
    title = "Redisext, asyncio"

    async def open(self) -> None:
        self.db = redisext.aconnect(self.server.url)
        self.counter = redisext.AsyncCounter[int](self.key, self.db)
        self.map = redisext.AsyncMap.of(self.payload.kind)(self.key, self.db)
        self.queue = redisext.AsyncQueue.of(self.payload.kind)(self.key, self.db)

    async def counter_increment(self) -> int:
        return await self.counter.incr()

    async def counter_value(self) -> int | None:
        return await self.counter.get()

    async def map_set(self) -> None:
        await self.map.set(self.value)

    async def map_get(self) -> T | None:
        return await self.map.get()

    async def queue_push_pop(self) -> T | None:
        await self.queue.push(self.value)
        return await self.queue.pop()

    async def aclose(self) -> None:
        await self.db.aclose()


CLIENTS: Final = (Redisext, Embedded, ExactlyOnce, AsyncRedisext)
