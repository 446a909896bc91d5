"""The embedded engine: a Redis in this process, at ``memory://name``.

The commands are fakeredis's. What it does otherwise than a server is mended here: a blocking pop waits on this
module's own condition, first come first served, over commands that do not block (its own serve waiters in
reverse). All commands of a store run one at a time, under its lock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

import redis

from redisext.backend import failures
from redisext.command import Argument, Command, Op, Reply, written_out
from redisext.dsn import Configuration
from redisext.errors import CommandRefused, ConfigurationError, WrongType

if TYPE_CHECKING:
    from typing import Self

__all__ = ["MemoryBackend"]

R = TypeVar("R")


class MemoryBackend:
    """A store in this process, shared by all backends on its name, and gone with the process.

    Made by ``redisext.connect("memory://name")``. May be shared between threads.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._store = _store(configuration.name)
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
    def primary(self) -> MemoryBackend:
        """The backend itself: it has no replicas."""
        return self

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*."""
        if self._closed:
            raise failures.closed(self.configuration)
        return command.read(self._store.call(command, self))

    @cached_property
    def client(self) -> redis.Redis:
        """Fakeredis's client of the same store; it is a `redis.Redis`."""
        return self._store.new_client()

    @property
    def replica_client(self) -> redis.Redis:
        """The same as `client`."""
        return self.client

    def close(self) -> None:
        """Let go of the store; its data stays, for the next backend on its name."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        prefix = f" prefix={self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__} {self.configuration}{prefix}>"


class _Store:
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
        self._client = self.new_client()
        self._connection = self._client.connection_pool.get_connection()
        self._lock = threading.Lock()
        self._busy_thread: int | None = None
        self._waiters: list[_Waiter] = []
        # fakeredis prepares Lua at the first script, and does not recover if that is cut short.
        self._send("EVAL", "return 1", 0)

    def call(self, command: Command[object], backend: MemoryBackend) -> Reply:
        if command.op.blocks:
            return self._wait(command, backend)
        with self._alone():
            reply = self._do(command)
            if self._waiters and not command.op.reads:
                self._serve()
            return reply

    @contextmanager
    def _alone(self) -> Generator[None]:
        """One thread at a time; and in that thread, nothing in the midst of something else."""
        me = threading.get_ident()
        if self._busy_thread == me:
            raise CommandRefused(
                "a command was begun while this thread was in the midst of another (from a signal handler, or from the "
                "__del__ of an object): the embedded engine cannot do that; leave a note, and do it afterwards"
            )
        with self._lock:
            self._busy_thread = me
            try:
                yield
            finally:
                self._busy_thread = None

    def hold(self) -> None:
        """Before a fork: see to it that no command is under way."""
        self._lock.acquire()

    def let_go(self) -> None:
        """After it, in the parent."""
        self._lock.release()

    def begin_again(self) -> None:  # pragma: no cover  # a forked child is not measured
        """After it, in the child, to which the threads that wait did not come along."""
        self._waiters.clear()
        self._lock.release()

    def _do(self, command: Command[object]) -> Reply:
        try:
            try:
                return self._send(*command.words)
            except redis.exceptions.NoScriptError:
                return self._send(*command.words_in_full)
        except redis.exceptions.ResponseError as error:
            held = self._send("TYPE", command.keys[0]) if failures.is_wrong_type(error) else None
            raise failures.refused(command, error, held) from error

    def _send(self, *words: Argument) -> Reply:
        try:
            self._connection.send_command(*written_out(words))
            return self._connection.read_response()
        except redis.exceptions.ResponseError:
            raise
        except BaseException:
            # Something cut in (an interrupt, say). Whoever comes next begins afresh, and gets no reply but his own.
            self._connection.disconnect()
            raise

    def _wait(self, command: Command[object], backend: MemoryBackend) -> Reply:
        timeout = command.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        waiter = _Waiter(command, backend)
        with self._alone():
            self._serve()
            reply = waiter.attempt(self._do)
            if reply is not None:
                return reply
            self._waiters.append(waiter)
        try:
            while not waiter.served.wait(_until(deadline)):
                if backend.closed or (deadline is not None and time.monotonic() >= deadline):
                    break
                with self._alone():
                    # Data may have come by a client that does not go through this store. One looks for all.
                    if self._waiters[:1] == [waiter]:
                        self._serve()
        finally:
            with self._alone():
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if waiter.error is not None:
            raise waiter.error
        if waiter.reply is None and backend.closed:
            raise failures.closed(backend.configuration)
        return waiter.reply

    def _serve(self) -> None:
        """Hand what there is to those who wait, in the order in which they came."""
        for waiter in list(self._waiters):
            if waiter.backend.closed:
                continue
            try:
                waiter.reply = waiter.attempt(self._do)
            except WrongType:
                continue  # it waits on, as on a server: only who comes to such a key is told
            except Exception as error:  # noqa: BLE001  # it belongs to the waiter, who raises it
                waiter.error = error
            if waiter.reply is not None or waiter.error is not None:
                self._waiters.remove(waiter)
                waiter.served.set()


class _Waiter:
    """A blocking command that has not had its reply yet."""

    def __init__(self, command: Command[object], backend: MemoryBackend) -> None:
        self.backend = backend
        self._at_once = replace(command, op=_AT_ONCE[command.op.name], args=())
        self.served = threading.Event()
        self.reply: Reply = None
        self.error: Exception | None = None

    def attempt(self, do: Callable[[Command[object]], Reply]) -> Reply:
        """The blocking command's reply, if there is one by now: the key, then what was taken from it."""
        taken = do(self._at_once)
        if not taken and not isinstance(taken, bytes):
            return None
        return [self._at_once.keys[0], *(taken if isinstance(taken, list) else [taken])]


_AT_ONCE: Final[Mapping[str, Op]] = {
    "BLPOP": Op("LPOP", "list"),
    "BRPOP": Op("RPOP", "list"),
    "BZPOPMIN": Op("ZPOPMIN", "zset"),
}
"""What a blocking command does when there is something to take."""

_LOOK_AGAIN: Final = 0.1


def _until(deadline: float | None) -> float:
    """How long (seconds) to sleep before looking again."""
    return _LOOK_AGAIN if deadline is None else max(0.0, min(_LOOK_AGAIN, deadline - time.monotonic()))


_stores: dict[str, _Store] = {}
_stores_lock: Final = threading.Lock()


def _store(name: str) -> _Store:
    with _stores_lock:
        store = _stores.get(name)
        if store is None:
            store = _stores[name] = _Store()
        return store


def _before_fork() -> None:
    _stores_lock.acquire()
    for store in _stores.values():
        store.hold()


def _after_fork_in_parent() -> None:
    for store in _stores.values():
        store.let_go()
    _stores_lock.release()


def _after_fork_in_child() -> None:  # pragma: no cover  # a forked child is not measured
    for store in _stores.values():
        store.begin_again()
    _stores_lock.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
