"""What all models have in common: a connection, and what can be done with any key.

A model is a thin face over its *commands* (:mod:`redisext.command`): each method describes an operation and has the
backend carry it out. There are two faces for each structure, with the same methods in the same order: one that
returns results (`Model`), and one whose results are awaited (`AsyncModel`). What a class may say of itself stands in
:mod:`redisext.declaration`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, TypeGuard, cast

from typing_extensions import TypeVar

from redisext import backend as backends
from redisext.command import Command, CursorLost, Steps, arun, run
from redisext.declaration import C_co, Declaration
from redisext.errors import ConfigurationError, EncodeError

if TYPE_CHECKING:
    import redis
    import redis.asyncio

__all__ = ["AsyncModel", "Model", "Page"]

R = TypeVar("R")
T = TypeVar("T")
Cursor = TypeVar("Cursor")

Page: TypeAlias = tuple[list[T], Cursor | None]
"""Some elements, and where the next ones begin (None: there are no more)."""


_BEGUN_ANEW: Final = 3
"""How often an iteration is begun anew that has not come further meanwhile."""


class Model(Declaration[C_co]):
    """The base of every structure. *key* and *connection* stand in for `KEY` and `CONNECTION`.

    Raises :exc:`~redisext.errors.ConfigurationError` where there is no key, where the connection is not one, or where
    the element type cannot be found or stored.
    """

    CONNECTION: ClassVar[backends.ConnectionSource | None] = None

    _held_backend: ClassVar[backends.Backend]

    def __init__(
        self, key: str | bytes | int | None = None, connection: backends.ConnectionSource | None = None
    ) -> None:
        self._declare(key, lambda: self._connect(connection))

    @property
    def backend(self) -> backends.Backend:
        """Where the commands are carried out."""
        return self._backend

    # --- Any key

    def expire(self, seconds: float | None = None) -> bool:
        """Have the key deleted after *seconds* (default: the class's `EXPIRE`); False if there is no such key.

        PEXPIRE, O(1). Counts to the millisecond; 0 deletes at once. A later write that replaces the whole value
        (`Map.set`) takes the expiry away; one that changes it (`incr`, `push`) leaves it.

        Raises :exc:`~redisext.errors.ConfigurationError` if nothing is given and the class has no `EXPIRE`, and
        :exc:`~redisext.errors.ArgumentError` for a negative number.
        """
        return self._run(self.commands.expire(self._expiry(seconds)))

    def ttl(self) -> int:
        """How many seconds are left to the key; -1 if it does not expire, -2 if there is none. TTL, O(1)."""
        return self._run(self.commands.ttl())

    def persist(self) -> bool:
        """Take the expiry away; False if there was none. PERSIST, O(1)."""
        return self._run(self.commands.persist())

    def rename(self, newkey: str | bytes | int) -> bool:
        """Give the key another name, replacing what is there; False if there is no such key.

        A script over EXISTS and RENAME, O(1). This model stays on the old name.
        """
        return self._run(self.commands.rename(newkey))

    def exists(self) -> bool:
        """Whether there is anything under the key. EXISTS, O(1)."""
        return self._run(self.commands.exists())

    # --- The client behind

    def connect_to_master(self) -> redis.Redis:
        """redis-py's client of the primary, on this model's connections; its `pipeline()` is the driver's own."""
        return self._client_source().client

    def connect_to_slave(self) -> redis.Redis:
        """redis-py's client of the server that answers reads, on this model's connections."""
        return self._client_source().replica_client

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self.backend!r})"

    # --- For the structures

    def _connect(self, connection: object) -> tuple[str, str]:
        cls = type(self)
        if connection is not None:
            self._backend = _as_backend(connection, reuse=cls.CONNECTION_REUSE)
        else:
            # The class holds the backend of its CONNECTION, so that it outlives the single model.
            cls._held_backend = self._backend = _as_backend(cls.CONNECTION, reuse=cls.CONNECTION_REUSE)
        return self._backend.prefix, self._backend.location

    def _client_source(self) -> backends.HasClient:
        if isinstance(self.backend, backends.HasClient):
            return self.backend
        raise _no_client(self.backend)

    def _run(self, what: Command[R]) -> R:
        return self._backend.execute(what)

    def _run_steps(self, steps: Steps[R]) -> R:
        return run(steps, self._backend.execute)

    def _pages(self, page: Callable[[Cursor | None], Command[Page[T, Cursor]]]) -> Iterator[T]:
        """All elements, a page in memory at a time."""
        steady = self._backend.steady()
        cursor: Cursor | None = None
        lost = 0
        while True:
            try:
                elements, following = steady.execute(page(cursor))
            except CursorLost as error:  # what was there already comes again, as it may in any scan
                lost += 1
                if lost > _BEGUN_ANEW and error.__cause__ is not None:
                    raise error.__cause__ from None
                steady, cursor = self._backend.steady(), None
                continue
            if cursor is not None:
                lost = 0
            yield from elements
            if following is None:
                return
            cursor = following

    def _holds(self, contains: Callable[[T], Command[bool]], value: object) -> bool:
        """Python's `in`, which takes a value of any type: what is not of the element type is not there."""
        try:
            asked = contains(cast("T", value))  # what is no T is refused by its codec
        except EncodeError:
            return False
        return self._run(asked)


