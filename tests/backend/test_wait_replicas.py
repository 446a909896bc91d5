"""Writes that replicas must confirm: `wait_replicas`, what is raised where they do not, and what that saves."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import pytest

import redisext
from redisext import (
    AsyncCounter,
    Backend,
    BatchError,
    ConfigurationError,
    Counter,
    HashMap,
    Lock,
    Map,
    NotReplicated,
    OutcomeUnknown,
    Pool,
    PriorityQueue,
    Queue,
    SortedSet,
    Stack,
)
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.batch import Batch, Transaction
from redisext.command import Command, Steps
from tests.backend.conftest import Opened
from tests.backend.observe import blocked, calls, connections
from tests.backend.tasks import connect, outcomes, run, until
from tests.blocks import Added, Block, Driver
from tests.proxy import Fault, Kind, Proxy, the_next
from tests.servers import RedisServer, Replicated, in_step, paused, wait_until
from tests.threads import start

R = TypeVar("R")

LONG: Final = 30.0
"""Seconds that no test waits for, but a busy machine may need."""
SHORT: Final = 0.05


@pytest.fixture(scope="module")
def pair() -> Iterator[Replicated]:
    with Replicated() as servers:
        yield servers


@pytest.fixture
def primary(pair: Replicated) -> RedisServer:
    pair.primary.call("FLUSHALL")
    wait_until(lambda: in_step(pair.primary, pair.replicas), "the replica is empty", LONG)
    return pair.primary


@pytest.fixture
def replica(pair: Replicated) -> RedisServer:
    [replica] = pair.replicas
    return replica


@pytest.fixture
def stalled(primary: RedisServer, replica: RedisServer) -> Iterator[RedisServer]:
    """The replica, which does not hear of anything until the test ends."""
    with paused(replica):
        yield replica


@pytest.fixture
def patient(opened: Opened, primary: RedisServer) -> Backend:
    """Waits for as long as it takes."""
    return opened(primary.url, wait_replicas=1, wait_timeout=LONG)


@pytest.fixture
def hasty(opened: Opened, primary: RedisServer) -> Backend:
    """Waits for so short a time that it is over soon."""
    return opened(primary.url, wait_replicas=1, wait_timeout=SHORT)


WRITES: Final[dict[str, Callable[[Backend], object]]] = {
    "counter": lambda db: Counter[int]("key", db).incr(),
    "map": lambda db: Map[str]("key", db).set("a"),
    "script": lambda db: HashMap[str, int]("key", db).setdefault("apples", 1),
    "hash map": lambda db: HashMap[str, int]("key", db).update(apples=3),
    "pool": lambda db: Pool[str]("key", db).push("a"),
    "sorted set": lambda db: SortedSet[str]("key", db).add("a", 1),
    "queue": lambda db: Queue[str]("key", db).push("a"),
    "priority queue": lambda db: PriorityQueue[str]("key", db).push("a", 1),
    "lock": lambda db: Lock("key", db).acquire(30),
}

TAKES: Final[dict[str, tuple[Callable[[Backend], object], Callable[[Backend], object]]]] = {
    "queue": (lambda db: Queue[str]("key", db).push("a"), lambda db: Queue[str]("key", db).pop()),
    "queue, waiting": (lambda db: Queue[str]("key", db).push("a"), lambda db: Queue[str]("key", db).pop_wait(1)),
    "stack": (lambda db: Stack[str]("key", db).push("a"), lambda db: Stack[str]("key", db).pop()),
    "stack, waiting": (lambda db: Stack[str]("key", db).push("a"), lambda db: Stack[str]("key", db).pop_wait()),
    "pool": (lambda db: Pool[str]("key", db).push("a"), lambda db: Pool[str]("key", db).pop()),
    "hash map": (
        lambda db: HashMap[str, str]("key", db).update(k="a"),
        lambda db: HashMap[str, str]("key", db).pop("k"),
    ),
    "priority queue": (
        lambda db: PriorityQueue[str]("key", db).push("a", 1),
        lambda db: PriorityQueue[str]("key", db).pop(),
    ),
    "priority queue, waiting": (
        lambda db: PriorityQueue[str]("key", db).push("a", 1),
        lambda db: PriorityQueue[str]("key", db).pop_wait(1),
    ),
}


class TestConfirmed:
    def test_what_was_written_is_on_the_replica_already(
        self, primary: RedisServer, replica: RedisServer, patient: Backend
    ) -> None:
        hits = Counter[int]("hits", patient)
        for number in range(1, 30):
            assert hits.incr() == number
            assert replica.call("GET", "hits") == str(number).encode()

    def test_the_dsn_can_say_so(self, primary: RedisServer, replica: RedisServer, opened: Opened) -> None:
        db = opened(f"{primary.url}?wait_replicas=1&wait_timeout={LONG}")
        before = calls(primary, "wait")
        Map[str]("city", db).set("London")
        assert replica.call("GET", "city") == b"London"
        assert calls(primary, "wait") == before + 1

    @pytest.mark.parametrize("write", list(WRITES.values()), ids=list(WRITES))
    def test_each_write_is_confirmed(
        self, primary: RedisServer, replica: RedisServer, patient: Backend, write: Callable[[Backend], object]
    ) -> None:
        before = calls(primary, "wait")
        write(patient)
        assert replica.call("EXISTS", "key") == 1
        assert calls(primary, "wait") > before

    @pytest.mark.parametrize(("put", "take"), list(TAKES.values()), ids=list(TAKES))
    def test_each_taking_is_confirmed(
        self,
        primary: RedisServer,
        replica: RedisServer,
        patient: Backend,
        put: Callable[[Backend], object],
        take: Callable[[Backend], object],
    ) -> None:
        put(patient)
        assert take(patient) == "a"
        assert replica.call("EXISTS", "key") == 0

    @pytest.mark.parametrize("exactly_once", [False, True], ids=["plain", "exactly once"])
    def test_a_script_that_the_server_does_not_know_is_sent_whole(
        self, primary: RedisServer, replica: RedisServer, opened: Opened, exactly_once: bool
    ) -> None:
        db = opened(primary.url, wait_replicas=1, wait_timeout=LONG, exactly_once=exactly_once)
        stock = HashMap[str, int]("stock", db)
        for number in range(3):
            primary.call("SCRIPT", "FLUSH")
            assert stock.setdefault(f"kind {number}", number) == number
            assert replica.call("HGET", "stock", f"kind {number}") == str(number).encode()

    def test_a_command_that_waits_is_confirmed_when_it_is_answered(
        self, primary: RedisServer, replica: RedisServer, patient: Backend
    ) -> None:
        jobs = Queue[str]("jobs", patient)
        waiting = start(partial(jobs.pop_wait, None))
        wait_until(lambda: blocked(primary) == 1, "it waits", LONG)
        assert jobs.push("sweep") == 1
        assert waiting.result(LONG) == "sweep"
        assert replica.call("EXISTS", "jobs") == 0

    def test_a_batch_is_confirmed_as_a_whole(
        self, primary: RedisServer, replica: RedisServer, patient: Backend
    ) -> None:
        hits, stock = Counter[int]("hits", patient), HashMap[str, int]("stock", patient)
        primary.call("SCRIPT", "FLUSH")
        before = calls(primary, "wait")
        with patient.batch() as batch:
            counted = [batch.add(hits.commands.incr()) for _ in range(50)]
            kept = [batch.add(stock.commands.setdefault(str(number), number)) for number in range(50)]
            read = batch.add(hits.commands.get())
        assert replica.call("GET", "hits") == b"50"
        assert replica.call("HLEN", "stock") == 50
        assert [one.result() for one in counted] == list(range(1, 51))
        assert [one.result() for one in kept] == list(range(50))
        assert read.result() == 50
        assert calls(primary, "wait") == before + 1

    def test_a_transaction_is_confirmed_as_a_whole(
        self, primary: RedisServer, replica: RedisServer, patient: Backend
    ) -> None:
        hits = Counter[int]("hits", patient)
        before = calls(primary, "wait")
        with patient.transaction() as tx:
            counted = [tx.add(hits.commands.incr()) for _ in range(5)]
        assert replica.call("GET", "hits") == b"5"
        assert [one.result() for one in counted] == [1, 2, 3, 4, 5]
        assert calls(primary, "wait") == before + 1

    def test_what_is_transacted_is_confirmed(
        self, primary: RedisServer, replica: RedisServer, patient: Backend
    ) -> None:
        hits = Counter[int]("hits", patient)
        for number in range(1, 4):

            def count(tx: Transaction) -> int | None:
                tx.add(hits.commands.incr())
                return tx.read(hits.commands.get())

            patient.transact(count, watch=[hits])
            assert replica.call("GET", "hits") == str(number).encode()

    def test_a_read_waits_for_nobody(self, primary: RedisServer, stalled: RedisServer, hasty: Backend) -> None:
        before = calls(primary, "wait")
        jobs, stock = Queue[str]("jobs", hasty), HashMap[str, int]("stock", hasty)
        assert Counter[int]("hits", hasty).get() is None
        assert (jobs.items(), list(jobs), jobs.peek(), dict(stock)) == ([], [], None, {})
        for block in (hasty.batch, hasty.transaction):
            with block() as several:
                sizes = [several.add(jobs.commands.size()), several.add(stock.commands.get("apples"))]
            assert [one.result() for one in sizes] == [0, None]
        assert calls(primary, "wait") == before

    def test_the_embedded_engine_has_nobody_to_confirm_anything(self) -> None:
        for use in (redisext.connect, redisext.aconnect):
            with pytest.raises(ConfigurationError, match=r"^wait_replicas: the embedded engine has no replicas"):
                use("memory://", wait_replicas=1)
            with pytest.raises(ConfigurationError, match=r"^wait_replicas is at least 0, not -1"):
                use("redis://localhost", wait_replicas=-1)


class TestNotConfirmed:
    def test_the_error_says_what_has_happened(self, primary: RedisServer, stalled: RedisServer, hasty: Backend) -> None:
        hits = Counter[int]("hits", hasty)
        with pytest.raises(NotReplicated) as lacking:
            hits.incr()
        error = lacking.value
        assert str(error) == (
            f"INCRBY on key 'hits' was carried out on {primary.url}, and 0 of 1 replicas confirmed it within the "
            "0.05 s of wait_timeout; it has 1"
        )
        assert isinstance(error, OutcomeUnknown)
        assert isinstance(error, ConnectionError)
        assert (error.result, error.confirmed, error.retriable, error.sent) == (1, 0, False, True)
        assert error.command == hits.commands.incr()
        assert primary.call("GET", "hits") == b"1"

    def test_more_are_wanted_than_there_are(self, primary: RedisServer, opened: Opened) -> None:
        db = opened(primary.url, wait_replicas=3, wait_timeout=SHORT)
        with pytest.raises(NotReplicated, match=r"and \d of 3 replicas confirmed it .*; it has 1$") as lacking:
            Counter[int]("hits", db).incr()
        assert lacking.value.confirmed in {0, 1}

    def test_there_are_none(self, url: str, opened: Opened) -> None:
        db = opened(url, wait_replicas=1, wait_timeout=SHORT)
        with pytest.raises(NotReplicated, match=r"and 0 of 1 replicas confirmed it .*; it has 0$"):
            Map[str]("city", db).set("London")

    @pytest.mark.parametrize("exactly_once", [False, True], ids=["plain", "exactly once"])
    @pytest.mark.parametrize(("put", "take"), list(TAKES.values()), ids=list(TAKES))
    def test_what_was_taken_is_on_the_error(
        self,
        primary: RedisServer,
        stalled: RedisServer,
        opened: Opened,
        put: Callable[[Backend], object],
        take: Callable[[Backend], object],
        exactly_once: bool,
    ) -> None:
        put(opened(primary.url))
        db = opened(
            primary.url,
            wait_replicas=1,
            wait_timeout=SHORT,
            exactly_once=exactly_once,
            deadline=0.2 if exactly_once else None,
        )
        with pytest.raises(NotReplicated, match="on key 'key' was carried out on") as lacking:
            take(db)
        assert lacking.value.result == "a"
        assert primary.call("EXISTS", "key") == 0

    @pytest.mark.parametrize("exactly_once", [False, True], ids=["plain", "exactly once"])
    def test_of_a_batch_what_only_reads_succeeds(
        self, primary: RedisServer, stalled: RedisServer, opened: Opened, exactly_once: bool
    ) -> None:
        db = opened(
            primary.url,
            wait_replicas=1,
            wait_timeout=SHORT,
            exactly_once=exactly_once,
            deadline=0.2 if exactly_once else None,
        )
        primary.call("RPUSH", "jobs", "sweep")
        jobs, hits = Queue[str]("jobs", db), Counter[int]("hits", db)
        added = Added(jobs.commands.size(), hits.commands.get(), jobs.commands.pop(), hits.commands.incr())
        with pytest.raises(BatchError) as failed:
            _in(db.batch(), added)
        size, seen, *writes = added.pending
        assert (size.result(), seen.result()) == (1, None)
        errors = failed.value.exceptions
        assert [error.result for error in errors if isinstance(error, NotReplicated)] == ["sweep", 1]
        assert [error.command for error in errors if isinstance(error, NotReplicated)] == [
            jobs.commands.pop(),
            hits.commands.incr(),
        ]
        assert [one.error for one in writes] == [*errors]

    @pytest.mark.parametrize("exactly_once", [False, True], ids=["plain", "exactly once"])
    def test_a_transaction_was_carried_out_and_says_so(
        self, primary: RedisServer, stalled: RedisServer, opened: Opened, exactly_once: bool
    ) -> None:
        db = opened(
            primary.url,
            wait_replicas=1,
            wait_timeout=SHORT,
            exactly_once=exactly_once,
            deadline=0.2 if exactly_once else None,
        )
        hits = Counter[int]("hits", db)
        with pytest.raises(BatchError) as failed:
            _in(db.transaction(), Added(hits.commands.incr(), hits.commands.incr()))
        assert [error.result for error in failed.value.exceptions if isinstance(error, NotReplicated)] == [1, 2]
        assert primary.call("GET", "hits") == b"2"

    def test_what_was_transacted_says_so_and_is_not_done_again(
        self, primary: RedisServer, stalled: RedisServer, made: Callable[..., Driver]
    ) -> None:
        driver = made(primary.url, wait_replicas=1, wait_timeout=SHORT, deadline=1)
        hits = Counter[int]("hits", driver.url)

        def count(tx: Block) -> Steps[int | None]:
            tx.add(hits.commands.incr())
            return (yield from hits.commands.get())

        with pytest.raises(BatchError) as failed:
            driver.transact(count, watch=[hits])
        assert [error.result for error in failed.value.exceptions if isinstance(error, NotReplicated)] == [1]
        assert primary.call("GET", "hits") == b"1"

    def test_the_error_goes_to_another_process(
        self, primary: RedisServer, stalled: RedisServer, hasty: Backend
    ) -> None:
        with pytest.raises(NotReplicated) as lacking:
            Counter[int]("hits", hasty).incr()
        there = pickle.loads(pickle.dumps(lacking.value))
        assert (str(there), there.result, there.confirmed) == (str(lacking.value), 1, 0)

    @pytest.mark.parametrize("word", ["WAIT", "INCRBY"])
    def test_a_connection_that_breaks_before_the_confirmation_tells_which_it_was(
        self, primary: RedisServer, opened: Opened, word: str
    ) -> None:
        with Proxy(primary.port) as proxy:
            hits = Counter[int]("hits", opened(proxy.url, wait_replicas=1, wait_timeout=LONG))
            assert hits.incr() == 1
            proxy.arm(Fault(Kind.HALF_CLOSE_REPLY), the_next(), word)
            with pytest.raises(OutcomeUnknown) as broken:
                hits.incr()
            if word == "WAIT":
                assert isinstance(broken.value, NotReplicated)
                assert (broken.value.result, broken.value.confirmed) == (2, 0)
                assert "within the 30 s of wait_timeout: the connection broke" in str(broken.value)
            else:
                assert type(broken.value) is OutcomeUnknown
            assert hits.incr() == 3

    @pytest.mark.parametrize("exactly_once", [False, True], ids=["plain", "exactly once"])
    def test_a_user_who_may_not_wait_is_told_at_once(
        self, primary: RedisServer, opened: Opened, exactly_once: bool
    ) -> None:
        primary.call("ACL", "SETUSER", "hurried", "on", ">secret", "~*", "+@all", "-wait")
        url = primary.url.replace("//", "//hurried:secret@")
        db = opened(url, wait_replicas=1, wait_timeout=LONG, exactly_once=exactly_once)
        hits = Counter[int]("hits", db)
        before = calls(primary, "evalsha") + calls(primary, "incrby")
        for number in (1, 2):
            with pytest.raises(NotReplicated, match=r": .*permissions to run the 'wait' command") as lacking:
                hits.incr()
            assert lacking.value.result == number
        assert calls(primary, "evalsha") + calls(primary, "incrby") <= before + 2 * (1 + exactly_once)
        primary.call("ACL", "DELUSER", "hurried")

    USES: Final[dict[str, Callable[[Backend], object]]] = {
        "alone": lambda db: Queue[str]("jobs", db).pop(),
        "waiting": lambda db: Queue[str]("jobs", db).pop_wait(0.01),
        "batch": lambda db: _result(db.batch(), Queue[str]("jobs", db).commands.pop()),
        "transaction": lambda db: _result(db.transaction(), Queue[str]("jobs", db).commands.pop()),
    }

    @pytest.mark.parametrize("use", list(USES.values()), ids=list(USES))
    def test_they_may_take_longer_than_any_reply(
        self, primary: RedisServer, stalled: RedisServer, opened: Opened, use: Callable[[Backend], object]
    ) -> None:
        """The server has given up waiting, and not the connection waiting for the server."""
        primary.call("RPUSH", "jobs", "sweep")
        db = opened(primary.url, socket_timeout=0.5, wait_replicas=1, wait_timeout=1.5)
        with pytest.raises((NotReplicated, BatchError)) as lacking:
            use(db)
        error = lacking.value.exceptions[0] if isinstance(lacking.value, BatchError) else lacking.value
        assert isinstance(error, NotReplicated)
        assert error.result == "sweep"
        assert str(error).endswith("within the 1.5 s of wait_timeout; it has 1")


def _in(block: Batch | Transaction, fill: Callable[[Block], R]) -> R:
    with block:
        return fill(block)


def _result(block: Batch | Transaction, command: Command[R]) -> R:
    return _in(block, lambda block: block.add(command)).result()


class TestExactlyOnce:
    USES: Final[dict[str, Callable[[Backend], object]]] = {
        "alone": lambda db: Counter[int]("hits", db).incr(),
        "batch": lambda db: _result(db.batch(), Counter[int]("hits", db).commands.incr()),
        "transaction": lambda db: _result(db.transaction(), Counter[int]("hits", db).commands.incr()),
        "transact": lambda db: db.transact(
            lambda tx: tx.add(Counter[int]("hits", db).commands.incr()), watch=[b"hits"]
        ).result(),
    }

    @pytest.mark.parametrize("use", list(USES.values()), ids=list(USES))
    def test_it_is_tried_until_a_replica_confirms_it_and_done_once(
        self, primary: RedisServer, replica: RedisServer, opened: Opened, use: Callable[[Backend], object]
    ) -> None:
        db = opened(primary.url, exactly_once=True, deadline=LONG, wait_replicas=1, wait_timeout=SHORT)
        with paused(replica):
            before = calls(primary, "wait")
            counting = start(partial(use, db))
            wait_until(lambda: calls(primary, "wait") >= before + 3, "it is being tried again", LONG)
            assert not counting.done()
        assert counting.result(LONG) == 1
        assert replica.call("GET", "hits") == b"1"

    def test_what_has_broken_meanwhile_is_not_taken_for_confirmed(
        self, primary: RedisServer, stalled: RedisServer, opened: Opened, name: str
    ) -> None:
        """On a new connection nothing was written yet; a WAIT that follows nothing counts all replicas."""
        options = {"client_name": name, "exactly_once": True, "wait_replicas": 1, "wait_timeout": SHORT}
        hits = Counter[int]("hits", opened(primary.url, deadline=1.5, **options))
        counting = start(hits.incr)
        while not counting.done():
            for one in connections(primary, name):
                primary.call("CLIENT", "KILL", "ID", one)
        with pytest.raises(redisext.ConnectionFailed):  # or it was never sent, if all was cut while it connected
            counting.result()
        assert primary.call("GET", "hits") in {None, b"1"}


class TestTasks:
    def test_those_that_write_at_the_same_time_wait_together(self, primary: RedisServer, replica: RedisServer) -> None:
        async def main(db: AsyncRedisBackend) -> None:
            hits = AsyncCounter[int]("hits", db)
            before = calls(primary, "wait")
            for turn in range(10):
                counted = await asyncio.gather(*(hits.incr() for _ in range(100)))
                assert counted == list(range(100 * turn + 1, 100 * turn + 101))
                assert replica.call("GET", "hits") == str(100 * (turn + 1)).encode()
            assert calls(primary, "wait") - before <= 100

        self.run(main, primary, wait_timeout=LONG)

    def test_each_gets_its_own_error(self, primary: RedisServer, stalled: RedisServer) -> None:
        async def main(db: AsyncRedisBackend) -> None:
            hits = AsyncCounter[int]("hits", db)
            errors = await outcomes([hits.incr() for _ in range(100)])
            assert [error.result for error in errors if isinstance(error, NotReplicated)] == list(range(1, 101))

        self.run(main, primary, wait_timeout=SHORT)

    def test_one_that_is_cancelled_disturbs_nobody(self, primary: RedisServer, replica: RedisServer) -> None:
        async def main(db: AsyncRedisBackend) -> None:
            hits = AsyncCounter[int]("hits", db)
            assert await hits.incr() == 1
            with paused(replica):
                tasks = [asyncio.create_task(hits.incr()) for _ in range(10)]
                await until(lambda: blocked(primary) == 1, "they wait for the replica")
                for task in tasks[::3]:
                    task.cancel()
                await asyncio.wait(tasks[::3])
            ended = await outcomes([*tasks])
            assert [one if isinstance(one, int) else type(one) for one in ended] == [
                asyncio.CancelledError if number % 3 == 0 else number + 2 for number in range(10)
            ]
            assert await hits.incr() == 12

        self.run(main, primary, wait_timeout=LONG)

    def test_reads_among_them_are_answered(self, primary: RedisServer, replica: RedisServer) -> None:
        async def main(db: AsyncRedisBackend) -> None:
            hits = AsyncCounter[int]("hits", db)
            answers = await asyncio.gather(*(hits.incr() if number % 2 else hits.get(0) for number in range(100)))
            assert answers == [(number + 1) // 2 for number in range(100)]

        self.run(main, primary, wait_timeout=LONG)

    def run(
        self,
        main: Callable[[AsyncRedisBackend], Awaitable[None]],
        primary: RedisServer,
        *,
        wait_timeout: float,
    ) -> None:
        async def connected() -> None:
            async with connect(primary.url, wait_replicas=1, wait_timeout=wait_timeout) as db:
                await main(db)

        run(connected)


class TestWhatItIsFor:
    """A primary is killed while a replica's link stalls, and that replica takes over."""

    def test_without_it_what_was_acknowledged_is_lost(self, opened: Opened) -> None:
        acknowledged, kept = self.count_over_a_crash(opened)
        assert (acknowledged, kept) == (40, 20)

    def test_with_it_nothing_is(self, opened: Opened) -> None:
        acknowledged, kept = self.count_over_a_crash(opened, wait_replicas=1, wait_timeout=SHORT)
        assert acknowledged == 20
        assert kept >= acknowledged

    def count_over_a_crash(self, opened: Opened, **options: float) -> tuple[int, int]:
        """How many increments were acknowledged, and how many the replica knows of that takes over."""
        with Replicated() as servers:
            [replica] = servers.replicas
            hits = Counter[int]("hits", opened(servers.primary.url, **options))
            acknowledged = 0
            while acknowledged < 20:
                acknowledged += _is_acknowledged(hits)
            wait_until(lambda: in_step(servers.primary, servers.replicas), "the replica has them", LONG)
            replica.pause()
            # What the system takes up for the replica, it would get in the end. That is soon full.
            for _ in range(24):
                servers.primary.call("SET", "padding", bytes(1_000_000))
            acknowledged += sum(_is_acknowledged(hits) for _ in range(20))
            servers.primary.kill()
            replica.resume()
            wait_until(lambda: replica.info("replication")["master_link_status"] == "down", "it has read all", LONG)
            replica.call("REPLICAOF", "NO", "ONE")
            kept = replica.call("GET", "hits")
            assert isinstance(kept, bytes)
            return acknowledged, int(kept)


def _is_acknowledged(hits: Counter[int]) -> bool:
    try:
        hits.incr()
    except NotReplicated:
        return False
    return True
