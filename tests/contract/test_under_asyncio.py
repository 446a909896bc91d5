"""What a user may rely on of the faces under asyncio besides: tasks at the same time, and tasks that are cancelled.

All else is promised of both faces, and tested on both by the other files here.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar

import pytest

import redisext
from redisext import AsyncBackend, AsyncHashMap, AsyncLock, AsyncMap
from redisext.backend.memory import AsyncMemoryBackend
from redisext.command import Command, Op, Reply
from redisext.reply import array, bulk
from tests.threads import AT_ONCE, PATIENCE

R = TypeVar("R")

Test: TypeAlias = Callable[[AsyncBackend], Coroutine[Any, Any, None]]
"""What is to be tried on a backend."""


@pytest.fixture(params=["embedded", "redis"])
def variant(request: pytest.FixtureRequest) -> str:
    """What is under asyncio here says so itself."""
    return str(request.param)


class Run:
    """Runs a test's coroutine in an event loop of its own, on an empty store."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, test: Test) -> None:
        async def whole() -> None:
            async with asyncio.timeout(PATIENCE), redisext.aconnect(self.url) as db:
                await test(db)

        asyncio.run(whole())


@pytest.fixture
def run(store_url: str) -> Run:
    return Run(store_url)


async def keys(db: AsyncBackend) -> list[bytes]:
    """The names of all keys in the store."""
    found = await send(db, "KEYS", b"*")
    return sorted(map(bulk, array(found)))


async def send(db: AsyncBackend, name: str, key: bytes) -> Reply:
    return await db.execute(Command(Op(name), (key,), (), lambda reply: reply))


async def until_waiting(db: AsyncBackend, count: int) -> None:
    """Wait until so many blocking commands have not had their reply."""
    while await waiting(db) != count:  # noqa: ASYNC110  # the server knows it, and tells nobody
        await asyncio.sleep(0.001)


async def waiting(db: AsyncBackend) -> int:
    if isinstance(db, AsyncMemoryBackend):
        return len(db._store._waiters)  # pyright: ignore[reportPrivateUsage]
    clients = bulk(await send(db, "INFO", b"clients")).decode()
    [blocked] = [line for line in clients.splitlines() if line.startswith("blocked_clients:")]
    return int(blocked.partition(":")[2])


