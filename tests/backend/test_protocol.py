"""A backend of a third party's own making: the one that the documentation shows, as it stands there."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

import redisext
from redisext import AsyncBackend, Backend, Counter, HashMap, Lock, Map, Pool, Queue, SortedSet
from redisext.backend import HasClient
from redisext.batch import Batch, Batches, Pending, Transaction
from redisext.command import Command, Op, Reply
from redisext.errors import (
    BackendClosed,
    BatchError,
    CommandRefused,
    ConnectionFailed,
    OutcomeUnknown,
    Timeout,
    WrongType,
)
from tests.backend.observe import ROOT, blocked, open_sockets
from tests.proxy import Proxy, drop, forward
from tests.servers import RedisServer, free_port, wait_until
from tests.threads import PATIENCE, at_once, start

PAGE = ROOT / "docs" / "backends.md"


class MakesBackends(Protocol):
    """The class that the page defines."""

    def __call__(self, host: str, port: int = ..., *, timeout: float = ...) -> Backend: ...


def example() -> str:
    """The program in the page: its longest block of code."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return max(blocks, key=len)


@pytest.fixture(scope="module")
def socket_backend() -> MakesBackends:
    module = types.ModuleType("example")
    exec(compile(example(), str(PAGE), "exec"), module.__dict__)
    made: MakesBackends = module.__dict__["SocketBackend"]
    return made


@pytest.fixture
def db(socket_backend: MakesBackends, server: RedisServer) -> Iterator[Backend]:
    server.call("FLUSHALL")
    with socket_backend(server.host, server.port) as db:
        yield db


