"""What a test sees of a store: the commands that pass, the keys that are there, who is waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar, cast

from redisext.backend.abc import Backend, Session
from redisext.backend.memory import AsyncMemoryBackend, MemoryBackend
from redisext.batch import Batches, Pending
from redisext.command import Argument, Command, Op, Reply
from redisext.reply import array, bulk
from tests.faces import Bridge

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
    return sorted(bulk(name) for name in array(send(db, "KEYS", "*")))


def waiting(db: Backend) -> int:
    """How many blocking commands have not had their reply yet."""
    backend = db.under_asyncio if isinstance(db, Bridge) else db
    if isinstance(backend, (MemoryBackend, AsyncMemoryBackend)):
        return len(backend._store._waiters)  # pyright: ignore[reportPrivateUsage]
    clients = bulk(send(db, "INFO", "clients")).decode()
    [blocked] = [line for line in clients.splitlines() if line.startswith("blocked_clients:")]
    return int(blocked.partition(":")[2])