class AsyncModel(Declaration[C_co]):
    """The base of every structure under asyncio. *key* and *connection* stand in for `KEY` and `CONNECTION`.

    Can be made where no event loop runs. A backend belongs to one event loop; a DSN or a `Connection` class gives, in
    each loop, the backend that all models there share.

    Raises :exc:`~redisext.errors.ConfigurationError` where there is no key, where the connection is not one, or where
    the element type cannot be found or stored.
    """

    CONNECTION: ClassVar[backends.AsyncConnectionSource | None] = None

    def __init__(
        self, key: str | bytes | int | None = None, connection: backends.AsyncConnectionSource | None = None
    ) -> None:
        self._configuration: backends.Configuration | None = None
        self._backend: backends.AsyncBackend
        self._in_loop: tuple[asyncio.AbstractEventLoop, backends.AsyncBackend] | None = None
        self._declare(key, lambda: self._connect(connection))

    @property
    def backend(self) -> backends.AsyncBackend:
        """Where the commands are carried out; that of the running event loop, if the connection is a DSN.

        Raises :exc:`~redisext.errors.ConfigurationError` where it is one, and no event loop is running.
        """
        if self._configuration is None:
            return self._backend
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                f"{self!r} has a backend in each event loop, and none is running here: await its methods inside of one"
            ) from None
        in_loop = self._in_loop
        if in_loop is None or in_loop[0] is not loop:
            # Set as one, for other threads with loops of their own.
            in_loop = self._in_loop = loop, backends.shared_async(self._configuration)
        return in_loop[1]

    # --- Any key

    async def expire(self, seconds: float | None = None) -> bool:
        """Have the key deleted after *seconds* (default: the class's `EXPIRE`); False if there is no such key.

        PEXPIRE, O(1). Counts to the millisecond; 0 deletes at once. A later write that replaces the whole value
        (`Map.set`) takes the expiry away; one that changes it (`incr`, `push`) leaves it.

        Raises :exc:`~redisext.errors.ConfigurationError` if nothing is given and the class has no `EXPIRE`, and
        :exc:`~redisext.errors.ArgumentError` for a negative number.
        """
        return await self._run(self.commands.expire(self._expiry(seconds)))

    async def ttl(self) -> int:
        """How many seconds are left to the key; -1 if it does not expire, -2 if there is none. TTL, O(1)."""
        return await self._run(self.commands.ttl())

    async def persist(self) -> bool:
        """Take the expiry away; False if there was none. PERSIST, O(1)."""
        return await self._run(self.commands.persist())

    async def rename(self, newkey: str | bytes | int) -> bool:
        """Give the key another name, replacing what is there; False if there is no such key.

        A script over EXISTS and RENAME, O(1). This model stays on the old name.
        """
        return await self._run(self.commands.rename(newkey))

    async def exists(self) -> bool:
        """Whether there is anything under the key. EXISTS, O(1)."""
        return await self._run(self.commands.exists())

    # --- The client behind

    def connect_to_master(self) -> redis.asyncio.Redis:
        """redis-py's client of the primary, on this model's connections; its `pipeline()` is the driver's own."""
        return self._client_source().client

    def connect_to_slave(self) -> redis.asyncio.Redis:
        """redis-py's client of the server that answers reads, on this model's connections."""
        return self._client_source().replica_client

    def __repr__(self) -> str:
        where = repr(self._backend) if self._configuration is None else repr(str(self._configuration))
        return f"{type(self).__name__}({self.key!r}, {where})"

    # --- For the structures

    def _connect(self, connection: object) -> tuple[str, str]:
        cls = type(self)
        source = _as_async_source(cls.CONNECTION if connection is None else connection, reuse=cls.CONNECTION_REUSE)
        if isinstance(source, backends.Configuration):
            self._configuration = source
        else:
            self._backend = source
        return source.prefix, source.location

    def _client_source(self) -> backends.HasAsyncClient:
        backend = self.backend
        if isinstance(backend, backends.HasAsyncClient):
            return backend
        raise _no_client(backend)

    def _run(self, what: Command[R]) -> Awaitable[R]:
        return self.backend.execute(what)

    async def _run_steps(self, steps: Steps[R]) -> R:
        return await arun(steps, self.backend.execute)

    async def _pages(self, page: Callable[[Cursor | None], Command[Page[T, Cursor]]]) -> AsyncIterator[T]:
        """All elements, a page in memory at a time."""
        backend = self.backend
        steady = backend.steady()
        cursor: Cursor | None = None
        lost = 0
        while True:
            try:
                elements, following = await steady.execute(page(cursor))
            except CursorLost as error:  # what was there already comes again, as it may in any scan
                lost += 1
                if lost > _BEGUN_ANEW and error.__cause__ is not None:
                    raise error.__cause__ from None
                steady, cursor = backend.steady(), None
                continue
            if cursor is not None:
                lost = 0
            for one in elements:
                yield one
            if following is None:
                return
            cursor = following