class TestStructures:
    def test_it_is_a_backend(self, db: Backend) -> None:
        assert isinstance(db, Backend)
        assert not isinstance(db, HasClient)

    def test_a_queue(self, server: RedisServer, db: Backend) -> None:
        jobs = Queue[int]("jobs", db)
        assert jobs.pop() is None
        assert jobs.pop_wait(0.05) is None
        assert jobs.push(1, 2, 3) == 3
        assert [jobs.pop(), jobs.pop_wait(1), jobs.items()] == [1, 2, [3]]
        jobs.clear()
        jobs.push(*range(2500))
        assert list(jobs) == list(range(2499, -1, -1))
        jobs.clear()
        waiter = start(jobs.pop_wait)
        wait_until(lambda: blocked(server) == 1, "it waits")
        jobs.push(5)
        assert waiter.result(PATIENCE) == 5

    def test_an_update(self, db: Backend) -> None:
        best = Map[int]("best", db)

        def improve() -> None:
            for _ in range(20):
                best.update(lambda old: (old or 0) + 1)

        at_once([improve] * 8)
        assert best.get() == 160

    def test_a_lock(self, server: RedisServer, db: Backend) -> None:
        server.call("SCRIPT", "FLUSH")
        lock, other = Lock("nightly", db), Lock("nightly", db)
        assert lock.acquire(30)
        assert not other.acquire(30, wait=0.05)
        waiter = start(partial(other.acquire, 30, wait=PATIENCE))
        wait_until(lambda: blocked(server) == 1, "it waits")
        assert lock.release()
        assert waiter.result(PATIENCE)
        assert other.release()

    def test_the_others(self, db: Backend) -> None:
        stock = HashMap[str, float]("stock", db)
        stock["apples"] = 0.1
        assert dict(stock) == {"apples": 0.1}
        tags = Pool[str]("tags", db)
        assert tags.push("a")
        assert set(tags) == {"a"}
        board = SortedSet[str]("board", db)
        board.add("Ada", 1.5)
        assert board.members(with_scores=True) == [(1.5, "Ada")]
        hits = Counter[int]("hits", db)
        assert hits.incr(5) == hits.get() == 5
        assert hits.rename("visits")

    def test_threads(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        with ThreadPoolExecutor(16) as threads:
            counted = [threads.submit(hits.incr) for _ in range(400)]
            assert sorted(one.result(PATIENCE) for one in counted) == list(range(1, 401))


def failing(block: Batch | Transaction, *commands: Command[object]) -> list[Pending[object]]:
    """What becomes of commands in a block that ends with an error."""
    pending: list[Pending[object]] = []
    with pytest.raises(BatchError), block:
        pending.extend(map(block.add, commands))
    return pending


class TestBatches:
    def test_a_batch_goes_in_one_write(self, db: Backend, server: RedisServer) -> None:
        server.call("SCRIPT", "FLUSH")
        jobs, stock, hits = Queue[int]("jobs", db), HashMap[str, int]("stock", db), Counter[int]("hits", db)
        with db.batch() as batch:
            size = batch.add(jobs.commands.push(1, 2))
            apples = batch.add(stock.commands.setdefault("apples", 3))
            pears = batch.add(stock.commands.setdefault("pears", 5))
            seen = batch.add(hits.commands.incr())
        assert (size.result(), apples.result(), pears.result(), seen.result()) == (2, 3, 5, 1)

    def test_what_is_refused_keeps_nobody_else_from_being_carried_out(self, db: Backend) -> None:
        Queue[int]("jobs", db).push(1)
        hits, jobs = (Counter[int](key, db).commands.incr() for key in ("hits", "jobs"))
        one, wrong, two = failing(db.batch(), hits, jobs, hits)
        assert (one.result(), two.result()) == (1, 2)
        assert isinstance(wrong.error, WrongType)

    def test_a_transaction_is_carried_out_as_a_whole(self, db: Backend) -> None:
        jobs, hits = Queue[int]("jobs", db), Counter[int]("hits", db)
        with db.transaction() as tx:
            size = tx.add(jobs.commands.push(1))
            seen = tx.add(hits.commands.incr())
        assert (size.result(), seen.result()) == (1, 1)

    def test_one_that_is_refused_beforehand_is_not_carried_out(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)
        unknown: Command[Reply] = Command(Op("NONSENSE"), (b"hits",), (), lambda reply: reply)
        seen, refused = failing(db.transaction(), hits.commands.incr(), unknown)
        assert "unknown command" in str(refused.error)
        assert "EXECABORT" in str(seen.error)
        assert hits.get() is None

    def test_what_was_read_is_what_is_changed(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)

        def double(tx: Transaction) -> None:
            tx.add(hits.commands.set(tx.read(hits.commands.get(0)) + 1))

        at_once([partial(db.transact, double, watch=[hits])] * 8)
        assert hits.get() == 8

    def test_a_watch_ends_with_its_transaction(self, db: Backend) -> None:
        hits = Counter[int]("hits", db)

        def fails(tx: Transaction) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            db.transact(fails, watch=["hits"])
        hits.incr()
        with db.transaction() as tx:
            seen = tx.add(hits.commands.incr())
        assert seen.result() == 2

    @pytest.mark.parametrize("kind", ["batch", "transaction"])
    def test_replies_that_are_lost(
        self, socket_backend: MakesBackends, server: RedisServer, proxy: Proxy, kind: str
    ) -> None:
        with socket_backend(proxy.host, proxy.port) as db:
            hits = Counter[int]("hits", db)
            proxy.on_reply = drop
            block = db.batch() if kind == "batch" else db.transaction()
            seen, read = failing(block, hits.commands.incr(), hits.commands.get())
            assert isinstance(seen.error, OutcomeUnknown)
            assert isinstance(read.error, ConnectionFailed)
            assert not isinstance(read.error, OutcomeUnknown)
            proxy.on_reply = forward
            assert hits.incr() == 2


class TestErrors:
    def test_what_the_server_refuses(self, db: Backend) -> None:
        Queue[str]("jobs", db).push("sweep")
        with pytest.raises(WrongType, match="key 'jobs' holds a value of another type, and INCRBY works on a string"):
            Counter[int]("jobs", db).incr()
        with pytest.raises(WrongType, match="works on a hash"):
            HashMap[str, int]("jobs", db).setdefault("apples", 1)
        hits = Counter[int]("hits", db)
        hits.set(2**63 - 1)
        with pytest.raises(CommandRefused, match="overflow"):
            hits.incr()

    def test_a_reply_that_is_lost(self, socket_backend: MakesBackends, server: RedisServer, proxy: Proxy) -> None:
        with socket_backend(proxy.host, proxy.port) as db:
            hits = Counter[int]("hits", db)
            assert hits.incr() == 1
            proxy.on_reply = drop
            with pytest.raises(OutcomeUnknown, match="INCRBY") as unknown:
                hits.incr()
            assert unknown.value.command == hits.commands.incr()
            with pytest.raises(ConnectionFailed, match="GET") as failed:
                hits.get()
            assert not isinstance(failed.value, OutcomeUnknown)
            proxy.on_reply = forward
            assert hits.incr() == 3
            assert server.call("GET", "hits") == b"3"

    def test_a_server_that_is_not_there_or_does_not_answer(self, socket_backend: MakesBackends) -> None:
        port = free_port()
        with socket_backend("127.0.0.1", port) as db, pytest.raises(ConnectionFailed, match=str(port)):
            Counter[int]("hits", db).incr()
        with RedisServer() as server, socket_backend(server.host, server.port, timeout=0.1) as db:
            server.call("CLIENT", "PAUSE", 60_000)
            with pytest.raises(Timeout):
                Counter[int]("hits", db).get()

    def test_the_end(self, socket_backend: MakesBackends, server: RedisServer) -> None:
        before = open_sockets()
        db = socket_backend(server.host, server.port)
        hits = Counter[int]("hits", db)
        at_once([hits.incr] * 4)
        db.close()
        assert open_sockets() == before
        with pytest.raises(BackendClosed):
            hits.incr()


def test_the_type_checker_takes_it_for_a_backend(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the type checkers are not part of this environment")
    program = tmp_path / "example.py"
    program.write_text(
        f"{example()}\n"
        "from redisext import Backend, Queue\n"
        'backend: Backend = SocketBackend("localhost")\n'
        'item: str | None = Queue[str]("jobs", backend).pop()\n'
        "wrong: Backend = Wire\n"
    )
    checked = subprocess.run(
        # Without the settings here, and so with what hiredis says of itself, as anybody else has it.
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--follow-imports=silent", str(program)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    [error, *_] = [line for line in checked.stdout.splitlines() if " error: " in line]
    assert 'Incompatible types in assignment (expression has type "type[Wire]", variable has type "Backend")' in error
    assert "Found 1 error" in checked.stdout


def test_the_page_names_every_member_and_every_duty() -> None:
    page = PAGE.read_text()
    for name in ("words", "words_in_full", "read(reply)", "op.reads", "op.repeatable", "op.blocks", "timeout"):
        assert f"`command.{name}`" in page, name
    program = example()
    members = {name for name, _ in inspect.getmembers(Backend) if not name.startswith("_")}
    inherited = {name for name, _ in inspect.getmembers(Batches) if not name.startswith("_")}
    assert inherited == {"batch", "commit", "deadline", "steady", "transact", "transaction"}
    assert all(re.search(rf"^\| .*`{name}\b", page, re.MULTILINE) for name in members)
    assert all(re.search(rf"\b{name}\b", program) for name in members - inherited)
    under_asyncio = {name for name, _ in inspect.getmembers(AsyncBackend) if not name.startswith("_")}
    assert under_asyncio == members - {"close"} | {"aclose"}
    assert all(name in page for name in ("`redisext.command.in_sequence(commands)`", "`aclose`", "AsyncBatches"))
    assert redisext.Backend is Backend