async def cancelled(task: asyncio.Task[R]) -> None:
    """Cancel it, and see that it ends by that."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class TestLock:
    def test_ten_tasks_exclude_each_other(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            counted = 0

            async def hold() -> None:
                nonlocal counted
                lock = AsyncLock("lock", db)
                for _ in range(10):
                    async with lock as held:
                        assert held is lock
                        before = counted
                        await asyncio.sleep(0)
                        counted = before + 1

            await asyncio.gather(*(hold() for _ in range(10)))
            assert counted == 100
            assert await keys(db) == []

        run(test)

    def test_ten_tasks_that_share_one_object_exclude_each_other(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            counted = 0
            lock = AsyncLock("lock", db)

            async def hold() -> None:
                nonlocal counted
                for _ in range(10):
                    async with lock:
                        before = counted
                        await asyncio.sleep(0)
                        counted = before + 1

            await asyncio.gather(*(hold() for _ in range(10)))
            assert counted == 100
            assert lock.token is None
            assert await keys(db) == []

        run(test)

    @pytest.mark.parametrize("wait", [10, float("inf")], ids=str)
    def test_a_task_that_is_cancelled_while_it_waits_leaves_no_waiter_and_no_lock(self, run: Run, wait: float) -> None:
        async def test(db: AsyncBackend) -> None:
            lock, other = AsyncLock("lock", db), AsyncLock("lock", db)
            await lock.acquire()
            acquiring = asyncio.create_task(other.acquire(wait=wait))
            await until_waiting(db, 1)
            await cancelled(acquiring)
            await until_waiting(db, 0)
            assert other.token is None
            assert await keys(db) == [b"lock"]
            assert await lock.release() is True
            assert await keys(db) == []

        run(test)

    def test_one_of_several_that_is_cancelled_takes_the_lock_from_nobody(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            lock, order = AsyncLock("lock", db), list[int]()
            await lock.acquire()

            async def hold(number: int) -> None:
                async with AsyncLock("lock", db):
                    order.append(number)

            holds = [asyncio.create_task(hold(0))]
            for number in (1, 2):
                await until_waiting(db, number)
                holds.append(asyncio.create_task(hold(number)))
            await until_waiting(db, 3)
            await cancelled(holds[0])
            await lock.release()
            await asyncio.gather(*holds[1:])
            assert order == [1, 2]
            assert await keys(db) == []

        run(test)

    @pytest.mark.parametrize("turns", range(8))
    def test_whenever_a_task_is_cancelled_it_has_the_lock_or_nobody_has_it(self, run: Run, turns: int) -> None:
        async def test(db: AsyncBackend) -> None:
            for wait in (None, 10):
                lock = AsyncLock("lock", db)
                acquiring = asyncio.create_task(lock.acquire(wait=wait))
                for _ in range(turns):
                    await asyncio.sleep(0)
                acquiring.cancel()
                [outcome] = await asyncio.gather(acquiring, return_exceptions=True)
                assert isinstance(outcome, asyncio.CancelledError) or outcome is True
                assert (lock.token is not None) is (outcome is True)
                assert await lock.locked() is (outcome is True)
                await lock.remove()
                assert await keys(db) == []

        run(test)

    @pytest.mark.parametrize("turns", range(8))
    def test_whenever_a_task_is_cancelled_that_releases_it_can_release_again(self, run: Run, turns: int) -> None:
        async def test(db: AsyncBackend) -> None:
            lock = AsyncLock("lock", db)
            await lock.acquire()
            releasing = asyncio.create_task(lock.release())
            for _ in range(turns):
                await asyncio.sleep(0)
            releasing.cancel()
            await asyncio.gather(releasing, return_exceptions=True)
            await lock.release()  # whether or not the first one did
            assert await lock.locked() is False
            assert await keys(db) == []

        run(test)

    @pytest.mark.parametrize("turns", range(8))
    @pytest.mark.parametrize("wait", [None, 10], ids=str)
    def test_a_task_that_is_cancelled_again_while_it_gives_up_leaves_nothing(
        self, run: Run, wait: float | None, turns: int
    ) -> None:
        """As where a timeout and the end of a task group come together."""

        async def test(db: AsyncBackend) -> None:
            await AsyncLock("lock", db).locked()  # so that the connection is there
            for later in range(4):
                lock = AsyncLock("lock", db)
                acquiring = asyncio.create_task(lock.acquire(wait=wait))
                for pause in (turns, later):
                    for _ in range(pause):
                        await asyncio.sleep(0)
                    acquiring.cancel()
                [outcome] = await asyncio.gather(acquiring, return_exceptions=True)
                if outcome is True:
                    assert await lock.release() is True
                async with asyncio.timeout(AT_ONCE):
                    while await keys(db):  # noqa: ASYNC110  # what it began goes on, and nobody waits for it
                        await asyncio.sleep(0.001)

        run(test)

    def test_a_block_whose_task_is_cancelled_releases_it(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            lock, inside = AsyncLock("lock", db), asyncio.Event()

            async def hold() -> None:
                async with lock:
                    inside.set()
                    await asyncio.sleep(PATIENCE)

            holding = asyncio.create_task(hold())
            await inside.wait()
            await cancelled(holding)
            assert lock.token is None
            assert await keys(db) == []

        run(test)

    @pytest.mark.parametrize("turns", range(6))
    def test_a_block_whose_task_is_cancelled_while_it_releases_has_released_it(self, run: Run, turns: int) -> None:
        async def test(db: AsyncBackend) -> None:
            lock, ending = AsyncLock("lock", db), asyncio.Event()

            async def hold() -> None:
                async with lock:
                    ending.set()

            holding = asyncio.create_task(hold())
            await ending.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            assert lock.token is None
            assert await keys(db) == []

        run(test)

    def test_a_block_cancelled_twice_releases_it_too(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            lock, inside = AsyncLock("lock", db), asyncio.Event()

            async def hold() -> None:
                async with lock:
                    inside.set()
                    await asyncio.sleep(PATIENCE)

            holding = asyncio.create_task(hold())
            await inside.wait()
            holding.cancel()
            await asyncio.sleep(0)
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            while await lock.locked():  # noqa: ASYNC110  # what it began goes on, and nobody waits for it
                await asyncio.sleep(0.001)
            assert lock.token is None
            assert await keys(db) == []

        run(test)

    def test_a_block_that_was_cancelled_and_has_lost_it_says_so_in_a_note(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            lock, inside = AsyncLock("lock", db), asyncio.Event()

            async def hold() -> None:
                async with lock:
                    inside.set()
                    await asyncio.sleep(PATIENCE)

            holding = asyncio.create_task(hold())
            await inside.wait()
            await AsyncLock("lock", db).remove()
            holding.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await holding
            assert "'lock' was lost before its block ended" in caught.value.__notes__[0]

        run(test)

    def test_a_timeout_ends_the_wait_of_a_block(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            await AsyncLock("lock", db).acquire()
            lock = AsyncLock("lock", db)

            async def hold() -> None:
                async with asyncio.timeout(0.05), lock:
                    raise AssertionError("it is held by another")

            with pytest.raises(TimeoutError):
                await hold()
            assert await keys(db) == [b"lock"]

        run(test)


class TestWhoWaitsForALockIsWoken:
    """At once, and not when it looks again: within the patience of `AT_ONCE`."""

    def test_when_another_was_woken_and_cancelled(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            holder, first, second = (AsyncLock("lock", db) for _ in range(3))
            await holder.acquire(30)
            leaves = asyncio.create_task(first.acquire(30, wait=PATIENCE))
            await waiters(db, 1)
            waits = asyncio.create_task(second.acquire(30, wait=PATIENCE))
            await waiters(db, 2)
            await holder.release()
            leaves.cancel()
            async with asyncio.timeout(AT_ONCE):
                await waits
            assert second.token is not None

        run(test)

    def test_when_another_had_acquired_it_as_it_was_cancelled(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            first, second = AsyncLock("lock", db), AsyncLock("lock", db)
            await first.acquire(30)  # from now on, the server knows the scripts
            await first.release()
            leaves = asyncio.create_task(first.acquire(30))
            waits = asyncio.create_task(second.acquire(30, wait=PATIENCE))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not leaves.cancel():  # in the embedded engine, nothing is ever on its way
                await first.release()
            async with asyncio.timeout(AT_ONCE):
                assert await waits

        run(test)


async def waiters(db: AsyncBackend, number: int) -> None:
    """Return once so many wait for the lock."""
    while await send(db, "ZCARD", b"{lock}:waiters") != number:  # noqa: ASYNC110  # only the server knows
        await asyncio.sleep(0.001)


class TestUpdate:
    def test_ten_tasks_lose_no_update_of_a_map(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            numbers = AsyncMap[list[int]]("numbers", db)
            await ten_tasks(numbers.update)
            assert Tally(await numbers.get([])) == dict.fromkeys(range(10), 10)

        run(test)

    def test_ten_tasks_lose_no_update_of_one_value_of_a_hash_map(self, run: Run) -> None:
        async def test(db: AsyncBackend) -> None:
            numbers = AsyncHashMap[str, list[int]]("numbers", db)
            await ten_tasks(partial(numbers.update_value, "a"))
            assert Tally(await numbers.get("a", [])) == dict.fromkeys(range(10), 10)

        run(test)


async def ten_tasks(update: Callable[[Callable[[list[int] | None], list[int]]], Awaitable[object]]) -> None:
    """In each of ten tasks, ten times, *update* a list by its number."""

    async def extend(task: int) -> None:
        for _ in range(10):
            await update(lambda old: [*(old or []), task])

    await asyncio.gather(*(extend(task) for task in range(10)))
