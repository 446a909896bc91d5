"""What a user may rely on in a `PriorityQueue`: the item with the lowest priority comes first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import pytest

from redisext import (
    NOTHING,
    ArgumentError,
    Backend,
    ConfigurationError,
    DecodeError,
    EncodeError,
    PriorityQueue,
    WrongType,
    serializer,
)
from tests.elements import Event, Place
from tests.watching import Watched, keys, send


@pytest.fixture
def tasks(db: Backend) -> PriorityQueue[str]:
    return PriorityQueue[str]("tasks", db)


class TestLowestPriorityFirst:
    def test_items_are_taken_in_the_order_of_their_priorities(self, tasks: PriorityQueue[str]) -> None:
        assert tasks.push("sweep", 2) is True
        assert tasks.push("fire!", -1) is True
        assert tasks.push("mop", 2.5) is True
        assert [tasks.pop(), tasks.pop(), tasks.pop()] == ["fire!", "sweep", "mop"]

    def test_an_empty_queue_gives_the_default(self, tasks: PriorityQueue[str]) -> None:
        assert tasks.pop() is None
        assert tasks.pop("idle") == "idle"
        assert tasks.pop(default=NOTHING) is NOTHING
        assert tasks.peek() is None
        assert tasks.peek(default=NOTHING) is NOTHING

    def test_peek_shows_the_item_that_pop_would_take_and_leaves_it(self, tasks: PriorityQueue[str]) -> None:
        tasks.push("sweep", 2)
        tasks.push("fire!", 1)
        assert tasks.peek() == "fire!"
        assert tasks.size() == 2
        assert tasks.pop() == "fire!"

    def test_its_size_is_its_length(self, tasks: PriorityQueue[str]) -> None:
        assert tasks.size() == len(tasks) == 0
        assert not tasks
        tasks.push("", 0)
        assert tasks.size() == len(tasks) == 1
        assert tasks

    def test_items_come_in_the_order_of_pop(self, tasks: PriorityQueue[str]) -> None:
        assert tasks.items() == []
        for priority, item in [(3, "c"), (1, "a"), (2, "b")]:
            tasks.push(item, priority)
        assert tasks.items() == ["a", "b", "c"]

    def test_it_tells_whether_an_item_is_waiting(self, tasks: PriorityQueue[str]) -> None:
        tasks.push("sweep", 2)
        assert "sweep" in tasks
        assert tasks.contains("sweep") is True
        assert "mop" not in tasks
        assert tasks.contains("mop") is False

    def test_pushing_what_is_waiting_moves_it(self, tasks: PriorityQueue[str]) -> None:
        tasks.push("sweep", 2)
        tasks.push("mop", 3)
        assert tasks.push("sweep", 4) is False
        assert tasks.items() == ["mop", "sweep"]

    def test_items_of_equal_priority_come_in_the_order_of_their_bytes(self, db: Backend) -> None:
        numbers = PriorityQueue[int]("numbers", db)
        for number in (9, 10, -1, 100):
            numbers.push(number, 1)
        assert [numbers.pop() for _ in range(4)] == [-1, 10, 100, 9]

    def test_models_come_back_as_they_were(self, db: Backend) -> None:
        event = Event(name="fête", place=Place(city="Žižkov", floor=2), tags=("a", ""))
        events = PriorityQueue[Event]("events", db)
        events.push(event, 1)
        assert event in events
        popped = events.pop()
        assert popped == event
        assert type(popped) is Event

    def test_clear_removes_all_items(self, tasks: PriorityQueue[str], db: Backend) -> None:
        tasks.push("sweep", 2)
        tasks.clear()
        assert keys(db) == []
        tasks.clear()

    def test_an_emptied_queue_leaves_no_key(self, tasks: PriorityQueue[str], db: Backend) -> None:
        tasks.push("sweep", 2)
        tasks.pop()
        assert keys(db) == []

    def test_without_an_element_type_it_holds_bytes(self, db: Backend) -> None:
        raw = PriorityQueue("raw", db)
        raw.push(b"\x00\xff", 1)
        assert raw.pop() == b"\x00\xff"

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Tasks(PriorityQueue[str]):
            SERIALIZER = serializer.String

        send(db, "ZADD", "tasks", 2, "sweep", 1, "fire!")
        assert Tasks("tasks", db).pop() == "fire!"

    def test_of_takes_a_type_that_is_known_only_at_run_time(self, db: Backend) -> None:
        events = PriorityQueue.of(Event)("events", db)
        events.push(Event(name="x"), 1)
        assert events.pop() == Event(name="x")


class TestFalsyItems:
    @pytest.mark.parametrize(
        ("element", "item"),
        [(int, 0), (float, 0.0), (str, ""), (bytes, b""), (bool, False), (tuple[int, ...], ()), (list[int], [])],
        ids=repr,
    )
    def test_a_falsy_item_is_not_an_empty_queue(self, db: Backend, element: type[object], item: object) -> None:
        items = PriorityQueue.of(element)("items", db)
        takes: list[Callable[[], object]] = [
            lambda: items.peek("empty"),
            lambda: items.pop("empty"),
            lambda: items.pop_wait(0, default="empty"),
            lambda: items.pop_wait(1, default="empty"),
        ]
        for take in takes:
            items.push(item, 0)
            found = take()
            assert found == item
            assert type(found) is type(item)
        assert items.pop("empty") == "empty"

    def test_a_stored_none_is_told_from_an_empty_queue_by_a_default(self, db: Backend) -> None:
        names = PriorityQueue[str | None]("names", db)
        names.push(None, 1)
        assert names.peek(NOTHING) is None
        assert names.pop(NOTHING) is None
        assert names.pop(NOTHING) is NOTHING


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "priority", [math.nan, True, "1", None, 2**53 + 1, 10**400], ids=lambda bad: repr(bad)[:20]
    )
    def test_a_priority_that_is_none(self, tasks: PriorityQueue[str], priority: object) -> None:
        with pytest.raises(ArgumentError, match="priority"):
            tasks.push("sweep", cast("float", priority))
        assert keys(tasks.backend) == []

    def test_infinite_priorities_are_the_first_and_the_last(self, tasks: PriorityQueue[str]) -> None:
        tasks.push("last", math.inf)
        tasks.push("middle", 0)
        tasks.push("first", -math.inf)
        assert tasks.items() == ["first", "middle", "last"]

    @pytest.mark.parametrize("item", ["5", True, 5.0, None], ids=repr)
    def test_an_item_of_another_type(self, db: Backend, item: object) -> None:
        seen = Watched(db)
        numbers = PriorityQueue[int]("numbers", seen)
        with pytest.raises(EncodeError, match=r"int.*'numbers'"):
            numbers.push(cast("int", item), 1)
        assert item not in numbers
        with pytest.raises(EncodeError, match=r"int.*'numbers'"):
            numbers.contains(cast("int", item))
        assert seen.commands == []

    def test_a_type_whose_equals_are_written_differently_together_with_the_class(self, db: Backend) -> None:
        with pytest.raises(ConfigurationError, match="sorted-set member"):
            PriorityQueue.of(cast("type[object]", int | float))("tasks", db)


OPERATIONS: dict[str, Callable[[PriorityQueue[str]], object]] = {
    "push": lambda tasks: tasks.push("a", 1),
    "pop": lambda tasks: tasks.pop(),
    "pop_wait": lambda tasks: tasks.pop_wait(0.01),
    "peek": lambda tasks: tasks.peek(),
    "items": lambda tasks: tasks.items(),
    "size": lambda tasks: tasks.size(),
    "in": lambda tasks: "a" in tasks,
    "contains": lambda tasks: tasks.contains("a"),
}


POPS: dict[str, Callable[[PriorityQueue[Event]], object]] = {
    "pop": lambda events: events.pop(),
    "pop_wait": lambda events: events.pop_wait(1),
    "pop_wait of no time": lambda events: events.pop_wait(0),
}


class TestWhatOthersStored:
    @pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"\xff"], ids=repr)
    @pytest.mark.parametrize("pop", POPS.values(), ids=POPS)
    def test_an_item_taken_that_cannot_be_read_is_on_the_error(
        self, db: Backend, pop: Callable[[PriorityQueue[Event]], object], raw: bytes
    ) -> None:
        send(db, "ZADD", "events", 1, raw)
        with pytest.raises(DecodeError, match=r"'events'.*Event") as caught:
            pop(PriorityQueue[Event]("events", db))
        assert caught.value.raw == raw
        assert keys(db) == []

    def test_looking_at_an_item_that_cannot_be_read_leaves_it(self, db: Backend) -> None:
        send(db, "ZADD", "events", 1, b"{}")
        events = PriorityQueue[Event]("events", db)
        for look in (events.peek, events.items):
            with pytest.raises(DecodeError) as caught:
                look()
            assert caught.value.raw == b"{}"
        assert send(db, "ZRANGE", "events", 0, -1) == [b"{}"]

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[PriorityQueue[str]], object]
    ) -> None:
        send(db, "SET", "tasks", "1")
        with pytest.raises(WrongType, match=r"'tasks' holds a string.* works on a zset"):
            operation(PriorityQueue[str]("tasks", db))
        assert send(db, "GET", "tasks") == b"1"


class TestCommands:
    def test_reading_makes_no_key(self, tasks: PriorityQueue[str], db: Backend) -> None:
        for look in (tasks.pop, tasks.peek, tasks.items, tasks.size, tasks.clear):
            look()
        assert tasks.pop_wait(0) is None
        assert "a" not in tasks
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        tasks = PriorityQueue[str]("tasks", seen)
        commands = tasks.commands
        assert seen.sent_by(lambda: tasks.push("a", 1)) == [commands.push("a", 1)]
        assert seen.sent_by(lambda: tasks.push("b", 2)) == [commands.push("b", 2)]
        assert seen.sent_by(tasks.peek) == [commands.peek()]
        assert seen.sent_by(tasks.items) == [commands.items()]
        assert seen.sent_by(tasks.size) == [commands.size()]
        assert seen.sent_by(lambda: "a" in tasks) == [commands.contains("a")]
        assert seen.sent_by(lambda: tasks.contains("a")) == [commands.contains("a")]
        assert seen.sent_by(tasks.pop) == [commands.pop()]
        assert seen.sent_by(lambda: tasks.pop_wait(5)) == [commands.pop_wait(5)]
        assert seen.sent_by(lambda: tasks.pop_wait(0)) == [commands.pop_wait(0)]
        assert seen.sent_by(tasks.clear) == [commands.delete()]
