"""Many commands at once: in one round trip (a batch), or all or nothing (a transaction).

    with db.batch() as batch:
        size = batch.add(jobs.commands.push(event))     # Pending[int]
        seen = batch.add(visitors.commands.incr())      # Pending[int]
    size.result(), seen.result()

What a block adds is sent when it ends; if it ends with an exception, nothing is sent. A batch sends what it has in one
write and then reads the replies; thousands of commands go in chunks, so that neither side has to hold more than a
chunk of what was written and not yet read. Each `Pending` holds the result of its own command, or its error; if there
are errors, one :exc:`~redisext.errors.BatchError` with all of them is raised at the end of the block.

On a backend with replicas, the commands of a batch that only read go to a replica, all others to the primary, as they
do one by one; each server gets its own in order. ``db.primary.batch()`` sends all to the primary. A transaction goes to
the primary as a whole.

A backend gives both, and `transact`, by inheriting :class:`Batches` (or :class:`AsyncBatches`): these need no more of
it than `execute_many` and `session`.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar, cast

from redisext.backoff import Patience, waits
from redisext.command import Command, text
from redisext.errors import (
    ArgumentError,
    BackendClosed,
    BatchError,
    ConfigurationError,
    Conflict,
    ConnectionFailed,
    NotBatchable,
    PermissionDenied,
    RedisextError,
    Timeout,
    shown,
)
from redisext.key import KeyCommands, key_bytes
from redisext.pending import Pending

if TYPE_CHECKING:
    from typing import Self

    from redisext.backend.abc import AsyncBackend, AsyncExecutor, AsyncSession, Backend, Executor, Session

__all__ = [
    "AsyncBatch",
    "AsyncBatches",
    "AsyncTransaction",
    "Batch",
    "Batches",
    "Pending",
    "Transaction",
    "Watchable",
]

R = TypeVar("R")
S = TypeVar("S")

CHUNK_COMMANDS: Final = 1_000
CHUNK_BYTES: Final = 1 << 20
"""The most that a batch sends before it reads the replies."""

ATTEMPTS: Final = 100
"""How often `transact` tries, unless it is told otherwise."""


class _HasCommands(Protocol):
    @property
    def commands(self) -> KeyCommands: ...


Watchable: TypeAlias = _HasCommands | str | bytes | int
"""What `transact` can watch: a model, or a key."""


class _Block:
    """What batches and transactions of both faces have in common: commands that wait for the end of a block."""

    _kind: str

    def __init__(self, backend: Backend | AsyncBackend) -> None:
        self._location = backend.location
        self._name = backend.__repr__
        self._pending: list[Pending[object]] = []
        self._open = False
        self._begun = False

    def add(self, command: Command[R]) -> Pending[R]:
        """Have *command* carried out when the block ends.

        Raises :exc:`~redisext.errors.NotBatchable` for an operation that blocks or takes several round trips, and
        :exc:`~redisext.errors.ConfigurationError` for one on other data than this backend's, and outside of the block.
        """
        if type(command) is not Command or not self._open or command.location != self._location:
            self._check(command)
        if command.op.blocks:
            raise NotBatchable(f"{command.op.name} waits on the server, and would hold up the whole {self._kind}")
        pending = Pending.of(command)
        self._pending.append(pending)
        return pending

    def _check(self, command: Command[object]) -> None:
        _check_command(command)
        if not self._open:
            raise ConfigurationError(f"a {self._kind} takes commands inside of its 'with' block only")
        _check_location(f"{command.op.name} on", command, self._location, self._kind)

    def _enter(self) -> None:
        if self._begun:
            raise ConfigurationError(f"a {self._kind} is used once, and not inside of itself: make another")
        self._begun = self._open = True

    @contextmanager
    def _filling(self) -> Generator[None]:
        """The block, where it is a function's call."""
        self._enter()
        try:
            yield
        except BaseException as error:
            self._abandon(error)
            raise

    @contextmanager
    def _left(self, error: BaseException | None) -> Generator[list[Pending[object]]]:
        """The end of the block: what is to be carried out is, and what failed of it is raised."""
        untold: RedisextError | None = None
        if error is not None:
            self._abandon(error)
        self._open = False
        pending, self._pending = self._pending, []
        try:
            yield pending
        except RedisextError as problem:  # each command that it concerns has it, and it is raised below
            concerned = [one for one in pending if not one.done]
            for one in concerned:
                one.fail(problem)
            if not concerned:
                untold = problem
        except BaseException as cut:
            for one in pending:
                if not one.done:
                    one.abandon(f"{type(cut).__name__} cut in while it was carried out")
            raise
        left = Pending.without_result(pending)
        for one in left:
            if not one.done:
                one.abandon("somebody else changed what its transaction watches, so nothing was carried out")
        failed = [one for one in left if one.error is not None]
        if failed:
            raise _batch_error(self._kind, failed, len(pending)) from untold
        if untold is not None:
            raise untold

    def _abandon(self, error: BaseException) -> None:
        for one in self._pending:
            one.abandon(f"its block was left by {type(error).__name__}, so nothing was sent")
        self._pending = []
        self._open = False

    def _checked_session(self, session: S | None, command: Command[object]) -> S:
        self._check(command)
        if session is None:
            raise ConfigurationError("a transaction reads inside of transact() only, which watches what it has read")
        if not command.op.reads:
            raise ArgumentError(f"{command.op.name} does more than read: add() it to the transaction instead")
        return session

    def __repr__(self) -> str:
        ended = ", ended" if self._begun and not self._open else ""
        return f"<{type(self).__name__} of {len(self._pending)} commands on {self._name()}{ended}>"


