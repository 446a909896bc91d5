"""redis-py alone, given ready-made bytes, and giving bytes: what all others are measured by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import redis
import redis.asyncio

from benchmarks.client import AsyncClient, Client, Server, chunks
from benchmarks.operations import BEST, CHUNK
from benchmarks.payload import Payload

T = TypeVar("T")


class RedisPy(Client[T]):
    title = "redis-py"
    package = "redis"
    about = "the same commands on ready-made bytes"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.redis = redis.Redis(host=server.host, port=server.port)
        self.raw = payload.dump(self.value)

    @property
    def expected(self) -> object:
        return self.raw

    def counter_increment(self) -> int:
        return self.redis.incr(self.key)

    def counter_value(self) -> int:
        return int(self.redis.get(self.key) or 0)

    def map_set(self) -> None:
        self.redis.set(self.key, self.raw)

    def map_get(self) -> bytes | None:
        return self.redis.get(self.key)

    def hash_set(self) -> None:
        self.redis.hset(self.key, "ada", self.raw)

    def hash_get(self) -> bytes | None:
        return self.redis.hget(self.key, "ada")

    def queue_push_pop(self) -> bytes | None:
        self.redis.lpush(self.key, self.raw)
        return self.redis.rpop(self.key)

    def set_add_contains(self) -> bool:
        self.redis.sadd(self.key, self.raw)
        return bool(self.redis.sismember(self.key, self.raw))

    def sorted_fill(self) -> None:
        self.redis.zadd(self.key, {raw: score for score, raw in enumerate(self.payload.dumped(BEST))})

    def sorted_add_range(self) -> list[bytes]:
        self.redis.zadd(self.key, {self.raw: 0})
        return self.redis.zrevrange(self.key, 0, -1)

    def batch_increment(self, size: int) -> None:
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(size):
                pipe.incr(self.key)
            pipe.execute()

    def batch_set(self, size: int) -> None:
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(size):
                pipe.set(self.key, self.raw)
            pipe.execute()

    def batch_get(self, size: int) -> object:
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(size):
                pipe.get(self.key)
            *_, last = pipe.execute()
        return last

    def batch_push_pop(self, size: int) -> object:
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(size // 2):
                pipe.lpush(self.key, self.raw)
            for _ in range(size // 2):
                pipe.rpop(self.key)
            *_, last = pipe.execute()
        return last

    def queue_load(self, count: int) -> None:
        for chunk in chunks(self.payload.dumped(count)):
            self.redis.lpush(self.key, *chunk)

    def queue_size(self) -> int:
        return self.redis.llen(self.key)

    def queue_iterate(self) -> Iterator[bytes]:
        start = 0
        while page := self.redis.lrange(self.key, start, start + CHUNK - 1):
            yield from page
            start += CHUNK

    def hash_load(self, count: int) -> None:
        for number, chunk in enumerate(chunks(self.payload.dumped(count))):
            self.redis.hset(
                self.key, mapping={f"{place}": raw for place, raw in enumerate(chunk, start=number * CHUNK)}
            )

    def hash_size(self) -> int:
        return self.redis.hlen(self.key)

    def hash_iterate(self) -> Iterator[bytes]:
        for _, raw in self.redis.hscan_iter(self.key, count=CHUNK):
            yield raw

    def close(self) -> None:
        self.redis.close()


class AsyncRedisPy(AsyncClient[T]):
    title = "redis.asyncio"
    about = "the same commands on ready-made bytes"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.redis = redis.asyncio.Redis(host=server.host, port=server.port)
        self.raw = payload.dump(self.value)

    @property
    def expected(self) -> object:
        return self.raw

    async def counter_increment(self) -> int:
        return await self.redis.incr(self.key)

    async def counter_value(self) -> int:
        return int(await self.redis.get(self.key) or 0)

    async def map_set(self) -> None:
        await self.redis.set(self.key, self.raw)

    async def map_get(self) -> bytes | None:
        return await self.redis.get(self.key)

    async def queue_push_pop(self) -> bytes | None:
        await self.redis.lpush(self.key, self.raw)
        return await self.redis.rpop(self.key)

    async def aclose(self) -> None:
        await self.redis.aclose()


CLIENTS: Final = (RedisPy, AsyncRedisPy)
