"""What a backend owes.

Any client library can be plugged in by a class with these members. Batches and transactions come by inheriting
:class:`redisext.batch.Batches` (or :class:`~redisext.batch.AsyncBatches`). A backend knows commands and connections,
never structures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from redisext.batch import (
    ATTEMPTS,
    AsyncBatch,
    AsyncTransaction,
    Batch,
    Pending,
    Transaction,
    Watchable,
)
from redisext.command import Command

if TYPE_CHECKING:
    from typing import Self

    import redis
    import redis.asyncio

__all__ = [
    "AsyncBackend",
    "AsyncExecutor",
    "AsyncSession",
    "Backend",
    "Executor",
    "HasAsyncClient",
    "HasClient",
    "Session",
]

R = TypeVar("R")


@runtime_checkable
class Backend(Protocol):
    """Where commands are carried out: one server, a primary with replicas, an engine in the process."""

    @property
    def prefix(self) -> str:
        """What stands before every key of the models on this backend; mostly ``""``."""
        ...

    @property
    def location(self) -> str:
        """What tells the data here from those elsewhere, as the DSN does; ``""`` if nobody is to be kept from mixing.

        A batch refuses a command that was described for another location.
        """
        ...

    @property
    def deadline(self) -> float | None:
        """For how long (seconds) what failed is tried again, if that does no harm; None: not at all."""
        ...

    @property
    def primary(self) -> Backend:
        """The same data, read from where it is written. A backend without replicas gives itself."""
        ...

    def steady(self) -> Executor:
        """What one iteration is made on: a view on which one server answers all commands whose `op.scans` is true.

        If that server cannot go on, the view raises :exc:`~redisext.command.CursorLost`, and the iteration begins anew
        on another view.
        """
        ...

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* and give ``command.read(reply)``.

        The implementer owes:

        * It sends `command.words`. When the reply is NOSCRIPT, it sends `command.words_in_full`.
        * The reply is handed over as RESP2 has it: `bytes`, `int`, a list, or None.
        * A command whose `op.reads` is false goes to the primary.
        * One whose `op.repeatable` is false is never sent twice, unless the first was certainly not sent.
          If the connection breaks after it may have been, :exc:`~redisext.errors.OutcomeUnknown` is raised.
        * One whose `op.blocks` is true gets its reply after up to `command.timeout` seconds (None: whenever it
          comes), whatever the timeout of other replies is.
        * Errors are those of :mod:`redisext.errors`, with the client's own as the cause.
        * It may be called from several threads at a time.
        """
        ...

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out the command of each, in order, in one round trip; none of them blocks.

        The implementer owes the same as for one, and: each is told its reply (`settle`) or its error (`fail`). What was
        sent of a script is found by :func:`redisext.command.in_sequence`. An error is raised only if nothing was sent.
        """
        ...

    def commit(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together, with nobody else's in between; the same is owed as for `execute_many`."""
        ...

    def session(self, watch: Sequence[bytes] = ()) -> AbstractContextManager[Session]:
        """A connection of its own to the primary, on which the keys in *watch* are being watched."""
        ...

    def batch(self) -> Batch:
        """A block whose commands are sent together at its end."""
        ...

    def transaction(self) -> Transaction:
        """A block whose commands are carried out together at its end, all or nothing."""
        ...

    def transact(
        self, fn: Callable[[Transaction], R], *, watch: Watchable | Iterable[Watchable], attempts: int = ATTEMPTS
    ) -> R:
        """Run *fn* until the transaction that it fills is carried out with nothing of *watch* changed."""
        ...

    def close(self) -> None:
        """Close all connections. Commands after that raise :exc:`~redisext.errors.BackendClosed`."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class Executor(Protocol):
    """What carries out commands."""

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*."""
        ...


class Session(Protocol):
    """What a transaction needs of a connection."""

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        ...

    def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all, between MULTI and EXEC; false, and nothing was, if a watched key has changed."""
        ...


@runtime_checkable
class AsyncBackend(Protocol):
    """The same under asyncio, in one event loop: see :class:`Backend` for what its members owe."""

    @property
    def prefix(self) -> str:
        """What stands before every key of the models on this backend; mostly ``""``."""
        ...

    @property
    def location(self) -> str:
        """What tells the data here from those elsewhere."""
        ...

    @property
    def deadline(self) -> float | None:
        """For how long (seconds) what failed is tried again, if that does no harm; None: not at all."""
        ...

    @property
    def primary(self) -> AsyncBackend:
        """The same data, read from where it is written. A backend without replicas gives itself."""
        ...

    def steady(self) -> AsyncExecutor:
        """What one iteration is made on: a view on which one server answers all commands whose `op.scans` is true."""
        ...

    def execute(self, command: Command[R]) -> Awaitable[R]:
        """Carry out *command* and give ``command.read(reply)``.

        The implementer owes what one of :class:`Backend` does, and: when the task is cancelled, nobody else's reply is
        lost or shifted. Tasks may call it at the same time; from another event loop it raises
        :exc:`~redisext.errors.ConfigurationError`.
        """
        ...

    async def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out the command of each, in order, in one round trip; none of them blocks."""
        ...

    async def commit(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together, with nobody else's in between; the same is owed as for `execute_many`."""
        ...

    def session(self, watch: Sequence[bytes] = ()) -> AbstractAsyncContextManager[AsyncSession]:
        """A connection of its own to the primary, on which the keys in *watch* are being watched."""
        ...

    def batch(self) -> AsyncBatch:
        """A block whose commands are sent together at its end."""
        ...

    def transaction(self) -> AsyncTransaction:
        """A block whose commands are carried out together at its end, all or nothing."""
        ...

    async def transact(
        self,
        fn: Callable[[AsyncTransaction], Awaitable[R]],
        *,
        watch: Watchable | Iterable[Watchable],
        attempts: int = ATTEMPTS,
    ) -> R:
        """Run *fn* until the transaction that it fills is carried out with nothing of *watch* changed."""
        ...

    async def aclose(self) -> None:
        """Close all connections. Commands after that raise :exc:`~redisext.errors.BackendClosed`."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class AsyncExecutor(Protocol):
    """What carries out commands under asyncio."""

    def execute(self, command: Command[R]) -> Awaitable[R]:
        """Carry out *command*."""
        ...


class AsyncSession(Protocol):
    """What a transaction needs of a connection."""

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        ...

    async def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all, between MULTI and EXEC; false, and nothing was, if a watched key has changed."""
        ...


@runtime_checkable
class HasClient(Protocol):
    """A backend with a redis-py client behind it, for what Redisext does not cover."""

    @property
    def client(self) -> redis.Redis:
        """A client of the primary, on this backend's own connections."""
        ...

    @property
    def replica_client(self) -> redis.Redis:
        """A client of the server that answers reads."""
        ...


@runtime_checkable
class HasAsyncClient(Protocol):
    """The same under asyncio."""

    @property
    def client(self) -> redis.asyncio.Redis:
        """A client of the primary, with connections that this backend closes."""
        ...

    @property
    def replica_client(self) -> redis.asyncio.Redis:
        """A client of the server that answers reads."""
        ...
