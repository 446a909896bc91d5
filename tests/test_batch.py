"""Many commands at once: batches and transactions, of both faces, on each kind of backend."""

from __future__ import annotations

import asyncio
import pickle
import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from threading import Event as Signal
from typing import Any

import pytest

import redisext
from redisext import AsyncCounter, Backend, Counter, HashMap, Lock, Map, Queue
from redisext.batch import (
    CHUNK_BYTES,
    CHUNK_COMMANDS,
    AsyncBatch,
    AsyncTransaction,
    Batch,
    Pending,
    Transaction,
    Watchable,
)
from redisext.command import Command, Op, Reply, Script, Steps
from redisext.errors import (
    ArgumentError,
    BackendClosed,
    BatchError,
    CommandRefused,
    ConfigurationError,
    Conflict,
    DecodeError,
    NotBatchable,
    NotReady,
    RedisextError,
    WrongType,
)
from redisext.reply import done
from tests.blocks import DRIVERS, Added, Block, Driver, Kind, add_all, chunks, no_steps, reading
from tests.servers import RedisServer
from tests.threads import PATIENCE, at_once, start
from tests.watching import send

NAMES = count()

LARGEST = 2**63 - 1

kinds = pytest.mark.parametrize("kind", ["batch", "transaction"])


@dataclass
class Event:
    name: str
    size: int = 0


