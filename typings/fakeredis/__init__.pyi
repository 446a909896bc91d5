import redis
import redis.asyncio

class FakeServer:
    def __init__(self) -> None: ...

class FakeRedis(redis.Redis):
    def __init__(self, *, server: FakeServer | None = ..., **kwargs: int) -> None: ...

class FakeAsyncRedis(redis.asyncio.Redis):
    def __init__(self, *, server: FakeServer | None = ..., **kwargs: int) -> None: ...
