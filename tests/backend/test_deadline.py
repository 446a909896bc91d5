"""With a `deadline`: what is tried again, for how long, and what is never sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import hiredis
import pytest

import redisext
from redisext import AsyncCounter, AsyncQueue, Counter, HashMap, Lock, Map, Pool, PriorityQueue, Queue, SortedSet
from redisext.backoff import Patience
from redisext.command import Command, Steps
from redisext.errors import (
    BackendClosed,
    BatchError,
    CommandRefused,
    ConfigurationError,
    ConnectionFailed,
    OutcomeUnknown,
    PermissionDenied,
    RedisextError,
    Timeout,
)
from tests.backend.observe import blocked, calls
from tests.backend.tasks import connect, run, until
from tests.backend.test_failures import answer
from tests.blocks import Added, Block, Driver, add_all, no_steps, reading
from tests.certificates import Secured
from tests.proxy import Fault, Kind, Proxy, drop, every, forward, the_next
from tests.servers import RedisServer, Replicated, free_port, wait_until
from tests.threads import PATIENCE, start

R = TypeVar("R")

MakesDrivers: TypeAlias = Callable[..., Driver]

SOON: Final = 0.4
"""A deadline (seconds) that is meant to run out."""

BREAKS: Final = (
    Fault(Kind.DROP_COMMAND),
    Fault(Kind.DROP_REPLY),
    Fault(Kind.CUT_COMMAND, keep=5),
    Fault(Kind.CUT_REPLY),
    Fault(Kind.HALF_CLOSE_REPLY),
    Fault(Kind.GARBAGE_REPLY),
)
breaks = pytest.mark.parametrize("fault", BREAKS, ids=[one.kind.name.lower() for one in BREAKS])


@pytest.fixture
def driver(proxy: Proxy, made: MakesDrivers) -> Driver:
    """One with time enough, whose connection through the proxy is open."""
    driver = made(proxy.url, deadline=PATIENCE)
    driver.execute(Counter[int]("warm", driver.url).commands.incr())
    return driver


@pytest.fixture
def hasty(proxy: Proxy, made: MakesDrivers) -> Driver:
    """One whose time runs out, whose connections through the proxy, for commands and for transactions, are open."""
    driver = made(proxy.url, deadline=SOON)
    for kind in ("batch", "transaction"):
        driver.fill(kind, add_all([Counter[int]("warm", driver.url).commands.incr()]))
    return driver


class TurnsAway(contextlib.AbstractContextManager["TurnsAway"]):
    """Listens in a server's place, and closes each connection; `attempts` counts them."""

    def __init__(self, port: int) -> None:
        self.attempts = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._running = start(self._run)

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()
        self._running.result(PATIENCE)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                self._listener.accept()[0].close()
                self.attempts += 1


def in_spite_of(server: RedisServer, call: Callable[[], R]) -> Future[R]:
    """Make the call while *server* is down, and start that when the call has been tried several times."""
    with TurnsAway(server.port) as there:
        calling = start(call)
        wait_until(lambda: there.attempts >= 3, "it was tried again")
        assert not calling.done()
    server.start()
    return calling


