"""What a test sees of a store: the commands that pass, the keys that are there, who is waiting."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar, cast

from redisext.backend.abc import Backend, Session
from redisext.backend.cluster import Cluster
from redisext.backend.memory import AsyncMemoryBackend, MemoryBackend
from redisext.backend.topology import Node
from redisext.batch import Batches, Pending
from redisext.command import Argument, Command, Op, Reply
from redisext.reply import array, bulk
from tests.faces import Bridge
from tests.servers import exchange

R = TypeVar("R")


class Watched(Batches):
    """A backend that notes each command, and what came of it, and has another backend carry it out.

    The commands of a batch are noted when it is sent, those of a transaction are not.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.commands: list[Command[object]] = []
        self.results: list[object] = []

    @property
    def prefix(self) -> str:
        return self.backend.prefix

    @property
    def location(self) -> str:
        return self.backend.location

    @property
    def primary(self) -> Self:
        return self

    def execute(self, command: Command[R]) -> R:
        self.commands.append(command)
        result = self.backend.execute(command)
        self.results.append(result)
        return result

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        self.commands += [one.command for one in pending]
        self.backend.execute_many(pending)

    def session(self, watch: Sequence[bytes] = ()) -> AbstractContextManager[Session]:
        return self.backend.session(watch)

    def close(self) -> None:
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    def sent_by(self, call: Callable[[], object]) -> list[Command[object]]:
        """The commands that `call` sends."""
        before = len(self.commands)
        call()
        return self.commands[before:]

    def page_sizes(self) -> list[int]:
        """How many elements came with each of the commands that fetched a page."""
        pages = [cast("tuple[list[object], object]", result) for result in self.results if isinstance(result, tuple)]
        return [len(elements) for elements, _ in pages]


def send(db: Backend, name: str, key: str | bytes, *args: Argument) -> Reply:
    """Have the server carry out any command on a key."""
    name_of_key = key if isinstance(key, bytes) else key.encode()
    return db.execute(Command(Op(name), (name_of_key,), args, lambda reply: reply))


def keys(db: Backend) -> list[bytes]:
    """The names of all keys in the store."""
    return sorted(bulk(name) for names in said_to_all(db, "KEYS", "*") for name in array(names))


def waiting(db: Backend) -> int:
    """How many blocking commands have not had their reply yet."""
    backend = db.under_asyncio if isinstance(db, Bridge) else db
    if isinstance(backend, (MemoryBackend, AsyncMemoryBackend)):
        return len(backend._store._waiters)  # pyright: ignore[reportPrivateUsage]
    lines = [line for clients in said_to_all(db, "INFO", "clients") for line in bulk(clients).decode().splitlines()]
    return sum(int(line.partition(":")[2]) for line in lines if line.startswith("blocked_clients:"))


def said_to_all(db: Backend, *words: str) -> list[Reply]:
    """What is replied to *words* by all who have data: by each primary, in a cluster."""
    backend = db.under_asyncio if isinstance(db, Bridge) else db
    topology = getattr(backend, "_topology", None)
    if not isinstance(topology, Cluster):
        return [send(db, *words)]
    cluster = cast("Cluster[Node]", topology)
    send(db, "EXISTS", "key")  # so that it has asked who they are
    replies: list[Reply] = []
    for node in cluster._primaries:  # pyright: ignore[reportPrivateUsage]
        with socket.create_connection((node.where.host, node.where.port)) as connection:
            replies.append(cast("Reply", exchange(connection, *words)))
    return replies