class Batch(_Block):
    """Commands that are sent together when the block ends; made by a backend's `batch()`.

    Not atomic: others' commands may come in between, and one that fails does not keep the rest from being carried out,
    nor does a connection that breaks keep back the chunks that come after it.
    """

    _kind = "batch"

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._backend = backend

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Send. Raises :exc:`~redisext.errors.BatchError` if commands failed."""
        with self._left(exc) as pending:
            for chunk in _chunks(pending):
                self._backend.execute_many(chunk)


class AsyncBatch(_Block):
    """Commands that are sent together when the block ends; made by a backend's `batch()`.

    Not atomic: others' commands may come in between, and one that fails does not keep the rest from being carried out,
    nor does a connection that breaks keep back the chunks that come after it.
    """

    _kind = "batch"

    def __init__(self, backend: AsyncBackend) -> None:
        super().__init__(backend)
        self._backend = backend

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Send. Raises :exc:`~redisext.errors.BatchError` if commands failed."""
        with self._left(exc) as pending:
            for chunk in _chunks(pending):
                await self._backend.execute_many(chunk)


class Transaction(_Block):
    """Commands that are carried out together, with no other's in between: MULTI, EXEC.

    Made by a backend's `transaction()`, and handed to the function that `transact` runs. All are sent or none, and if
    the server refuses one of them beforehand (for want of memory or of the right), none is carried out. But it does not
    roll back: one that fails while it runs (on a key that holds another structure) leaves the others done.
    """

    _kind = "transaction"

    def __init__(self, backend: Backend, session: Session | None = None) -> None:
        super().__init__(backend)
        self._backend = backend
        self._session = session

    def read(self, command: Command[R]) -> R:
        """Inside of `transact`: carry out *command*, which must only read, at once, and give its result.

        If what is watched changes after it was read, the transaction is not carried out, but begun anew. What is not
        watched is read all the same, and may change.
        """
        return self._checked_session(self._session, command).execute(command)

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Send. Raises :exc:`~redisext.errors.BatchError` if commands failed."""
        with self._left(exc) as pending:
            if pending:
                self._backend.commit(pending)

    def attempt(self, session: Session, fn: Callable[[Transaction], R]) -> tuple[bool, R]:
        """For `transact`: whether what *fn* added was carried out, and what it gave."""
        with self._filling():
            result = fn(self)
            if isinstance(result, Coroutine):
                cast("Coroutine[object, object, object]", result).close()
                raise ArgumentError("transact takes a plain function here: one that awaits is for redisext.aconnect()")
        with self._left(None) as pending:
            return session.commit(pending), result


class AsyncTransaction(_Block):
    """Commands that are carried out together, with no other's in between: MULTI, EXEC.

    Made by a backend's `transaction()`, and handed to the function that `transact` runs. All are sent or none, and if
    the server refuses one of them beforehand (for want of memory or of the right), none is carried out. But it does not
    roll back: one that fails while it runs (on a key that holds another structure) leaves the others done.
    """

    _kind = "transaction"

    def __init__(self, backend: AsyncBackend, session: AsyncSession | None = None) -> None:
        super().__init__(backend)
        self._backend = backend
        self._session = session

    async def read(self, command: Command[R]) -> R:
        """Inside of `transact`: carry out *command*, which must only read, at once, and give its result.

        If what is watched changes after it was read, the transaction is not carried out, but begun anew. What is not
        watched is read all the same, and may change.
        """
        return await self._checked_session(self._session, command).execute(command)

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Send. Raises :exc:`~redisext.errors.BatchError` if commands failed."""
        with self._left(exc) as pending:
            if pending:
                await self._backend.commit(pending)

    async def attempt(self, session: AsyncSession, fn: Callable[[AsyncTransaction], Awaitable[R]]) -> tuple[bool, R]:
        """For `transact`: whether what *fn* added was carried out, and what it gave."""
        with self._filling():
            work = fn(self)
            if not inspect.isawaitable(work):
                raise ArgumentError("transact awaits its function here: write 'async def'")
            result = await work
        with self._left(None) as pending:
            return await session.commit(pending), result