class Refusals:
    """A rule of the proxy: note the errors that the server replies."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        self.seen += [line for line in lines if line.startswith(b"-") and b"SETINFO" not in line]  # which is new
        return data


class TestReads:
    @breaks
    def test_they_survive_connections_that_break(
        self, proxy: Proxy, server: RedisServer, driver: Driver, fault: Fault
    ) -> None:
        url = driver.url
        server.call("SET", "hits", "5")
        server.call("RPUSH", "jobs", "a", "b")
        server.call("HSET", "stock", "apples", "3")
        server.call("ZADD", "board", "1.5", "Ada")
        reads: list[tuple[Command[object], object]] = [
            (Counter[int]("hits", url).commands.get(), 5),
            (Counter[int]("hits", url).commands.ttl(), -1),
            (Counter[int]("none", url).commands.exists(), False),
            (Queue[str]("jobs", url).commands.items(), ["a", "b"]),
            (Queue[str]("jobs", url).commands.page(), (["a", "b"], None)),
            (HashMap[str, int]("stock", url).commands.get_many(["apples", "pears"]), {"apples": 3}),
            (SortedSet[str]("board", url).commands.members_with_scores(), [(1.5, "Ada")]),
            (Pool[str]("none", url).commands.peek(), None),
            (Lock("nightly", url).commands.locked(), False),
        ]
        proxy.arm(fault, every(3))
        for _ in range(5):
            for command, result in reads:
                assert driver.execute(command) == result
        assert proxy.injected[fault.kind] >= 20

    def test_they_survive_a_reply_that_does_not_come_in_time(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers
    ) -> None:
        server.call("SET", "hits", "5")
        driver = made(proxy.url, deadline=PATIENCE, socket_timeout=0.3)
        proxy.arm(Fault(Kind.DELAY_REPLY, seconds=PATIENCE), the_next(), "GET")
        assert driver.execute(Counter[int]("hits", driver.url).commands.get()) == 5
        assert proxy.injected[Kind.DELAY_REPLY] == 1

    def test_they_are_given_up_after_the_deadline(self, proxy: Proxy, hasty: Driver) -> None:
        hits = Counter[int]("hits", hasty.url).commands
        proxy.on_reply = drop
        opened, begun = proxy.connections, time.monotonic()
        with pytest.raises(ConnectionFailed, match=f"^the connection to {proxy.url} broke|^cannot reach") as failed:
            hasty.execute(hits.get())
        assert time.monotonic() - begun < PATIENCE
        assert not isinstance(failed.value, OutcomeUnknown)
        assert failed.value.retriable
        assert proxy.connections > opened + 1
        proxy.on_reply = forward
        assert hasty.execute(hits.get()) is None

    def test_without_a_deadline_the_first_failure_is_raised(self, proxy: Proxy, made: MakesDrivers) -> None:
        driver = made(proxy.url)
        proxy.arm(Fault(Kind.DROP_REPLY), the_next())
        with pytest.raises(ConnectionFailed, match="broke during GET"):
            driver.execute(Counter[int]("hits", driver.url).commands.get())
        assert proxy.connections == 1


def tried(driver: Driver, command: Command[object]) -> object:
    """What it gives, or its error."""
    try:
        return driver.execute(command)
    except RedisextError as error:
        return error


class TestWrites:
    @pytest.mark.parametrize("fault", BREAKS[1:2] + BREAKS[3:5], ids=lambda fault: fault.kind.name.lower())
    def test_none_is_sent_twice_when_the_reply_is_lost(
        self, proxy: Proxy, server: RedisServer, driver: Driver, fault: Fault
    ) -> None:
        url = driver.url
        writes: list[tuple[str, Command[object]]] = [
            ("incrby", Counter[int]("hits", url).commands.incr()),
            ("set", Counter[int]("hits", url).commands.set(5)),
            ("pexpire", Counter[int]("hits", url).commands.expire(60)),
            ("sadd", Pool[str]("tags", url).commands.push_all(["a"])),
            ("hset", HashMap[str, int]("stock", url).commands.update([("apples", 3)])),
            ("lpush", Queue[str]("jobs", url).commands.push("sweep")),
            ("rpop", Queue[str]("jobs", url).commands.pop()),
            ("zpopmin", PriorityQueue[str]("urgent", url).commands.pop()),
        ]
        for word, command in writes:
            before = calls(server, word)
            proxy.arm(fault, every(2))
            told = [tried(driver, command) for _ in range(10)]
            unknown = [one for one in told if isinstance(one, OutcomeUnknown)]
            assert len(unknown) == 5
            assert not any(isinstance(one, RedisextError) for one in told if one not in unknown)
            assert all(one.command is command and not one.retriable for one in unknown)
            proxy.disarm()
            assert calls(server, word) == before + 10

    def test_one_that_may_not_have_arrived_is_not_sent_again_either(
        self, proxy: Proxy, server: RedisServer, driver: Driver
    ) -> None:
        hits = Counter[int]("hits", driver.url).commands
        proxy.arm(Fault(Kind.DROP_COMMAND), every(2))
        told = [tried(driver, hits.incr()) for _ in range(20)]
        assert [type(one) for one in told] == [int, OutcomeUnknown] * 10
        assert server.call("GET", "hits") == b"10"

    def test_one_that_waits_is_not_either(self, proxy: Proxy, server: RedisServer, driver: Driver) -> None:
        server.call("RPUSH", "jobs", "sweep", "mop")
        proxy.arm(Fault(Kind.DROP_REPLY), the_next(), "BRPOP")
        waiting = Queue[str]("jobs", driver.url).commands.pop_wait(1)
        with pytest.raises(OutcomeUnknown) as unknown:
            driver.execute(waiting)
        assert unknown.value.command is waiting
        assert server.call("LRANGE", "jobs", 0, -1) == [b"sweep"]


class TestNotSent:
    """What was certainly not carried out is tried again, whatever it is."""

    def test_a_server_that_comes_up_in_time(self, made: MakesDrivers) -> None:
        server = RedisServer()
        driver = made(server.url, deadline=PATIENCE)
        calling = in_spite_of(server, partial(driver.execute, Counter[int]("hits", driver.url).commands.incr()))
        with contextlib.ExitStack() as stack:
            stack.callback(server.stop)
            assert calling.result(PATIENCE) == 1
            assert server.call("GET", "hits") == b"1"

    def test_a_server_that_comes_back(self, own_server: RedisServer, made: MakesDrivers) -> None:
        driver = made(own_server.url, deadline=PATIENCE)
        hits, jobs = Counter[int]("hits", driver.url).commands, Queue[str]("jobs", driver.url).commands
        for command, result in ((hits.incr(), 1), (jobs.push("sweep"), 1), (jobs.pop_wait(0.05), None)):
            driver.execute(hits.get())
            own_server.kill()
            assert in_spite_of(own_server, partial(driver.execute, command)).result(PATIENCE) == result

    def test_a_server_that_is_restarted_between_two_commands(self, own_server: RedisServer, made: MakesDrivers) -> None:
        driver = made(own_server.url, deadline=PATIENCE)
        for _ in range(3):
            assert driver.execute(Counter[int]("hits", driver.url).commands.incr()) == 1
            own_server.restart()

    def test_an_address_at_which_nobody_listens_for_a_while(self, proxy: Proxy, made: MakesDrivers) -> None:
        patient, hasty = made(proxy.url, deadline=PATIENCE), made(proxy.url, deadline=SOON)
        hits = Counter[int]("hits", proxy.url).commands
        for number, driver in enumerate((patient, hasty), 1):
            assert driver.execute(hits.incr()) == number
        with proxy.refusing():
            proxy.break_all()
            calling = start(lambda: patient.execute(hits.incr()))
            with pytest.raises(ConnectionFailed, match=f"^cannot reach {proxy.url}: .*refused|Connect call") as failed:
                hasty.execute(hits.incr())
            assert type(failed.value) is ConnectionFailed
            assert not calling.done()
        assert calling.result(PATIENCE) == 3

    def test_a_handshake_that_breaks(self, proxy: Proxy, server: RedisServer, made: MakesDrivers) -> None:
        driver = made(proxy.url, deadline=PATIENCE, client_name="me")
        proxy.arm(Fault(Kind.DROP_REPLY), lambda: proxy.connections <= 5, "CLIENT")
        assert driver.execute(Counter[int]("hits", driver.url).commands.incr()) == 1
        assert proxy.connections == 6
        assert server.call("GET", "hits") == b"1"

    def test_a_free_connection_that_comes_in_time(self, server: RedisServer, url: str) -> None:
        """All are in use, for longer than one waits for one, but not for as long as the deadline."""
        with redisext.connect(url, max_connections=1, socket_timeout=0.05, deadline=PATIENCE) as db:
            jobs, hits = Queue[str]("jobs", db), Counter[int]("hits", db)
            waiting = start(lambda: jobs.pop_wait(PATIENCE))
            wait_until(lambda: blocked(server) == 1, "it waits")
            counting = start(hits.incr)
            with pytest.raises(TimeoutError):
                counting.result(SOON)
            server.call("LPUSH", "jobs", "sweep")
            assert (waiting.result(PATIENCE), counting.result(PATIENCE)) == ("sweep", 1)

    def test_so_under_asyncio(self, server: RedisServer, url: str) -> None:
        async def main() -> None:
            async with connect(url, max_connections=2, socket_timeout=0.05, deadline=PATIENCE) as db:
                jobs, hits = AsyncQueue[str]("jobs", db), AsyncCounter[int]("hits", db)
                waiting = asyncio.create_task(jobs.pop_wait(PATIENCE))
                await until(lambda: blocked(server) == 1, "it waits")

                async def count() -> int:
                    async with db.transaction() as tx:
                        pending = tx.add(hits.commands.incr())
                    return pending.result()

                counting = asyncio.create_task(count())
                assert await asyncio.wait({counting}, timeout=SOON) == (set(), {counting})
                server.call("LPUSH", "jobs", "sweep")
                assert (await waiting, await counting) == ("sweep", 1)

        run(main)


class Trouble:
    """A server that refuses for a while: how that is brought about, how ended, and the word of its refusal."""

    def __init__(self, word: str, begin: tuple[str, ...], end: tuple[str, ...], *, reads: bool = False) -> None:
        self.word = word.encode()
        self.begin = begin
        self.end = end
        self.reads = reads

    def __str__(self) -> str:
        return self.word.decode().lower()


TROUBLES: Final = (
    Trouble("READONLY", ("REPLICAOF 127.0.0.1 1",), ("REPLICAOF NO ONE",)),
    Trouble("NOREPLICAS", ("CONFIG SET min-replicas-to-write 1",), ("CONFIG SET min-replicas-to-write 0",)),
    Trouble(
        "MASTERDOWN",
        ("CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"),
        ("REPLICAOF NO ONE",),
        reads=True,
    ),
)


@contextlib.contextmanager
def busy(server: RedisServer) -> Generator[Callable[[], object]]:
    """Have a script run for ever; gives what ends it."""
    server.call("CONFIG", "SET", "lua-time-limit", 1)
    running = start(lambda: server.call("EVAL", "while true do end", 0))

    def is_busy() -> bool:
        try:
            server.call("GET", "x")
        except hiredis.ReplyError as error:
            return str(error).startswith("BUSY")
        return False

    def end() -> None:
        with contextlib.suppress(hiredis.ReplyError):  # it has ended already
            server.call("SCRIPT", "KILL")

    wait_until(is_busy, "the script is seen to be slow")
    try:
        yield end
    finally:
        end()
        assert "Script killed by user" in str(running.exception(PATIENCE))


class TestServersAnswer:
    """The server says that it does nothing now."""

    @pytest.mark.parametrize("trouble", TROUBLES, ids=str)
    def test_it_is_asked_again_until_that_has_passed(
        self, own_server: RedisServer, made: MakesDrivers, trouble: Trouble
    ) -> None:
        with Proxy(own_server.port) as proxy:
            driver, hasty = made(proxy.url, deadline=PATIENCE), made(proxy.url, deadline=SOON)
            hits = Counter[int]("hits", proxy.url).commands
            command: Command[object] = hits.get() if trouble.reads else hits.incr()
            driver.execute(command)
            for words in trouble.begin:
                own_server.call(*words.split())
            with pytest.raises(CommandRefused, match=r"^the server refused (INCRBY|GET) on key 'hits': ") as refused:
                hasty.execute(command)
            assert refused.value.retriable
            proxy.on_reply = refusals = Refusals()
            calling = start(lambda: driver.execute(command))
            wait_until(lambda: len(refusals.seen) >= 3, "it was asked again")
            assert all(line.startswith(b"-" + trouble.word) for line in refusals.seen)
            for words in trouble.end:
                own_server.call(*words.split())
            assert calling.result(PATIENCE) == (None if trouble.reads else 2)

    def test_so_it_is_while_a_script_keeps_it_busy(self, own_server: RedisServer, made: MakesDrivers) -> None:
        with Proxy(own_server.port) as proxy:
            driver, hasty = made(proxy.url, deadline=PATIENCE), made(proxy.url, deadline=SOON)
            hits = Counter[int]("hits", proxy.url).commands
            for one in (driver, hasty):
                one.execute(hits.incr())
            with busy(own_server) as end:
                for command in (hits.incr(), hits.get()):
                    with pytest.raises(CommandRefused, match=r"on key 'hits': .*busy"):
                        hasty.execute(command)
                proxy.on_reply = refusals = Refusals()
                calling = start(lambda: driver.execute(hits.incr()))
                wait_until(lambda: len(refusals.seen) >= 3, "it was asked again")
                end()
                assert calling.result(PATIENCE) == 3

    def test_so_it_is_while_a_cluster_is_down(self, server: RedisServer, made: MakesDrivers) -> None:
        if server.version < (7,):
            pytest.skip("this server cannot be told its port in the cluster")
        with (
            RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as cluster,
            Proxy(cluster.port) as proxy,
        ):
            driver = made(proxy.url, deadline=PATIENCE)
            proxy.on_reply = refusals = Refusals()
            calling = start(lambda: driver.execute(Counter[int]("hits", driver.url).commands.incr()))
            wait_until(lambda: len(refusals.seen) >= 3, "it was asked again")
            assert all(line.startswith(b"-CLUSTERDOWN") for line in refusals.seen)
            cluster.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            assert calling.result(PATIENCE) == 1

    @pytest.mark.parametrize("line", [b"-LOADING Redis is loading the dataset in memory", b"-TRYAGAIN Multiple keys"])
    def test_so_it_is_where_it_is_only_seen_from_here(self, proxy: Proxy, driver: Driver, line: bytes) -> None:
        """The proxy keeps back what is asked, and answers in the server's place."""
        refused: list[bytes] = []

        def keep_back(data: bytes) -> bytes:
            if b"INCRBY" not in data or len(refused) == 3:
                return data
            refused.append(data)
            return b"*1\r\n$4\r\nPING\r\n"

        proxy.on_request = keep_back
        proxy.on_reply = lambda data: line + b"\r\n" if data == b"+PONG\r\n" else data
        assert driver.execute(Counter[int]("hits", driver.url).commands.incr()) == 1
        assert len(refused) == 3

    def test_a_server_that_keeps_loading_is_given_up(self, proxy: Proxy, hasty: Driver) -> None:
        proxy.on_reply = answer(b"-LOADING Redis is loading the dataset in memory\r\n")
        with pytest.raises(ConnectionFailed, match=f"{proxy.url} is not ready yet") as failed:
            hasty.execute(Counter[int]("hits", hasty.url).commands.get())
        assert failed.value.retriable


