"""One body of a test for both faces of a backend: its batches and transactions, sync and under asyncio.

Commands know no driver, so a test describes them with sync models, and only the block around them differs.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import pytest

import redisext
from redisext import AsyncPool, Pool
from redisext.backend.abc import AsyncBackend, Backend
from redisext.batch import ATTEMPTS, AsyncBatch, AsyncTransaction, Batch, Pending, Transaction, Watchable
from redisext.command import Command, Steps, arun, run

R = TypeVar("R")

Kind: TypeAlias = Literal["batch", "transaction"]
Block: TypeAlias = Batch | AsyncBatch | Transaction | AsyncTransaction


class Driver(ABC):
    """A backend, and what is done with it."""

    url: str
    db: Backend | AsyncBackend

    @abstractmethod
    def fill(self, kind: Kind, fill: Callable[[Block], R], *, primary: bool = False) -> R:
        """Have *fill* add to a block of that kind, and the block end; what *fill* gives."""

    @abstractmethod
    def transact(
        self, fn: Callable[[Block], Steps[R]], *, watch: Watchable | Iterable[Watchable], attempts: int = ATTEMPTS
    ) -> R:
        """The backend's `transact`, of steps: what they yield is read."""

    @abstractmethod
    def execute(self, command: Command[R]) -> R:
        """Carry out *command* alone."""

    @abstractmethod
    def members(self, key: str) -> Iterator[str]:
        """Those of the pool, as it is gone through."""

    @abstractmethod
    def close(self) -> None:
        """Close the backend."""

    @abstractmethod
    def close_meanwhile(self) -> None:
        """Close the backend while another thread has something carried out."""

    @abstractmethod
    def end(self) -> None:
        """Close all that the test has opened."""


class SyncDriver(Driver):
    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.db = self._db = redisext.connect(url, **options)

    def fill(self, kind: Kind, fill: Callable[[Block], R], *, primary: bool = False) -> R:
        db = self._db.primary if primary else self._db
        with db.batch() if kind == "batch" else db.transaction() as block:
            return fill(block)

    def transact(
        self, fn: Callable[[Block], Steps[R]], *, watch: Watchable | Iterable[Watchable], attempts: int = ATTEMPTS
    ) -> R:
        return self._db.transact(lambda tx: run(fn(tx), tx.read), watch=watch, attempts=attempts)

    def execute(self, command: Command[R]) -> R:
        return self._db.execute(command)

    def members(self, key: str) -> Iterator[str]:
        return iter(Pool[str](key, self._db))

    def close(self) -> None:
        self._db.close()

    def close_meanwhile(self) -> None:
        self._db.close()

    def end(self) -> None:
        self._db.close()


class AsyncDriver(Driver):
    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.db = self._db = redisext.aconnect(url, **options)
        self._loop = asyncio.Runner()

    def fill(self, kind: Kind, fill: Callable[[Block], R], *, primary: bool = False) -> R:
        async def main() -> R:
            db = self._db.primary if primary else self._db
            async with db.batch() if kind == "batch" else db.transaction() as block:
                return fill(block)

        return self._loop.run(main())

    def transact(
        self, fn: Callable[[Block], Steps[R]], *, watch: Watchable | Iterable[Watchable], attempts: int = ATTEMPTS
    ) -> R:
        return self._loop.run(self._db.transact(lambda tx: arun(fn(tx), tx.read), watch=watch, attempts=attempts))

    def execute(self, command: Command[R]) -> R:
        async def main() -> R:
            return await self._db.execute(command)

        return self._loop.run(main())

    def members(self, key: str) -> Iterator[str]:
        members = aiter(AsyncPool[str](key, self._db))

        async def next_one() -> list[str]:
            return [one async for one in first(members)]

        while following := self._loop.run(next_one()):
            yield from following

    def close(self) -> None:
        self._loop.run(self._db.aclose())

    def close_meanwhile(self) -> None:
        asyncio.run_coroutine_threadsafe(self._db.aclose(), self._loop.get_loop()).result()

    def end(self) -> None:
        self.close()
        self._loop.close()


async def first(elements: AsyncIterator[R]) -> AsyncIterator[R]:
    """The next one of them, if there is any."""
    with contextlib.suppress(StopAsyncIteration):
        yield await anext(elements)


DRIVERS: dict[str, type[SyncDriver | AsyncDriver]] = {"sync": SyncDriver, "asyncio": AsyncDriver}


def add_all(commands: Sequence[Command[object]]) -> Callable[[Block], list[Pending[object]]]:
    return lambda block: [block.add(command) for command in commands]


class Added:
    """What a block was given, for a test whose block raises."""

    def __init__(self, *commands: Command[object]) -> None:
        self.commands = commands
        self.pending: list[Pending[object]] = []

    def __call__(self, block: Block) -> None:
        self.pending += [block.add(command) for command in self.commands]


def no_steps(result: R) -> Steps[R]:
    """What reads nothing."""
    yield from ()
    return result


def reading(command: Command[R]) -> Callable[[Block], Steps[R]]:
    """A function for `transact` that does no more than that."""

    def fn(tx: Block) -> Steps[R]:
        return (yield from command)

    return fn


def chunks(
    driver: Driver,
    monkeypatch: pytest.MonkeyPatch,
    *,
    cut_short_at: int = 0,
    by: type[BaseException] = KeyboardInterrupt,
) -> list[list[Pending[object]]]:
    """What is sent at a time from now on. The chunk of the number *cut_short_at* is not: *by* is raised instead."""
    sent: list[list[Pending[object]]] = []
    original = driver.db.execute_many

    def execute_many(pending: list[Pending[object]]) -> object:
        assert all(one.done for chunk in sent for one in chunk), "one chunk after the other"
        sent.append(pending)
        if len(sent) == cut_short_at:
            raise by
        return original(pending)

    monkeypatch.setattr(driver.db, "execute_many", execute_many)
    return sent
