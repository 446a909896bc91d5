"""The embedded engine: one store for each name, in this process."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any

import fakeredis
import pytest
import redis

import redisext
from redisext import Backend, Counter, HashMap, Lock, Map, PriorityQueue, Queue, Stack
from redisext.backend.memory import MemoryBackend
from redisext.command import Command, Op, Script
from redisext.errors import BackendClosed, CommandRefused, ConfigurationError, WrongType
from redisext.reply import as_it_is, integer
from tests.backend.observe import Sockets, forking_threads, in_child, open_sockets, run_python
from tests.servers import wait_until
from tests.threads import PATIENCE, at_once, start
from tests.watching import waiting

STORES = count()


@pytest.fixture
def url() -> str:
    """A store that nobody has used."""
    return f"memory://engine-{next(STORES)}"


@pytest.fixture
def db(url: str) -> Iterator[MemoryBackend]:
    with redisext.connect(url) as db:
        assert isinstance(db, MemoryBackend)
        yield db


def wait_for(db: Backend, waiters: int) -> None:
    wait_until(lambda: waiting(db) == waiters, f"{waiters} wait in the store")


class TestStores:
    def test_backends_on_one_name_share_a_store(self, url: str) -> None:
        with redisext.connect(url) as one, redisext.connect(url) as other:
            Map[str]("note", one).set("hello")
            assert Map[str]("note", other).get() == "hello"
            assert Map[str]("note", url).get() == "hello"

    def test_names_are_apart(self, url: str) -> None:
        for other in (f"{url}-2", "memory://", url.upper().replace("MEMORY", "memory")):
            Map[str]("note", url).set("hello")
            assert Map[str]("note", other).get() is None

    def test_the_unnamed_one_is_a_store_too(self) -> None:
        note = Map[str]("a note that no other test uses", "memory://")
        try:
            note.set("hello")
            with redisext.connect("memory://") as db:
                assert Map[str](note.key, db).get() == "hello"
        finally:
            note.remove()

    def test_a_name_is_decoded_as_the_rest_of_a_dsn(self, url: str) -> None:
        Map[str]("note", f"{url}%20b").set("hello")
        assert repr(redisext.connect(f"{url}%20b")) == f"<MemoryBackend {url} b>"
        assert Map[str]("note", url).get() is None

    def test_a_prefix_stands_before_every_key(self, url: str) -> None:
        with redisext.connect(url, prefix="app:") as db, redisext.connect(url) as plain:
            Map[str]("note", db).set("hello")
            assert Map[str]("app:note", plain).get() == "hello"

    def test_it_is_its_own_primary_and_has_no_replicas(self, db: MemoryBackend) -> None:
        assert db.primary is db
        with pytest.raises(ConfigurationError, match="the embedded engine has no replicas"):
            redisext.connect("memory://engine", replicas=["localhost"])

    def test_it_opens_no_socket(self, db: Backend, sockets: Sockets) -> None:
        Counter[int]("hits", db).incr()
        assert open_sockets() == sockets

    def test_only_the_bytes_are_kept_of_what_is_more(self, db: MemoryBackend) -> None:
        class Token(bytes):
            """What an element type or a serializer may give."""

        note = Map("note", db)
        note.set(Token(b"hello"))
        assert type(note.get()) is bytes

    def test_an_answer_is_held_by_nobody_but_who_asked(self, db: Backend) -> None:
        answer = db.execute(Command(Op("LRANGE", "list"), (b"jobs",), (0, -1), as_it_is))
        assert sys.getrefcount(answer) <= 2  # the name, and the argument of this call

    def test_items_are_pushed_in_their_order_however_many(self, db: Backend) -> None:
        jobs = Queue[int]("jobs", db)
        assert jobs.push(1) == 1
        assert jobs.push(*range(2, 1_000)) == 999
        assert [*jobs.items()] == [*range(999, 0, -1)]


class TestClosing:
    def test_the_data_stays(self, url: str) -> None:
        with redisext.connect(url) as db:
            Counter[int]("hits", db).incr()
        with redisext.connect(url) as db:
            assert Counter[int]("hits", db).incr() == 2

    def test_after_it_commands_are_refused(self, url: str) -> None:
        db = redisext.connect(url)
        hits, jobs = Counter[int]("hits", db), Queue[str]("jobs", db)
        with redisext.connect(url) as other:
            db.close()
            db.close()
            for use in (hits.incr, hits.get, partial(jobs.pop_wait, 1), Counter[int]("new", db.primary).get):
                with pytest.raises(BackendClosed, match=f"the backend {url} was closed"):
                    use()
            assert Counter[int]("hits", other).incr() == 1

    def test_a_command_that_waits_is_ended_by_it_and_takes_nothing(self, url: str) -> None:
        db = redisext.connect(url)
        with redisext.connect(url) as other:
            ended = start(Queue[str]("jobs", db).pop_wait)
            wait_for(other, 1)
            served = start(Queue[str]("jobs", other).pop_wait)
            wait_for(other, 2)
            db.close()
            Queue[str]("jobs", other).push("sweep")
            assert served.result(PATIENCE) == "sweep"
            assert isinstance(ended.exception(PATIENCE), BackendClosed)
            assert waiting(other) == 0

    def test_a_model_after_it_gets_a_new_backend(self, url: str) -> None:
        hits = Counter[int]("hits", url)
        hits.incr()
        hits.backend.close()
        assert Counter[int]("hits", url).incr() == 2


class TestThreads:
    def test_no_count_is_lost(self, url: str) -> None:
        def count_up(db: Backend) -> None:
            for _ in range(100):
                Counter[int]("hits", db).incr()
                Map[int]("score", db).update(lambda old: (old or 0) + 1)

        with redisext.connect(url) as one, redisext.connect(url) as other:
            at_once([partial(count_up, one), partial(count_up, other)] * 4)
            assert Counter[int]("hits", one).get() == Map[int]("score", other).get() == 800

    def test_a_lock_has_one_holder_at_a_time(self, db: Backend) -> None:
        held: list[int] = []
        seen: list[int] = []

        def hold() -> None:
            for _ in range(10):
                with Lock("nightly", db):
                    held.append(1)
                    seen.append(len(held))
                    held.pop()

        at_once([hold] * 8)
        assert seen == [1] * 80


class TestExpiry:
    def test_it_happens(self, db: Backend) -> None:
        note, hits, jobs = Map[str]("note", db), Counter[int]("hits", db), Queue[str]("jobs", db)
        note.set("hello")
        hits.incr()
        jobs.push("sweep")
        begun = time.monotonic()
        assert note.expire(0.05)
        assert hits.expire(0.05)
        assert jobs.expire(60)
        wait_until(lambda: not note.exists(), "it has expired")
        assert time.monotonic() - begun >= 0.05
        wait_until(lambda: hits.get() is None, "this one too")
        assert note.get() is None
        assert note.ttl() == -2
        assert hits.incr() == 1
        assert jobs.items() == ["sweep"]
        assert 0 < jobs.ttl() <= 60

    def test_a_lock_is_free_again(self, db: Backend) -> None:
        assert Lock("nightly", db).acquire(0.05)
        assert Lock("nightly", db).acquire(30, wait=PATIENCE)


class TestWaiting:
    @pytest.mark.parametrize("kind", [Queue[str], Stack[str], PriorityQueue[str]])
    def test_who_came_first_is_served_first(
        self, url: str, kind: type[Queue[str] | Stack[str] | PriorityQueue[str]]
    ) -> None:
        with redisext.connect(url) as one, redisext.connect(url) as other:
            waiters: list[Future[str | None]] = []
            for number in range(6):
                waiters.append(start(kind("jobs", (one, other)[number % 2]).pop_wait))
                wait_for(one, len(waiters))
            for number, waiter in enumerate(waiters):
                item = f"job {number}"
                jobs = kind("jobs", other)
                if isinstance(jobs, PriorityQueue):
                    jobs.push(item, 1)
                else:
                    jobs.push(item)
                assert waiter.result(PATIENCE) == item
            assert waiting(one) == 0

    def test_one_push_may_serve_several(self, db: Backend) -> None:
        jobs = Queue[int]("jobs", db)
        waiters: list[Future[int | None]] = []
        for _ in range(3):
            waiters.append(start(jobs.pop_wait))
            wait_for(db, len(waiters))
        jobs.push(1, 2, 3, 4)
        assert [waiter.result(PATIENCE) for waiter in waiters] == [1, 2, 3]
        assert jobs.items() == [4]

    def test_who_waits_in_vain_gets_nothing_when_the_time_is_over(self, db: Backend) -> None:
        begun = time.monotonic()
        assert at_once([partial(Queue[int]("jobs", db).pop_wait, 0.3)] * 3) == [None] * 3
        assert time.monotonic() - begun >= 0.3
        assert waiting(db) == 0

    def test_the_engines_own_client_wakes_as_well(self, db: MemoryBackend) -> None:
        jobs, other = Queue[str]("jobs", db), Stack[str]("other", db)
        first, second = start(other.pop_wait), start(jobs.pop_wait)
        wait_for(db, 2)
        db.client.execute_command("LPUSH", "jobs", "sweep")
        assert second.result(PATIENCE) == "sweep"
        db.client.execute_command("LPUSH", "other", "mop")
        assert first.result(PATIENCE) == "mop"

    def test_a_key_that_comes_to_hold_another_structure_harms_nobody(self, db: Backend) -> None:
        waiter = start(Queue[str]("jobs", db).pop_wait)
        wait_for(db, 1)
        Counter[int]("jobs", db).incr()
        with pytest.raises(WrongType):
            Queue[str]("jobs", db).pop_wait(1)
        Counter[int]("jobs", db).reset()
        Queue[str]("jobs", db).push("sweep")
        assert waiter.result(PATIENCE) == "sweep"

    @forking_threads
    def test_those_who_wait_in_the_parent_take_nothing_in_a_forked_child(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        waiter = start(jobs.pop_wait)
        wait_for(db, 1)
        assert in_child(lambda: (jobs.push("the child's"), jobs.size(), jobs.pop())) == '(1, 1, "the child\'s")'
        assert waiting(db) == 1
        jobs.push("the parent's")
        assert waiter.result(PATIENCE) == "the parent's"


class TestScripts:
    def test_they_run(self, db: Backend) -> None:
        stock = HashMap[str, int]("stock", db)
        assert stock.setdefault("apples", 3) == 3
        assert stock.pop("apples") == 3
        assert Counter[int]("hits", db).rename("visits") is False

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("error('it broke')", "it broke"),
            ("return (", "unexpected symbol"),
            ("return redis.error_reply('MINE it is so')", "MINE it is so"),
            ("return redis.call('INCRBY', KEYS[1], 'x')", "not an integer"),
            ("return redis.call('NOSUCH')", "unknown command 'nosuch'"),
        ],
    )
    def test_an_error_in_one_is_raised_as_a_servers(self, db: Backend, source: str, reason: str) -> None:
        command = Command(Op("my script", script=Script(source)), (b"key",), (), integer)
        with pytest.raises(CommandRefused, match=f"refused my script on key 'key': (.|\n)*{reason}") as refused:
            db.execute(command)
        assert isinstance(refused.value.__cause__, redis.exceptions.ResponseError)
        assert Counter[int]("hits", db).incr() == 1

    def test_the_wrong_structure_is_named(self, db: Backend) -> None:
        Queue[str]("stock", db).push("sweep")
        with pytest.raises(
            WrongType, match="key 'stock' holds a list, and set a field unless it is there works on a hash"
        ):
            HashMap[str, int]("stock", db).setdefault("apples", 1)


class TestClient:
    def test_it_sees_the_same_store(self, db: MemoryBackend) -> None:
        hits = Counter[int]("hits", db)
        hits.incr()
        assert db.client.get("hits") == b"1"
        assert hits.connect_to_master().get("hits") == hits.connect_to_slave().get("hits") == b"1"
        assert isinstance(db.client, redis.Redis)
        with db.client.pipeline() as pipeline:
            pipeline.execute_command("SET", "hits", 5)
            pipeline.execute_command("GET", "hits")
            assert pipeline.execute() == [True, b"5"]
        assert hits.get() == 5


class Raising:
    """In place of the engine's lock: what is raised when it should be taken."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __enter__(self) -> None:
        raise self._error

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class TestInterrupts:
    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeServer:
        """The engine of the next store."""
        engine = fakeredis.FakeServer()
        monkeypatch.setattr(fakeredis, "FakeServer", lambda: engine)
        return engine

    def test_an_error_while_one_waits_is_raised_there(
        self, url: str, engine: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with redisext.connect(url) as db:
            jobs = Queue[str]("jobs", db)
            waiter = start(jobs.pop_wait)
            wait_for(db, 1)
            with monkeypatch.context() as patch:
                patch.setattr(engine, "lock", Raising(ZeroDivisionError))
                assert isinstance(waiter.exception(PATIENCE), ZeroDivisionError)
            assert jobs.push("sweep") == 1
            assert jobs.pop_wait(1) == "sweep"

    def test_one_inside_the_engine_leaves_it_usable(
        self, url: str, engine: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with redisext.connect(url) as db:
            hits = Counter[int]("hits", db)
            assert hits.incr() == 1
            with monkeypatch.context() as patch:
                patch.setattr(engine, "lock", Raising(KeyboardInterrupt))
                with pytest.raises(KeyboardInterrupt):
                    hits.incr()
            assert [hits.incr(), hits.get()] == [2, 2]

    def test_one_after_the_reply_does_not_shift_replies(
        self, db: MemoryBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        socket: Any = db._store.line._socket  # pyright: ignore[reportPrivateUsage]
        carry_out = socket._process_command

        def carry_out_and_be_interrupted(words: list[bytes]) -> None:
            carry_out(words)
            raise KeyboardInterrupt

        note, hits = Map[str]("note", db), Counter[int]("hits", db)
        note.set("hello")
        with monkeypatch.context() as patch:
            patch.setattr(socket, "_process_command", carry_out_and_be_interrupted)
            with pytest.raises(KeyboardInterrupt):
                note.get()
        assert [hits.incr(), note.get()] == [1, "hello"]


class TestKilled:
    """By CLIENT KILL, a connection forgets what it watched."""

    def test_a_transaction_whose_watch_is_forgotten_is_not_carried_out(self, db: MemoryBackend) -> None:
        hits = Counter[int]("hits", db)
        hits.set(1)
        with db.session([b"hits"]) as session:
            db.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            db.client.set("hits", 50)
            assert not session.commit([redisext.Pending(hits.commands.incr())])
        assert hits.get() == 50

    def test_the_next_command_begins_anew(self, db: MemoryBackend) -> None:
        hits = Counter[int]("hits", db)
        hits.incr()
        db.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert [hits.incr(), hits.get()] == [2, 2]


class TestNotInstalled:
    def test_the_error_tells_how_to_install_it(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "fakeredis", None)
        for use in (partial(redisext.connect, url), partial(Counter[int], "hits", url)):
            with pytest.raises(ConfigurationError, match=r"pip install 'redisext\[embedded\]'") as missing:
                use()
            assert isinstance(missing.value.__cause__, ImportError)

    def test_a_server_is_used_without_it(self) -> None:
        done = run_python(
            "import sys\n"
            "sys.modules['fakeredis'] = sys.modules['lupa'] = None\n"
            "import redisext\n"
            "print(redisext.connect('redis://localhost'))\n"
        )
        assert (done.stdout, done.stderr) == ("<RedisBackend redis://localhost:6379/0>\n", "")

    def test_who_names_no_server_is_told_what_to_do(self) -> None:
        done = run_python(
            "import sys\nsys.modules['fakeredis'] = None\nimport redisext\nredisext.Counter('hits')\n", flags=()
        )
        assert (
            "ConfigurationError: the embedded engine is not installed: pip install 'redisext[embedded]'" in done.stderr
        )
        assert "or name a server, as in redis://localhost:6379/0" in done.stderr
