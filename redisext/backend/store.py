"""The stores of the embedded engine, and those who wait for data in one.

The commands are fakeredis's. Theory of operation:

* Whatever is said to a store is said under its lock, one exchange at a time. It may be said from any thread, but not in
  the midst of something else that the same thread says.
* Who waits stands in the store's own line, first come first served, threads and tasks alike. Whoever changes something
  then hands out what there is, by commands that do not block. (fakeredis's own blocking serves in reverse, and a
  cancelled task of its swallows what comes later.)
* Commands and replies are handed over as objects, where a client would write them out and parse them, twice.
* What was handed to somebody who is gone by then (a cancelled task, an interrupted thread, a closed event loop) is put
  back where it was taken from, as if it had never been taken, and those who wait are served again.
* A fork waits until no command is under way, and nobody waits in the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeVar, cast

import redis
import redis.asyncio

from redisext.backend import exchange, failures
from redisext.backend.exchange import Answer, Exchange, Words
from redisext.command import Argument, Command, Op, Reply
from redisext.dsn import Configuration
from redisext.errors import CommandRefused, ConfigurationError, WrongType

__all__ = ["Line", "Speaker", "Store", "named"]

R = TypeVar("R")


class Speaker(Protocol):
    """What a store knows of a backend."""

    @property
    def configuration(self) -> Configuration:
        """For what errors say."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it waits no longer."""
        ...


