"""Connections: when they are opened and closed, who shares them, and how they are secured."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import redis

import redisext
from redisext import Backend, Counter, Map, Queue
from redisext.backend import connections as pooled
from redisext.backend.redis import Connection
from redisext.command import Argument
from redisext.errors import (
    BackendClosed,
    ConfigurationError,
    ConnectionFailed,
    EmbeddedWarning,
    OutcomeUnknown,
    RedisextError,
    Timeout,
    WrongType,
)
from tests.backend.observe import Sockets, blocked, connections, forking_threads, in_child, open_sockets, run_python
from tests.servers import RedisServer, wait_until
from tests.threads import PATIENCE, at_once, start
from tests.watching import Watched


class TestOpening:
    def test_nothing_is_opened_before_the_first_command(
        self, server: RedisServer, url: str, name: str, sockets: Sockets
    ) -> None:
        with redisext.connect(url, client_name=name) as db:
            hits = Counter[int]("hits", db)
            assert repr(hits)
            assert isinstance(db.primary, Backend)
            assert open_sockets() == sockets
            assert connections(server, name) == []
            hits.incr()
            assert len(open_sockets() - sockets) == 1
            assert len(connections(server, name)) == 1

    def test_nothing_to_do_needs_none(self, url: str, sockets: Sockets) -> None:
        with redisext.connect(url) as db:
            db.execute_many([])
            with db.batch(), db.transaction():
                pass
            assert open_sockets() == sockets

    def test_models_at_module_level_cost_nothing(self, tmp_path: Path) -> None:
        """A program that only defines them needs no server, and opens no socket."""
        program = tmp_path / "program.py"
        program.write_text(
            "import socket\n"
            "def refuse(*_): raise AssertionError('a socket was made')\n"
            "socket.socket.__init__ = refuse\n"
            "from redisext import Counter, Queue\n"
            "class Visitors(Counter[int]):\n"
            "    CONNECTION = 'redis://127.0.0.1:1/0'\n"
            "site, shop = Visitors('site'), Visitors('shop')\n"
            "jobs = Queue[str]('jobs', 'redis://127.0.0.1:1/0')\n"
            "assert site.backend is shop.backend is jobs.backend\n"
        )
        done = run_python(program)
        assert (done.returncode, done.stderr) == (0, "")

    def test_one_connection_serves_all_commands_that_follow_each_other(
        self, server: RedisServer, url: str, name: str
    ) -> None:
        with redisext.connect(url, client_name=name) as db:
            hits, jobs = Counter[int]("hits", db), Queue[int]("jobs", db)
            hits.incr()
            [first] = connections(server, name)
            for number in range(50):
                hits.incr()
                jobs.push(number)
                assert jobs.pop_wait(1) == number
            assert connections(server, name) == [first]

    def test_an_error_of_the_server_does_not_cost_the_connection(
        self, server: RedisServer, url: str, name: str
    ) -> None:
        with redisext.connect(url, client_name=name) as db:
            Queue[str]("jobs", db).push("sweep")
            before = connections(server, name)
            with pytest.raises(WrongType):
                Counter[int]("jobs", db).incr()
            assert connections(server, name) == before


class TestWithoutReuse:
    def test_a_connection_is_opened_for_each_command_and_closed_after_it(
        self, server: RedisServer, url: str, name: str, sockets: Sockets
    ) -> None:
        class Hits(Counter[int]):
            CONNECTION = f"{url}?client_name={name}"
            CONNECTION_REUSE = False

        hits = Hits("hits")
        opened = server.info("stats")["total_connections_received"]
        assert [hits.incr(), hits.incr(), hits.incr()] == [1, 2, 3]
        assert open_sockets() == sockets
        assert connections(server, name) == []
        # The two questions asked here each took a connection of their own, too.
        assert int(server.info("stats")["total_connections_received"]) == int(opened) + 3 + 2

    def test_an_error_leaves_no_connection_behind(self, url: str, sockets: Sockets) -> None:
        class Hits(Counter[int]):
            CONNECTION = url
            CONNECTION_REUSE = False

        Queue[str]("hits", url).push("not a number")
        gc.collect()
        with pytest.raises(WrongType):
            Hits("hits").incr()
        assert open_sockets() == sockets

    def test_the_client_behind_does_so_too(self, url: str, sockets: Sockets) -> None:
        class Hits(Counter[int]):
            CONNECTION = url
            CONNECTION_REUSE = False

        client = Hits("hits").connect_to_master()
        assert client.ping()
        assert open_sockets() == sockets

    def test_replicas_are_treated_alike(self, server: RedisServer, url: str, name: str, sockets: Sockets) -> None:
        class Hits(Counter[int]):
            CONNECTION = f"{url}?client_name={name}&replicas={url}?client_name={name}"
            CONNECTION_REUSE = False

        hits = Hits("hits")
        assert hits.incr() == hits.get() == 1
        assert open_sockets() == sockets

    def test_it_does_not_share_the_connections_of_those_that_keep_them(self, url: str) -> None:
        class Kept(Counter[int]):
            CONNECTION = url

        class Closed(Counter[int]):
            CONNECTION = url
            CONNECTION_REUSE = False

        assert Kept("hits").backend is not Closed("hits").backend


class TestSharing:
    def test_models_on_one_dsn_share_one_backend(self, server: RedisServer, url: str, name: str) -> None:
        dsn = f"{url}?client_name={name}"

        class Hits(Counter[int]):
            CONNECTION = dsn

        class Jobs(Queue[str]):
            CONNECTION = dsn

        hits, jobs, note = Hits("hits"), Jobs("jobs"), Map[str]("note", dsn)
        assert hits.backend is jobs.backend is note.backend is Hits("others").backend
        hits.incr()
        jobs.push("sweep")
        note.set("hello")
        assert len(connections(server, name)) == 1

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://localhost", "valkey://localhost"),
            ("redis://localhost?prefix=a&client_name=b", "redis://localhost?client_name=b&prefix=a"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        ],
    )
    def test_what_counts_is_what_a_dsn_means(self, one: str, other: str) -> None:
        assert Counter[int]("hits", one).backend is not Counter[int]("hits", "redis://localhost/1").backend
        held = Counter[int]("hits", one)
        assert Counter[int]("hits", other).backend is held.backend

    def test_a_connection_class_shares_with_the_dsn_that_says_the_same(self, server: RedisServer, url: str) -> None:
        class Here(Connection):
            MASTER = {"host": server.host, "port": server.port, "db": 0}

        held = Counter[int]("hits", Here)
        assert Counter[int]("hits", url).backend is held.backend

    def test_backends_made_by_connect_are_apart(self, url: str) -> None:
        with redisext.connect(url) as one, redisext.connect(url) as other:
            one.close()
            assert Counter[int]("hits", other).incr() == 1

    def test_it_is_made_once_however_many_threads_want_it(self, url: str) -> None:
        made = at_once([partial(Counter[int], "hits", url)] * 16)
        assert len({id(one.backend) for one in made}) == 1

    def test_when_it_is_closed_the_next_model_gets_a_new_one(self, url: str) -> None:
        class Hits(Counter[int]):
            CONNECTION = url

        hits = Hits("hits")
        hits.backend.close()
        with pytest.raises(BackendClosed):
            hits.incr()
        assert Hits("hits").incr() == 1

    def test_it_is_closed_when_its_last_model_is_forgotten(self, url: str, sockets: Sockets) -> None:
        hits, others = Counter[int]("hits", url), Counter[int]("others", url)
        hits.incr()
        del hits
        gc.collect()
        assert len(open_sockets() - sockets) == 1
        assert others.incr() == 1
        del others
        gc.collect()
        assert open_sockets() == sockets

    def test_a_class_keeps_the_one_of_its_connection(self, server: RedisServer, url: str, name: str) -> None:
        class Hits(Counter[int]):
            CONNECTION = f"{url}?client_name={name}"

        Hits("hits").incr()
        gc.collect()
        [first] = connections(server, name)
        Hits("hits").incr()
        assert connections(server, name) == [first]


class TestConnectionClass:
    def test_it_names_a_server(self, server: RedisServer, url: str, name: str) -> None:
        class Here(Connection):
            MASTER = {"host": server.host, "port": server.port, "db": 3, "client_name": name, "prefix": "app:"}

        class Hits(Counter[int]):
            CONNECTION = Here

        assert Hits("hits").incr() == 1
        assert len(connections(server, name)) == 1
        with redisext.connect(url.replace("/0", "/3")) as other:
            assert Counter[int]("app:hits", other).get() == 1

    def test_the_port_may_be_text(self, server: RedisServer, url: str) -> None:
        class Here(Connection):
            MASTER = {"host": server.host, "port": str(server.port), "db": "0"}

        assert Counter[int]("hits", Here).incr() == 1

    def test_a_dsn_serves_too(self, url: str) -> None:
        class Here(Connection):
            MASTER = url

        assert Counter[int]("hits", Here).incr() == 1

    def test_it_gives_clients_of_its_own(self, server: RedisServer, url: str, sockets: Sockets) -> None:
        class Here(Connection):
            MASTER = {"host": server.host, "port": server.port}

        client = Here.connect_to_master()
        assert client.set("key", "value")
        assert Here.connect_to_slave().get("key") == b"value"
        del client
        gc.collect()
        assert open_sockets() == sockets

    def test_what_is_missing_or_unknown_is_named(self) -> None:
        class Nowhere(Connection): ...

        class Misspelt(Connection):
            MASTER = {"hostname": "localhost"}

        with pytest.raises(ConfigurationError, match=r"Nowhere\.MASTER is not set"):
            Counter[int]("hits", Nowhere)
        with pytest.raises(ConfigurationError, match="unknown connection setting 'hostname'"):
            Counter[int]("hits", Misspelt)

    def test_another_class_is_no_connection(self) -> None:
        class Hits(Counter[int]):
            CONNECTION = int  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # what is tested

        with pytest.raises(ConfigurationError, match="a Connection class"):
            Hits("hits")


class TestClientBehind:
    def test_it_is_redis_pys_own_on_the_same_connections(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name) as db:
            hits = Counter[int]("hits", db)
            hits.incr()
            client = hits.connect_to_master()
            assert isinstance(client, redis.Redis)
            with client.pipeline() as pipeline:
                pipeline.execute_command("SET", "a", "1")
                pipeline.execute_command("GET", "a")
                assert pipeline.execute() == [True, b"1"]
            assert client.get("hits") == hits.connect_to_slave().get("hits") == b"1"
            assert len(connections(server, name)) == 1

    def test_it_keeps_its_connections_when_the_model_is_forgotten(self, url: str, sockets: Sockets) -> None:
        hits = Counter[int]("hits", url)
        client = hits.connect_to_master()
        assert client.ping()
        opened = open_sockets()
        assert len(opened - sockets) == 1
        del hits
        gc.collect()
        assert open_sockets() == opened
        assert client.ping()
        del client
        gc.collect()
        assert open_sockets() == sockets

    def test_a_backend_without_one_says_so(self, url: str) -> None:
        with Watched(redisext.connect(url)) as db:
            hits = Counter[int]("hits", db)
            for give in (hits.connect_to_master, hits.connect_to_slave):
                with pytest.raises(ConfigurationError, match="no redis-py client behind it"):
                    give()


def forget(db: Backend) -> None:
    """What remains for the collector to close."""


def leave_block(db: Backend) -> None:
    with db:
        pass


class TestClosing:
    @pytest.mark.parametrize("end", [Backend.close, leave_block, forget])
    def test_no_socket_stays_open(
        self, server: RedisServer, url: str, name: str, end: Callable[[Backend], None], sockets: Sockets
    ) -> None:
        db = redisext.connect(url, client_name=name, replicas=[url])
        at_once([partial(Queue[str]("jobs", db).pop_wait, 0.05)] * 4)
        Counter[int]("hits", db).get()
        Counter[int]("hits", db.primary).get()
        assert len(open_sockets() - sockets) >= 3
        end(db)
        del db
        gc.collect()
        assert open_sockets() == sockets
        wait_until(lambda: connections(server, name) == [], "the server has seen the connections end")

    def test_a_program_is_not_warned_of_what_it_left_open(self, url: str) -> None:
        done = run_python(
            "import redisext, sys\n"
            "url = sys.argv[1]\n"
            "closed = redisext.connect(url)\n"
            "redisext.Counter('hits', closed).incr()\n"
            "closed.close()\n"
            "forgotten = redisext.connect(url)\n"
            "redisext.Counter('hits', forgotten).incr()\n"
            "del forgotten\n"
            "client = redisext.Counter('hits', url).connect_to_master()\n"
            "client.ping()\n"
            "class Hits(redisext.Counter[int]):\n"
            "    CONNECTION = url\n"
            "Hits('hits').incr()\n"
            "kept = redisext.connect(url, replicas=[url])\n"
            "print(redisext.Counter('hits', kept).incr(), redisext.Counter('hits', kept.primary).get())\n",
            url,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "4 4\n", "")

    def test_after_it_commands_are_refused(self, url: str, sockets: Sockets) -> None:
        db = redisext.connect(url)
        hits, jobs, primary = Counter[int]("hits", db), Queue[str]("jobs", db), Counter[int]("hits", db.primary)
        hits.incr()
        assert len(open_sockets() - sockets) == 1
        db.close()
        db.close()
        for use in (
            hits.incr,
            hits.get,
            primary.incr,
            lambda: jobs.pop_wait(1),
            lambda: Counter[int]("new", db).incr(),
        ):
            with pytest.raises(BackendClosed, match=f"redis://127.0.0.1:{url.rsplit(':', 1)[1]} was closed"):
                use()
        assert open_sockets() == sockets

    def test_closing_the_view_of_the_primary_closes_the_backend(self, url: str) -> None:
        db = redisext.connect(url, replicas=[url])
        db.primary.close()
        with pytest.raises(BackendClosed):
            Counter[int]("hits", db).incr()

    def test_a_command_that_waits_is_ended_by_it(self, server: RedisServer, url: str, sockets: Sockets) -> None:
        db = redisext.connect(url)
        waiting = start(Queue[str]("jobs", db).pop_wait)
        wait_until(lambda: blocked(server) == 1, "the command waits")
        db.close()
        assert isinstance(waiting.exception(PATIENCE), RedisextError)
        assert open_sockets() == sockets
        wait_until(lambda: blocked(server) == 0, "the server has given it up")

    def test_threads_in_the_midst_of_commands_reopen_nothing(self, url: str, sockets: Sockets) -> None:
        for _ in range(20):
            db = redisext.connect(url)
            running = threading.Barrier(5)

            def work(db: Backend = db, running: threading.Barrier = running) -> None:
                hits = Counter[int]("hits", db)
                hits.incr()
                running.wait(10)
                while True:
                    hits.incr()

            with ThreadPoolExecutor(4) as threads:
                working = [threads.submit(work) for _ in range(4)]
                running.wait(10)
                db.close()
                # It was closed before the command was sent, or after.
                assert all(isinstance(one.exception(10), (BackendClosed, OutcomeUnknown)) for one in working)
            assert open_sockets() == sockets


class TestThreads:
    def test_a_backend_is_shared_by_sixteen(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name) as db, ThreadPoolExecutor(16) as threads:
            hits = Counter[int]("hits", db)

            def count(thread: int) -> list[int]:
                mine = Map[str](f"mine-{thread}", db)
                mine.set(f"value {thread}")
                seen: list[int] = []
                for _ in range(100):
                    seen.append(hits.incr())
                    assert mine.get() == f"value {thread}"
                return seen

            counted = [number for seen in threads.map(count, range(16)) for number in seen]
            assert sorted(counted) == list(range(1, 1601))
            assert 1 <= len(connections(server, name)) <= 16

    def test_at_the_limit_of_connections_they_take_turns(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name, max_connections=2) as db, ThreadPoolExecutor(8) as threads:
            hits = Counter[int]("hits", db)
            counted = [threads.submit(hits.incr) for _ in range(400)]
            assert sorted(one.result(PATIENCE) for one in counted) == list(range(1, 401))
            assert len(connections(server, name)) <= 2

    def test_who_waits_too_long_for_a_connection_is_told_how_to_get_one(self, server: RedisServer, url: str) -> None:
        with (
            redisext.connect(url, max_connections=1, socket_timeout=0.5) as db,
            ThreadPoolExecutor(1) as threads,
        ):
            jobs = Queue[str]("jobs", db)
            waiting = threads.submit(jobs.pop_wait, 10)
            wait_until(lambda: blocked(server) == 1, "the only connection is taken")
            with pytest.raises(Timeout, match=r"all 1 connections .* were in use for 0\.5 s; raise max_connections"):
                jobs.size()
            with server.client() as client:
                client.execute_command("LPUSH", "jobs", "sweep")
            assert waiting.result(10) == "sweep"
            assert jobs.size() == 0


class TestDefault:
    def test_the_environment_names_the_server(
        self, url: str, name: str, server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDISEXT_URL", f"{url}?client_name={name}")
        with redisext.connect() as db:
            assert Counter[int]("hits", db).incr() == 1
        assert Counter[int]("hits").incr() == 2

        class Hits(Counter[int]):
            KEY = "hits"

        assert Hits().incr() == 3
        with redisext.connect(prefix="app:") as db:
            assert Counter[int]("hits", db).incr() == 1

    def test_a_mistake_in_the_environment_is_no_reason_to_use_another_store(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDISEXT_URL", "localhost")
        with pytest.raises(ConfigurationError, match="a DSN begins with its scheme"):
            Counter[int]("hits")

    @pytest.mark.parametrize(
        "first", ["db = redisext.connect()", "hits = redisext.Counter('hits')", "hits = Hits('hits')"]
    )
    def test_without_one_a_single_warning_points_at_the_users_line(self, tmp_path: Path, first: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import redisext\n"
            "class Hits(redisext.Counter[int]):\n"
            "    pass\n"
            f"{first}\n"
            "assert redisext.Counter('hits').incr() == 1\n"
            "assert redisext.Counter('hits', redisext.connect()).incr() == 2\n"
            "assert Hits('hits').incr() == 3\n"
        )
        done = run_python(program, flags=("-X", "dev", "-W", "always"))
        assert done.returncode == 0
        [warning, line] = done.stderr.splitlines()
        assert warning.startswith(f"{program}:4: EmbeddedWarning: no server was named: data lives in this process")
        assert line.strip() == first

    def test_the_warning_comes_once_however_often_the_default_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("REDISEXT_URL", raising=False)
        monkeypatch.setattr("redisext.backend._warned", threading.Event())
        with pytest.warns(EmbeddedWarning, match="REDISEXT_URL") as caught:
            models = [Counter[int]("hits", redisext.connect()), Counter[int]("hits"), Counter[int]("hits")]
        assert [warning.filename for warning in caught] == [__file__]
        assert {repr(one.backend) for one in models} == {"<MemoryBackend memory://>"}

    def test_an_empty_name_in_the_environment_is_none(self) -> None:
        done = run_python("import redisext; print(redisext.connect())", flags=("-W", "always"), REDISEXT_URL="")
        assert done.stdout == "<MemoryBackend memory://>\n"
        assert done.stderr.count("EmbeddedWarning") == 1

    def test_who_names_the_embedded_engine_is_not_warned(self) -> None:
        done = run_python("import redisext; redisext.Counter('hits', 'memory://').incr()")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
class TestFork:
    def test_the_child_opens_its_own_connections_and_the_parents_stay(
        self, server: RedisServer, url: str, name: str
    ) -> None:
        with redisext.connect(url, client_name=name) as db:
            hits = Counter[int]("hits", db)
            hits.incr()
            [parents] = connections(server, name)
            seen = in_child(lambda: (hits.incr(), len(connections(server, name)), db.close()))
            assert seen == "(2, 2, None)"
            wait_until(lambda: connections(server, name) == [parents], "the child's connection has ended")
            assert hits.incr() == 3
            assert connections(server, name) == [parents]

    def test_a_child_that_ends_as_programs_do_leaves_the_parents_connections_alone(self, url: str) -> None:
        done = run_python(
            "import os, sys, redisext\n"
            "class Hits(redisext.Counter[int]):\n"
            "    CONNECTION = sys.argv[1]\n"
            "hits = Hits('hits')\n"
            "client = hits.connect_to_master()\n"
            "def me(): return client.execute_command('CLIENT', 'ID')\n"
            "hits.incr()\n"
            "parent = me()\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    assert hits.incr() == 2 and me() != parent\n"
            "    sys.exit()\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
            "assert hits.incr() == 3 and me() == parent\n",
            url,
        )
        assert (done.returncode, done.stderr) == (0, "")

    @forking_threads
    def test_it_may_come_while_threads_are_busy(self, url: str) -> None:
        """Whatever the threads hold at that instant, the child can send commands and make models."""
        stop = threading.Event()
        with redisext.connect(url, max_connections=8) as db, ThreadPoolExecutor(8) as threads:
            hits = Counter[int]("hits", db)

            def use() -> None:
                while not stop.is_set():
                    hits.incr()

            def make() -> None:
                while not stop.is_set():
                    Counter[int]("hits", url)

            busy = [threads.submit(work) for work in (use, make) * 4]
            try:
                for _ in range(20):
                    assert in_child(lambda: Map[str]("child", db).set("was here")) == "True"
                    assert in_child(lambda: Map[str]("child", url).get()) == "was here"
            finally:
                stop.set()
            for one in busy:
                one.result(10)

    @forking_threads
    def test_the_embedded_engine_goes_on_in_the_child_with_a_copy(self) -> None:
        stop = threading.Event()
        with redisext.connect("memory://forked") as db, ThreadPoolExecutor(4) as threads:
            hits = Counter[int]("hits", db)
            seen = Map[str]("seen", db)

            def use() -> None:
                while not stop.is_set():
                    hits.incr()

            busy = [threads.submit(use) for _ in range(4)]
            try:
                for _ in range(20):
                    assert in_child(lambda: (seen.set("in the child"), hits.incr() > 0)) == "(True, True)"
            finally:
                stop.set()
            for one in busy:
                one.result(10)
            assert seen.get() is None


class TestInterrupts:
    def test_a_signal_while_waiting_leaves_the_backend_usable(
        self, server: RedisServer, url: str, sockets: Sockets
    ) -> None:
        with redisext.connect(url, max_connections=1) as db:
            jobs = Queue[str]("jobs", db)
            for turn in ("first", "second"):
                interrupt = threading.Thread(target=interrupt_when, args=(lambda: blocked(server) == 1,))
                interrupt.start()
                with pytest.raises(KeyboardInterrupt):
                    jobs.pop_wait()
                interrupt.join()
                assert open_sockets() == sockets
                wait_until(lambda: blocked(server) == 0, "the server has given it up")
                jobs.push(turn)
                assert jobs.pop_wait(1) == turn
                db.client.connection_pool.disconnect()

    def test_one_between_sending_and_reading_does_not_shift_replies(
        self, server: RedisServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send = pooled.Connection.send

        def send_and_be_interrupted(connection: pooled.Connection, packed: bytes) -> None:
            send(connection, packed)
            raise KeyboardInterrupt

        with redisext.connect(url, max_connections=1) as db:
            jobs, hits = Queue[str]("jobs", db), Counter[int]("hits", db)
            assert hits.incr() == 1
            with monkeypatch.context() as patch:
                patch.setattr(pooled.Connection, "send", send_and_be_interrupted)
                with pytest.raises(KeyboardInterrupt):
                    jobs.pop_wait()
            wait_until(lambda: blocked(server) == 0, "the server has given it up")
            server.call("LPUSH", "jobs", "sweep")
            assert (hits.incr(), jobs.size(), jobs.pop()) == (2, 1, "sweep")

    def test_one_during_the_handshake_leaves_no_connection_half_open(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next command would go to another database, as nobody."""
        send = redis.Connection.send_command

        def send_but_be_interrupted(connection: redis.Connection, *words: Argument, **options: bool) -> None:
            if words[0] == "SELECT":
                raise KeyboardInterrupt
            send(connection, *words, **options)

        with redisext.connect(url.replace("/0", "/3"), max_connections=1) as db, redisext.connect(url) as other:
            hits = Counter[int]("hits", db)
            with monkeypatch.context() as patch:
                patch.setattr(redis.Connection, "send_command", send_but_be_interrupted)
                with pytest.raises(KeyboardInterrupt):
                    hits.incr()
            assert hits.incr() == 1
            assert Counter[int]("hits", other).get() is None


