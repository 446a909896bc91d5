"""What a backend makes of one attempt: in slices, together on several servers, by one thread for all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import redis

import redisext
from redisext import AsyncHashMap, Backend, Counter, HashMap, NotReplicated, Pending, Queue
from redisext.backend import exchange, failures, recorded, servers
from redisext.backend.connections import Connection
from redisext.backend.exchange import Answer
from redisext.backend.memory import AsyncMemoryBackend, MemoryBackend
from redisext.backend.redis import _Turns  # pyright: ignore[reportPrivateUsage]
from redisext.command import Command, CursorLost, Op, Reply
from redisext.dsn import Configuration
from redisext.errors import BatchError, ConfigurationError, ConnectionFailed, OutcomeUnknown
from redisext.reply import integer
from tests.backend.observe import calls
from tests.clusters import Cluster
from tests.sentinels import Sentinels
from tests.servers import free_port

R = TypeVar("R")


def pop_wait(seconds: float | None) -> Command[str | None]:
    with redisext.connect("memory://slices") as db:
        return Queue[str]("jobs", db).commands.pop_wait(seconds)


class TestSlices:
    def test_one_that_waits_for_ever_is_asked_again_and_again(self) -> None:
        steps = servers._in_slices(pop_wait(None))  # pyright: ignore[reportPrivateUsage]
        step = next(steps)
        for _ in range(3):
            assert isinstance(step, Command)
            assert step.timeout == 5
            step = steps.send(None)
        with pytest.raises(StopIteration) as end:
            steps.send([b"jobs", b"sweep"])
        assert end.value.value == "sweep"

    def test_what_was_taken_and_not_confirmed_is_read(self) -> None:
        command = pop_wait(60)
        steps = servers._in_slices(command)  # pyright: ignore[reportPrivateUsage]
        step = next(steps)
        assert isinstance(step, Command)
        error = NotReplicated("too few", step, [b"jobs", b"sweep"])
        with pytest.raises(NotReplicated) as failed:
            steps.throw(error)
        assert failed.value.result == "sweep"
        assert failed.value.command is command

    @pytest.mark.parametrize(("taken", "given"), [(None, None), ([], None), (b"a", [b"jobs", b"a"])])
    def test_what_is_taken_at_once_reads_as_what_is_waited_for(self, taken: Reply, given: Reply) -> None:
        assert recorded._with_key(pop_wait(1), taken) == given  # pyright: ignore[reportPrivateUsage]


def test_a_certificate_of_ours_that_is_refused_late_is_told_as_such() -> None:
    refused = redis.exceptions.ConnectionError("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] certificate required")
    command = Command(Op("INCR"), (b"hits",), (), integer)
    error = failures.broken(Configuration(transport="tls"), command, refused, sent=True)
    assert isinstance(error, ConfigurationError)
    assert "ssl_certfile" in str(error)


def test_whoever_has_waited_for_his_turn_for_too_long_finds_out_himself() -> None:
    turns = _Turns()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.take(1):
            held.set()
            over.wait(60)

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        held.wait(60)
        with turns.take(0.01):
            over.set()
        holding.result(60)
    with turns.take(60):
        pass


@pytest.mark.parametrize("role", [redis.exceptions.NoPermissionError("no"), [b"slave", b"h", 1, b"connected", 0]])
def test_who_does_not_tell_how_many_replicas_there_are_is_not_quoted(role: Answer) -> None:
    where = Configuration(wait_replicas=2)
    steps = exchange.one_with(where, Command(Op("INCR"), (b"hits",), (), integer))
    assert next(steps)[-1] == ("WAIT", 2, 100)
    assert steps.send([5, 1]) == [("ROLE",)]
    with pytest.raises(
        NotReplicated, match=r"1 of 2 replicas confirmed it within the 0\.1 s of wait_timeout$"
    ) as failed:
        steps.send([role])
    assert (failed.value.result, failed.value.confirmed) == (5, 1)


class NeverSteady(MemoryBackend):
    """A backend whose servers lose each scan."""

    def steady(self) -> NeverSteady:
        return self

    def execute(self, command: Command[R]) -> R:
        lose(command)
        return super().execute(command)


class AsyncNeverSteady(AsyncMemoryBackend):
    """The same under asyncio."""

    def steady(self) -> AsyncNeverSteady:
        return self

    async def execute(self, command: Command[R]) -> R:
        lose(command)
        return await super().execute(command)


def lose(command: Command[object]) -> None:
    if command.op.scans and command.args[0] != 0:
        raise CursorLost from ConnectionFailed("the server is gone")


class TestIterationsThatNeverComeFurther:
    UNSTEADY = Configuration(transport="memory", name="never-steady")

    @pytest.fixture(autouse=True)
    def filled(self) -> None:
        with redisext.connect("memory://never-steady") as db:
            HashMap[str, int]("stock", db).update({str(number): number for number in range(2_000)})

    def test_end_with_the_reason(self) -> None:
        seen: list[str] = []
        with pytest.raises(ConnectionFailed, match="the server is gone"):
            seen.extend(HashMap[str, int]("stock", NeverSteady(self.UNSTEADY)))
        assert len(seen) <= 4 * 1_000

    def test_so_they_do_under_asyncio(self) -> None:
        async def main() -> int:
            stock = AsyncHashMap[str, int]("stock", AsyncNeverSteady(self.UNSTEADY))
            return len([key async for key in stock])

        with pytest.raises(ConnectionFailed, match="the server is gone"):
            asyncio.run(main())


def have_fail(monkeypatch: pytest.MonkeyPatch, port: int, reason: Exception) -> None:
    """Have each write to the server there fail, before anything was sent."""
    send = Connection.send

    def fail(self: Connection, packed: bytes) -> None:
        if self.where.port == port:
            raise reason
        send(self, packed)

    monkeypatch.setattr(Connection, "send", fail)


class TestTogether:
    @pytest.fixture
    def db(self, cluster: Cluster) -> Iterator[Backend]:
        cluster.flush()
        with redisext.connect(cluster.url) as db:
            for key in "abc":
                Counter[int](key, db).incr()
            yield db

    def test_a_part_that_cannot_be_sent_fails_alone(
        self, cluster: Cluster, db: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = cluster.node_of("a").port
        expected = [2 if cluster.node_of(key).port != port else None for key in "abc"]
        have_fail(monkeypatch, port, redis.exceptions.ConnectionError("reset"))
        added: list[Pending[int]] = []
        with pytest.raises(BatchError, match="of 3 commands of the batch failed"), db.batch() as batch:
            added += [batch.add(Counter[int](key, db).commands.incr()) for key in "abc"]
        assert [one.result() if one.succeeded else None for one in added] == expected
        assert {type(one.error) for one in added if one.error} <= {ConnectionFailed, OutcomeUnknown}

    def test_what_is_no_fault_of_the_connection_is_not_hidden(
        self, cluster: Cluster, db: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        have_fail(monkeypatch, cluster.node_of("a").port, RuntimeError("a bug"))
        with pytest.raises(RuntimeError, match="a bug"), db.batch() as batch:
            batch.add(Counter[int]("a", db).commands.incr())


def test_one_thread_finds_out_for_all(sentinels: Sentinels) -> None:
    before = sum(calls(one, "sentinel|master") for one in sentinels.sentinels)
    ready = threading.Barrier(16)
    with redisext.connect(sentinels.url) as db, ThreadPoolExecutor(16) as threads:

        def incr() -> int:
            ready.wait()
            return Counter[int]("threads", db).incr()

        results = [one.result(60) for one in [threads.submit(incr) for _ in range(16)]]
    assert sorted(results) == list(range(min(results), min(results) + 16))
    # A majority is asked, by one; another may have come a moment before that was known.
    assert sum(calls(one, "sentinel|master") for one in sentinels.sentinels) - before <= 8


def test_threads_that_wait_for_an_answer_share_the_error() -> None:
    hosts = ",".join(f"127.0.0.1:{free_port()}" for _ in range(3))
    ready = threading.Barrier(16)
    with redisext.connect(f"redis+sentinel://{hosts}/main/0") as db, ThreadPoolExecutor(16) as threads:

        def incr() -> Exception | None:
            ready.wait()
            try:
                Counter[int]("threads", db).incr()
            except ConnectionFailed as error:
                return error
            return None

        errors = [one.result(60) for one in [threads.submit(incr) for _ in range(16)]]
    assert all("no Sentinel answers" in str(one) for one in errors)
    assert len(set(map(id, errors))) == 16
