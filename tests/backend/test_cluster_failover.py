"""A cluster whose nodes fail: what is ridden out, what is told, and that nothing is done twice or lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Final, TypeAlias

import pytest

import redisext
from redisext import AsyncCounter, Counter, Lock, Queue
from redisext.command import Command, run
from redisext.errors import (
    BackendClosed,
    BatchError,
    CommandRefused,
    ConnectionFailed,
    OutcomeUnknown,
    RedisextError,
    Timeout,
)
from tests.backend import tasks
from tests.backend.observe import calls
from tests.backend.test_cluster import follow, one_key_for_each_node
from tests.backend.test_deadline import TurnsAway
from tests.blocks import DRIVERS, Added, Driver, add_all
from tests.clusters import Cluster, Node
from tests.sentinels import How
from tests.servers import RedisServer, free_port, wait_until
from tests.threads import start

MakesDrivers: TypeAlias = Callable[..., Driver]

LONG: Final = 60


def takes_it_for_well(node: RedisServer) -> bool:
    """Whether a node takes all slots to be served."""
    return "cluster_state:ok" in str(node.call("CLUSTER", "INFO"))


"""Seconds: a deadline, or a wait, that is not meant to run out, though others use the machine."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """After each test all of its nodes are up, whoever is what."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """An empty one."""
    shared.flush()
    follow(shared)
    yield shared
    shared.revive()


def seed(cluster: Cluster, *, other_than: RedisServer) -> str:
    """A DSN that names one node only."""
    return f"redis+cluster://127.0.0.1:{next(one.port for one in cluster.nodes if one is not other_than)}"


# --- While a primary fails


class Work:
    """What goes on, in a thread, before and after: `turns` are those that have ended well."""

    def __init__(self, driver: Driver, turn: Callable[[int], object], stop: threading.Event) -> None:
        self.turns = 0
        self._driver = driver
        self._turn = turn
        self._stop = stop
        self.ended: Future[None] = start(self._run)

    def _run(self) -> None:
        for number in count(1):
            self._turn(number)
            self.turns = number
            if self._stop.wait(0.005):
                return


def reads(driver: Driver, command: Command[object], _: int) -> None:
    driver.execute(command)


def counts_in_turn(driver: Driver, key: str) -> Callable[[int], None]:
    def turn(number: int) -> None:
        assert driver.execute(Counter[int](key, driver.url).commands.incr()) == number

    return turn


def counts_in_batches(driver: Driver, keys: list[str]) -> Callable[[int], None]:
    commands = [Counter[int](key, driver.url).commands.incr() for key in keys]

    def turn(number: int) -> None:
        assert [one.result() for one in driver.fill("batch", add_all(commands))] == [number] * len(keys)

    return turn


def counts_in_transactions(driver: Driver, key: str) -> Callable[[int], None]:
    commands = [Counter[int](key, driver.url).commands.incr() for _ in range(2)]

    def turn(number: int) -> None:
        assert [one.result() for one in driver.fill("transaction", add_all(commands))] == [2 * number - 1, 2 * number]

    return turn


def holds_a_lock(driver: Driver, key: str, inside: threading.Lock) -> Callable[[int], None]:
    lock = Lock(key, driver.url).commands

    def turn(number: int) -> None:
        token = f"{id(driver)}-{number}"
        assert run(lock.acquire_wait(token, None, LONG), driver.execute)
        assert inside.acquire(blocking=False), "two hold it"
        inside.release()
        assert driver.execute(lock.release(token)) == 1

    return turn


class TestFailover:
    @pytest.mark.parametrize(("how", "shard"), [("ask", 0), ("kill", 1), ("pause", 2)])
    def test_it_is_ridden_out_and_nothing_is_done_twice_or_lost(self, cluster: Cluster, how: How, shard: int) -> None:
        """All at the same time, of both faces. What was written, the replica has confirmed: else it could be lost."""
        keys = one_key_for_each_node(cluster)
        tag = keys[shard]
        old = cluster.node_of(tag)
        cluster.node_of(tag).call("SET", f"{{{tag}}}:read", "1")
        stop, works, popping, drivers = threading.Event(), list[Work](), list[Future[str | None]](), list[Driver]()
        careful: dict[str, object] = {"exactly_once": True, "wait_replicas": 1, "wait_timeout": 1.0, "deadline": LONG}
        inside = threading.Lock()

        def driver(kind: str, **options: object) -> Driver:
            made = DRIVERS[kind](seed(cluster, other_than=old), socket_timeout=1.0, **options)
            drivers.append(made)
            return made

        def work(driver: Driver, turn: Callable[[int], object]) -> None:
            works.append(Work(driver, turn, stop))

        try:
            for kind in DRIVERS:
                reading = driver(kind, deadline=LONG)
                read = Counter[int](f"{{{tag}}}:read", reading.url).commands.get()
                work(reading, partial(reads, reading, read))
                work(one := driver(kind, **careful), counts_in_turn(one, f"{{{tag}}}:{kind}:single"))
                work(
                    one := driver(kind, **careful), counts_in_batches(one, [f"{{{key}}}:{kind}:batch" for key in keys])
                )
                work(one := driver(kind, **careful), counts_in_transactions(one, f"{{{tag}}}:{kind}:both"))
                work(one := driver(kind, **careful), holds_a_lock(one, f"{{{tag}}}:lock", inside))
                for timeout in (None, LONG):
                    one = driver(kind, exactly_once=True)
                    pop = Queue[str](f"{{{tag}}}:{kind}:{timeout}", one.url).commands.pop_wait(timeout)
                    popping.append(start(partial(one.execute, pop)))
            wait_until(lambda: all(one.turns > 3 for one in works), "all are at work", LONG)
            wait_until(lambda: int(old.info("clients")["blocked_clients"]) >= 4, "all wait", LONG)
            cluster.fail_over(old, how)
            if old.has_ended:
                old.start()
            before = [one.turns for one in works]
            wait_until(
                lambda: all(one.ended.done() or one.turns > was + 3 for one, was in zip(works, before, strict=True)),
                "all go on",
                LONG,
            )
            assert not any(one.done() for one in popping)
            stop.set()
            for each in works:
                each.ended.result(LONG)
            new = cluster.node_of(tag)
            for kind in DRIVERS:
                for timeout in (None, LONG):
                    new.call("LPUSH", f"{{{tag}}}:{kind}:{timeout}", "sweep")
            assert [one.result(LONG) for one in popping] == ["sweep"] * 4
            assert new is not old
        finally:
            stop.set()
            for one in drivers:
                one.end()

    def test_threads_and_tasks_share_backends_through_it(self, cluster: Cluster) -> None:
        """On demand, the replica has all when it takes over."""
        key = one_key_for_each_node(cluster)[0]
        stop = threading.Event()
        failed_over = start(lambda: cluster.fail_over(cluster.node_of(key), "ask"))
        with redisext.connect(cluster.url, exactly_once=True, deadline=LONG) as db:

            def work(number: int) -> int:
                hits = Counter[int](f"{{{key}}}:thread:{number}", db)
                for turn in count(1):
                    assert hits.incr() == turn
                    if stop.is_set():
                        return turn
                return 0

            threads = [start(partial(work, number)) for number in range(16)]

            async def main() -> None:
                async with tasks.connect(cluster.url, exactly_once=True, deadline=LONG) as adb:

                    async def one(number: int) -> None:
                        hits = AsyncCounter[int](f"{{{key}}}:task:{number}", adb)
                        for turn in count(1):
                            assert await hits.incr() == turn
                            if stop.is_set():
                                return

                    working = asyncio.gather(*(one(number) for number in range(200)))
                    await asyncio.to_thread(failed_over.result, LONG)
                    await asyncio.sleep(0.2)
                    stop.set()
                    await working

            try:
                asyncio.run(main())
            finally:
                stop.set()
            for number, one in enumerate(threads):
                assert Counter[int](f"{{{key}}}:thread:{number}", db).get() == one.result(LONG)

    def test_without_records_an_item_comes_or_its_fate_is_unknown_and_never_twice(
        self, cluster: Cluster, made: MakesDrivers
    ) -> None:
        key = one_key_for_each_node(cluster)[1]
        old = cluster.node_of(key)
        driver = made(seed(cluster, other_than=old), deadline=LONG, socket_timeout=1.0)
        jobs = Queue[str](key, driver.url).commands
        waiting = start(lambda: driver.execute(jobs.pop_wait(LONG)))
        wait_until(lambda: int(old.info("clients")["blocked_clients"]) == 1, "it waits")
        cluster.fail_over(old, "kill")
        other = made(cluster.url, deadline=LONG, exactly_once=True)
        other.execute(jobs.push("sweep"))
        try:
            got = waiting.result(LONG)
        except OutcomeUnknown:
            got = other.execute(jobs.pop())
        assert got == "sweep"
        assert other.execute(jobs.pop()) is None

    def test_without_a_deadline_the_next_call_finds_the_new_primary(self, cluster: Cluster, made: MakesDrivers) -> None:
        key = one_key_for_each_node(cluster)[2]
        old = cluster.node_of(key)
        driver = made(seed(cluster, other_than=old))
        hits = Counter[int](key, driver.url).commands
        assert driver.execute(hits.incr()) == 1
        follow(cluster)
        cluster.fail_over(old, "kill")
        wait_until(lambda: all(map(takes_it_for_well, cluster.primaries())), "nobody takes the cluster for down", LONG)
        assert driver.execute(hits.incr()) == 2
        assert [one.result() for one in driver.fill("batch", add_all([hits.incr(), hits.get()]))] == [3, 3]

    def test_where_all_that_was_known_is_gone_replicas_are_asked(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(f"redis+cluster://127.0.0.1:{cluster.primaries()[0].port}", deadline=LONG)
        keys = one_key_for_each_node(cluster)
        for key in keys:
            driver.execute(Counter[int](key, driver.url).commands.incr())
        follow(cluster)
        gone = cluster.primaries()
        for one in gone:
            cluster.fail_over(one, "ask")
        cluster.settled()
        for one in gone:
            one.kill()
        for key in keys:
            assert driver.execute(Counter[int](key, driver.url).commands.incr()) == 2


# --- Replicas that fail


class TestReplicas:
    def test_one_that_is_down_is_an_error_or_the_primary_answers(self, cluster: Cluster, made: MakesDrivers) -> None:
        key = one_key_for_each_node(cluster)[0]
        primary = cluster.node_of(key)
        replica = cluster.replica_of(primary)
        primary.call("SET", key, "1")
        follow(cluster)
        strict, in_batches, lenient, patient = (
            made(cluster.url, read_from_replicas=True, **options)
            for options in ({}, {}, {"fallback_to_primary": True}, {"deadline": LONG})
        )
        get = Counter[int](key, strict.url).commands.get()
        before = calls(primary, "get")
        for driver in (strict, in_batches, lenient, patient):
            assert driver.execute(get) == 1
        assert calls(primary, "get") == before
        replica.kill()
        added = Added(get, get, Counter[int](key, strict.url).commands.incr())
        with pytest.raises(BatchError, match=r"^2 of 3 commands of the batch failed") as in_batch:
            in_batches.fill("batch", added)
        assert in_batch.value.retriable
        assert added.pending[2].result() == 2
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{replica.port}") as failed:
            strict.execute(get)
        assert failed.value.retriable
        assert [one.result() for one in lenient.fill("batch", add_all([get, get]))] == [2, 2]
        assert lenient.execute(get) == 2
        assert patient.execute(get) == 2  # once the cluster says that there is none

    def test_one_that_was_promoted_answers_and_so_does_who_follows(self, cluster: Cluster, made: MakesDrivers) -> None:
        key = one_key_for_each_node(cluster)[1]
        driver = made(cluster.url, read_from_replicas=True, deadline=LONG)
        hits = Counter[int](key, driver.url).commands
        driver.execute(hits.incr())
        follow(cluster)
        assert driver.execute(hits.get()) == 1
        old = cluster.node_of(key)
        new = cluster.fail_over(old, "kill")
        assert driver.execute(hits.get()) == 1
        assert driver.execute(hits.incr()) == 2
        cluster.revive()
        cluster.named()
        new.kill()
        wait_until(lambda: cluster_says(cluster, key) is old, "it has taken over again", LONG)
        assert driver.execute(hits.get()) == 2


def cluster_says(cluster: Cluster, key: str) -> RedisServer | None:
    try:
        return cluster.node_of(key)
    except LookupError:
        return None


# --- Slots that nobody has


class TestUncovered:
    def test_where_the_cluster_allows_it_the_other_slots_work(self, made: MakesDrivers) -> None:
        with Cluster(replicas=0, full_coverage=False) as cluster:
            gone, *others = one_key_for_each_node(cluster)
            driver = made(cluster.url)
            hits = {key: Counter[int](key, driver.url).commands for key in (gone, *others)}
            node = cluster.node_of(gone)
            driver.execute(hits[gone].incr())
            node.call("CLUSTER", "DELSLOTS", cluster.slot(gone))
            with pytest.raises(CommandRefused, match=f"INCRBY on key '{gone}': Hash slot not served") as failed:
                driver.execute(hits[gone].incr())
            assert failed.value.retriable
            added = Added(*(one.incr() for one in hits.values()))
            with pytest.raises(BatchError, match=r"^1 of 3 commands") as in_batch:
                driver.fill("batch", added)
            assert in_batch.value.retriable
            assert [one.result() for one in added.pending[1:]] == [1, 1]
            with pytest.raises(BatchError) as in_transaction:
                driver.fill("transaction", add_all([hits[gone].incr()]))
            assert in_transaction.value.retriable
            patient = made(cluster.url, deadline=LONG)
            counting = start(lambda: patient.execute(hits[gone].incr()))
            time.sleep(0.2)
            assert not counting.done()
            node.call("CLUSTER", "ADDSLOTS", cluster.slot(gone))
            assert counting.result(LONG) == 2

    def test_a_node_that_is_down_fails_its_part_only(self, made: MakesDrivers) -> None:
        with Cluster(replicas=0, full_coverage=False) as cluster:
            keys = one_key_for_each_node(cluster)
            gone = keys[1]
            driver = made(cluster.url)
            commands = [Counter[int](key, driver.url).commands.incr() for key in keys for _ in range(3)]
            driver.fill("batch", add_all(commands))
            cluster.node_of(gone).kill()
            for turn in (2, 3):
                added = Added(*commands)
                with pytest.raises(BatchError, match=r"^3 of 9 commands of the batch failed") as failed:
                    driver.fill("batch", added)
                assert failed.value.retriable
                expected = list(range(3 * turn - 2, 3 * turn + 1))
                assert [one.result() for one in (*added.pending[:3], *added.pending[6:])] == expected * 2
            with pytest.raises(RedisextError) as alone:
                driver.execute(commands[3])
            assert alone.value.retriable

    def test_where_all_nodes_are_down_each_command_is_told(self, made: MakesDrivers) -> None:
        with Cluster(replicas=0) as cluster:
            driver = made(cluster.url)
            commands = [Counter[int](key, driver.url).commands.incr() for key in one_key_for_each_node(cluster)]
            driver.fill("batch", add_all(commands))
            driver.fill("transaction", add_all(commands[:1]))
            for one in cluster.nodes:
                one.kill()
            added = Added(*commands)
            with pytest.raises(BatchError, match=r"^3 of 3 commands of the batch failed") as failed:
                driver.fill("batch", added)
            assert {type(one) for one in failed.value.exceptions} == {ConnectionFailed}
            assert failed.value.retriable
            for kind in ("batch", "transaction"):
                with pytest.raises(BatchError) as failed:
                    driver.fill(kind, add_all(commands[:1]))
                assert failed.value.retriable
            with pytest.raises(ConnectionFailed, match="no node answers"):
                driver.execute(commands[0])

    def test_a_command_whose_node_is_gone_with_all_others_is_told_why(self, made: MakesDrivers) -> None:
        with Cluster(replicas=0) as cluster:
            driver = made(cluster.url)
            incr = Counter[int]("hits", driver.url).commands.incr()
            driver.execute(incr)
            port = cluster.node_of("hits").port
            for one in cluster.nodes:
                one.kill()
            with pytest.raises(ConnectionFailed, match=f"cannot reach redis://127.0.0.1:{port}/0") as failed:
                driver.execute(incr)
            assert failed.value.retriable

    def test_where_it_does_not_the_whole_cluster_is_down(self, made: MakesDrivers) -> None:
        with Cluster(replicas=0) as cluster:
            first, second, _ = one_key_for_each_node(cluster)
            driver = made(cluster.url)
            other = cluster.node_of(second)
            cluster.node_of(first).kill()
            wait_until(lambda: b"cluster_state:fail" in said_by(other), "it is seen", LONG)
            hits = Counter[int](second, driver.url).commands
            with pytest.raises(CommandRefused, match=f"INCRBY on key '{second}': The cluster is down") as failed:
                driver.execute(hits.incr())
            assert failed.value.retriable
            with pytest.raises(BatchError) as in_batch:
                driver.fill("batch", add_all([hits.incr()]))
            assert in_batch.value.retriable


def said_by(node: RedisServer) -> bytes:
    told = node.call("CLUSTER", "INFO")
    assert isinstance(told, bytes)
    return told


# --- The end of it


class TestClosing:
    def test_while_it_looks_for_a_node_that_answers(self, made: MakesDrivers) -> None:
        port = free_port()
        driver = made(f"redis+cluster://127.0.0.1:{port}", deadline=LONG)
        with TurnsAway(port) as there:
            counting = start(partial(driver.execute, Counter[int]("hits", driver.url).commands.incr()))
            wait_until(lambda: there.attempts >= 3, "it tries")
            driver.close_meanwhile()
            with pytest.raises(BackendClosed):
                counting.result(LONG)

    def test_while_it_asks_one_that_is_silent(self, made: MakesDrivers) -> None:
        with Node(password="", certificate=None) as silent:
            driver = made(f"redis+cluster://127.0.0.1:{silent.port}", socket_timeout=LONG, deadline=LONG)
            silent.pause()
            counting = start(partial(driver.execute, Counter[int]("hits", driver.url).commands.incr()))
            time.sleep(0.2)
            driver.close_meanwhile()
            with pytest.raises(BackendClosed):
                counting.result(LONG)
            silent.resume()

    def test_a_node_that_is_silent_is_a_timeout(self, made: MakesDrivers) -> None:
        with Cluster(replicas=0, node_timeout_ms=60_000) as cluster:
            key, other, _ = one_key_for_each_node(cluster)
            driver = made(cluster.url, socket_timeout=0.3)
            commands: list[Command[object]] = [Counter[int](one, driver.url).commands.get() for one in (key, other)]
            driver.fill("batch", add_all(commands))
            cluster.node_of(key).pause()
            with pytest.raises(Timeout):
                driver.execute(commands[0])
            added = Added(*commands)
            with pytest.raises(BatchError, match=r"^1 of 2"):
                driver.fill("batch", added)
            assert added.pending[1].result() is None
            for one in cluster.nodes:
                if one.is_paused:
                    one.resume()
