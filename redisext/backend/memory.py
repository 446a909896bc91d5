"""The embedded engine: a Redis in this process, at ``memory://name``, for threads and for asyncio.

Backends on one name, sync and async, share a :class:`~redisext.backend.store.Store`. A command takes it microseconds,
so a task carries its own out in the loop's thread: it lets the other tasks have their turn first, and if it is
cancelled then, nothing was done.

A transaction is the engine's own, on a connection of its own. That a watched key has expired, the engine does not
notice, as a server does; so the session sees to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import redis
import redis.asyncio

from redisext.backend import exchange, failures, store
from redisext.backend.exchange import Answer, Exchange, Words
from redisext.backend.store import Line, Store
from redisext.batch import AsyncBatches, Batches, Pending
from redisext.command import Command
from redisext.dsn import Configuration

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AsyncMemoryBackend", "AsyncMemorySession", "MemoryBackend", "MemorySession"]

R = TypeVar("R")


class _OnStore:
    """What a backend knows of itself, under asyncio or not."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._store = store.named(configuration.name)
        self._closed = False

    @property
    def prefix(self) -> str:
        """What stands before every key."""
        return self.configuration.prefix

    @property
    def location(self) -> str:
        """What tells the data of this store from those elsewhere."""
        return self.configuration.location

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def check_open(self) -> None:
        """Raise :exc:`~redisext.errors.BackendClosed` if it was closed."""
        if self._closed:
            raise failures.closed(self.configuration)

    def __repr__(self) -> str:
        prefix = f" prefix={self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__} {self.configuration}{prefix}>"


class MemoryBackend(_OnStore, Batches):
    """A store in this process, shared by all backends on its name, and gone with the process.

    Made by ``redisext.connect("memory://name")``. May be shared between threads.
    """

    @property
    def primary(self) -> MemoryBackend:
        """The backend itself: it has no replicas."""
        return self

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*."""
        self.check_open()
        if command.op.blocks:
            return command.read(self._store.wait(command, self))
        return command.read(self._store.call(command, self))

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out the command of each, with nobody else's in between."""
        self.check_open()
        self._store.run(exchange.many(self.configuration, pending))

    @contextmanager
    def session(self, watch: Sequence[bytes] = ()) -> Generator[MemorySession]:
        """A connection of its own, on which the keys in *watch* are being watched."""
        self.check_open()
        with self._store.new_line() as line:
            yield MemorySession(self, self._store, line, watch)

    @cached_property
    def client(self) -> redis.Redis:
        """Fakeredis's client of the same store; it is a `redis.Redis`."""
        return self._store.new_client()

    @property
    def replica_client(self) -> redis.Redis:
        """The same as `client`."""
        return self.client

    def close(self) -> None:
        """Let go of the store; its data stays, for the next backend on its name."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()


class AsyncMemoryBackend(_OnStore, AsyncBatches):
    """The same under asyncio, in one event loop: that in which its first command ran.

    Made by ``redisext.aconnect("memory://name")``. May be shared between tasks.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def primary(self) -> AsyncMemoryBackend:
        """The backend itself: it has no replicas."""
        return self

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command*."""
        await self.turn()
        if command.op.blocks:
            return command.read(await self._store.wait_async(command, self))
        return command.read(self._store.call(command, self))

    async def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out the command of each, with nobody else's in between."""
        await self.turn()
        self._store.run(exchange.many(self.configuration, pending))

    @asynccontextmanager
    async def session(self, watch: Sequence[bytes] = ()) -> AsyncGenerator[AsyncMemorySession]:
        """A connection of its own, on which the keys in *watch* are being watched."""
        await self.turn()
        with self._store.new_line() as line:
            yield AsyncMemorySession(self, MemorySession(self, self._store, line, watch))

    async def turn(self) -> None:
        """Let the tasks that are ready go first. Raises if the backend is closed, or belongs to another event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise failures.elsewhere(self)
        await asyncio.sleep(0)
        self.check_open()

    @cached_property
    def client(self) -> redis.asyncio.Redis:
        """Fakeredis's client of the same store; it is a `redis.asyncio.Redis`."""
        return self._store.new_async_client()

    @property
    def replica_client(self) -> redis.asyncio.Redis:
        """The same as `client`."""
        return self.client

    async def aclose(self) -> None:
        """Let go of the store, and tell those who wait; its data stays, for the next backend on its name."""
        self._closed = True
        self._store.tell_all_of(self)
        if "client" in vars(self):
            await self.client.aclose(close_connection_pool=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self.aclose()


class MemorySession:
    """A transaction's: WATCH, what is read, MULTI, EXEC, on a *line* of its own."""

    def __init__(self, backend: _OnStore, store: Store, line: Line, watch: Sequence[bytes]) -> None:
        self._backend = backend
        self._where = backend.configuration
        self._store = store
        self._line = line
        self._existed: list[bytes] = []
        if watch:
            self._run(exchange.watch(self._where, watch))
            self._existed = self._run(_existing(watch))

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        self._backend.check_open()
        return command.read(self._run(exchange.one(self._where, command)))

    def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed."""
        self._backend.check_open()
        return self._run(exchange.commit(self._where, pending))

    def _run(self, steps: Exchange[R]) -> R:
        return self._store.run(steps, self._answers)

    def _answers(self, words: Sequence[Words]) -> list[Answer]:
        if words[-1] != ("EXEC",):
            return self._line.answers(words)
        answers = self._line.answers(words[:-1])
        watched = not self._line.cut
        if watched and exchange.drive(_existing(self._existed), self._store.line.answers) == self._existed:
            return answers + self._line.answers(words[-1:])
        self._line.answers([("DISCARD",)])
        return [*answers, None]


def _existing(keys: Sequence[bytes]) -> Exchange[list[bytes]]:
    found = yield [("EXISTS", key) for key in keys]
    return [key for key, exists in zip(keys, found, strict=True) if exists]


class AsyncMemorySession:
    """The same under asyncio."""

    def __init__(self, backend: AsyncMemoryBackend, session: MemorySession) -> None:
        self._backend = backend
        self._session = session

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        await self._backend.turn()
        return self._session.execute(command)

    async def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed."""
        await self._backend.turn()
        return self._session.commit(pending)
