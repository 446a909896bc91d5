"""The backend over redis-py: one server, a primary with replicas, a group under Sentinels, or a cluster.

redis-py opens connections, speaks TLS and the handshake, and parses replies. Commands go through its
`Connection` objects rather than through its client: so each reply arrives as the server sent it, and
it is known whether a command had been sent when a connection broke. redis-py's retries are off
(they would send INCR twice).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, TypeVar

import redis

from redisext import dsn
from redisext.backend import connections, exchange, failures
from redisext.backend.connections import ClientPool, NoneFree, Pool
from redisext.backend.exchange import Answer, Cut, Exchange, Words, drive
from redisext.backend.recorded import Records, Requests
from redisext.backend.servers import Servers
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
from redisext.batch import Batches, Pending
from redisext.command import Command, CursorLost, Reply, run
from redisext.errors import ConfigurationError, RedisextError

if TYPE_CHECKING:
    from typing import Self

    from redisext.backend.abc import Executor, Session

__all__ = ["Connection", "RedisBackend"]

R = TypeVar("R")


class RedisBackend(Servers["_Node"], Batches):
    """One server, a primary with replicas, a group under Sentinels, or a cluster.

    Reads go to the replicas in turn, where there are some that shall answer them; all else goes to the primary. Made by
    :func:`redisext.connect`. Nothing is opened before the first command. May be shared between threads.
    """

    def __init__(self, configuration: dsn.Configuration) -> None:
        super().__init__(configuration, _Node)
        self._turns = _Turns()

    @property
    def primary(self) -> RedisBackend:
        """The same backend, on the same connections, that reads where it is written."""
        return _PrimaryOnly(self) if self._spreads_reads else self

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*, on a replica if it only reads and there is one."""
        plain = self._plain
        if plain is not None:
            return command.read(plain.call(command))
        self._check_open()
        steps = self._in_steps(command)
        patience = self._patience(command)
        if steps is not None:
            return run(steps, lambda step: self.persist(step, patience))
        return self.persist(command, patience)

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all: those that only read on a replica, if there is one, the others on the primary."""
        if pending:
            self._carry_out(self._try_many, pending, atomic=False)

    def commit(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together, on the primary."""
        self._carry_out(self.try_commit, pending, atomic=True)

    @contextmanager
    def session(self, watch: Sequence[bytes] = ()) -> Generator[Session]:
        """A connection to the primary that nobody else uses, on which the keys in *watch* are being watched."""
        self._check_open()
        with ExitStack() as stack:
            session: Session = self._enter_session(stack, watch)
            if self._records is not None:
                session = _RecordedSession(self, self._records, session)
            yield session

    def steady(self) -> Executor:
        """What one iteration is made on: all of its scanning is done by the server that has begun it."""
        if self._only is not None:
            return self
        # A replica does not know of keys that are being moved to another node of a cluster: it would say they are gone.
        return _Steady(self.primary if self.configuration.topology == "cluster" else self)

    def persist(self, command: Command[R], patience: float | None) -> R:
        """Carry out *command*, and try again for so many seconds."""
        trying = Patience(patience)

        def attempt() -> R:
            self._check_open()  # it may be closed by another thread, between two attempts
            return command.read(self._call(command))

        result = trying.persist(attempt)
        if self._records is not None and command.op.recorded and not trying.doubt:
            self._records.forget(command.keys[-1])
        return result

    def try_commit(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together, once."""
        self._check_open()
        self.go(self._topology.commit(pending))

    @property
    def client(self) -> redis.Redis:
        """redis-py's client of the primary, on this backend's connections; under Sentinels, of who that is by now."""
        self._check_client()
        return self.go(self._topology.primary("a client", ())).client

    @property
    def replica_client(self) -> redis.Redis:
        """redis-py's client of a replica; of the primary where there is none."""
        self._check_client()
        return self.go(self._topology.reader(())).client if self._spreads_reads else self.client

    def close(self) -> None:
        """Close all connections. Commands after that raise :exc:`~redisext.errors.BackendClosed`."""
        self._closed = self._nodes.ended = True
        self._plain = None
        for node in self._nodes:
            node.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self.closed:
            raise failures.closed(self.configuration)

    # --- Attempts

    def _call(self, command: Command[object]) -> Reply:
        """One attempt at *command*."""
        if self._only is not None:
            return self._only.call(command)
        from_replica = self._spreads_reads and command.op.reads
        node = self._topology.at_once(command, from_replica=from_replica)
        if node is None:
            return self.call_located(command)[1]
        try:
            reply = node.call(command)
        except RedisextError as error:
            return self.go(self._topology.call(command, from_replica=from_replica, failed=(node, error)))[1]
        if not from_replica:
            self._topology.answered()
        return reply

    def call_located(self, command: Command[object]) -> tuple[Seat[_Node], Reply]:
        """The same, and where it was carried out."""
        return self.go(self._topology.call(command, from_replica=self._spreads_reads and command.op.reads))

    def _try_many(self, pending: Sequence[Pending[object]]) -> None:
        self._check_open()
        if self._only is not None:
            self._only.call_many(pending)
        else:
            self.go(self._topology.call_many(pending, from_replicas=self._spreads_reads))

    def _carry_out(
        self, work: Callable[[Sequence[Pending[object]]], None], pending: Sequence[Pending[object]], *, atomic: bool
    ) -> None:
        if self.deadline is None:
            work(pending)
            return
        patience = Patience(self.deadline)
        if self._records is None:
            patience.persist_with(work, pending)
            return
        requests = Requests(self._records, pending, atomic=atomic)
        try:
            patience.persist_with(work, requests.shadows)
        except RedisextError as error:
            requests.finish(patience, error)
        else:
            requests.finish(patience)

    def _enter_session(self, stack: ExitStack, watch: Sequence[bytes]) -> Session:
        topology = self._topology
        seat = Seat(self.go(topology.primary(TRANSACTION, watch)))
        trial = Trial[_Node](self.configuration)
        while True:
            self.go(trial.begin_turn())
            try:
                session = stack.enter_context(seat.node.session(watch))
            except RedisextError as error:
                topology.heard(seat.node, error)
                seat = self.go(topology.moved(trial, seat, TRANSACTION, watch, error))
            else:
                return _RoutedSession(topology, seat.node, session, watch)

    def go(self, route: Route[_Node, R]) -> R:
        """Go a route to its end, in this thread."""
        return run(route, self._do)  # type: ignore[arg-type]  # mypy joins what the kinds of request have in common

    def _do(self, request: Request[_Node]) -> object:
        """What a request asks for."""
        self._check_open()  # while it was searched, it may have been closed
        if isinstance(request, Call):
            return request.seat.node.call(request.command, asking=request.seat.asking)
        if isinstance(request, CallMany):
            return _call_together(request.parts)
        if isinstance(request, Ask):
            return request.node.ask(request.words)
        if isinstance(request, Commit):
            with request.node.session(()) as session:
                return session.commit(request.pending)
        with self._turns.take(2 * self.configuration.socket_timeout):
            if request.needed():
                self._turns.keep_failure(lambda: self.go(request.route()))
        return None


class _Turns:
    """Has one thread find out what all want to know. Those who wait share what it has found, be it an error."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        # A signal handler may want to know it too.
        self._lock = threading.RLock()
        self._failed: tuple[float, RedisextError] | None = None

    @contextmanager
    def take(self, patience: float) -> Generator[None]:
        """Wait for one's turn, for so many seconds at the most: to find out the same twice does no harm."""
        if self._process != os.getpid():  # pragma: no cover  # a forked child is not measured
            self._begin()  # a thread that it has not may have had its turn
        came = time.monotonic()
        lock = self._lock
        taken = lock.acquire(timeout=patience)
        try:
            failed = self._failed
            if failed is not None and failed[0] > came:
                raise failures.once_more(failed[1])
            yield
        finally:
            if taken:
                lock.release()

    def keep_failure(self, find: Callable[[], None]) -> None:
        """Find out, and keep an error for those who wait."""
        try:
            find()
        except RedisextError as error:
            self._failed = time.monotonic(), error
            raise


def _call_together(parts: Mapping[Seat[_Node], Sequence[Pending[object]]]) -> list[RedisextError | None]:
    """Have several servers carry out their part: all are told before any is listened to."""
    unsaid: dict[Seat[_Node], RedisextError | None] = dict.fromkeys(parts)
    # One connection to each at a time, and in the same order as everybody else: so no two wait for each other's.
    for asking in (False, True):
        seats = sorted((seat for seat in parts if seat.asking is asking), key=lambda seat: str(seat.node.where))
        with ExitStack() as stack:
            begun: list[tuple[Seat[_Node], _Talk]] = []
            for seat in seats:
                try:
                    loan = stack.enter_context(seat.node.lend())
                    begun.append((seat, loan.begin(parts[seat], asking=asking)))
                except RedisextError as error:
                    unsaid[seat] = error
            for seat, talk in begun:
                try:
                    talk.finish()
                except RedisextError as error:
                    unsaid[seat] = error
    return list(unsaid.values())


class _RoutedSession:
    """A session with a node of a topology, which hears what becomes of it."""

    def __init__(self, topology: Topology[_Node], node: _Node, session: Session, watch: Sequence[bytes]) -> None:
        self._topology = topology
        self._node = node
        self._session = session
        self._watch = watch

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        self._topology.check_together(TRANSACTION, (*self._watch, *command.keys))
        try:
            return self._session.execute(command)
        except RedisextError as error:
            self._topology.heard(self._node, error)
            raise self._topology.ending(TRANSACTION, command.keys, error) from error.__cause__

    def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed, or moved to another node."""
        keys = [*self._watch, *(key for one in pending for key in one.command.keys)]
        self._topology.check_together(TRANSACTION, keys)
        committed = self._session.commit(pending)
        return self._topology.concluded(self._node, keys, pending, committed=committed)


class _RecordedSession:
    """A session of which the transaction is recorded."""

    def __init__(self, backend: RedisBackend, records: Records, session: Session) -> None:
        self._backend = backend
        self._records = records
        self._session = session

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        return self._session.execute(command)

    def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed."""
        requests = Requests(self._records, pending, atomic=True)
        committed = self._session.commit(requests.shadows)
        patience = Patience(self._backend.deadline)
        with contextlib.suppress(RedisextError):  # it stays unknown
            self._find_out(requests, patience)
        requests.finish(patience)
        return committed

    def _find_out(self, requests: Requests, patience: Patience) -> None:
        """What has become of the transaction, if nobody has told; see to it that it is one or the other."""
        if not requests.in_doubt:
            return
        if self._backend.persist(requests.decide(), self._backend.deadline):
            patience.persist_with(self._backend.try_commit, requests.shadows)  # which are recorded
        else:
            requests.were_not()


class _PrimaryOnly(RedisBackend):
    """A view of another backend, which owns the connections."""

    def __init__(self, whole: RedisBackend) -> None:
        self._share(whole)
        self._turns = whole._turns  # noqa: SLF001  # a view of one of its own kind
        self._whole = whole

    @property
    def closed(self) -> bool:
        """Whether the backend itself was closed."""
        return self._whole.closed

    def close(self) -> None:
        """Close the backend itself."""
        self._whole.close()


class _Steady:
    """A view of a backend, on which one server answers all of a scan: another has cursors of its own."""

    def __init__(self, whole: RedisBackend) -> None:
        self._whole = whole
        self._seat: Seat[_Node] | None = None

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*. Raises :exc:`~redisext.command.CursorLost` if its cursor is of no use any more."""
        if not command.op.scans:
            return self._whole.execute(command)
        if self._seat is not None:
            return command.read(self._go_on(self._seat, command))
        return Patience(self._whole.deadline).persist(partial(self._begin, command))

    def _begin(self, command: Command[R]) -> R:
        self._seat, reply = self._whole.call_located(command)
        return command.read(reply)

    def _go_on(self, seat: Seat[_Node], command: Command[object]) -> Reply:
        try:
            return seat.node.call(command, asking=seat.asking)
        except RedisextError as error:
            if error.retriable or failures.is_redirected(error):
                raise CursorLost from error
            raise


class Connection:
    """Settings as a class, to be named as a model's `CONNECTION`.

        class Connection(redisext.backend.redis.Connection):
            MASTER = {"host": "10.0.0.1", "port": 6379, "db": 0}
            SLAVE = {"host": "10.0.0.2", "port": 6379, "db": 0}

    `MASTER` and `SLAVE` are settings (`host`, `port`, `db`, `username`, `password`, and the options of
    :func:`redisext.connect`) or DSNs. Without a `SLAVE`, `MASTER` answers reads too.
    """

    MASTER: ClassVar[Mapping[str, object] | str | None] = None
    SLAVE: ClassVar[Mapping[str, object] | str | None] = None

    @classmethod
    def configuration(cls) -> dsn.Configuration:
        """`MASTER` and `SLAVE`, read and checked."""
        if cls.MASTER is None:
            raise ConfigurationError(f"{cls.__qualname__}.MASTER is not set")
        primary = _settings(cls.MASTER)
        return primary.with_options({"replicas": [_settings(cls.SLAVE)] if cls.SLAVE else None})

    @classmethod
    def connect_to_master(cls) -> redis.Redis:
        """A redis-py client of the primary, with connections of its own."""
        return RedisBackend(cls.configuration()).client

    @classmethod
    def connect_to_slave(cls) -> redis.Redis:
        """A redis-py client of the replica, or of the primary where there is none."""
        return RedisBackend(cls.configuration()).replica_client


def _settings(given: Mapping[str, object] | str) -> dsn.Configuration:
    return dsn.parse(given) if isinstance(given, str) else dsn.from_mapping(given)


class _Node:
    """One server: a pool of connections to it, and the way a command takes over one of them."""

    def __init__(self, where: dsn.Configuration) -> None:
        self.where = where
        self.pool = Pool(where)
        # The pool does not know this node, so dropping the last reference to the node closes its connections.
        self._close = weakref.finalize(self, self.pool.close)

    @property
    def closed(self) -> bool:
        return self.pool.closed

    @cached_property
    def client(self) -> redis.Redis:
        return _Client(self, ClientPool(self.pool))

    def cut(self) -> None:
        """Close the connections to it, those in use too."""
        self.pool.disconnect()

    def end(self) -> None:
        """The same, for good."""
        self.pool.close()

    def call(self, command: Command[object], *, asking: bool = False) -> Reply:
        """Send, and read the reply. Errors become those of :mod:`redisext.errors`."""
        connection = self.take()
        if asking or self.where.wait_replicas or command.op.blocks:
            with _Loan(self, connection) as loan:
                return loan.call(command, asking=asking)
        # Nearly all commands go this way, which is a loan's in as few steps as can be.
        sent = False
        try:
            connection.send(exchange.packed((command,)))
            sent = True
            answer = connection.read()
        except BaseException as error:
            self.pool.give_back(connection, settled=False)
            if isinstance(error, Exception) and self.is_break(error, sent=sent):
                raise failures.broken(self.where, command, error, sent=sent) from error
            raise
        if isinstance(answer, redis.exceptions.RedisError):
            with _Loan(self, connection) as loan:
                return loan.refused(command, answer)
        self.pool.give_back(connection, settled=True)
        return answer

    def call_many(self, pending: Sequence[Pending[object]]) -> None:
        """Send all at once, and read the replies; raises only if nothing was sent."""
        with self.lend() as loan:
            loan.begin(pending).finish()

    def ask(self, words: list[Words]) -> Sequence[Answer]:
        """Say *words*; the answers, errors among them."""
        with self.lend() as loan:
            return loan.ask(words)

    @contextmanager
    def session(self, watch: Sequence[bytes]) -> Generator[Session]:
        with self.lend() as loan:
            if watch:
                loan.watch(watch)
            yield loan

    def lend(self) -> _Loan:
        """A connection, until the end of a block."""
        return _Loan(self, self.take())

    def take(self) -> connections.Connection:
        """A connection; see :meth:`~redisext.backend.connections.Pool.take`."""
        try:
            return self.pool.take()
        except Exception as error:
            if self.closed:
                raise failures.closed(self.where) from error
            if isinstance(error, NoneFree):
                raise failures.exhausted(self.where) from error
            if isinstance(error, (redis.exceptions.RedisError, UnicodeError)):  # the latter for a host's name
                raise failures.unreachable(self.where, error) from error
            raise

    def is_break(self, error: Exception, *, sent: bool) -> bool:
        """Whether *error* is the connection's. Raises :exc:`~redisext.errors.BackendClosed` if that explains it."""
        if self.closed and not sent:
            raise failures.closed(self.where) from error
        # Where another thread closes the socket in the midst of it, redis-py fails with whatever comes.
        return self.closed or isinstance(error, (redis.exceptions.RedisError, OSError))


class _Loan:
    """A connection in use: what is said on it, and how it is given back."""

    __slots__ = ("_connection", "_node", "_settled", "_watching", "_where")

    def __init__(self, node: _Node, connection: connections.Connection) -> None:
        self._node = node
        self._where = node.where
        self._connection = connection
        self._settled = True
        self._watching = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        # What is watched still, ends with the connection.
        self._node.pool.give_back(self._connection, settled=self._settled and not self._watching)

    def call(self, command: Command[object], *, asking: bool = False) -> Reply:
        """The reply to *command*."""
        if asking or self._where.wait_replicas:
            steps = exchange.one_with(self._where, command, asking=asking)
        else:
            steps = exchange.one(self._where, command)
        return drive(steps, partial(self._exchange, held=command))

    def refused(self, command: Command[object], error: redis.exceptions.RedisError) -> Reply:
        """What comes of *command*, which the server has answered with *error*."""
        self._settled = _is_whole(error)
        return drive(exchange.refused(self._where, command, error), self._exchange)

    def begin(self, pending: Sequence[Pending[object]], *, asking: bool = False) -> _Talk:
        """Send all of *pending*; `finish` tells each its reply, or its error. Raises only if nothing was sent."""
        steps = exchange.many(self._where, pending)
        if asking or self._where.wait_replicas:
            steps = exchange.many_with(self._where, pending, steps, asking=asking)
        return _Talk(self, steps)

    def ask(self, words: list[Words]) -> Sequence[Answer]:
        """The answers to *words*."""
        try:
            return self._exchange(words)
        except Cut as cut:
            raise failures.unreachable(self._where, cut.reason) from cut.reason

    def watch(self, keys: Sequence[bytes]) -> None:
        """Have *keys* watched until `commit`."""
        self._watching = True
        drive(exchange.watch(self._where, keys), self._exchange)

    # --- As a session

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* at once."""
        return command.read(self.call(command))

    def commit(self, pending: Sequence[Pending[object]]) -> bool:
        """Carry out all together; false, and nothing was, if a watched key has changed."""
        steps = exchange.commit(self._where, pending)
        if self._where.wait_replicas:
            steps = exchange.many_with(self._where, pending, steps)
        committed = drive(steps, self._exchange)
        self._watching = False
        return committed

    # --- The connection

    def _held(self, command: Command[object]) -> float | None:
        """How long (seconds) the reply to a command that blocks may take; None for ever."""
        held, where = command.timeout, self._where
        patience = where.socket_timeout + (where.wait_timeout if where.wait_replicas else 0)
        return None if held is None else held + patience

    def _exchange(self, words: list[Words], *, held: Command[object] | None = None) -> list[Answer]:
        """Send all in one write, and read the answers. Raises :class:`Cut`."""
        self.send(words)
        return self.receive(words, held)

    def send(self, words: list[Words]) -> None:
        """Send all in one write. Raises :class:`Cut`."""
        if not self._settled:
            raise Cut(redis.exceptions.ConnectionError("an earlier reply on it was lost"), [], sent=False)
        sent = self._settled = False
        try:
            packed = exchange.packed(words)
            sent = len(words) > 1  # of several, the first may arrive though the last does not
            self._connection.send(packed)
        except Exception as error:
            if self._node.is_break(error, sent=sent):
                raise Cut(error, [], sent=sent) from error
            raise

    def receive(self, words: list[Words], held: Command[object] | None = None) -> list[Answer]:
        """Read the answers. Raises :class:`Cut`."""
        answers: list[Answer] = []
        try:
            if held is not None and held.op.blocks:
                self._connection.read_into_late(answers, len(words), self._held(held))
            elif exchange.is_wait(words[-1]):
                late = self._where.socket_timeout + self._where.wait_timeout
                self._connection.read_into_late(answers, len(words), late)
            else:
                self._connection.read_into(answers, len(words))
            self._settled = _is_whole(answers[-1])
        except Exception as error:
            if self._node.is_break(error, sent=True):
                raise Cut(error, answers, sent=True) from error
            raise
        return answers


def _is_whole(answer: Answer) -> bool:
    """Whether the connection is of use after *answer*, which may be about the connection itself."""
    return not isinstance(answer, redis.exceptions.ConnectionError)


class _Talk:
    """What is said with one server, in two halves: so several servers can be told before any is listened to."""

    def __init__(self, loan: _Loan, steps: Exchange[None]) -> None:
        self._loan = loan
        self._steps = steps
        self._words = next(steps)
        self._cut: Cut | None = None
        try:
            loan.send(self._words)
        except Cut as cut:
            self._cut = cut

    def finish(self) -> None:
        """Hear the answers, and say what else is to be said."""
        drive(self._steps, self._exchange, self._words)

    def _exchange(self, words: list[Words]) -> list[Answer]:
        if words is not self._words:
            self._loan.send(words)
        elif self._cut is not None:
            raise self._cut
        return self._loan.receive(words)


class _Client(redis.Redis):
    """redis-py's client on a node's connections, which stay open as long as it is held."""

    def __init__(self, node: _Node, pool: ClientPool) -> None:
        super().__init__(connection_pool=pool)
        self._node = node
