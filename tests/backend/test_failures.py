"""What a caller is told when the server or the network fails, and what has then been done.

Without a deadline, each command is tried once: if it may have been carried out, and must not be repeated, the error
says so.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
import redis

import redisext
from redisext import Backend, Counter, HashMap, Lock, Map, Pool, Queue, SortedSet
from redisext.backend.connections import Connection
from redisext.command import Command, Op, Script
from redisext.errors import (
    CommandRefused,
    ConfigurationError,
    ConnectionFailed,
    OutcomeUnknown,
    RedisextError,
    Timeout,
    WrongType,
)
from redisext.reply import integer
from tests.backend.observe import Sockets, blocked, calls, connections, open_sockets
from tests.proxy import Proxy, drop, forward
from tests.servers import RedisServer, Replicated, free_port, wait_until
from tests.threads import PATIENCE, start

Use: TypeAlias = Callable[[Backend], object]

SHORT = 0.2
"""A time limit (seconds) that is meant to run out."""

BRIEF = 1.0
"""One that is meant to run out where a reply is held back, and to suffice for others on a busy machine."""


class TestServerDown:
    def test_a_port_where_nobody_listens_is_named(self, sockets: Sockets) -> None:
        port = free_port()
        with redisext.connect(f"redis://user:s3cret@127.0.0.1:{port}/0") as db:
            for use in (Counter[int]("hits", db).incr, Counter[int]("hits", db).get, Queue[str]("jobs", db).pop_wait):
                with pytest.raises(
                    ConnectionFailed, match=f"^cannot reach redis://127.0.0.1:{port}/0: .*Connection refused"
                ) as failed:
                    use()
                assert type(failed.value) is ConnectionFailed
                assert isinstance(failed.value, ConnectionError)
                assert isinstance(failed.value.__cause__, redis.exceptions.ConnectionError)
                assert "s3cret" not in str(failed.value)
            assert open_sockets() == sockets

    def test_a_host_that_has_no_address_is_named(self) -> None:
        with (
            redisext.connect("redis://no-such-host.invalid/0") as db,
            pytest.raises(ConnectionFailed, match=r"^cannot reach redis://no-such-host\.invalid:6379/0: "),
        ):
            Counter[int]("hits", db).incr()

    def test_a_host_whose_name_is_none_is_named(self) -> None:
        host = "x" * 64 + ".example"
        with (
            redisext.connect(f"redis://{host}") as db,
            pytest.raises(ConnectionFailed, match=f"^cannot reach redis://{host}:6379/0: "),
        ):
            Counter[int]("hits", db).incr()

    def test_a_unix_socket_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with (
            redisext.connect(f"unix://{tmp_path}/none.sock") as db,
            pytest.raises(ConnectionFailed, match=f"^cannot reach unix://{tmp_path}/none.sock.*No such file"),
        ):
            Counter[int]("hits", db).incr()

    def test_a_server_that_is_back_is_used_again(self, own_server: RedisServer) -> None:
        with redisext.connect(own_server.url) as db:
            hits = Counter[int]("hits", db)
            hits.incr()
            own_server.kill()
            for _ in range(3):
                with pytest.raises(ConnectionFailed) as failed:
                    hits.incr()
                # It is known that nothing was sent, so the outcome is known too.
                assert type(failed.value) is ConnectionFailed
            own_server.start()
            assert hits.incr() == 1


@pytest.fixture
def full() -> Iterator[int]:
    """A port where somebody listens, but takes up no more connections."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(SHORT)
            try:
                waiting.connect(address)
            except TimeoutError:
                break
        yield int(address[1])


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where somebody listens, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


