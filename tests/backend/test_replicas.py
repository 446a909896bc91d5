"""A primary with replicas: who answers what."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

import pytest
import redis

import redisext
from redisext import Backend, BatchError, Counter, HashMap, Lock, Map, Pool, PriorityQueue, Queue, SortedSet, Stack
from redisext.backend import topology
from redisext.backend.redis import Connection
from redisext.errors import ConfigurationError, ConnectionFailed, WrongType
from redisext.reply import array, bulk
from tests.backend.conftest import Opened
from tests.backend.observe import Sockets, calls, connections, open_sockets
from tests.blocks import Added
from tests.proxy import Fault, Kind, Proxy, drop, the_next
from tests.servers import RedisServer, Replicated, free_port, wait_until
from tests.servers import in_step as in_step_with
from tests.threads import PATIENCE, start


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


class Lines:
    """To each replica a line of its own, which can be cut and mended."""

    def __init__(self, servers: Replicated, proxies: Sequence[Proxy]) -> None:
        self.proxies = proxies
        self.primary = servers.primary
        self.urls = [one.url for one in proxies]
        self._asked = [0] * len(proxies)
        self._words = b"GET"
        for number, proxy in enumerate(proxies):
            proxy.on_request = partial(self._count, number)

    def asked(self, word: str) -> list[int]:
        """How often each gets *word* from now on: the list changes."""
        self._words = f"\r\n{word}\r\n".encode()
        self._asked = [0] * len(self.proxies)
        return self._asked

    def _count(self, number: int, data: bytes) -> bytes:
        self._asked[number] += data.count(self._words)
        return data

    @contextmanager
    def cut(self, *numbers: int) -> Generator[None]:
        """These are dead meanwhile."""
        with ExitStack() as stack:
            for number in numbers:
                stack.enter_context(self.proxies[number].refusing())
                self.proxies[number].break_all()
            yield


@pytest.fixture
def emptied(two_replicas: Replicated) -> Replicated:
    two_replicas.primary.call("FLUSHALL")
    in_step(two_replicas)
    return two_replicas


@pytest.fixture
def lines(emptied: Replicated) -> Iterator[Lines]:
    with ExitStack() as stack:
        yield Lines(emptied, [stack.enter_context(Proxy(one.port)) for one in emptied.replicas])


class TestHealth:
    """Which replicas are asked, where some do not answer, or should not."""

    def test_a_dead_one_is_passed_over_and_comes_back_into_turn(self, lines: Lines, opened: Opened) -> None:
        hits = Counter[int]("hits", opened(lines.primary.url, replicas=lines.urls))
        for _ in range(4):
            assert hits.get() is None
        with lines.cut(0):
            asked = lines.asked("GET")
            for _ in range(20):
                assert hits.get() is None
            assert asked == [0, 20]
        asked = lines.asked("GET")
        wait_until(lambda: hits.get() is None and asked[0] > 0, "it is tried again", 30)
        asked = lines.asked("GET")
        for _ in range(10):
            hits.get()
        assert asked == [5, 5]

    def test_one_that_stays_dead_is_tried_less_and_less_often(
        self, lines: Lines, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(topology, "_REST", 0.02)
        hits = Counter[int]("hits", opened(lines.primary.url, replicas=lines.urls))
        lines.proxies[0].on_request = drop  # it is connected to, so that this can be counted
        for _ in range(300):
            hits.get()
            time.sleep(0.005)
        assert 1 < lines.proxies[0].connections <= 8

    def test_where_all_are_dead_the_last_one_is_named(self, lines: Lines, opened: Opened) -> None:
        db = opened(lines.primary.url, replicas=lines.urls)
        hits = Counter[int]("hits", db)
        assert hits.incr() == 1
        with lines.cut(0, 1):
            for _ in range(3):
                with pytest.raises(ConnectionFailed, match=f"cannot reach ({'|'.join(lines.urls)}): ") as failed:
                    hits.get()
                assert failed.value.retriable
            added = Added(hits.commands.get(), hits.commands.incr())
            with pytest.raises(BatchError) as several, db.batch() as batch:
                added(batch)
            read, written = added.pending
            assert [type(one) for one in several.value.exceptions] == [ConnectionFailed]
            assert isinstance(read.error, ConnectionFailed)
            assert written.result() == 2
            assert Counter[int]("hits", db.primary).get() == 2
        wait_until(lambda: hits.get() == 2, "the replica has it", 30)

    def test_or_the_primary_answers(self, lines: Lines, opened: Opened) -> None:
        db = opened(lines.primary.url, replicas=lines.urls, fallback_to_primary=True)
        hits = Counter[int]("hits", db)
        with lines.cut(0, 1):
            assert hits.incr() == 1
            for _ in range(3):
                assert hits.get() == 1
            with db.batch() as batch:
                several = [batch.add(hits.commands.get()), batch.add(hits.commands.incr())]
            read, counted = several  # in no order, as they are for different servers
            assert counted.result() == 2
            assert read.result() in {1, 2}

    def test_with_a_deadline_it_is_waited_for_one(self, lines: Lines, opened: Opened) -> None:
        hits = Counter[int]("hits", opened(lines.primary.url, replicas=lines.urls, deadline=PATIENCE))
        with lines.cut(0, 1):
            reading = start(hits.get)
            with pytest.raises(TimeoutError):
                reading.result(0.3)
        assert reading.result(PATIENCE) is None

    def test_one_that_is_silent_is_passed_over(self, emptied: Replicated, opened: Opened) -> None:
        silent, other = emptied.replicas
        hasty = f"{silent.url}?socket_timeout=0.5&socket_connect_timeout=0.5"
        db = opened(emptied.primary.url, replicas=[hasty, other.url])
        hits = Counter[int]("hits", db)
        silent.pause()
        try:
            before = calls(other, "get")
            for _ in range(10):
                hits.get()
            assert calls(other, "get") == before + 10
        finally:
            silent.resume()

    def test_one_that_has_lost_its_primary_is_not_read_from(self, emptied: Replicated, opened: Opened) -> None:
        """What it knows grows old."""
        lost, other = emptied.replicas
        hits = Counter[int]("hits", opened(emptied.primary.url, replicas=[lost.url, other.url]))
        before = calls(lost, "get"), calls(other, "get")
        lost.call("REPLICAOF", "127.0.0.1", free_port())
        for _ in range(10):
            hits.get()
        assert (calls(lost, "get"), calls(other, "get")) == (before[0], before[1] + 10)
        alone = Counter[int]("hits", opened(emptied.primary.url, replicas=[lost.url]))
        with pytest.raises(ConnectionFailed, match=f"the replica {lost.url} has lost its primary") as failed:
            alone.get()
        assert failed.value.retriable
        lost.call("REPLICAOF", emptied.primary.host, emptied.primary.port)
        linked(emptied)
        before = calls(lost, "get"), calls(other, "get")
        wait_until(lambda: hits.get() is None and calls(lost, "get") > before[0], "it is read from again", 30)
        wait_until(lambda: alone.get() is None, "alone too", 30)

    def test_a_user_who_may_not_ask_for_its_role_reads_all_the_same(self, emptied: Replicated, opened: Opened) -> None:
        for one in emptied.replicas:
            one.call("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-role")
        urls = [one.url.replace("//", "//reader:secret@") for one in emptied.replicas]
        assert Counter[int]("hits", opened(emptied.primary.url, replicas=urls)).get() is None

    def test_its_role_is_asked_for_once_a_second(self, emptied: Replicated, opened: Opened) -> None:
        begun = time.monotonic()
        hits = Counter[int]("hits", opened(emptied.primary.url, replicas=[one.url for one in emptied.replicas]))
        before = [calls(one, "role") for one in emptied.replicas]
        for _ in range(400):
            hits.get()
        most = 1 + (time.monotonic() - begun)
        asked = [calls(one, "role") - count for one, count in zip(emptied.replicas, before, strict=True)]
        assert all(1 <= count <= most for count in asked)

    def test_what_only_reads_in_a_batch_goes_to_one_of_them(self, lines: Lines, opened: Opened) -> None:
        db = opened(lines.primary.url, replicas=lines.urls)
        command = Counter[int]("hits", db).commands.get()
        asked = lines.asked("GET")
        for _ in range(4):
            before = asked.copy()
            with db.batch() as batch:
                for _ in range(50):
                    batch.add(command)
            assert sorted(now - then for now, then in zip(asked, before, strict=True)) == [0, 50]
        assert asked == [100, 100]

    def test_and_if_that_fails_to_the_next(self, lines: Lines, opened: Opened) -> None:
        db = opened(lines.primary.url, replicas=lines.urls)
        hits, jobs = Counter[int]("hits", db), Queue[int]("jobs", db)
        for _ in range(2):
            with db.batch() as batch:
                batch.add(hits.commands.get())
        with lines.cut(0):
            for number in range(1, 5):
                with db.batch() as batch:
                    several = [batch.add(jobs.commands.size()), batch.add(hits.commands.incr())]
                    several.append(batch.add(hits.commands.get(-1)))
                assert [one.result() for one in several][:2] == [0, number]
        # The same where it fails when it has been asked already.
        lines.proxies[1].arm(Fault(Kind.DROP_REPLY), the_next(), "GET")
        for number in range(5, 9):
            with db.batch() as batch:
                several = [batch.add(hits.commands.get(-1)) for _ in range(3)]
                counted = batch.add(hits.commands.incr())
            assert all(one.succeeded for one in several)
            assert counted.result() == number
        assert lines.proxies[1].injected[Kind.DROP_REPLY] == 1


def linked(servers: Replicated) -> None:
    """Wait until the replicas are linked, and have all that the primary has."""
    wait_until(lambda: in_step_with(servers.primary, servers.replicas), "the replicas are linked", 30)


class TestIteration:
    """One replica answers all of it: another has cursors of its own."""

    FILLS: Final[dict[str, tuple[str, Callable[[Backend], object], Callable[[Backend], Iterator[str]]]]] = {
        "hash map": (
            "HSCAN",
            lambda db: HashMap[str, int]("key", db).update({f"field {number}": number for number in range(5_000)}),
            lambda db: iter(HashMap[str, int]("key", db)),
        ),
        "pool": (
            "SSCAN",
            lambda db: Pool[str]("key", db).update(f"member {number}" for number in range(5_000)),
            lambda db: iter(Pool[str]("key", db)),
        ),
    }

    @pytest.mark.parametrize(("word", "fill", "iterate"), list(FILLS.values()), ids=list(FILLS))
    def test_it_stays_on_one(
        self,
        two_replicas: Replicated,
        lines: Lines,
        opened: Opened,
        word: str,
        fill: Callable[[Backend], object],
        iterate: Callable[[Backend], Iterator[str]],
    ) -> None:
        db = opened(lines.primary.url, replicas=lines.urls)
        fill(db)
        in_step(two_replicas)
        for _ in range(4):
            asked = lines.asked(word)
            hits = Counter[int]("hits", db)
            found: list[str] = []
            for one in iterate(db):
                found.append(one)
                if len(found) % 500 == 0:
                    hits.get()  # which shifts the turns
            assert len(set(found)) == 5_000
            assert min(asked) == 0
            assert max(asked) > 2

    @pytest.mark.parametrize(("word", "fill", "iterate"), list(FILLS.values()), ids=list(FILLS))
    def test_if_that_one_dies_it_is_begun_anew_on_another(
        self,
        two_replicas: Replicated,
        lines: Lines,
        opened: Opened,
        word: str,
        fill: Callable[[Backend], object],
        iterate: Callable[[Backend], Iterator[str]],
    ) -> None:
        db = opened(lines.primary.url, replicas=lines.urls)
        fill(db)
        in_step(two_replicas)
        asked = lines.asked(word)
        iterator = iterate(db)
        found = [next(iterator) for _ in range(1_500)]
        begun_on = asked.index(max(asked))
        assert asked[1 - begun_on] == 0
        with lines.cut(begun_on):
            found += iterator
        assert asked[1 - begun_on] > 2
        assert len(set(found)) == 5_000

    def test_if_all_die_that_is_an_error(self, two_replicas: Replicated, lines: Lines, opened: Opened) -> None:
        db = opened(lines.primary.url, replicas=lines.urls)
        Pool[str]("key", db).update(f"member {number}" for number in range(5_000))
        in_step(two_replicas)
        iterator = iter(Pool[str]("key", db))
        next(iterator)
        with lines.cut(0, 1), pytest.raises(ConnectionFailed, match="cannot reach"):
            list(iterator)

    def test_another_structure_there_is_told(self, two_replicas: Replicated, lines: Lines, opened: Opened) -> None:
        """The second page finds what nobody expects."""
        db = opened(lines.primary.url, replicas=lines.urls)
        Pool[str]("key", db).update(f"member {number}" for number in range(5_000))
        in_step(two_replicas)
        iterator = iter(Pool[str]("key", db))
        next(iterator)
        lines.primary.call("SET", "key", "value")
        in_step(two_replicas)
        with pytest.raises(WrongType):
            list(iterator)


def client_port(client: redis.Redis) -> int:
    """The port of the server that a client talks to."""
    _, port = array(client.execute_command("CONFIG", "GET", "port"))
    return int(bulk(port))