def interrupt_when(condition: Callable[[], bool]) -> None:
    """As if somebody pressed Ctrl-C once *condition* holds."""
    wait_until(condition, "it is time to interrupt")
    os.kill(os.getpid(), signal.SIGINT)


class TestIdleConnections:
    def test_one_that_the_server_closed_is_noticed_before_a_command_is_sent(
        self, server: RedisServer, url: str, name: str
    ) -> None:
        with redisext.connect(url, client_name=name) as db:
            hits = Counter[int]("hits", db)
            for turn in range(1, 21):
                assert hits.incr() == turn
                [before] = connections(server, name)
                assert server.call("CLIENT", "KILL", "ID", before) == 1
                wait_until(lambda: connections(server, name) == [], "the connection is closed")

    def test_a_pool_full_of_them_is_no_obstacle(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name) as db, ThreadPoolExecutor(8) as threads:
            jobs, hits = Queue[str]("jobs", db), Counter[int]("hits", db)
            waiting = [threads.submit(jobs.pop_wait, 10) for _ in range(8)]
            wait_until(lambda: blocked(server) == 8, "all wait")
            jobs.push(*"abcdefgh")
            assert sorted(str(one.result(10)) for one in waiting) == list("abcdefgh")
            for one in connections(server, name):
                server.call("CLIENT", "KILL", "ID", one)
            wait_until(lambda: connections(server, name) == [], "all are closed")
            assert sorted(one.result(10) for one in [threads.submit(hits.incr) for _ in range(40)]) == list(
                range(1, 41)
            )

    def test_a_server_may_restart_between_two_commands(self, own_server: RedisServer) -> None:
        with redisext.connect(own_server.url) as db:
            hits, jobs = Counter[int]("hits", db), Queue[int]("jobs", db)
            for _ in range(3):
                assert hits.incr() == 1
                jobs.push(5)
                assert list(jobs) == [5]
                own_server.restart()
            assert hits.get() is None
            assert list(jobs) == []


