"""A group under Sentinels: how it is found, who answers what, and what becomes of all that goes on in a failover."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar, cast

import pytest
import redis

import redisext
from redisext import (
    AsyncCounter,
    AsyncQueue,
    Backend,
    BackendClosed,
    ConfigurationError,
    ConnectionFailed,
    Counter,
    Lock,
    Map,
    OutcomeUnknown,
    Queue,
    RedisextError,
    Stack,
)
from redisext.backend import sentinel
from redisext.backend.redis import RedisBackend
from redisext.batch import Transaction
from redisext.errors import CommandRefused
from redisext.reply import array, bulk
from tests.backend.conftest import Opened, open_on
from tests.backend.observe import Sockets, blocked, calls, connections, forking_threads, in_child, open_sockets
from tests.backend.tasks import Hold, connect, outcomes, run, until
from tests.backend.test_security import texts_of
from tests.faces import Loop
from tests.proxy import Proxy, drop
from tests.sentinels import DOWN_AFTER_MS, How, Sentinel, Sentinels
from tests.servers import RedisServer, Replicated, free_port, paused, wait_until
from tests.threads import start

R = TypeVar("R")

LONG: Final = 60.0
"""Seconds that no test waits for, but a busy machine may need."""


@pytest.fixture(scope="module")
def lasting() -> Iterator[Sentinels]:
    """A group that fails over only on demand, as nobody takes anybody for down."""
    with Sentinels() as group:
        for one in group.sentinels:
            one.call("SENTINEL", "SET", group.service, "down-after-milliseconds", 600_000)
        yield group


@pytest.fixture
def group(lasting: Sentinels) -> Sentinels:
    """The same, empty."""
    lasting.primary().call("FLUSHALL")
    lasting.settled()
    return lasting


class Lines:
    """To each Sentinel a line of its own, which can be cut."""

    def __init__(self, group: Sentinels, proxies: Sequence[Proxy]) -> None:
        self.proxies = proxies
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in proxies)}/{group.service}/0"
        self._questions = [0] * len(proxies)
        for number in range(len(proxies)):
            self.mend(number)

    @property
    def questions(self) -> list[int]:
        """How often each was asked for the primary."""
        return list(self._questions)

    def _count(self, number: int, data: bytes) -> bytes:
        self._questions[number] += data.count(b"GET-MASTER-ADDR-BY-NAME")
        return data

    def cut(self, *numbers: int) -> None:
        """Let nobody through any more, on all or on these; those who try are counted by `Proxy.connections`."""
        for number in numbers or range(len(self.proxies)):
            self.proxies[number].on_request = drop
            self.proxies[number].break_all()

    def mend(self, number: int) -> None:
        self.proxies[number].on_request = partial(self._count, number)


@pytest.fixture
def lines(group: Sentinels) -> Iterator[Lines]:
    with ExitStack() as stack:
        yield Lines(group, [stack.enter_context(Proxy(one.port)) for one in group.sentinels])


@pytest.fixture
def unsuspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence is no reason to ask."""
    monkeypatch.setattr(sentinel, "_SILENCE", 3600.0)


