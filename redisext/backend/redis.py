"""The backend over redis-py: one server, or a primary with replicas.

redis-py opens connections, speaks TLS and the handshake, and parses replies. Commands go through its
`Connection` objects rather than through its client: so each reply arrives as the server sent it, and
it is known whether a command had been sent when a connection broke. redis-py's retries are off
(they would send INCR twice).
"""

from __future__ import annotations

import itertools
import socket
import ssl
import weakref
from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import redis
from redis.connection import AbstractConnection, BlockingConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.connection import Connection as TCPConnection

from redisext import dsn
from redisext.backend import failures
from redisext.command import Command, Op, Reply, written_out
from redisext.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Connection", "RedisBackend"]

R = TypeVar("R")


class RedisBackend:
    """One server, or a primary with replicas: reads go to the replicas in turn, all else to the primary.

    Made by :func:`redisext.connect`. Nothing is opened before the first command. May be shared between threads.
    """

    def __init__(self, configuration: dsn.Configuration) -> None:
        self.configuration = configuration
        self._primary = _Node(configuration)
        self._replicas = [_Node(one) for one in configuration.replicas]
        self._turn = itertools.count()
        self._closed = False

    @property
    def prefix(self) -> str:
        """What stands before every key."""
        return self.configuration.prefix

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def primary(self) -> RedisBackend:
        """The same backend without its replicas, on the same connections to the primary."""
        if not self._replicas:
            return self
        return _PrimaryOnly(self)

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*, on a replica if it only reads and there is one."""
        if self.closed:
            raise failures.closed(self.configuration)
        return command.read(self._node(command.op).call(command))

    @property
    def client(self) -> redis.Redis:
        """redis-py's client of the primary, on this backend's connections."""
        return self._primary.client

    @property
    def replica_client(self) -> redis.Redis:
        """redis-py's client of a replica; of the primary where there is none."""
        return self._node(_READS).client

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

    def __repr__(self) -> str:
        replicas = "".join(f" +{one.configuration}" for one in self._replicas)
        prefix = f" prefix={self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__.lstrip('_')} {self.configuration}{replicas}{prefix}>"

    def _node(self, op: Op) -> _Node:
        if op.reads and self._replicas:
            return self._replicas[next(self._turn) % len(self._replicas)]
        return self._primary


_READS: Final = Op("", reads=True)


class _PrimaryOnly(RedisBackend):
    """A view of another backend, which owns the connections."""

    def __init__(self, whole: RedisBackend) -> None:
        self.configuration = whole.configuration
        self._whole = whole
        self._primary = whole._primary  # noqa: SLF001  # a view of one of its own kind
        self._replicas = []

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
        self._pool = _pool(configuration)
        # The pool does not know this node, so dropping the last reference to the node closes its connections.
        self._close = weakref.finalize(self, self._pool.disconnect)
        self._closed = False

    @cached_property
    def client(self) -> redis.Redis:
        return _Client(self, self._pool)

    def close(self) -> None:
        self._closed = True
        self._pool.disconnect()

    def call(self, command: Command[R]) -> Reply:
        """Send, and read the reply. Errors become those of :mod:`redisext.errors`."""
        try:
            # It is open, no reply of anybody else's is due on it, and nothing was sent yet.
            connection = self._pool.get_connection()
        except Exception as error:
            if self._closed:
                raise failures.closed(self.configuration) from error
            if isinstance(error, (redis.exceptions.RedisError, UnicodeError)):  # the latter for a host's name
                raise failures.unreachable(self.configuration, error) from error
            raise
        sent = settled = False
        try:
            try:
                connection.send_command(*written_out(command.words))
                sent = True
                reply = self._reply(connection, command)
            except redis.exceptions.NoScriptError:
                sent = False
                connection.send_command(*written_out(command.words_in_full))
                sent = True
                reply = self._reply(connection, command)
            settled = True
        except redis.exceptions.ResponseError as error:
            held = self._type(connection, command) if failures.is_wrong_type(error) else None
            settled = True
            raise failures.refused(command, error, held) from error
        except Exception as error:
            if self._closed and not sent:
                raise failures.closed(self.configuration) from error
            # Where another thread closes the socket in the midst of it, redis-py fails with whatever comes.
            if self._closed or isinstance(error, redis.exceptions.RedisError):
                raise failures.broken(self.configuration, command, error, sent=sent) from error
            raise
        finally:
            # Whatever cut in (an interrupt, say): a connection on which a reply is still due is nobody else's.
            if not (settled and self.configuration.reuse) or self._closed:
                connection.disconnect()
            self._pool.release(connection)
        return reply

    def _reply(self, connection: TCPConnection, command: Command[object]) -> Reply:
        if command.op.blocks:
            held = command.timeout
            if not connection.can_read(None if held is None else held + self.configuration.socket_timeout):
                raise redis.exceptions.TimeoutError("no reply came in time")
        return connection.read_response()

    def _type(self, connection: TCPConnection, command: Command[object]) -> Reply:
        """What the first key holds; None if that cannot be had."""
        try:
            connection.send_command("TYPE", command.keys[0])
            return connection.read_response()
        except redis.exceptions.RedisError:
            return None


class _Client(redis.Redis):
    """redis-py's client on a node's connections, which stay open as long as it is held."""

    def __init__(self, node: _Node, pool: BlockingConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self._node = node


class _Whole(AbstractConnection):
    """Open with its handshake done, or not open: redis-py leaves it in between when an interrupt cuts in.

    The next command would go to database 0, as nobody.
    """

    def connect_check_health(self, *args: bool, **kwargs: bool) -> None:
        try:
            super().connect_check_health(*args, **kwargs)
        except BaseException:
            self.disconnect()
            raise


class _TCPConnection(_Whole, TCPConnection):
    pass


class _UnixConnection(_Whole, UnixDomainSocketConnection):
    pass


class _TLSConnection(_Whole, SSLConnection):
    """Trusts the authorities in the file that is named, and no others; redis-py would add them to the system's."""

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self.ca_certs)
        return context.wrap_socket(sock, server_hostname=self.host)


class _Pool(BlockingConnectionPool):
    """Says where it leads. Older redis-py would show the password, here and for the clients and pipelines on it."""

    where: dsn.Configuration

    def __repr__(self) -> str:
        return f"<connections to {self.where}>"


def _pool(where: dsn.Configuration) -> BlockingConnectionPool:
    settings: dict[str, str | float | None] = {
        "db": where.db,
        "username": where.username,
        "password": where.password,
        "socket_timeout": where.socket_timeout,
        "socket_connect_timeout": where.socket_connect_timeout,
        "client_name": where.client_name,
        "protocol": 2,
    }
    kind: type[AbstractConnection] = _TCPConnection
    if where.transport == "unix":
        kind = _UnixConnection
        settings["path"] = where.path
    else:
        settings |= {"host": where.host, "port": where.port, "socket_keepalive": True}
    if where.transport == "tls":
        kind = _TLSConnection
        settings["ssl_ca_certs"] = where.ssl_ca_certs
    pool = _Pool(where.max_connections, where.socket_timeout, kind, **settings)
    pool.where = where
    return pool