@pytest.fixture(params=["embedded", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty store on each kind of backend."""
    if request.param == "embedded":
        return f"memory://batch-{next(NAMES)}"
    server: RedisServer = request.getfixturevalue("server")
    server.call("FLUSHALL")
    return server.url


@pytest.fixture
def db(url: str) -> Iterator[Backend]:
    """What models are made with, and somebody else's connection to the same data."""
    with redisext.connect(url) as db:
        yield db


@pytest.fixture(params=list(DRIVERS))
def driver(request: pytest.FixtureRequest, url: str) -> Iterator[Driver]:
    """The backend under test."""
    driver = DRIVERS[request.param](url)
    yield driver
    driver.end()


class TestResults:
    @kinds
    def test_each_command_has_its_own_result_of_its_own_type(self, driver: Driver, db: Backend, kind: Kind) -> None:
        jobs, hits, best = Queue[Event]("jobs", db), Counter[int]("hits", db), Map[float]("best", db)
        stock = HashMap[str, int]("stock", db)

        def fill(block: Block) -> Callable[[], tuple[object, ...]]:
            size: Pending[int] = block.add(jobs.commands.push(Event("signup", 1), Event("login", 2)))
            seen: Pending[int] = block.add(hits.commands.incr(5))
            first: Pending[Event | None] = block.add(jobs.commands.pop())
            nothing: Pending[float | None] = block.add(best.commands.get())
            put: Pending[bool] = block.add(best.commands.set(0.5))
            left: Pending[dict[str, int]] = block.add(stock.commands.all())
            again: Pending[int] = block.add(hits.commands.incr())
            every = size, seen, first, nothing, put, left, again
            return lambda: tuple(one.result() for one in every)

        assert driver.fill(kind, fill)() == (2, 5, Event("signup", 1), None, True, {}, 6)
        assert hits.get() == 6

    @kinds
    def test_commands_are_carried_out_in_order(self, driver: Driver, db: Backend, kind: Kind) -> None:
        hits = Counter[int]("hits", db)
        pending = driver.fill(kind, add_all([hits.commands.incr() for _ in range(2_500)]))
        assert [one.result() for one in pending] == list(range(1, 2_501))

    @kinds
    def test_nothing_is_done_before_the_block_ends(self, driver: Driver, db: Backend, kind: Kind) -> None:
        hits = Counter[int]("hits", db)

        def fill(block: Block) -> Pending[int]:
            pending = block.add(hits.commands.incr())
            assert hits.get() is None
            assert not pending.done
            assert pending.error is None
            with pytest.raises(
                NotReady,
                match=r"^<Pending INCRBY on key 'hits'> has no result: its batch or transaction is not carried out "
                "before the block ends$",
            ):
                pending.result()
            return pending

        pending = driver.fill(kind, fill)
        assert pending.done
        assert pending.error is None
        assert pending.result() == pending.result() == hits.get() == 1

    @kinds
    def test_a_block_may_be_empty(self, driver: Driver, kind: Kind) -> None:
        assert driver.fill(kind, lambda _: "filled") == "filled"

    @kinds
    def test_what_is_shown_of_it_holds_no_value(self, driver: Driver, db: Backend, kind: Kind) -> None:
        name = Map[str]("name", db)

        def fill(block: Block) -> Pending[bool]:
            pending = block.add(name.commands.set("s3cret"))
            assert repr(block) == f"<{type(block).__name__} of 1 commands on {driver.db!r}>"
            return pending

        assert repr(driver.fill(kind, fill)) == "<Pending SET on key 'name'>"

    @kinds
    def test_none_is_a_result(self, driver: Driver, db: Backend, kind: Kind) -> None:
        [pending] = driver.fill(kind, add_all([Map[str]("name", db).commands.get()]))
        assert pending.done
        assert pending.result() is None

    @kinds
    def test_scripts_keep_their_place_and_need_not_be_known(self, driver: Driver, db: Backend, kind: Kind) -> None:
        stock = HashMap[str, int]("stock", db)
        for _ in range(2):
            stock.update(apples=3)
            send(db, "SCRIPT", "FLUSH")
            pending = driver.fill(
                kind,
                add_all(
                    [
                        stock.commands.pop("apples", -1),
                        stock.commands.size(),
                        stock.commands.setdefault("apples", 5),
                        stock.commands.pop("apples", -1),
                        stock.commands.set("apples", 7),
                        stock.commands.setdefault("apples", 9),
                        stock.commands.pop("apples", -1),
                        stock.commands.pop("apples", -1),
                    ]
                ),
            )
            assert [one.result() for one in pending] == [3, 0, 5, 5, True, 7, 7, -1]


def spoiled(db: Backend) -> list[Command[object]]:
    """Commands on an empty store of which every other one fails, in three ways."""
    send(db, "RPUSH", "jobs", "s3cret", "2")
    Counter[int]("hits", db).set(LARGEST)
    Map[str]("name", db).set("Ada")
    jobs, hits, fine = Queue[int]("jobs", db), Counter[int]("hits", db), Counter[int]("fine", db)
    return [
        jobs.commands.pop(),
        hits.commands.incr(),
        fine.commands.incr(),
        Queue[str]("name", db).commands.push("s3cret"),
        fine.commands.incr(),
        jobs.commands.pop(),  # what does not decode was still taken
        jobs.commands.pop(),
    ]


class TestFailures:
    @kinds
    def test_one_that_fails_does_not_lose_the_results_of_the_others(
        self, driver: Driver, db: Backend, kind: Kind
    ) -> None:
        added = Added(*spoiled(db))
        with pytest.raises(BatchError):
            driver.fill(kind, added)
        results = [one.result() if one.error is None else type(one.error) for one in added.pending]
        # The newest, at the head, was "s3cret": RPOP takes "2" first.
        assert results == [2, CommandRefused, 1, WrongType, 2, DecodeError, None]
        assert all(one.done for one in added.pending)
        for one in added.pending:
            if one.error is not None:
                with pytest.raises(type(one.error)) as failed:
                    one.result()
                assert failed.value is one.error
        undecoded = added.pending[5].error
        assert isinstance(undecoded, DecodeError)
        assert (undecoded.raw, undecoded.key) == (b"s3cret", "jobs")
        assert str(added.pending[3].error) == (
            "key 'name' holds a string, and LPUSH works on a list: another structure uses the same key"
        )

    @kinds
    def test_one_error_at_the_end_names_each_command_and_no_value(
        self, driver: Driver, db: Backend, kind: Kind
    ) -> None:
        commands = spoiled(db)
        with pytest.raises(BatchError) as failed:
            driver.fill(kind, add_all(commands))
        error = failed.value
        assert isinstance(error, RedisextError)
        assert isinstance(error, ExceptionGroup)
        assert error.message == (
            f"3 of 7 commands of the {kind} failed: INCRBY on key 'hits' (CommandRefused), "
            "LPUSH on key 'name' (WrongType), RPOP on key 'jobs' (DecodeError)"
        )
        assert "s3cret" not in str(error)
        assert [type(one) for one in error.exceptions] == [CommandRefused, WrongType, DecodeError]
        assert error.commands == (commands[1], commands[3], commands[5])
        assert all(one.__cause__ is not None for one in error.exceptions)

    def test_at_most_five_are_named(self, driver: Driver, db: Backend) -> None:
        Map[str]("name", db).set("Ada")
        wrong = Queue[int]("name", db).commands
        for number, rest in ((5, ""), (6, " and 1 more"), (1_505, " and 1,500 more")):
            with pytest.raises(BatchError) as failed:
                driver.fill("batch", add_all([wrong.push(one) for one in range(number)]))
            named = ", ".join(["LPUSH on key 'name' (WrongType)"] * 5)
            assert failed.value.message == (f"{number:,} of {number:,} commands of the batch failed: {named}{rest}")
            assert len(failed.value.exceptions) == len(failed.value.commands) == number

    @kinds
    def test_except_star_takes_it_apart(self, driver: Driver, db: Backend, kind: Kind) -> None:
        commands = spoiled(db)
        caught: list[ExceptionGroup[WrongType]] = []

        def fill() -> None:
            try:
                driver.fill(kind, add_all(commands))
            except* WrongType as wrong:
                caught.append(wrong)

        with pytest.raises(BatchError) as rest:
            fill()
        [wrong] = caught
        assert isinstance(wrong, BatchError)
        assert wrong.commands == (commands[3],)
        assert [type(one) for one in rest.value.exceptions] == [CommandRefused, DecodeError]
        assert rest.value.commands == (commands[1], commands[5])

    def test_it_is_taken_apart_with_the_commands_of_a_common_error(self, url: str, db: Backend) -> None:
        """Those of a closed backend, for one, all have the same."""
        db.close()
        hits, name = Counter[int]("hits", db), Map[str]("name", db)
        commands: list[Command[object]] = [hits.commands.incr(), name.commands.get(), hits.commands.get()]
        with pytest.raises(BatchError) as failed, db.batch() as batch:
            add_all(commands)(batch)
        matching, _ = failed.value.split(BackendClosed)
        assert isinstance(matching, BatchError)
        assert matching.commands == tuple(commands)

    def test_its_representation_shows_no_value(self, driver: Driver, db: Backend) -> None:
        with pytest.raises(BatchError) as failed:
            driver.fill("batch", add_all(spoiled(db)))
        assert "s3cret" not in repr(failed.value)
        assert not any("s3cret" in repr(one) for one in failed.value.exceptions if not isinstance(one, DecodeError))
        assert len(repr(DecodeError(b"x" * 100_000, "int"))) < 500

    def test_it_survives_a_pickle(self, driver: Driver, db: Backend) -> None:
        with pytest.raises(BatchError) as failed:
            driver.fill("batch", add_all(spoiled(db)))
        there = pickle.loads(pickle.dumps(failed.value))
        assert there.message == failed.value.message
        assert there.commands == failed.value.commands

    @kinds
    def test_a_closed_backend_is_the_error_of_each(self, driver: Driver, db: Backend, kind: Kind) -> None:
        added = Added(Counter[int]("hits", db).commands.incr(), Map[str]("name", db).commands.get())
        driver.close()
        with pytest.raises(BatchError, match=r"^2 of 2 commands") as failed:
            driver.fill(kind, added)
        assert {type(one) for one in failed.value.exceptions} == {BackendClosed}
        with pytest.raises(BackendClosed, match="was closed; connect again"):
            added.pending[0].result()
        assert driver.fill(kind, lambda _: 5) == 5

    def test_a_closed_backend_transacts_nothing(self, driver: Driver, db: Backend) -> None:
        driver.close()
        with pytest.raises(BackendClosed):
            driver.transact(lambda tx: no_steps(None), watch=["hits"])


class TestWhatIsAdded:
    @kinds
    def test_what_waits_on_the_server_is_refused(self, driver: Driver, db: Backend, kind: Kind) -> None:
        jobs = Queue[str]("jobs", db)

        def fill(block: Block) -> None:
            for timeout in (1, None):
                with pytest.raises(
                    NotBatchable, match=f"^BRPOP waits on the server, and would hold up the whole {kind}$"
                ):
                    block.add(jobs.commands.pop_wait(timeout))

        driver.fill(kind, fill)

    @kinds
    def test_what_does_not_wait_after_all_is_taken(self, driver: Driver, db: Backend, kind: Kind) -> None:
        jobs = Queue[str]("jobs", db)
        jobs.push("sweep")
        pending = driver.fill(kind, add_all([jobs.commands.pop_wait(0), jobs.commands.pop_wait(0)]))
        assert [one.result() for one in pending] == ["sweep", None]

    @kinds
    def test_what_takes_several_round_trips_is_refused_and_ended(self, driver: Driver, db: Backend, kind: Kind) -> None:
        steps = [
            Map[int]("best", db).commands.update(lambda old: 1),
            Lock("nightly", db).commands.acquire_wait("token", None, 1.0),
        ]

        def fill(block: Block) -> None:
            for one in steps:
                with pytest.raises(NotBatchable, match="takes more than one round trip"):
                    block.add(one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                with pytest.raises(StopIteration):
                    next(one)

        driver.fill(kind, fill)

    @kinds
    def test_what_is_no_command_is_told_what_is(self, driver: Driver, db: Backend, kind: Kind) -> None:
        hits = Counter[int]("hits", db)

        async def fetch() -> int:
            return 5

        def fill(block: Block) -> None:
            for what in (5, hits, hits.commands, fetch(), fetch, block, db.batch(), None, "INCR"):
                with pytest.raises(
                    ArgumentError,
                    match=r"^what is added is a command, as a model's `commands` describe it "
                    rf"\(batch\.add\(jobs\.commands\.pop\(\)\)\), not {re.escape(type(what).__name__)}$",
                ):
                    block.add(what)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        driver.fill(kind, fill)


class TestABlockLeftByAnException:
    @kinds
    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, asyncio.CancelledError, SystemExit])
    def test_nothing_is_sent_and_it_passes_as_it_is(
        self, driver: Driver, db: Backend, kind: Kind, error: type[BaseException]
    ) -> None:
        hits = Counter[int]("hits", db)
        added = Added(hits.commands.incr(), hits.commands.incr())
        raised = error("mine")
        blocks: list[Block] = []

        def fill(block: Block) -> None:
            blocks.append(block)
            added(block)
            raise raised

        with pytest.raises(error) as passed:
            driver.fill(kind, fill)
        assert passed.value is raised or error is asyncio.CancelledError  # which asyncio makes anew
        for one in added.pending:
            assert not one.done
            with pytest.raises(NotReady, match=f"its block was left by {error.__name__}, so nothing was sent$"):
                one.result()
        with pytest.raises(ConfigurationError):
            added(blocks[0])
        assert hits.get() is None
        assert driver.fill(kind, lambda block: block.add(hits.commands.incr())).result() == 1


class TestMisuse:
    """Of a block's time, and of its place."""

    OUTSIDE = "takes commands inside of its 'with' block only$"
    TWICE = "is used once, and not inside of itself: make another$"

    def test_a_block_takes_nothing_outside_of_itself(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        for block in (db.batch(), db.transaction()):
            with pytest.raises(ConfigurationError, match=self.OUTSIDE):
                block.add(hits.commands.incr())
            with block:
                pass
            with pytest.raises(ConfigurationError, match=self.OUTSIDE):
                block.add(hits.commands.incr())

    def test_a_block_is_entered_once(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        for block in (db.batch(), db.transaction()):
            with block:
                block.add(hits.commands.incr())
            with pytest.raises(ConfigurationError, match=self.TWICE), block:
                pytest.fail("it was entered")
        assert hits.get() == 2

    def test_a_block_does_not_stand_in_itself(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)

        def use(block: Batch | Transaction) -> None:
            with block:
                block.add(hits.commands.incr())
                with block:
                    pytest.fail("it was entered")

        for block in (db.batch(), db.transaction()):
            with pytest.raises(ConfigurationError, match=self.TWICE):
                use(block)
        assert hits.get() is None

    def test_under_asyncio_neither(self, url: str, db: Backend) -> None:
        hits = Counter[int]("hits", db)

        async def use(block: AsyncBatch | AsyncTransaction) -> None:
            with pytest.raises(ConfigurationError, match=self.OUTSIDE):
                block.add(hits.commands.incr())
            async with block:
                block.add(hits.commands.incr())
            with pytest.raises(ConfigurationError, match=self.OUTSIDE):
                block.add(hits.commands.incr())
            with pytest.raises(ConfigurationError, match=self.TWICE):
                async with block:
                    pytest.fail("it was entered")

        async def use_inside(block: AsyncBatch | AsyncTransaction) -> None:
            async with block:
                block.add(hits.commands.incr())
                async with block:
                    pytest.fail("it was entered")

        async def main() -> None:
            async with redisext.aconnect(url) as adb:
                for block in (adb.batch, adb.transaction):
                    await use(block())
                    with pytest.raises(ConfigurationError, match=self.TWICE):
                        await use_inside(block())

        asyncio.run(main())
        assert hits.get() == 2

    def test_blocks_may_stand_in_one_another(self, db: Backend, url: str) -> None:
        hits = Counter[int]("hits", db)
        with db.batch() as outer:
            first = outer.add(hits.commands.incr())
            with db.transaction() as inner:
                second = inner.add(hits.commands.incr(10))
            assert second.result() == 10
            assert not first.done
        assert first.result() == 11

        async def main() -> None:
            async with redisext.aconnect(url) as adb, adb.batch() as outer:
                first = outer.add(hits.commands.incr())
                async with adb.batch() as inner:
                    second = inner.add(hits.commands.incr(10))
                assert second.result() == 21
                assert not first.done

        asyncio.run(main())
        assert hits.get() == 22

    @kinds
    def test_a_command_for_other_data_is_refused(self, driver: Driver, url: str, db: Backend, kind: Kind) -> None:
        host, slash, _ = url.rpartition("/")
        others = (
            [f"{url}-other", "memory://"]
            if url.startswith("memory:")
            else [f"{host}{slash}1", url.replace("127.0.0.1", "other.example"), "memory://", "unix:///tmp/other.sock"]
        )
        hits = Counter[int]("hits", db)
        for other in others:
            with redisext.connect(other) as elsewhere:
                foreign = Counter[int]("best", elsewhere)
                assert elsewhere.location != driver.db.location
                with pytest.raises(ConfigurationError) as refused:
                    driver.fill(kind, add_all([hits.commands.incr(), foreign.commands.incr()]))
                assert str(refused.value) == (
                    f"INCRBY on key 'best' is for the data at {elsewhere.location}, and this {kind} for those at "
                    f"{driver.db.location}: one {kind} works on one server"
                )
        assert hits.get() is None

    @kinds
    def test_a_command_for_the_same_data_by_another_way_is_taken(
        self, driver: Driver, url: str, db: Backend, kind: Kind
    ) -> None:
        class Hits(Counter[int]):
            CONNECTION = url
            KEY = "hits"

        with redisext.connect(url, client_name="another") as another:
            commands: list[Command[object]] = [
                Hits().commands.incr(),
                Counter[int]("hits", another).commands.incr(),
                Counter[int]("hits", db.primary).commands.incr(),
                AsyncCounter[int]("hits", url).commands.incr(),
                Command(Op("INCR"), (b"hits",), (), lambda reply: reply),  # one of the user's own, for anywhere
            ]
            assert [one.result() for one in driver.fill(kind, add_all(commands))] == [1, 2, 3, 4, 5]

    @kinds
    def test_a_prefix_is_in_the_keys(self, url: str, db: Backend, kind: Kind) -> None:
        with redisext.connect(url, prefix="app:") as prefixed:
            hits = Counter[int]("hits", prefixed)
            with prefixed.batch() if kind == "batch" else prefixed.transaction() as block:
                mine = block.add(hits.commands.incr())
                plain = block.add(Counter[int]("hits", db).commands.incr(5))
        assert (mine.result(), plain.result()) == (1, 5)
        assert Counter[int]("app:hits", db).get() == 1


class TestChunks:
    def test_so_many_commands_go_together(self, driver: Driver, db: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        sent = chunks(driver, monkeypatch)
        hits = Counter[int]("hits", db)
        for number in (1, CHUNK_COMMANDS - 1, CHUNK_COMMANDS, CHUNK_COMMANDS + 1, CHUNK_COMMANDS * 2 + 5):
            sent.clear()
            hits.set(0)
            pending = driver.fill("batch", add_all([hits.commands.incr() for _ in range(number)]))
            assert [one.result() for one in pending] == list(range(1, number + 1))
            full, rest = divmod(number, CHUNK_COMMANDS)
            assert [len(chunk) for chunk in sent] == [CHUNK_COMMANDS] * full + [rest] * (rest > 0)

    def test_so_many_bytes_go_together(self, driver: Driver, db: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        sent = chunks(driver, monkeypatch)
        note = Map[bytes]("note", db)
        for size, lengths in ((CHUNK_BYTES // 4, [4, 4, 1]), (CHUNK_BYTES, [1] * 9), (3 * CHUNK_BYTES, [1] * 9)):
            sent.clear()
            values = [b"%d" % number + b"x" * (size - 1) for number in range(9)]
            pending = driver.fill("batch", add_all([note.commands.set(value) for value in values]))
            assert [one.result() for one in pending] == [True] * 9
            assert [len(chunk) for chunk in sent] == lengths
            assert note.get() == values[-1]

    def test_a_transaction_is_one_whatever_its_size(
        self, driver: Driver, db: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent = chunks(driver, monkeypatch)
        note, size = Map[bytes]("note", db), CHUNK_BYTES * 2
        pending = driver.fill("transaction", add_all([note.commands.set(b"x" * size) for _ in range(3)]))
        assert [one.result() for one in pending] == [True] * 3
        assert sent == []

    def test_a_hundred_thousand_take_no_more_memory_than_a_tenth_of_them(self, driver_on_server: Driver) -> None:
        driver = driver_on_server
        name = Map[bytes]("name", driver.url)
        value = b"x" * 1_000

        def peak(number: int) -> int:
            """The most memory at a time, beyond what was queued, of a batch of so many."""

            def fill(block: Block) -> list[Pending[bool]]:
                pending = [block.add(name.commands.set(value + b"%d" % one)) for one in range(number)]
                tracemalloc.start()
                return pending

            try:
                pending = driver.fill("batch", fill)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert all(one.result() for one in pending)
            assert driver.execute(name.commands.get()) == value + b"%d" % (number - 1)
            return most

        peak(1_000)
        small, large = peak(10_000), peak(100_000)
        assert small < 10 * CHUNK_BYTES
        assert large - small < CHUNK_BYTES * 2


@pytest.fixture(params=list(DRIVERS))
def driver_on_server(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[Driver]:
    """A backend under test, where what is stored takes no memory of this process."""
    server.call("FLUSHALL")
    driver = DRIVERS[request.param](server.url)
    yield driver
    driver.end()


class TestCutIn:
    """By what is no failure of a command."""

    @pytest.mark.parametrize("cut", [KeyboardInterrupt, ZeroDivisionError])
    def test_what_was_carried_out_before_has_its_result(
        self, driver: Driver, db: Backend, monkeypatch: pytest.MonkeyPatch, cut: type[BaseException]
    ) -> None:
        hits = Counter[int]("hits", db)
        added = Added(*(hits.commands.incr() for _ in range(CHUNK_COMMANDS + 5)))
        with monkeypatch.context() as patch:
            chunks(driver, patch, cut_short_at=2, by=cut)
            with pytest.raises(cut):
                driver.fill("batch", added)
        before, after = added.pending[:CHUNK_COMMANDS], added.pending[CHUNK_COMMANDS:]
        assert [one.result() for one in before] == list(range(1, CHUNK_COMMANDS + 1))
        assert len(after) == 5
        for one in after:
            assert not one.done
            with pytest.raises(NotReady, match=f"has no result: {cut.__name__} cut in while it was carried out$"):
                one.result()
        [pending] = driver.fill("batch", add_all([hits.commands.incr()]))
        assert pending.result() == CHUNK_COMMANDS + 1


def test_a_result_survives_a_pickle(driver: Driver, db: Backend) -> None:
    added = Added(Counter[int]("hits", db).commands.incr())
    driver.fill("batch", added)
    assert pickle.loads(pickle.dumps(added.pending[0])).result() == 1


def test_what_goes_wrong_with_one_reply_is_its_own(driver: Driver, db: Backend) -> None:
    def parse(reply: Reply) -> int:
        raise LookupError("odd")

    odd = Command(Op("ECHO"), (b"hits",), (), parse, db.location)
    added = Added(odd, Counter[int]("hits", db).commands.incr())
    with pytest.raises(BatchError, match=r"1 of 2 commands of the batch failed: ECHO on key 'hits'$"):
        driver.fill("batch", added)
    with pytest.raises(LookupError, match="odd"):
        added.pending[0].result()
    assert added.pending[1].result() == 1


class TestTransaction:
    def test_nobody_sees_half_of_it(self, driver: Driver, db: Backend, url: str) -> None:
        first, last, filler = Map[int]("first", db), Map[int]("last", db), Counter[int]("filler", db)
        over = Signal()

        def read() -> tuple[int, list[object]]:
            halves: list[object] = []
            looks = 0
            with redisext.connect(url) as reader:
                while not over.is_set():
                    one, other = reader.execute(
                        Command(Op("MGET", reads=True), (b"first", b"last"), (), lambda reply: tuple(reply or ()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                    )
                    looks += 1
                    if one != other:
                        halves.append((one, other))
            return looks, halves

        reading = start(read)
        try:
            for number in range(10):
                driver.fill(
                    "transaction",
                    add_all(
                        [
                            first.commands.set(number),
                            *(filler.commands.incr() for _ in range(CHUNK_COMMANDS * 2)),
                            last.commands.set(number),
                        ]
                    ),
                )
        finally:
            over.set()
        looks, halves = reading.result(PATIENCE)
        assert looks > 0
        assert halves == []

    def test_it_does_not_roll_back(self, driver: Driver, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        Map[str]("name", db).set("Ada")
        added = Added(hits.commands.incr(), Queue[str]("name", db).commands.push("sweep"), hits.commands.incr())
        with pytest.raises(BatchError, match=r"^1 of 3 commands of the transaction failed: LPUSH on key 'name'"):
            driver.fill("transaction", added)
        assert [added.pending[0].result(), added.pending[2].result()] == [1, 2]
        assert hits.get() == 2

    def test_one_that_is_refused_beforehand_keeps_all_from_being_carried_out(self, driver: Driver, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        unknown: Command[object] = Command(Op("NOSUCH"), (b"key",), ("s3cret",), done)
        added = Added(hits.commands.incr(), unknown, hits.commands.incr())
        with pytest.raises(BatchError, match=r"^3 of 3 commands") as failed:
            driver.fill("transaction", added)
        [first, second, third] = failed.value.exceptions
        assert str(second).lower().startswith("the server refused nosuch on key 'key': unknown command 'nosuch'")
        for one in (first, third):
            assert type(one) is CommandRefused
            assert str(one).startswith("INCRBY on key 'hits' was not carried out, nor was the rest of its transaction")
        assert all(one.__cause__ is not None for one in (first, second, third))
        assert all("s3cret" not in str(one) for one in (first, second, third))
        assert hits.get() is None
        assert driver.fill("transaction", lambda tx: tx.add(hits.commands.incr())).result() == 1

    def test_it_reads_inside_of_transact_only(self, url: str, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        match = r"^a transaction reads inside of transact\(\) only, which watches what it has read$"
        with pytest.raises(ConfigurationError, match=match), db.transaction() as tx:
            tx.read(hits.commands.get())

        async def main() -> None:
            async with redisext.aconnect(url) as adb:
                with pytest.raises(ConfigurationError, match=match):
                    async with adb.transaction() as tx:
                        await tx.read(hits.commands.get())

        asyncio.run(main())


class TestTransact:
    def test_it_gives_what_the_function_gives(self, driver: Driver, db: Backend) -> None:
        hits, best = Counter[int]("hits", db), Map[int]("best", db)
        hits.set(7)

        def fn(tx: Block) -> Steps[tuple[int, Pending[bool]]]:
            seen = yield from hits.commands.get(0)
            return seen, tx.add(best.commands.set(seen * 2))

        seen, put = driver.transact(fn, watch=[hits])
        assert (seen, put.result(), best.get()) == (7, True, 14)

    def test_it_may_add_nothing(self, driver: Driver, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        hits.set(7)
        assert driver.transact(reading(hits.commands.get(0)), watch=[hits]) == 7
        assert driver.transact(lambda tx: no_steps("nothing"), watch=[]) == "nothing"

    def test_the_function_is_called_again_if_what_is_watched_has_changed(self, driver: Driver, db: Backend) -> None:
        hits, best = Counter[int]("hits", db), Map[int]("best", db)
        tried: list[Pending[bool]] = []

        def fn(tx: Block) -> Steps[int]:
            seen = yield from hits.commands.get(0)
            if seen < 3:
                hits.incr()
            tried.append(tx.add(best.commands.set(seen)))
            return seen

        assert driver.transact(fn, watch=[hits]) == 3
        assert best.get() == 3
        *others, last = tried
        assert last.result()
        assert len(others) == 3
        for one in others:
            assert not one.done
            with pytest.raises(NotReady, match="somebody else changed what its transaction watches, so nothing was"):
                one.result()

    @pytest.mark.parametrize("before", [None, 5])
    def test_a_key_that_comes_or_goes_has_changed(self, driver: Driver, db: Backend, before: int | None) -> None:
        name, other = Map[int]("name", db), Counter[int]("other", db)
        if before is not None:
            name.set(before)

        def fn(tx: Block) -> Steps[int | None]:
            seen = yield from name.commands.get()
            if seen == before:
                name.set(1) if before is None else name.remove()
            tx.add(other.commands.incr())
            return seen

        assert driver.transact(fn, watch=[name]) == (1 if before is None else None)
        assert other.get() == 1

    def test_what_is_not_watched_may_change(self, driver: Driver, db: Backend) -> None:
        hits, best = Counter[int]("hits", db), Map[int]("best", db)

        def fn(tx: Block) -> Steps[int]:
            hits.incr()
            tx.add(best.commands.set(1))
            return (yield from hits.commands.get(0))

        assert driver.transact(fn, watch=[best]) == 1

    def test_after_so_many_attempts_it_names_what_others_change(self, driver: Driver, db: Backend) -> None:
        hits, best = Counter[int]("hits", db), Map[int]("best", db)

        def fn(tx: Block) -> Steps[None]:
            hits.incr()
            tx.add(best.commands.set(1))
            return (yield from no_steps(None))

        for attempts in (1, 3):
            hits.set(0)
            with pytest.raises(Conflict) as conflict:
                driver.transact(fn, watch=[hits, "other"], attempts=attempts)
            assert str(conflict.value) == (
                f"in each of {attempts} attempts somebody else changed what the transaction watches ('hits', 'other'); "
                "nothing was carried out"
            )
            assert hits.get() == attempts
        assert best.get() is None

    @pytest.mark.parametrize("attempts", [0, -1, True, 1.0, "3", None])
    def test_attempts_are_counted_from_one(self, driver: Driver, attempts: Any) -> None:
        with pytest.raises(ArgumentError, match="attempts is a whole number from 1 up, not "):
            driver.transact(lambda tx: no_steps(None), watch=[], attempts=attempts)

    @pytest.mark.parametrize("watch", ["model", "str", "bytes", "another's"])
    def test_keys_are_watched_with_the_prefix(self, url: str, db: Backend, watch: str) -> None:
        with redisext.connect(url, prefix="app:") as prefixed:
            hits, best = Counter[int]("hits", prefixed), Map[int]("best", prefixed)
            keys: dict[str, Watchable] = {
                "model": hits,
                "str": "hits",
                "bytes": b"hits",
                "another's": Counter[int]("app:hits", db),
            }

            def fn(tx: Transaction) -> int:
                seen = tx.read(hits.commands.get(0))
                if seen < 2:
                    Counter[int]("app:hits", db).incr()
                tx.add(best.commands.set(seen))
                return seen

            assert prefixed.transact(fn, watch=[keys[watch]]) == 2

    def test_a_number_names_a_key_as_it_does_for_a_model(self, driver: Driver, db: Backend) -> None:
        hits = Counter[int](5, db)

        def fn(tx: Block) -> Steps[int]:
            seen = yield from hits.commands.get(0)
            if seen < 2:
                hits.incr()
            return seen

        assert driver.transact(fn, watch=[5]) == 2

    def test_one_thing_is_watched_as_a_list_of_one_is(self, driver: Driver, db: Backend) -> None:
        """A key and a collection could be iterated too."""
        stock = HashMap[str, int]("stock", db)
        for alone in ("stock", b"stock", stock):
            stock.update(apples=3)
            seen: list[int] = []

            def fn(tx: Block, seen: list[int] = seen) -> Steps[int]:
                left = yield from stock.commands.get("apples", 0)
                if not seen:
                    stock["apples"] = 7  # somebody else does
                seen.append(left)
                return left

            assert driver.transact(fn, watch=alone) == 7
            assert seen == [3, 7]

    def test_a_function_that_awaits_is_for_asyncio(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)

        async def fn(tx: Transaction) -> int:
            return tx.read(hits.commands.get(0))

        with pytest.raises(ArgumentError, match=r"one that awaits is for redisext\.aconnect\(\)"):
            _ = db.transact(fn, watch=hits)

    def test_a_plain_function_is_not_for_asyncio(self, url: str) -> None:
        def fn(tx: AsyncTransaction) -> int:
            return 1

        async def main() -> None:
            async with redisext.aconnect(url) as adb:
                with pytest.raises(ArgumentError, match="write 'async def'"):
                    await adb.transact(fn, watch="hits")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        asyncio.run(main())

    def test_what_cannot_be_watched_is_refused(self, driver: Driver, db: Backend) -> None:
        stock = HashMap[str, int]("stock", db)
        stock.update(apples=3)
        never = pytest.fail
        for what in (None, 1.5, [stock], Counter, stock.commands, stock.commands.all()):
            with pytest.raises(ArgumentError, match="what is watched are models and keys, not "):
                driver.transact(lambda tx: never("it was called"), watch=[what])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        with pytest.raises(ArgumentError, match=r"what is watched are models and keys, not 1\.5"):
            driver.transact(lambda tx: never("it was called"), watch=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        for key in ("", True):
            with pytest.raises(ArgumentError, match="a key is a str"):
                driver.transact(lambda tx: never("it was called"), watch=[key])
        with redisext.connect("memory://elsewhere") as elsewhere:
            foreign = Counter[int]("hits", elsewhere)
            with pytest.raises(
                ConfigurationError,
                match=r"^the watched key 'hits' is for the data at memory://elsewhere, and",
            ):
                driver.transact(lambda tx: never("it was called"), watch=[foreign])

    def test_an_exception_in_the_function_passes_and_nothing_is_sent(self, driver: Driver, db: Backend) -> None:
        hits, best = Counter[int]("hits", db), Map[int]("best", db)
        added: list[Pending[bool]] = []

        def fail(tx: Block) -> Steps[None]:
            yield from hits.commands.get()
            added.append(tx.add(best.commands.set(1)))
            raise ZeroDivisionError

        for _ in range(20):  # more than there are connections
            with pytest.raises(ZeroDivisionError):
                driver.transact(fail, watch=[hits])
        with pytest.raises(NotReady, match="left by ZeroDivisionError, so nothing was sent"):
            added[0].result()
        assert best.get() is None
        hits.incr()
        # Nobody watches `hits` any longer, or this would not be carried out.
        assert driver.fill("transaction", lambda tx: tx.add(best.commands.set(2))).result()
        assert best.get() == 2

    def test_a_command_that_fails_is_told_as_in_a_transaction(self, driver: Driver, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        Map[str]("name", db).set("Ada")

        def fn(tx: Block) -> Steps[None]:
            tx.add(hits.commands.incr())
            tx.add(Queue[str]("name", db).commands.push("sweep"))
            return (yield from no_steps(None))

        with pytest.raises(BatchError, match=r"^1 of 2 commands of the transaction failed: LPUSH on key 'name'"):
            driver.transact(fn, watch=[hits])
        assert hits.get() == 1

    def test_what_is_read_fails_as_it_does_alone(self, driver: Driver, db: Backend) -> None:
        Map[str]("name", db).set("Ada")
        with pytest.raises(WrongType, match="key 'name' holds a string, and LLEN works on a list"):
            driver.transact(reading(Queue[str]("name", db).commands.size()), watch=["name"])
        with pytest.raises(DecodeError, match="under key 'name'"):
            driver.transact(reading(Map[int]("name", db).commands.get()), watch=["name"])

    def test_it_reads_by_a_script_that_the_server_does_not_know(self, driver: Driver, db: Backend) -> None:
        send(db, "SCRIPT", "FLUSH")
        Counter[int]("hits", db).set(5)
        read = Op("read by a script", reads=True, script=Script('return redis.call("GET", KEYS[1])'))
        command = Command(read, (b"hits",), (), lambda reply: reply)
        for _ in range(2):
            assert driver.transact(reading(command), watch=["hits"]) == b"5"

    def test_it_only_reads_at_once(self, driver: Driver, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        with pytest.raises(ArgumentError, match=r"^INCRBY does more than read: add\(\) it to the transaction instead$"):
            driver.transact(reading(hits.commands.incr()), watch=[hits])
        assert hits.get() is None

    def test_it_reads_commands_for_this_data(self, driver: Driver) -> None:
        with redisext.connect("memory://elsewhere") as elsewhere:
            foreign = Counter[int]("hits", elsewhere)
            with pytest.raises(ConfigurationError, match="GET on key 'hits' is for the data at memory://elsewhere"):
                driver.transact(reading(foreign.commands.get()), watch=[])

    def test_it_reads_nothing_but_commands(self, db: Backend) -> None:
        for what in (5, None, Map[int]("best", db).commands.update(lambda old: 1)):
            with pytest.raises((ArgumentError, NotBatchable)):
                db.transact(partial(Transaction.read, command=what), watch=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def test_once_it_is_over_it_reads_nothing(self, url: str, db: Backend) -> None:
        """Its connection is somebody else's by then."""
        hits = Counter[int]("hits", db)
        tx = db.transact(lambda tx: tx, watch=[])
        with pytest.raises(ConfigurationError, match="inside of its"):
            tx.read(hits.commands.get())

        async def main() -> None:
            async def itself(tx: AsyncTransaction) -> AsyncTransaction:
                return tx

            async with redisext.aconnect(url) as adb:
                over = await adb.transact(itself, watch=[])
                with pytest.raises(ConfigurationError, match="inside of its"):
                    await over.read(hits.commands.get())

        asyncio.run(main())

    def test_the_transaction_is_not_entered_in_the_function(self, db: Backend) -> None:
        def fn(tx: Transaction) -> None:
            with tx:
                pytest.fail("it was entered")

        with pytest.raises(ConfigurationError, match="is used once"):
            db.transact(fn, watch=[])


ACCOUNTS = 1_000
TRANSFERS = 50


class TestContention:
    def test_threads_transfer_exactly(self, db: Backend) -> None:
        mine, yours = Map[int]("mine", db), Map[int]("yours", db)
        mine.set(ACCOUNTS)
        yours.set(ACCOUNTS)

        def transfer(tx: Transaction) -> None:
            had, has = tx.read(mine.commands.get(0)), tx.read(yours.commands.get(0))
            tx.add(mine.commands.set(had - 1))
            tx.add(yours.commands.set(has + 1))

        def transfers() -> None:
            for _ in range(TRANSFERS):
                db.transact(transfer, watch=[mine, yours], attempts=10_000)

        at_once([transfers] * 8)
        assert (mine.get(), yours.get()) == (ACCOUNTS - 8 * TRANSFERS, ACCOUNTS + 8 * TRANSFERS)

    def test_tasks_transfer_exactly(self, url: str, db: Backend) -> None:
        mine, yours = Map[int]("mine", db), Map[int]("yours", db)
        mine.set(ACCOUNTS)
        yours.set(ACCOUNTS)

        async def transfer(tx: AsyncTransaction) -> None:
            had, has = await tx.read(mine.commands.get(0)), await tx.read(yours.commands.get(0))
            tx.add(mine.commands.set(had - 1))
            tx.add(yours.commands.set(has + 1))

        async def main() -> None:
            async with redisext.aconnect(url, socket_timeout=PATIENCE) as adb:

                async def transfers() -> None:
                    for _ in range(20):
                        await adb.transact(transfer, watch=[mine, yours], attempts=10_000)

                await asyncio.gather(*(transfers() for _ in range(20)))

        asyncio.run(main())
        assert (mine.get(), yours.get()) == (ACCOUNTS - 400, ACCOUNTS + 400)

    def test_tasks_share_a_connection_and_not_a_batch(self, url: str, db: Backend) -> None:
        hits = Counter[int]("hits", db)

        async def main() -> list[list[int]]:
            async with redisext.aconnect(url) as adb:

                async def count_up() -> list[int]:
                    async with adb.batch() as batch:
                        pending = [batch.add(hits.commands.incr()) for _ in range(50)]
                    alone = await adb.execute(hits.commands.incr())
                    return [*(one.result() for one in pending), alone]

                return await asyncio.gather(*(count_up() for _ in range(20)))

        counted = asyncio.run(main())
        assert all(one == sorted(one) for one in counted)
        assert sorted(number for one in counted for number in one) == list(range(1, 1_021))

    def test_threads_share_a_backend_and_not_a_batch(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)

        def count_up() -> list[int]:
            with db.batch() as batch:
                pending = [batch.add(hits.commands.incr()) for _ in range(250)]
            return [one.result() for one in pending]

        counted = at_once([count_up] * 8)
        assert sorted(number for one in counted for number in one) == list(range(1, 2_001))
