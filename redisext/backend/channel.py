"""A connection under asyncio that many tasks share, each as if it were alone on it.

Theory of operation. A call waits in the channel until the loop has run every task that is ready; then all that wait
leaves in one write. Replies come in the order of the commands, so each settles the first call that has not got all of
its own. A task that is cancelled before the write takes its call with it. One that is cancelled later leaves its call
behind, which takes its replies as any other: nobody else's is shifted, and nobody else fails.

What is due at one time is bounded. Calls beyond that wait here, in their order, and are not even packed: a server that
stalls costs no more memory than the tasks that wait for it.

A channel that breaks fails exactly the calls that had been written to it (:class:`~redisext.backend.exchange.Cut`). The
others were certainly not sent (:class:`NotSent`), and go on to the next channel. The transport reads all the time, so a
connection that the server closes while it is idle is not written to: if there is something to read when nothing is
due, the write waits until it has been read.

Where writes are to be confirmed by replicas, each call ends with WAIT. That would hold up everybody behind it, call by
call; so all calls that leave in one write share one WAIT at its end, which is good for all that stands before it.

redis-py's connection connects, speaks TLS and the handshake, authenticates, and then hands over its transport and its
parser. What it would do next, read one reply for one caller, is what this module does for many.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

import redis
from redis.asyncio import connection as wire

from redisext.backend import exchange, failures
from redisext.backend.exchange import Answer, Cut, Words
from redisext.backend.servers import settings, tls_context

if TYPE_CHECKING:
    from socket import socket

    import hiredis

    from redisext.dsn import Configuration

__all__ = ["KINDS", "Channel", "NotSent"]

_LOAD: Final = 16 << 20
_PER_COMMAND: Final = 1_600
"""The most bytes that are due at one time, and what a command weighs besides its own: 10,000 small ones are a load."""


class NotSent(Exception):
    """The connection broke, for `reason`, before the call was written to it."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class _Call:
    """Some commands on their way, and the future of their answers."""

    __slots__ = ("answers", "covers", "future", "load", "patience", "since", "wait", "words")

    load: int
    since: float
    """What they weigh, and when they were written."""

    def __init__(
        self, words: Sequence[Words], patience: float | None, future: asyncio.Future[Sequence[Answer]]
    ) -> None:
        self.wait: Words | None = None
        if len(words) > 1 and exchange.is_wait(words[-1]):
            *words, self.wait = words
        self.words = words
        self.patience = patience
        self.future = future
        self.answers: list[Answer] = []
        self.covers: Sequence[_Call] = ()
        """Those for which it is the WAIT that they share."""

    def settle(self) -> None:
        """All of its answers are there."""
        for one in self.covers:
            one.answers += self.answers
        for one in self.covers or (self,):
            if not one.future.done():
                one.future.set_result(one.answers)

    def cut(self, reason: Exception) -> None:
        """The others will not come."""
        for one in self.covers or (self,):
            if not one.future.done():
                one.future.set_exception(Cut(reason, one.answers, sent=True))