class TestHowLong:
    def test_a_server_that_is_away_is_given_up_after_the_deadline(self, made: MakesDrivers) -> None:
        port = free_port()
        driver = made(f"redis://user:s3cret@127.0.0.1:{port}/0", deadline=SOON)
        with TurnsAway(port) as there:
            begun = time.monotonic()
            with pytest.raises(ConnectionFailed, match=f"^cannot reach redis://127.0.0.1:{port}/0: ") as failed:
                driver.execute(Counter[int]("hits", driver.db.location).commands.incr())
            assert time.monotonic() - begun < PATIENCE
            assert there.attempts > 1
        assert type(failed.value) is ConnectionFailed
        assert "s3cret" not in str(failed.value)

    def test_a_server_that_never_answers_takes_no_longer(self, made: MakesDrivers) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            driver = made(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", deadline=SOON)
            begun = time.monotonic()
            with pytest.raises(Timeout, match=r"within the 0\.4 s of socket_timeout"):
                driver.execute(Counter[int]("hits", driver.url).commands.incr())
            assert time.monotonic() - begun < PATIENCE

    def test_what_waits_may_be_tried_for_as_long_as_it_may_wait(
        self, own_server: RedisServer, made: MakesDrivers
    ) -> None:
        """And longer than the deadline, if that is shorter."""
        driver, hasty = made(own_server.url, deadline=SOON), made(own_server.url, deadline=SOON)
        jobs = Queue[str]("jobs", driver.url).commands
        own_server.kill()
        waiting = start(lambda: driver.execute(jobs.pop_wait(PATIENCE)))
        with pytest.raises(ConnectionFailed):
            hasty.execute(jobs.pop())  # which takes some time
        assert not waiting.done()
        own_server.start()
        own_server.call("LPUSH", "jobs", "sweep")
        assert waiting.result(PATIENCE) == "sweep"

    WRONG: Final = (0, -1, math.nan, math.inf, "soon", [1])

    @pytest.mark.parametrize("deadline", WRONG, ids=repr)
    def test_one_that_is_no_time_is_refused(self, made: MakesDrivers, deadline: object) -> None:
        with pytest.raises(ConfigurationError, match=r"^deadline is a number of seconds above 0, not "):
            made("redis://localhost", deadline=deadline)
        with pytest.raises(ConfigurationError, match=r"^deadline is a number of seconds above 0, not "):
            made("memory://deadline", deadline=deadline)

    def test_it_may_stand_in_the_dsn(self, proxy: Proxy, made: MakesDrivers) -> None:
        driver = made(f"{proxy.url}?deadline={PATIENCE}")
        assert driver.db.deadline == PATIENCE
        proxy.arm(Fault(Kind.DROP_REPLY), the_next())
        assert driver.execute(Counter[int]("hits", driver.db.location).commands.get()) is None

    def test_the_waits_between_attempts_grow_to_half_a_second_at_random(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        now = iter(range(1000))

        def fail() -> None:
            error = ConnectionFailed("away")
            error.retriable = True
            raise error

        monkeypatch.setattr(time, "sleep", slept.append)
        monkeypatch.setattr(time, "monotonic", lambda: next(now) / 10)
        with pytest.raises(ConnectionFailed):
            Patience(20).persist(fail)
        assert 150 < len(slept) < 200
        bounds = [0.001, 0.003, 0.007, 0.015, 0.031, 0.063, 0.127, 0.255, *[0.5] * 200]
        assert all(0 <= pause <= bound for pause, bound in zip(slept, bounds, strict=False))
        assert len({*slept}) == len(slept)
        assert max(slept) > 0.4


class TestNotTriedAgain:
    """What will not pass by itself is raised at once, and shows no password."""

    @pytest.fixture
    def locked(self) -> Iterator[Proxy]:
        with RedisServer(password="s3cret-right") as server, Proxy(server.port) as proxy:
            yield proxy

    @pytest.mark.parametrize("userinfo", ["", ":s3cret-wrong@", "nobody:s3cret-wrong@"])
    def test_a_wrong_password(self, locked: Proxy, made: MakesDrivers, userinfo: str) -> None:
        driver = made(locked.url.replace("//", f"//{userinfo}"), deadline=PATIENCE)
        with pytest.raises(ConfigurationError, match="refused the user or the password") as refused:
            driver.execute(Counter[int]("hits", driver.db.location).commands.incr())
        assert locked.connections == 1
        assert "s3cret" not in f"{refused.value!r} {refused.value.__cause__!r}"

    def test_a_server_in_protected_mode(self, proxy: Proxy, made: MakesDrivers) -> None:
        driver = made(proxy.url.replace("//", "//:s3cret@"), deadline=PATIENCE)
        proxy.on_reply = answer(b"-DENIED Redis is running in protected mode because it is\r\n")
        with pytest.raises(RedisextError, match="protected mode") as refused:
            driver.execute(Counter[int]("hits", driver.db.location).commands.incr())
        assert not refused.value.retriable
        assert proxy.connections == 1
        assert "s3cret" not in str(refused.value)

    def test_a_right_that_is_missing(self, own_server: RedisServer, made: MakesDrivers) -> None:
        own_server.call("ACL", "SETUSER", "limited", "on", ">s3cret", "~*", "+@all", "-incrby", "-multi")
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url.replace("//", "//limited:s3cret@"), deadline=PATIENCE)
            hits = Counter[int]("hits", driver.db.location).commands
            proxy.on_reply = refusals = Refusals()
            with pytest.raises(PermissionDenied, match=r"may not run INCRBY on key 'hits': .*incrby") as denied:
                driver.execute(hits.incr())
            assert len(refusals.seen) == 1
            assert "s3cret" not in str(denied.value)
            added = Added(hits.incr(), hits.get())
            with pytest.raises(BatchError):
                driver.fill("batch", added)
            assert [type(one.error) for one in added.pending] == [PermissionDenied, type(None)]
            assert len(refusals.seen) == 2

    def test_an_overflow(self, proxy: Proxy, server: RedisServer, driver: Driver) -> None:
        server.call("SET", "hits", 2**63 - 1)
        proxy.on_reply = refusals = Refusals()
        with pytest.raises(CommandRefused, match="overflow"):
            driver.execute(Counter[int]("hits", driver.url).commands.incr())
        assert len(refusals.seen) == 1

    def test_a_certificate(self, needs_tls: None, tmp_path: Path, made: MakesDrivers) -> None:
        secured = Secured(tmp_path, "redis.example")
        with secured:
            for authorities in (None, str(secured.authority)):
                begun = time.monotonic()
                driver = made(secured.url.replace("//", "//:s3cret@"), ssl_ca_certs=authorities, deadline=PATIENCE)
                with pytest.raises(ConnectionFailed, match=r"^the certificate of .* was refused: ") as refused:
                    driver.execute(Counter[int]("hits", secured.url).commands.incr())
                assert not refused.value.retriable
                assert "s3cret" not in str(refused.value)
                assert time.monotonic() - begun < PATIENCE / 2

    def test_what_is_no_failure_of_the_backend(self, driver: Driver) -> None:
        def odd(reply: object) -> int:
            raise ZeroDivisionError

        get = Counter[int]("hits", driver.url).commands.get()
        with pytest.raises(ZeroDivisionError):
            driver.execute(Command(get.op, get.keys, get.args, odd))

    @pytest.mark.parametrize("kind", ["command", "batch", "transaction"])
    def test_the_end_of_the_backend(self, url: str, kind: str) -> None:
        port = free_port()
        hits = Counter[int]("hits", f"redis://127.0.0.1:{port}/0").commands
        db = redisext.connect(f"redis://127.0.0.1:{port}/0", deadline=PATIENCE)

        def fill() -> None:
            with db.batch() if kind == "batch" else db.transaction() as block:
                block.add(hits.incr())

        with TurnsAway(port) as there:
            calling = start(fill if kind != "command" else lambda: db.execute(hits.incr()))
            wait_until(lambda: there.attempts >= 2, "it was tried again")
            db.close()
            error = calling.exception(PATIENCE)
        if isinstance(error, BatchError):
            [error] = error.exceptions
        assert isinstance(error, BackendClosed)

    @pytest.mark.parametrize("kind", ["command", "batch", "transaction"])
    def test_the_end_of_the_backend_while_the_server_refuses(self, own_server: RedisServer, kind: str) -> None:
        """Nothing is carried out after it, though the server can be reached."""
        own_server.call("REPLICAOF", "127.0.0.1", 1)
        db = redisext.connect(own_server.url, deadline=PATIENCE)
        hits = Counter[int]("hits", db).commands

        def fill() -> None:
            with db.batch() if kind == "batch" else db.transaction() as block:
                block.add(hits.incr())

        def refused() -> int:
            return int(own_server.info("errorstats").get("errorstat_READONLY", "count=0").partition("=")[2])

        calling = start(fill if kind != "command" else lambda: db.execute(hits.incr()))
        wait_until(lambda: refused() >= 3, "it was tried again")
        db.close()
        own_server.call("REPLICAOF", "NO", "ONE")
        error = calling.exception(PATIENCE)
        if isinstance(error, BatchError):  # of what each command was told last
            error = error.__cause__
        assert isinstance(error, BackendClosed)
        assert own_server.call("EXISTS", "hits") == 0


def results(added: Added) -> list[object]:
    """The result of each, or its error's class."""
    return [one.result() if one.error is None else type(one.error) for one in added.pending]


class TestBatches:
    def test_only_what_failed_and_does_no_harm_is_tried_again(
        self, proxy: Proxy, server: RedisServer, driver: Driver
    ) -> None:
        """What is read again sees what came after it in the batch."""
        url = driver.url
        server.call("SET", "note", "x")
        hits, note = Counter[int]("hits", url).commands, Map[str]("note", url).commands
        added = Added(hits.incr(), hits.get(), note.get(), hits.incr(), hits.get(), note.set("y"))
        requests: list[bytes] = []

        def note_it(data: bytes) -> bytes:
            requests.append(data.split(b"\r\n")[2])
            return data

        proxy.arm(Fault(Kind.HALF_CLOSE_REPLY), the_next(3))  # and so the commands come one by one
        proxy.on_request = note_it
        with pytest.raises(BatchError, match=r"^2 of 6 commands of the batch failed") as failed:
            driver.fill("batch", added)
        assert results(added) == [1, 1, "y", OutcomeUnknown, 2, OutcomeUnknown]
        assert failed.value.commands == (added.commands[3], added.commands[5])
        sent = [b"INCRBY", b"GET", b"GET", b"INCRBY", b"GET", b"SET"]
        assert [one for one in requests if one != b"CLIENT"] == [*sent, b"GET", b"GET"]
        assert server.call("GET", "hits") == b"2"

    def test_one_that_only_reads_survives_connections_that_break(
        self, proxy: Proxy, server: RedisServer, driver: Driver
    ) -> None:
        for number in range(50):
            server.call("SET", f"hits-{number}", number)
        proxy.arm(Fault(Kind.DROP_REPLY), every(20))
        reads = [Counter[int](f"hits-{number}", driver.url).commands.get() for number in range(50)]
        assert [one.result() for one in driver.fill("batch", add_all(reads))] == [*range(50)]
        assert proxy.injected[Kind.DROP_REPLY] >= 2

    def test_one_that_was_not_sent_is_tried_again(self, own_server: RedisServer, made: MakesDrivers) -> None:
        driver = made(own_server.url, deadline=PATIENCE)
        hits = Counter[int]("hits", driver.url).commands
        driver.execute(hits.incr())
        own_server.kill()
        filling = in_spite_of(
            own_server, lambda: driver.fill("batch", add_all([hits.incr(), hits.get(), hits.incr(5), hits.get()]))
        )
        pending = filling.result(PATIENCE)
        assert [one.result() for one in pending] == [1, 1, 6, 6]

    def test_of_one_that_was_refused_for_now_only_that_is(self, own_server: RedisServer, made: MakesDrivers) -> None:
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url, deadline=PATIENCE)
            hits, jobs = Counter[int]("hits", driver.url).commands, Queue[str]("jobs", driver.url).commands
            own_server.call("SET", "hits", "x")
            own_server.call("REPLICAOF", "127.0.0.1", 1)
            proxy.on_reply = refusals = Refusals()
            added = Added(jobs.size(), jobs.push("sweep"), jobs.items(), jobs.push("mop"), jobs.size(), hits.incr())

            def fill() -> None:
                with pytest.raises(BatchError, match=r"^1 of 6 commands of the batch failed: INCRBY on key 'hits'"):
                    driver.fill("batch", added)

            filling = start(fill)
            wait_until(lambda: len(refusals.seen) >= 6, "it was tried again")
            own_server.call("REPLICAOF", "NO", "ONE")
            filling.result(PATIENCE)
            assert results(added) == [0, 1, [], 2, 0, CommandRefused]
            assert not added.pending[-1].retriable

    def test_one_is_given_up_after_the_deadline(self, proxy: Proxy, hasty: Driver) -> None:
        hits = Counter[int]("hits", hasty.url).commands
        added = Added(hits.incr(), hits.get())
        with proxy.refusing():
            proxy.break_all()
            with pytest.raises(BatchError, match=r"^2 of 2 .*cannot reach") as failed:
                hasty.fill("batch", added)
        assert results(added) == [ConnectionFailed, ConnectionFailed]
        assert failed.value.retriable

    def test_what_a_replica_could_not_answer_is_asked_again(self, replicated: Replicated, made: MakesDrivers) -> None:
        """The others, which the primary has carried out, are not sent again."""
        primary = replicated.primary
        primary.call("FLUSHALL")
        with Proxy(replicated.replicas[0].port) as proxy:
            driver = made(primary.url, replicas=[proxy.url], deadline=PATIENCE)
            hits, none = Counter[int]("hits", driver.url).commands, Counter[int]("none", driver.url).commands
            proxy.arm(Fault(Kind.DROP_REPLY), the_next())
            added = Added(none.get(), hits.incr(), none.exists(), hits.incr())
            driver.fill("batch", added)
            assert results(added) == [None, 1, False, 2]
            assert proxy.injected[Kind.DROP_REPLY] == 1
            assert primary.call("GET", "hits") == b"2"


