"""redis-om: a model is a hash, with a field for each of its own. A nested one would need a module in the server."""
# It is installed in an environment of its own, where checkers do not look.
# pyright: reportMissingModuleSource=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import aredis_om
import redis_om

from benchmarks.client import AsyncClient, Client, Server
from benchmarks.payload import Event, Payload

T = TypeVar("T")


class RedisOM(Client[T]):
    title = "redis-om"
    package = "redis_om"
    about = "HashModel: a model for a value, many models for a hash"

    payloads = ("model",)

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)

        class Stored(redis_om.HashModel, index=True):
            name: str
            user: int
            at: float
            new: bool

            class Meta:
                database = redis_om.get_redis_connection(host=server.host, port=server.port)
                global_key_prefix = key

        self.model = Stored
        self.one = self.stored(0, self.value)

    def stored(self, number: int, value: T) -> redis_om.HashModel:
        assert isinstance(value, Event)
        return self.model(pk=f"{number}", name=value.name, user=value.user, at=value.at, new=value.new)

    @property
    def expected(self) -> object:
        return self.one

    def map_set(self) -> None:
        self.one.save()

    def map_get(self) -> redis_om.HashModel:
        return self.model.get("0")

    def hash_load(self, count: int) -> None:
        self.model.add([self.stored(number, value) for number, value in enumerate(self.payload.several(count))])

    def hash_size(self) -> int:
        return len([*self.model.all_pks()])

    def hash_iterate(self) -> Iterator[redis_om.HashModel]:
        for pk in self.model.all_pks():
            yield self.model.get(pk)

    def forget(self) -> None:
        for key in self.server.admin.keys(f"{self.key}*"):
            self.server.admin.delete(key)


class AsyncRedisOM(AsyncClient[T]):
    title = "redis-om, asyncio"
    about = "HashModel: a model for a value"

    payloads = ("model",)

    async def open(self) -> None:
        server, prefix = self.server, self.key

        class Stored(aredis_om.HashModel, index=True):
            name: str
            user: int
            at: float
            new: bool

            class Meta:
                database = aredis_om.get_redis_connection(host=server.host, port=server.port)
                global_key_prefix = prefix

        value = self.value
        assert isinstance(value, Event)
        self.model = Stored
        self.one = Stored(pk="0", name=value.name, user=value.user, at=value.at, new=value.new)

    @property
    def expected(self) -> object:
        return self.one

    async def map_set(self) -> None:
        await self.one.save()

    async def map_get(self) -> aredis_om.HashModel:
        return await self.model.get("0")


CLIENTS: Final = (RedisOM, AsyncRedisOM)
