"""The tools themselves: that each fault is what it says, and that each check finds what it is there to find."""

from __future__ import annotations

import asyncio
import itertools
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

import redisext
from redisext.backend.abc import Backend
from redisext.command import Command, Op
from redisext.errors import BatchError, CommandRefused, Conflict, ConnectionFailed, OutcomeUnknown, Timeout
from tests.faults import checker, linearizability, processes
from tests.faults.__main__ import main
from tests.faults.checker import Elements, Findings
from tests.faults.history import Cancelled, History, Outcome, Record
from tests.faults.linearizability import (
    Call,
    CounterModel,
    LockModel,
    Model,
    QueueModel,
    RegisterModel,
    StackModel,
    Verdict,
)
from tests.faults.processes import FaultyServer, settle
from tests.faults.redis_py import RedisPyBackend
from tests.faults.workload import (
    WORKLOADS,
    BatchWorkload,
    CounterWorkload,
    HashMapWorkload,
    LockWorkload,
    MapWorkload,
    PoolWorkload,
    PriorityQueueWorkload,
    QueueWorkload,
    SortedSetWorkload,
    StackWorkload,
    TransactionWorkload,
    UpdateWorkload,
    WaitingWorkload,
    Workload,
    after,
    judge,
    run_tasks,
    run_threads,
)
from tests.proxy import Commands, Fault, Kind, Proxy, Replies, at_random, every, the_next
from tests.servers import RedisServer, exchange, paused, wait_until
from tests.threads import PATIENCE, start

SEED: Final = 7


# --- The proxy


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    server.call("FLUSHALL")
    with Proxy(server.port) as proxy:
        yield proxy


def connection_to(proxy: Proxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE)


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the connection ends, however it does."""
    received = b""
    try:
        while data := connection.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received


def packed(*words: bytes) -> bytes:
    """A command as the protocol writes it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


INCR: Final = packed(b"INCR", b"hits")


class TestProxy:
    def test_a_command_that_is_dropped_never_arrives(self, proxy: Proxy, server: RedisServer) -> None:
        proxy.arm(Fault(Kind.DROP_COMMAND), the_next())
        with connection_to(proxy) as connection:
            connection.sendall(INCR)
            assert rest_of(connection) == b""
        assert server.call("GET", "hits") is None
        assert proxy.injected == {Kind.DROP_COMMAND: 1}

    def test_each_fourth_reply_is_dropped_when_the_server_has_acted(self, proxy: Proxy, server: RedisServer) -> None:
        proxy.arm(Fault(Kind.DROP_REPLY), every(4))
        answers: list[object] = []
        for _ in range(12):
            with connection_to(proxy) as connection:
                try:
                    answers.append(exchange(connection, "INCR", "hits"))
                except OSError:
                    answers.append(None)
        assert answers == [1, 2, 3, None, 5, 6, 7, None, 9, 10, 11, None]
        assert server.call("GET", "hits") == b"12"
        assert proxy.injected == {Kind.DROP_REPLY: 3}

    def test_of_a_reply_that_is_cut_so_many_bytes_arrive(self, proxy: Proxy, server: RedisServer) -> None:
        server.call("SET", "note", "hello")
        proxy.arm(Fault(Kind.CUT_REPLY, keep=6), the_next())
        with connection_to(proxy) as connection:
            connection.sendall(packed(b"GET", b"note"))
            assert rest_of(connection) == b"$5\r\nhe"

    def test_a_command_that_is_cut_is_not_carried_out(self, proxy: Proxy, server: RedisServer) -> None:
        proxy.arm(Fault(Kind.CUT_COMMAND, keep=len(INCR)), the_next())  # one byte is missing at least
        with connection_to(proxy) as connection:
            connection.sendall(INCR)
            assert rest_of(connection) == b""
        assert server.call("GET", "hits") is None

    def test_a_delayed_command_arrives_though_nobody_waits_for_it_any_more(
        self, proxy: Proxy, server: RedisServer
    ) -> None:
        proxy.arm(Fault(Kind.DELAY_COMMAND, seconds=0.1), the_next())
        with connection_to(proxy) as connection:
            connection.sendall(INCR)
        assert server.call("GET", "hits") is None
        wait_until(lambda: server.call("GET", "hits") == b"1", "it has arrived")

    def test_a_delayed_reply_takes_its_time(self, proxy: Proxy) -> None:
        proxy.arm(Fault(Kind.DELAY_REPLY, seconds=0.1), the_next())
        with connection_to(proxy) as connection:
            begun = time.monotonic()
            assert exchange(connection, "INCR", "hits") == 1
            assert time.monotonic() - begun >= 0.1

    @pytest.mark.parametrize("kind", [Kind.TRICKLE_COMMAND, Kind.TRICKLE_REPLY])
    def test_what_trickles_arrives_in_the_end(self, proxy: Proxy, server: RedisServer, kind: Kind) -> None:
        server.call("SET", "note", "x" * 50)
        proxy.arm(Fault(kind, seconds=0.05), the_next())
        with connection_to(proxy) as connection:
            connection.sendall(packed(b"GET", b"note"))
            pieces: list[bytes] = []
            while not b"".join(pieces).endswith(b"x\r\n"):
                pieces.append(connection.recv(65_536))
        assert b"".join(pieces) == b"$50\r\n" + b"x" * 50 + b"\r\n"
        assert (len(pieces) > 1) is (kind is Kind.TRICKLE_REPLY)

    def test_the_server_may_see_the_end_after_a_command_and_answer_it(self, proxy: Proxy) -> None:
        proxy.arm(Fault(Kind.HALF_CLOSE_COMMAND), the_next())
        with connection_to(proxy) as connection:
            connection.sendall(INCR)
            assert rest_of(connection) == b":1\r\n"

    def test_the_client_may_see_the_end_and_still_be_heard(self, proxy: Proxy, server: RedisServer) -> None:
        proxy.arm(Fault(Kind.HALF_CLOSE_REPLY), the_next())
        with connection_to(proxy) as connection:
            connection.sendall(INCR)
            assert connection.recv(100) == b""
            connection.sendall(INCR)
            wait_until(lambda: server.call("GET", "hits") == b"2", "it was heard")

    def test_garbage_comes_in_place_of_one_reply(self, proxy: Proxy) -> None:
        proxy.arm(Fault(Kind.GARBAGE_REPLY, garbage=b"?\r\n"), the_next(2))
        with connection_to(proxy) as connection:
            connection.sendall(INCR * 3)
            received = b""
            while not received.endswith(b":3\r\n"):
                received += connection.recv(100)
        assert received == b":1\r\n?\r\n:3\r\n"

    def test_connections_are_refused_for_a_time(self, proxy: Proxy) -> None:
        with connection_to(proxy) as before:
            assert exchange(before, "INCR", "hits") == 1
            with proxy.refusing():
                with pytest.raises(ConnectionRefusedError):
                    connection_to(proxy)
                assert exchange(before, "INCR", "hits") == 2
            with connection_to(proxy) as since:
                assert exchange(since, "INCR", "hits") == 3
        assert proxy.injected == {Kind.REFUSE: 1}

    def test_only_the_commands_that_are_named_are_struck(self, proxy: Proxy) -> None:
        proxy.arm(Fault(Kind.DROP_REPLY), every(1), "GET")
        with connection_to(proxy) as connection:
            assert exchange(connection, "INCR", "hits") == 1
            with pytest.raises(OSError):
                exchange(connection, "GET", "hits")

    def test_what_is_said_while_connecting_is_not_struck(self, proxy: Proxy) -> None:
        proxy.arm(Fault(Kind.DROP_COMMAND), every(1))
        with connection_to(proxy) as connection:
            assert exchange(connection, "CLIENT", "SETNAME", "x") == b"OK"
            assert exchange(connection, "SELECT", "0") == b"OK"
            with pytest.raises(OSError):
                exchange(connection, "GET", "hits")

    def test_a_server_that_is_down_breaks_connections_and_is_used_again(self) -> None:
        with FaultyServer() as server, Proxy(server.port) as proxy:
            with processes.down(server), pytest.raises(OSError), connection_to(proxy) as connection:
                exchange(connection, "PING")
            with connection_to(proxy) as connection:
                assert exchange(connection, "PING") == b"PONG"

    def test_by_chance_depends_on_the_seed_alone(self) -> None:
        def chosen(seed: int) -> list[bool]:
            when = at_random(Random(seed), 0.5)
            return [when() for _ in range(50)]

        assert chosen(1) == chosen(1) != chosen(2)

    def test_by_default_nothing_is_struck(self, proxy: Proxy) -> None:
        proxy.arm(Fault(Kind.DROP_COMMAND), every(1))
        proxy.disarm()
        with connection_to(proxy) as connection:
            assert exchange(connection, "INCR", "hits") == 1
        assert not proxy.injected


