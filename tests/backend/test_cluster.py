"""A cluster: its first steps, which node gets what, what its replicas answer and confirm.

What moves or fails is in test_cluster_moving and test_cluster_failover.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import redisext
from redisext import AsyncCounter, AsyncQueue, Counter, HashMap, Lock, Map, Pool, Queue
from redisext.command import Command, Steps, run
from redisext.errors import (
    ArgumentError,
    BatchError,
    ConfigurationError,
    ConnectionFailed,
    CrossSlot,
    DecodeError,
    NotReplicated,
    PermissionDenied,
    RedisextError,
    WrongType,
)
from redisext.slots import SLOTS, slot
from tests.backend import tasks
from tests.backend.observe import Sockets, calls, connections, forking_threads, in_child, open_sockets
from tests.blocks import Added, Block, Driver, add_all, no_steps, reading
from tests.certificates import Authority
from tests.clusters import Cluster
from tests.proxy import Fault, Kind, Proxy, the_next
from tests.servers import RedisServer, Replicated, free_port, in_step, wait_until
from tests.threads import PATIENCE, start

MakesDrivers: TypeAlias = Callable[..., Driver]


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """No test leaves it other than it was."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    """An empty one."""
    shared.flush()
    return shared


@pytest.fixture
def driver(cluster: Cluster, made: MakesDrivers) -> Driver:
    return made(cluster.url)


def called(servers: list[RedisServer], command: str) -> int:
    return sum(calls(one, command) for one in servers)


def refusals(cluster: Cluster, kind: str) -> list[str]:
    """How often each node has refused something in this way."""
    return [one.info("errorstats").get(f"errorstat_{kind}", "") for one in cluster.nodes]


def replicas(cluster: Cluster) -> list[RedisServer]:
    primaries = cluster.primaries()
    return [one for one in cluster.nodes if one not in primaries]


def follow(cluster: Cluster) -> None:
    """Wait until the replicas have all that was written."""
    for one in cluster.primaries():
        wait_until(partial(in_step, one, [cluster.replica_of(one)]), "the replica is in step")


def one_key_for_each_node(cluster: Cluster) -> list[str]:
    found: dict[RedisServer, str] = {}
    for key in map(str, range(100)):
        found.setdefault(cluster.node_of(key), key)
    assert len(found) == len(cluster.primaries())
    return list(found.values())


# --- First steps


class TestFirstSteps:
    def test_the_models_work_as_on_one_server(self, cluster: Cluster) -> None:
        with redisext.connect(cluster.url) as db:
            jobs = Queue[str]("jobs", db)
            jobs.push("sweep", "mop")
            assert (jobs.pop(), jobs.items(), len(jobs)) == ("sweep", ["mop"], 1)
            assert Counter[int]("hits", db).incr() == 1
            stock = HashMap[str, int]("stock", db)
            stock.update(apples=3, pears=4)
            assert dict(stock) == {"apples": 3, "pears": 4}
            with Lock("nightly", db):
                assert Lock("nightly", db).locked()
            assert Map[int]("total", db).update(lambda total: (total or 0) + 5) == 5
            assert jobs.rename("{jobs}:done") is True

    def test_so_they_do_under_asyncio(self, cluster: Cluster) -> None:
        async def main() -> None:
            async with redisext.aconnect(cluster.url) as db:
                jobs = AsyncQueue[str]("jobs", db)
                await jobs.push("sweep", "mop")
                assert await jobs.pop() == "sweep"
                assert [job async for job in jobs] == ["mop"]
                assert await AsyncCounter[int]("hits", db).incr() == 1

        tasks.run(main)

    def test_a_model_takes_its_dsn(self, cluster: Cluster) -> None:
        class Hits(Counter[int]):
            CONNECTION = f"{cluster.url}?prefix=app%3A"

        assert Hits("hits").incr() == 1
        assert cluster.node_of("app:hits").call("GET", "app:hits") == b"1"

    def test_batches_and_transactions(self, driver: Driver) -> None:
        jobs, done = Queue[str]("{jobs}", driver.url).commands, Queue[str]("{jobs}:done", driver.url).commands
        hits = Counter[int]("hits", driver.url).commands
        pending = driver.fill("batch", add_all([jobs.push("sweep"), hits.incr(), done.push("mop"), hits.get()]))
        assert [one.result() for one in pending] == [1, 1, 1, 1]
        pending = driver.fill("transaction", add_all([jobs.pop(), done.push("sweep"), jobs.size()]))
        assert [one.result() for one in pending] == ["sweep", 2, 0]

    def test_transact(self, driver: Driver) -> None:
        left, sold = Counter[int]("{apples}:left", driver.url), Counter[int]("{apples}:sold", driver.url)
        driver.execute(left.commands.set(3))

        def sell(tx: Block) -> Steps[int]:
            have = yield from left.commands.get(0)
            tx.add(left.commands.decr(have))
            tx.add(sold.commands.incr(have))
            return have

        assert driver.transact(sell, watch=[left, sold]) == 3
        assert [driver.execute(one.commands.get()) for one in (left, sold)] == [0, 3]

    def test_pop_wait(self, cluster: Cluster, driver: Driver) -> None:
        jobs = Queue[str]("jobs", driver.url)
        waiting = start(lambda: driver.execute(jobs.commands.pop_wait(PATIENCE)))
        node = cluster.node_of("jobs")
        wait_until(lambda: int(node.info("clients")["blocked_clients"]) == 1, "it waits")
        node.call("LPUSH", "jobs", "sweep")
        assert waiting.result(PATIENCE) == "sweep"
        assert driver.execute(jobs.commands.pop_wait(0.01)) is None

    def test_a_lock_that_is_waited_for(self, driver: Driver) -> None:
        lock = Lock("nightly", driver.url).commands
        assert run(lock.acquire_wait("a", None, None), driver.execute) is True
        assert run(lock.acquire_wait("b", None, 0.05), driver.execute) is False
        assert driver.execute(lock.release("a")) == 1
        assert run(lock.acquire_wait("b", None, PATIENCE), driver.execute) is True


# --- To connect


class TestConnecting:
    def test_nothing_is_opened_before_the_first_command(self, sockets: Sockets, made: MakesDrivers) -> None:
        made(f"redis+cluster://127.0.0.1:{free_port()}")
        assert open_sockets() == sockets

    def test_one_seed_that_answers_is_enough(self, cluster: Cluster, made: MakesDrivers) -> None:
        down = ",".join(f"127.0.0.1:{free_port()}" for _ in range(3))
        for one in (cluster.nodes[1], replicas(cluster)[0]):
            driver = made(f"redis+cluster://{down},127.0.0.1:{one.port}")
            for key in one_key_for_each_node(cluster):
                driver.execute(Counter[int](key, driver.url).commands.incr())

    def test_a_seed_that_is_down_is_not_asked_again_and_again(self, cluster: Cluster, made: MakesDrivers) -> None:
        up = cluster.nodes[0]
        driver = made(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{up.port}")
        before = called(cluster.nodes, "cluster|slots")
        for number in range(100):
            driver.execute(Counter[int](f"{number}", driver.url).commands.incr())
        assert called(cluster.nodes, "cluster|slots") == before + 1

    def test_who_has_what_is_asked_once_by_all_tasks(self, cluster: Cluster) -> None:
        before = called(cluster.nodes, "cluster|slots")

        async def main() -> None:
            async with tasks.connect(cluster.url) as db:
                await asyncio.gather(*(AsyncCounter[int](f"{number}", db).incr() for number in range(200)))

        tasks.run(main)
        assert called(cluster.nodes, "cluster|slots") == before + 1

    def test_where_all_seeds_are_down_they_are_named(self, made: MakesDrivers) -> None:
        ports = [free_port() for _ in range(2)]
        where = ",".join(f"127.0.0.1:{port}" for port in ports)
        driver = made(f"redis+cluster://:s3cret@{where}")
        hits = Counter[int]("hits", driver.db.location).commands
        with pytest.raises(ConnectionFailed, match=rf"redis\+cluster://{where} .*cannot reach") as failed:
            driver.execute(hits.get())
        assert failed.value.retriable
        assert "s3cret" not in str(failed.value)
        for kind in ("batch", "transaction"):
            added = Added(hits.incr())
            with pytest.raises(BatchError, match=f"ConnectionFailed: .*{where}"):
                driver.fill(kind, added)
            assert isinstance(added.pending[0].error, ConnectionFailed)
        with pytest.raises(ConnectionFailed, match=where):
            driver.transact(lambda tx: no_steps(None), watch="hits")

    def test_with_a_deadline_it_is_waited_for(self, made: MakesDrivers) -> None:
        cluster = Cluster(primaries=3, replicas=0)
        driver = made(cluster.url, deadline=PATIENCE)
        counting = start(lambda: driver.execute(Counter[int]("hits", driver.url).commands.incr()))
        with cluster:
            assert counting.result(PATIENCE) == 1

    def test_a_wrong_password_is_told(self, made: MakesDrivers) -> None:
        with Cluster(password="s3cret", replicas=0) as cluster:
            right = made(cluster.url)
            assert right.execute(Counter[int]("hits", right.db.location).commands.incr()) == 1
            for userinfo in (":wr0ng@", ""):
                driver = made(f"redis+cluster://{userinfo}127.0.0.1:{cluster.nodes[0].port}", deadline=PATIENCE)
                hits = Counter[int]("hits", driver.db.location).commands
                with pytest.raises(ConfigurationError) as failed:
                    driver.execute(hits.incr())
                assert "wr0ng" not in str(failed.value)
                with pytest.raises(BatchError) as in_batch:
                    driver.fill("batch", add_all([hits.incr()]))
                assert isinstance(in_batch.value.exceptions[0], ConfigurationError)

    def test_over_tls_with_certificates_of_both_sides(
        self, needs_tls: None, tmp_path_factory: pytest.TempPathFactory, made: MakesDrivers
    ) -> None:
        certificate = Authority(tmp_path_factory.mktemp("tls")).vouch(mutual=True)
        with Cluster(certificate=certificate, password="s3cret", replicas=0) as cluster:
            driver = made(
                cluster.url,
                ssl_ca_certs=str(certificate.authority),
                ssl_certfile=str(certificate.file),
                ssl_keyfile=str(certificate.key),
            )
            for key in one_key_for_each_node(cluster):
                hits = Counter[int](key, driver.db.location).commands
                assert driver.execute(hits.incr()) == 1
                assert [one.result() for one in driver.fill("transaction", add_all([hits.incr()]))] == [2]

    def test_who_must_not_ask_who_has_what_is_told(self, cluster: Cluster, made: MakesDrivers) -> None:
        for one in cluster.nodes:
            one.call("ACL", "SETUSER", "ada", "on", ">secret", "~*", "+@all", "-cluster")
        try:
            driver = made(cluster.url.replace("://", "://ada:secret@"))
            with pytest.raises(PermissionDenied, match=r"the user may not ask .* who does what"):
                driver.execute(Counter[int]("hits", driver.db.location).commands.incr())
        finally:
            for one in cluster.nodes:
                one.call("ACL", "DELUSER", "ada")


class TestTheWrongScheme:
    def test_a_server_by_itself_is_no_cluster(self, server: RedisServer, made: MakesDrivers) -> None:
        driver = made(f"redis+cluster://127.0.0.1:{server.port}", deadline=PATIENCE)
        way_out = rf"is not in a cluster: name it redis://127\.0\.0\.1:{server.port}/0$"
        hits = Counter[int]("hits", driver.url).commands
        with pytest.raises(ConfigurationError, match=way_out):
            driver.execute(hits.incr())
        with pytest.raises(ConfigurationError, match=way_out):
            driver.transact(reading(hits.get()), watch="hits")
        for kind in ("batch", "transaction"):
            with pytest.raises(BatchError) as failed:
                driver.fill(kind, add_all([hits.incr()]))
            assert isinstance(failed.value.exceptions[0], ConfigurationError)
            assert "name it redis://" in str(failed.value.exceptions[0])

    @pytest.mark.parametrize("options", [{}, {"deadline": PATIENCE}, {"replicas": True}], ids=str)
    def test_a_node_of_a_cluster_is_no_server_by_itself(
        self, cluster: Cluster, made: MakesDrivers, options: dict[str, object]
    ) -> None:
        first, second, _ = one_key_for_each_node(cluster)
        node = cluster.node_of(first)
        if options.pop("replicas", None):
            options["replicas"] = [cluster.replica_of(node).url]
        driver = made(node.url, **options)
        way_out = rf"redis://127\.0\.0\.1:{node.port}/0 is a node of a cluster, and another node has key '{second}': "
        way_out += rf"name it redis\+cluster://127\.0\.0\.1:{node.port}$"
        here, there = (Counter[int](key, driver.url).commands for key in (first, second))
        assert driver.execute(here.incr()) == 1
        with pytest.raises(ConfigurationError, match=way_out):
            driver.execute(there.incr())
        with pytest.raises(ConfigurationError, match=way_out):
            driver.transact(reading(there.get()), watch=second)
        added = Added(here.incr(), there.incr(), here.incr())
        with pytest.raises(BatchError):
            driver.fill("batch", added)
        assert [added.pending[number].result() for number in (0, 2)] == [2, 3]
        assert isinstance(added.pending[1].error, ConfigurationError)
        added = Added(here.incr(), there.incr())
        with pytest.raises(BatchError):
            driver.fill("transaction", added)
        assert isinstance(added.pending[1].error, ConfigurationError)
        assert driver.execute(here.get()) == 3

    def test_so_it_is_with_exactly_once(self, cluster: Cluster, made: MakesDrivers) -> None:
        """A command deletes the record of the one before, which may be of another node's key."""
        first, second, _ = one_key_for_each_node(cluster)
        driver = made(cluster.node_of(first).url, exactly_once=True)
        here, there = (Counter[int](key, driver.url).commands for key in (first, second))
        for command in (there.incr(), here.incr()):
            with pytest.raises(ConfigurationError, match=r"is a node of a cluster.* name it redis\+cluster://"):
                driver.execute(command)