@pytest.fixture
def suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each moment of silence is one, and who the replicas are is asked each time."""
    monkeypatch.setattr(sentinel, "_SILENCE", 0.0)
    monkeypatch.setattr(sentinel, "_REPLICAS_LAST", 0.0)


def nowhere() -> str:
    return f"127.0.0.1:{free_port()}"


class TestFinding:
    def test_it_is_used_as_any_server(self, group: Sentinels, opened: Opened) -> None:
        db = opened(group.url)
        hits, jobs = Counter[int]("hits", db), Queue[str]("jobs", db)
        assert [hits.incr() for _ in range(3)] == [1, 2, 3]
        assert jobs.push("sweep", "mop") == 2
        assert (jobs.pop(), jobs.pop_wait(LONG), jobs.pop_wait(0.01)) == ("sweep", "mop", None)
        with db.batch() as batch:
            counted = batch.add(hits.commands.incr())
        with db.transaction() as tx:
            counted_again = tx.add(hits.commands.incr())
        assert (counted.result(), counted_again.result(), hits.get()) == (4, 5, 5)
        assert group.primary().call("GET", "hits") == b"5"
        assert repr(db) in {f"<{kind}RedisBackend {group.url}>" for kind in ("", "Async")}

    def test_one_of_three_is_enough(self, group: Sentinels, opened: Opened) -> None:
        [_, _, (host, port)] = group.addresses
        db = opened(f"redis+sentinel://{nowhere()},{nowhere()},{host}:{port}/main/0")
        assert Counter[int]("hits", db).incr() == 1

    def test_one_that_does_not_answer_is_asked_last_from_then_on(
        self, lines: Lines, opened: Opened, suspicious: None
    ) -> None:
        lines.cut(0)
        hits = Counter[int]("hits", opened(lines.url))
        for number in range(1, 6):
            assert hits.incr() == number
        assert lines.proxies[0].connections == 1
        assert lines.questions == [0, 5, 5]
        lines.mend(0)
        lines.cut(1)
        for number in range(6, 11):
            assert hits.incr() == number
        assert lines.questions == [0, 5, 10]  # the first is left alone for a while, as long as another answers

    def test_all_are_down(self, opened: Opened, sockets: Sockets) -> None:
        addresses = [nowhere(), nowhere(), nowhere()]
        db = opened(f"redis+sentinel://{','.join(addresses)}/main/0")
        for use in (Counter[int]("hits", db).incr, Counter[int]("hits", db).get, Queue[int]("jobs", db).pop_wait):
            with pytest.raises(ConnectionFailed, match="has no primary for now: no Sentinel answers: ") as failed:
                use()
            assert failed.value.retriable
            assert not isinstance(failed.value, OutcomeUnknown)
            for address in addresses:
                assert re.search(f"cannot reach redis://{address}/0: Error 111 ", str(failed.value))
        assert open_sockets() == sockets

    def test_with_a_deadline_it_is_waited_until_one_is_up(self, lines: Lines, opened: Opened) -> None:
        lines.cut()
        counting = start(Counter[int]("hits", opened(lines.url, deadline=LONG)).incr)
        wait_until(lambda: all(one.connections > 2 for one in lines.proxies), "all were tried several times", LONG)
        assert not counting.done()
        lines.mend(1)
        assert counting.result(LONG) == 1

    def test_a_service_that_they_do_not_know(self, group: Sentinels, opened: Opened) -> None:
        db = opened(group.url.replace("/main/", "/mian/"), deadline=LONG)
        with pytest.raises(ConfigurationError, match="know no service 'mian': the name stands in the DSN's path"):
            Counter[int]("hits", db).incr()

    def test_a_server_that_is_no_sentinel(self, url: str, server: RedisServer, opened: Opened) -> None:
        db = opened(f"redis+sentinel://{server.host}:{server.port}/main/0", deadline=LONG)
        with pytest.raises(ConfigurationError, match=f"^{url} is no Sentinel: a server by itself is named redis://"):
            Counter[int]("hits", db).incr()

    def test_what_the_dsn_lacks_is_named(self) -> None:
        for use in (redisext.connect, redisext.aconnect):
            with pytest.raises(ConfigurationError, match="names no service: redis\\+sentinel://"):
                use("redis+sentinel://localhost:26379")
            with pytest.raises(ConfigurationError, match=r"^replicas: the Sentinels name them; say read_from_replicas"):
                use("redis+sentinel://localhost/main/0", replicas=["localhost:1"])
            with pytest.raises(ConfigurationError, match="are for redis\\+sentinel://"):
                use("redis://localhost", sentinel_password="secret")

    def test_a_database_and_a_prefix_are_those_of_the_data(self, group: Sentinels, opened: Opened) -> None:
        db = opened(group.url[:-1] + "3?prefix=app:")
        assert Counter[int]("hits", db).incr() == 1
        assert group.primary().info("keyspace")["db3"].startswith("keys=1")
        with opened(group.url) as other:
            assert Counter[int]("app:hits", other).get() is None

    def test_models_on_one_dsn_share_a_backend(self, group: Sentinels) -> None:
        class Hits(Counter[int]):
            CONNECTION = group.url

        class Jobs(Queue[str]):
            CONNECTION = group.url

        assert Hits("hits").backend is Jobs("jobs").backend is Hits("visits").backend
        Hits("hits").backend.close()

        class AsyncHits(AsyncCounter[int]):
            CONNECTION = group.url

        async def main() -> None:
            backend = AsyncHits("hits").backend
            assert backend is AsyncQueue[str]("jobs", group.url).backend
            await AsyncHits("hits").incr()

        run(main)

    def test_no_socket_is_left(self, group: Sentinels, opened: Opened) -> None:
        gc.collect()
        before = open_sockets()
        db = opened(group.url, read_from_replicas=True)
        Counter[int]("hits", db).incr()
        Counter[int]("hits", db).get()
        assert open_sockets() > before
        db.close()
        assert open_sockets() == before
        with pytest.raises(BackendClosed):
            Counter[int]("hits", db).incr()

    def test_a_forked_child_finds_it_for_itself(self, group: Sentinels) -> None:
        with redisext.connect(group.url) as db:
            hits = Counter[int]("hits", db)
            assert hits.incr() == 1
            assert in_child(lambda: (hits.incr(), db.close())) == "(2, None)"
            assert hits.incr() == 3

    @forking_threads
    def test_a_child_forked_while_a_thread_searches_finds_it_too(self, lines: Lines) -> None:
        hold = Hold()
        lines.proxies[0].on_reply = hold
        with redisext.connect(lines.url) as db:
            hits = Counter[int]("hits", db)
            counting = start(hits.incr)
            wait_until(lambda: bool(hold.held), "it searches", LONG)
            lines.proxies[0].on_request = drop
            assert in_child(lambda: (hits.incr(), db.close())) == "(1, None)"
            hold.let_go()
            assert counting.result(LONG) == 2


@pytest.fixture(scope="module")
def locked() -> Iterator[Sentinels]:
    with Sentinels(replicas=1, password="d@ta-s3cret", sentinel_password="sent?nel-s3cret") as group:
        yield group


class TestPasswords:
    def test_the_data_and_the_sentinels_have_each_their_own(self, locked: Sentinels, opened: Opened) -> None:
        locked.primary().call("FLUSHALL")
        db = opened(locked.url, sentinel_password="sent?nel-s3cret")
        assert Counter[int]("hits", db).incr() == 1
        db = opened(f"{locked.url}?sentinel_password=sent%3Fnel-s3cret&read_from_replicas=true")
        assert Counter[int]("hits", db.primary).get() == 1
        assert Counter[int]("visits", db).get() is None

    def test_the_one_of_the_sentinels_is_missing(self, locked: Sentinels, opened: Opened) -> None:
        host, port = locked.addresses[0]
        with pytest.raises(ConfigurationError) as refused:
            Counter[int]("hits", opened(locked.url, deadline=LONG)).incr()
        assert str(refused.value) == (
            f"the Sentinel redis://{host}:{port}/0 asks for a password of its own: sentinel_password, "
            "and sentinel_username"
        )

    def test_the_one_of_the_sentinels_is_wrong(self, locked: Sentinels, opened: Opened) -> None:
        host, port = locked.addresses[0]
        db = opened(locked.url, sentinel_password="wrong-s3cret", deadline=LONG)
        with pytest.raises(ConfigurationError, match=f"{host}:{port}/0 refused the user or the password") as refused:
            Counter[int]("hits", db).incr()
        assert "sentinel_password" in str(refused.value)

    @pytest.mark.parametrize("userinfo", ["", ":wrong-s3cret@", "nobody:d%40ta-s3cret@"], ids=["none", "wrong", "user"])
    def test_the_one_of_the_data_is_wrong(self, locked: Sentinels, opened: Opened, userinfo: str) -> None:
        url = locked.url.replace(":d%40ta-s3cret@", userinfo)
        primary = locked.primary()
        db = opened(url, sentinel_password="sent?nel-s3cret", deadline=LONG)
        with pytest.raises(ConfigurationError) as refused:
            Counter[int]("hits", db).incr()
        assert str(refused.value).startswith(f"redis://127.0.0.1:{primary.port}/0 ")

    def test_none_is_ever_shown(self, locked: Sentinels, opened: Opened) -> None:
        shown: list[str] = []
        for url, password in (
            (locked.url, "sent?nel-s3cret"),
            (locked.url, "wrong-s3cret"),
            (locked.url.replace("d%40ta", "wrong"), "sent?nel-s3cret"),
            (f"redis+sentinel://u:p-s3cret@{nowhere()}/main/0", "sent?nel-s3cret"),
        ):
            db = opened(url, sentinel_password=password, read_from_replicas=True)
            hits = Counter[int]("hits", db)
            shown += [repr(one) for one in (db, db.primary, hits, hits.commands, db.steady())]
            for use in (hits.incr, hits.get, partial(Queue[int]("jobs", db).pop_wait, 0.01)):
                shown += texts_of(use)
            if isinstance(db, RedisBackend):
                with suppress(RedisextError):
                    shown += [repr(one) for one in (db.client, db.client.pipeline(), db.replica_client)]
        assert len(shown) > 40
        assert "s3cret" not in "\n".join(shown)


class TestReading:
    def test_replicas_answer_reads_in_turn_where_that_is_wanted(self, group: Sentinels, opened: Opened) -> None:
        primary, replicas = group.primary(), group.replicas()
        before = [calls(one, "get") for one in (primary, *replicas)]
        hits = Counter[int]("hits", opened(f"{group.url}?read_from_replicas=true"))
        for _ in range(10):
            hits.get()
        assert [calls(one, "get") - count for one, count in zip((primary, *replicas), before, strict=True)] == [0, 5, 5]
        hits = Counter[int]("hits", opened(group.url))
        for _ in range(10):
            hits.get()
        assert [calls(one, "get") - count for one, count in zip((primary, *replicas), before, strict=True)] == [
            10,
            5,
            5,
        ]

    def test_the_primary_can_be_asked_all_the_same(self, group: Sentinels, opened: Opened) -> None:
        hits = Counter[int]("hits", opened(group.url, read_from_replicas=True).primary)
        for number in range(1, 30):
            hits.incr()
            assert hits.get() == number

    def test_one_that_does_not_answer_is_passed_over(self, group: Sentinels, opened: Opened) -> None:
        silent, other = group.replicas()
        hits = Counter[int]("hits", opened(group.url, read_from_replicas=True, socket_timeout=0.5))
        for _ in range(2):
            hits.get()
        with paused(silent):
            before = calls(other, "get")
            for _ in range(10):
                assert hits.get() is None
            assert calls(other, "get") == before + 10

    def test_where_none_answers_that_is_an_error_or_the_primary_answers(self, group: Sentinels, opened: Opened) -> None:
        one, other = group.replicas()
        options = {"read_from_replicas": True, "socket_timeout": 0.5}
        strict = Counter[int]("hits", opened(group.url, **options))
        lenient = Counter[int]("hits", opened(group.url, fallback_to_primary=True, **options))
        assert (strict.incr(), lenient.incr()) == (1, 2)
        with paused(one), paused(other):
            with pytest.raises(RedisextError, match=f"127.0.0.1:({one.port}|{other.port})/0") as silent:
                strict.get()
            assert silent.value.retriable
            assert lenient.get() == 2

    def test_those_that_the_sentinels_take_for_down_are_not_asked(
        self, group: Sentinels, opened: Opened, suspicious: None
    ) -> None:
        one, other = group.replicas()
        hits = Counter[int]("hits", opened(group.url, read_from_replicas=True, socket_timeout=LONG))
        hits.get()
        with hurried(group):
            with paused(one):
                wait_until(partial(all_see, group, down=1), "the Sentinels see it", LONG)
                before = calls(other, "get")
                for _ in range(10):
                    hits.get()
                assert calls(other, "get") == before + 10
                with paused(other):
                    wait_until(partial(all_see, group, down=2), "the Sentinels see both", LONG)
                    before = calls(group.primary(), "get")
                    for _ in range(10):
                        hits.get()
                    assert calls(group.primary(), "get") == before + 10
            group.settled()

    def test_where_there_is_none_the_primary_answers(self, opened: Opened) -> None:
        with Sentinels(replicas=0) as group:
            db = opened(group.url, read_from_replicas=True)
            assert Counter[int]("hits", db).incr() == 1
            assert Counter[int]("hits", db).get() == 1


@contextmanager
def hurried(group: Sentinels) -> Generator[None]:
    """The Sentinels take who is silent for down, as they mostly do."""
    try:
        for one in group.sentinels:
            one.call("SENTINEL", "SET", group.service, "down-after-milliseconds", DOWN_AFTER_MS)
        yield
    finally:
        for one in group.sentinels:
            one.call("SENTINEL", "SET", group.service, "down-after-milliseconds", 600_000)


def all_see(group: Sentinels, *, down: int) -> bool:
    """Whether to each Sentinel so many replicas are down."""
    listed = [str(one.call("SENTINEL", "REPLICAS", group.service)) for one in group.sentinels]
    return all(text.count("s_down") >= down for text in listed)


class TestSilence:
    def test_while_the_primary_answers_nobody_is_asked(self, lines: Lines, opened: Opened) -> None:
        hits = Counter[int]("hits", opened(lines.url))
        for number in range(1, 200):
            assert hits.incr() == number
        assert sum(lines.questions) <= 4

    def test_after_a_second_of_it_they_are_asked_again(self, lines: Lines, opened: Opened) -> None:
        hits = Counter[int]("hits", opened(lines.url))
        assert hits.incr() == 1
        for number in (2, 3):
            before = sum(lines.questions)
            time.sleep(1.1)
            assert hits.incr() == number
            assert before < sum(lines.questions) <= before + 4

    def test_if_none_answers_then_what_they_have_said_holds(
        self, lines: Lines, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sentinel, "_SILENCE", 0.01)
        hits = Counter[int]("hits", opened(lines.url))
        assert hits.incr() == 1
        lines.cut()
        before = lines.proxies[0].connections
        for number in range(2, 202):
            time.sleep(0.012)
            assert hits.incr() == number
        # Each silence is as long again as the one before it.
        assert 1 <= lines.proxies[0].connections - before <= 12

    def test_a_connection_that_breaks_is_reason_to_ask(
        self, group: Sentinels, lines: Lines, opened: Opened, name: str, unsuspicious: None
    ) -> None:
        db = opened(lines.url, client_name=name)
        assert Counter[int]("hits", db).incr() == 1
        primary = group.primary()
        waiting = start(partial(Queue[str]("jobs", db).pop_wait, None))
        wait_until(lambda: blocked(primary) == 1, "it waits", LONG)
        before = sum(lines.questions)
        for one in connections(primary, name):
            primary.call("CLIENT", "KILL", "ID", one)
        with pytest.raises(OutcomeUnknown):
            waiting.result(LONG)
        assert Counter[int]("hits", db).incr() == 2
        assert sum(lines.questions) >= before + 2

    @pytest.mark.parametrize("kind", ["batch", "transaction", "transact"])
    def test_so_are_answers_to_several_at_once(self, lines: Lines, opened: Opened, kind: str) -> None:
        db = opened(lines.url)
        command = Counter[int]("hits", db).commands.incr()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            if kind == "transact":
                db.transact(lambda tx: tx.add(command), watch=[b"hits"])
                continue
            with db.batch() if kind == "batch" else db.transaction() as block:
                block.add(command)
        assert sum(lines.questions) <= 3


class TestWhomToBelieve:
    def test_the_newest_answer_counts_and_not_the_first(self, opened: Opened) -> None:
        """A Sentinel that was cut off together with the old primary says what held before."""
        with Sentinels(replicas=1) as group, RedisServer() as old:
            group.fail_over("ask")
            group.settled()
            with Sentinel(group.service, old, password="", certificate=None) as stale:
                hosts = ",".join(f"{one.host}:{one.port}" for one in (stale, *group.sentinels))
                hits = Counter[int]("hits", opened(f"redis+sentinel://{hosts}/{group.service}/0"))
                assert hits.incr() == 1
                assert group.primary().call("GET", "hits") == b"1"
                assert old.call("EXISTS", "hits") == 0

    def test_a_primary_that_does_not_know_yet_that_it_is_one_is_waited_for(self, opened: Opened) -> None:
        with Replicated() as servers:
            [named] = servers.replicas
            with Sentinel("main", named, password="", certificate=None) as believing:
                url = f"redis+sentinel://{believing.host}:{believing.port}/main/0"
                with pytest.raises(ConnectionFailed, match="is named, and is none yet") as early:
                    Counter[int]("hits", opened(url)).incr()
                assert early.value.retriable
                before = calls(named, "role")
                counting = start(Counter[int]("hits", opened(url, deadline=LONG)).incr)
                wait_until(lambda: calls(named, "role") > before + 2, "it was asked several times", LONG)
                assert not counting.done()
                named.call("REPLICAOF", "NO", "ONE")
                assert counting.result(LONG) == 1

    def test_a_user_who_may_not_ask_for_its_role_believes_what_is_said(self, group: Sentinels, opened: Opened) -> None:
        for one in group.servers:
            one.call("ACL", "SETUSER", "trusting", "on", ">secret", "~*", "+@all", "-role")
        db = opened(group.url.replace("//", "//trusting:secret@"), read_from_replicas=True)
        assert Counter[int]("hits", db).incr() == 1
        assert Counter[int]("visits", db).get() is None


class TestDemoted:
    USES: Final[dict[str, Callable[[Backend], object]]] = {
        "alone": lambda db: Counter[int]("hits", db).incr(),
        "batch": lambda db: _result(db.batch(), db),
        "transaction": lambda db: _result(db.transaction(), db),
        "waiting": lambda db: (Queue[int]("jobs", db).push(1), Queue[int]("jobs", db).pop_wait(LONG))[1],
    }

    @pytest.fixture
    def handed_over(self, group: Sentinels, unsuspicious: None) -> Callable[[], None]:
        def hand_over() -> None:
            group.fail_over("ask")
            group.settled()

        return hand_over

    @pytest.mark.parametrize("use", list(USES.values()), ids=list(USES))
    def test_one_is_left_at_once(
        self,
        group: Sentinels,
        handed_over: Callable[[], None],
        opened: Opened,
        use: Callable[[Backend], object],
    ) -> None:
        """No deadline is needed: it has refused, and done nothing."""
        db = opened(group.url)
        assert Counter[int]("visits", db).incr() == 1
        handed_over()
        assert use(db) == 1
        assert Counter[int]("visits", db).incr() == 2

    def test_what_is_transacted_there_fails_once(
        self, group: Sentinels, handed_over: Callable[[], None], opened: Opened
    ) -> None:
        db, patient = opened(group.url), opened(group.url, deadline=LONG)
        for one in (db, patient):
            assert Counter[int]("visits", one).incr() > 0

        def count(db: Backend) -> int:
            command = Counter[int]("hits", db).commands.incr()
            return db.transact(lambda tx: tx.add(command), watch=[b"hits"]).result()

        handed_over()
        assert count(patient) == 1
        with suppress(RedisextError):
            assert count(db) == 2
        assert count(db) in {2, 3}

    def test_the_connections_to_it_are_cut(
        self, group: Sentinels, handed_over: Callable[[], None], opened: Opened, name: str
    ) -> None:
        old = group.primary()
        hits = Counter[int]("hits", opened(group.url, client_name=name))
        assert hits.incr() == 1
        assert len(connections(old, name)) == 1
        handed_over()
        assert hits.incr() == 2
        wait_until(lambda: connections(old, name) == [], "they are closed", LONG)
        assert len(connections(group.primary(), name)) == 1


def _result(block: redisext.Batch | Transaction, db: Backend) -> int:
    with block:
        pending = block.add(Counter[int]("hits", db).commands.incr())
    return pending.result()


class TestClient:
    """redis-py's own."""

    def test_it_talks_to_who_is_primary_by_now(self, group: Sentinels) -> None:
        with redisext.connect(group.url, read_from_replicas=True) as db:
            hits = Counter[int]("hits", db)
            assert port_of(hits.connect_to_master()) == group.primary().port
            assert port_of(hits.connect_to_slave()) in {one.port for one in group.replicas()}
            with hits.connect_to_master().pipeline() as pipeline:
                pipeline.execute_command("INCR", "hits")
                assert pipeline.execute() == [1]
            group.fail_over("ask")
            group.settled()
            hits.incr()
            assert port_of(hits.connect_to_master()) == group.primary().port
        with redisext.connect(group.url) as db:
            assert port_of(Counter[int]("hits", db).connect_to_slave()) == group.primary().port

    def test_under_asyncio_a_command_comes_first(self, group: Sentinels, suspicious: None) -> None:
        async def main() -> None:
            async with connect(group.url, read_from_replicas=True) as db:
                hits = AsyncCounter[int]("hits", db)
                for ask in (hits.connect_to_master, hits.connect_to_slave):
                    with pytest.raises(ConfigurationError, match="await a command before its client"):
                        ask()
                await hits.incr()
                assert await aport_of(hits.connect_to_master()) == group.primary().port
                assert await aport_of(hits.connect_to_slave()) in {one.port for one in group.replicas()}
            async with connect(group.url) as db:
                hits = AsyncCounter[int]("hits", db)
                await hits.incr()
                assert await aport_of(hits.connect_to_slave()) == group.primary().port

        run(main)