class Store:
    """The data of one name, and those who wait for some."""

    def __init__(self) -> None:
        try:
            import fakeredis  # noqa: PLC0415  # an extra, which only those who embed the engine have
        except ImportError as error:
            raise ConfigurationError(
                "the embedded engine is not installed: pip install 'redisext[embedded]', "
                "or name a server, as in redis://localhost:6379/0"
            ) from error
        server = fakeredis.FakeServer()
        self.new_client: Callable[[], redis.Redis] = lambda: fakeredis.FakeRedis(server=server, protocol=2)
        self.new_async_client: Callable[[], redis.asyncio.Redis] = lambda: fakeredis.FakeAsyncRedis(
            server=server, protocol=2
        )
        self._client = self.new_client()
        self.line: Line = Line(self._client)
        # A thread may take it again, so that what cuts in there is refused instead of waiting for ever.
        self._lock = threading.RLock()
        self._busy = False
        self._waiters: list[_Waiter] = []
        self._served_at = 0.0
        # fakeredis prepares Lua at the first script, and does not recover if that is cut short.
        self.line.answers([("EVAL", "return 1", 0)])

    def call(self, command: Command[object], backend: Speaker) -> Reply:
        """The reply to *command*, which does not block."""
        # As `_alone` has it, written out: it is a tenth of the time of one command.
        with self._lock:
            if self._busy:
                raise _in_the_midst()
            try:
                self._busy = True
                reply = self._do(command, backend)
                if self._waiters and not command.op.reads:
                    self._serve()
                return reply
            finally:
                self._busy = False

    def run(self, steps: Exchange[R], answers: Callable[[Sequence[Words]], Sequence[Answer]] | None = None) -> R:
        """What *steps* give, each of their exchanges made at one go: by *answers*, or on the store's own line."""

        def alone(words: Sequence[Words]) -> Sequence[Answer]:
            with self._alone():
                given = (answers or self.line.answers)(words)
                self._serve()
                return given

        return exchange.drive(steps, alone)

    @contextmanager
    def new_line(self) -> Generator[Line]:
        """A line for one who speaks longer than an exchange."""
        with self._alone():
            line = Line(self._client)
        try:
            yield line
        finally:
            line.disconnect()
            with self._alone():
                line.release()

    # --- Waiting

    def wait(self, command: Command[object], backend: Speaker) -> Reply:
        """The reply to *command*, which blocks."""
        told = threading.Event()
        waiter = _Waiter(command, backend, told.set)
        with self._in_line(waiter):
            while waiter.waits():
                told.wait(waiter.patience())
                self._look_again()
        return waiter.outcome()

    async def wait_async(self, command: Command[object], backend: Speaker) -> Reply:
        """The same in a task."""
        told = asyncio.Event()
        waiter = _Waiter(command, backend, partial(asyncio.get_running_loop().call_soon_threadsafe, told.set))
        with self._in_line(waiter):
            while waiter.waits():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(waiter.patience()):
                        await told.wait()
                self._look_again()
        return waiter.outcome()

    def tell_all_of(self, backend: Speaker) -> None:
        """Have those who wait for *backend* see that it was closed."""
        for waiter in list(self._waiters):
            if waiter.backend is backend:
                waiter.tell()

    @contextmanager
    def _in_line(self, waiter: _Waiter) -> Generator[None]:
        try:
            with self._alone():
                self._serve()
                if not self._take(waiter):
                    self._waiters.append(waiter)
            yield
            with self._alone():
                self._leave(waiter)
        except BaseException:
            with self._alone():
                self._leave(waiter)
                if waiter.taken:
                    self._put_back(waiter)
                    self._serve()
            raise

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def _look_again(self) -> None:
        """Data may have come by a client that does not go through this store. One looks for all."""
        with self._alone():
            if time.monotonic() - self._served_at > _LOOK_AGAIN / 2:
                self._serve()

    def _serve(self) -> None:
        """Hand what there is to those who wait, in the order in which they came."""
        self._served_at = time.monotonic()
        nothing_in: set[bytes] = set()
        for waiter in list(self._waiters):
            key = waiter.at_once.keys[0]
            if waiter.backend.closed or key in nothing_in:
                continue
            try:
                served = self._take(waiter)
            except WrongType:
                served = False  # it waits on, as on a server: only who comes to such a key is told
            except Exception as error:  # noqa: BLE001  # it belongs to the waiter, who raises it
                waiter.error = error
                served = True
            if not served:
                nothing_in.add(key)
                continue
            self._waiters.remove(waiter)
            if not waiter.tell() and waiter.taken:
                self._put_back(waiter)

    def _take(self, waiter: _Waiter) -> bool:
        """Hand *waiter* what there is for it; whether there was anything."""
        [expires_at] = self.line.answers([("PEXPIRETIME", waiter.at_once.keys[0])])
        if expires_at == _NO_KEY:
            return False
        taken = self._do(waiter.at_once, waiter.backend)
        waiter.expires_at = expires_at
        # It may be gone all the same, to a client that does not go through this store.
        waiter.taken = taken if isinstance(taken, list) else [] if taken is None else [taken]
        return bool(waiter.taken)

    def _put_back(self, waiter: _Waiter) -> None:
        """Take from *waiter* what it was handed and has no use for."""
        key = waiter.at_once.keys[0]
        [exists] = self.line.answers([("EXISTS", key)])
        self._do(waiter.put_back(), waiter.backend)
        if not exists and isinstance(waiter.expires_at, int) and waiter.expires_at > 0:
            self.line.answers([("PEXPIREAT", key, waiter.expires_at)])
        waiter.taken = []

    # --- One at a time

    @contextmanager
    def _alone(self) -> Generator[None]:
        """One thread at a time; and in that thread, nothing in the midst of something else."""
        with self._lock:
            if self._busy:
                raise _in_the_midst()
            try:
                self._busy = True
                yield
            finally:
                self._busy = False

    def _do(self, command: Command[object], backend: Speaker) -> Reply:
        [answer] = self.line.answers([command])
        if isinstance(answer, redis.exceptions.RedisError):
            return exchange.drive(exchange.refused(backend.configuration, command, answer), self.line.answers)
        return answer

    # --- Forking

    def hold(self) -> None:  # pragma: no cover  # a fork is not measured: the measuring has a lock of its own
        """Before a fork: see to it that no command is under way."""
        self._lock.acquire()

    def let_go(self) -> None:  # pragma: no cover  # as above
        """After it, in the parent."""
        self._lock.release()

    def begin_again(self) -> None:  # pragma: no cover  # a forked child is not measured
        """After it, in the child, to which the threads that wait did not come along."""
        self._waiters.clear()
        self._lock.release()


def _in_the_midst() -> CommandRefused:
    return CommandRefused(
        "a command was begun while this thread was in the midst of another (from a signal handler, or from "
        "the __del__ of an object): the embedded engine cannot do that; leave a note, and do it afterwards"
    )