class TestAddresses:
    def test_a_unix_socket(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(f"{server.socket_url}&client_name={name}") as db:
            assert Counter[int]("hits", db).incr() == 1
            assert len(connections(server, name)) == 1
            assert repr(db) == f"<RedisBackend {server.socket_url}>"

    def test_valkeys_name_for_the_same(self, server: RedisServer, url: str) -> None:
        with redisext.connect(url.replace("redis://", "valkey://")) as db:
            assert Counter[int]("hits", db).incr() == 1
        assert server.call("GET", "hits") == b"1"

    @pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
    def test_an_ipv6_address(self) -> None:
        try:
            with socket.create_server(("::1", 0), family=socket.AF_INET6):
                pass
        except OSError:
            pytest.skip("this machine has no IPv6")
        with RedisServer("--bind", "127.0.0.1", "::1") as server:
            url = f"redis://[::1]:{server.port}/0"
            with redisext.connect(url) as db:
                assert Counter[int]("hits", db).incr() == 1
                assert repr(db) == f"<RedisBackend {url}>"
            assert server.call("GET", "hits") == b"1"

    def test_a_database_by_its_number(self, server: RedisServer, url: str) -> None:
        with redisext.connect(f"redis://{server.host}:{server.port}/5") as db, redisext.connect(url) as other:
            assert Counter[int]("hits", db).incr() == 1
            assert Counter[int]("hits", other).get() is None

    def test_a_database_that_the_server_has_not_is_refused(self, server: RedisServer) -> None:
        with (
            redisext.connect(f"redis://{server.host}:{server.port}/99") as db,
            pytest.raises(ConfigurationError, match="/99 refused the connection: DB index is out of range"),
        ):
            Counter[int]("hits", db).incr()

    def test_a_prefix_stands_before_every_key(self, server: RedisServer, url: str) -> None:
        with redisext.connect(url, prefix="app:") as db, redisext.connect(f"{url}?prefix=app%3A") as same:
            hits = Counter[int]("hits", db)
            hits.incr()
            assert hits.key == "hits"
            assert Counter[int]("hits", same).get() == 1
            assert server.call("KEYS", "*") == [b"app:hits"]
            assert hits.rename("visits")
            assert server.call("KEYS", "*") == [b"app:visits"]

    def test_a_name_in_the_servers_list_of_clients(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name) as db:
            Counter[int]("hits", db).incr()
            assert len(connections(server, name)) == 1

    def test_a_server_that_takes_no_more_clients_says_so(self) -> None:
        with RedisServer("--maxclients", "1") as server, redisext.connect(server.url) as db:
            with server.client() as client:
                client.ping()
                with pytest.raises(ConnectionFailed, match=f"{server.port}/0: max number of clients reached"):
                    Counter[int]("hits", db).incr()

            def counted() -> bool:
                try:
                    return Counter[int]("hits", db).incr() == 1
                except ConnectionFailed:  # the server has not seen the other one go yet
                    return False

            wait_until(counted, "there is room again")
