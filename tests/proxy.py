"""A TCP proxy that stands before a server and fails in the ways that networks do.

    with Proxy(server.port) as proxy, redisext.connect(proxy.url) as db:
        Counter[int]("hits", db).incr()
        proxy.on_reply = drop           # the server counts, and nobody hears of it
        ...

What goes through is handed, as it comes, to `on_request` or `on_reply`, and what these give is passed on; None breaks
the connection. They run in the proxy's own threads, so one that waits holds back that direction of that connection.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeAlias

Rule: TypeAlias = Callable[[bytes], bytes | None]


def forward(data: bytes) -> bytes:
    return data


def drop(data: bytes) -> None:
    """Break the connection in place of what came."""


class Proxy:
    """Listens from the beginning to the end of its block; `connections` counts those that were opened through it."""

    host: Final = "127.0.0.1"

    def __init__(self, server_port: int) -> None:
        self.on_request: Rule = forward
        self.on_reply: Rule = forward
        self.connections = 0
        self._server_port = server_port
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()
        for one in tuple(self._open):
            _break(one)
        for thread in self._threads:
            thread.join(10)

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self.host, self._server_port))
            self.connections += 1
            self._open |= {client, server}
            self._start(partial(self._pass_on, client, server, self._request))
            self._start(partial(self._pass_on, server, client, self._reply))

    def _request(self, data: bytes) -> bytes | None:
        return self.on_request(data)

    def _reply(self, data: bytes) -> bytes | None:
        return self.on_reply(data)

    def _pass_on(self, source: socket.socket, sink: socket.socket, rule: Rule) -> None:
        with contextlib.suppress(OSError):  # the other direction broke it off
            while (data := source.recv(65_536)) and (passed := rule(data)) is not None:
                sink.sendall(passed)
        for one in (source, sink):
            _break(one)
            self._open.discard(one)


def _break(connection: socket.socket) -> None:
    """Close at once, with a reset: what waits to be sent is thrown away."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
    connection.close()
