"""redis-py with what people write around it: the json module, pickle, or a model's own JSON."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Final, TypeVar

import redis

from benchmarks.client import Client, Server, chunks
from benchmarks.operations import BEST, CHUNK, Operation
from benchmarks.payload import Payload

T = TypeVar("T")


class Encoded(Client[T], abc.ABC):
    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.redis = redis.Redis(host=server.host, port=server.port)

    @abc.abstractmethod
    def encode(self, value: T) -> bytes | str: ...

    @abc.abstractmethod
    def decode(self, raw: bytes) -> T: ...

    def read(self, raw: object) -> T | None:
        return self.decode(raw) if isinstance(raw, bytes) else None

    def map_set(self) -> None:
        self.redis.set(self.key, self.encode(self.value))

    def map_get(self) -> T | None:
        return self.read(self.redis.get(self.key))

    def hash_set(self) -> None:
        self.redis.hset(self.key, "ada", self.encode(self.value))

    def hash_get(self) -> T | None:
        return self.read(self.redis.hget(self.key, "ada"))

    def queue_push_pop(self) -> T | None:
        self.redis.lpush(self.key, self.encode(self.value))
        return self.read(self.redis.rpop(self.key))

    def set_add_contains(self) -> bool:
        self.redis.sadd(self.key, self.encode(self.value))
        return bool(self.redis.sismember(self.key, self.encode(self.value)))

    def sorted_fill(self) -> None:
        self.redis.zadd(self.key, {self.encode(one): score for score, one in enumerate(self.payload.several(BEST))})

    def sorted_add_range(self) -> list[T]:
        self.redis.zadd(self.key, {self.encode(self.value): 0})
        return [self.decode(raw) for raw in self.redis.zrevrange(self.key, 0, -1)]

    def batch_set(self, size: int) -> None:
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(size):
                pipe.set(self.key, self.encode(self.value))
            pipe.execute()

    def batch_get(self, size: int) -> T | None:
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(size):
                pipe.get(self.key)
            *_, last = [self.read(raw) for raw in pipe.execute()]
        return last

    def batch_push_pop(self, size: int) -> T | None:
        with self.redis.pipeline(transaction=False) as pipe:
            for _ in range(size // 2):
                pipe.lpush(self.key, self.encode(self.value))
            for _ in range(size // 2):
                pipe.rpop(self.key)
            *_, last = [self.read(raw) for raw in pipe.execute()]
        return last

    def queue_load(self, count: int) -> None:
        for chunk in chunks(self.payload.several(count)):
            self.redis.lpush(self.key, *[self.encode(value) for value in chunk])

    def queue_size(self) -> int:
        return self.redis.llen(self.key)

    def queue_iterate(self) -> Iterator[T]:
        start = 0
        while page := self.redis.lrange(self.key, start, start + CHUNK - 1):
            for raw in page:
                yield self.decode(raw)
            start += CHUNK

    def hash_load(self, count: int) -> None:
        for number, chunk in enumerate(chunks(self.payload.several(count))):
            encoded = {f"{place}": self.encode(value) for place, value in enumerate(chunk, start=number * CHUNK)}
            self.redis.hset(self.key, mapping=encoded)

    def hash_size(self) -> int:
        return self.redis.hlen(self.key)

    def hash_iterate(self) -> Iterator[T]:
        for _, raw in self.redis.hscan_iter(self.key, count=CHUNK):
            yield self.decode(raw)

    def close(self) -> None:
        self.redis.close()


class Json(Encoded[T]):
    title = "redis-py, json"
    about = "json.dumps(value.model_dump()), Model.model_validate(json.loads(raw))"

    def encode(self, value: T) -> str:
        return self.payload.to_json(value)

    def decode(self, raw: bytes) -> T:
        return self.payload.from_json(raw)


class Pickle(Encoded[T]):
    title = "redis-py, pickle"
    about = "pickle.dumps(value), pickle.loads(raw)"

    @classmethod
    def can(cls, operation: Operation, payload: str) -> bool:
        # Equal models may be pickled to different bytes, so that one is added beside its equal.
        return super().can(operation, payload) and operation.method != "sorted_add_range"

    def encode(self, value: T) -> bytes:
        return self.payload.to_pickle(value)

    def decode(self, raw: bytes) -> T:
        return self.payload.from_pickle(raw)


class Pydantic(Encoded[T]):
    title = "redis-py, pydantic"
    about = "value.model_dump_json(), Model.model_validate_json(raw)"

    payloads = ("model", "nested")

    def encode(self, value: T) -> bytes:
        return self.payload.dump(value)

    def decode(self, raw: bytes) -> T:
        return self.payload.load(raw)


CLIENTS: Final = (Json, Pickle, Pydantic)
