"""A TCP proxy that stands before a server and fails in the ways that networks do.

    with Proxy(server.port) as proxy, redisext.connect(proxy.url) as db:
        Counter[int]("hits", db).incr()
        proxy.on_reply = drop           # the server counts, and nobody hears of it
        ...

What goes through is handed, as it comes, to `on_request` or `on_reply`, and what these give is passed on; None breaks
the connection. They run in the proxy's own threads, so one that waits holds back that direction of that connection.

A fault strikes a whole command or a whole reply, wherever it was cut into packets:

        proxy.arm(Fault(Kind.DROP_REPLY), every(4))
        proxy.arm(Fault(Kind.CUT_REPLY, keep=3), the_next(), "RPOP")
        proxy.arm(Fault(Kind.DELAY_COMMAND, seconds=2), at_random(Random(7), 0.01))
        ...
        proxy.disarm()
        proxy.injected                  # how many of each kind there were

What a client says while it connects (HELLO, AUTH, SELECT, CLIENT) is not counted and not struck, unless it is named.
Nor is what a replica and its primary say to each other, or what a Sentinel listens to: on their connections, all that
follows PSYNC or SUBSCRIBE goes as it comes.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from random import Random
from types import TracebackType
from typing import Final, Self, TypeAlias

from tests.servers import free_port

Rule: TypeAlias = Callable[[bytes], bytes | None]


def forward(data: bytes) -> bytes:
    return data


def drop(data: bytes) -> None:
    """Break the connection in place of what came."""


class Kind(Enum):
    """What can go wrong."""

    DROP_COMMAND = "command dropped"
    """The connection breaks, and the server never gets the command."""
    DROP_REPLY = "reply dropped"
    """The connection breaks when the server has carried the command out."""
    CUT_COMMAND = "command cut"
    """It breaks when the server has got a part of the command."""
    CUT_REPLY = "reply cut"
    """It breaks when the client has got a part of the reply."""
    DELAY_COMMAND = "command delayed"
    """The server gets the command later, even if the client has given up by then."""
    DELAY_REPLY = "reply delayed"
    TRICKLE_COMMAND = "command trickling"
    TRICKLE_REPLY = "reply trickling"
    """It comes byte by byte."""
    HALF_CLOSE_COMMAND = "closed after a command"
    """The server gets the command, and then the end of what the client sends; the client is still answered."""
    HALF_CLOSE_REPLY = "closed before a reply"
    """The client gets the end of what the server sends, and no reply; the server still gets what the client sends."""
    GARBAGE_REPLY = "garbage as a reply"
    REFUSE = "connections refused"

    @property
    def strikes_commands(self) -> bool:
        return self.name.endswith("_COMMAND")


@dataclass(frozen=True)
class Fault:
    """One kind of failure: with how many bytes that go through first (`keep`), taking how long, with what `garbage`."""

    kind: Kind
    keep: int = 1
    seconds: float = 0.02
    garbage: bytes = b"\x00\xffHTTP/1.1 400 Bad Request\r\n\r\n"


When: TypeAlias = Callable[[], bool]
"""Asked for each command, or each reply, whether the fault strikes it."""


def every(number: int) -> When:
    """Each *number*-th."""
    count = itertools.count(1)
    return lambda: next(count) % number == 0


def the_next(number: int = 1) -> When:
    """The *number*-th from now on, and no other."""
    count = itertools.count(1)
    return lambda: next(count) == number


def at_random(random: Random, chance: float) -> When:
    """Each with this chance."""
    return lambda: random.random() < chance


class Proxy:
    """Listens from the beginning to the end of its block; `connections` counts those that were opened through it."""

    host: Final = "127.0.0.1"

    def __init__(self, server_port: int) -> None:
        self.on_request: Rule = forward
        self.on_reply: Rule = forward
        self.connections = 0
        self.injected = collections.Counter[Kind]()
        self._server_port = server_port
        self._armed: list[tuple[Fault, When, frozenset[str]]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    # --- Faults

    def arm(self, fault: Fault, when: When, *commands: str) -> None:
        """Have *fault* strike *when* that says so: any command or its reply, or only those of the names given."""
        assert fault.kind is not Kind.REFUSE, "that is for refusing()"
        self._armed = [*self._armed, (fault, when, frozenset(commands))]

    def disarm(self) -> None:
        """Let everything through again."""
        self._armed = []

    @contextlib.contextmanager
    def refusing(self) -> Generator[None]:
        """Have nobody listen meanwhile; the connections that are open stay so."""
        with self._lock:
            self.injected[Kind.REFUSE] += 1
        self._end_listening()
        try:
            yield
        finally:
            if not self._ended.is_set():
                self._listen(self.port)

    def break_all(self) -> None:
        """Break every connection that is open."""
        for one in tuple(self._open):
            _break(one)

    # --- Running

    def __enter__(self) -> Self:
        while True:
            # Below the range from which the system takes the ports of outgoing connections: nobody gets it meanwhile.
            port = free_port()
            with contextlib.suppress(OSError):
                self._listen(port)
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._end_listening()
        self.break_all()
        for thread in self._threads:
            thread.join(10)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server((self.host, port))
        self.port = port
        self._start(partial(self._accept, self._listener))

    def _end_listening(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        thread.start()
        self._threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((self.host, self._server_port))
            except OSError:  # it is down
                _break(client)
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open |= {client, server}
            if self._ended.is_set():
                self.break_all()
            due: deque[str] = deque()
            self._start(partial(self._pass_on, client, server, Commands(due), self._request))
            self._start(partial(self._pass_on, server, client, Replies(due), self._reply))

    def _request(self, data: bytes) -> bytes | None:
        return self.on_request(data)

    def _reply(self, data: bytes) -> bytes | None:
        return self.on_reply(data)

    def _pass_on(self, source: socket.socket, sink: socket.socket, messages: Messages, rule: Rule) -> None:
        with contextlib.suppress(OSError, _Broken):  # the other direction broke it off
            while data := source.recv(65_536):
                for piece, name in messages.split(data, whole=bool(self._armed)):
                    fault = None if name is None else self._chosen(messages, name)
                    if fault is None:
                        passed = rule(piece)
                        if passed is None:
                            raise _Broken
                        sink.sendall(passed)
                    else:
                        self._strike(fault, piece, source, sink)
        for one in (source, sink):
            _break(one)
            self._open.discard(one)

    def _chosen(self, messages: Messages, name: str) -> Fault | None:
        with self._lock:
            for fault, when, names in self._armed:
                if fault.kind.strikes_commands is not messages.are_commands:
                    continue
                if (name in names if names else name not in _HANDSHAKE) and when():
                    self.injected[fault.kind] += 1
                    return fault
        return None

    def _strike(self, fault: Fault, message: bytes, source: socket.socket, sink: socket.socket) -> None:
        match fault.kind:
            case Kind.DROP_COMMAND | Kind.DROP_REPLY:
                raise _Broken
            case Kind.CUT_COMMAND | Kind.CUT_REPLY:
                sink.sendall(message[: min(fault.keep, len(message) - 1)])
                raise _Broken
            case Kind.DELAY_COMMAND | Kind.DELAY_REPLY:
                self._ended.wait(fault.seconds)
                sink.sendall(message)
            case Kind.TRICKLE_COMMAND | Kind.TRICKLE_REPLY:
                for byte in message:
                    sink.sendall(bytes((byte,)))
                    self._ended.wait(fault.seconds / len(message))
            case Kind.HALF_CLOSE_COMMAND | Kind.HALF_CLOSE_REPLY:
                if fault.kind is Kind.HALF_CLOSE_COMMAND:
                    sink.sendall(message)
                sink.shutdown(socket.SHUT_WR)
                while source.recv(65_536):
                    pass  # nobody hears of it any more
                raise _Broken
            case Kind.GARBAGE_REPLY:
                sink.sendall(fault.garbage)
            case Kind.REFUSE:
                raise AssertionError(fault)


class _Broken(Exception):
    """The connection is to be broken."""


_STREAMS: Final = frozenset({"PSYNC", "SUBSCRIBE"})
"""After these there are not as many replies as commands."""

_HANDSHAKE: Final = frozenset({"AUTH", "CLIENT", "HELLO", "PSYNC", "REPLCONF", "SELECT"})


class Messages:
    """The commands, or the replies, on one connection: where each begins and ends in what comes."""

    are_commands: bool

    def __init__(self, due: deque[str]) -> None:
        self._due = due
        self._held: list[bytes] = []
        self._let_through = False  # the beginning of the message that is coming
        self._streams = False  # and what comes are no more messages
        self._line = b""
        self._skip = 0
        self._nodes = 1  # that are left of the message
        self._head = b""

    def split(self, data: bytes, *, whole: bool) -> Generator[tuple[bytes, str | None]]:
        """What to pass on, and for what is a *whole* message the command's name.

        What is not asked for as a whole goes in the pieces in which it came.
        """
        if self._streams:
            yield data, None
            return
        ends = list(self._ends(data))
        if not whole and not self._held:
            self._let_through = not ends or ends[-1][0] < len(data)
            yield data, None
            return
        start = 0
        for end, name in ends:
            yield b"".join((*self._held, data[start:end])), None if self._let_through else name
            self._held.clear()
            self._let_through = False
            start = end
        rest = data[start:]
        if rest and (self._let_through or self._streams):
            yield rest, None
        elif rest:
            self._held.append(rest)

    def _ends(self, data: bytes) -> Generator[tuple[int, str | None]]:
        position = 0
        while position < len(data):
            if self._skip:
                taken = min(self._skip, len(data) - position)
                if len(self._head) < _LONGEST_NAME:
                    self._head += data[position : position + min(taken, _LONGEST_NAME)]
                position += taken
                self._skip -= taken
                if not self._skip:
                    self._nodes -= 1
            else:
                end = data.find(b"\n", position) + 1
                if not end:
                    self._line += data[position:]
                    return
                line, self._line = self._line + data[position:end], b""
                position = end
                if len(self._head) < _LONGEST_NAME:
                    self._head += line
                self._nodes += _more_nodes(line)
                if line[:1] in b"$=!" and int(line[1:]) >= 0:
                    self._skip = int(line[1:]) + 2
                    self._nodes += 1
            if not self._nodes:
                head, self._head, self._nodes = self._head, b"", 1
                name = self._named(head)
                self._streams = name in _STREAMS
                yield position, name
                if self._streams:
                    return

    def _named(self, head: bytes) -> str | None:
        raise NotImplementedError


_LONGEST_NAME: Final = 64


def _more_nodes(line: bytes) -> int:
    """How many nodes of a message are left more than before, after the one that begins with *line*."""
    if line[:1] in b"*~>":
        return max(0, int(line[1:])) - 1
    if line[:1] in b"%|":
        return 2 * int(line[1:]) - (line[:1] == b"%")
    return -1


class Commands(Messages):
    are_commands = True

    def _named(self, head: bytes) -> str:
        words = head.split(b"\r\n")  # *2, $4, INCR, ...
        name = words[2].decode("latin-1").upper() if len(words) > 2 else ""
        self._due.append(name)
        return name


class Replies(Messages):
    are_commands = False

    def _named(self, head: bytes) -> str | None:
        unasked = head.startswith((b">", b"\n"))  # the latter tells a replica that it is not forgotten
        return None if unasked else self._due.popleft()


def _break(connection: socket.socket) -> None:
    """Close at once, with a reset: what waits to be sent is thrown away."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
    connection.close()
