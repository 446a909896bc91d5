"""What becomes of batches and transactions when the server or the network fails, and who gets what of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

import redisext
from redisext import Backend, Counter, HashMap, Map, Queue
from redisext.backend.connections import Connection
from redisext.batch import CHUNK_COMMANDS, AsyncTransaction, Pending
from redisext.command import Command, Steps
from redisext.errors import (
    BatchError,
    CommandRefused,
    ConfigurationError,
    Conflict,
    ConnectionFailed,
    NotReady,
    OutcomeUnknown,
    PermissionDenied,
    Timeout,
    WrongType,
)
from tests.backend.observe import calls, connections
from tests.backend.test_failures import BRIEF, Hold, answer
from tests.backend.test_replicas import in_step
from tests.blocks import (
    Added,
    AsyncDriver,
    Block,
    Driver,
    Kind,
    add_all,
    chunks,
    no_steps,
    reading,
)
from tests.proxy import Proxy, drop, forward
from tests.servers import RedisServer, Replicated, free_port, wait_until
from tests.threads import PATIENCE, start

kinds = pytest.mark.parametrize("kind", ["batch", "transaction"])


@pytest.fixture
def driver(proxy: Proxy, made: Callable[..., Driver]) -> Driver:
    """One whose connections through the proxy, for commands and for transactions, are open."""
    driver = made(proxy.url)
    warm(driver)
    return driver


@pytest.fixture
def hasty(proxy: Proxy, made: Callable[..., Driver]) -> Driver:
    """The same, for a test in which a reply does not come."""
    driver = made(proxy.url, socket_timeout=BRIEF)
    warm(driver)
    return driver


@pytest.fixture
def hold() -> Iterator[Hold]:
    hold = Hold()
    yield hold
    hold.let_go()


def warm(driver: Driver) -> None:
    for kind in ("batch", "transaction"):
        driver.fill(kind, add_all([Counter[int]("warm", driver.url).commands.incr()]))


def failures(added: Added) -> list[object]:
    """The result of each, or its error's class."""
    assert all(one.done for one in added.pending)
    return [one.result() if one.error is None else type(one.error) for one in added.pending]


class TestRoundTrips:
    @kinds
    def test_all_leaves_in_one_write(self, proxy: Proxy, driver: Driver, kind: Kind) -> None:
        hits, requests = Counter[int]("hits", proxy.url), list[bytes]()

        def note(data: bytes) -> bytes:
            requests.append(data)
            return data

        proxy.on_request = note
        pending = driver.fill(kind, add_all([hits.commands.incr() for _ in range(200)]))
        assert [one.result() for one in pending] == list(range(1, 201))
        assert len(requests) == 1
        assert requests[0].count(b"INCRBY") == 200
        assert (requests[0].count(b"MULTI"), requests[0].count(b"EXEC")) == ((0, 0) if kind == "batch" else (1, 1))

    @kinds
    def test_an_empty_block_does_not_even_connect(self, proxy: Proxy, made: Callable[..., Driver], kind: Kind) -> None:
        driver = made(proxy.url)
        assert driver.fill(kind, lambda _: 5) == 5
        assert proxy.connections == 0

    def test_a_chunk_waits_for_the_replies_to_the_one_before(
        self, proxy: Proxy, server: RedisServer, driver: Driver, hold: Hold
    ) -> None:
        hits = Counter[int]("hits", proxy.url)
        before = calls(server, "incrby")
        proxy.on_reply = hold
        filling = start(lambda: driver.fill("batch", add_all([hits.commands.incr() for _ in range(2_500)])))
        wait_until(lambda: calls(server, "incrby") == before + CHUNK_COMMANDS, "the first chunk is carried out")
        time.sleep(0.05)
        assert calls(server, "incrby") == before + CHUNK_COMMANDS
        hold.let_go()
        assert [one.result() for one in filling.result(PATIENCE)] == list(range(1, 2_501))
        assert calls(server, "incrby") == before + 2_500

    def test_a_batch_may_be_larger_than_what_the_system_takes_in(self, driver: Driver) -> None:
        note = Queue[bytes]("note", driver.url)
        value = b"x" * 20_000_000
        pending = driver.fill("batch", add_all([note.commands.push(value), *[note.commands.items() for _ in range(3)]]))
        assert [one.result() for one in pending] == [1, [value], [value], [value]]