class TestTransactions:
    def test_one_whose_outcome_was_lost_is_not_tried_again(
        self, proxy: Proxy, server: RedisServer, driver: Driver
    ) -> None:
        """Nor is that of it which only reads: the others are no longer around it."""
        hits = Counter[int]("hits", driver.url).commands
        before = calls(server, "exec")
        proxy.arm(Fault(Kind.DROP_REPLY), the_next(), "EXEC")
        added = Added(hits.incr(), hits.get())
        with pytest.raises(BatchError) as failed:
            driver.fill("transaction", added)
        assert results(added) == [OutcomeUnknown, ConnectionFailed]
        assert not failed.value.retriable
        assert calls(server, "exec") == before + 1
        assert server.call("GET", "hits") == b"1"

    def test_one_that_only_reads_is(self, proxy: Proxy, server: RedisServer, driver: Driver) -> None:
        server.call("SET", "hits", "5")
        proxy.arm(Fault(Kind.DROP_REPLY), the_next(), "EXEC")
        hits = Counter[int]("hits", driver.url).commands
        assert [one.result() for one in driver.fill("transaction", add_all([hits.get(), hits.ttl()]))] == [5, -1]
        assert proxy.injected[Kind.DROP_REPLY] == 1

    def test_one_that_was_not_sent_is(self, own_server: RedisServer, made: MakesDrivers) -> None:
        driver = made(own_server.url, deadline=PATIENCE)
        hits = Counter[int]("hits", driver.url).commands
        driver.fill("transaction", add_all([hits.incr()]))
        own_server.kill()
        pending = in_spite_of(
            own_server, lambda: driver.fill("transaction", add_all([hits.incr(), hits.get(), hits.incr()]))
        ).result(PATIENCE)
        assert [one.result() for one in pending] == [1, 1, 2]

    def test_one_of_which_a_part_was_refused_for_now_is_as_a_whole(
        self, own_server: RedisServer, made: MakesDrivers
    ) -> None:
        with Proxy(own_server.port) as proxy:
            driver, hasty = made(proxy.url, deadline=PATIENCE), made(proxy.url, deadline=SOON)
            hits = Counter[int]("hits", driver.url).commands
            own_server.call("REPLICAOF", "127.0.0.1", 1)
            added = Added(hits.get(), hits.incr())
            with pytest.raises(BatchError) as failed:
                hasty.fill("transaction", added)
            assert results(added) == [CommandRefused, CommandRefused]
            assert failed.value.retriable
            proxy.on_reply = refusals = Refusals()
            filling = start(lambda: driver.fill("transaction", add_all([hits.get(), hits.incr(), hits.get()])))
            wait_until(lambda: len(refusals.seen) >= 6, "it was tried again")
            own_server.call("REPLICAOF", "NO", "ONE")
            assert [one.result() for one in filling.result(PATIENCE)] == [None, 1, 1]

    def test_one_of_which_a_part_is_refused_for_good_is_not(self, own_server: RedisServer, made: MakesDrivers) -> None:
        own_server.call("ACL", "SETUSER", "limited", "on", ">s3cret", "~*", "+@all", "-lpush")
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url.replace("//", "//limited:s3cret@"), deadline=PATIENCE)
            own_server.call("REPLICAOF", "127.0.0.1", 1)
            hits, jobs = (
                Counter[int]("hits", driver.db.location).commands,
                Queue[str]("jobs", driver.db.location).commands,
            )
            proxy.on_reply = refusals = Refusals()
            added = Added(hits.incr(), jobs.push("sweep"), hits.get())
            with pytest.raises(BatchError) as failed:
                driver.fill("transaction", added)
            assert results(added) == [CommandRefused, PermissionDenied, CommandRefused]
            assert not failed.value.retriable
            assert not any(one.retriable for one in added.pending)
            assert len(refusals.seen) == 3  # with EXEC's own