simple = st.sampled_from(
    [b"+OK\r\n", b"-ERR no\r\n", b":12\r\n", b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n"]
)
bulk = st.binary(max_size=200).map(lambda body: b"$%d\r\n%s\r\n" % (len(body), body))
replies = st.recursive(
    simple | bulk,
    lambda nested: (
        st.lists(nested, max_size=3).map(lambda them: b"*%d\r\n%s" % (len(them), b"".join(them)))
        | st.lists(st.tuples(nested, nested), max_size=2).map(
            lambda them: b"%%%d\r\n%s" % (len(them), b"".join(b"".join(pair) for pair in them))
        )
    ),
    max_leaves=8,
)


@st.composite
def cuts(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    """*whole* in pieces."""
    at = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[begin:end] for begin, end in itertools.pairwise((0, *at, len(whole))) if begin < end]


class TestMessages:
    @given(data=st.data(), messages=st.lists(replies, min_size=1, max_size=5))
    def test_replies_are_whole_however_they_come(self, data: st.DataObject, messages: list[bytes]) -> None:
        asked = [f"C{index}" for index in range(len(messages))]
        split = Replies(deque(asked))
        found = [one for piece in data.draw(cuts(b"".join(messages))) for one in split.split(piece, whole=True)]
        assert found == list(zip(messages, asked, strict=True))

    @given(data=st.data(), words=st.lists(st.lists(st.binary(max_size=90), min_size=1, max_size=4), min_size=1))
    def test_commands_are_named(self, data: st.DataObject, words: list[list[bytes]]) -> None:
        names = [f"NAME{index}" for index in range(len(words))]
        messages = [packed(name.encode(), *more) for name, more in zip(names, words, strict=True)]
        split = Commands(deque())
        found = [one for piece in data.draw(cuts(b"".join(messages))) for one in split.split(piece, whole=True)]
        assert found == list(zip(messages, names, strict=True))

    @given(data=st.data(), messages=st.lists(replies, min_size=1, max_size=5))
    def test_what_began_before_a_fault_was_armed_goes_on_as_it_came(
        self, data: st.DataObject, messages: list[bytes]
    ) -> None:
        whole = b"".join(messages)
        pieces = data.draw(cuts(whole))
        armed = data.draw(st.integers(0, len(pieces)))
        split = Replies(deque([""] * len(messages)))
        found = [one for index, piece in enumerate(pieces) for one in split.split(piece, whole=index >= armed)]
        assert b"".join(piece for piece, _ in found) == whole
        assert all(piece in messages for piece, name in found if name is not None)

    def test_what_nobody_asked_for_is_no_reply(self) -> None:
        split = Replies(deque(["GET"]))
        assert list(split.split(b">1\r\n+news\r\n$1\r\nx\r\n", whole=True)) == [
            (b">1\r\n+news\r\n", None),
            (b"$1\r\nx\r\n", "GET"),
        ]


# --- The history


def asked(
    operation: str,
    argument: object = None,
    answer: object = None,
    *,
    worker: str = "one",
    at: tuple[float, float] = (0, 1),
    outcome: Outcome = Outcome.ACKNOWLEDGED,
) -> Record:
    """A record, made by hand."""
    return Record(
        worker, "it", operation, argument, *at, outcome, answer, "" if outcome is Outcome.ACKNOWLEDGED else "!"
    )


INCREMENT: Final[Command[object]] = Command(Op("INCRBY"), (b"hits",), (1,), lambda reply: reply)

MEANINGS: tuple[tuple[Exception, bool, Outcome, bool], ...] = (
    (OutcomeUnknown("?", INCREMENT), False, Outcome.UNKNOWN, True),
    (OutcomeUnknown("?", INCREMENT), True, Outcome.UNKNOWN, False),
    (ConnectionFailed("?"), False, Outcome.FAILED, True),
    (ConnectionFailed("?"), True, Outcome.FAILED, True),
    (Timeout("?"), False, Outcome.FAILED, True),
    (CommandRefused("READONLY"), False, Outcome.FAILED, True),
    (Conflict("?"), False, Outcome.FAILED, True),
    (BatchError("?", [CommandRefused("OOM"), Timeout("?")]), False, Outcome.FAILED, True),
    (BatchError("?", [OutcomeUnknown("?", INCREMENT), Timeout("?")]), False, Outcome.UNKNOWN, True),
    (BatchError("?", [CommandRefused("OOM"), ValueError("?")]), False, Outcome.UNKNOWN, False),
    (Cancelled(put_back=True), False, Outcome.FAILED, True),
    (Cancelled(put_back=False), False, Outcome.UNKNOWN, True),
    (ValueError("?"), False, Outcome.UNKNOWN, False),
)


class TestHistory:
    def test_an_answer_is_kept_with_its_times(self) -> None:
        history = History()
        before = time.monotonic()
        with history.asking("one", "jobs", "push", "sweep") as call:
            call.answer = 1
        [record] = history.records
        assert record == call.record
        assert (record.worker, record.structure, record.operation, record.argument) == ("one", "jobs", "push", "sweep")
        assert record.answer == 1
        assert record.acknowledged
        assert before <= record.started <= record.ended <= time.monotonic()
        assert history.outcomes == {Outcome.ACKNOWLEDGED: 1}

    @pytest.mark.parametrize(("error", "reads", "outcome", "expected"), MEANINGS)
    def test_an_error_tells_what_is_known(
        self, error: Exception, reads: bool, outcome: Outcome, expected: bool
    ) -> None:
        def fail() -> None:
            raise error

        history = History()
        with history.asking("one", "jobs", "push", reads=reads) as call:
            fail()
        assert call.record.outcome is outcome
        assert type(error).__name__ in call.record.error
        assert history.unexpected == ([] if expected else [call.record])
        assert checker.unexpected(history).none is expected

    def test_a_task_that_is_stopped_leaves_an_unknown_outcome(self) -> None:
        history = History()

        async def wait() -> None:
            with history.asking("one", "jobs", "pop"):
                await asyncio.sleep(PATIENCE)

        async def stop() -> None:
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(stop())
        assert [one.outcome for one in history.records] == [Outcome.UNKNOWN]

    def test_threads_lose_no_record(self) -> None:
        history = History()

        def work() -> None:
            for _ in range(500):
                with history.asking("one", "hits", "incr"):
                    pass

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(history.records) == history.acknowledged == 2_000

    def test_the_longest_gap_is_without_any_acknowledgement(self) -> None:
        failed = asked("get", at=(5, 6), outcome=Outcome.FAILED)
        assert History([asked("get", at=(0, 1)), failed, asked("get", at=(7, 8))]).longest_gap() == 7
        assert History([asked("get", at=(0, 1)), asked("get", at=(1, 2)), asked("get", at=(2, 2.5))]).longest_gap() == 1
        assert History([failed]).longest_gap() == 1
        assert History().longest_gap() == 0


# --- The accounts


def counted(held: int, *answers: int, unknown: int = 0, failed: int = 0) -> checker.Findings:
    records = [asked("incr", 1, answer) for answer in answers]
    records += [asked("incr", 1, outcome=Outcome.UNKNOWN)] * unknown + [
        asked("incr", 1, outcome=Outcome.FAILED)
    ] * failed
    return checker.counted(records, held)


class TestCounted:
    @pytest.mark.parametrize("held", [2, 3, 4])
    def test_what_is_unknown_may_have_been(self, held: int) -> None:
        assert counted(held, 1, 2, unknown=2, failed=1).none

    def test_more_than_was_asked_for_is_a_duplicate_each(self) -> None:
        assert len(counted(5, 1, 2, unknown=1, failed=1).duplicates) == 2

    def test_less_than_was_acknowledged_is_a_loss_each(self) -> None:
        assert len(counted(1, 1, 2, 3, unknown=1).losses) == 2

    def test_two_are_never_told_the_same(self) -> None:
        assert counted(2, 2, 2).wrong

    def test_nobody_is_told_what_was_not_reached(self) -> None:
        assert counted(2, 1, 7).wrong


def push(item: str, outcome: Outcome = Outcome.ACKNOWLEDGED, at: tuple[float, float] = (0, 1)) -> Record:
    return asked("push", item, 1, outcome=outcome, at=at)


def pop(item: str | None, at: tuple[float, float] = (2, 3)) -> Record:
    return asked("pop", None, item, at=at)


POP_UNKNOWN: Final = asked("pop", outcome=Outcome.UNKNOWN)


class TestElements:
    def test_each_is_taken_or_there(self) -> None:
        assert Elements([push("a"), push("b")], [pop("a"), pop(None)], held=["b"]).check().none

    def test_one_of_unknown_outcome_may_be_there_or_not(self) -> None:
        for held in (["a"], []):
            assert Elements([push("a", Outcome.UNKNOWN)], held=held).check().none
        assert Elements([push("a", Outcome.UNKNOWN)], [pop("a")]).check().none

    def test_what_was_taken_twice_is_a_duplicate(self) -> None:
        assert Elements([push("a")], [pop("a"), pop("a")]).check().duplicates

    def test_what_was_taken_and_is_there_is_a_duplicate(self) -> None:
        assert Elements([push("a")], [pop("a")], held=["a"]).check().duplicates

    def test_what_is_there_twice_is_a_duplicate(self) -> None:
        assert Elements([push("a", Outcome.UNKNOWN)], held=["a", "a"]).check().duplicates

    def test_what_is_gone_is_a_loss_unless_somebody_may_have_taken_it(self) -> None:
        assert Elements([push("a")]).check().losses
        assert Elements([push("a")], [POP_UNKNOWN]).check().none
        assert len(Elements([push("a"), push("b"), push("c")], [POP_UNKNOWN]).check().losses) == 2

    def test_what_may_have_been_removed_by_name_may_be_gone(self) -> None:
        removed = asked("remove", "a", outcome=Outcome.UNKNOWN)
        assert Elements([push("a")], removes=[removed]).check().none
        assert Elements([push("a"), push("b")], removes=[removed]).check().losses

    def test_what_was_removed_counts_as_taken(self) -> None:
        removed = asked("remove", "a", answer=True)
        assert Elements([push("a")], removes=[removed]).check().none
        assert Elements([push("a")], [pop("a")], [removed]).check().duplicates

    def test_who_was_told_that_it_was_not_there_was_told_right(self) -> None:
        told = asked("remove", "a", answer=False, at=(2, 3))
        assert Elements([push("a")], removes=[told], held=["a"]).check().wrong
        for later in (push("a", at=(1, 4)), push("a", Outcome.UNKNOWN)):
            assert Elements([later], removes=[told], held=["a"]).check().none

    def test_what_nobody_pushed_is_wrong(self) -> None:
        assert Elements([push("a")], [pop("b")], held=["a"]).check().wrong

    def test_what_was_said_to_have_failed_is_not_there(self) -> None:
        failed = push("a", Outcome.FAILED)
        assert Elements([failed]).check().none
        assert Elements([failed], held=["a"]).check().wrong


class TestInOrder:
    PUSHES = (push("a", at=(0, 1)), push("b", at=(1, 2)), push("c", at=(2, 3)))

    @pytest.mark.parametrize(
        ("takes", "held"),
        [
            ([pop("a", (4, 5)), pop("b", (5, 6))], ["c"]),
            ([pop("b", (4, 6)), pop("a", (5, 7))], ["c"]),  # at the same time
            ([pop("c", (4, 5))], []),  # a and b: by somebody who does not know
            ([], ["a", "b", "c"]),
        ],
    )
    def test_the_older_comes_first(self, takes: list[Record], held: list[str]) -> None:
        assert checker.in_order(self.PUSHES, takes, held).none

    @pytest.mark.parametrize(
        ("takes", "held"),
        [
            ([pop("b", (4, 5)), pop("a", (6, 7))], ["c"]),
            ([pop("b", (4, 5))], ["a", "c"]),
            ([], ["b", "a", "c"]),
            ([pop("c", (4, 5)), pop("a", (6, 7))], []),
        ],
    )
    def test_the_younger_before_the_older_is_wrong(self, takes: list[Record], held: list[str]) -> None:
        assert checker.in_order(self.PUSHES, takes, held).wrong

    def test_of_two_producers_nothing_is_known(self) -> None:
        other = asked("push", "x", 1, worker="two", at=(0.2, 0.5))
        takes = [pop("b", (4, 5)), pop("x", (6, 7))]
        assert checker.in_order([push("a"), other], [pop("x", (4, 5)), pop("a", (6, 7))], []).none
        assert checker.in_order([*self.PUSHES, other], [pop("a", (3, 4)), *takes], ["c"]).none


class TestByPriority:
    PRIORITY: Final[dict[object, float]] = {"low": 1.0, "high": 9.0}
    PUSHES = (push("low"), push("high"))

    def test_the_lowest_is_taken_first(self) -> None:
        takes = [pop("low", (2, 3)), pop("high", (4, 5))]
        assert checker.by_priority(self.PUSHES, takes, [], self.PRIORITY).none
        late = [push("low", at=(2, 3)), push("high")]
        assert checker.by_priority(late, [pop("high", (2, 3)), pop("low", (4, 5))], [], self.PRIORITY).none

    def test_another_one_while_it_was_there_is_wrong(self) -> None:
        takes = [pop("high", (2, 3)), pop("low", (4, 5))]
        assert checker.by_priority(self.PUSHES, takes, [], self.PRIORITY).wrong
        assert checker.by_priority(self.PUSHES, takes[:1], ["low"], self.PRIORITY).wrong
        assert checker.by_priority(self.PUSHES, [*takes[:1], POP_UNKNOWN], [], self.PRIORITY).none


def claim(answer: bool | None, outcome: Outcome = Outcome.ACKNOWLEDGED) -> Record:
    return asked("claim", "a", answer, outcome=outcome)


class TestClaimed:
    def test_one_is_told_that_it_won(self) -> None:
        assert checker.claimed([claim(answer=False), claim(answer=True)], ["a"]).none
        assert checker.claimed([claim(None, Outcome.FAILED)], []).none
        assert checker.claimed([claim(None, Outcome.UNKNOWN)], []).none

    def test_the_one_whose_outcome_is_unknown_may_have_won(self) -> None:
        assert checker.claimed([claim(answer=False), claim(None, Outcome.UNKNOWN)], ["a"]).none

    def test_two_winners_are_a_duplicate(self) -> None:
        assert checker.claimed([claim(answer=True), claim(answer=True)], ["a"]).duplicates

    def test_nobody_told_is_a_loss(self) -> None:
        assert checker.claimed([claim(answer=False), claim(answer=False)], ["a"]).losses
        assert checker.claimed([claim(answer=False), claim(None, Outcome.FAILED)], ["a"]).losses

    def test_what_is_gone_is_a_loss(self) -> None:
        assert checker.claimed([claim(answer=True)], []).losses

    def test_what_was_said_to_have_failed_is_not_there(self) -> None:
        assert checker.claimed([claim(None, Outcome.FAILED)], ["a"]).wrong


def default(value: str, answer: str | None, outcome: Outcome = Outcome.ACKNOWLEDGED) -> Record:
    return asked("setdefault", ("k", value), answer, outcome=outcome)


class TestAgreed:
    def test_all_get_the_same_and_it_stays(self) -> None:
        assert checker.agreed([default("x", "x"), default("y", "x")], {"k": "x"}).none
        assert checker.agreed([default("x", None, Outcome.UNKNOWN), default("y", "x")], {"k": "x"}).none

    def test_two_values_are_a_duplicate(self) -> None:
        assert checker.agreed([default("x", "x"), default("y", "y")], {"k": "x"}).duplicates

    def test_another_one_at_the_end_is_a_loss(self) -> None:
        assert checker.agreed([default("x", "x")], {"k": "y"}).losses
        assert checker.agreed([default("x", "x")], {}).losses

    def test_what_nobody_gave_is_wrong(self) -> None:
        assert checker.agreed([default("x", "z"), default("y", "z")], {"k": "z"}).wrong
        assert checker.agreed([default("x", None, Outcome.FAILED), default("y", "x")], {"k": "x"}).wrong


def acquire(
    token: str | None, at: tuple[float, float], worker: str = "one", outcome: Outcome = Outcome.ACKNOWLEDGED
) -> Record:
    return asked("acquire", None, token, at=at, worker=worker, outcome=outcome)


def release(
    token: str, at: tuple[float, float], answer: str = "released", outcome: Outcome = Outcome.ACKNOWLEDGED
) -> Record:
    return asked("release", token, answer, at=at, outcome=outcome)


class TestExclusive:
    def test_one_after_the_other(self) -> None:
        records = [acquire("a", (0, 1)), acquire(None, (1, 2)), release("a", (2, 3)), acquire("b", (2.5, 4), "two")]
        assert checker.exclusive(records, math.inf).none

    def test_two_at_a_time_are_a_duplicate(self) -> None:
        records = [acquire("a", (0, 1)), acquire("b", (1, 2), "two"), release("a", (3, 4))]
        assert checker.exclusive(records, math.inf).duplicates

    def test_not_once_the_first_has_expired(self) -> None:
        records = [acquire("a", (0, 1)), acquire("b", (6, 7), "two")]
        assert checker.exclusive(records, 5).none
        assert checker.exclusive(records, 9).duplicates

    def test_to_be_refused_while_nobody_held_it_is_a_loss(self) -> None:
        assert checker.exclusive([acquire(None, (0, 1))], math.inf).losses
        records = [acquire("a", (0, 1)), release("a", (1, 2)), acquire(None, (3, 4))]
        assert checker.exclusive(records, math.inf).losses

    def test_not_where_somebody_may_have_held_it(self) -> None:
        unknown = acquire(None, (0, 1), outcome=Outcome.UNKNOWN)
        assert checker.exclusive([unknown, acquire(None, (2, 3))], math.inf).none
        records = [acquire("a", (0, 1)), release("a", (1, 2), outcome=Outcome.UNKNOWN), acquire(None, (3, 4))]
        assert checker.exclusive(records, math.inf).none


# --- Linearizability


UNKNOWN: Final = Outcome.UNKNOWN

HISTORIES: tuple[tuple[str, Model[Any], list[Record], bool], ...] = (
    ("nothing", CounterModel(), [], True),
    ("one after the other", CounterModel(), [asked("incr", 1, 1, at=(0, 1)), asked("get", None, 1, at=(2, 3))], True),
    ("a stale read", CounterModel(), [asked("incr", 1, 1, at=(0, 1)), asked("get", None, None, at=(2, 3))], False),
    (
        "a read at the same time",
        CounterModel(),
        [asked("incr", 1, 1, at=(0, 5)), asked("get", None, None, at=(2, 3))],
        True,
    ),
    ("counted twice", CounterModel(), [asked("incr", 1, 2, at=(0, 1)), asked("get", None, 2, at=(2, 3))], False),
    (
        "an unknown one before",
        CounterModel(),
        [asked("incr", 1, at=(0, 1), outcome=UNKNOWN), asked("incr", 1, 2, at=(2, 3))],
        True,
    ),
    (
        "an unknown one long after",
        CounterModel(),
        [
            asked("incr", 1, at=(0, 1), outcome=UNKNOWN),
            asked("get", None, 0, at=(2, 3)),
            asked("get", None, 1, at=(4, 5)),
        ],
        True,
    ),
    (
        "an unknown one that comes and goes",
        CounterModel(),
        [
            asked("incr", 1, at=(0, 1), outcome=UNKNOWN),
            asked("get", None, 1, at=(2, 3)),
            asked("get", None, 0, at=(4, 5)),
        ],
        False,
    ),
    (
        "an unknown one before it began",
        CounterModel(),
        [asked("get", None, 1, at=(0, 1)), asked("incr", 1, at=(2, 3), outcome=UNKNOWN)],
        False,
    ),
    (
        "a failed one that was carried out",
        CounterModel(),
        [asked("incr", 1, at=(0, 1), outcome=Outcome.FAILED), asked("get", None, 1, at=(2, 3))],
        False,
    ),
    (
        "reads that see two writes in two orders",
        RegisterModel(),
        [
            *(asked("set", "x", at=(0, 9)), asked("set", "y", at=(0, 9))),
            *(
                asked("get", None, "x", at=(1, 2)),
                asked("get", None, "y", at=(3, 4)),
                asked("get", None, "x", at=(5, 6)),
            ),
        ],
        False,
    ),
    (
        "an unknown write that is seen late",
        RegisterModel(),
        [
            *(asked("set", "x", at=(0, 1), outcome=UNKNOWN), asked("set", "y", at=(2, 3))),
            *(asked("get", None, "y", at=(4, 5)), asked("get", None, "x", at=(6, 7))),
        ],
        True,
    ),
    (
        "two that were each the first",
        RegisterModel(),
        [asked("setdefault", "x", "x", at=(0, 1)), asked("setdefault", "y", "y", at=(0, 1))],
        False,
    ),
    (
        "first in, first out",
        QueueModel(),
        [
            *(asked("push", "a", 1, at=(0, 1)), asked("push", "b", 2, at=(2, 3))),
            *(asked("pop", None, "a", at=(4, 5)), asked("items", None, ("b",), at=(6, 7))),
        ],
        True,
    ),
    (
        "first in, last out",
        QueueModel(),
        [
            *(asked("push", "a", 1, at=(0, 1)), asked("push", "b", 2, at=(2, 3))),
            *(asked("pop", None, "b", at=(4, 5)), asked("pop", None, "a", at=(6, 7))),
        ],
        False,
    ),
    (
        "the same of a stack",
        StackModel(),
        [
            *(asked("push", "a", 1, at=(0, 1)), asked("push", "b", 2, at=(2, 3))),
            *(asked("pop", None, "b", at=(4, 5)), asked("pop", None, "a", at=(6, 7))),
        ],
        True,
    ),
    (
        "the wrong size",
        QueueModel(),
        [asked("push", "a", 1, at=(0, 1)), asked("push", "b", 1, at=(2, 3))],
        False,
    ),
    ("nothing there", QueueModel(), [asked("push", "a", 1, at=(0, 1)), asked("pop", None, None, at=(2, 3))], False),
    (
        "one that an unknown pop took",
        QueueModel(),
        [
            *(asked("push", "a", 1, at=(0, 1)), asked("push", "b", 2, at=(2, 3))),
            *(asked("pop", at=(0, 1), outcome=UNKNOWN), asked("pop", None, "b", at=(4, 5))),
        ],
        True,
    ),
    (
        "two that one unknown pop cannot have taken",
        QueueModel(),
        [
            *(asked("push", item, at=(0, 1)) for item in "abc"),
            *(asked("pop", at=(0, 1), outcome=UNKNOWN), asked("items", None, ("c",), at=(4, 5))),
        ],
        False,
    ),
    (
        "an unknown push that comes late",
        QueueModel(),
        [
            *(asked("push", "a", at=(0, 1), outcome=UNKNOWN), asked("push", "b", 1, at=(2, 3))),
            *(asked("pop", None, "b", at=(4, 5)), asked("pop", None, "a", at=(6, 7))),
        ],
        True,
    ),
    (
        "taken before what is older",
        QueueModel(),
        [
            *(asked("push", "a", at=(0, 1), outcome=UNKNOWN), asked("push", "b", 1, at=(2, 3))),
            *(asked("pop", None, "a", at=(4, 5)), asked("pop", None, "b", at=(6, 7))),
        ],
        True,
    ),
    ("one holder", LockModel(), [acquire("a", (0, 1)), acquire(None, (2, 3)), release("a", (4, 5))], True),
    ("two holders", LockModel(), [acquire("a", (0, 1)), acquire("b", (2, 3))], False),
    ("refused by nobody", LockModel(), [acquire(None, (0, 1))], False),
    (
        "refused by one who does not know",
        LockModel(),
        [acquire(None, (0, 1), outcome=UNKNOWN), acquire(None, (2, 3)), acquire("a", (4, 5))],
        True,
    ),
    (
        "an unknown release",
        LockModel(),
        [acquire("a", (0, 1)), release("a", (2, 3), outcome=UNKNOWN), acquire(None, (4, 5)), acquire("b", (6, 7))],
        True,
    ),
    ("released twice", LockModel(), [acquire("a", (0, 1)), release("a", (2, 3)), release("a", (4, 5))], False),
    ("free by then", LockModel(), [acquire("a", (0, 1)), release("a", (2, 3)), release("a", (4, 5), "free")], True),
    (
        "broken",
        LockModel(),
        [acquire("a", (0, 1)), asked("break", at=(2, 3)), acquire("b", (4, 5)), release("a", (6, 7), "other")],
        True,
    ),
)


def by_hand(calls: Sequence[Call], model: Model[Any]) -> bool:
    """The same by trying everything: each order of the calls, with each choice of the pending ones."""

    def can_go_on(left: frozenset[int], state: Any) -> bool:
        if all(calls[index].pending for index in left):
            return True
        for index in left:
            call = calls[index]
            late = any(ended is not None and ended < call.started for ended in (calls[other].ended for other in left))
            if not late:
                after = model.step(state, call)
                if after is not None and can_go_on(left - {index}, after):
                    return True
        return False

    return can_go_on(frozenset(range(len(calls))), model.initial)


MODELS: Final[dict[str, tuple[Callable[[], Model[Any]], list[tuple[str, bool]]]]] = {
    # Each operation, and whether its argument is a new name.
    "counter": (CounterModel, [("incr", False), ("get", False)]),
    "register": (RegisterModel, [("set", True), ("get", False), ("setdefault", True)]),
    "register of sets": (RegisterModel, [("set", True), ("get", False)]),
    "queue": (QueueModel, [("push", True), ("pop", False)]),
    "stack": (StackModel, [("push", True), ("pop", False)]),
    "lock": (LockModel, [("acquire", False), ("release", False)]),
}


def answer_of(state: Any, operation: str, argument: object) -> tuple[Any, object]:
    """What a plain object does: an independent twin of the models. The state is a list."""
    match operation:
        case "incr":
            return [*state, 1], len(state) + 1
        case "get" if all(one == 1 for one in state):
            return state, len(state) or None
        case "set":
            return [argument], None
        case "setdefault":
            after = state or [argument]
            return after, after[0]
        case "push":
            return [*state, argument], len(state) + 1
        case _:
            raise AssertionError(operation)


@st.composite
def simulated(draw: st.DrawFn, kind: str, *, most: int) -> list[Record]:
    """A history of an object that does one thing at a time: each call has its effect at one instant of its own."""
    _, operations = MODELS[kind]
    number = draw(st.integers(1, most))
    held: list[Any] = []
    records: list[Record] = []
    tokens = itertools.count()
    final = draw(st.booleans())
    for index in range(number):
        operation, new = draw(st.sampled_from(operations))
        argument: object = f"v{index}" if new else 1 if operation == "incr" else None
        outcome = draw(st.sampled_from([Outcome.ACKNOWLEDGED] * 3 + [Outcome.UNKNOWN, Outcome.FAILED]))
        happens = outcome is Outcome.ACKNOWLEDGED or (outcome is Outcome.UNKNOWN and draw(st.booleans()))
        answer: object = None
        if kind == "lock":
            if operation == "release":
                argument = draw(
                    st.sampled_from(
                        [one.answer for one in records if one.operation == "acquire" and one.answer] or ["none"]
                    )
                )
            if happens:
                answer, held = _lock(held, operation, argument, f"token {next(tokens)}")
        elif operation == "pop":
            if happens and held:
                answer = held[0] if kind == "queue" else held[-1]
                held = held[1:] if kind == "queue" else held[:-1]
        elif happens and kind.startswith("register") and operation == "get":
            answer = held[0] if held else None
        elif happens:
            held, answer = answer_of(held, operation, argument)
        instant = 10.0 * index + 5
        started = instant - draw(st.integers(0, 30))
        told = answer if outcome is Outcome.ACKNOWLEDGED else None
        # Of one whose outcome is unknown, the effect may come long after its caller gave up.
        ended = instant + draw(st.integers(0, 30)) if outcome is Outcome.ACKNOWLEDGED else started + 1
        records.append(asked(operation, argument, told, at=(started, ended), outcome=outcome))
    if final and kind in ("queue", "stack"):
        records.append(asked("items", None, tuple(held), at=(1e6, 1e6)))
    return records


def _lock(held: list[Any], operation: str, argument: object, token: str) -> tuple[object, list[Any]]:
    if operation == "acquire":
        return (None, held) if held else (token, [token])
    if held == [argument]:
        return "released", []
    return ("other" if held else "free"), held


def mutated(data: st.DataObject, records: list[Record]) -> list[Record]:
    """*records* with another answer to one of them, or at another time."""
    index = data.draw(st.integers(0, len(records) - 1))
    one = records[index]
    others = [other.answer for other in records if other.operation == one.operation]
    more: list[object] = [1, 2, "v0"] if one.operation in ("incr", "get") else ["v0", "v1", None]
    answer = one.answer
    if one.operation not in ("items", "set", "release"):
        answer = data.draw(st.sampled_from([*others, *more]))
    shift = data.draw(st.sampled_from([0.0, -40.0, 40.0]))
    changed = asked(
        one.operation, one.argument, answer, at=(one.started + shift, one.ended + shift), outcome=one.outcome
    )
    return [*records[:index], changed, *records[index + 1 :]]


class TestLinearizability:
    @pytest.mark.parametrize(
        ("model", "records", "right"), [one[1:] for one in HISTORIES], ids=[one[0] for one in HISTORIES]
    )
    def test_by_hand(self, model: Model[Any], records: list[Record], right: bool) -> None:
        assert linearizability.check(records, model) is (Verdict.LINEARIZABLE if right else Verdict.NOT)
        assert checker.linearizable(records, model).none is right

    @pytest.mark.parametrize("kind", MODELS)
    @given(data=st.data())
    def test_what_an_object_did_that_does_one_thing_at_a_time_is_accepted(self, kind: str, data: st.DataObject) -> None:
        records = data.draw(simulated(kind, most=40))
        assert linearizability.check(records, MODELS[kind][0]()) is Verdict.LINEARIZABLE

    @pytest.mark.parametrize("kind", MODELS)
    @given(data=st.data())
    def test_of_what_was_changed_it_says_what_trying_everything_says(self, kind: str, data: st.DataObject) -> None:
        records = mutated(data, data.draw(simulated(kind, most=6)))
        model = MODELS[kind][0]()
        found = linearizability.check(records, model)
        calls = linearizability.calls_of(records) if kind != "lock" else model.calls(records)
        fresh = MODELS[kind][0]()  # which draws no conclusions from the calls as a whole
        if isinstance(fresh, linearizability.ListModel) and not all(one.told for one in calls):
            fresh.ignore_sizes()
        assert (found is Verdict.LINEARIZABLE) is by_hand(calls, fresh)

    def test_a_search_without_end_is_given_up(self) -> None:
        records = [asked("set", f"v{index}", at=(0, 9)) for index in range(12)]
        records.append(asked("get", None, "another", at=(10, 11)))
        assert linearizability.check(records, RegisterModel(), steps=1_000) is Verdict.UNDECIDED
        findings = checker.linearizable(records, RegisterModel(), steps=1_000)
        assert findings.none
        assert findings.undecided

    def test_hundreds_of_calls_of_several_workers_are_no_trouble(self) -> None:
        random = Random(SEED)
        records: list[Record] = []
        for number in range(400):
            at = (number - random.random() * 4, number + random.random() * 4)
            unknown = random.random() < 0.1
            records.append(
                asked(
                    "incr",
                    1,
                    None if unknown else number + 1,
                    at=at,
                    outcome=UNKNOWN if unknown else Outcome.ACKNOWLEDGED,
                )
            )
        assert linearizability.check(records, CounterModel()) is Verdict.LINEARIZABLE
        wrong = asked("get", None, 399, at=(1_000, 1_001))
        known = [one for one in records if one.acknowledged]
        assert linearizability.check([*known, wrong], CounterModel()) is not Verdict.LINEARIZABLE


# --- What happens to servers


@pytest.fixture(scope="module")
def own() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server


@pytest.fixture
def faulty(own: FaultyServer) -> FaultyServer:
    own.call("FLUSHALL")
    own.call("SET", "note", "kept")
    return own


Happen: TypeAlias = Callable[[FaultyServer], None]
Lasts: TypeAlias = Callable[[FaultyServer], AbstractContextManager[None]]


class TestProcesses:
    @pytest.mark.parametrize("happen", [processes.crash, processes.restart])
    def test_a_server_that_comes_back_has_what_it_had(self, faulty: FaultyServer, happen: Happen) -> None:
        before = faulty.info("server")["run_id"]
        happen(faulty)
        assert faulty.info("server")["run_id"] != before
        assert faulty.call("GET", "note") == b"kept"

    def test_one_that_loses_all_has_nothing(self, faulty: FaultyServer) -> None:
        processes.lose_all(faulty)
        assert faulty.call("DBSIZE") == 0

    def test_one_that_is_down_refuses_connections(self, faulty: FaultyServer) -> None:
        with processes.down(faulty), pytest.raises(ConnectionRefusedError):
            faulty.call("PING")
        assert faulty.call("GET", "note") == b"kept"

    def test_one_that_is_frozen_answers_later(self, faulty: FaultyServer) -> None:
        with socket.create_connection((faulty.host, faulty.port)) as connection:
            with paused(faulty):
                connection.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    exchange(connection, "INCR", "hits")
            connection.settimeout(PATIENCE)
            assert connection.recv(100) == b":1\r\n"

    @pytest.mark.parametrize(
        ("lasts", "error", "reads"),
        [
            (processes.loading, "LOADING", False),
            (processes.read_only, "READONLY", True),
            (processes.full, "OOM", True),
            (processes.busy, "BUSY", False),
        ],
        ids=lambda one: getattr(one, "__name__", str(one)),
    )
    def test_one_that_cannot_just_now_says_so(
        self, faulty: FaultyServer, lasts: Lasts, error: str, reads: bool
    ) -> None:
        with lasts(faulty):
            with pytest.raises(hiredis.ReplyError, match=rf"^{error} "):
                faulty.call("SET", "note", "lost")
            if reads:
                assert faulty.call("GET", "note") == b"kept"
        assert faulty.call("GET", "note") == b"kept"
        faulty.call("SET", "note", "again")
        assert faulty.call("DBSIZE") == 1

    def test_one_that_is_replaced_is_read_only_and_has_all_that_was_written_meanwhile(
        self, faulty: FaultyServer
    ) -> None:
        with RedisServer(replica_of=faulty) as replica:
            with processes.handed_over(faulty, replica):
                with pytest.raises(hiredis.ReplyError, match=r"^READONLY "):
                    faulty.call("SET", "note", "lost")
                replica.call("SET", "note", "new")
            assert faulty.call("GET", "note") == b"new"
            faulty.call("SET", "note", "newer")

    def test_one_that_is_paused_answers_later(self, faulty: FaultyServer) -> None:
        begun = time.monotonic()
        processes.pause(faulty, 0.2, writes_only=True)
        assert faulty.call("GET", "note") == b"kept"
        faulty.call("SET", "note", "later")
        assert time.monotonic() - begun >= 0.2
        processes.pause(faulty, 0.2)
        assert faulty.call("GET", "note") == b"later"
        assert time.monotonic() - begun >= 0.4

    def test_its_connections_are_killed(self, faulty: FaultyServer) -> None:
        with socket.create_connection((faulty.host, faulty.port), timeout=PATIENCE) as connection:
            assert exchange(connection, "PING") == b"PONG"
            processes.kill_connections(faulty)
            assert rest_of(connection) == b""

    def test_its_idle_connections_are_closed(self, faulty: FaultyServer) -> None:
        with socket.create_connection((faulty.host, faulty.port), timeout=PATIENCE) as connection:
            assert exchange(connection, "PING") == b"PONG"
            with processes.closing_the_idle(faulty):
                assert rest_of(connection) == b""
        assert faulty.call("CONFIG", "GET", "timeout") == [b"timeout", b"0"]

    def test_it_has_settled_when_nobody_is_connected(self, faulty: FaultyServer) -> None:
        with socket.create_connection((faulty.host, faulty.port)) as connection:
            exchange(connection, "PING")
            settling = start(partial(settle, faulty))
            with pytest.raises(TimeoutError):
                settling.result(0.1)
        settling.result(PATIENCE)


# --- The workloads, on what they are there to find


def over_redis_py(
    face: str,
    workloads: Sequence[Workload],
    url: str,
    history: History,
    *,
    seed: int,
    enough: Callable[[], bool],
    workers: int = 4,
    **options: object,
) -> None:
    """As `run`, over redis-py, which retries."""
    with RedisPyBackend(url) as db:
        run_threads(workloads, db, history, seed=seed, enough=enough, workers=workers)


class TestRedisPy:
    """A client that sends a command again whose reply was lost is found out: that is what Redisext is there for."""

    FOUND: tuple[tuple[type[Workload], str], ...] = (
        (CounterWorkload, "duplicates"),
        (UpdateWorkload, "duplicates"),
        (QueueWorkload, "losses"),
        (QueueWorkload, "duplicates"),
        (StackWorkload, "losses"),
        (PriorityQueueWorkload, "losses"),
        (PoolWorkload, "losses"),
        (HashMapWorkload, "losses"),
        (SortedSetWorkload, "duplicates"),
        (LockWorkload, "wrong"),
        (BatchWorkload, "duplicates"),
        (TransactionWorkload, "duplicates"),
        (WaitingWorkload, "losses"),
    )

    @pytest.mark.parametrize(("workload", "what"), FOUND)
    def test_sending_again_is_found(self, faulty: FaultyServer, workload: type[Workload], what: str) -> None:
        history, made = History(), [workload()]
        with Proxy(faulty.port) as proxy:
            # Of a transaction's many replies, few may be lost, or none of them ends.
            proxy.arm(Fault(Kind.DROP_REPLY), every(23 if workload in (BatchWorkload, TransactionWorkload) else 4))
            over_redis_py("sync", made, proxy.url, history, seed=SEED, enough=after(history, 200))
        settle(faulty)
        with redisext.connect(faulty.url) as db:
            assert getattr(judge(made, history, db), what)

    @pytest.mark.parametrize("workload", WORKLOADS)
    def test_where_nothing_fails_nothing_is_found(self, faulty: FaultyServer, workload: type[Workload]) -> None:
        history, made = History(), [workload()]
        with RedisPyBackend(faulty.url) as db:
            run_threads(made, db, history, seed=SEED, enough=after(history, 200))
            assert judge(made, history, db).none

    def test_a_server_that_lost_its_data_is_found(self, faulty: FaultyServer) -> None:
        for workload in (CounterWorkload, QueueWorkload, HashMapWorkload, UpdateWorkload):
            history, made = History(), [workload()]
            with RedisPyBackend(faulty.url) as db:
                run_threads(made, db, history, seed=SEED, enough=after(history, 50))
            processes.lose_all(faulty)
            with redisext.connect(faulty.url) as again:
                assert judge(made, history, again).losses


def test_a_write_that_is_sent_again_after_somebody_elses_is_found(faulty: FaultyServer) -> None:
    """SET is harmless to repeat only as long as nobody else writes: else what they wrote is undone."""
    history = History()

    def get(db: Backend) -> None:
        with history.asking("two", "{map:0}", "get", reads=True) as call:
            call.answer = redisext.Map[str]("{map:0}", db).get()

    with Proxy(faulty.port) as proxy, redisext.connect(proxy.url) as one, redisext.connect(faulty.url) as two:
        with history.asking("one", "{map:0}", "set", "x") as call:
            proxy.arm(Fault(Kind.DROP_REPLY), the_next(), "SET")
            with pytest.raises(ConnectionFailed):
                redisext.Map[str]("{map:0}", one).set("x")
            get(two)
            with history.asking("two", "{map:0}", "set", "y") as other:
                other.answer = redisext.Map[str]("{map:0}", two).set("y")
            get(two)
            call.answer = redisext.Map[str]("{map:0}", one).set("x")  # again
        get(two)
        told = [record.answer for record in history.of("{map:0}", "get")]
        assert told == ["x", "y", "x"]
        assert judge([MapWorkload()], history, two).wrong


MOVES: tuple[tuple[str, list[Record], tuple[int, int], dict[str, int], str], ...] = (
    (
        "as it was told",
        [asked("move", "a", (1, None, 1, -1)), asked("move", "b", (-1, 1, 0, 0), at=(2, 3))],
        (0, 0),
        {"a +1": 1, "b -1": 1},
        "",
    ),
    ("one that may have been made", [asked("move", "a", outcome=Outcome.UNKNOWN)], (1, -1), {"a +1": 1}, ""),
    ("a half", [asked("move", "a", outcome=Outcome.UNKNOWN)], (1, 0), {"a +1": 1}, "wrong"),
    ("another half", [asked("move", "a", outcome=Outcome.UNKNOWN)], (1, -1), {}, "wrong"),
    ("made twice", [asked("move", "a", (1, None, 1, -1))], (2, -2), {"a +1": 2}, "duplicates"),
    ("gone", [asked("move", "a", (1, None, 1, -1))], (0, 0), {}, "losses"),
    ("failed, and made", [asked("move", "a", outcome=Outcome.FAILED)], (1, -1), {"a +1": 1}, "wrong"),
    ("by nobody", [asked("move", "a", (1, None, 1, -1))], (2, -2), {"a +1": 1, "b +1": 1}, "wrong"),
    ("in the midst of another", [asked("move", "a", (1, None, 1, 0))], (1, -1), {"a +1": 1}, "wrong"),
    ("from what was not there", [asked("move", "a", (1, 5, 1, -1))], (1, -1), {"a +1": 1}, "wrong"),
)


@pytest.mark.parametrize(
    ("records", "sides", "notes", "what"), [one[1:] for one in MOVES], ids=[one[0] for one in MOVES]
)
def test_moves_are_made_as_a_whole(
    records: list[Record], sides: tuple[int, int], notes: dict[str, int], what: str
) -> None:
    findings = checker.moved(records, *sides, notes)
    found = {name for name in ("duplicates", "losses", "wrong") if getattr(findings, name)}
    assert found == ({what} if what else set())


class TestCancelling:
    async def _run(self, server: FaultyServer, *, puts_back: bool, exactly_once: bool) -> tuple[History, Findings]:
        server.call("FLUSHALL")
        history, made = History(), [WaitingWorkload()]
        async with redisext.aconnect(server.url, exactly_once=exactly_once) as db:
            enough = after(history, 300)
            await run_tasks(made, db, history, seed=SEED, enough=enough, puts_back=puts_back)
        with redisext.connect(server.url) as direct:
            return history, judge(made, history, direct)

    def test_what_is_cancelled_takes_nothing_where_replies_are_recorded(self, faulty: FaultyServer) -> None:
        history, findings = asyncio.run(self._run(faulty, puts_back=True, exactly_once=True))
        assert findings.none, str(findings)
        assert history.reasons[Outcome.FAILED, "Cancelled"]

    def test_elsewhere_it_takes_and_that_is_found(self, faulty: FaultyServer) -> None:
        _, findings = asyncio.run(self._run(faulty, puts_back=True, exactly_once=False))
        assert findings.losses
        history, findings = asyncio.run(self._run(faulty, puts_back=False, exactly_once=False))
        assert findings.none, str(findings)
        assert history.reasons[Outcome.UNKNOWN, "Cancelled"]


class TestLongRun:
    SHORT: Final = ("--rounds", "1", "--seed", "3", "--face", "sync")

    @pytest.fixture(autouse=True)
    def brief(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.faults.__main__.SECONDS", 0.7)

    def test_it_tells_what_it_did(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(self.SHORT) == 0
        told = capsys.readouterr().out
        assert told.startswith("seed 3\n")
        for name in ("operations tried", "acknowledged", "unknown", "failed", "duplicates", "losses", "longest gap"):
            assert f"{name} " in told

    def test_what_is_wrong_ends_in_an_error_and_the_way_to_see_it_again(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.faults.__main__.run", over_redis_py)
        assert main(self.SHORT) == 1
        told = capsys.readouterr().out
        assert "WRONG" in told
        assert "python -m tests.faults --seed 3 --rounds 1 --face sync\n" in told

    def test_an_option_that_there_is_not_is_refused(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def connect(url: str, *, socket_timeout: float) -> None:
            raise AssertionError

        monkeypatch.setattr("redisext.connect", connect)
        assert main([*self.SHORT, "--exactly-once"]) == 2
        assert "takes no exactly_once" in capsys.readouterr().out