def port_of(client: redis.Redis) -> int:
    """The port of the server that a client talks to."""
    _, port = array(client.execute_command("CONFIG", "GET", "port"))
    return int(bulk(port))


async def aport_of(client: redis.asyncio.Redis) -> int:
    _, port = array(await client.execute_command("CONFIG", "GET", "port"))
    return int(bulk(port))


class TestSearching:
    """What cuts in while the Sentinels are being asked."""

    def test_of_those_who_wait_for_the_same_answer_one_is_cancelled(self, lines: Lines) -> None:
        hold = Hold()
        lines.proxies[0].on_reply = hold

        async def main() -> None:
            async with connect(lines.url) as db:
                hits = AsyncCounter[int]("hits", db)
                tasks = [asyncio.create_task(hits.incr()) for _ in range(5)]
                await until(lambda: bool(hold.held), "a Sentinel was asked")
                tasks[0].cancel()
                tasks[3].cancel()
                await asyncio.wait((tasks[0], tasks[3]))
                hold.let_go()
                ended = await outcomes([*tasks])
                assert [one if isinstance(one, int) else type(one) for one in ended] == [
                    asyncio.CancelledError, 1, 2, asyncio.CancelledError, 3
                ]  # fmt: skip
                assert sum(lines.questions) == 2

        run(main)

    def test_all_were_cancelled_and_nobody_hears_of_the_failure(self, lines: Lines) -> None:
        hold = Hold()
        for proxy in lines.proxies:
            proxy.on_reply = hold

        async def main() -> None:
            async with connect(lines.url) as db:
                before = len(asyncio.all_tasks())
                task = asyncio.create_task(AsyncCounter[int]("hits", db).incr())
                await until(lambda: bool(hold.held), "a Sentinel was asked")
                task.cancel()
                await asyncio.wait((task,))
                for proxy in lines.proxies:
                    proxy.on_request = drop
                hold.cut()
                await until(lambda: len(asyncio.all_tasks()) == before, "the search has ended")

        run(main)

    def test_closing_ends_it(self, lines: Lines) -> None:
        hold = Hold()
        for proxy in lines.proxies:
            proxy.on_reply = hold

        async def main() -> None:
            db = connect(lines.url)
            hits = AsyncCounter[int]("hits", db)
            tasks = [asyncio.create_task(hits.incr()) for _ in range(3)]
            await until(lambda: bool(hold.held), "a Sentinel was asked")
            await db.aclose()
            assert [type(one) for one in await outcomes([*tasks])] == [BackendClosed] * 3

        before = open_sockets()
        run(main)
        hold.let_go()
        wait_until(lambda: open_sockets() <= before, "all are closed", LONG)

    @pytest.mark.parametrize("asked", [False, True], ids=["connecting", "asked"])
    def test_closing_by_another_thread_ends_it(self, lines: Lines, group: Sentinels, name: str, asked: bool) -> None:
        hold = Hold()
        lines.proxies[0].on_reply = lambda data: hold(data) if lines.questions[0] or not asked else data
        db = redisext.connect(lines.url, client_name=name, deadline=LONG)
        counting = start(Counter[int]("hits", db).incr)
        wait_until(lambda: bool(hold.held), "a Sentinel was asked", LONG)
        db.close()
        with pytest.raises(BackendClosed):
            counting.result(LONG)
        hold.let_go()
        assert group.primary().call("EXISTS", "hits") == 0
        for server in (*group.servers, *group.sentinels):
            wait_until(partial(_has_none, server, name), "no connection is left", LONG)

    def test_what_fails_for_several_is_each_ones_own_error(self, lines: Lines) -> None:
        async def main() -> None:
            async with connect(lines.url) as db:
                lines.cut()
                hits = AsyncCounter[int]("hits", db)
                errors = await outcomes([hits.incr() for _ in range(5)])
                assert {type(one) for one in errors} == {ConnectionFailed}
                assert len({id(one) for one in errors}) == 5

        run(main)