# --- Routing


class TestRouting:
    def test_a_key_of_every_slot_finds_its_node(self, cluster: Cluster, driver: Driver) -> None:
        keys = [f"{{{number}}}" for number in range(60_000)]
        of_slots = {slot(key.encode()): key for key in keys}
        wanted = [of_slots[number] for number in range(0, SLOTS, 7) if number in of_slots]
        assert len(wanted) > 2_000
        wanted += [of_slots[number] for number in (0, 5460, 5461, 10921, 10922, SLOTS - 1) if number in of_slots]
        before, moved = called(cluster.nodes, "cluster|slots"), refusals(cluster, "MOVED")
        commands: list[Command[object]] = [Map[int](key, driver.url).commands.set(1) for key in wanted]
        assert {one.result() for one in driver.fill("batch", add_all(commands))} == {True}
        for key in wanted[::20]:
            assert driver.execute(Map[int](key, driver.url).commands.get()) == 1
        assert called(cluster.nodes, "cluster|slots") <= before + 1
        assert refusals(cluster, "MOVED") == moved

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=30))
    @example([b"{", b"}", b"{}", b"{a}", b"{}{a}", b"\xff{\n}"])
    def test_results_come_in_order_whatever_the_keys(self, driver: Driver, keys: list[bytes]) -> None:
        driver.fill("batch", add_all([Map[int](key, driver.url).commands.delete() for key in keys]))
        counted: dict[bytes, int] = {}
        expected: list[int] = []
        for key in keys:
            counted[key] = counted.get(key, 0) + 1
            expected.append(counted[key])
        pending = driver.fill("batch", add_all([Map[int](key, driver.url).commands.incr() for key in keys]))
        assert [one.result() for one in pending] == expected
        assert [driver.execute(Map[int](key, driver.url).commands.get()) for key in counted] == list(counted.values())

    @pytest.mark.usefixtures("unmeasured")
    def test_thousands_at_a_time(self, cluster: Cluster, driver: Driver) -> None:
        commands = [Map[int](f"{number}", driver.url).commands for number in range(5_000)]
        setting = driver.fill("batch", add_all([one.set(number) for number, one in enumerate(commands)]))
        assert all(one.result() for one in setting)
        assert sum(int(str(one.call("DBSIZE"))) for one in cluster.primaries()) == 5_000
        getting = driver.fill("batch", add_all([one.get() for one in commands]))
        assert [one.result() for one in getting] == list(range(5_000))

    def test_one_command_of_a_batch_that_fails_leaves_the_others(self, cluster: Cluster, driver: Driver) -> None:
        for key in ("list", "text"):
            cluster.node_of(key).call("LPUSH" if key == "list" else "SET", key, "x")
        hits = [Counter[int](f"{number}", driver.url).commands for number in range(10)]
        wrong, odd = Counter[int]("list", driver.url).commands, Counter[int]("text", driver.url).commands
        added = Added(*(one.incr() for one in hits), wrong.incr(), odd.get(), *(one.incr() for one in hits))
        with pytest.raises(BatchError, match=r"^2 of 22 commands of the batch failed"):
            driver.fill("batch", added)
        assert [type(one.error) for one in added.pending[10:12]] == [WrongType, DecodeError]
        assert [one.result() for one in (*added.pending[:10], *added.pending[12:])] == [1] * 10 + [2] * 10

    def test_scripts_are_sent_whole_to_each_node_that_has_not_got_them(self, cluster: Cluster, driver: Driver) -> None:
        for one in cluster.nodes:
            one.call("SCRIPT", "FLUSH")
        keys = [*one_key_for_each_node(cluster), *map(str, range(100, 140))]
        pools = [Pool[str](key, driver.url).commands for key in keys]
        renames = [one.rename(f"{{{key}}}new") for key, one in zip(keys, pools, strict=True)]
        pending = driver.fill("batch", add_all(renames))
        assert {one.result() for one in pending} == {False}
        for one in cluster.nodes:
            one.call("SCRIPT", "FLUSH")
        assert [driver.execute(one) for one in renames] == [False] * len(keys)

    def test_the_nodes_are_told_before_any_is_listened_to(self, cluster: Cluster, driver: Driver) -> None:
        """So a batch takes as long as its slowest node, and the others have done their part by then."""
        first, second, third = one_key_for_each_node(cluster)
        slow = cluster.node_of(first)
        commands = [Counter[int](key, driver.url).commands.incr() for key in (first, second, third)]
        driver.fill("batch", add_all(commands))
        for paused in (slow, cluster.node_of(third)):
            paused.call("CLIENT", "PAUSE", 60_000, "WRITE")
            others = [key for key in (first, second, third) if cluster_node(cluster, key) is not paused]
            before = {key: driver.execute(Counter[int](key, driver.url).commands.get(0)) for key in others}
            filling = start(lambda: driver.fill("batch", add_all(commands)))
            try:
                for key in others:
                    node, was = cluster_node(cluster, key), before[key]
                    wait_until(partial(has_value, node, key, was + 1), "the others have carried it out")
                assert not filling.done()
            finally:
                paused.call("CLIENT", "UNPAUSE")
            filling.result(PATIENCE)

    def test_a_key_of_no_kind_is_refused_by_a_transaction_that_watches_nothing(self, driver: Driver) -> None:
        with pytest.raises(ArgumentError, match="a transaction in a cluster watches a key at least"):
            driver.transact(lambda tx: no_steps(None), watch=())


