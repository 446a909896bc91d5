"""The backend over redis-py: one server, or a primary with replicas.

redis-py opens connections, speaks TLS and the handshake, and parses replies. Commands go through its
`Connection` objects rather than through its client: so each reply arrives as the server sent it, and
it is known whether a command had been sent when a connection broke. redis-py's retries are off
(they would send INCR twice).
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, TypeVar

import redis

from redisext import dsn
from redisext.backend import connections, exchange, failures
from redisext.backend.connections import ClientPool, NoneFree, Pool
from redisext.backend.exchange import Answer, Cut, Words, drive
from redisext.backend.recorded import Records, Requests, carried_out, popped_in_time
from redisext.backend.servers import Servers
from redisext.backoff import Patience
from redisext.batch import Batches, Pending
from redisext.command import Command, Reply, run
from redisext.errors import ConfigurationError, RedisextError

if TYPE_CHECKING:
    from typing import Self

    from redisext.backend.abc import Session

__all__ = ["Connection", "RedisBackend"]

R = TypeVar("R")


class RedisBackend(Servers["_Node"], Batches):
    """One server, or a primary with replicas: reads go to the replicas in turn, all else to the primary.

    Made by :func:`redisext.connect`. Nothing is opened before the first command. May be shared between threads.
    """

    def __init__(self, configuration: dsn.Configuration) -> None:
        super().__init__(configuration, _Node)

    @property
    def primary(self) -> RedisBackend:
        """The same backend without its replicas, on the same connections to the primary."""
        if not self._replicas:
            return self
        return _PrimaryOnly(self)

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*, on a replica if it only reads and there is one."""
        self._check_open()
        if self.deadline is None:
            return command.read(self._node(command.op).call(command))
        if self._records is None or command.op.repeatable:
            return self.persist(command, self._patience(command))
        patience = self._patience(command)
        steps = (popped_in_time if command.op.blocks else carried_out)(self._records, command)
        return run(steps, lambda step: self.persist(step, patience))

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
        with self._primary.session(watch) as session:
            yield session if self._records is None else _RecordedSession(self, self._records, session)

    def persist(self, command: Command[R], patience: float | None) -> R:
        """Carry out *command*, and try again for so many seconds."""
        trying = Patience(patience)

        def attempt() -> R:
            self._check_open()  # it may be closed by another thread, between two attempts
            return command.read(self._node(command.op).call(command))

        result = trying.persist(attempt)
        if self._records is not None and command.op.recorded and not trying.doubt:
            self._records.useless.append(command.keys[-1])
        return result

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

    def try_commit(self, pending: Sequence[Pending[object]]) -> None:
        """Carry out all together, once."""
        self._check_open()
        with self._primary.session(()) as session:
            session.commit(pending)

    def _try_many(self, pending: Sequence[Pending[object]]) -> None:
        self._check_open()
        by_node = self._parts(pending)
        unreached = 0
        for node, its in by_node.items():
            try:
                node.call_many(its)
            except RedisextError as error:
                unreached += 1
                if unreached == len(by_node):
                    raise
                for one in its:
                    one.fail(error)

    @property
    def client(self) -> redis.Redis:
        """redis-py's client of the primary, on this backend's connections."""
        return self._primary.client

    @property
    def replica_client(self) -> redis.Redis:
        """redis-py's client of a replica; of the primary where there is none."""
        return self._reader().client

    def close(self) -> None:
        """Close all connections. Commands after that raise :exc:`~redisext.errors.BackendClosed`."""
        self._closed = True
        for node in (self._primary, *self._replicas):
            node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self.closed:
            raise failures.closed(self.configuration)


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
        self.configuration = whole.configuration
        self._whole = whole
        self._primary = whole._primary  # noqa: SLF001  # a view of one of its own kind
        self._replicas = []
        self._records = whole._records  # noqa: SLF001  # as above

    @property
    def closed(self) -> bool:
        """Whether the backend itself was closed."""
        return self._whole.closed

    def close(self) -> None:
        """Close the backend itself."""
        self._whole.close()


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
        return _Node(cls.configuration()).client

    @classmethod
    def connect_to_slave(cls) -> redis.Redis:
        """A redis-py client of the replica, or of the primary where there is none."""
        configuration = cls.configuration()
        return _Node(next(iter(configuration.replicas), configuration)).client


def _settings(given: Mapping[str, object] | str) -> dsn.Configuration:
    return dsn.parse(given) if isinstance(given, str) else dsn.from_mapping(given)