def _has_none(server: RedisServer, name: str) -> bool:
    return connections(server, name) == []


# --- Failovers


SURE: Final[dict[str, Any]] = {"deadline": LONG, "exactly_once": True, "wait_replicas": 1, "wait_timeout": 1}


class Stage:
    """All kinds of use of a group, which go on while it fails over; `results` are what each came to."""

    def __init__(self, group: Sentinels, loop: Loop | None) -> None:
        self.group = group
        self.loop = loop
        self.opened: list[Backend] = []
        self.results: dict[str, Future[object]] = {}
        self.over = threading.Event()
        """It has failed over, and all is well again."""
        self._rounds: dict[str, int] = {}

    def open(self, **options: Any) -> Backend:
        self.opened.append(open_on(self.loop, self.group.url, socket_timeout=1, **options))
        return self.opened[-1]

    def sure(self) -> Backend:
        """With it nothing that was acknowledged is lost, and nothing done twice."""
        return self.open(**SURE)

    def repeat(self, name: str, one: Callable[[], R]) -> None:
        """Call *one* again and again, until it is over; the results."""

        def go_on() -> list[R]:
            results: list[R] = []
            while not self.over.is_set():
                results.append(one())
                self._rounds[name] = len(results)
                time.sleep(0.01)
            return results

        self._rounds[name] = 0
        self.results[name] = start(go_on)

    def once(self, name: str, one: Callable[[], object]) -> None:
        self.results[name] = start(one)

    def fail_over(self, how: How) -> None:
        wait_until(self._all_begun, "all have begun", LONG)
        self.group.fail_over(how)
        self.group.revive()
        rounds = dict(self._rounds)
        wait_until(lambda: all(self._goes_on(name, rounds[name]) for name in rounds), "all go on", LONG)

    def _all_begun(self) -> bool:
        return all(self._rounds.values()) and blocked(self.group.primary()) >= self.waiting

    waiting = 0

    def _goes_on(self, name: str, rounds: int) -> bool:
        return self._rounds[name] > rounds + 2 or self.results[name].done()

    def result(self, name: str) -> object:
        return self.results[name].result(LONG)

    def end(self) -> None:
        self.over.set()
        for one in self.opened:
            one.close()


