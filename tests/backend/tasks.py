"""Event loops for the tests, and what tasks in them do and wait for."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

import redisext
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.command import Argument, Command, Op, Reply
from tests.backend.observe import connections
from tests.proxy import Rule
from tests.servers import RedisServer, wait_until
from tests.threads import PATIENCE

R = TypeVar("R")


def run(main: Callable[[], Coroutine[object, object, R]]) -> R:
    """In an event loop of its own, which ends in any case, and must have had nothing to complain of."""
    complaints: list[object] = []

    async def watched() -> R:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        return await asyncio.wait_for(main(), PATIENCE)

    result = asyncio.run(watched())
    gc.collect()  # of an error that nobody asked for, the future tells as it goes
    assert complaints == []
    return result


def connect(url: str, **options: str | float | list[str]) -> AsyncRedisBackend:
    """As `redisext.aconnect`, on a server."""
    db = redisext.aconnect(url, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # see there
    assert isinstance(db, AsyncRedisBackend)
    return db


async def until(condition: Callable[[], bool], what: str) -> None:
    """Let the others run until *condition* holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        await asyncio.sleep(0.001)


async def turns(number: int) -> None:
    """Let the loop run all that is ready so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


async def outcomes(calls: list[Awaitable[R]]) -> list[R | BaseException]:
    """What each gave, or raised."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def send(db: AsyncRedisBackend, name: str, key: str, *args: Argument, repeatable: bool = False) -> Reply:
    """Have the server carry out any command."""
    return await db.execute(Command(Op(name, repeatable=repeatable), (key.encode(),), args, lambda reply: reply))


def kill(server: RedisServer, name: str) -> None:
    """Have the server close these connections, and block the loop until it has: it has not seen it yet."""
    for one in connections(server, name):
        server.call("CLIENT", "KILL", "ID", one)
    wait_until(lambda: connections(server, name) == [], "the connections are closed")


class Hold:
    """A rule of the proxy: hold everything back until `let_go`; then give it, or break the connection."""

    def __init__(self) -> None:
        self.held = b""
        self._open = threading.Event()
        self._then: Rule = lambda data: data

    def __call__(self, data: bytes) -> bytes | None:
        self.held += data
        self._open.wait(PATIENCE)
        return self._then(data)

    def let_go(self) -> None:
        self._open.set()

    def cut(self) -> None:
        self._then = lambda data: None
        self._open.set()