class Line:
    """A connection to the engine."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._connection = self._pool.get_connection()
        self._socket: _Socket | None = None
        self.cut: bool = False
        """Whether it was begun anew, and what it watched is forgotten."""

    def answers(self, words: Sequence[Words]) -> list[Answer]:
        """Say all, one after the other."""
        answers: list[Answer] = []
        try:
            socket = self._socket or self._open()
            if getattr(socket, "_killed", False):  # by CLIENT KILL, which older ones do not know
                self.cut = True
                self.disconnect()
                socket = self._open()
            socket.put_response = answers.append
            for one in words:
                # Past the client, which would write it and parse it.
                socket._process_command(_written(one))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            socket.put_response = _keep_nothing
        except BaseException:
            # Something cut in (an interrupt, say). Whoever comes next begins afresh, and gets no reply but his own.
            self.cut = True
            self.disconnect()
            raise
        return answers

    def _open(self) -> _Socket:
        self._connection.connect()
        socket = cast("_Socket", self._connection._sock)  # noqa: SLF001  # that fakeredis has made for its client
        socket.lpush = _push_first
        self._socket = socket
        return socket

    def disconnect(self) -> None:
        """End it, and what is watched on it."""
        self._socket = None
        self._connection.disconnect()

    def release(self) -> None:
        """Let others have what it was made of."""
        self._pool.release(self._connection)


class _Socket(Protocol):
    """Fakeredis's end of a connection, as far as it is used here."""

    put_response: Callable[[Answer], object]
    """Takes each reply, and each error."""
    lpush: Callable[..., int]
    """The command."""

    def _process_command(self, fields: list[bytes]) -> None: ...


class _List(Protocol):
    """What a command of fakeredis's is given for the key of a list."""

    value: list[bytes]

    def updated(self) -> None: ...


def _keep_nothing(_answer: Answer) -> None:
    """Between commands: what was answered is its caller's alone."""


def _push_first(key: _List, *items: bytes) -> int:
    """LPUSH in one step: fakeredis's own moves all that the list holds for each item."""
    key.value[:0] = reversed(items)
    key.updated()
    return len(key.value)


def _written(words: Words) -> list[bytes]:
    said = words if isinstance(words, tuple) else words.words
    return [word if type(word) is bytes else exchange.as_bytes(word) for word in said]


class _Waiter:
    """A blocking command that has not had its reply yet; *tell* wakes whoever waits for it."""

    def __init__(self, command: Command[object], backend: Speaker, tell: Callable[[], object]) -> None:
        take, self._put, self._options = _AT_ONCE[command.op.name]
        self.backend = backend
        self.at_once = replace(command, op=take, args=())
        self.taken: list[Reply] = []
        self.expires_at: Answer = None
        self.error: Exception | None = None
        self._tell = tell
        self._deadline = math.inf if command.timeout is None else time.monotonic() + command.timeout

    def waits(self) -> bool:
        """Whether it is to go on."""
        served = self.taken or self.error is not None
        return not served and not self.backend.closed and time.monotonic() < self._deadline

    def patience(self) -> float:
        """How long (seconds) to sleep before looking again."""
        return max(0.0, min(_LOOK_AGAIN, self._deadline - time.monotonic()))

    def tell(self) -> bool:
        """Wake whoever waits for it; whether there is anybody."""
        try:
            self._tell()
        except RuntimeError:  # the event loop is closed
            return False
        return True

    def outcome(self) -> Reply:
        """The blocking command's reply: the key, then what was taken from it; None if that was nothing."""
        if self.error is not None:
            raise self.error
        if self.taken:
            return [self.at_once.keys[0], *self.taken]
        if self.backend.closed:
            raise failures.closed(self.backend.configuration)
        return None

    def put_back(self) -> Command[object]:
        """What undoes the taking."""
        # An item; or a member and its score, the other way round.
        taken = cast("list[bytes]", self.taken)
        return replace(self.at_once, op=self._put, args=(*self._options, *reversed(taken)))


_AT_ONCE: Final[Mapping[str, tuple[Op, Op, tuple[Argument, ...]]]] = {
    "BLPOP": (Op("LPOP", "list"), Op("LPUSH", "list"), ()),
    "BRPOP": (Op("RPOP", "list"), Op("RPUSH", "list"), ()),
    # Who pushed the member meanwhile had the last word on its score.
    "BZPOPMIN": (Op("ZPOPMIN", "zset"), Op("ZADD", "zset"), ("NX",)),
}
"""What a blocking command does when there is something to take; what puts it back, and how."""

_NO_KEY: Final = -2
"""PEXPIRETIME's."""

_LOOK_AGAIN: Final = 0.1


_stores: Final[dict[str, Store]] = {}
_stores_lock: Final = threading.Lock()


def named(name: str) -> Store:
    """The store of that name."""
    with _stores_lock:
        store = _stores.get(name)
        if store is None:
            store = _stores[name] = Store()
        return store


def _before_fork() -> None:  # pragma: no cover  # a fork is not measured
    _stores_lock.acquire()
    for store in _stores.values():
        store.hold()


def _after_fork_in_parent() -> None:  # pragma: no cover  # a fork is not measured
    for store in _stores.values():
        store.let_go()
    _stores_lock.release()


def _after_fork_in_child() -> None:  # pragma: no cover  # a forked child is not measured
    for store in _stores.values():
        store.begin_again()
    _stores_lock.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