def _as_backend(source: object, *, reuse: bool) -> backends.Backend:
    if _is_settings(source):
        return backends.shared(backends.configured(source, reuse=reuse))
    if isinstance(source, backends.Backend) and not isinstance(source, type):
        return source
    if isinstance(source, backends.AsyncBackend):
        raise ConfigurationError(
            f"{source!r} is a backend for asyncio: the structures whose names begin with Async take it; these take "
            "one of redisext.connect()"
        )
    raise _no_connection(source)


def _as_async_source(source: object, *, reuse: bool) -> backends.AsyncBackend | backends.Configuration:
    if _is_settings(source):
        return backends.configured(source, reuse=reuse)
    if isinstance(source, backends.AsyncBackend) and not isinstance(source, type):
        return source
    if isinstance(source, backends.Backend):
        raise ConfigurationError(
            f"{source!r} is not a backend for asyncio: the structures whose names do not begin with Async take it; "
            "these take one of redisext.aconnect()"
        )
    raise _no_connection(source)


def _is_settings(source: object) -> TypeGuard[str | type[backends.Connection] | None]:
    if isinstance(source, type):
        return issubclass(source, backends.Connection)
    return source is None or isinstance(source, str)


def _no_connection(source: object) -> ConfigurationError:
    return ConfigurationError(f"a connection is a DSN, a backend or a Connection class, not {type(source).__name__}")


def _no_client(backend: object) -> ConfigurationError:
    return ConfigurationError(f"{backend!r} has no redis-py client behind it")
