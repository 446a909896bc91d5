import redis

class FakeServer:
    def __init__(self) -> None: ...

class FakeRedis(redis.Redis):
    def __init__(self, *, server: FakeServer | None = ..., **kwargs: int) -> None: ...
