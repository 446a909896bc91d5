"""What a user may rely on in `pop_wait`, of everything that has one."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeAlias, cast

import pytest

from redisext import NOTHING, ArgumentError, Backend, Map, PriorityQueue, Queue, Stack, WrongType
from tests.conftest import Connect
from tests.servers import wait_until
from tests.threads import AT_ONCE, PATIENCE, start
from tests.watching import Watched, keys, send, waiting

Source: TypeAlias = Queue[str] | Stack[str] | PriorityQueue[str]

SOURCES: dict[str, Callable[[], type[Source]]] = {
    "queue": lambda: Queue[str],
    "stack": lambda: Stack[str],
    "priority queue": lambda: PriorityQueue[str],
}
"""Each named when the test runs, and so on the face that it runs on."""

TICK = 0.002
"""How exactly (seconds) a server keeps time."""


@pytest.fixture(params=SOURCES)
def kind(request: pytest.FixtureRequest) -> type[Source]:
    return SOURCES[request.param]()


@pytest.fixture
def source(kind: type[Source], db: Backend) -> Source:
    return kind("source", db)


def push(source: Source, *items: str) -> None:
    if isinstance(source, PriorityQueue):
        for item in items:
            source.push(item, 1)
    else:
        source.push(*items)


def elapsed_since(begun: float) -> float:
    return time.monotonic() - begun


class TestWaiting:
    def test_an_item_that_is_there_is_taken_at_once(self, source: Source) -> None:
        push(source, "item")
        begun = time.monotonic()
        assert source.pop_wait(10) == "item"
        assert elapsed_since(begun) < AT_ONCE
        assert source.size() == 0

    @pytest.mark.parametrize("timeout", [None, 10, 10.5, math.inf], ids=str)
    def test_an_item_that_comes_later_ends_the_wait(self, source: Source, timeout: float | None) -> None:
        db = source.backend
        taken = start(lambda: source.pop_wait(timeout))
        wait_until(lambda: waiting(db) == 1, "it waits")
        time.sleep(0.05)
        assert not taken.done()
        begun = time.monotonic()
        push(source, "item")
        assert taken.result(PATIENCE) == "item"
        assert elapsed_since(begun) < AT_ONCE
        assert keys(db) == []

    @pytest.mark.parametrize("timeout", [0.03, 0.3], ids=str)
    def test_without_an_item_it_ends_when_the_time_is_over(self, source: Source, timeout: float) -> None:
        begun = time.monotonic()
        assert source.pop_wait(timeout) is None
        assert timeout - TICK <= elapsed_since(begun) < timeout + AT_ONCE
        assert keys(source.backend) == []

    def test_no_time_is_no_wait(self, source: Source) -> None:
        begun = time.monotonic()
        assert source.pop_wait(0) is None
        assert elapsed_since(begun) < AT_ONCE
        push(source, "item")
        assert source.pop_wait(0) == "item"
        assert source.commands.pop_wait(0) == source.commands.pop()

    def test_when_the_time_is_over_the_default_is_given(self, source: Source) -> None:
        assert source.pop_wait(0.01, default="late") == "late"
        assert source.pop_wait(0, default=NOTHING) is NOTHING
        assert source.pop_wait(timeout=0.01, default=NOTHING) is NOTHING

    def test_a_falsy_item_ends_the_wait(self, source: Source) -> None:
        taken = start(lambda: source.pop_wait(10, default="late"))
        wait_until(lambda: waiting(source.backend) == 1, "it waits")
        push(source, "")
        assert taken.result(PATIENCE) == ""

    def test_an_item_that_comes_by_a_rename_ends_the_wait(self, kind: type[Source], source: Source) -> None:
        elsewhere = kind("{source}elsewhere", source.backend)
        taken = start(lambda: source.pop_wait(10))
        wait_until(lambda: waiting(source.backend) == 1, "it waits")
        push(elsewhere, "item")
        elsewhere.rename("source")
        assert taken.result(PATIENCE) == "item"

    @pytest.mark.parametrize("timeout", [1e-9, 0.0001])
    def test_the_shortest_time_is_not_for_ever(self, source: Source, timeout: float) -> None:
        begun = time.monotonic()
        assert source.pop_wait(timeout) is None
        assert elapsed_since(begun) < AT_ONCE

    @pytest.mark.parametrize(
        "timeout", [10**9, 1e10, sys.maxsize, 1e300, 10**400], ids=lambda timeout: f"{math.log10(timeout):.0f} digits"
    )
    def test_the_longest_time_is_an_ordinary_wait(self, source: Source, timeout: float) -> None:
        taken = start(lambda: source.pop_wait(timeout))
        wait_until(lambda: waiting(source.backend) == 1, "it waits")
        push(source, "item")
        assert taken.result(PATIENCE) == "item"

    @pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf, "1", True, False], ids=repr)
    def test_what_is_no_time_is_refused_and_nothing_is_sent(
        self, kind: type[Source], db: Backend, timeout: object
    ) -> None:
        seen = Watched(db)
        source = kind("source", seen)
        with pytest.raises(ArgumentError, match="timeout"):
            source.pop_wait(cast("float", timeout))
        assert seen.commands == []

    def test_another_structure_under_the_key_is_named_at_once(self, source: Source) -> None:
        Map[str]("source", source.backend).set("x")
        begun = time.monotonic()
        with pytest.raises(WrongType, match="'source' holds a string"):
            source.pop_wait(10)
        assert elapsed_since(begun) < AT_ONCE

    def test_another_structure_that_comes_meanwhile_does_not_end_the_wait(self, source: Source) -> None:
        db = source.backend
        taken = start(lambda: source.pop_wait(10))
        wait_until(lambda: waiting(db) == 1, "it waits")
        word = Map[str]("source", db)
        word.set("x")
        send(db, "LLEN", "nothing")
        assert waiting(db) == 1
        word.remove()
        push(source, "item")
        assert taken.result(PATIENCE) == "item"


class TestManyWaiters:
    def test_who_came_first_is_served_first(self, source: Source) -> None:
        taking = [self.begin(source, number) for number in range(4)]
        for number, taken in enumerate(taking):
            push(source, f"item {number}")
            assert taken.result(PATIENCE) == f"item {number}"
            assert not any(later.done() for later in taking[number + 1 :])

    def test_items_pushed_together_go_to_those_who_wait_one_each(self, source: Source) -> None:
        taking = [self.begin(source, number) for number in range(3)]
        push(source, "a", "b", "c", "d")
        served = [taken.result(PATIENCE) for taken in taking]
        in_order = ["d", "c", "b", "a"] if isinstance(source, Stack) else ["a", "b", "c", "d"]
        assert [*served, source.pop()] == in_order

    def test_one_who_gave_up_takes_nothing_from_those_who_still_wait(self, source: Source) -> None:
        given_up = start(lambda: source.pop_wait(0.05))
        wait_until(lambda: waiting(source.backend) == 1, "it waits")
        taken = self.begin(source, 1)
        assert given_up.result(PATIENCE) is None
        push(source, "item")
        assert taken.result(PATIENCE) == "item"

    def test_those_who_wait_on_other_keys_are_not_served(self, kind: type[Source], source: Source) -> None:
        other = kind("other", source.backend)
        waiting_there = start(lambda: other.pop_wait(0.3))
        wait_until(lambda: waiting(source.backend) == 1, "it waits")
        push(source, "item")
        assert waiting_there.result(PATIENCE) is None
        assert source.pop() == "item"

    @staticmethod
    def begin(source: Source, already_waiting: int) -> Future[str | None]:
        taken = start(lambda: source.pop_wait(10))
        wait_until(lambda: waiting(source.backend) == already_waiting + 1, "it waits too")
        return taken


class TestSocketTimeout:
    """How long other replies may take has nothing to do with how long an item may take to come."""

    @pytest.fixture
    def impatient(self, connect: Connect) -> Iterator[Backend]:
        with connect(socket_timeout=0.3) as db:
            yield db

    @pytest.mark.parametrize("timeout", [1, 1.5, None], ids=str)
    def test_it_does_not_cut_a_wait_short(self, impatient: Backend, timeout: float | None) -> None:
        jobs = Queue[str]("jobs", impatient)
        begun = time.monotonic()
        taken = start(lambda: jobs.pop_wait(timeout))
        time.sleep(0.8)
        jobs.push("item")
        assert taken.result(PATIENCE) == "item"
        assert 0.8 <= elapsed_since(begun) < 0.8 + AT_ONCE

    def test_a_wait_without_an_item_ends_in_its_own_time(self, impatient: Backend) -> None:
        begun = time.monotonic()
        assert PriorityQueue[str]("jobs", impatient).pop_wait(0.7) is None
        assert 0.7 - TICK <= elapsed_since(begun) < 0.7 + AT_ONCE

    def test_a_wait_that_ended_leaves_the_connection_in_order(self, impatient: Backend) -> None:
        jobs = Stack[str]("jobs", impatient)
        assert jobs.pop_wait(0.5) is None
        jobs.push("item")
        assert jobs.pop_wait(1) == "item"
        assert jobs.size() == 0
