"""Connections to one server: redis-py opens them, and each is kept for whoever wants one next.

Theory of operation. Threads, signals and forks may cut in anywhere, so no step here may leave another half done:

* The idle ones are a stack, and taking or giving back one is a single step on it. So a thread mostly gets the one that
  it had before, and no lock is held that another could find taken for ever.
* How many there are is not counted, but seen: a connection is alive as long as it is referred to. One that an
  interrupt lets drop between two steps is collected, which closes it, and makes room for another.
* Who finds none free stands in line, and nobody goes before the line.
* A forked child has none: it closes its copies (the parent's stay open) and begins anew. What a connection of the
  parent's is given back to is nobody's stack.
* Before one is handed out it is seen whether the server has closed it meanwhile, or sent something unasked.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

import redis
from redis.connection import AbstractConnection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.connection import Connection as TCPConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from redisext.backend.servers import Settings, settings, tls_context
from redisext.errors import ConfigurationError

if TYPE_CHECKING:
    import hiredis

    from redisext.backend.exchange import Answer
    from redisext.dsn import Configuration

__all__ = ["ClientPool", "Connection", "NoneFree", "Pool"]


class NoneFree(RedisConnectionError):
    """All connections were in use, for as long as one may wait."""


class Connection(AbstractConnection):
    """redis-py's, with what it lacks."""

    home: deque[Connection]
    """The idle ones, to which it is given back."""
    where: Configuration

    # Made new when it is opened:
    _reader: hiredis.Reader
    _nothing_yet: object
    _has_bytes: Callable[[], object]
    _receive: Callable[[int], bytes]
    _send_all: Callable[[memoryview], None]
    _out: io.RawIOBase = io.RawIOBase()  # till then there is nothing that it would close

    def connect_check_health(self, *args: bool, **kwargs: bool) -> None:
        """Open it with its handshake done, or not at all: redis-py leaves it in between when an interrupt cuts in.

        The next command would go to database 0, as nobody.
        """
        if self._sock is not None:
            return
        try:
            super().connect_check_health(*args, **kwargs)
            if self.where.readonly:
                self.send_command("READONLY")
                self.read_response()
            self._reader = self._parser._reader  # noqa: SLF001  # redis-py keeps it for itself
            self._nothing_yet = self._reader.gets()
            sock = self._parser._sock  # noqa: SLF001  # as above
            self._has_bytes = _looks_for_bytes(sock)
            self._receive, self._send_all, self._out = sock.recv, sock.sendall, _without_asking(sock)
        except BaseException:
            self.disconnect()
            raise

    def make_ready(self) -> None:
        """Have it open, with no reply due on it."""
        if self._sock is not None:
            # Nobody asked for anything: it is the end, or the remainder of what somebody left.
            if not self._has_bytes() and not self._reader.has_data():
                return
            self.disconnect()
        self.connect()

    def send(self, packed: bytes) -> None:
        """Send commands, ready as the protocol writes them."""
        try:
            written = self._out.write(packed) or 0
            if written < len(packed):  # for the rest, the server has to read first
                self._send_all(memoryview(packed)[written:])
        except ValueError as error:
            raise RedisConnectionError("it was closed in the meantime") from error
        except TimeoutError as error:
            raise redis.exceptions.TimeoutError("Timeout writing to socket") from error
        except OSError as error:
            raise RedisConnectionError(f"Error {error.errno} while writing to socket. {error.strerror}.") from error

    def read(self) -> Answer:
        """The next answer, be it an error: what `read_response` does, without asking each time what cannot change."""
        reader, nothing_yet = self._reader, self._nothing_yet
        answer: Answer = reader.gets()
        while answer is nothing_yet:
            self._hear()
            answer = reader.gets()
        return answer

    def read_into(self, answers: list[Answer], count: int) -> None:
        """Add *count* answers, errors among them."""
        next_answer, nothing_yet = self._reader.gets, self._nothing_yet
        for _ in range(count):
            answer: Answer = next_answer()
            while answer is nothing_yet:
                self._hear()
                answer = next_answer()
            answers.append(answer)

    def read_into_late(self, answers: list[Answer], count: int, timeout: float | None) -> None:
        """The same, where each may take *timeout* seconds in place of what is usual; None for ever."""
        sock = self._sock
        if sock is None:
            raise RedisConnectionError("it was closed in the meantime")
        usual = sock.gettimeout()
        sock.settimeout(timeout)
        self.read_into(answers, count)
        sock.settimeout(usual)

    def _hear(self) -> None:
        """Wait for what the server sends, and hand it to the parser."""
        try:
            heard = self._receive(_AT_A_TIME)
        except TimeoutError as error:
            raise redis.exceptions.TimeoutError("Timeout reading from socket") from error
        if not heard:
            raise RedisConnectionError("Connection closed by server.")
        self._reader.feed(heard)

    def disconnect(self, *args: object, **kwargs: object) -> None:
        """Close it. First of all, nothing can be written any more to its number, which may be another file's next."""
        self._out.close()
        super().disconnect(*args, **kwargs)

    def cut(self) -> None:
        """End what another thread does with it, which finds it closed by the server."""
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it may be closed already
                # TLS would take its own state away from under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close, in a child, its copy of the parent's, without a word to the server."""
        self._out.close()
        if self._sock is not None:
            self._sock.close()


