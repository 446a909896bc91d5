"""What happens to servers: they die, hang, come back, fill up, and are someone's replica all of a sudden.

Each is a function of a :class:`FaultyServer`: a context manager where it ends again, a plain function where it is over
at once. All keep what the server holds, but `lose_all`.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Final

import hiredis

from tests.servers import RedisServer, free_port, wait_until
from tests.threads import PATIENCE, start

BUSY_AFTER_MS: Final = 50
"""How long a script may run before others are told of it, in milliseconds."""


class FaultyServer(RedisServer):
    """A private server that keeps what it has acknowledged over its death."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(
            *("--appendonly", "yes", "--appendfsync", "always"),
            *("--lua-time-limit", str(BUSY_AFTER_MS)),
            *arguments,
        )

    def start_with(self, *arguments: str) -> None:
        """Start it, this one time with these too."""
        usual = self.arguments
        self.arguments = [*usual, *arguments]
        try:
            self.start()
        finally:
            self.arguments = usual


def crash(server: FaultyServer) -> None:
    """SIGKILL, and a start in its place, with its data."""
    server.kill()
    server.start()


def restart(server: FaultyServer) -> None:
    """SIGTERM, on which it saves what it has to, and a start in its place."""
    server.stop()
    server.start()


def lose_all(server: FaultyServer) -> None:
    """A start in its place, without its data."""
    server.call("FLUSHALL")
    server.kill()
    server.start()


@contextmanager
def down(server: FaultyServer) -> Generator[None]:
    """SIGKILL, and nobody there meanwhile."""
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def loading(server: FaultyServer, *, keys: int = 300, each_us: int = 2000) -> Generator[None]:
    """A crash, and then a server that says LOADING, as it has that many more keys to read; it is still at it inside."""
    for key in range(keys):
        server.call("SET", f"ballast:{key}", "")
    server.call("BGREWRITEAOF")  # in whose format it reads them bit by bit, and answers meanwhile
    wait_until(partial(_has_rewritten, server), "it has written its file anew")
    server.kill()
    slowly = ("--key-load-delay", str(each_us), "--loading-process-events-interval-bytes", "1024")
    starting = start(partial(server.start_with, *slowly))
    try:
        wait_until(lambda: _says(server, "LOADING"), "it is loading")
        yield
    finally:
        starting.result(PATIENCE)
        server.call("CONFIG", "SET", "key-load-delay", "0")
        server.call("UNLINK", *(f"ballast:{key}" for key in range(keys)))


@contextmanager
def read_only(server: FaultyServer) -> Generator[None]:
    """It is the replica of one that does not answer: whoever writes is told READONLY."""
    server.call("REPLICAOF", server.host, free_port())
    try:
        yield
    finally:
        server.call("REPLICAOF", "NO", "ONE")


@contextmanager
def handed_over(server: FaultyServer, replica: RedisServer) -> Generator[None]:
    """Its *replica*, which has all that it has, is primary meanwhile, and it is the replica of that one."""
    _fail_over(server, replica)
    try:
        yield
    finally:
        _fail_over(replica, server)


@contextmanager
def full(server: FaultyServer) -> Generator[None]:
    """No memory is left: whoever writes is told OOM."""
    server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def busy(server: FaultyServer) -> Generator[None]:
    """A script runs without end: after a while, everybody is told BUSY."""
    server.call("EVAL", "return 1", 0)  # a pause is over by then: who asks in one would wait for the script's end
    with socket.create_connection((server.host, server.port)) as connection:
        script = b"while true do end"
        connection.sendall(b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(script), script))
        wait_until(lambda: _says(server, "BUSY"), "it is busy")
        try:
            yield
        finally:
            server.call("SCRIPT", "KILL")
            wait_until(lambda: not _says(server, "BUSY"), "it is no longer busy")


def pause(server: FaultyServer, seconds: float = 0.3, *, writes_only: bool = False) -> None:
    """CLIENT PAUSE: for so long, whatever is asked waits, or whatever is written. It is not waited for here."""
    server.call("CLIENT", "PAUSE", round(seconds * 1000), "WRITE" if writes_only else "ALL")


@contextmanager
def closing_the_idle(server: FaultyServer) -> Generator[None]:
    """`timeout 1`: a connection on which nothing was said for a second is closed."""
    server.call("CONFIG", "SET", "timeout", "1")
    try:
        yield
    finally:
        server.call("CONFIG", "SET", "timeout", "0")


def kill_connections(server: FaultyServer) -> None:
    """CLIENT KILL: all of them."""
    server.call("CLIENT", "KILL", "TYPE", "normal")


def settle(server: RedisServer) -> None:
    """Wait until nobody else is connected: what was on its way has then been carried out, or never will be."""

    def alone() -> bool:
        listed = server.call("CLIENT", "LIST", "TYPE", "normal")
        assert isinstance(listed, bytes)
        return len(listed.splitlines()) == 1

    wait_until(alone, f"nobody is connected to {server!r}")


def _has_rewritten(server: RedisServer) -> bool:
    state = server.info("persistence")
    return state["aof_rewrite_in_progress"] == state["aof_rewrite_scheduled"] == "0"


def _says(server: RedisServer, error: str) -> bool:
    try:
        server.call("GET", "x")
    except hiredis.ReplyError as said:
        return str(said).startswith(error)
    except OSError:
        return False
    return False


def _fail_over(old: RedisServer, new: RedisServer) -> None:
    def begun() -> bool:
        try:
            return old.call("FAILOVER", "TO", new.host, new.port) == b"OK"
        except hiredis.ReplyError:  # the two are not linked yet; or one of before is under way still
            return False

    wait_until(begun, f"{old!r} hands over to {new!r}")
    wait_until(lambda: new.info("replication")["role"] == "master", f"{new!r} is primary")
    wait_until(lambda: old.info("replication")["role"] == "slave", f"{old!r} is its replica")