class TestBlackHole:
    def test_connecting_takes_no_longer_than_it_may(self, full: int, sockets: Sockets) -> None:
        with redisext.connect(f"redis://:s3cret@127.0.0.1:{full}/0", socket_connect_timeout=SHORT) as db:
            begun = time.monotonic()
            with pytest.raises(
                Timeout, match=f"no answer from redis://127.0.0.1:{full}/0 within the 0.2 s of socket_connect_timeout"
            ) as failed:
                Counter[int]("hits", db).incr()
            assert SHORT * 0.9 <= time.monotonic() - begun < PATIENCE
            assert isinstance(failed.value, TimeoutError)
            assert isinstance(failed.value.__cause__, (redis.exceptions.TimeoutError, TimeoutError))
            assert "s3cret" not in str(failed.value)
            assert open_sockets() == sockets

    def test_a_handshake_takes_no_longer_than_a_reply_may(self, silent: int, sockets: Sockets) -> None:
        with redisext.connect(f"redis://:s3cret@127.0.0.1:{silent}/0", socket_timeout=SHORT) as db:
            begun = time.monotonic()
            for use in (Counter[int]("hits", db).incr, Queue[str]("jobs", db).pop_wait):
                with pytest.raises(
                    Timeout, match=f"no answer from redis://127.0.0.1:{silent}/0 within the 0.2 s of socket_timeout"
                ) as failed:
                    use()
                assert "s3cret" not in str(failed.value)
            assert SHORT * 0.9 <= time.monotonic() - begun < PATIENCE
            assert open_sockets() == sockets


@pytest.fixture
def db(proxy: Proxy) -> Iterator[Backend]:
    """A backend whose connection through the proxy is open."""
    with redisext.connect(proxy.url) as db:
        Counter[int]("warm", db).incr()
        yield db


@pytest.fixture
def hasty(proxy: Proxy) -> Iterator[Backend]:
    """The same, for a test in which a reply does not come."""
    with redisext.connect(proxy.url, socket_timeout=BRIEF) as db:
        Counter[int]("warm", db).incr()
        yield db