class TestTransact:
    def counting(self, hits: Counter[int], called: list[Block]) -> Callable[[Block], Steps[int]]:
        def fn(tx: Block) -> Steps[int]:
            called.append(tx)
            seen = yield from hits.commands.get(0)
            tx.add(hits.commands.incr())
            return seen

        return fn

    @pytest.mark.parametrize("word", ["WATCH", "GET"])
    def test_it_begins_again_when_a_connection_breaks_before_its_end(
        self, proxy: Proxy, server: RedisServer, driver: Driver, word: str
    ) -> None:
        hits, called = Counter[int]("hits", driver.url), list[Block]()
        proxy.arm(Fault(Kind.DROP_REPLY), the_next(), word)
        assert driver.transact(self.counting(hits, called), watch=[hits]) == 0
        assert len(called) == (1 if word == "WATCH" else 2)
        assert server.call("GET", "hits") == b"1"

    def test_it_is_not_tried_again_when_its_outcome_was_lost(
        self, proxy: Proxy, server: RedisServer, driver: Driver
    ) -> None:
        hits, called = Counter[int]("hits", driver.url), list[Block]()
        proxy.arm(Fault(Kind.DROP_REPLY), the_next(), "EXEC")
        with pytest.raises(BatchError) as failed:
            driver.transact(self.counting(hits, called), watch=[hits])
        assert [type(one) for one in failed.value.exceptions] == [OutcomeUnknown]
        assert len(called) == 1
        assert server.call("GET", "hits") == b"1"

    def test_it_waits_for_a_server_that_is_away(self, own_server: RedisServer, made: MakesDrivers) -> None:
        driver = made(own_server.url, deadline=PATIENCE)
        hits, called = Counter[int]("hits", driver.url), list[Block]()
        driver.transact(no_steps_of(hits), watch=[hits])
        own_server.kill()
        transacting = in_spite_of(own_server, lambda: driver.transact(self.counting(hits, called), watch=[hits]))
        assert transacting.result(PATIENCE) == 0
        assert own_server.call("GET", "hits") == b"1"

    def test_it_begins_again_when_it_is_refused_for_now(self, own_server: RedisServer, made: MakesDrivers) -> None:
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url, deadline=PATIENCE)
            hits, called = Counter[int]("hits", driver.url), list[Block]()
            own_server.call("REPLICAOF", "127.0.0.1", 1)
            transacting = start(lambda: driver.transact(self.counting(hits, called), watch=[hits]))
            wait_until(lambda: len(called) >= 3, "it was tried again")
            own_server.call("REPLICAOF", "NO", "ONE")
            assert transacting.result(PATIENCE) == 0
            assert own_server.call("GET", "hits") == b"1"

    def test_it_is_given_up_after_the_deadline(self, made: MakesDrivers) -> None:
        driver = made(f"redis://127.0.0.1:{free_port()}/0", deadline=SOON)
        begun = time.monotonic()
        with pytest.raises(ConnectionFailed, match=r"^cannot reach"):
            driver.transact(reading(Counter[int]("hits", driver.url).commands.get()), watch=["hits"])
        assert time.monotonic() - begun < PATIENCE


def no_steps_of(hits: Counter[int]) -> Callable[[Block], Steps[None]]:
    """What reads nothing, and adds nothing that changes *hits*."""

    def fn(tx: Block) -> Steps[None]:
        tx.add(hits.commands.get())
        return (yield from no_steps(None))

    return fn