class _Node:
    """One server: a pool of connections to it, and the way a command takes over one of them."""

    def __init__(self, configuration: dsn.Configuration) -> None:
        self.configuration = configuration
        self._pool = Pool(configuration)
        # The pool does not know this node, so dropping the last reference to the node closes its connections.
        self._close = weakref.finalize(self, self._pool.close)

    @property
    def closed(self) -> bool:
        return self._pool.closed

    @cached_property
    def client(self) -> redis.Redis:
        return _Client(self, ClientPool(self._pool))

    def close(self) -> None:
        self._pool.close()

    def call(self, command: Command[object]) -> Reply:
        """Send, and read the reply. Errors become those of :mod:`redisext.errors`."""
        with _Loan(self) as connection:
            return connection.call(command)

    def call_many(self, pending: Sequence[Pending[object]]) -> None:
        """Send all at once, and read the replies; raises only if nothing was sent."""
        with _Loan(self) as connection:
            connection.call_many(pending)

    @contextmanager
    def session(self, watch: Sequence[bytes]) -> Generator[Session]:
        with _Loan(self) as connection:
            if watch:
                connection.watch(watch)
            yield connection

    def take(self) -> connections.Connection:
        """A connection; see :meth:`~redisext.backend.connections.Pool.take`."""
        try:
            return self._pool.take()
        except Exception as error:
            if self.closed:
                raise failures.closed(self.configuration) from error
            if isinstance(error, NoneFree):
                raise failures.exhausted(self.configuration) from error
            if isinstance(error, (redis.exceptions.RedisError, UnicodeError)):  # the latter for a host's name
                raise failures.unreachable(self.configuration, error) from error
            raise

    def give_back(self, connection: connections.Connection, *, settled: bool) -> None:
        """End its use. If it is not *settled*, a reply may still be due on it, and it is nobody else's."""
        self._pool.give_back(connection, settled=settled and self.configuration.reuse)


class _Loan:
    """A connection in use: what is said on it, and how it is given back."""

    __slots__ = ("_connection", "_node", "_settled", "_watching", "_where")

    def __init__(self, node: _Node) -> None:
        self._node = node
        self._where = node.configuration
        self._settled = True
        self._watching = False

    def __enter__(self) -> Self:
        self._connection = self._node.take()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        # What is watched still, ends with the connection.
        self._node.give_back(self._connection, settled=self._settled and not self._watching)

    def call(self, command: Command[object]) -> Reply:
        """The reply to *command*."""
        connection = self._connection
        self._settled = sent = False
        try:
            packed = exchange.packed((command,))
            connection.send(packed)
            sent = True
            answer = connection.read_late(self._patience(command)) if command.op.blocks else connection.read()
            # It may be about the connection itself, which is then of no use.
            self._settled = not isinstance(answer, redis.exceptions.ConnectionError)
        except Exception as error:
            if self._is_break(error, sent=sent):
                raise failures.broken(self._where, command, error, sent=sent) from error
            raise
        if isinstance(answer, redis.exceptions.RedisError):
            return drive(exchange.refused(self._where, command, answer), self._exchange)
        return answer

    def call_many(self, pending: Sequence[Pending[object]]) -> None:
        """Tell each of *pending* its reply, or its error."""
        drive(exchange.many(self._where, pending), self._exchange)

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
        committed = drive(exchange.commit(self._where, pending), self._exchange)
        self._watching = False
        return committed

    # --- The connection

    def _patience(self, command: Command[object]) -> float | None:
        """How long (seconds) the reply to a command that blocks may take; None for ever."""
        held = command.timeout
        return None if held is None else held + self._where.socket_timeout

    def _exchange(self, words: list[Words]) -> list[Answer]:
        """Send all in one write, and read the answers. Raises :class:`Cut`."""
        answers: list[Answer] = []
        self._settled = sent = False
        try:
            packed = exchange.packed(words)
            sent = len(words) > 1  # of several, the first may arrive though the last does not
            self._connection.send(packed)
            sent = True
            self._connection.read_into(answers, len(words))
            self._settled = True
        except Exception as error:
            if self._is_break(error, sent=sent):
                raise Cut(error, answers, sent=sent) from error
            raise
        return answers

    def _is_break(self, error: Exception, *, sent: bool) -> bool:
        """Whether *error* is the connection's. Raises :exc:`~redisext.errors.BackendClosed` if that explains it."""
        if self._node.closed and not sent:
            raise failures.closed(self._where) from error
        # Where another thread closes the socket in the midst of it, redis-py fails with whatever comes.
        return self._node.closed or isinstance(error, (redis.exceptions.RedisError, OSError))


class _Client(redis.Redis):
    """redis-py's client on a node's connections, which stay open as long as it is held."""

    def __init__(self, node: _Node, pool: ClientPool) -> None:
        super().__init__(connection_pool=pool)
        self._node = node
