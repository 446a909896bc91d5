"""valkey-glide: Valkey's own client, written in Rust; it knows bytes only, and asyncio only."""

from __future__ import annotations

from typing import Final, TypeVar

import glide

from benchmarks.client import AsyncClient, Server
from benchmarks.payload import Payload

T = TypeVar("T")


class ValkeyGlide(AsyncClient[T]):
    title = "valkey-glide"
    about = "the same commands on ready-made bytes"

    def __init__(self, server: Server, payload: Payload[T], key: str) -> None:
        super().__init__(server, payload, key)
        self.raw = payload.dump(self.value)

    @property
    def expected(self) -> object:
        return self.raw

    async def open(self) -> None:
        address = glide.NodeAddress(self.server.host, self.server.port)
        # By default it gives up after 250 ms, which a hundred tasks on a busy machine may take.
        self.client = await glide.GlideClient.create(glide.GlideClientConfiguration([address], request_timeout=60_000))

    async def counter_increment(self) -> int:
        return await self.client.incr(self.key)

    async def counter_value(self) -> int:
        return int(await self.client.get(self.key) or 0)

    async def map_set(self) -> None:
        await self.client.set(self.key, self.raw)

    async def map_get(self) -> bytes | None:
        return await self.client.get(self.key)

    async def queue_push_pop(self) -> bytes | None:
        await self.client.lpush(self.key, [self.raw])
        return await self.client.rpop(self.key)

    async def aclose(self) -> None:
        await self.client.close()


CLIENTS: Final = (ValkeyGlide,)
