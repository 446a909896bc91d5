"""A cluster whose slots move from node to node: whoever works on them hardly notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redisext import Counter, Lock, Queue
from redisext.command import Command, Steps, run
from redisext.counter import CounterCommands
from redisext.errors import BatchError, ConnectionFailed, RedisextError
from tests.backend.observe import calls
from tests.backend.test_cluster import called, follow, refusals
from tests.blocks import Added, Block, Driver, add_all, reading
from tests.clusters import Cluster, Migration
from tests.servers import RedisServer, wait_until
from tests.threads import PATIENCE, start

MakesDrivers: TypeAlias = Callable[..., Driver]

SOON: Final = 0.3
"""A time (seconds) that is meant to run out."""

MOVED, LEFT, NEW = "{jobs}:moved", "{jobs}:left", "{jobs}:new"
SLOT: Final = Cluster.slot("jobs")


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """All slots are served after each test, by whomever."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    """An empty one."""
    shared.flush()
    return shared


@pytest.fixture
def driver(cluster: Cluster, made: MakesDrivers) -> Driver:
    """One that knows who has what."""
    driver = made(cluster.url)
    driver.execute(Counter[int](LEFT, driver.url).commands.exists())
    return driver


def elsewhere(cluster: Cluster) -> RedisServer:
    """Where the slot can move to."""
    return next(one for one in cluster.primaries() if one is not cluster.primary_of(SLOT))


@pytest.fixture
def half(cluster: Cluster) -> Iterator[Migration]:
    """A slot of which one key has moved."""
    for key in (MOVED, LEFT):
        cluster.primary_of(SLOT).call("SET", key, "1")
    with cluster.migrating(SLOT, elsewhere(cluster)) as migration:
        migration.move(MOVED)
        yield migration


def hits(driver: Driver, key: str) -> CounterCommands[int]:
    """The commands of a counter."""
    return Counter[int](key, driver.url).commands


def incr_by_transact(driver: Driver, key: str) -> int:
    def fn(tx: Block) -> Steps[int]:
        was = yield from hits(driver, key).get(0)
        tx.add(hits(driver, key).incr())
        return was + 1

    return driver.transact(fn, watch=key)


USES: dict[str, Callable[[Driver, str], int]] = {
    "command": lambda driver, key: driver.execute(hits(driver, key).incr()),
    "batch": lambda driver, key: driver.fill("batch", lambda block: block.add(hits(driver, key).incr())).result(),
    "transaction": lambda driver, key: driver.fill(
        "transaction", lambda block: block.add(hits(driver, key).incr())
    ).result(),
    "transact": incr_by_transact,
}
uses = pytest.mark.parametrize("use", USES.values(), ids=USES)


def tried_again(cluster: Cluster, kind: str = "TRYAGAIN", times: int = 3) -> Callable[[], bool]:
    """Whether the nodes have refused something so often from now on."""

    def count() -> int:
        return sum(int(one.removeprefix("count=") or 0) for one in refusals(cluster, kind))

    before = count()
    return lambda: count() >= before + times


class TestMoved:
    @uses
    def test_the_new_node_is_found_without_an_error(
        self, cluster: Cluster, driver: Driver, use: Callable[[Driver, str], int]
    ) -> None:
        for turn in range(1, 4):
            new = elsewhere(cluster)
            cluster.move_slot(SLOT, new)
            asked = called(cluster.nodes, "cluster|slots")
            assert use(driver, LEFT) == 2 * turn - 1
            assert use(driver, LEFT) == 2 * turn
            assert new.call("GET", LEFT) == b"%d" % (2 * turn)
            assert called(cluster.nodes, "cluster|slots") <= asked + 1

    @uses
    def test_so_it_is_with_records_and_confirmations(
        self, cluster: Cluster, made: MakesDrivers, use: Callable[[Driver, str], int]
    ) -> None:
        driver = made(cluster.url, exactly_once=True, wait_replicas=1, wait_timeout=PATIENCE, read_from_replicas=True)
        assert use(driver, LEFT) == 1
        cluster.move_slot(SLOT, elsewhere(cluster))
        assert [use(driver, LEFT), use(driver, LEFT)] == [2, 3]

    def test_a_batch_is_split_anew(self, cluster: Cluster, driver: Driver) -> None:
        keys = [f"{number}" for number in range(50)]
        commands: list[Command[object]] = [hits(driver, key).incr() for key in (*keys, LEFT, *keys)]
        driver.fill("batch", add_all(commands))
        cluster.move_slot(SLOT, elsewhere(cluster))
        pending = driver.fill("batch", add_all(commands))
        assert [one.result() for one in pending] == [3] * 50 + [2] + [4] * 50

    def test_who_has_what_is_asked_once_for_many_commands(self, cluster: Cluster, driver: Driver) -> None:
        cluster.move_slot(SLOT, elsewhere(cluster))
        asked = called(cluster.nodes, "cluster|slots")
        for _ in range(100):
            driver.execute(hits(driver, LEFT).incr())
        assert called(cluster.nodes, "cluster|slots") <= asked + 1

    def test_who_waits_in_pop_wait_follows(self, cluster: Cluster, driver: Driver) -> None:
        jobs = Queue[str](LEFT, driver.url).commands
        old, new = cluster.primary_of(SLOT), elsewhere(cluster)
        waiting = start(lambda: driver.execute(jobs.pop_wait(None)))
        wait_until(lambda: blocked(old) == 1, "it waits")
        cluster.move_slot(SLOT, new)
        wait_until(lambda: blocked(new) == 1, "it waits there", PATIENCE)
        new.call("LPUSH", LEFT, "sweep")
        assert waiting.result(PATIENCE) == "sweep"

    def test_transact_begins_anew_if_it_was_in_the_midst(self, cluster: Cluster, driver: Driver) -> None:
        new = elsewhere(cluster)
        seen: list[int] = []

        def fn(tx: Block) -> Steps[int]:
            seen.append((yield from hits(driver, LEFT).get(0)))
            if len(seen) == 1:
                cluster.move_slot(SLOT, new)
            tx.add(hits(driver, LEFT).incr())
            return len(seen)

        assert driver.transact(fn, watch=LEFT) == 2
        assert new.call("GET", LEFT) == b"1"

    def test_what_transact_reads_too_late_is_retriable_and_ridden_out(
        self, cluster: Cluster, made: MakesDrivers
    ) -> None:
        for options in ({}, {"deadline": PATIENCE}):
            driver = made(cluster.url, **options)
            moves = iter([elsewhere(cluster)])

            def fn(tx: Block) -> Steps[int | None]:
                for new in moves:  # noqa: B023  # it is used before the next
                    cluster.move_slot(SLOT, new)
                got = yield from hits(driver, LEFT).get()  # noqa: B023
                return got

            if options:
                assert driver.transact(fn, watch=LEFT) is None
            else:
                with pytest.raises(ConnectionFailed, match=r"the slot of key '\{jobs\}:left' is being moved") as failed:
                    driver.transact(fn, watch=LEFT)
                assert failed.value.retriable

    def test_replicas_of_the_new_node_answer(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, read_from_replicas=True)
        cluster.primary_of(SLOT).call("SET", LEFT, "5")
        follow(cluster)
        assert driver.execute(hits(driver, LEFT).get()) == 5
        new = elsewhere(cluster)
        cluster.move_slot(SLOT, new)
        follow(cluster)
        replica = cluster.replica_of(new)
        before = calls(replica, "get")
        assert driver.execute(hits(driver, LEFT).get()) == 5
        [pending] = driver.fill("batch", add_all([hits(driver, LEFT).get()]))
        assert pending.result() == 5
        assert calls(replica, "get") == before + 2


def blocked(node: RedisServer) -> int:
    return int(node.info("clients")["blocked_clients"])


class TestHalfMoved:
    def test_each_key_is_found_where_it_is(self, half: Migration, driver: Driver) -> None:
        for turn in (2, 3):
            for key in (MOVED, LEFT):
                assert driver.execute(hits(driver, key).get()) == turn - 1
                assert driver.execute(hits(driver, key).incr()) == turn
            assert driver.execute(hits(driver, NEW).incr()) == turn - 1
        assert set(half.keys()) == {LEFT.encode()}

    def test_a_batch_over_all(self, half: Migration, driver: Driver) -> None:
        commands = [hits(driver, key).incr() for key in (MOVED, LEFT, NEW, "elsewhere") for _ in range(3)]
        pending = driver.fill("batch", add_all(commands))
        assert [one.result() for one in pending] == [2, 3, 4] * 2 + [1, 2, 3] * 2

    def test_a_key_that_is_taken_for_another_structure_is_told_as_ever(self, half: Migration, driver: Driver) -> None:
        for key in (MOVED, LEFT):
            with pytest.raises(RedisextError, match="holds a string, and LLEN works on a list"):
                driver.execute(Queue[str](key, driver.url).commands.size())

    def test_writes_are_confirmed_there_too(self, half: Migration, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, wait_replicas=1, wait_timeout=PATIENCE)
        assert [driver.execute(hits(driver, key).incr()) for key in (MOVED, LEFT)] == [2, 2]
        pending = driver.fill("batch", add_all([hits(driver, key).incr() for key in (MOVED, LEFT, MOVED)]))
        assert [one.result() for one in pending] == [3, 3, 4]

    def test_who_has_what_is_not_asked_anew(self, half: Migration, cluster: Cluster, driver: Driver) -> None:
        driver.execute(hits(driver, MOVED).get())
        asked = called(cluster.nodes, "cluster|slots")
        for _ in range(20):
            driver.execute(hits(driver, MOVED).get())
        assert called(cluster.nodes, "cluster|slots") == asked

    def test_pop_wait_waits_at_the_new_node(self, half: Migration, driver: Driver) -> None:
        waiting = start(lambda: driver.execute(Queue[str](NEW, driver.url).commands.pop_wait(None)))
        wait_until(lambda: blocked(half.to) == 1, "it waits there")
        half.finish()
        half.to.call("LPUSH", NEW, "sweep")
        assert waiting.result(PATIENCE) == "sweep"


WAITERS: dict[str, Callable[[Driver], object]] = {
    "script": lambda driver: driver.execute(Lock(LEFT, driver.url).commands.release("nobody")),
    "script in a batch": lambda driver: driver.fill(
        "batch", lambda block: block.add(Lock(LEFT, driver.url).commands.release("nobody"))
    ).result(),
    "transaction": lambda driver: USES["transaction"](driver, MOVED),
    "transact, of what it watches": lambda driver: driver.transact(reading(hits(driver, MOVED).get()), watch=MOVED),
}
waiters = pytest.mark.parametrize("use", WAITERS.values(), ids=WAITERS)


class TestWaiting:
    """What works on several keys of a slot that is half moved, waits."""

    @waiters
    @pytest.mark.parametrize("options", [{}, {"deadline": PATIENCE}, {"exactly_once": True}], ids=str)
    def test_until_all_have_moved(
        self, cluster: Cluster, made: MakesDrivers, use: Callable[[Driver], object], options: dict[str, object]
    ) -> None:
        driver = made(cluster.url, **(options or {"socket_timeout": PATIENCE}))
        for key in (MOVED, LEFT):
            cluster.primary_of(SLOT).call("SET", key, "1")
        with cluster.migrating(SLOT, elsewhere(cluster)) as migration:
            migration.move(MOVED)
            waiting = start(lambda: use(driver))
            asks, waits = tried_again(cluster, "ASK"), tried_again(cluster)
            wait_until(lambda: asks() or waits(), "it was tried again", PATIENCE)
            assert not waiting.done()
        assert waiting.result(PATIENCE) in (-1, 1, 2)

    @waiters
    @pytest.mark.parametrize(
        "options", [{"socket_timeout": SOON}, {"deadline": SOON}, {"exactly_once": True, "deadline": SOON}], ids=str
    )
    def test_not_for_longer_than_the_deadline_or_the_timeout(
        self,
        half: Migration,
        cluster: Cluster,
        made: MakesDrivers,
        use: Callable[[Driver], object],
        options: dict[str, object],
    ) -> None:
        driver = made(cluster.url, **options)
        with pytest.raises(RedisextError) as failed:
            use(driver)
        error = failed.value.exceptions[0] if isinstance(failed.value, BatchError) else failed.value
        assert isinstance(error, ConnectionFailed)
        assert "is being moved to another node of the cluster" in str(error)
        assert failed.value.retriable
        assert not error.sent

    def test_a_recorded_command_does(self, cluster: Cluster, made: MakesDrivers) -> None:
        """Its record is a key that is not there yet, so that nobody knows which node has both."""
        driver = made(cluster.url, exactly_once=True, deadline=PATIENCE)
        cluster.primary_of(SLOT).call("SET", LEFT, "1")
        with cluster.migrating(SLOT, elsewhere(cluster)):
            is_refused = tried_again(cluster)
            counting = start(lambda: driver.execute(hits(driver, LEFT).incr()))
            wait_until(is_refused, "it was tried again", PATIENCE)
            assert not counting.done()
        assert counting.result(PATIENCE) == 2
        assert cluster.primary_of(SLOT).call("GET", LEFT) == b"2"

    def test_in_a_batch_only_that_command_does(self, half: Migration, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, socket_timeout=SOON)
        added = Added(
            hits(driver, MOVED).incr(),
            hits(driver, LEFT).incr(),
            Lock(LEFT, driver.url).commands.release("nobody"),
            hits(driver, "elsewhere").incr(),
        )
        with pytest.raises(BatchError, match=r"^1 of 4 commands of the batch failed") as failed:
            driver.fill("batch", added)
        assert failed.value.retriable
        assert [added.pending[number].result() for number in (0, 1, 3)] == [2, 2, 1]

    def test_transact_of_a_key_that_has_moved_beside_one_that_has_not(
        self, cluster: Cluster, made: MakesDrivers
    ) -> None:
        hasty, patient = made(cluster.url, deadline=SOON), made(cluster.url, deadline=PATIENCE)

        def both(tx: Block) -> Steps[int]:
            was = yield from hits(hasty, LEFT).get(0)
            tx.add(hits(hasty, MOVED).incr())
            return was

        for key in (MOVED, LEFT):
            cluster.primary_of(SLOT).call("SET", key, "1")
        with cluster.migrating(SLOT, elsewhere(cluster)) as migration:
            migration.move(MOVED)
            with pytest.raises(BatchError, match="is being moved") as failed:
                hasty.transact(both, watch=LEFT)
            assert failed.value.retriable
            is_refused = tried_again(cluster, "ASK")
            waiting = start(lambda: patient.transact(both, watch=LEFT))
            wait_until(is_refused, "it was tried again", PATIENCE)
        assert waiting.result(PATIENCE) == 1
        assert patient.execute(hits(patient, MOVED).get()) == 2

    def test_a_lock_is_acquired_once_it_is_there(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver, other = (made(cluster.url, deadline=PATIENCE) for _ in range(2))
        lock = Lock(LEFT, driver.url).commands
        with cluster.migrating(SLOT, elsewhere(cluster)):
            assert run(lock.acquire_wait("a", None, None), driver.execute) is True
            waiting = start(lambda: run(lock.acquire_wait("b", None, PATIENCE), other.execute))
            releasing = start(lambda: driver.execute(lock.release("a")))
        assert releasing.result(PATIENCE) == 1
        assert waiting.result(PATIENCE) is True


class TestIteration:
    MEMBERS: Final = frozenset(f"{number}" for number in range(5_000))

    @pytest.mark.parametrize("options", [{}, {"read_from_replicas": True}, {"deadline": PATIENCE}], ids=str)
    def test_all_that_was_there_throughout_is_given_while_the_key_moves(
        self, cluster: Cluster, made: MakesDrivers, options: dict[str, object]
    ) -> None:
        driver = made(cluster.url, **options)
        cluster.primary_of(SLOT).call("SADD", LEFT, *self.MEMBERS)
        follow(cluster)
        members = driver.members(LEFT)
        found = set(islice(members, 1_500))
        with cluster.migrating(SLOT, elsewhere(cluster)) as migration:
            migration.move(LEFT)
            follow(cluster)
            found |= set(islice(members, 1_500))
        follow(cluster)
        found |= set(islice(members, 1_500))
        cluster.move_slot(SLOT, elsewhere(cluster))
        follow(cluster)
        assert found | set(members) == self.MEMBERS

    def test_it_begins_at_the_new_node_where_the_key_is_there_already(self, cluster: Cluster, driver: Driver) -> None:
        cluster.primary_of(SLOT).call("SADD", LEFT, *self.MEMBERS)
        with cluster.migrating(SLOT, elsewhere(cluster)) as migration:
            migration.move(LEFT)
            assert set(driver.members(LEFT)) == self.MEMBERS


KEYS: Final = [f"{{jobs}}:{number}" for number in range(4)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*USES]), st.sampled_from(KEYS)),
        st.tuples(st.just("all in a batch"), st.just("")),
        st.tuples(st.just("move"), st.sampled_from(KEYS)),
        st.tuples(st.just("begin or finish"), st.just("")),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_moves_nothing_is_counted_twice_or_lost(
    cluster: Cluster, driver: Driver, steps: list[tuple[str, str]]
) -> None:
    """What has to wait for the end of a migration is done outside of one."""
    cluster.flush()
    expected = dict.fromkeys(KEYS, 0)
    migration: Migration | None = None
    try:
        for what, key in steps:
            if what == "begin or finish":
                if migration is not None:
                    migration.finish()
                    migration = None
                else:
                    migration = Migration(cluster, SLOT, elsewhere(cluster))
                    migration.begin()
            elif what == "move":
                if migration is not None:
                    migration.move(key)
            elif what == "all in a batch":
                pending = driver.fill("batch", add_all([hits(driver, one).incr() for one in KEYS]))
                expected = {one: number + 1 for one, number in expected.items()}
                assert [one.result() for one in pending] == [*expected.values()]
            elif migration is None or what in {"command", "batch"}:
                expected[key] += 1
                assert USES[what](driver, key) == expected[key]
    finally:
        if migration is not None:
            migration.finish()
    assert [driver.execute(hits(driver, one).get(0)) for one in KEYS] == [*expected.values()]