HOWS: Final[tuple[How, ...]] = ("ask", "kill", "pause")


@pytest.fixture(scope="module")
def falling() -> Iterator[Sentinels]:
    """A group that fails over."""
    with Sentinels(replicas=1) as group:
        yield group


@pytest.fixture(scope="module", params=HOWS)
def stage(request: pytest.FixtureRequest, falling: Sentinels, loop_or_none: Loop | None) -> Iterator[Stage]:
    """When it is over."""
    falling.settled()
    falling.primary().call("FLUSHALL")
    stage = Stage(falling, loop_or_none)
    Map[str]("city", stage.sure()).set("London")
    try:
        _begin_all(stage)
        stage.fail_over(request.param)
        db = stage.open(deadline=LONG)
        for key in ("awaited for ever", "awaited", "awaited plainly"):
            Queue[str](key, db).push("sweep")
        stage.over.set()
        yield stage
    finally:
        stage.end()


def _begin_all(stage: Stage) -> None:
    patient, plain = stage.open(deadline=LONG), stage.open()
    city = Map[str]("city", patient)
    stage.repeat("reads", city.get)
    reading = stage.open(deadline=LONG, read_from_replicas=True, fallback_to_primary=True)
    stage.repeat("reads of replicas", Map[str]("city", reading).get)
    sure = stage.sure()
    stage.repeat("counted", Counter[int]("counted", sure).incr)

    def batch() -> list[int]:
        with sure.batch() as batch:
            several = [batch.add(Counter[int](f"batch {number}", sure).commands.incr()) for number in range(5)]
        return [one.result() for one in several]

    def transaction() -> list[int]:
        with sure.transaction() as tx:
            several = [tx.add(Counter[int](f"tx {number}", sure).commands.incr()) for number in range(5)]
        return [one.result() for one in several]

    transacted = Counter[int]("transacted", sure)

    def transact() -> int:
        return sure.transact(lambda tx: tx.add(transacted.commands.incr()), watch=[transacted]).result()

    def lock() -> bool:
        lock = Lock("lock", sure)
        return lock.acquire(LONG) and lock.extend(LONG) and lock.locked() and lock.release()

    jobs, done = Queue[int]("jobs", sure), Stack[int]("done", sure)
    numbers = iter(range(1_000_000))

    def hand_on() -> int | None:
        jobs.push(next(numbers))
        job = jobs.pop()
        done.push(-1 if job is None else job)
        return job

    def count_plainly() -> int | RedisextError:
        try:
            return Counter[int]("plain", plain).incr()
        except RedisextError as error:
            return error

    stage.repeat("batches", batch)
    stage.repeat("transactions", transaction)
    stage.repeat("transacts", transact)
    stage.repeat("locks", lock)
    stage.repeat("handed on", hand_on)
    stage.repeat("plain", count_plainly)
    stage.once("awaited for ever", partial(Queue[str]("awaited for ever", stage.sure()).pop_wait, None))
    stage.once("awaited", partial(Queue[str]("awaited", stage.sure()).pop_wait, LONG))
    plain_wait = stage.open(deadline=LONG)
    stage.once("awaited plainly", partial(Queue[str]("awaited plainly", plain_wait).pop_wait, None))
    stage.waiting = 3
    if stage.loop is None:
        crowd = Counter[int]("crowd", stage.sure())
        for number in range(16):
            stage.repeat(f"crowd {number}", crowd.incr)
    else:
        stage.once("crowd", partial(_crowd, stage))