def _without_asking(sock: socket.socket) -> io.RawIOBase:
    """What writes as much as there is room for, and does not wait.

    A socket with a timeout waits for room before each write, even where there is some: one more call of the system, and
    one more time that another thread goes first.
    """
    if isinstance(sock, ssl.SSLSocket) or os.name == "nt":  # where a socket is no file
        return sock.makefile("wb", buffering=0)
    return io.FileIO(sock.fileno(), "wb", closefd=False)


_AT_A_TIME: Final = 65_536
"""How much is read at most, in bytes."""


def _looks_for_bytes(sock: socket.socket) -> Callable[[], object]:
    """What is true when there is something to read: bytes, or the end."""
    if not hasattr(select, "poll"):  # pragma: no cover  # Windows
        return lambda: bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    look = partial(poll.poll, 0)
    if isinstance(sock, ssl.SSLSocket):
        return lambda: bool(sock.pending() or look())
    return look


class _TCPConnection(Connection, TCPConnection):
    pass


class _UnixConnection(Connection, UnixDomainSocketConnection):
    pass


class _TLSConnection(Connection, SSLConnection):
    def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
        try:
            context = tls_context(self.where)
        except ConfigurationError:
            sock.close()  # which redis-py would leave open
            raise
        return context.wrap_socket(sock, server_hostname=self.host)


_KINDS: Final[Mapping[str, type[Connection]]] = {"tcp": _TCPConnection, "unix": _UnixConnection, "tls": _TLSConnection}


class Pool:
    """Connections to one server; see the head of this module."""

    def __init__(self, where: Configuration) -> None:
        self.where = where
        self.kind: type[Connection] = _KINDS[where.transport]
        self.settings: Settings = settings(where)
        self.closed: bool = False
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._idle: deque[Connection] = deque()
        self._alive: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._line: deque[None] = deque()
        self._freed: SimpleQueue[None] = SimpleQueue()
        # A signal handler may want a connection while one is being made.
        self._making = threading.RLock()

    def take(self) -> Connection:
        """A connection: it is open, no reply of anybody else's is due on it, and nothing was sent yet.

        Raises redis-py's errors, and :exc:`NoneFree`.
        """
        connection = (None if self._line else self._one()) or self._next_free()
        try:
            connection.make_ready()
        except BaseException:
            self.give_back(connection, settled=False)
            raise
        return connection

    def give_back(self, connection: Connection, *, settled: bool) -> None:
        """End its use. If it is not *settled*, a reply may still be due on it, and it is nobody else's."""
        if settled and self.where.reuse and not self.closed:
            connection.home.append(connection)
        else:
            connection.disconnect()
            connection.home.appendleft(connection)
        if self._line:
            self._freed.put(None)

    def disconnect(self) -> None:
        """Close all connections; whoever uses one finds it closed by the server."""
        with self._making:
            alive = [*self._alive]
        for connection in alive:
            connection.cut()
        while self._idle:
            with contextlib.suppress(IndexError):  # somebody else takes them too
                self._idle.popleft().disconnect()

    def close(self) -> None:
        """The same, for good."""
        self.closed = True
        self.disconnect()

    def begin_in_child(self) -> None:
        """After a fork."""
        for connection in [*self._alive]:
            connection.abandon()
        self._begin()

    def _one(self) -> Connection | None:
        """An idle one, or one more; None if there are as many as there may be."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._making:
            # The set itself would count one that is gone, if an interrupt cut in while it was told of that.
            if len([*self._alive]) >= self.where.max_connections:
                return None
            connection = self.kind(**self.settings)
            connection.home = self._idle
            connection.where = self.where
            self._alive.add(connection)
            return connection

    def _next_free(self) -> Connection:
        """One that somebody gives back, in time."""
        end = time.monotonic() + self.where.socket_timeout
        place = _Place(self._line)
        while True:
            left = end - time.monotonic()
            with contextlib.suppress(Empty):
                # One that was lost is told by nobody.
                self._freed.get(timeout=max(0, min(left, _LOOK_AGAIN)))
            connection = self._one()
            if connection is not None:
                del place
                return connection
            if left <= 0:
                raise NoneFree("all connections are in use")

    def __repr__(self) -> str:
        return f"<connections to {self.where}>"


_LOOK_AGAIN: Final = 0.1


class _Place:
    """A place in a line; it ends when it is no longer referred to, whatever cuts in."""

    _line: deque[None] | None = None

    def __init__(self, line: deque[None]) -> None:
        self._line = line
        line.append(None)

    def __del__(self) -> None:
        if self._line is not None:
            self._line.pop()


# A host's name is written by this codec. A child forked while another thread loads it would wait for that for ever.
codecs.lookup("idna")

_pools: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()


def _begin_in_child() -> None:
    for pool in [*_pools]:
        pool.begin_in_child()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # it is not everywhere
    os.register_at_fork(after_in_child=_begin_in_child)


class ClientPool(ConnectionPool):
    """What redis-py's client takes for its pool: the same connections."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.kind, **pool.settings)
        self._pool = pool
        self._lent: set[Connection] = set()

    def get_connection(self) -> Connection:
        """Take one."""
        connection = self._pool.take()
        self._lent.add(connection)
        return connection

    def release(self, connection: AbstractConnection) -> None:
        """Give one back; redis-py may do so twice."""
        if isinstance(connection, Connection) and connection in self._lent:
            self._lent.discard(connection)
            self._pool.give_back(connection, settled=True)

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: ARG002  # redis-py's own
        """Close all."""
        self._pool.disconnect()

    def __repr__(self) -> str:
        return repr(self._pool)
