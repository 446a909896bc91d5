"""The embedded engine under asyncio; and for both faces, batches, transactions, and who waits beside whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from itertools import count
from typing import TypeVar

import fakeredis
import pytest
import redis.asyncio

import redisext
from redisext import (
    AsyncCounter,
    AsyncHashMap,
    AsyncMap,
    AsyncPriorityQueue,
    AsyncQueue,
    AsyncStack,
    Counter,
    Map,
    PriorityQueue,
    Queue,
    SortedSet,
    Stack,
)
from redisext.backend import store
from redisext.backend.exchange import Answer, Words
from redisext.backend.memory import AsyncMemoryBackend, MemoryBackend
from redisext.batch import AsyncBatch, AsyncTransaction, Transaction
from redisext.command import Command, Op, Script
from redisext.errors import BackendClosed, BatchError, CommandRefused, ConfigurationError, Conflict, WrongType
from redisext.reply import integer
from tests.backend.observe import forking_threads, in_child
from tests.servers import wait_until
from tests.threads import PATIENCE, at_once, start
from tests.watching import waiting

R = TypeVar("R")

STORES = count()

INCR_TWICE = Op("incr twice", script=Script("redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[1])"))
NO_SUCH_COMMAND = Command(Op("NOSUCH"), (b"key",), (), integer)


def incr_twice(key: str) -> Command[int]:
    return Command(INCR_TWICE, (key.encode(),), (), integer)


@pytest.fixture
def url() -> str:
    """A store that nobody has used."""
    return f"memory://async-engine-{next(STORES)}"


@pytest.fixture
def db(url: str) -> Iterator[MemoryBackend]:
    """The synchronous backend on the store."""
    with redisext.connect(url) as db:
        assert isinstance(db, MemoryBackend)
        yield db


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeServer:
    """The engine of the next store."""
    engine = fakeredis.FakeServer()
    monkeypatch.setattr(fakeredis, "FakeServer", lambda: engine)
    return engine


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is served if he is told, and does not come to look."""
    monkeypatch.setattr(store, "_LOOK_AGAIN", 10 * PATIENCE)


def connect(url: str, prefix: str = "") -> AsyncMemoryBackend:
    db = redisext.aconnect(url, prefix=prefix)
    assert isinstance(db, AsyncMemoryBackend)
    return db


def run(main: Callable[[], Coroutine[object, object, R]]) -> R:
    """In an event loop of its own, which ends in any case, and which heeds what other threads may do to it."""
    return asyncio.run(asyncio.wait_for(main(), PATIENCE), debug=True)