class TestServerDown:
    def test_each_command_has_the_reason_and_the_rest_is_not_tried(
        self, made: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        driver = made(f"redis://user:s3cret@127.0.0.1:{free_port()}/0")
        sent = chunks(driver, monkeypatch)
        hits = Counter[int]("hits", driver.db.location)
        added = Added(*(hits.commands.incr() for _ in range(CHUNK_COMMANDS * 2)))
        with pytest.raises(BatchError, match=r"^2,000 of 2,000 commands of the batch failed: ") as failed:
            driver.fill("batch", added)
        assert failures(added) == [ConnectionFailed] * CHUNK_COMMANDS * 2
        assert len(sent) == 1
        assert str(failed.value.exceptions[-1]).startswith(f"cannot reach {driver.db.location}: ")
        assert "s3cret" not in str(failed.value.exceptions[-1])

    def test_a_transaction_was_not_begun(self, made: Callable[..., Driver]) -> None:
        driver = made(f"redis://127.0.0.1:{free_port()}/0")
        added = Added(Counter[int]("hits", driver.url).commands.incr())
        with pytest.raises(BatchError, match=r"^1 of 1 commands of the transaction failed: INCRBY on key 'hits'"):
            driver.fill("transaction", added)
        assert failures(added) == [ConnectionFailed]
        with pytest.raises(ConnectionFailed, match=r"^cannot reach"):
            driver.transact(lambda tx: no_steps(None), watch=["hits"])

    @kinds
    def test_a_server_that_is_back_is_used_again(
        self, own_server: RedisServer, made: Callable[..., Driver], kind: Kind
    ) -> None:
        driver = made(own_server.url)
        commands: list[Command[object]] = [Counter[int]("hits", own_server.url).commands.incr()]
        warm(driver)
        own_server.kill()
        for _ in range(3):
            added = Added(*commands)
            with pytest.raises(BatchError):
                driver.fill(kind, added)
            assert failures(added) == [ConnectionFailed]
        own_server.start()
        assert [one.result() for one in driver.fill(kind, add_all(commands))] == [1]

    @kinds
    def test_a_connection_that_was_closed_while_idle_is_not_used(
        self, own_server: RedisServer, made: Callable[..., Driver], kind: Kind
    ) -> None:
        driver = made(own_server.url)
        warm(driver)
        own_server.restart()
        [pending] = driver.fill(kind, add_all([Counter[int]("hits", own_server.url).commands.incr()]))
        assert pending.result() == 1


class FirstPart:
    """A rule of the proxy: let the first piece through, then do as *then* does."""

    def __init__(self, then: Callable[[bytes], bytes | None]) -> None:
        self._then = then
        self._first = True

    def __call__(self, data: bytes) -> bytes | None:
        if self._first:
            self._first = False
            return data
        return self._then(data)


def drop_later(data: bytes) -> None:
    """Break the connection, when what went before has arrived."""
    time.sleep(0.1)


class TestBrokenInTheMidst:
    BIG = "x" * 1_000_000
    """Comes in several pieces."""

    def commands(self, driver: Driver, server: RedisServer) -> list[Command[object]]:
        server.call("SET", "note", self.BIG)
        hits, note = Counter[int]("hits", driver.url).commands, Map[str]("note", driver.url).commands
        return [hits.incr(), hits.get(), note.get(), hits.incr(), hits.get(), note.set("y")]

    def test_what_was_answered_has_its_result(self, proxy: Proxy, server: RedisServer, driver: Driver) -> None:
        added = Added(*self.commands(driver, server))
        opened = proxy.connections
        proxy.on_reply = FirstPart(drop_later)
        with pytest.raises(BatchError, match=r"^4 of 6 commands of the batch failed") as failed:
            driver.fill("batch", added)
        assert failures(added) == [1, 1, ConnectionFailed, OutcomeUnknown, ConnectionFailed, OutcomeUnknown]
        assert failed.value.commands == tuple(added.commands[2:])
        unknown = added.pending[3].error
        assert isinstance(unknown, OutcomeUnknown)
        assert unknown.command is added.commands[3]
        assert server.call("GET", "hits") == b"2"
        proxy.on_reply = forward
        [pending] = driver.fill("batch", add_all([Counter[int]("hits", driver.url).commands.incr()]))
        assert pending.result() == 3
        assert proxy.connections == opened + 1

    def test_so_it_has_when_the_rest_does_not_come_in_time(
        self, proxy: Proxy, server: RedisServer, hasty: Driver, hold: Hold
    ) -> None:
        added = Added(*self.commands(hasty, server))
        proxy.on_reply = FirstPart(hold)
        with pytest.raises(BatchError):
            hasty.fill("batch", added)
        assert failures(added) == [1, 1, Timeout, OutcomeUnknown, Timeout, OutcomeUnknown]
        proxy.on_reply = forward
        hold.let_go()
        [pending] = hasty.fill("batch", add_all([Counter[int]("hits", hasty.url).commands.incr()]))
        assert pending.result() == 3

    def test_one_command_that_was_certainly_not_sent(
        self, proxy: Proxy, server: RedisServer, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent = chunks(driver, monkeypatch)
        proxy.on_request = drop
        push = Queue[bytes]("jobs", driver.url).commands.push(b"x" * 50_000_000)
        added = Added(push, push)
        with pytest.raises(BatchError):
            driver.fill("batch", added)
        if isinstance(driver, AsyncDriver):  # it is not known there how much was written
            assert failures(added) == [OutcomeUnknown, ConnectionFailed]
        else:
            assert failures(added) == [ConnectionFailed, ConnectionFailed]
            assert len(sent) == 1
        assert server.call("LLEN", "jobs") == 0

    @kinds
    def test_what_is_asked_about_an_error_may_remain_unanswered(
        self, proxy: Proxy, server: RedisServer, driver: Driver, kind: Kind
    ) -> None:
        server.call("SET", "name", "Ada")
        hits, name = Counter[int]("hits", driver.url).commands, Queue[str]("name", driver.url).commands
        added = Added(hits.incr(), name.push("sweep"))
        proxy.on_request = lambda data: None if b"TYPE" in data else data
        with pytest.raises(BatchError):
            driver.fill(kind, added)
        assert failures(added) == [1, WrongType]
        assert str(added.pending[1].error).startswith("key 'name' holds a value of another type, and LPUSH works on")
        proxy.on_request = forward
        [pending] = driver.fill(kind, add_all([Counter[int]("hits", driver.url).commands.incr()]))
        assert pending.result() == 2

    def test_a_transaction_whose_outcome_did_not_arrive(
        self, proxy: Proxy, server: RedisServer, driver: Driver
    ) -> None:
        hits, name = Counter[int]("hits", driver.url).commands, Map[str]("name", driver.url).commands
        added = Added(hits.incr(), name.set("Ada"), hits.get())
        proxy.on_reply = drop
        with pytest.raises(BatchError):
            driver.fill("transaction", added)
        assert failures(added) == [OutcomeUnknown, OutcomeUnknown, ConnectionFailed]
        assert server.call("GET", "hits") == b"1"
        proxy.on_reply = forward
        [pending] = driver.fill("transaction", add_all([hits.incr()]))
        assert pending.result() == 2

    def test_a_transaction_is_not_tried_again_when_its_outcome_is_unknown(
        self, proxy: Proxy, server: RedisServer, driver: Driver
    ) -> None:
        hits = Counter[int]("hits", driver.url)
        called: list[Block] = []

        def break_at_the_end(data: bytes) -> bytes:
            if b"MULTI" in data:
                proxy.on_reply = drop
            return data

        def fn(tx: Block) -> Steps[None]:
            called.append(tx)
            yield from hits.commands.get()
            tx.add(hits.commands.incr())

        proxy.on_request = break_at_the_end
        with pytest.raises(BatchError) as failed:
            driver.transact(fn, watch=[hits])
        assert [type(one) for one in failed.value.exceptions] == [OutcomeUnknown]
        assert len(called) == 1
        assert server.call("GET", "hits") == b"1"

    def test_a_connection_that_breaks_before_what_is_watched_is_read(self, proxy: Proxy, driver: Driver) -> None:
        hits = Counter[int]("hits", driver.url)
        proxy.on_reply = drop
        with pytest.raises(ConnectionFailed, match="broke during WATCH"):
            driver.transact(lambda tx: no_steps(None), watch=[hits])
        proxy.on_reply = forward
        warm(driver)
        proxy.on_reply = lambda data: data if data.startswith(b"+OK") else None
        opened = proxy.connections
        with pytest.raises(ConnectionFailed, match="broke during GET"):
            driver.transact(reading(hits.commands.get()), watch=[hits])
        assert proxy.connections == opened


class TestServersAnswer:
    ANSWERS = (
        (b"-LOADING Redis is loading the dataset in memory\r\n", ConnectionFailed, "is not ready yet: "),
        (b"-NOAUTH Authentication required.\r\n", ConfigurationError, "refused the user or the password"),
    )

    @kinds
    @pytest.mark.parametrize(("line", "error", "reason"), ANSWERS, ids=["loading", "no authentication"])
    def test_one_that_refuses_everything_has_done_nothing(
        self, proxy: Proxy, driver: Driver, kind: Kind, line: bytes, error: type[Exception], reason: str
    ) -> None:
        hits = Counter[int]("hits", driver.url).commands
        added = Added(hits.incr(), hits.get(), hits.incr())
        proxy.on_reply = answer(line * (3 if kind == "batch" else 5))
        with pytest.raises(BatchError, match=r"^3 of 3") as failed:
            driver.fill(kind, added)
        assert failures(added) == [error] * 3
        assert failed.value.__cause__ is None
        assert all(reason in str(one.error) for one in added.pending)
        assert all(one.error is not None and one.error.__cause__ is not None for one in added.pending)

    def test_a_user_without_a_right_is_denied_what_needs_it(
        self, own_server: RedisServer, made: Callable[..., Driver]
    ) -> None:
        own_server.call("ACL", "SETUSER", "ada", "on", ">s3cret", "~*", "+@all", "-incrby")
        url = own_server.url.replace("//", "//ada:s3cret@")
        driver = made(url)
        commands: list[Command[object]] = [
            Map[int]("best", url).commands.set(5),
            Counter[int]("hits", url).commands.incr(),
            Map[int]("best", url).commands.get(),
        ]
        added = Added(*commands)
        with pytest.raises(BatchError, match=r"^1 of 3 commands of the batch failed: INCRBY on key 'hits'"):
            driver.fill("batch", added)
        assert failures(added) == [True, PermissionDenied, 5]
        own_server.call("FLUSHALL")
        added = Added(*commands)
        with pytest.raises(BatchError, match=r"^3 of 3 commands of the transaction failed"):
            driver.fill("transaction", added)
        assert failures(added) == [CommandRefused, PermissionDenied, CommandRefused]
        assert str(added.pending[0].error).startswith(
            "SET on key 'best' was not carried out, nor was the rest of its transaction: "
        )
        assert own_server.call("DBSIZE") == 0

    def test_a_user_who_may_not_begin_a_transaction_is_told_that_there_was_none(
        self, own_server: RedisServer, made: Callable[..., Driver]
    ) -> None:
        own_server.call("ACL", "SETUSER", "ada", "on", ">s3cret", "~*", "+@all", "-multi")
        url = own_server.url.replace("//", "//ada:s3cret@")
        driver = made(url)
        hits, name = Counter[int]("hits", url), Queue[str]("name", url)
        told = "refused to begin a transaction, and carried the commands out one by one: "
        added = Added(hits.commands.incr())
        with pytest.raises(CommandRefused, match=told):
            driver.fill("transaction", added)
        assert failures(added) == [1]
        Map[str]("name", url).set("Ada")
        added = Added(hits.commands.incr(), name.commands.push("sweep"))
        with pytest.raises(BatchError, match=r"^1 of 2") as failed:
            driver.fill("transaction", added)
        assert failures(added) == [2, WrongType]
        assert isinstance(failed.value.__cause__, CommandRefused)
        assert told in str(failed.value.__cause__)
        with pytest.raises(CommandRefused, match=told):
            driver.transact(lambda tx: no_steps(None), watch=["hits"])

    def test_a_user_who_may_not_end_one_leaves_none_open(
        self, own_server: RedisServer, made: Callable[..., Driver]
    ) -> None:
        own_server.call("ACL", "SETUSER", "ada", "on", ">s3cret", "~*", "+@all", "-exec", "-type")
        url = own_server.url.replace("//", "//ada:s3cret@")
        driver = made(url, max_connections=2)
        hits = Counter[int]("hits", url)
        for _ in range(3):
            added = Added(hits.commands.incr(), hits.commands.incr())
            with pytest.raises(BatchError, match=r"^2 of 2"):
                driver.fill("transaction", added)
            assert failures(added) == [CommandRefused] * 2
        assert driver.transact(reading(hits.commands.get(5)), watch=[]) == 5
        assert driver.execute(hits.commands.incr()) == 1
        Map[str]("name", url).set("Ada")
        added = Added(Queue[str]("name", url).commands.push("sweep"), hits.commands.incr())
        with pytest.raises(BatchError):
            driver.fill("batch", added)
        assert failures(added) == [WrongType, 2]

    def test_a_user_who_may_not_watch_is_told(self, own_server: RedisServer, made: Callable[..., Driver]) -> None:
        own_server.call("ACL", "SETUSER", "ada", "on", ">s3cret", "~*", "+@all", "-watch")
        driver = made(own_server.url.replace("//", "//ada:s3cret@"))
        with pytest.raises(PermissionDenied, match="may not run WATCH on key 'hits'"):
            driver.transact(lambda tx: no_steps(None), watch=["hits"])

    def test_a_script_refused_for_one_key_is_run_for_another(
        self, own_server: RedisServer, made: Callable[..., Driver]
    ) -> None:
        own_server.call("ACL", "SETUSER", "ada", "on", ">s3cret", "~mine*", "+@all")
        own_server.call("HSET", "mine", "apples", "3")
        url = own_server.url.replace("//", "//ada:s3cret@")
        driver = made(url)
        yours, mine = HashMap[str, int]("yours", url), HashMap[str, int]("mine", url)
        added = Added(yours.commands.pop("apples", 0), yours.commands.pop("apples", 0), mine.commands.pop("apples", 0))
        with pytest.raises(BatchError):
            driver.fill("batch", added)
        assert failures(added) == [PermissionDenied, PermissionDenied, 3]

    def test_one_out_of_memory_refuses_the_whole_transaction(
        self, own_server: RedisServer, made: Callable[..., Driver]
    ) -> None:
        driver = made(own_server.url)
        hits, name = Counter[int]("hits", own_server.url), Map[str]("name", own_server.url)
        own_server.call("SET", "hits", "5")
        own_server.call("CONFIG", "SET", "maxmemory", "1")
        commands: list[Command[object]] = [name.commands.delete(), name.commands.set("Ada"), hits.commands.get()]
        added = Added(*commands)
        with pytest.raises(BatchError, match=r"^1 of 3"):
            driver.fill("batch", added)
        assert failures(added) == [False, CommandRefused, 5]
        added = Added(hits.commands.expire(60), *commands)
        with pytest.raises(BatchError, match=r"^4 of 4"):
            driver.fill("transaction", added)
        assert failures(added) == [CommandRefused] * 4
        # While memory lacks, it does not even queue what needs none.
        assert all("maxmemory" in str(one.error) for one in added.pending)
        assert own_server.call("TTL", "hits") == -1

    def test_what_is_garbage_ends_the_connection(self, proxy: Proxy, driver: Driver) -> None:
        hits = Counter[int]("hits", driver.url).commands
        added = Added(hits.incr(), hits.get())
        proxy.on_reply = answer(b":7\r\n\x00\xff\r\n")
        with pytest.raises(BatchError):
            driver.fill("batch", added)
        assert failures(added) == [7, ConnectionFailed]
        proxy.on_reply = forward
        [pending] = driver.fill("batch", add_all([hits.incr()]))
        assert pending.result() == 2


class TestReplicas:
    @pytest.fixture
    def primary(self, replicated: Replicated) -> RedisServer:
        replicated.primary.call("FLUSHALL")
        in_step(replicated)
        return replicated.primary

    @pytest.fixture
    def replica(self, replicated: Replicated) -> RedisServer:
        [replica] = replicated.replicas
        return replica

    @pytest.fixture
    def with_replica(
        self, primary: RedisServer, replica: RedisServer, name: str, made: Callable[..., Driver]
    ) -> Driver:
        return made(primary.url, replicas=[f"{replica.url}?client_name={name}"], client_name=name)

    def commands(self, url: str) -> list[Command[object]]:
        hits, stock = Counter[int]("hits", url).commands, HashMap[str, int]("stock", url).commands
        return [hits.get(0), hits.incr(), stock.pop("apples", 0), hits.get(0), hits.incr(), stock.all()]

    def counts(self, primary: RedisServer, replica: RedisServer) -> list[int]:
        return [calls(one, word) for one in (primary, replica) for word in ("incrby", "get", "hgetall")]

    def test_in_a_batch_what_only_reads_goes_there(
        self, replicated: Replicated, primary: RedisServer, replica: RedisServer, with_replica: Driver
    ) -> None:
        primary.call("SET", "hits", "5")
        primary.call("HSET", "stock", "apples", "3")
        in_step(replicated)
        before = self.counts(primary, replica)
        # Writes are replicated while the batch runs, so what it reads may be old or new.
        read, *others = with_replica.fill("batch", add_all(self.commands(primary.url)))
        assert read.result() in (5, 6, 7)
        assert [others[0].result(), others[1].result(), others[3].result()] == [6, 3, 7]
        in_step(replicated)
        after = self.counts(primary, replica)
        assert [there - then for there, then in zip(after, before, strict=True)] == [2, 0, 0, 2, 2, 1]

    def test_a_batch_of_the_primary_sends_it_all(
        self, primary: RedisServer, replica: RedisServer, with_replica: Driver, name: str
    ) -> None:
        for kind in ("batch", "transaction"):
            primary.call("FLUSHALL")
            primary.call("HSET", "stock", "apples", "3")
            pending = with_replica.fill(kind, add_all(self.commands(primary.url)), primary=True)
            assert [one.result() for one in pending] == [0, 1, 3, 1, 2, {}]
        assert connections(replica, name) == []

    def test_a_transaction_goes_to_the_primary(
        self, primary: RedisServer, replica: RedisServer, with_replica: Driver, name: str
    ) -> None:
        pending = with_replica.fill("transaction", add_all(self.commands(primary.url)))
        assert [one.result() for one in pending] == [0, 1, 0, 1, 2, {}]
        hits = Counter[int]("hits", primary.url)

        def fn(tx: Block) -> Steps[int]:
            seen = yield from hits.commands.get(0)
            tx.add(hits.commands.incr())
            return seen

        for number in range(2, 50):
            assert with_replica.transact(fn, watch=[hits]) == number
        assert connections(replica, name) == []

    def test_an_error_there_is_that_of_its_command(
        self, replicated: Replicated, primary: RedisServer, with_replica: Driver
    ) -> None:
        primary.call("SET", "name", "Ada")
        in_step(replicated)
        added = Added(
            Queue[str]("name", primary.url).commands.size(), Queue[str]("name", primary.url).commands.push("sweep")
        )
        with pytest.raises(BatchError, match=r"LLEN on key 'name' \(WrongType\), LPUSH on key 'name' \(WrongType\)$"):
            with_replica.fill("batch", added)
        assert failures(added) == [WrongType, WrongType]

    def test_one_that_is_down_fails_only_what_it_was_to_answer(
        self, primary: RedisServer, made: Callable[..., Driver]
    ) -> None:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        driver = made(primary.url, replicas=[nowhere])
        added = Added(*self.commands(primary.url))
        with pytest.raises(BatchError, match=r"^3 of 6 commands of the batch failed: GET on key 'hits', GET on"):
            driver.fill("batch", added)
        assert failures(added) == [ConnectionFailed, 1, 0, ConnectionFailed, 2, ConnectionFailed]
        assert str(added.pending[0].error).startswith(f"cannot reach {nowhere}: ")

    def test_a_primary_that_is_down_fails_the_others(
        self, replica: RedisServer, primary: RedisServer, made: Callable[..., Driver]
    ) -> None:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        driver = made(nowhere, replicas=[replica.url])
        added = Added(*self.commands(nowhere))
        with pytest.raises(BatchError, match=r"^3 of 6"):
            driver.fill("batch", added)
        assert failures(added) == [0, *[ConnectionFailed] * 2, 0, ConnectionFailed, {}]

    def test_both_down_are_told_each_for_its_own(self, made: Callable[..., Driver]) -> None:
        nowhere, neither = (f"redis://127.0.0.1:{free_port()}/0" for _ in range(2))
        driver = made(nowhere, replicas=[neither])
        added = Added(*self.commands(nowhere))
        with pytest.raises(BatchError, match=r"^6 of 6"):
            driver.fill("batch", added)
        assert failures(added) == [ConnectionFailed] * 6
        where = [neither if one.command.op.reads else nowhere for one in added.pending]
        assert [str(one.error).split(": ")[0] for one in added.pending] == [f"cannot reach {one}" for one in where]


class TestCancellation:
    """Of a task whose replies are due."""

    @pytest.mark.parametrize("number", [1, 50])
    def test_nobody_elses_replies_are_shifted(self, proxy: Proxy, server: RedisServer, number: int) -> None:
        async def main() -> None:
            cancelled = Added(*(Counter[int]("hits", proxy.url).commands.incr() for _ in range(number)))
            names = [Map[str](f"name-{one}", proxy.url).commands for one in range(20)]
            hold = Hold()
            async with redisext.aconnect(proxy.url) as adb:

                async def fill() -> None:
                    async with adb.batch() as batch:
                        cancelled(batch)

                async def name_it(one: int) -> list[object]:
                    async with adb.batch() as batch:
                        pending = [batch.add(names[one].set(f"{one}")), batch.add(names[one].get())]
                    return [each.result() for each in pending]

                await adb.execute(names[0].get())
                before = calls(server, "incrby")
                proxy.on_reply = hold
                first = asyncio.create_task(fill())
                await asyncio.to_thread(
                    wait_until, lambda: calls(server, "incrby") == before + number, "the server has carried it out"
                )
                others = [asyncio.create_task(name_it(one)) for one in range(20)]
                await asyncio.sleep(0.01)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                proxy.on_reply = forward
                hold.let_go()
                assert await asyncio.gather(*others) == [[True, str(one)] for one in range(20)]
                assert proxy.connections == 1
            for pending in cancelled.pending:
                assert not pending.done
                with pytest.raises(NotReady, match="CancelledError cut in while it was carried out"):
                    pending.result()

        asyncio.run(main())

    @pytest.mark.parametrize("at", ["GET", "EXEC"])
    def test_a_transactions_connection_is_nobody_elses_afterwards(
        self, proxy: Proxy, server: RedisServer, at: str
    ) -> None:
        async def main() -> None:
            hits = Counter[int]("hits", proxy.url)
            added: list[Pending[int]] = []
            hold = Hold()
            reached = asyncio.Event()
            loop = asyncio.get_running_loop()

            async def fn(tx: AsyncTransaction) -> None:
                await tx.read(hits.commands.get())
                added.append(tx.add(hits.commands.incr()))

            def notice(data: bytes) -> bytes:
                if at.encode() in data:
                    proxy.on_reply = hold
                    loop.call_soon_threadsafe(reached.set)
                return data

            async with redisext.aconnect(proxy.url, max_connections=2) as adb:
                proxy.on_request = notice
                task = asyncio.create_task(adb.transact(fn, watch=[hits]))
                await asyncio.wait_for(reached.wait(), PATIENCE)
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                proxy.on_request = forward
                proxy.on_reply = forward
                hold.let_go()
                before = {"GET": 0, "EXEC": 1}[at]
                assert server.call("GET", "hits") == (b"%d" % before if before else None)
                for one in added:
                    with pytest.raises(NotReady, match="CancelledError cut in while it was carried out"):
                        one.result()
                async with adb.transaction() as tx:
                    pending = tx.add(hits.commands.incr())
                assert pending.result() == before + 1

        asyncio.run(main())


class TestConnections:
    def test_those_of_conflicts_are_kept(
        self, server: RedisServer, url: str, name: str, made: Callable[..., Driver]
    ) -> None:
        """EXEC has ended the watching, whatever came of it."""
        driver = made(url, client_name=name)
        with redisext.connect(url) as other:
            hits = Counter[int]("hits", other)

            def fn(tx: Block) -> Steps[None]:
                hits.incr()
                tx.add(hits.commands.incr())
                return (yield from no_steps(None))

            opened = int(server.info("stats")["total_connections_received"])
            with pytest.raises(Conflict):
                driver.transact(fn, watch=[hits], attempts=5)
        assert len(connections(server, name)) == 1
        # One of ours, one of the other's, and two to count them.
        assert int(server.info("stats")["total_connections_received"]) == opened + 4

    def test_without_reuse_they_end_with_the_batch(self, server: RedisServer, url: str, name: str) -> None:
        class Hits(Counter[int]):
            CONNECTION = f"{url}?client_name={name}"
            CONNECTION_REUSE = False

        hits = Hits("hits")
        db: Backend = hits.backend
        with db.batch() as batch:
            pending = [batch.add(hits.commands.incr()) for _ in range(5)]
        assert [one.result() for one in pending] == [1, 2, 3, 4, 5]
        with db.transaction() as tx:
            last = tx.add(hits.commands.incr())
        assert last.result() == 6
        wait_until(lambda: connections(server, name) == [], "the server has seen it")

        async def main() -> None:
            class AsyncHits(redisext.AsyncCounter[int]):
                CONNECTION = f"{url}?client_name={name}"
                CONNECTION_REUSE = False

            ahits = AsyncHits("hits")
            async with ahits.backend.batch() as batch:
                pending = [batch.add(hits.commands.incr()) for _ in range(5)]
            assert [one.result() for one in pending] == [7, 8, 9, 10, 11]

        asyncio.run(main())
        wait_until(lambda: connections(server, name) == [], "the server has seen it")


def test_what_is_no_failure_of_the_connection_passes_and_costs_the_connection(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_into(connection: object, answers: list[object], count: int) -> None:
        raise LookupError("odd")

    with redisext.connect(url) as db:
        hits = Counter[int]("hits", db)
        hits.incr()
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "read_into", read_into)
            with pytest.raises(LookupError, match="odd"), db.batch() as batch:
                batch.add(hits.commands.incr())
        assert hits.incr() == 3  # not the reply that was due