class Batches:
    """What a backend inherits to have batches and transactions, over its `execute_many` and `session`."""

    @property
    def deadline(self) -> float | None:
        """For how long (seconds) what failed is tried again; here, not at all."""
        return None

    def steady(self: Backend) -> Executor:
        """What one iteration is made on. Where always the same server answers, that is the backend itself."""
        return self

    def commit(self: Backend, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together: what a transaction does at its end."""
        with self.session() as session:
            session.commit(pending)

    def batch(self: Backend) -> Batch:
        """A block whose commands are sent together at its end; see :class:`Batch`."""
        return Batch(self)

    def transaction(self: Backend) -> Transaction:
        """A block whose commands are carried out together at its end, all or nothing; see :class:`Transaction`."""
        return Transaction(self)

    def transact(
        self: Backend,
        fn: Callable[[Transaction], R],
        *,
        watch: Watchable | Iterable[Watchable],
        attempts: int = ATTEMPTS,
    ) -> R:
        """Give what *fn* gives, once the transaction that it filled was carried out with nothing of *watch* changed.

        *fn* reads by ``tx.read(command)``, and adds by ``tx.add(command)`` what is to be carried out. *watch* names
        models or keys; if anybody changes one in the meantime, nothing is carried out, and *fn* is called again, so it
        must have no effect of its own. WATCH, what is read, then MULTI and EXEC: at least two round trips an attempt.

        >>> from redisext import HashMap, connect
        >>> db = connect("memory://docs")
        >>> stock = HashMap[str, int]("apples", db)
        >>> stock.update(left=3, sold=0)
        >>> def sell(tx: Transaction) -> int:
        ...     left = tx.read(stock.commands.get("left", 0))
        ...     if left > 0:
        ...         tx.add(stock.commands.incr("left", -1))
        ...         tx.add(stock.commands.incr("sold"))
        ...     return left
        >>> db.transact(sell, watch=[stock]), stock.all()
        (3, {'left': 2, 'sold': 1})

        Raises :exc:`~redisext.errors.Conflict` after so many *attempts*, and
        :exc:`~redisext.errors.BatchError` if commands failed.
        """
        keys = _watched(self, watch)
        patience = Patience(self.deadline)

        def attempt() -> tuple[bool, R]:
            with self.session(keys) as session:
                return Transaction(self, session).attempt(session, fn)

        for wait in _waits(attempts):
            time.sleep(wait)
            done, result = patience.persist(attempt)
            if done:
                return result
        raise _conflict(keys, attempts)


class AsyncBatches:
    """What a backend inherits to have batches and transactions, over its `execute_many` and `session`."""

    @property
    def deadline(self) -> float | None:
        """For how long (seconds) what failed is tried again; here, not at all."""
        return None

    def steady(self: AsyncBackend) -> AsyncExecutor:
        """What one iteration is made on. Where always the same server answers, that is the backend itself."""
        return self

    async def commit(self: AsyncBackend, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together: what a transaction does at its end."""
        async with self.session() as session:
            await session.commit(pending)

    def batch(self: AsyncBackend) -> AsyncBatch:
        """A block whose commands are sent together at its end; see :class:`AsyncBatch`."""
        return AsyncBatch(self)

    def transaction(self: AsyncBackend) -> AsyncTransaction:
        """A block whose commands are carried out together at its end, all or nothing; see :class:`AsyncTransaction`."""
        return AsyncTransaction(self)

    async def transact(
        self: AsyncBackend,
        fn: Callable[[AsyncTransaction], Awaitable[R]],
        *,
        watch: Watchable | Iterable[Watchable],
        attempts: int = ATTEMPTS,
    ) -> R:
        """Give what *fn* gives, once the transaction that it filled was carried out with nothing of *watch* changed.

        *fn* reads by ``await tx.read(command)``, and adds by ``tx.add(command)`` what is to be carried out. *watch*
        names models or keys; if anybody changes one in the meantime, nothing is carried out, and *fn* is called again,
        so it must have no effect of its own. WATCH, what is read, then MULTI and EXEC: at least two round trips an
        attempt, on a connection of its own.

        Raises :exc:`~redisext.errors.Conflict` after so many *attempts*, and
        :exc:`~redisext.errors.BatchError` if commands failed.
        """
        keys = _watched(self, watch)
        patience = Patience(self.deadline)

        async def attempt() -> tuple[bool, R]:
            async with self.session(keys) as session:
                return await AsyncTransaction(self, session).attempt(session, fn)

        for wait in _waits(attempts):
            await asyncio.sleep(wait)
            done, result = await patience.apersist(attempt)
            if done:
                return result
        raise _conflict(keys, attempts)


def _waits(attempts: int) -> Iterator[float]:
    """How long (seconds) to wait before each attempt."""
    if type(attempts) is not int or attempts < 1:
        raise ArgumentError(f"attempts is a whole number from 1 up, not {shown(attempts)}")
    return chain((0.0,), islice(waits(), attempts - 1))


def _watched(backend: Backend | AsyncBackend, watch: Watchable | Iterable[Watchable]) -> tuple[bytes, ...]:
    if isinstance(watch, (str, bytes, int)) or isinstance(getattr(watch, "commands", None), KeyCommands):
        return (_watched_key(backend, watch),)  # before it is taken for a collection, as it may be one
    if not isinstance(watch, Iterable):
        raise ArgumentError(f"what is watched are models and keys, not {shown(watch)}")
    return tuple(_watched_key(backend, one) for one in watch)


def _watched_key(backend: Backend | AsyncBackend, what: object) -> bytes:
    if isinstance(what, (str, bytes, int)):
        return backend.prefix.encode() + key_bytes(what)
    commands: object = getattr(what, "commands", None)
    if not isinstance(commands, KeyCommands):
        raise ArgumentError(f"what is watched are models and keys, not {shown(what)}")
    _check_location("the watched", commands.exists(), backend.location, "transaction")
    return commands.key


def _conflict(keys: tuple[bytes, ...], attempts: int) -> Conflict:
    names = ", ".join(repr(text(key)) for key in keys)
    return Conflict(
        f"in each of {attempts} attempts somebody else changed what the transaction watches ({names}); nothing was "
        "carried out"
    )


def _chunks(pending: list[Pending[object]]) -> Iterator[list[Pending[object]]]:
    """What is sent together: not more than `CHUNK_COMMANDS`, nor much more than `CHUNK_BYTES`."""
    for begin in range(0, len(pending), CHUNK_COMMANDS):
        some = pending[begin : begin + CHUNK_COMMANDS]
        if sum(_sizes(some)) < CHUNK_BYTES:
            yield some
        else:
            yield from _small_chunks(some)


def _small_chunks(pending: list[Pending[object]]) -> Iterator[list[Pending[object]]]:
    begin = size = 0
    for number, one in enumerate(pending, 1):
        size += sum(_sizes([one]))
        if size >= CHUNK_BYTES:
            yield pending[begin:number]
            begin, size = number, 0
    if begin < len(pending):
        yield pending[begin:]


def _sizes(pending: list[Pending[object]]) -> list[int]:
    """How long each value is, in bytes. What is kept for use again has none."""
    unkept = [one.command.args for one in pending if one.command.packed is None]
    return [len(word) for args in unkept for word in args if type(word) is bytes]


def _batch_error(kind: str, failed: list[Pending[object]], total: int) -> BatchError:
    first = failed[0].error
    valueless = isinstance(first, _VALUELESS)
    # Nothing was sent, say.
    common = len(failed) == 1 or (valueless and len({(type(one.error), str(one.error)) for one in failed}) == 1)
    names = [
        f"{one.command.op.name} on key {text(one.command.keys[0])!r}"
        + ("" if common else f" ({type(one.error).__name__})")
        for one in failed[:_NAMED]
    ]
    more = f" and {len(failed) - _NAMED:,} more" if len(failed) > _NAMED else ""
    reason = f": {type(first).__name__}: {first}" if common and valueless else ""
    return BatchError.of(
        f"{len(failed):,} of {total:,} commands of the {kind} failed: {', '.join(names)}{more}{reason}",
        [(one.command, one.error) for one in failed if one.error is not None],
    )


_NAMED: Final = 5
_VALUELESS: Final = (BackendClosed, ConfigurationError, ConnectionFailed, PermissionDenied, Timeout)
"""What has no value in its message."""


def _check_location(what: str, command: Command[object], here: str, kind: str) -> None:
    if command.location and here and command.location != here:
        raise ConfigurationError(
            f"{what} key {text(command.keys[0])!r} is for the data at {command.location}, and this "
            f"{kind} for those at {here}: one {kind} works on one server"
        )


def _check_command(what: object) -> None:
    if isinstance(what, Generator):
        cast("Generator[object]", what).close()
        raise NotBatchable("the operation takes more than one round trip: it cannot wait for the end of a block")
    if not isinstance(what, Command):
        kind = type(what).__name__
        if isinstance(what, Coroutine):
            cast("Coroutine[object, object, object]", what).close()  # nobody will await it
        raise ArgumentError(
            "what is added is a command, as a model's `commands` describe it (batch.add(jobs.commands.pop())), not "
            f"{kind}"
        )
