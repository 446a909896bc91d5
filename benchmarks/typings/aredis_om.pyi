from typing import ClassVar, Self

from pydantic import BaseModel
from redis.asyncio import Redis

def get_redis_connection(*, host: str, port: int) -> Redis: ...

class HashModel(BaseModel):
    pk: str
    Meta: ClassVar[type]
    def __init_subclass__(cls, *, index: bool = ...) -> None: ...
    async def save(self) -> Self: ...
    @classmethod
    async def get(cls, pk: str) -> Self: ...