async def wait_for(db: MemoryBackend, waiters: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while waiting(db) != waiters:
        assert time.monotonic() < deadline, f"{waiting(db)} wait in the store, not {waiters}"
        await asyncio.sleep(0)


async def result(call: Callable[[], Awaitable[R]]) -> R:
    """For what wants a coroutine: a call may give anything that is awaited."""
    return await call()


async def send_all(block: AsyncBatch | AsyncTransaction, *commands: Command[object]) -> None:
    async with block:
        for command in commands:
            block.add(command)


def abandon(loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> None:
    """What becomes of a task that waits still, when the loop is closed and the task collected."""
    loop.set_exception_handler(lambda _loop, _context: None)  # which would tell of that
    waits = task.get_coro()
    assert isinstance(waits, Coroutine)
    waits.close()


def let_an_hour_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the engine's clock."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)


def sessions(engine: fakeredis.FakeServer) -> int:
    """How many connections the engine has."""
    sockets: list[object] = vars(engine)["sockets"]
    return len(sockets)


class TestStores:
    def test_a_sync_and_an_async_backend_on_one_name_share_a_store(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                await AsyncMap[str]("note", adb).set("hello")
                assert Map[str]("note", db).get() == "hello"
                Map[str]("note", db).set("goodbye")
                assert await AsyncMap[str]("note", adb).get() == "goodbye"
            async with connect(f"{url}-2") as other:
                assert await AsyncMap[str]("note", other).get() is None

        run(main)

    def test_a_prefix_stands_before_every_key(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url, prefix="app:") as adb:
                await AsyncMap[str]("note", adb).set("hello")
                assert adb.prefix == "app:"
                assert repr(adb) == f"<AsyncMemoryBackend {url} prefix='app:'>"

        run(main)
        assert Map[str]("app:note", db).get() == "hello"

    def test_it_says_where_its_data_is_and_is_its_own_primary(self, url: str, db: MemoryBackend) -> None:
        adb = connect(url)
        assert repr(adb) == f"<AsyncMemoryBackend {url}>"
        assert adb.location == db.location == url
        assert adb.primary is adb

    def test_its_client_is_one_of_redis_pys_on_the_same_store(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                assert isinstance(adb.client, redis.asyncio.Redis)
                assert adb.client is adb.replica_client
                await adb.client.execute_command("SET", "hits", 5)
                assert await AsyncCounter[int]("hits", adb).get() == 5
                assert Counter[int]("hits", db).get() == 5

        run(main)

    def test_the_clients_connections_are_closed_with_it(self, url: str) -> None:
        async def main() -> None:
            adb = connect(url)
            await adb.client.ping()
            [connection] = vars(adb.client.connection_pool)["_available_connections"]
            assert connection.is_connected
            await adb.aclose()
            assert not connection.is_connected

        run(main)


class TestTurns:
    def test_tasks_take_turns_command_by_command(self, url: str) -> None:
        async def main() -> list[str]:
            done: list[str] = []
            async with connect(url) as adb:

                async def work(name: str) -> None:
                    for _ in range(3):
                        await AsyncCounter[int]("hits", adb).incr()
                        done.append(name)

                await asyncio.gather(work("a"), work("b"))
            return done

        assert run(main) == ["a", "b"] * 3

    def test_the_command_of_a_task_cancelled_before_its_turn_is_not_carried_out(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                hits = AsyncCounter[int]("hits", adb)
                other = asyncio.create_task(result(hits.get))
                task = asyncio.create_task(result(hits.incr))
                await asyncio.sleep(0)  # both have begun
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await other is None
                assert await hits.get() is None

        run(main)

    def test_a_command_in_the_midst_of_another_is_refused_instead_of_waiting_for_ever(
        self, url: str, db: MemoryBackend
    ) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                # As it is while another command of this thread is under way.
                with db._store._alone(), pytest.raises(CommandRefused, match="in the midst of another"):  # pyright: ignore[reportPrivateUsage]
                    await AsyncQueue[str]("jobs", adb).pop_wait()
                await AsyncQueue[str]("jobs", adb).push("sweep")
                assert await AsyncQueue[str]("jobs", adb).pop_wait() == "sweep"
                assert waiting(db) == 0

        run(main)

    def test_no_count_is_lost_among_tasks_and_threads(self, url: str, db: MemoryBackend) -> None:
        def count_up() -> None:
            for _ in range(100):
                Counter[int]("hits", db).incr()

        async def count_up_in_tasks() -> None:
            async with connect(url) as adb:
                await asyncio.gather(*(result(AsyncCounter[int]("hits", adb).incr) for _ in range(100)))

        at_once([count_up, lambda: run(count_up_in_tasks)] * 4)
        assert Counter[int]("hits", db).get() == 800


class TestEventLoops:
    def test_it_belongs_to_the_loop_in_which_its_first_command_ran(self, url: str, db: MemoryBackend) -> None:
        adb = connect(url)
        hits = AsyncCounter[int]("hits", adb)
        assert run(lambda: result(hits.incr)) == 1

        async def begin_session() -> None:
            async with adb.session():
                raise AssertionError

        uses: tuple[Callable[[], Awaitable[object]], ...] = (
            hits.incr,
            AsyncQueue[int]("jobs", adb).pop_wait,
            partial(adb.execute_many, ()),
            begin_session,
        )
        for use in uses:
            with pytest.raises(ConfigurationError) as elsewhere:
                run(lambda use=use: result(use))  # type: ignore[misc]  # bound at once
            assert str(elsewhere.value) == (
                f"<AsyncMemoryBackend {url}> belongs to another event loop, in which it ran its first command; "
                "connect in each loop"
            )
        assert Counter[int]("hits", db).get() == 1


class TestClosing:
    def test_after_it_commands_are_refused(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            adb = connect(url)
            hits = AsyncCounter[int]("hits", adb)
            await hits.incr()
            session = adb.session()
            opened = await session.__aenter__()
            pending = redisext.Pending(hits.commands.incr())
            await adb.aclose()
            await adb.aclose()
            assert adb.closed
            uses: tuple[Callable[[], Awaitable[object]], ...] = (
                hits.incr,
                partial(AsyncQueue[int]("jobs", adb).pop_wait, 1),
                partial(opened.execute, hits.commands.get()),
                partial(opened.commit, [pending]),
                partial(adb.execute_many, [pending]),
                adb.session().__aenter__,
            )
            for use in uses:
                with pytest.raises(BackendClosed, match=f"the backend {url} was closed"):
                    await use()
            assert not pending.done
            await session.__aexit__(None, None, None)

        run(main)
        assert Counter[int]("hits", db).get() == 1

    def test_one_that_comes_before_a_commands_turn_keeps_it_from_being_carried_out(
        self, url: str, db: MemoryBackend
    ) -> None:
        async def main() -> None:
            adb = connect(url)
            task = asyncio.create_task(result(AsyncCounter[int]("hits", adb).incr))
            await asyncio.sleep(0)
            await adb.aclose()
            with pytest.raises(BackendClosed):
                await task

        run(main)
        assert Counter[int]("hits", db).get() is None

    def test_after_it_a_sync_backend_begins_no_batch_and_no_session(self, url: str) -> None:
        db = redisext.connect(url)
        hits = Counter[int]("hits", db)
        pending = redisext.Pending(hits.commands.incr())
        with db.session() as session:
            db.close()
            for use in (
                partial(session.execute, hits.commands.get()),
                partial(session.commit, [pending]),
                partial(db.execute_many, [pending]),
            ):
                with pytest.raises(BackendClosed):
                    use()
        assert not pending.done
        with pytest.raises(BackendClosed), db.session():
            raise AssertionError

    def test_a_task_that_waits_is_told_at_once_and_takes_nothing(
        self, url: str, db: MemoryBackend, nobody_looks: None
    ) -> None:
        async def main() -> None:
            adb, other = connect(url), connect(url)
            ended = asyncio.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
            await wait_for(db, 1)
            served = asyncio.create_task(result(AsyncQueue[str]("jobs", other).pop_wait))
            await wait_for(db, 2)
            await adb.aclose()
            Queue[str]("jobs", db).push("sweep")
            with pytest.raises(BackendClosed):
                await ended
            assert await served == "sweep"
            assert waiting(db) == 0

        run(main)


class TestWaiting:
    def test_a_push_from_a_thread_wakes_a_task_and_the_reverse(
        self, url: str, db: MemoryBackend, nobody_looks: None
    ) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = AsyncQueue[str]("jobs", adb)
                task = asyncio.create_task(result(jobs.pop_wait))
                await wait_for(db, 1)
                start(partial(Queue[str]("jobs", db).push, "for the task"))
                assert await task == "for the task"
                thread = start(Queue[str]("jobs", db).pop_wait)
                await wait_for(db, 1)
                await jobs.push("for the thread")
                assert await asyncio.wrap_future(thread) == "for the thread"

        run(main)

    @pytest.mark.parametrize(
        ("sync_kind", "async_kind"),
        [
            pytest.param(Queue[str], AsyncQueue[str], id="queue"),
            pytest.param(Stack[str], AsyncStack[str], id="stack"),
            pytest.param(PriorityQueue[str], AsyncPriorityQueue[str], id="priority queue"),
        ],
    )
    def test_who_came_first_is_served_first_be_it_a_thread_or_a_task(
        self,
        url: str,
        db: MemoryBackend,
        sync_kind: type[Queue[str] | Stack[str] | PriorityQueue[str]],
        async_kind: type[AsyncQueue[str] | AsyncStack[str] | AsyncPriorityQueue[str]],
        nobody_looks: None,
    ) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = sync_kind("jobs", db)
                waiters: list[asyncio.Future[str | None]] = []
                for number in range(6):
                    if number % 2:
                        waiters.append(asyncio.wrap_future(start(jobs.pop_wait)))
                    else:
                        waiters.append(asyncio.create_task(result(async_kind("jobs", adb).pop_wait)))
                    await wait_for(db, len(waiters))
                for number, waiter in enumerate(waiters):
                    item = f"job {number}"
                    if isinstance(jobs, PriorityQueue):
                        jobs.push(item, 1)
                    else:
                        jobs.push(item)
                    assert await waiter == item
                assert waiting(db) == 0

        run(main)

    def test_who_waits_in_vain_gets_nothing_when_the_time_is_over(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = AsyncQueue[int]("jobs", adb)
                begun = time.monotonic()
                first, second = await asyncio.gather(jobs.pop_wait(0.25), jobs.pop_wait(0.25))
                assert first is second is None
                assert time.monotonic() - begun >= 0.25

        run(main)
        assert waiting(db) == 0

    def test_what_is_there_is_taken_at_once(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = AsyncQueue[int]("jobs", adb)
                await jobs.push(1)
                assert await jobs.pop_wait() == 1

        run(main)

    def test_a_key_that_holds_another_structure_is_named(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                await AsyncCounter[int]("jobs", adb).incr()
                with pytest.raises(WrongType, match="key 'jobs' holds a string, and RPOP works on a list"):
                    await AsyncQueue[int]("jobs", adb).pop_wait()

        run(main)

    def test_the_engines_own_clients_wake_as_well(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                tasks = [asyncio.create_task(result(AsyncQueue[str](key, adb).pop_wait)) for key in ("other", "jobs")]
                await wait_for(db, 2)
                await adb.client.execute_command("LPUSH", "jobs", "sweep")
                assert await tasks[1] == "sweep"
                db.client.execute_command("LPUSH", "other", "mop")
                assert await tasks[0] == "mop"

        run(main)

    def test_a_batch_and_a_transaction_wake_those_who_wait(
        self, url: str, db: MemoryBackend, nobody_looks: None
    ) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = AsyncQueue[int]("jobs", adb)
                tasks = [asyncio.create_task(result(jobs.pop_wait)) for _ in range(4)]
                await wait_for(db, 4)
                async with adb.batch() as batch:
                    batch.add(jobs.commands.push(1))
                async with adb.transaction() as transaction:
                    transaction.add(jobs.commands.push(2))
                with db.batch() as in_thread:
                    in_thread.add(jobs.commands.push(3))
                with db.transaction() as in_thread_too:
                    in_thread_too.add(jobs.commands.push(4))
                assert await asyncio.gather(*tasks) == [1, 2, 3, 4]

        run(main)

    @forking_threads
    def test_tasks_that_wait_in_the_parent_take_nothing_in_a_forked_child(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = Queue[str]("jobs", db)
                task = asyncio.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
                await wait_for(db, 1)
                told = in_child(lambda: (jobs.push("the child's"), jobs.size(), jobs.pop()))
                assert told == '(1, 1, "the child\'s")'
                jobs.push("the parent's")
                assert await task == "the parent's"

        run(main)


async def cancel_served(db: MemoryBackend, task: asyncio.Task[str | None], push: Callable[[], object]) -> None:
    """Cancel *task*, which waits, after it was handed what *push* pushes, and before it can know."""
    await wait_for(db, 1)
    push()
    assert waiting(db) == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class TestWhoIsGone:
    """What was handed to somebody who is gone by then is put back as if it had never been taken."""

    def test_a_task_cancelled_before_anything_came_takes_nothing(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                task = asyncio.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
                await wait_for(db, 1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert waiting(db) == 0
                Queue[str]("jobs", db).push("sweep")
                assert Queue[str]("jobs", db).items() == ["sweep"]

        run(main)

    def test_a_cancelled_task_leaves_a_queue_as_it_was(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = Queue[str]("jobs", db)
                task = asyncio.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
                await cancel_served(db, task, partial(jobs.push, "first", "second"))
                assert jobs.items() == ["second", "first"]

        run(main)

    def test_a_cancelled_task_leaves_a_stack_as_it_was(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                plates = Stack[str]("plates", db)
                task = asyncio.create_task(result(AsyncStack[str]("plates", adb).pop_wait))
                await cancel_served(db, task, partial(plates.push, "first", "second"))
                assert plates.items() == ["second", "first"]

        run(main)

    def test_a_cancelled_task_leaves_a_priority_queue_as_it_was(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                tasks = PriorityQueue[str]("tasks", db)
                task = asyncio.create_task(result(AsyncPriorityQueue[str]("tasks", adb).pop_wait))
                await cancel_served(db, task, partial(tasks.push, "sweep", 0.1 + 0.2))
                assert SortedSet[str]("tasks", db).score("sweep") == 0.1 + 0.2

        run(main)

    def test_a_priority_given_meanwhile_stays(self, url: str, db: MemoryBackend) -> None:
        def push_twice() -> None:
            PriorityQueue[str]("tasks", db).push("sweep", 1)
            PriorityQueue[str]("tasks", db).push("sweep", 2)

        async def main() -> None:
            async with connect(url) as adb:
                task = asyncio.create_task(result(AsyncPriorityQueue[str]("tasks", adb).pop_wait))
                await cancel_served(db, task, push_twice)
                assert SortedSet[str]("tasks", db).score("sweep") == 2

        run(main)

    def test_an_empty_item_is_put_back_too(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                task = asyncio.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
                await cancel_served(db, task, partial(Queue[str]("jobs", db).push, ""))
                assert Queue[str]("jobs", db).items() == [""]

        run(main)

    def test_what_would_have_expired_still_does(self, url: str, db: MemoryBackend) -> None:
        def push() -> None:
            with db.transaction() as transaction:
                transaction.add(jobs.commands.push("sweep"))
                transaction.add(jobs.commands.expire(60))

        jobs = Queue[str]("jobs", db)

        async def main() -> None:
            async with connect(url) as adb:
                task = asyncio.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
                await cancel_served(db, task, push)
                assert jobs.items() == ["sweep"]
                assert 0 < jobs.ttl() <= 60

        run(main)

    def test_an_expiry_taken_off_meanwhile_does_not_come_back(self, url: str, db: MemoryBackend) -> None:
        def push() -> None:
            with db.transaction() as transaction:
                transaction.add(jobs.commands.push("sweep", "mop"))
                transaction.add(jobs.commands.expire(60))
            jobs.persist()

        jobs = Queue[str]("jobs", db)

        async def main() -> None:
            async with connect(url) as adb:
                task = asyncio.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
                await cancel_served(db, task, push)
                assert jobs.items() == ["mop", "sweep"]
                assert jobs.ttl() == -1

        run(main)

    def test_the_next_in_line_is_served_instead(self, url: str, db: MemoryBackend, nobody_looks: None) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = AsyncQueue[str]("jobs", adb)
                first = asyncio.create_task(result(jobs.pop_wait))
                await wait_for(db, 1)
                second = asyncio.create_task(result(jobs.pop_wait))
                await wait_for(db, 2)
                Queue[str]("jobs", db).push("sweep")
                assert waiting(db) == 1
                first.cancel()
                assert await second == "sweep"
                assert first.cancelled()

        run(main)

    def test_that_a_timeout_of_the_callers_own_ends_the_waiting_loses_nothing(
        self, url: str, db: MemoryBackend
    ) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                jobs = AsyncQueue[int]("jobs", adb)
                received: list[int] = []

                async def receive() -> None:
                    while len(received) < 50:
                        try:
                            async with asyncio.timeout(0.001):
                                received.append(await jobs.pop_wait(default=-1))
                        except TimeoutError:
                            pass

                receivers = [asyncio.create_task(receive()) for _ in range(4)]
                for number in range(53):
                    await jobs.push(number)
                    await asyncio.sleep(0.0005)
                await asyncio.gather(*receivers)
                assert sorted([*received, *await jobs.items()]) == list(range(53))

        run(main)

    def test_a_thread_that_is_interrupted_takes_nothing(
        self, db: MemoryBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits = store._Waiter.waits  # pyright: ignore[reportPrivateUsage]

        def wait_and_be_interrupted(waiter: store._Waiter) -> bool:  # pyright: ignore[reportPrivateUsage]
            if waiter.taken:
                raise KeyboardInterrupt
            return waits(waiter)

        monkeypatch.setattr(store._Waiter, "waits", wait_and_be_interrupted)  # pyright: ignore[reportPrivateUsage]
        jobs = Queue[str]("jobs", db)
        thread = start(jobs.pop_wait)
        wait_until(lambda: waiting(db) == 1, "it waits")
        jobs.push("sweep")
        assert isinstance(thread.exception(PATIENCE), KeyboardInterrupt)
        assert jobs.items() == ["sweep"]

    def test_a_task_whose_loop_was_closed_is_passed_over(self, url: str, db: MemoryBackend, nobody_looks: None) -> None:
        jobs = Queue[str]("jobs", db)
        loop = asyncio.new_event_loop()
        forgotten = loop.create_task(result(AsyncQueue[str]("jobs", connect(url)).pop_wait))
        loop.run_until_complete(wait_for(db, 1))
        loop.close()
        next_in_line = start(jobs.pop_wait)
        wait_until(lambda: waiting(db) == 2, "both are in line")
        jobs.push("sweep")
        assert next_in_line.result(PATIENCE) == "sweep"
        assert waiting(db) == 0
        abandon(loop, forgotten)
        assert jobs.items() == []

    def test_what_was_handed_to_it_is_there_once_if_nobody_else_waits(self, url: str, db: MemoryBackend) -> None:
        jobs = Queue[str]("jobs", db)
        loop = asyncio.new_event_loop()
        forgotten = loop.create_task(result(AsyncQueue[str]("jobs", connect(url)).pop_wait))
        loop.run_until_complete(wait_for(db, 1))
        loop.close()
        jobs.push("sweep", "mop")
        assert jobs.items() == ["mop", "sweep"]
        abandon(loop, forgotten)
        assert jobs.items() == ["mop", "sweep"]

    def test_a_backend_is_closed_though_the_loop_of_who_waits_was_closed_before(
        self, url: str, db: MemoryBackend
    ) -> None:
        loop = asyncio.new_event_loop()
        adb = connect(url)
        forgotten = loop.create_task(result(AsyncQueue[str]("jobs", adb).pop_wait))
        loop.run_until_complete(wait_for(db, 1))
        loop.close()
        asyncio.run(adb.aclose())
        abandon(loop, forgotten)
        assert waiting(db) == 0


class TestBatches:
    def test_each_command_has_its_own_result_or_error(self, url: str, db: MemoryBackend) -> None:
        jobs, hits = Queue[int]("jobs", db), Counter[int]("hits", db)
        size = redisext.Pending(jobs.commands.push(5))
        wrong = redisext.Pending(Counter[int]("jobs", db).commands.incr())
        unknown = redisext.Pending(NO_SUCH_COMMAND)
        seen = redisext.Pending(hits.commands.incr())
        scripts = [redisext.Pending(incr_twice("hits")) for _ in range(2)]
        db.execute_many([size, wrong, unknown, seen, *scripts])
        assert (size.result(), seen.result()) == (1, 1)
        assert [one.result() for one in scripts] == [3, 5]
        with pytest.raises(WrongType, match="key 'jobs' holds a list, and INCRBY works on a string"):
            wrong.result()
        with pytest.raises(CommandRefused, match="the server refused NOSUCH on key 'key'"):
            unknown.result()

    def test_under_asyncio_too(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                hits = AsyncCounter[int]("hits", adb)
                with pytest.raises(BatchError) as failed:
                    await send_all(adb.batch(), hits.commands.incr(), NO_SUCH_COMMAND, hits.commands.incr())
                assert [command.op.name for command in failed.value.commands] == ["NOSUCH"]
                assert await hits.get() == 2

        run(main)

    def test_nobody_comes_in_between(self, db: MemoryBackend) -> None:
        hits = Counter[int]("hits", db)

        def count_up() -> set[int]:
            steps: set[int] = set()
            for _ in range(20):
                with db.batch() as batch:
                    seen = [batch.add(hits.commands.incr()) for _ in range(10)]
                steps.add(seen[-1].result() - seen[0].result())
            return steps

        assert at_once([count_up] * 4) == [{9}] * 4

    def test_what_reads_a_result_may_use_the_store(self, db: MemoryBackend) -> None:
        """It is read when the batch is through."""
        hits = Counter[int]("hits", db)
        command = Command(Op("INCR"), (b"visits",), (), lambda reply: (reply, hits.incr()))
        with db.batch() as batch:
            pending = batch.add(command)
        assert pending.result() == (1, 1)
        with db.transaction() as transaction:
            pending = transaction.add(command)
        assert pending.result() == (2, 2)


class TestTransactions:
    def test_all_is_carried_out_together(self, url: str, db: MemoryBackend) -> None:
        async def main() -> None:
            async with connect(url) as adb:
                stock = AsyncHashMap[str, int]("stock", adb)
                async with adb.transaction() as transaction:
                    left = transaction.add(stock.commands.incr("left", 3))
                    scripts = [transaction.add(incr_twice("hits")) for _ in range(2)]
                assert left.result() == 3
                assert [one.result() for one in scripts] == [2, 4]

        run(main)
        with db.transaction() as transaction:
            assert transaction.add(incr_twice("hits")) is not None
        assert Counter[int]("hits", db).get() == 6

    def test_one_that_fails_while_it_runs_leaves_the_others_done(self, db: MemoryBackend) -> None:
        jobs, hits = Queue[int]("jobs", db), Counter[int]("hits", db)
        size = redisext.Pending(jobs.commands.push(5))
        wrong = redisext.Pending(Counter[int]("jobs", db).commands.incr())
        seen = redisext.Pending(hits.commands.incr())
        with db.session() as session:
            assert session.commit([size, wrong, seen])
        assert (size.result(), seen.result()) == (1, 1)
        with pytest.raises(WrongType, match="key 'jobs' holds a list, and INCRBY works on a string"):
            wrong.result()

    def test_one_that_is_refused_unseen_keeps_all_from_being_carried_out(self, db: MemoryBackend) -> None:
        hits = Counter[int]("hits", db)
        before, after = redisext.Pending(hits.commands.incr()), redisext.Pending(hits.commands.incr())
        unknown = redisext.Pending(NO_SUCH_COMMAND)
        with db.session() as session:
            assert session.commit([before, unknown, after])
        for one in (before, after):
            with pytest.raises(CommandRefused, match="on key 'hits' was not carried out, nor was the rest"):
                one.result()
        with pytest.raises(CommandRefused, match="the server refused NOSUCH on key 'key': unknown command"):
            unknown.result()
        assert hits.get() is None

    @pytest.mark.parametrize("change", ["set", "deleted", "made"])
    def test_a_change_of_what_is_watched_begins_it_anew(self, db: MemoryBackend, change: str) -> None:
        note, made, hits = Map[str]("note", db), Map[str]("made", db), Counter[int]("hits", db)
        note.set("hello")
        changes: dict[str, Callable[[], object]] = {
            "set": partial(note.set, "goodbye"),
            "deleted": note.remove,
            "made": partial(made.set, "hello"),
        }
        seen: list[tuple[str | None, str | None]] = []

        def fn(transaction: Transaction) -> None:
            seen.append((transaction.read(note.commands.get()), transaction.read(made.commands.get())))
            if len(seen) == 1:
                changes[change]()
            transaction.add(hits.commands.incr())

        db.transact(fn, watch=[note, made])
        assert len(seen) == 2
        assert seen[0] != seen[1]
        assert hits.get() == 1

    def test_a_key_that_expires_while_it_is_watched_begins_it_anew(
        self, url: str, db: MemoryBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note, hits = Map[str]("note", db), Counter[int]("hits", db)
        seen: list[str | None] = []

        def fn(transaction: Transaction) -> None:
            seen.append(transaction.read(note.commands.get()))
            let_an_hour_pass(monkeypatch)
            transaction.add(hits.commands.incr())

        async def afn(transaction: AsyncTransaction) -> None:
            seen.append(await transaction.read(note.commands.get()))
            let_an_hour_pass(monkeypatch)
            transaction.add(hits.commands.incr())

        async def main() -> None:
            async with connect(url) as adb:
                await adb.transact(afn, watch=[note])

        for transact in (partial(db.transact, fn, watch=[note]), partial(run, main)):
            seen.clear()
            note.set("hello")
            note.expire(60)
            transact()
            assert seen == ["hello", None]
        assert hits.get() == 2

    def test_what_has_not_expired_is_no_reason_to_begin_anew(self, db: MemoryBackend) -> None:
        note, hits = Map[str]("note", db), Counter[int]("hits", db)
        note.set("hello")
        note.expire(60)
        seen: list[str | None] = []

        def fn(transaction: Transaction) -> None:
            seen.append(transaction.read(note.commands.get()))
            transaction.add(hits.commands.incr())

        db.transact(fn, watch=[note, "another, which does not exist"])
        assert seen == ["hello"]

    def test_after_a_conflict_the_session_can_be_used_on(
        self, db: MemoryBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note, hits = Map[str]("note", db), Counter[int]("hits", db)
        note.set("hello")
        note.expire(60)
        with db.session([b"note"]) as session:
            let_an_hour_pass(monkeypatch)
            pending = redisext.Pending(hits.commands.incr())
            assert not session.commit([pending])
            assert session.execute(hits.commands.get()) is None
        assert not pending.done

    def test_nobody_sells_what_is_not_there(self, url: str, db: MemoryBackend) -> None:
        stock = Map[int]("stock", db)
        stock.set(20)

        def sell(transaction: Transaction) -> bool:
            left = transaction.read(stock.commands.get()) or 0
            transaction.add(stock.commands.set(left - 1 if left else 0))
            return left > 0

        async def asell(transaction: AsyncTransaction) -> bool:
            left = await transaction.read(stock.commands.get()) or 0
            transaction.add(stock.commands.set(left - 1 if left else 0))
            return left > 0

        def sell_in_thread() -> int:
            return sum(db.transact(sell, watch=[stock], attempts=1_000) for _ in range(5))

        async def sell_in_tasks() -> int:
            async with connect(url) as adb:
                sales = (adb.transact(asell, watch=[stock], attempts=1_000) for _ in range(5))
                return sum(await asyncio.gather(*sales))

        sold = at_once([sell_in_thread, lambda: run(sell_in_tasks)] * 3)
        assert sum(sold) == 20
        assert stock.get() == 0

    def test_an_interrupt_that_ends_the_watching_ends_the_transaction(
        self, db: MemoryBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note, hits = Map[str]("note", db), Counter[int]("hits", db)

        def interrupted(words: Words) -> list[bytes]:
            raise KeyboardInterrupt

        def fn(transaction: Transaction) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(store, "_written", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    transaction.read(note.commands.get())
            note.set("changed")
            transaction.add(hits.commands.incr())

        with pytest.raises(Conflict):
            db.transact(fn, watch=[note], attempts=1)
        assert hits.get() is None

    def test_nothing_is_left_open_however_it_ends(self, url: str, engine: fakeredis.FakeServer) -> None:
        def fail(transaction: Transaction) -> None:
            raise ZeroDivisionError

        async def hang(transaction: AsyncTransaction) -> None:
            assert sessions(engine) == before + 1
            entered.set()
            await asyncio.Event().wait()

        entered = asyncio.Event()

        async def main() -> None:
            async with connect(url) as adb:
                task = asyncio.create_task(adb.transact(hang, watch=["note"]))
                await entered.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert sessions(engine) == before

        with redisext.connect(url) as db:
            assert isinstance(db, MemoryBackend)
            pool = db._store._client.connection_pool  # pyright: ignore[reportPrivateUsage]
            in_use = len(vars(pool)["_in_use_connections"])
            before = sessions(engine)
            with pytest.raises(ZeroDivisionError):
                db.transact(fail, watch=["note"])
            for key in ("note", "other"):
                with db.session([key.encode()]):
                    assert sessions(engine) == before + 1
            run(main)
            assert sessions(engine) == before
            assert len(vars(pool)["_in_use_connections"]) == in_use

    def test_one_that_follows_watches_nothing_that_another_has(self, db: MemoryBackend) -> None:
        note, hits = Map[str]("note", db), Counter[int]("hits", db)
        with db.session([b"note"]):
            pass
        with db.session() as session:
            note.set("changed")
            pending = redisext.Pending(hits.commands.incr())
            assert session.commit([pending])
            assert pending.result() == 1


def test_the_engine_is_asked_once_for_all_who_wait_for_one_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thousand who wait would take a million questions."""
    asked = 0

    async def main() -> None:
        nonlocal asked
        async with redisext.aconnect(url) as adb, asyncio.TaskGroup() as group:
            jobs = AsyncQueue[int]("jobs", adb)
            assert isinstance(adb, AsyncMemoryBackend)
            line = adb._store.line  # pyright: ignore[reportPrivateUsage]
            answers = line.answers

            def counted(words: Sequence[Words]) -> Sequence[Answer]:
                nonlocal asked
                asked += 1
                return answers(words)

            monkeypatch.setattr(line, "answers", counted)
            takers = [group.create_task(jobs.pop_wait(PATIENCE)) for _ in range(200)]
            await jobs.push(*range(200))
            assert sorted(filter(None, [await taker for taker in takers])) == list(range(1, 200))

    monkeypatch.setattr(store, "_LOOK_AGAIN", 10 * PATIENCE)
    asyncio.run(main())
    assert asked < 2_000