def _crowd(stage: Stage) -> list[int]:
    """What 200 tasks count until it is over."""
    counted: list[int] = []

    async def count(hits: AsyncCounter[int]) -> None:
        while not stage.over.is_set():
            counted.append(await hits.incr())
            await asyncio.sleep(0.05)

    async def main() -> None:
        async with redisext.aconnect(stage.group.url, **SURE, socket_timeout=1) as db:
            await asyncio.gather(*(count(AsyncCounter[int]("crowd", db)) for _ in range(200)))

    asyncio.run(main())
    return counted


class TestFailover:
    """Asked for, or with the primary killed, or frozen and back as one that does not know that it is none."""

    @pytest.mark.parametrize("kind", ["reads", "reads of replicas"])
    def test_reads_are_ridden_out(self, stage: Stage, kind: str) -> None:
        assert set(_list(stage.result(kind))) == {"London"}

    def test_with_exactly_once_writes_are_done_once(self, stage: Stage) -> None:
        counted = _list(stage.result("counted"))
        assert counted == list(range(1, len(counted) + 1))

    @pytest.mark.parametrize("kind", ["batches", "transactions"])
    def test_so_are_several_together(self, stage: Stage, kind: str) -> None:
        counted = _list(stage.result(kind))
        assert counted == [[number] * 5 for number in range(1, len(counted) + 1)]

    def test_so_is_what_is_transacted(self, stage: Stage) -> None:
        counted = _list(stage.result("transacts"))
        assert counted == list(range(1, len(counted) + 1))

    def test_what_is_taken_is_neither_lost_nor_given_twice(self, stage: Stage) -> None:
        handed_on = _list(stage.result("handed on"))
        assert handed_on == list(range(len(handed_on)))

    def test_a_lock_is_held_and_released(self, stage: Stage) -> None:
        assert set(_list(stage.result("locks"))) == {True}

    @pytest.mark.parametrize("how_long", ["awaited", "awaited for ever"])
    def test_who_waits_for_an_item_gets_it(self, stage: Stage, how_long: str) -> None:
        assert stage.result(how_long) == "sweep"

    def test_without_exactly_once_it_may_be_unknown(self, stage: Stage) -> None:
        try:
            assert stage.result("awaited plainly") == "sweep"
        except OutcomeUnknown as error:
            assert error.command.op.name == "BRPOP"  # noqa: PT017

    def test_without_a_deadline_the_first_failure_is_raised_and_then_it_goes_on(self, stage: Stage) -> None:
        counted = _list(stage.result("plain"))
        errors = [one for one in counted if not isinstance(one, int)]
        assert all(isinstance(one, (ConnectionFailed, redisext.Timeout, CommandRefused)) for one in errors)
        assert isinstance(counted[0], int)
        assert all(isinstance(one, int) for one in counted[-2:])

    def test_many_at_a_time_are_each_done_once(self, stage: Stage) -> None:
        if stage.loop is None:
            counted = [one for number in range(16) for one in _list(stage.result(f"crowd {number}"))]
        else:
            counted = _list(stage.result("crowd"))
        assert sorted(map(int, map(str, counted))) == list(range(1, len(counted) + 1))


def _list(result: object) -> list[object]:
    assert isinstance(result, list)
    return cast("list[object]", result)