def cluster_node(cluster: Cluster, key: str) -> RedisServer:
    """As the cluster was made: nothing moves here, and a node that is held up is not asked."""
    return cluster.nodes[slot(key.encode()) * 3 // SLOTS]


def has_value(node: RedisServer, key: str, value: int) -> bool:
    return node.call("GET", key) == b"%d" % value


class TestCrossSlot:
    NAMED = r"\('jobs', 'done'\); a common hash tag puts keys into the same one, as in '\{jobs\}:a' and '\{jobs\}:b'"

    @pytest.fixture
    def quiet(self, cluster: Cluster) -> Iterator[None]:
        """Nothing that concerns keys is sent to any node."""
        words = ("multi", "watch", "evalsha", "eval", "get", "lpush", "exec")
        before = [calls(node, word) for node in cluster.nodes for word in words]
        yield
        assert [calls(node, word) for node in cluster.nodes for word in words] == before

    def test_rename(self, driver: Driver, quiet: None) -> None:
        with pytest.raises(CrossSlot, match=rf"^rename.* different slots of the cluster {self.NAMED}"):
            driver.execute(Queue[str]("jobs", driver.url).commands.rename("done"))

    def test_a_transaction(self, driver: Driver, quiet: None) -> None:
        added = Added(*(Queue[str](key, driver.url).commands.push("x") for key in ("jobs", "done")))
        with pytest.raises(BatchError) as failed:
            driver.fill("transaction", added)
        assert [type(one) for one in failed.value.exceptions] == [CrossSlot, CrossSlot]
        with pytest.raises(CrossSlot, match=rf"^a transaction .*{self.NAMED}"):
            added.pending[0].result()
        assert not failed.value.retriable

    def test_what_transact_watches(self, driver: Driver, quiet: None) -> None:
        with pytest.raises(CrossSlot, match=self.NAMED):
            driver.transact(lambda tx: no_steps(None), watch=["jobs", "done"])

    def test_what_transact_reads(self, driver: Driver) -> None:
        with pytest.raises(CrossSlot, match=self.NAMED):
            driver.transact(reading(Counter[int]("done", driver.url).commands.get()), watch="jobs")

    def test_what_transact_adds(self, driver: Driver) -> None:
        done = Counter[int]("done", driver.url).commands

        def add(tx: Block) -> Steps[None]:
            tx.add(done.incr())
            return no_steps(None)

        with pytest.raises(BatchError) as failed:
            driver.transact(add, watch="jobs")
        assert isinstance(failed.value.exceptions[0], CrossSlot)
        assert driver.execute(done.get()) is None

    def test_of_a_batch_only_that_command_fails(self, driver: Driver) -> None:
        jobs, hits = Queue[str]("jobs", driver.url).commands, Counter[int]("hits", driver.url).commands
        added = Added(jobs.push("sweep"), jobs.rename("done"), hits.incr(), jobs.rename("{jobs}:done"))
        with pytest.raises(BatchError, match=r"^1 of 4 commands of the batch failed"):
            driver.fill("batch", added)
        assert isinstance(added.pending[1].error, CrossSlot)
        assert [added.pending[number].result() for number in (0, 2, 3)] == [1, 1, True]

    @pytest.mark.parametrize("options", [{"exactly_once": True}, {"deadline": PATIENCE}], ids=str)
    def test_it_is_not_tried_again(self, cluster: Cluster, made: MakesDrivers, options: dict[str, object]) -> None:
        driver = made(cluster.url, **options)
        jobs = Queue[str]("jobs", driver.url).commands
        with pytest.raises(CrossSlot):
            driver.execute(jobs.rename("done"))
        with pytest.raises(BatchError) as failed:
            driver.fill("transaction", add_all([jobs.push("x"), Counter[int]("hits", driver.url).commands.incr()]))
        assert {type(one) for one in failed.value.exceptions} == {CrossSlot}
        with pytest.raises(BatchError) as failed:
            driver.fill("batch", add_all([jobs.rename("done")]))
        assert isinstance(failed.value.exceptions[0], CrossSlot)

    def test_a_hash_tag_makes_it_work_with_a_prefix_too(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, prefix="app:")
        with redisext.connect(cluster.url, prefix="app:") as db:
            queue = Queue[str]("{jobs}", db)
            driver.execute(queue.commands.push("sweep"))
            assert driver.execute(queue.commands.rename("{jobs}:done")) is True
            assert cluster.node_of("jobs").call("LRANGE", "app:{jobs}:done", 0, -1) == [b"sweep"]


# --- What replicas answer


class TestReplicas:
    @pytest.fixture
    def from_replicas(self, cluster: Cluster, made: MakesDrivers) -> Driver:
        follow(cluster)
        return made(cluster.url, read_from_replicas=True)

    def test_reads_go_to_the_replica_of_the_keys_node(self, cluster: Cluster, from_replicas: Driver) -> None:
        said = called(cluster.nodes, "readonly")
        for key in one_key_for_each_node(cluster):
            primary = cluster.node_of(key)
            replica = cluster.replica_of(primary)
            before = calls(primary, "get"), calls(replica, "get")
            hits = Counter[int](key, from_replicas.url).commands
            assert [from_replicas.execute(hits.get()) for _ in range(3)] == [None] * 3
            assert from_replicas.execute(hits.incr()) == 1
            wait_until(lambda: from_replicas.execute(hits.get()) == 1, "what was written is read there")  # noqa: B023
            assert calls(primary, "get") == before[0]
            assert calls(replica, "get") >= before[1] + 4
        assert called(cluster.nodes, "readonly") == said + 3

    def test_those_of_a_batch_too_and_what_writes_goes_to_the_primary(
        self, cluster: Cluster, from_replicas: Driver
    ) -> None:
        primaries = cluster.primaries()
        before = called(primaries, "get")
        hits = [Counter[int](f"{number}", from_replicas.url).commands for number in range(50)]
        pending = from_replicas.fill("batch", add_all([one.incr() for one in hits] + [one.get() for one in hits]))
        assert [one.result() for one in pending[:50]] == [1] * 50
        assert {one.result() for one in pending[50:]} <= {None, 1}
        assert called(primaries, "get") == before

    def test_a_transaction_and_the_primarys_view_do_not(self, cluster: Cluster, from_replicas: Driver) -> None:
        hits = Counter[int]("hits", from_replicas.url).commands
        others = replicas(cluster)
        before = called(others, "get")
        [_, got] = from_replicas.fill("transaction", add_all([hits.incr(), hits.get()]))
        assert got.result() == 1
        [got] = from_replicas.fill("batch", add_all([hits.get()]), primary=True)
        assert got.result() == 1
        assert from_replicas.transact(reading(hits.get()), watch="hits") == 1
        assert called(others, "get") == before

    def test_iteration_does_not_as_a_replica_does_not_know_of_keys_on_the_move(
        self, cluster: Cluster, from_replicas: Driver
    ) -> None:
        names = {f"{number}" for number in range(3_000)}
        cluster.node_of("names").call("SADD", "names", *names)
        before = called(replicas(cluster), "sscan")
        assert set(from_replicas.members("names")) == names
        assert called(replicas(cluster), "sscan") == before

    def test_an_error_there_is_the_callers_and_no_reason_to_ask_another(
        self, cluster: Cluster, from_replicas: Driver
    ) -> None:
        cluster.node_of("jobs").call("LPUSH", "jobs", "sweep")
        follow(cluster)
        get = Counter[int]("jobs", from_replicas.url).commands.get()
        before = called(cluster.primaries(), "get")
        for _ in range(3):
            with pytest.raises(WrongType, match="key 'jobs' holds a list, and GET works on a string"):
                from_replicas.execute(get)
            with pytest.raises(BatchError):
                from_replicas.fill("batch", add_all([get]))
        assert called(cluster.primaries(), "get") == before

    def test_without_the_option_none_is_asked(self, cluster: Cluster, driver: Driver) -> None:
        before = called(replicas(cluster), "get")
        for key in one_key_for_each_node(cluster):
            driver.execute(Counter[int](key, driver.url).commands.get())
        assert called(replicas(cluster), "get") == before

    def test_a_replica_that_is_added_later_is_found(self, made: MakesDrivers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("redisext.backend.cluster._REPLICAS_LAST", 0.1)
        with Cluster(replicas=1) as cluster:
            replica = cluster.replica_of(cluster.node_of("hits"))
            replica.call("CLUSTER", "RESET")
            driver = made(
                f"redis+cluster://127.0.0.1:{cluster.nodes[0].port}", read_from_replicas=True, fallback_to_primary=True
            )
            hits = Counter[int]("hits", driver.url).commands
            wait_until(lambda: not names(cluster.nodes[0], replica), "it is none of them")
            driver.execute(hits.incr())
            assert driver.execute(hits.get()) == 1
            replica.call("CLUSTER", "MEET", cluster.nodes[0].host, cluster.nodes[0].port)
            primary = cluster.id_of(cluster.node_of("hits"))
            wait_until(lambda: knows(replica, primary), "it has met all")
            replica.call("CLUSTER", "REPLICATE", primary)
            wait_until(lambda: driver.execute(hits.get()) == 1 and calls(replica, "get") > 0, "it answers", PATIENCE)


def names(node: RedisServer, other: RedisServer) -> bool:
    return f"{other.port}" in str(node.call("CLUSTER", "SLOTS"))


def knows(node: RedisServer, other: str) -> bool:
    return other in str(node.call("CLUSTER", "NODES"))


# --- What replicas confirm


class TestConfirmed:
    def test_a_write_is_confirmed_and_a_read_is_not(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, wait_replicas=1, wait_timeout=PATIENCE)
        hits = Counter[int]("hits", driver.url).commands
        before = called(cluster.nodes, "wait")
        assert driver.execute(hits.incr()) == 1
        assert driver.execute(hits.get()) == 1
        assert called(cluster.nodes, "wait") == before + 1
        assert [one.result() for one in driver.fill("transaction", add_all([hits.incr(), hits.incr()]))] == [2, 3]
        assert called(cluster.nodes, "wait") == before + 2

    def test_in_a_batch_each_node_is_waited_for_once(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, wait_replicas=1, wait_timeout=PATIENCE)
        before = called(cluster.nodes, "wait")
        hits = [Counter[int](f"{number}", driver.url).commands for number in range(100)]
        pending = driver.fill("batch", add_all([one.incr() for one in hits] + [one.get() for one in hits]))
        assert [one.result() for one in pending] == [1] * 200
        assert called(cluster.nodes, "wait") == before + 3

    def test_tasks_share_the_waiting(self, cluster: Cluster) -> None:
        async def main() -> None:
            async with tasks.connect(cluster.url, wait_replicas=1, wait_timeout=PATIENCE) as db:
                keys = [f"{number}" for number in range(100)]
                await asyncio.gather(*(AsyncCounter[int](key, db).incr() for key in keys))
                before = called(cluster.nodes, "wait")
                assert await asyncio.gather(*(AsyncCounter[int](key, db).incr() for key in keys)) == [2] * 100
                assert 3 <= called(cluster.nodes, "wait") - before <= 6

        tasks.run(main)

    def test_more_than_there_are_never_confirm(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, wait_replicas=2, wait_timeout=0.02)
        jobs = Queue[str]("jobs", driver.url).commands
        follow(cluster)
        with pytest.raises(
            NotReplicated, match=r"LPUSH on key 'jobs' .* 1 of 2 replicas .*0\.02 s.*; it has 1$"
        ) as lack:
            driver.execute(jobs.push("sweep"))
        assert (lack.value.result, lack.value.retriable) == (1, False)
        with pytest.raises(NotReplicated) as lack:
            driver.execute(jobs.pop())
        assert lack.value.result == "sweep"
        hits = [Counter[int](key, driver.url).commands for key in one_key_for_each_node(cluster)]
        added = Added(*(one.incr() for one in hits), *(one.get() for one in hits))
        with pytest.raises(BatchError, match=r"^3 of 6 commands of the batch failed"):
            driver.fill("batch", added)
        assert [one.error.result for one in added.pending if isinstance(one.error, NotReplicated)] == [1] * 3
        assert [one.result() for one in added.pending[3:]] == [1] * 3
        added = Added(hits[0].incr(), hits[0].get())
        with pytest.raises(BatchError):
            driver.fill("transaction", added)
        assert isinstance(added.pending[0].error, NotReplicated)
        assert added.pending[1].result() == 2

    def test_a_replica_that_does_not_answer_confirms_nothing(self, made: MakesDrivers) -> None:
        with Cluster() as cluster:
            replica = cluster.replica_of(cluster.node_of("hits"))
            driver = made(cluster.url, wait_replicas=1, wait_timeout=0.1)
            patient = made(cluster.url, wait_replicas=1, wait_timeout=0.1, exactly_once=True, deadline=PATIENCE)
            hits = Counter[int]("hits", driver.url).commands
            replica.pause()
            with pytest.raises(NotReplicated, match=r"0 of 1 replicas confirmed it within the 0\.1 s") as lack:
                driver.execute(hits.incr())
            assert (lack.value.result, lack.value.confirmed) == (1, 0)
            counting = start(lambda: patient.execute(hits.incr()))
            wait_until(lambda: cluster.node_of("hits").call("GET", "hits") == b"2", "it was carried out")
            before = calls(cluster.node_of("hits"), "wait")
            wait_until(
                lambda: calls(cluster.node_of("hits"), "wait") > before + 1, "the confirmation is asked for again"
            )
            assert not counting.done()
            replica.resume()
            assert counting.result(PATIENCE) == 2
            assert cluster.node_of("hits").call("GET", "hits") == b"2"

    def test_a_confirmation_that_is_lost_on_the_way_is_none(self, replicated: Replicated, made: MakesDrivers) -> None:
        """The write is known to have been carried out, and what it gave."""
        replicated.primary.call("FLUSHALL")
        with Proxy(replicated.primary.port) as proxy:
            driver = made(proxy.url, wait_replicas=1, wait_timeout=PATIENCE)
            incr = Counter[int]("hits", driver.url).commands.incr()
            assert driver.execute(incr) == 1
            proxy.arm(Fault(Kind.DROP_REPLY), the_next(), "WAIT")
            with pytest.raises(NotReplicated, match=r"0 of 1 replicas confirmed it .*: the connection broke") as lack:
                driver.execute(incr)
            assert (lack.value.result, lack.value.confirmed) == (2, 0)
            proxy.disarm()
            assert driver.execute(incr) == 3


# --- Exactly once


class TestExactlyOnce:
    def test_a_record_is_in_the_slot_and_deleted_by_a_later_command_there(
        self, cluster: Cluster, made: MakesDrivers
    ) -> None:
        driver = made(cluster.url, exactly_once=True)
        keys = one_key_for_each_node(cluster)
        for turn in range(1, 6):
            for key in keys:
                assert driver.execute(Counter[int](key, driver.url).commands.incr()) == turn
        for key in keys:
            [record] = [one for one in all_keys(cluster.node_of(key)) if b":once:" in one]
            assert slot(record) == slot(key.encode())

    def test_batches_and_transactions_are_recorded_too(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, exactly_once=True)
        hits = [Counter[int](f"{number}", driver.url).commands for number in range(60)]
        for turn in (1, 2, 3):
            pending = driver.fill("batch", add_all([one.incr() for one in hits]))
            assert [one.result() for one in pending] == [turn] * 60
        records = [one for node in cluster.primaries() for one in all_keys(node) if b":once:" in one]
        assert len(records) == 60
        pending = driver.fill("transaction", add_all([hits[0].incr(), hits[0].incr()]))
        assert [one.result() for one in pending] == [4, 5]

    def test_what_a_cancelled_task_has_popped_is_put_back(self, cluster: Cluster) -> None:
        jobs = Queue[str]("jobs", cluster.url)
        jobs.push(*(f"{number}" for number in range(20)))

        async def main() -> int:
            async with tasks.connect(cluster.url, exactly_once=True) as db:
                queue = AsyncQueue[str]("jobs", db)
                await queue.size()
                popping = [asyncio.create_task(queue.pop()) for _ in range(20)]
                await tasks.turns(3)
                for one in popping:
                    one.cancel()
                results = await asyncio.gather(*popping, return_exceptions=True)
                return sum(isinstance(one, str) for one in results)

        got = tasks.run(main)
        assert jobs.size() == 20 - got

    def test_pop_wait_takes_what_comes(self, cluster: Cluster, made: MakesDrivers) -> None:
        driver = made(cluster.url, exactly_once=True)
        jobs = Queue[str]("jobs", driver.url).commands
        waiting = start(lambda: driver.execute(jobs.pop_wait(None)))
        node = cluster.node_of("jobs")
        wait_until(lambda: int(node.info("clients")["blocked_clients"]) == 1, "it waits")
        node.call("LPUSH", "jobs", "sweep")
        assert waiting.result(PATIENCE) == "sweep"


def all_keys(node: RedisServer) -> list[bytes]:
    found = node.call("KEYS", "*")
    assert isinstance(found, list)
    return [one for one in found if isinstance(one, bytes)]  # pyright: ignore[reportUnknownVariableType]  # so it is


# --- Connections


class TestConnections:
    @pytest.mark.parametrize("options", [{}, {"read_from_replicas": True, "wait_replicas": 1}], ids=str)
    def test_all_are_closed_together(
        self, cluster: Cluster, made: MakesDrivers, name: str, options: dict[str, object]
    ) -> None:
        driver = made(cluster.url, client_name=name, **options)
        driver.execute(Counter[int]("warm", driver.url).commands.exists())  # under asyncio, the loop has sockets too
        gc.collect()
        before = open_sockets()
        hits = [Counter[int](key, driver.url).commands for key in one_key_for_each_node(cluster)]
        for one in hits:
            driver.execute(one.incr())
            driver.execute(one.get())
            driver.fill("transaction", add_all([one.incr()]))
        assert len(open_sockets()) > len(before)
        driver.close()
        assert len(open_sockets() - before) <= 2  # the loop's own
        wait_until(lambda: not any(connections(one, name) for one in cluster.nodes), "all nodes have seen it")

    def test_without_reuse_none_is_kept(self, cluster: Cluster, sockets: Sockets) -> None:
        class Hits(Counter[int]):
            CONNECTION = f"{cluster.url}?read_from_replicas=true"
            CONNECTION_REUSE = False

        for key in one_key_for_each_node(cluster):
            hits = Hits(key)
            assert hits.incr() == 1
            hits.get()
            with hits.backend.batch() as batch:
                counted = batch.add(hits.commands.incr())
            assert counted.result() == 2
            assert open_sockets() == sockets

    def test_so_it_is_under_asyncio(self, cluster: Cluster, name: str) -> None:
        class Hits(AsyncCounter[int]):
            CONNECTION = f"{cluster.url}?client_name={name}"
            CONNECTION_REUSE = False

        async def main() -> None:
            for key in one_key_for_each_node(cluster):
                hits = Hits(key)
                assert await hits.incr() == 1
                assert await hits.get() == 1
                await tasks.until(lambda: not any(connections(one, name) for one in cluster.nodes), "none is open")

        tasks.run(main)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @forking_threads
    def test_a_forked_child_opens_its_own(self, cluster: Cluster, name: str) -> None:
        with redisext.connect(cluster.url, client_name=name) as db:
            keys = one_key_for_each_node(cluster)
            assert [Counter[int](key, db).incr() for key in keys] == [1, 1, 1]

            def in_batch() -> list[int]:
                with db.batch() as batch:
                    pending = [batch.add(Counter[int](key, db).commands.incr()) for key in keys]
                return [one.result() for one in pending]

            assert in_child(in_batch) == "[2, 2, 2]"
            assert in_child(lambda: [Counter[int](key, db).incr() for key in keys]) == "[3, 3, 3]"
            assert in_batch() == [4, 4, 4]

    def test_many_threads_share_one_backend(self, cluster: Cluster) -> None:
        with redisext.connect(cluster.url, exactly_once=True) as db:

            def count() -> None:
                for number in range(30):
                    Counter[int](f"{number % 10}", db).incr()
                    with db.batch() as batch:
                        for other in range(10):
                            batch.add(Counter[int](f"{other}", db).commands.incr())

            for one in [start(count) for _ in range(16)]:
                one.result(PATIENCE)
            assert [Counter[int](f"{number}", db).get() for number in range(10)] == [16 * 33] * 10

    def test_a_closed_backend_says_so(self, driver: Driver) -> None:
        hits = Counter[int]("hits", driver.url).commands
        driver.execute(hits.incr())
        driver.close()
        with pytest.raises(RedisextError, match="was closed; connect again"):
            driver.execute(hits.incr())

    def test_no_password_shows(self) -> None:
        with redisext.connect("redis+cluster://ada:s3cret@h1,h2?prefix=app%3A") as db:
            assert repr(db) == "<RedisBackend redis+cluster://h1:6379,h2:6379 prefix='app:'>"
            assert repr(db.primary) == repr(db)
            assert "s3cret" not in repr(Counter[int]("hits", db)) + str(vars(db))

    def test_there_is_no_client_of_one_server(self, cluster: Cluster) -> None:
        way_out = "has no client of one server; redis-py's own for a cluster is redis.cluster.RedisCluster"
        for options in ("", "?read_from_replicas=true"):
            hits = Counter[int]("hits", f"{cluster.url}{options}")
            for connect in (hits.connect_to_master, hits.connect_to_slave):
                with pytest.raises(ConfigurationError, match=way_out):
                    connect()

        async def main() -> None:
            hits = AsyncCounter[int]("hits", cluster.url)
            for connect in (hits.connect_to_master, hits.connect_to_slave):
                with pytest.raises(ConfigurationError, match=way_out):
                    connect()

        tasks.run(main)