class Hold:
    """A rule of the proxy: hold everything back until `let_go`."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def __call__(self, data: bytes) -> bytes:
        self._open.wait(PATIENCE)
        return data

    def let_go(self) -> None:
        self._open.set()


@pytest.fixture
def hold() -> Iterator[Hold]:
    hold = Hold()
    yield hold
    hold.let_go()


class TestReplyLost:
    """The server has carried the command out, and the connection breaks before its reply arrives."""

    UNREPEATABLE: tuple[tuple[str, Use, str], ...] = (
        ("INCRBY", lambda db: Counter[int]("hits", db).incr(), "incrby"),
        ("LPUSH", lambda db: Queue[str]("jobs", db).push("mop"), "lpush"),
        ("RPOP", lambda db: Queue[str]("jobs", db).pop(), "rpop"),
        ("BRPOP", lambda db: Queue[str]("jobs", db).pop_wait(1), "brpop"),
        ("HINCRBY", lambda db: HashMap[str, int]("stock", db).incr("apples"), "hincrby"),
        ("SET", lambda db: db.execute(Lock("nightly", db).commands.acquire("token", 30)), "set"),
        ("SET", lambda db: Counter[int]("hits", db).set(5), "set"),
        ("PEXPIRE", lambda db: Counter[int]("hits", db).expire(60), "pexpire"),
        ("SADD", lambda db: Pool[str]("tags", db).update({"a"}), "sadd"),
        ("HSET", lambda db: HashMap[str, int]("stock", db).update(apples=3), "hset"),
        ("release the lock", lambda db: Lock("nightly", db).release(), "evalsha"),
    )

    @pytest.mark.parametrize(
        ("op", "use", "word"), UNREPEATABLE, ids=[f"{number} {one[0]}" for number, one in enumerate(UNREPEATABLE)]
    )
    def test_what_must_not_be_repeated_is_sent_once_and_its_outcome_is_unknown(
        self, proxy: Proxy, server: RedisServer, db: Backend, op: str, use: Use, word: str
    ) -> None:
        server.call("LPUSH", "jobs", "sweep")
        Lock("nightly", db).release()  # so that the server knows the script
        before = calls(server, word)
        proxy.on_reply = drop
        with pytest.raises(
            OutcomeUnknown, match=rf"the connection to {proxy.url} broke after {op} on key '\w+' was sent"
        ) as unknown:
            use(db)
        assert unknown.value.command.op.name == op
        assert unknown.value.command.keys[0].decode() in str(unknown.value)
        assert isinstance(unknown.value, ConnectionFailed)
        assert isinstance(unknown.value.__cause__, redis.exceptions.ConnectionError)
        assert proxy.connections == 1
        assert calls(server, word) == before + 1

    def test_a_script_that_was_sent_in_full_may_have_run(self, proxy: Proxy, server: RedisServer, db: Backend) -> None:
        lock = Lock("nightly", db)
        assert lock.acquire(30)
        server.call("SCRIPT", "FLUSH")
        proxy.on_reply = lambda data: data if data.startswith(b"-NOSCRIPT") else None
        with pytest.raises(OutcomeUnknown, match="after release the lock on key 'nightly' was sent"):
            lock.release()
        assert server.call("EXISTS", "nightly") == 0

    def test_the_backend_goes_on_with_another_connection(self, proxy: Proxy, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        proxy.on_reply = drop
        with pytest.raises(OutcomeUnknown):
            hits.incr()
        proxy.on_reply = forward
        assert hits.incr() == 2
        assert proxy.connections == 2

    REPEATABLE: tuple[tuple[str, Use], ...] = (
        ("GET", lambda db: Counter[int]("hits", db).get()),
        ("LRANGE", lambda db: Queue[str]("jobs", db).items()),
        ("TTL", lambda db: Counter[int]("hits", db).ttl()),
        ("extend the lock", lambda db: Lock("nightly", db).extend(30)),
    )

    @pytest.mark.parametrize(("op", "use"), REPEATABLE, ids=[op for op, _ in REPEATABLE])
    def test_what_may_be_repeated_fails_as_the_connection_did(
        self, proxy: Proxy, db: Backend, op: str, use: Use
    ) -> None:
        proxy.on_reply = drop
        with pytest.raises(ConnectionFailed, match=f"the connection to {proxy.url} broke during {op}: ") as failed:
            use(db)
        assert type(failed.value) is ConnectionFailed

    def test_a_reply_that_breaks_off_in_the_middle_is_none(
        self, proxy: Proxy, server: RedisServer, db: Backend
    ) -> None:
        rest = iter((True,))

        def cut(data: bytes) -> bytes | None:
            return data[: len(data) // 2] if next(rest, False) else None

        server.call("SET", "note", "x" * 1_000_000)
        proxy.on_reply = cut
        with pytest.raises(ConnectionFailed, match="broke during GET"):
            Map[str]("note", db).get()
        proxy.on_reply = forward
        assert Map[str]("note", db).get() == "x" * 1_000_000

    def test_with_a_client_of_redis_py_it_is_sent_once_as_well(
        self, proxy: Proxy, server: RedisServer, db: Backend
    ) -> None:
        client = Counter[int]("hits", db).connect_to_master()
        proxy.on_reply = drop
        with pytest.raises(redis.exceptions.ConnectionError):
            client.execute_command("INCR", "hits")
        assert server.call("GET", "hits") == b"1"


class TestReplyLate:
    """The server carries the command out, and its reply does not come in time."""

    def test_what_must_not_be_repeated_has_an_unknown_outcome(
        self, proxy: Proxy, server: RedisServer, hasty: Backend, hold: Hold
    ) -> None:
        proxy.on_reply = hold
        with pytest.raises(OutcomeUnknown) as unknown:
            Counter[int]("hits", hasty).incr()
        assert isinstance(unknown.value.__cause__, (redis.exceptions.TimeoutError, TimeoutError))
        wait_until(lambda: server.call("GET", "hits") == b"1", "the server has carried it out")

    def test_what_may_be_repeated_ran_out_of_time(self, proxy: Proxy, hasty: Backend, hold: Hold) -> None:
        proxy.on_reply = hold
        with pytest.raises(Timeout, match=f"the connection to {proxy.url} broke during GET: Timeout") as failed:
            Counter[int]("hits", hasty).get()
        assert isinstance(failed.value, TimeoutError)

    def test_it_never_reaches_the_next_caller(self, proxy: Proxy, server: RedisServer, hasty: Backend) -> None:
        for turn in range(3):
            hold = Hold()
            server.call("SET", "late", f"late {turn}")
            server.call("SET", "next", f"next {turn}")
            proxy.on_reply = hold
            with pytest.raises(Timeout):
                Map[str]("late", hasty).get()
            proxy.on_reply = forward
            hold.let_go()
            assert Map[str]("next", hasty).get() == f"next {turn}"

    def test_nor_does_it_reach_who_goes_on_with_the_session(
        self, proxy: Proxy, server: RedisServer, hasty: Backend, hold: Hold
    ) -> None:
        hits, jobs = Counter[int]("hits", hasty), Queue[str]("jobs", hasty)
        with hasty.session() as session:
            proxy.on_reply = hold
            with pytest.raises(OutcomeUnknown):
                session.execute(hits.commands.incr())
            proxy.on_reply = forward
            hold.let_go()
            for command in (jobs.commands.size(), hits.commands.incr()):
                with pytest.raises(ConnectionFailed, match="an earlier reply on it was lost") as failed:
                    session.execute(command)
                assert type(failed.value) is ConnectionFailed
        assert server.call("GET", "hits") == b"1"
        assert jobs.size() == 0

    def test_a_command_that_waits_has_the_time_to_do_so(
        self, proxy: Proxy, server: RedisServer, hasty: Backend
    ) -> None:
        """What it waits for the server is not counted against the limit for a reply."""
        jobs = Queue[str]("jobs", hasty)
        begun = time.monotonic()
        assert jobs.pop_wait(BRIEF * 1.5) is None
        assert time.monotonic() - begun >= BRIEF * 1.5 * 0.9
        waiting = start(jobs.pop_wait)
        wait_until(lambda: blocked(server) == 1, "it waits")
        until = time.monotonic() + BRIEF * 1.5
        wait_until(lambda: time.monotonic() > until, "its time for a plain reply is long over")
        jobs.push("sweep")
        assert waiting.result(PATIENCE) == "sweep"

    def test_one_that_waits_is_given_up_when_the_server_does_not_answer_in_time(
        self, proxy: Proxy, hasty: Backend, hold: Hold
    ) -> None:
        proxy.on_reply = hold
        with pytest.raises(OutcomeUnknown, match="BRPOP") as unknown:
            Queue[str]("jobs", hasty).pop_wait(0.1)
        assert isinstance(unknown.value.__cause__, (redis.exceptions.TimeoutError, TimeoutError))


class TestNotSent:
    """What was certainly not carried out does not claim that it might have been."""

    BIG = b"x" * 50_000_000
    """More than the system takes in for a connection on which nobody reads."""

    def test_a_connection_that_breaks_while_the_command_is_sent(
        self, proxy: Proxy, server: RedisServer, db: Backend
    ) -> None:
        proxy.on_request = drop
        with pytest.raises(ConnectionFailed, match="broke during LPUSH: ") as failed:
            Queue[bytes]("jobs", db).push(self.BIG)
        assert type(failed.value) is ConnectionFailed
        assert server.call("LLEN", "jobs") == 0

    def test_a_server_that_does_not_read_on(
        self, proxy: Proxy, server: RedisServer, hasty: Backend, hold: Hold
    ) -> None:
        proxy.on_request = hold
        with pytest.raises(Timeout, match="broke during LPUSH: Timeout"):
            Queue[bytes]("jobs", hasty).push(self.BIG)
        assert server.call("LLEN", "jobs") == 0

    def test_a_script_that_breaks_off_when_it_is_sent_in_full(
        self, proxy: Proxy, server: RedisServer, db: Backend
    ) -> None:
        """The server has refused the script's name, so nothing was done before its text went out."""

        def last(data: bytes) -> bytes:
            proxy.on_request = drop
            return data

        append = Op("append", script=Script('return redis.call("APPEND", KEYS[1], ARGV[1])'))
        server.call("SCRIPT", "FLUSH")
        with redisext.connect(proxy.url, socket_timeout=PATIENCE) as patient:  # the megabytes may take a while
            Counter[int]("warm", patient).incr()
            proxy.on_reply = last
            with pytest.raises(ConnectionFailed, match="broke during append: ") as failed:
                patient.execute(Command(append, (b"note",), (self.BIG,), integer))
        assert type(failed.value) is ConnectionFailed
        assert server.call("EXISTS", "note") == 0


