"""A primary with replicas: who answers what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis

import redisext
from redisext import Backend, Counter, HashMap, Lock, Map, Pool, PriorityQueue, Queue, SortedSet, Stack
from redisext.backend.redis import Connection
from redisext.errors import ConfigurationError, ConnectionFailed, WrongType
from redisext.reply import array, bulk
from tests.backend.observe import Sockets, calls, connections, open_sockets
from tests.servers import RedisServer, Replicated, free_port, wait_until


@pytest.fixture(scope="module")
def two_replicas() -> Iterator[Replicated]:
    with Replicated(replicas=2) as servers:
        yield servers


@pytest.fixture
def primary(replicated: Replicated) -> RedisServer:
    replicated.primary.call("FLUSHALL")
    in_step(replicated)
    return replicated.primary


@pytest.fixture
def replica(replicated: Replicated) -> RedisServer:
    [replica] = replicated.replicas
    return replica


@pytest.fixture
def db(primary: RedisServer, replica: RedisServer, name: str) -> Iterator[Backend]:
    with redisext.connect(primary.url, replicas=[f"{replica.url}?client_name={name}"], client_name=name) as db:
        yield db


def in_step(servers: Replicated) -> None:
    """Wait until the replicas have all that the primary has."""
    offset = int(servers.primary.info("replication")["master_repl_offset"])
    for replica in servers.replicas:
        wait_until(partial(_has_come_to, offset, replica), "the replica is in step")


def _has_come_to(offset: int, replica: RedisServer) -> bool:
    return int(replica.info("replication")["slave_repl_offset"]) >= offset


READS: tuple[tuple[str, str, Callable[[Backend], object]], ...] = (
    ("counter", "get", lambda db: Counter[int]("key", db).get()),
    ("map", "get", lambda db: Map[str]("key", db).get()),
    ("exists", "exists", lambda db: Counter[int]("key", db).exists()),
    ("ttl", "ttl", lambda db: Counter[int]("key", db).ttl()),
    ("hash map", "hget", lambda db: HashMap[str, int]("key", db).get("apples")),
    ("bulk", "hmget", lambda db: HashMap[str, int]("key", db).get_many(["apples", "pears"])),
    ("pool", "smembers", lambda db: Pool[str]("key", db).members()),
    ("contains", "sismember", lambda db: "a" in Pool[str]("key", db)),
    ("sorted set", "zscore", lambda db: SortedSet[str]("key", db).score("a")),
    ("queue", "llen", lambda db: len(Queue[str]("key", db))),
    ("iteration", "llen", lambda db: next(iter(Queue[str]("key", db)), None)),  # by a script
    ("stack", "lindex", lambda db: Stack[str]("key", db).peek()),
    ("priority queue", "zcard", lambda db: PriorityQueue[str]("key", db).size()),
)


class TestRouting:
    @pytest.mark.parametrize(("word", "read"), [one[1:] for one in READS], ids=[one[0] for one in READS])
    def test_reads_go_to_the_replica(
        self, primary: RedisServer, replica: RedisServer, db: Backend, word: str, read: Callable[[Backend], object]
    ) -> None:
        before = calls(primary, word), calls(replica, word)
        read(db)
        assert (calls(primary, word), calls(replica, word)) == (before[0], before[1] + 1)
        read(db.primary)
        assert (calls(primary, word), calls(replica, word)) == (before[0] + 1, before[1] + 1)

    def test_writes_go_to_the_primary(self, primary: RedisServer, replica: RedisServer, db: Backend, name: str) -> None:
        Counter[int]("hits", db).incr()
        Queue[str]("jobs", db).push("sweep", "mop")
        assert Queue[str]("jobs", db).pop_wait(1) == "sweep"
        HashMap[str, int]("stock", db)["apples"] = 3
        assert HashMap[str, int]("stock", db).pop("apples") == 3
        Pool[str]("tags", db).push("a")
        Counter[int]("hits", db).expire(60)
        assert len(connections(primary, name)) == 1
        assert connections(replica, name) == []

    def test_what_was_written_is_read_from_there(self, replicated: Replicated, db: Backend) -> None:
        jobs = Queue[int]("jobs", db)
        jobs.push(*range(2500))
        in_step(replicated)
        assert jobs.items() == list(jobs) == list(range(2499, -1, -1))
        stock = HashMap[str, int]("stock", db)
        stock.update({str(number): number for number in range(1500)})
        in_step(replicated)
        assert dict(stock) == {str(number): number for number in range(1500)}

    def test_an_error_there_is_explained_as_on_the_primary(self, replicated: Replicated, db: Backend) -> None:
        Queue[str]("jobs", db).push("sweep")
        in_step(replicated)
        with pytest.raises(WrongType, match="key 'jobs' holds a list, and GET works on a string"):
            Counter[int]("jobs", db).get()

    def test_several_take_turns(self, two_replicas: Replicated) -> None:
        replicas = two_replicas.replicas
        with redisext.connect(two_replicas.primary.url, replicas=[one.url for one in replicas]) as db:
            before = [calls(one, "get") for one in replicas]
            hits = Counter[int]("hits", db)
            for _ in range(10):
                hits.get()
            assert [calls(one, "get") for one in replicas] == [count + 5 for count in before]

    def test_threads_share_the_turns(self, two_replicas: Replicated) -> None:
        replicas = two_replicas.replicas
        with (
            redisext.connect(two_replicas.primary.url, replicas=[one.url for one in replicas]) as db,
            ThreadPoolExecutor(8) as threads,
        ):
            before = [calls(one, "get") for one in replicas]
            for read in [threads.submit(Counter[int]("hits", db).get) for _ in range(200)]:
                read.result(10)
            assert [calls(one, "get") for one in replicas] == [count + 100 for count in before]


class TestNeverFromAReplica:
    """What decides by what it reads, reads where it is written."""

    def test_a_lock(self, replica: RedisServer, db: Backend, name: str) -> None:
        lock, other = Lock("nightly", db), Lock("nightly", db)
        assert lock.acquire(30)
        assert lock.locked()
        assert not other.acquire(30, wait=0.05)
        assert lock.extend(30)
        assert lock.release()
        with other:
            assert other.locked()
        assert other.remove() is False
        assert connections(replica, name) == []

    def test_an_update(self, replica: RedisServer, db: Backend, name: str) -> None:
        best, several = Map[int]("best", db), HashMap[str, int]("several", db)
        for score in range(1, 20):
            assert best.update(lambda old: (old or 0) + 1) == score
            assert several.update_value("ada", lambda old: (old or 0) + 1) == score
        assert connections(replica, name) == []

    def test_what_is_asked_of_the_primary(self, replica: RedisServer, db: Backend, name: str) -> None:
        hits = Counter[int]("hits", db.primary)
        for number in range(1, 100):
            hits.incr()
            assert hits.get() == number
        assert Queue[int]("jobs", db.primary).items() == []
        assert connections(replica, name) == []


class TestNaming:
    def test_in_the_dsn(self, primary: RedisServer, replica: RedisServer, name: str) -> None:
        for url in (
            f"{primary.url}?replicas={replica.host}:{replica.port}&client_name={name}",
            f"{primary.url}?client_name={name}&replicas={replica.url}?client_name={name}",
        ):
            with redisext.connect(url) as db:
                hits = Counter[int]("hits", db)
                hits.incr()
                hits.get()
                assert repr(db) == f"<RedisBackend {primary.url} +{replica.url}>"
                assert str(replica.port) not in repr(db.primary)
                assert client_port(hits.connect_to_slave()) == replica.port

    def test_by_host_and_port(self, primary: RedisServer, replica: RedisServer) -> None:
        with redisext.connect(primary.url, replicas=[f"{replica.host}:{replica.port}"]) as db:
            before = calls(replica, "get")
            Counter[int]("hits", db).get()
            assert calls(replica, "get") == before + 1

    def test_with_a_password_of_all_or_of_each(self) -> None:
        with Replicated(password="s3cret") as servers:
            [replica] = servers.replicas
            for named in (f"{replica.host}:{replica.port}", replica.url):
                with redisext.connect(servers.primary.url, replicas=[named]) as db:
                    before = calls(replica, "get")
                    Counter[int]("hits", db).get()
                    assert calls(replica, "get") == before + 1
                    assert "s3cret" not in repr(db)
            without = replica.url.replace(":s3cret@", "")
            with (
                redisext.connect(servers.primary.url, replicas=[without]) as db,
                pytest.raises(ConfigurationError, match=f"{without} refused the user or the password"),
            ):
                Counter[int]("hits", db).get()

    def test_as_the_slave_of_a_connection_class(self, primary: RedisServer, replica: RedisServer) -> None:
        class Both(Connection):
            MASTER = {"host": primary.host, "port": primary.port, "db": 0}
            SLAVE = {"host": replica.host, "port": replica.port, "db": 0}

        class InText(Connection):
            MASTER = primary.url
            SLAVE = replica.url

        for source in (Both, InText):

            class Hits(Counter[int]):
                CONNECTION = source

            before = calls(primary, "get"), calls(replica, "get")
            hits = Hits("hits")
            hits.get()
            hits.incr()
            assert (calls(primary, "get"), calls(replica, "get")) == (before[0], before[1] + 1)
            assert client_port(hits.connect_to_master()) == client_port(source.connect_to_master()) == primary.port
            assert client_port(hits.connect_to_slave()) == client_port(source.connect_to_slave()) == replica.port
            with hits.connect_to_slave().pipeline() as pipeline:
                pipeline.execute_command("GET", "hits")
                pipeline.execute_command("ROLE")
                assert pipeline.execute()[1] != []

    def test_a_replica_that_is_down_is_named(self, primary: RedisServer, sockets: Sockets) -> None:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        with redisext.connect(primary.url, replicas=[nowhere]) as db:
            hits = Counter[int]("hits", db)
            assert hits.incr() == 1
            with pytest.raises(ConnectionFailed, match=f"cannot reach {nowhere}: "):
                hits.get()
            assert Counter[int]("hits", db.primary).get() == 1
        assert open_sockets() == sockets

    def test_connections_to_all_are_closed_together(
        self, primary: RedisServer, replica: RedisServer, db: Backend, name: str, sockets: Sockets
    ) -> None:
        hits = Counter[int]("hits", db)
        hits.incr()
        hits.get()
        assert len(open_sockets() - sockets) == 2
        db.close()
        assert open_sockets() == sockets
        wait_until(lambda: connections(primary, name) + connections(replica, name) == [], "both have seen it")


def client_port(client: redis.Redis) -> int:
    """The port of the server that a client talks to."""
    _, port = array(client.execute_command("CONFIG", "GET", "port"))
    return int(bulk(port))