class Channel(asyncio.Protocol):
    """A connection on which calls are made; see the head of this module."""

    def __init__(self, writer: asyncio.StreamWriter, reader: hiredis.Reader) -> None:
        self._writer = writer  # which would close the transport if it were dropped
        self._transport = writer.transport
        self._reader = reader
        self._not_yet = reader.gets()
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[_Call] = deque()
        self._sent: deque[_Call] = deque()
        self._load = 0
        self._woken = False
        self._heard = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._end: Exception | None = None
        self._gone = self._loop.create_future()
        self._readable = _readable(self._transport)
        self._transport.set_protocol(self)

    @classmethod
    async def open(cls, where: Configuration) -> Channel:
        """Connect. Errors become those of :mod:`redisext.errors`."""
        connection = KINDS[where.transport](**settings(where))
        connection.where = where
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            await connection.connect()
            if where.readonly:
                await connection.send_command("READONLY")
                await connection.read_response()
            if task and task.cancelling() > cancels:  # `wait_for`, which redis-py uses, loses some on Python 3.11
                raise asyncio.CancelledError
            return cls(*connection.hand_over())
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, (redis.exceptions.RedisError, UnicodeError)):  # the latter for a host's name
                raise failures.unreachable(where, error) from error
            raise

    @property
    def broken(self) -> bool:
        """Whether it has ended."""
        return self._end is not None

    @property
    def usable(self) -> bool:
        """Whether nothing is due, and the server has not closed it, as far as that has reached this machine."""
        return not (self._sent or self._unsent or self._end or self._transport.is_closing() or self._readable())

    def call(self, words: Sequence[Words], patience: float | None) -> asyncio.Future[Sequence[Answer]]:
        """Have these commands written together; their answers, for which to wait *patience* seconds (None: for ever).

        The future raises :class:`NotSent`, and :class:`~redisext.backend.exchange.Cut` if they may have been sent.
        """
        future: asyncio.Future[Sequence[Answer]] = self._loop.create_future()
        if self._end is not None:
            future.set_exception(NotSent(self._end))
        else:
            self._unsent.append(_Call(words, patience, future))
            if not self._woken:
                self._wake()
        return future

    def break_off(self, reason: Exception) -> None:
        """Close at once. What was sent fails for *reason*, what was not is free to be sent elsewhere."""
        if self._end is not None:
            return
        self._end = reason
        if self._alarm is not None:
            self._alarm.cancel()
        for call in self._sent:
            call.cut(reason)
        for call in self._unsent:
            if not call.future.done():
                call.future.set_exception(NotSent(reason))
        self._sent.clear()
        self._unsent.clear()
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._gone)  # for which others may wait too

    # --- Called by the transport

    def data_received(self, data: bytes) -> None:
        """Settle those whose replies have come."""
        next_answer, not_yet, sent = self._reader.gets, self._not_yet, self._sent
        self._heard = self._loop.time()
        self._reader.feed(data)
        try:
            while (answer := next_answer()) is not not_yet:
                if not sent:
                    self.break_off(redis.exceptions.ConnectionError("the server said something unasked"))
                    return
                call = sent[0]
                call.answers.append(answer)
                if len(call.answers) == len(call.words):
                    sent.popleft()
                    self._load -= call.load
                    if call.wait is None:  # else it goes on with the one that they share
                        call.settle()
        except redis.exceptions.RedisError as error:  # it is not the protocol
            self.break_off(error)
        if self._unsent and not self._woken:
            self._wake()

    def eof_received(self) -> None:
        """Break: the server closed the connection."""
        self.break_off(redis.exceptions.ConnectionError("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Break, if that has not happened yet."""
        self.break_off(redis.exceptions.ConnectionError(str(exc or "the connection was closed")))
        self._gone.set_result(None)

    # --- Called by the loop

    def _wake(self) -> None:
        self._woken = True
        self._loop.call_soon(self._write)

    def _write(self) -> None:
        """Write what waits, as far as there is room for it."""
        self._woken = False
        if self._transport.is_closing():
            self.break_off(redis.exceptions.ConnectionError("the connection was closed"))
            return
        if not self._sent and self._readable():
            # Nothing is due, so this is most likely the end. The loop is about to read it.
            self._wake()
            return
        packed: list[bytes] = []
        waiting: list[_Call] = []
        now = self._loop.time()
        while self._unsent and self._load < _LOAD:
            call = self._unsent.popleft()
            if call.future.done():  # its task was cancelled
                continue
            try:
                words = exchange.packed(call.words)
            except Exception as error:  # noqa: BLE001  # it belongs to this call
                call.future.set_exception(error)
                continue
            packed.append(words)
            self._note(call, len(words), now)
            if call.wait is not None:
                waiting.append(call)
        if waiting:
            packed.append(self._shared_wait(waiting, now))
        if packed:
            self._transport.write(b"".join(packed))
            self._set_alarm(self._sent[0])

    def _note(self, call: _Call, size: int, now: float) -> None:
        """It is being sent."""
        call.since = now
        call.load = size + len(call.words) * _PER_COMMAND
        self._load += call.load
        self._sent.append(call)

    def _shared_wait(self, calls: Sequence[_Call], now: float) -> bytes:
        """What all of them wait for."""
        first = calls[0]
        wait = _Call([first.wait or ()], first.patience, first.future)
        wait.covers = calls
        words = exchange.packed(wait.words)
        self._note(wait, len(words), now)
        return words

    def _set_alarm(self, call: _Call) -> None:
        """For the time at which this call, the first that is due, has waited for too long."""
        if call.patience is None:
            return
        at = max(call.since, self._heard) + call.patience
        if self._alarm is None or self._alarm.when() > at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """Break, if the server has been silent for too long."""
        self._alarm = None
        if not self._sent:
            return
        first = self._sent[0]
        silent = self._loop.time() - max(first.since, self._heard)
        if first.patience is not None and silent >= first.patience:
            self.break_off(redis.exceptions.TimeoutError("no reply came in time"))
        else:
            self._set_alarm(first)


class _HandedOver(wire.AbstractConnection):
    """Connects as ever, and then leaves what it has made to somebody else."""

    where: Configuration

    def hand_over(self) -> tuple[asyncio.StreamWriter, hiredis.Reader]:
        """The stream, which closes its socket once it is dropped, and the parser, with nothing left to be read."""
        stream, writer, parser = self._reader, self._writer, self._parser._reader  # noqa: SLF001  # it has no other
        if stream is None or writer is None or parser is None or stream.at_eof():
            raise redis.exceptions.ConnectionError("the connection was closed")
        if parser.has_data():
            raise redis.exceptions.ConnectionError("the server said something unasked")
        self._writer = self._reader = None  # so that there is nothing to be closed here
        return writer, parser


class _TCPConnection(_HandedOver, wire.Connection):
    pass


class _UnixConnection(_HandedOver, wire.UnixDomainSocketConnection):
    pass


class _TLSConnection(_HandedOver, wire.SSLConnection):
    def _connection_arguments(self) -> Mapping[str, str | int | ssl.SSLContext]:
        return {"host": self.host, "port": self.port, "ssl": tls_context(self.where)}


KINDS: Final[Mapping[str, type[_HandedOver]]] = {
    "tcp": _TCPConnection,
    "unix": _UnixConnection,
    "tls": _TLSConnection,
}
"""redis-py's connection for each transport."""


def _readable(transport: asyncio.BaseTransport) -> Callable[[], object]:
    """What tells whether something came in that the loop has not read yet."""
    descriptor = cast("socket", transport.get_extra_info("socket")).fileno()
    if not hasattr(select, "poll"):  # pragma: no cover  # Windows, whose `select` takes any descriptor
        return lambda: select.select((descriptor,), (), (), 0)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: poll.poll(0)