def answer(line: bytes) -> Callable[[bytes], bytes]:
    """A rule of the proxy: give this in place of each reply."""
    return lambda data: line


GARBAGE = (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\x00\xff\r\n", b"$-5\r\n", b"*1000000000000\r\n")


class TestGarbage:
    @pytest.mark.parametrize("reply", GARBAGE)
    def test_in_place_of_a_reply_it_ends_the_connection(self, proxy: Proxy, db: Backend, reply: bytes) -> None:
        hits = Counter[int]("hits", db)
        proxy.on_reply = answer(reply)
        with pytest.raises(ConnectionFailed, match="broke during GET"):
            hits.get()
        proxy.on_reply = forward
        assert hits.incr() == 1
        proxy.on_reply = answer(reply)
        with pytest.raises(OutcomeUnknown):
            hits.incr()
        proxy.on_reply = forward
        assert hits.incr() == 3

    @pytest.mark.parametrize("reply", GARBAGE)
    def test_from_the_beginning_it_is_no_server(self, proxy: Proxy, reply: bytes, sockets: Sockets) -> None:
        proxy.on_reply = answer(reply)
        with redisext.connect(proxy.url) as db:
            for use in (Counter[int]("hits", db).incr, Counter[int]("hits", db).get):
                with pytest.raises(ConnectionFailed, match=f"cannot reach {proxy.url}: .*is the DSN right"):
                    use()

    def test_more_than_one_reply_does_not_shift_those_that_follow(
        self, proxy: Proxy, server: RedisServer, db: Backend
    ) -> None:
        server.call("SET", "note", "right")
        proxy.on_reply = lambda data: b"$5\r\nfirst\r\n" + data
        assert Map[str]("note", db).get() == "first"
        proxy.on_reply = forward
        assert Map[str]("note", db).get() == "right"


class TestServersAnswer:
    """The server answers, and says no: nothing was done, whatever redis-py takes the answer for."""

    def test_one_that_is_still_loading_its_data(self, proxy: Proxy, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        proxy.on_reply = answer(b"-LOADING Redis is loading the dataset in memory\r\n")
        for use in (hits.incr, hits.get, Queue[str]("jobs", db).pop_wait):
            with pytest.raises(
                ConnectionFailed, match=f"{proxy.url} is not ready yet: Redis is loading the dataset in memory"
            ) as failed:
                use()
            assert type(failed.value) is ConnectionFailed
        proxy.on_reply = forward
        assert hits.get() == 1  # carried out by the server here, which was only quoted wrongly

    @pytest.mark.parametrize(
        "reply", [b"-NOAUTH Authentication required.\r\n", b"-WRONGPASS invalid username-password pair\r\n"]
    )
    def test_one_that_wants_a_password_by_now(self, proxy: Proxy, db: Backend, reply: bytes) -> None:
        proxy.on_reply = answer(reply)
        with pytest.raises(ConfigurationError, match=f"{proxy.url} refused the user or the password"):
            Counter[int]("hits", db).incr()

    def test_the_key_holds_another_structure(self, server: RedisServer, url: str) -> None:
        with redisext.connect(url) as db:
            Queue[str]("jobs", db).push("sweep")
            Map[int]("note", db).set(1)
            with pytest.raises(
                WrongType,
                match="key 'jobs' holds a list, and ZADD works on a zset: another structure uses the same key",
            ) as wrong:
                SortedSet[str]("jobs", db).add("mop", 1)
            assert isinstance(wrong.value, TypeError)
            assert isinstance(wrong.value.__cause__, redis.exceptions.ResponseError)
            with pytest.raises(WrongType, match="key 'note' holds a string, and BRPOP works on a list"):
                Queue[str]("note", db).pop_wait(1)
            with pytest.raises(
                WrongType, match="key 'jobs' holds a list, and set a field unless it is there works on a hash"
            ):
                HashMap[str, int]("jobs", db).setdefault("apples", 1)
            assert server.call("LRANGE", "jobs", 0, -1) == [b"sweep"]

    def test_the_key_changes_its_structure_while_the_error_is_explained(
        self, proxy: Proxy, server: RedisServer, db: Backend
    ) -> None:
        """The question what it holds may fail; the error is the same."""
        server.call("LPUSH", "hits", "x")

        def last(data: bytes) -> bytes:
            proxy.on_reply = drop
            return data

        proxy.on_reply = last
        with pytest.raises(WrongType, match="key 'hits' holds a value of another type, and INCRBY works on a string"):
            Counter[int]("hits", db).incr()
        proxy.on_reply = forward
        assert Counter[int]("others", db).incr() == 1

    def test_a_number_that_would_overflow_stays(self, url: str) -> None:
        with redisext.connect(url) as db:
            hits = Counter[int]("hits", db)
            hits.set(2**63 - 1)
            with pytest.raises(
                CommandRefused, match="the server refused INCRBY on key 'hits': increment or decrement would overflow"
            ) as refused:
                hits.incr()
            assert type(refused.value) is CommandRefused
            assert isinstance(refused.value, RuntimeError)
            assert hits.get() == 2**63 - 1

    def test_a_server_without_memory_refuses_to_write(self, own_server: RedisServer) -> None:
        with redisext.connect(own_server.url) as db:
            hits = Counter[int]("hits", db)
            hits.incr()
            own_server.call("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(CommandRefused, match=r"the server refused INCRBY on key 'hits': .*maxmemory"):
                hits.incr()
            with pytest.raises(
                CommandRefused, match=r"refused set a field unless it is there on key 'stock': .*maxmemory"
            ):
                HashMap[str, int]("stock", db).setdefault("apples", 1)
            assert hits.get() == 1
            own_server.call("CONFIG", "SET", "maxmemory", "0")
            assert hits.incr() == 2

    def test_a_replica_refuses_to_write(self, replicated: Replicated) -> None:
        [replica] = replicated.replicas
        with redisext.connect(replica.url) as db:
            with pytest.raises(CommandRefused, match=r"refused INCRBY on key 'hits': .*read only replica"):
                Counter[int]("hits", db).incr()
            with pytest.raises(CommandRefused, match=r"refused compare and set on key 'hits': .*read.only"):
                Map[int]("hits", db).update(lambda old: 1)

    def test_a_command_that_the_server_does_not_know_is_named_without_its_arguments(self, url: str) -> None:
        with (
            redisext.connect(url) as db,
            pytest.raises(CommandRefused, match="refused NOSUCH on key 'key': unknown command 'NOSUCH'") as refused,
        ):
            db.execute(Command(Op("NOSUCH"), (b"key",), ("a secret value",), integer))
        assert "secret" not in str(refused.value)

    def test_an_error_of_a_script_is_the_servers(self, url: str) -> None:
        with redisext.connect(url) as db:
            for source, reason in (
                ("error('it broke')", "it broke"),
                ("return (", "unexpected symbol"),
                ("return redis.error_reply('MINE it is so')", "MINE it is so"),
                ("return redis.call('INCRBY', KEYS[1], 'x')", "not an integer"),
            ):
                with pytest.raises(CommandRefused, match=f"refused my script on key 'key': .*{reason}"):
                    db.execute(Command(Op("my script", script=Script(source)), (b"key",), (), integer))


class TestScripts:
    def test_one_that_the_server_has_forgotten_is_sent_again(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name) as db:
            lock = Lock("nightly", db)
            for _ in range(3):
                server.call("SCRIPT", "FLUSH")
                evals, by_sha = calls(server, "eval"), calls(server, "evalsha")
                assert lock.acquire(30)
                assert lock.release()
                assert lock.acquire(30)
                assert lock.release()
                assert calls(server, "eval") == evals + 1
                assert calls(server, "evalsha") >= by_sha + 1
            assert len(connections(server, name)) == 1

    def test_a_server_that_was_restarted_knows_none(self, own_server: RedisServer) -> None:
        with redisext.connect(own_server.url) as db:
            best = Map[int]("best", db)
            assert best.update(lambda score: (score or 0) + 1) == 1
            own_server.restart()
            assert best.update(lambda score: (score or 0) + 1) == 1


@pytest.mark.parametrize("step", ["make_ready", "send", "read"])
def test_what_is_no_failure_of_the_network_is_raised_as_it_is(
    url: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with redisext.connect(url, max_connections=1) as db:
        hits = Counter[int]("hits", db)
        assert hits.incr() == 1
        with monkeypatch.context() as patch:
            patch.setattr(Connection, step, fail)
            with pytest.raises(ZeroDivisionError):
                hits.get()
        assert hits.get() == 1


def test_every_failure_has_one_root(proxy: Proxy, db: Backend) -> None:
    proxy.on_reply = drop
    with pytest.raises(RedisextError):
        Counter[int]("hits", db).incr()
