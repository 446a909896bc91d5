"""The backend over redis-py for asyncio: one server, a primary with replicas, a group under Sentinels, or a cluster.

Tasks that run at the same time share one connection to each server, a :class:`~redisext.backend.channel.Channel`. A
command that blocks would hold up everybody behind it, and a transaction must have nobody in between: these have
connections of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar, cast

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool

from redisext.backend import exchange, failures
from redisext.backend.channel import KINDS, Channel, NotSent
from redisext.backend.exchange import Answer, Cut, Exchange, Words, adrive
from redisext.backend.recorded import Records, Requests
from redisext.backend.servers import Servers, settings
from redisext.backend.topology import (
    TRANSACTION,
    Ask,
    Call,
    CallMany,
    Commit,
    Request,
    Route,
    Seat,
    Topology,
    Trial,
)
from redisext.backoff import Patience
from redisext.batch import AsyncBatches, Pending
from redisext.command import Command, CursorLost, Reply, arun
from redisext.dsn import Configuration
from redisext.errors import RedisextError

if TYPE_CHECKING:
    from typing import Self

    from redisext.backend.abc import AsyncExecutor, AsyncSession

__all__ = ["AsyncRedisBackend"]

R = TypeVar("R")


class AsyncRedisBackend(Servers["_Node"], AsyncBatches):
    """One server, a primary with replicas, a group under Sentinels, or a cluster.

    Reads go to the replicas in turn, where there are some that shall answer them; all else goes to the primary. Made by
    :func:`redisext.aconnect`. Nothing is opened before the first command, whose event loop it then belongs to.
    """

    def __init__(self, configuration: Configuration, *, shared: bool = False) -> None:
        super().__init__(configuration, _Node)
        self._shared = shared
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end_of_loop: AsyncGenerator[None] | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}

    @property
    def primary(self) -> AsyncRedisBackend:
        """The same backend, on the same connections, that reads where it is written."""
        return _PrimaryOnly(self) if self._spreads_reads else self

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command*, on a replica if it only reads and there is one."""
        if self._loop is not asyncio.get_running_loop():
            self._begin()
        if self._plain is not None:
            return command.read(await self._plain.call(command))
        steps = self._in_steps(command)
        patience = self._patience(command)
        if steps is not None:
            return await arun(steps, lambda step: self.persist(step, patience))
        return await self.persist(command, patience)

    async def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all: those that only read on a replica, if there is one, the others on the primary."""
        self._begin()
        if pending:
            await self._carry_out(self._try_many, pending, atomic=False)

    async def commit(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together, on the primary."""
        self._begin()
        await self._carry_out(self.try_commit, pending, atomic=True)

    @asynccontextmanager
    async def session(self, watch: Sequence[bytes] = ()) -> AsyncGenerator[AsyncSession]:
        """A connection to the primary that nobody else uses, on which the keys in *watch* are being watched."""
        self._begin()
        async with AsyncExitStack() as stack:
            session: AsyncSession = await self._enter_session(stack, watch)
            if self._records is not None:
                session = _RecordedSession(self, self._records, session)
            yield session

    def steady(self) -> AsyncExecutor:
        """What one iteration is made on: all of its scanning is done by the server that has begun it."""
        if self._only is not None:
            return self
        # A replica does not know of keys that are being moved to another node of a cluster: it would say they are gone.
        return _Steady(self.primary if self.configuration.topology == "cluster" else self)

    async def persist(self, command: Command[R], patience: float | None) -> R:
        """Carry out *command*, and try again for so many seconds."""
        trying = Patience(patience)

        async def attempt() -> R:
            return command.read(await self._call(command))

        result = await trying.apersist(attempt)
        if self._records is not None and command.op.recorded and not trying.doubt:
            self._records.forget(command.keys[-1])
        return result

    async def try_commit(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together, once."""
        await self.go(self._topology.commit(pending))

    @property
    def client(self) -> redis.asyncio.Redis:
        """redis-py's client of the primary, with connections that this backend closes.

        Under Sentinels, of who that is by now: at least one command must have been awaited before.
        """
        self._begin()
        self._check_client()
        return self._at_once(self._topology.primary("a client", ())).client

    @property
    def replica_client(self) -> redis.asyncio.Redis:
        """redis-py's client of a replica; of the primary where there is none."""
        self._begin()
        self._check_client()
        return self._at_once(self._topology.reader(())).client if self._spreads_reads else self.client

    # --- Attempts

    async def _call(self, command: Command[object]) -> Reply:
        """One attempt at *command*."""
        if self._only is not None:
            return await self._only.call(command)
        from_replica = self._spreads_reads and command.op.reads
        node = self._topology.at_once(command, from_replica=from_replica)
        if node is None:
            return (await self.call_located(command))[1]
        try:
            reply = await node.call(command)
        except RedisextError as error:
            return (await self.go(self._topology.call(command, from_replica=from_replica, failed=(node, error))))[1]
        if not from_replica:
            self._topology.answered()
        return reply

    async def call_located(self, command: Command[object]) -> tuple[Seat[_Node], Reply]:
        """The same, and where it was carried out."""
        self._begin()
        return await self.go(self._topology.call(command, from_replica=self._spreads_reads and command.op.reads))

    async def _try_many(self, pending: Sequence[Pending[object]]) -> None:
        if self._only is None:
            await self.go(self._topology.call_many(pending, from_replicas=self._spreads_reads))
            return
        error = await self._only.try_many(pending)
        if error is not None:
            raise error

    async def _carry_out(
        self,
        work: Callable[[Sequence[Pending[object]]], Awaitable[None]],
        pending: Sequence[Pending[object]],
        *,
        atomic: bool,
    ) -> None:
        if self.deadline is None:
            await work(pending)
            return
        patience = Patience(self.deadline)
        if self._records is None:
            await patience.apersist_with(work, pending)
            return
        requests = Requests(self._records, pending, atomic=atomic)
        try:
            await patience.apersist_with(work, requests.shadows)
        except RedisextError as error:
            requests.finish(patience, error)
        else:
            requests.finish(patience)

    async def _enter_session(self, stack: AsyncExitStack, watch: Sequence[bytes]) -> AsyncSession:
        topology = self._topology
        seat = Seat(await self.go(topology.primary(TRANSACTION, watch)))
        trial = Trial[_Node](self.configuration)
        while True:
            await self.go(trial.begin_turn())
            try:
                session = await stack.enter_async_context(seat.node.session(watch))
            except RedisextError as error:
                topology.heard(seat.node, error)
                seat = await self.go(topology.moved(trial, seat, TRANSACTION, watch, error))
            else:
                return _RoutedSession(topology, seat.node, session, watch)

    async def go(self, route: Route[_Node, R]) -> R:
        """Go a route to its end."""
        return await arun(route, self._do)  # type: ignore[arg-type]  # mypy joins what the kinds of request have in common

    async def _do(self, request: Request[_Node]) -> object:
        """What a request asks for."""
        if isinstance(request, Call):
            return await request.seat.node.call(request.command, asking=request.seat.asking)
        if isinstance(request, CallMany):
            return await self._call_together(request.parts)
        if isinstance(request, Ask):
            return await request.node.ask(request.words)
        if isinstance(request, Commit):
            async with request.node.session(()) as session:
                return await session.commit(request.pending)
        await self._once(request.name, request.route)
        return None

    async def _call_together(
        self, parts: Mapping[Seat[_Node], Sequence[Pending[object]]]
    ) -> Sequence[RedisextError | None]:
        if len(parts) == 1:  # for which no other task is needed: it leaves in this turn, with what others send
            return [await seat.node.try_many(its, asking=seat.asking) for seat, its in parts.items()]
        return await asyncio.gather(*(seat.node.try_many(its, asking=seat.asking) for seat, its in parts.items()))

    async def _once(self, name: str, route: Callable[[], Route[_Node, None]]) -> None:
        """One task finds out for all; that one of those who wait is cancelled is nothing to the others."""
        task = self._under_way.get(name)
        if task is None or task.done():
            task = self._under_way[name] = asyncio.create_task(self.go(route()))
            task.add_done_callback(_look_at)
        await asyncio.wait((task,))
        if task.cancelled():
            raise failures.closed(self.configuration)
        _result_of(task)

    @staticmethod
    def _at_once(route: Route[_Node, R]) -> R:
        """What a route comes to without a word to anybody, by what is known."""
        try:
            while True:
                next(route)
        except StopIteration as stop:
            return cast("R", stop.value)  # which is what a route gives

    async def aclose(self) -> None:
        """Close all connections. Commands after that raise :exc:`~redisext.errors.BackendClosed`."""
        if self._loop is None or self._loop.is_closed():
            self._closed = True
            return
        self._check_loop()
        first, self._closed = not self._closed, True
        await self._close()
        if first and self._end_of_loop is not None:
            await self._end_of_loop.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self.aclose()

    def check_begun(self) -> None:
        """Raise if it was closed, or belongs to another event loop."""
        self._begin()

    def _begin(self) -> None:
        """Belong to the running loop, and be closed with it."""
        if self.closed:
            raise failures.closed(self.configuration)
        if self._loop is not None:
            self._check_loop()
            return
        self._loop = asyncio.get_running_loop()
        # A loop that ends closes the asynchronous generators that were begun in it.
        self._end_of_loop = self._wait_for_the_end()
        with contextlib.suppress(StopIteration):
            self._end_of_loop.__anext__().send(None)

    def _check_loop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            raise failures.elsewhere(self)

    async def _wait_for_the_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if not self._closed:
                self._closed = True
                await self._close()
                if not self._shared:
                    warnings.warn(
                        f"{self!r} was still open when its event loop ended: await its aclose(), or use 'async with'",
                        ResourceWarning,
                        stacklevel=1,
                    )

    async def _close(self) -> None:
        self._nodes.ended = True
        for task in self._under_way.values():
            task.cancel()
        for node in self._nodes:
            node.end()
        for node in self._nodes:
            await node.wait_closed()


def _look_at(task: asyncio.Task[None]) -> None:
    # To ask for its error keeps asyncio from telling of it, if nobody waits for it any more.
    if not task.cancelled():
        task.exception()


def _result_of(task: asyncio.Task[R]) -> R:
    """What a task came to; to each who has waited for it, an error of its own, as what becomes of it differs."""
    error = task.exception()
    if isinstance(error, RedisextError):
        raise failures.once_more(error)
    return task.result()


class _RoutedSession:
    """A session with a node of a topology, which hears what becomes of it."""

    def __init__(self, topology: Topology[_Node], node: _Node, session: AsyncSession, watch: Sequence[bytes]) -> None:
        self._topology = topology
        self._node = node
        self._session = session
        self._watch = watch

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        self._topology.check_together(TRANSACTION, (*self._watch, *command.keys))
        try:
            return await self._session.execute(command)
        except RedisextError as error:
            self._topology.heard(self._node, error)
            raise self._topology.ending(TRANSACTION, command.keys, error) from error.__cause__

    async def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed, or moved to another node."""
        keys = [*self._watch, *(key for one in pending for key in one.command.keys)]
        self._topology.check_together(TRANSACTION, keys)
        committed = await self._session.commit(pending)
        return self._topology.concluded(self._node, keys, pending, committed=committed)


class _RecordedSession:
    """A session of which the transaction is recorded."""

    def __init__(self, backend: AsyncRedisBackend, records: Records, session: AsyncSession) -> None:
        self._backend = backend
        self._records = records
        self._session = session

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        return await self._session.execute(command)

    async def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed."""
        requests = Requests(self._records, pending, atomic=True)
        committed = await self._session.commit(requests.shadows)
        patience = Patience(self._backend.deadline)
        with contextlib.suppress(RedisextError):  # it stays unknown
            await self._find_out(requests, patience)
        requests.finish(patience)
        return committed

    async def _find_out(self, requests: Requests, patience: Patience) -> None:
        """What has become of the transaction, if nobody has told; see to it that it is one or the other."""
        if not requests.in_doubt:
            return
        if await self._backend.persist(requests.decide(), self._backend.deadline):
            await patience.apersist_with(self._backend.try_commit, requests.shadows)  # which are recorded
        else:
            requests.were_not()


class _PrimaryOnly(AsyncRedisBackend):
    """A view of another backend, which owns the connections."""

    def __init__(self, whole: AsyncRedisBackend) -> None:
        self._share(whole)
        self._whole = whole
        self._loop = None  # that of the whole, which sees to it
        self._under_way = whole._under_way  # noqa: SLF001  # a view of one of its own kind

    @property
    def closed(self) -> bool:
        """Whether the backend itself was closed."""
        return self._whole.closed

    async def aclose(self) -> None:
        """Close the backend itself."""
        await self._whole.aclose()

    def _begin(self) -> None:
        self._whole._begin()  # noqa: SLF001  # as above


class _Steady:
    """A view of a backend, on which one server answers all of a scan: another has cursors of its own."""

    def __init__(self, whole: AsyncRedisBackend) -> None:
        self._whole = whole
        self._seat: Seat[_Node] | None = None

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command*. Raises :exc:`~redisext.command.CursorLost` if its cursor is of no use any more."""
        if not command.op.scans:
            return await self._whole.execute(command)
        if self._seat is not None:
            self._whole.check_begun()
            return command.read(await self._go_on(self._seat, command))
        return await Patience(self._whole.deadline).apersist(partial(self._start, command))

    async def _start(self, command: Command[R]) -> R:
        self._seat, reply = await self._whole.call_located(command)
        return command.read(reply)

    async def _go_on(self, seat: Seat[_Node], command: Command[object]) -> Reply:
        try:
            return await seat.node.call(command, asking=seat.asking)
        except RedisextError as error:
            if error.retriable or failures.is_redirected(error):
                raise CursorLost from error
            raise


class _Node:
    """One server: the channel to it, and the connections of those who are alone on one."""

    def __init__(self, where: Configuration) -> None:
        self.where = where
        self.closed = False
        # How long (seconds) a reply may take; that of WAIT, and of what waits behind it, so much longer.
        self.patience: float = where.socket_timeout + (where.wait_timeout if where.wait_replicas else 0)
        self._channel: Channel | None = None
        self._attempt: asyncio.Task[Channel] | None = None
        self._open: set[Channel] = set()
        self._idle: list[Channel] = []
        self._free = asyncio.Semaphore(max(1, where.max_connections - 1))

    @cached_property
    def client(self) -> redis.asyncio.Redis:
        where = self.where
        pool = _Pool(where.max_connections, where.socket_timeout, KINDS[where.transport], **settings(where))
        pool.where = where
        return redis.asyncio.Redis(connection_pool=pool)

    async def call(self, command: Command[object], *, asking: bool = False) -> Reply:
        """Send, and wait for the reply. Errors become those of :mod:`redisext.errors`."""
        op = command.op
        if op.blocks or not self.where.reuse:
            async with self.alone() as connection:
                return await connection.call(command, asking=asking)
        if asking or self.where.wait_replicas:
            return await adrive(exchange.one_with(self.where, command, asking=asking), self.exchange)
        words = (command,)
        try:
            if self._channel is None:
                [answer] = await self.exchange(words)
            else:
                try:
                    [answer] = await self._channel.call(words, self.patience)
                except NotSent:
                    [answer] = await self.exchange(words)
        except Cut as cut:
            raise failures.broken(self.where, command, cut.reason, sent=True) from cut.reason
        if isinstance(answer, redis.exceptions.RedisError):
            return await adrive(exchange.refused(self.where, command, answer), self.exchange)
        return answer

    async def try_many(self, pending: Sequence[Pending[object]], *, asking: bool = False) -> RedisextError | None:
        """Tell each its reply, or its error; the error instead, if nothing was sent."""
        steps = exchange.many(self.where, pending)
        if asking or self.where.wait_replicas:
            steps = exchange.many_with(self.where, pending, steps, asking=asking)
        try:
            if self.where.reuse:
                await adrive(steps, self.exchange)
            else:
                async with self.alone() as connection:
                    await connection.go_through(steps)
        except RedisextError as error:
            return error
        return None

    async def ask(self, words: list[Words]) -> Sequence[Answer]:
        """Say *words*; the answers, errors among them."""
        try:
            if self.where.reuse:
                return await self.exchange(words)
            async with self.alone() as connection:
                return await connection.ask(words)
        except Cut as cut:
            raise failures.unreachable(self.where, cut.reason) from cut.reason

    @asynccontextmanager
    async def session(self, watch: Sequence[bytes]) -> AsyncGenerator[AsyncSession]:
        """A connection that nobody else uses, on which the keys in *watch* are being watched."""
        async with self.alone() as connection:
            if watch:
                await connection.watch(watch)
            yield connection

    async def exchange(self, words: Sequence[Words]) -> Sequence[Answer]:
        """Send all in one write, together with what others send, and wait for the answers.

        Raises :class:`~redisext.backend.exchange.Cut` only if they were sent.
        """
        tries = 0
        while True:
            channel = self._channel
            if channel is None or channel.broken:
                channel = await self._connect()
            try:
                return await channel.call(words, self.patience)
            except NotSent as not_sent:
                tries += 1
                if tries == _TRIES:
                    raise failures.unreachable(self.where, not_sent.reason) from not_sent.reason

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[_Alone]:
        """A connection that nobody else uses meanwhile."""
        try:
            async with asyncio.timeout(self.where.socket_timeout):
                await self._free.acquire()
        except TimeoutError as error:
            raise failures.exhausted(self.where) from error
        connection = _Alone(self)
        try:
            yield connection
        finally:
            self._free.release()
            channel = connection.channel
            if channel is not None:
                if connection.settled and self.where.reuse:
                    self._idle.append(channel)
                else:
                    channel.break_off(redis.exceptions.ConnectionError("its use has ended"))

    async def idle_or_new(self) -> Channel:
        """A connection for somebody who is alone on it."""
        if self.closed:
            raise failures.closed(self.where)
        while self._idle:
            channel = self._idle.pop()
            if channel.usable:
                return channel
            channel.break_off(redis.exceptions.ConnectionError("the server closed it"))
        return await self._new()

    def cut(self) -> None:
        """Close the connections to it, those in use too."""
        for channel in self._open:
            channel.break_off(redis.exceptions.ConnectionError("another server has taken over"))

    def end(self) -> None:
        """The same, for good."""
        self.closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        for channel in self._open:
            channel.break_off(redis.exceptions.ConnectionError("the backend was closed"))

    async def wait_closed(self) -> None:
        """Wait until the sockets are closed."""
        for channel in self._open:
            await channel.wait_closed()
        if "client" in self.__dict__:
            await self.client.connection_pool.disconnect()

    async def _connect(self) -> Channel:
        """One attempt serves all who are waiting for it; that one of them is cancelled is nothing to the others."""
        if self.closed:
            raise failures.closed(self.where)
        attempt = self._attempt
        if attempt is None:
            attempt = self._attempt = asyncio.create_task(self._new())
            attempt.add_done_callback(self._connected)
        await asyncio.wait((attempt,))
        if attempt.cancelled():
            raise failures.closed(self.where)
        return _result_of(attempt)

    def _connected(self, attempt: asyncio.Task[Channel]) -> None:
        self._attempt = None
        # To ask for its error keeps asyncio from telling of it, if nobody waits for it any more.
        if not attempt.cancelled() and attempt.exception() is None:
            self._channel = attempt.result()

    async def _new(self) -> Channel:
        channel = await Channel.open(self.where)
        self._open = {one for one in self._open if not one.broken} | {channel}
        if self.closed:
            channel.break_off(redis.exceptions.ConnectionError("the backend was closed"))
            raise failures.closed(self.where)
        return channel


_TRIES: Final = 3


class _Pool(BlockingConnectionPool):
    """Says where it leads. Older redis-py would show the password, here and for the clients and pipelines on it."""

    where: Configuration

    def make_connection(self) -> AbstractConnection:
        """One more."""
        connection = super().make_connection()
        if isinstance(connection, KINDS[self.where.transport]):  # pragma: no branch  # as this pool was made for
            connection.where = self.where
        return connection

    def __repr__(self) -> str:
        return f"<connections to {self.where}>"


class _Alone:
    """A connection in use by one task: what is said on it."""

    def __init__(self, node: _Node) -> None:
        self.channel: Channel | None = None
        self._node = node
        self._turn = asyncio.Lock()
        self._watching = False

    @property
    def settled(self) -> bool:
        """Whether somebody else may use the connection."""
        # What is watched still, ends with the connection.
        return self.channel is not None and self.channel.usable and not self._watching

    async def call(self, command: Command[object], *, asking: bool = False) -> Reply:
        """The reply to *command*."""
        held = command.timeout if command.op.blocks else 0
        where = self._node.where
        one = exchange.one_with(where, command, asking=asking) if asking or where.wait_replicas else None
        return await adrive(one or exchange.one(where, command), partial(self._exchange, held=held))

    async def ask(self, words: list[Words]) -> Sequence[Answer]:
        """The answers to *words*."""
        return await self._exchange(words)

    async def go_through(self, steps: Exchange[None]) -> None:
        """Say all that *steps* say."""
        await adrive(steps, self._exchange)

    async def watch(self, keys: Sequence[bytes]) -> None:
        """Have *keys* watched until `commit`."""
        self._watching = True
        await adrive(exchange.watch(self._node.where, keys), self._exchange)

    # --- As a session

    async def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        return command.read(await self.call(command))

    async def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed."""
        where = self._node.where
        steps = exchange.commit(where, pending)
        if where.wait_replicas:
            steps = exchange.many_with(where, pending, steps)
        committed = await adrive(steps, self._exchange)
        self._watching = False
        return committed

    async def _exchange(self, words: list[Words], *, held: float | None = 0) -> Sequence[Answer]:
        """Send all in one write, and wait for the answers, which the server may hold back for so long (seconds)."""
        patience = None if held is None else held + self._node.patience
        async with self._turn:  # a session's function may have tasks of its own
            begun = self.channel is not None
            tries = 0
            while True:
                if self.channel is None:
                    self.channel = await self._node.idle_or_new()
                try:
                    return await self.channel.call(words, patience)
                except NotSent as not_sent:
                    tries += 1
                    if begun or tries == _TRIES:
                        raise Cut(not_sent.reason, [], sent=False) from None
                    self.channel = None  # nothing was said on it, so another one will do
