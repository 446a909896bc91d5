"""What all models share, whatever they hold."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from typing import cast

import pytest

from redisext import (
    NOTHING,
    AsyncBackend,
    AsyncCounter,
    AsyncHashMap,
    AsyncMap,
    AsyncPool,
    AsyncPriorityQueue,
    AsyncQueue,
    AsyncSortedSet,
    AsyncStack,
    BackendClosed,
    CommandRefused,
    ConfigurationError,
    Counter,
    DecodeError,
    HashMap,
    Map,
    Nothing,
    OutcomeUnknown,
    PriorityQueue,
    Queue,
    SortedSet,
    aconnect,
    connect,
    errors,
)
from redisext.backend.abc import Backend
from redisext.backend.memory import MemoryBackend
from redisext.command import Reply
from redisext.element import parametrize
from redisext.key import KeyCommands
from redisext.model import Model
from redisext.reply import array, bulk, bulks, integer, number, optional_bulk
from tests.faces import InThreads


class TestKey:
    def test_none_at_all_is_refused(self, db: Backend) -> None:
        with pytest.raises(
            ConfigurationError, match=r"Queue\[int\] has no key: pass one, (Async)?Queue\[int\]\('key'\), or set"
        ):
            Queue[int](connection=db)

    @pytest.mark.parametrize("key", ["", b""], ids=repr)
    def test_an_empty_one_is_none(self, db: Backend, key: str | bytes) -> None:
        with pytest.raises(ConfigurationError, match="has no key"):
            Queue[int](key, db)

    def test_a_number_is_one_as_in_2_0_2(self, db: Backend) -> None:
        assert Map[str](0, db).set("zero")
        assert db.execute(Map[str]("0", db).commands.get()) == "zero"

    def test_it_is_not_changed_afterwards(self, db: Backend) -> None:
        queue = Queue[int]("jobs", db)
        with pytest.raises(AttributeError):
            queue.key = "others"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


class TestConnection:
    @pytest.mark.parametrize("connection", [5, int, {"password": "sesame"}], ids=["number", "class", "settings"])
    def test_what_is_none_is_refused_and_not_repeated(self, connection: object) -> None:
        with pytest.raises(ConfigurationError, match="a DSN, a backend or a Connection class") as caught:
            Queue[int]("jobs", cast("Backend", connection))
        assert "sesame" not in str(caught.value)

    def test_connect_takes_a_dsn_only(self) -> None:
        with pytest.raises(ConfigurationError, match=r"named by its DSN, as in .*, not by a int"):
            connect(cast("str", 5))

    def test_a_serializer_without_its_methods_is_refused_with_the_class(self) -> None:
        with pytest.raises(ConfigurationError, match=r"Jobs.SERIALIZER has no encode and decode"):

            class Jobs(Queue[int]):  # pyright: ignore[reportUnusedClass]
                SERIALIZER = "json"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class TestModel:
    def test_the_base_itself_is_a_handle_on_any_key(self, db: Backend) -> None:
        Queue[int]("jobs", db).push(1)
        anything = Model("jobs", db)
        assert type(anything.commands) is KeyCommands
        assert anything.exists() is True
        assert anything.expire(60) is True
        assert anything.ttl() == 60
        assert anything.persist() is True
        assert anything.rename("{jobs}done") is True
        assert Queue[int]("{jobs}done", db).items() == [1]
        assert anything.exists() is False

    def test_it_is_neither_pickled_nor_copied(self, db: Backend) -> None:
        queue = Queue[int]("jobs", db)
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"a Queue\[int\] is neither copied nor pickled"):
                attempt(queue)

    def test_its_representation_names_where_its_data_is(self) -> None:
        with connect("memory://shown", prefix="app:") as there:
            assert repr(Queue[int]("jobs", there)) == "Queue[int]('jobs', <MemoryBackend memory://shown prefix='app:'>)"
        with connect("redis://h:1", prefix="app:") as there:
            assert repr(there) == "<RedisBackend redis://h:1/0 prefix='app:'>"

    def test_one_class_is_made_however_many_threads_ask_for_it(self) -> None:
        class Event:
            pass

        made: list[object] = []
        start = threading.Barrier(8)

        def ask() -> None:
            start.wait()
            made.append(parametrize(Queue, Event))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 8
        assert len(set(map(id, made))) == 1


class TestUnderAsyncio:
    def test_a_model_on_a_dsn_is_at_home_in_every_loop(self) -> None:
        jobs = AsyncQueue[int]("jobs", "memory://loops")

        async def push(number: int) -> tuple[int, AsyncBackend]:
            size = await jobs.push(number)
            assert jobs.backend is AsyncQueue[int]("others", "memory://loops").backend
            return size, jobs.backend

        (one, here), (two, there) = asyncio.run(push(1)), asyncio.run(push(2))
        assert (one, two) == (1, 2)
        assert here is not there
        assert repr(jobs) == "AsyncQueue[int]('jobs', 'memory://loops')"

    def test_outside_of_one_it_says_that_there_is_none(self) -> None:
        jobs = AsyncQueue[int]("jobs", "memory://loops")
        with pytest.raises(ConfigurationError, match=r"AsyncQueue\[int\]\('jobs', .*none is running here"):
            _ = jobs.backend

    def test_its_connection_can_stand_on_the_class(self) -> None:
        class Jobs(AsyncQueue[int]):
            KEY = "jobs"
            CONNECTION = "memory://async-class"

        async def push() -> int:
            return await Jobs().push(5)

        assert asyncio.run(push()) == 1

    def test_a_backend_is_taken_as_it_is(self) -> None:
        adb = aconnect("memory://taken", prefix="app:")
        jobs = AsyncQueue[int]("jobs", adb)
        assert jobs.backend is adb
        assert repr(jobs) == "AsyncQueue[int]('jobs', <AsyncMemoryBackend memory://taken prefix='app:'>)"
        assert jobs.commands.key == b"app:jobs"

    def test_the_client_behind_is_handed_out(self) -> None:
        async def ask() -> list[Reply]:
            async with aconnect("memory://client-behind") as adb:
                jobs = AsyncQueue[str]("jobs", adb)
                await jobs.push("mop")
                assert jobs.connect_to_slave() is jobs.connect_to_master()
                async with jobs.connect_to_master().pipeline() as pipeline:
                    pipeline.execute_command("LRANGE", "jobs", 0, -1)
                    return await pipeline.execute()

        assert asyncio.run(ask()) == [[b"mop"]]

    def test_a_backend_without_one_says_so(self) -> None:
        jobs = AsyncQueue[int]("jobs", InThreads(connect("memory://no-client")))
        for ask in (jobs.connect_to_master, jobs.connect_to_slave):
            with pytest.raises(ConfigurationError, match="has no redis-py client behind it"):
                ask()

    def test_each_face_names_the_other_for_a_backend_of_its_kind(self) -> None:
        with pytest.raises(ConfigurationError, match="not a backend for asyncio: the structures whose names do not"):
            AsyncQueue[int]("jobs", cast("AsyncBackend", connect("memory://")))
        with pytest.raises(ConfigurationError, match="is a backend for asyncio: the structures whose names begin with"):
            Queue[int]("jobs", cast("Backend", aconnect("memory://")))

    @pytest.mark.parametrize("connection", [5, int, {"password": "sesame"}], ids=["number", "class", "settings"])
    def test_what_is_no_connection_is_refused_and_not_repeated(self, connection: object) -> None:
        with pytest.raises(ConfigurationError, match="a DSN, a backend or a Connection class") as caught:
            AsyncQueue[int]("jobs", cast("AsyncBackend", connection))
        assert "sesame" not in str(caught.value)

    @pytest.mark.parametrize(
        ("made", "written"),
        [
            (AsyncCounter.of(float), AsyncCounter[float]),
            (AsyncHashMap.of(str, int), AsyncHashMap[str, int]),
            (AsyncMap.of(int), AsyncMap[int]),
            (AsyncPool.of(int), AsyncPool[int]),
            (AsyncPriorityQueue.of(int), AsyncPriorityQueue[int]),
            (AsyncQueue.of(int), AsyncQueue[int]),
            (AsyncSortedSet.of(int), AsyncSortedSet[int]),
            (AsyncStack.of(int), AsyncStack[int]),
        ],
        ids=lambda kind: str(kind.__name__),
    )
    def test_of_gives_the_class_that_brackets_give(self, made: object, written: object) -> None:
        assert made is written


class TestNothing:
    def test_it_is_false_and_shows_its_name(self) -> None:
        assert not NOTHING
        assert repr(NOTHING) == "NOTHING"

    def test_it_can_itself_be_stored(self, db: Backend) -> None:
        chosen = HashMap[str, Nothing]("chosen", db)
        chosen["a"] = NOTHING
        assert chosen["a"] is NOTHING
        assert chosen.pop("a") is NOTHING


class TestTaken:
    """What was taken and cannot be read is on the error, all of it."""

    def test_of_a_pair_both_are(self, db: Backend) -> None:
        HashMap[bytes, bytes]("pairs", db)[b"k"] = b"v"
        with pytest.raises(DecodeError) as caught:
            HashMap[int, bytes]("pairs", db).popitem()
        assert caught.value.raw == b"k"
        assert caught.value.taken == (b"k", b"v")

    @pytest.mark.parametrize("wait", [False, True], ids=["pop", "pop_wait"])
    def test_of_an_item_its_priority_too(self, db: Backend, *, wait: bool) -> None:
        SortedSet[bytes]("tasks", db).add(b"x", 2.5)
        tasks = PriorityQueue[int]("tasks", db)
        with pytest.raises(DecodeError) as caught:
            tasks.pop_wait(1) if wait else tasks.pop()
        assert caught.value.taken == (b"x", b"2.5")


class TestView:
    def test_a_pair_is_looked_for_in_one_command(self, db: Backend) -> None:
        stock = HashMap[str, int]("stock", db)
        stock["apples"] = 3
        assert ("apples", 3) in stock.items()
        assert ("apples", 4) not in stock.items()
        assert ("pears", 3) not in stock.items()
        for pair in cast("list[tuple[str, int]]", [(5, 3), "apples", ("apples", 3, 3)]):
            assert pair not in stock.items()
        assert stock.items() & {("apples", 3), ("pears", 1)} == {("apples", 3)}


class TestErrors:
    def test_an_unknown_outcome_comes_from_another_process_as_it_was(self, db: Backend) -> None:
        command = Counter[int]("hits", db).commands.incr(2)
        error = pickle.loads(pickle.dumps(OutcomeUnknown("nobody knows", command)))
        assert str(error) == "nobody knows"
        assert error.command == command
        assert error.command.read(3) == 3

    def test_a_value_of_any_length_is_shown_in_short(self) -> None:
        assert errors.shown("x" * 1000) == "'" + "x" * 79 + "..."
        assert errors.shown(10**5000) == "a very large int"

    def test_a_command_after_the_end_says_so(self) -> None:
        db = connect("memory://ended")
        queue = Queue[int]("jobs", db)
        db.close()
        with pytest.raises(BackendClosed, match="connect again"):
            queue.push(1)


class TestReplies:
    """A backend that decodes replies by itself is told so."""

    @pytest.mark.parametrize("read", [integer, bulk, bulks, optional_bulk, number, array])
    def test_one_of_another_shape_is_refused(self, read: Callable[[Reply], object]) -> None:
        wrong: Reply = "text"
        with pytest.raises(CommandRefused, match="and got 'text'; a backend must give replies as RESP2 has them"):
            read(wrong)

    def test_one_of_another_shape_among_others_is_refused(self) -> None:
        with pytest.raises(CommandRefused, match="expected a bulk string and got 'text'"):
            bulks([b"a", "text", b"b"])


class TestEmbeddedEngine:
    def test_a_command_in_the_midst_of_another_is_refused_instead_of_waiting_for_ever(self) -> None:
        with connect("memory://reentered") as db:
            assert isinstance(db, MemoryBackend)
            queue = Queue[int]("jobs", db)
            command = queue.commands.push(1)

            # As it is while another command of this thread is under way.
            alone = db._store._alone()  # pyright: ignore[reportPrivateUsage]
            with alone, pytest.raises(CommandRefused, match="in the midst of another"):
                db.execute(command)
            assert queue.items() == []
