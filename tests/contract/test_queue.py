"""What a user may rely on in a `Queue`: the first item in is the first out."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from redisext import NOTHING, Backend, DecodeError, EncodeError, Queue, WrongType, serializer
from tests.elements import Event, Place
from tests.watching import Watched, keys, send


class TestFirstInFirstOut:
    def test_items_are_taken_in_the_order_in_which_they_came(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        assert jobs.push("sweep") == 1
        assert jobs.push("mop", "dust") == 3
        assert [jobs.pop(), jobs.pop(), jobs.pop()] == ["sweep", "mop", "dust"]

    def test_an_empty_queue_gives_the_default(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        assert jobs.pop() is None
        assert jobs.pop("idle") == "idle"
        assert jobs.pop(default=NOTHING) is NOTHING
        assert jobs.peek() is None
        assert jobs.peek(default=NOTHING) is NOTHING

    def test_peek_shows_the_item_that_pop_would_take_and_leaves_it(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        jobs.push("sweep", "mop")
        assert jobs.peek() == "sweep"
        assert jobs.size() == 2
        assert jobs.pop() == "sweep"

    def test_its_size_is_its_length(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        assert jobs.size() == len(jobs) == 0
        assert not jobs
        jobs.push("sweep", "mop")
        assert jobs.size() == len(jobs) == 2
        assert jobs

    def test_items_and_iteration_begin_with_the_newest(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        assert jobs.items() == list(jobs) == []
        jobs.push("sweep", "mop", "dust")
        assert jobs.items() == list(jobs) == ["dust", "mop", "sweep"]

    def test_equal_items_stay_apart(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        assert jobs.push("sweep", "sweep") == 2
        assert [jobs.pop(), jobs.pop(), jobs.pop()] == ["sweep", "sweep", None]

    def test_models_come_back_as_they_were(self, db: Backend) -> None:
        event = Event(name="fête", place=Place(city="Žižkov", floor=2), tags=("a", ""))
        events = Queue[Event]("events", db)
        events.push(event)
        assert events.peek() == event
        assert events.items() == [event]
        popped = events.pop()
        assert popped == event
        assert type(popped) is Event

    def test_clear_removes_all_items(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        jobs.push("sweep", "mop")
        jobs.clear()
        assert jobs.size() == 0
        assert keys(db) == []
        jobs.clear()

    def test_an_emptied_queue_leaves_no_key(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        jobs.push("sweep")
        jobs.pop()
        assert keys(db) == []

    def test_without_an_element_type_it_holds_bytes(self, db: Backend) -> None:
        raw = Queue("raw", db)
        raw.push(b"\x00\xff")
        assert raw.pop() == b"\x00\xff"

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Jobs(Queue[object]):
            SERIALIZER = serializer.JSON

        send(db, "LPUSH", "jobs", '{"n": 1}')
        send(db, "LPUSH", "jobs", '{"n": 2}')
        assert Jobs("jobs", db).pop() == {"n": 1}

    def test_of_takes_a_type_that_is_known_only_at_run_time(self, db: Backend) -> None:
        events = Queue.of(Event)("events", db)
        events.push(Event(name="x"))
        assert events.pop() == Event(name="x")


class TestFalsyItems:
    @pytest.mark.parametrize(
        ("element", "item"),
        [(int, 0), (float, 0.0), (str, ""), (bytes, b""), (bool, False), (list[int], []), (dict[str, int], {})],
        ids=repr,
    )
    def test_a_falsy_item_is_not_an_empty_queue(self, db: Backend, element: type[object], item: object) -> None:
        items = Queue.of(element)("items", db)
        items.push(item, item)
        for found in (items.peek("empty"), items.pop("empty"), items.pop_wait(0, default="empty")):
            assert found == item
            assert type(found) is type(item)
        assert items.pop("empty") == "empty"

    def test_a_stored_none_is_told_from_an_empty_queue_by_a_default(self, db: Backend) -> None:
        names = Queue[str | None]("names", db)
        names.push(None)
        assert names.peek(NOTHING) is None
        assert names.pop(NOTHING) is None
        assert names.pop(NOTHING) is NOTHING


class TestWhatIsRefused:
    @pytest.mark.parametrize("item", ["5", True, 5.0, None], ids=repr)
    def test_one_item_of_another_type_and_none_is_pushed(self, db: Backend, item: object) -> None:
        numbers = Queue[int]("numbers", db)
        with pytest.raises(EncodeError, match=r"int.*'numbers'"):
            numbers.push(1, cast("int", item), 2)
        assert keys(db) == []

    def test_nothing_pushed_is_no_error_and_makes_no_key(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        assert jobs.push() == 0
        assert keys(db) == []
        jobs.push("sweep")
        assert jobs.push() == 1

    def test_looking_for_a_value_is_not_hidden_in_an_operator(self, db: Backend) -> None:
        seen = Watched(db)
        jobs = Queue[str]("jobs", seen)
        with pytest.raises(TypeError):
            assert "sweep" in jobs
        assert seen.commands == []


OPERATIONS: dict[str, Callable[[Queue[str]], object]] = {
    "push": lambda jobs: jobs.push("sweep"),
    "push of nothing": lambda jobs: jobs.push(),
    "pop": lambda jobs: jobs.pop(),
    "pop_wait": lambda jobs: jobs.pop_wait(0.01),
    "peek": lambda jobs: jobs.peek(),
    "size": lambda jobs: jobs.size(),
    "items": lambda jobs: jobs.items(),
    "iteration": list,
}


POPS: dict[str, Callable[[Queue[Event]], object]] = {
    "pop": lambda events: events.pop(),
    "pop_wait": lambda events: events.pop_wait(1),
    "pop_wait of no time": lambda events: events.pop_wait(0),
}

LOOKS: dict[str, Callable[[Queue[Event]], object]] = {
    "peek": lambda events: events.peek(),
    "items": lambda events: events.items(),
    "iteration": list,
}


class TestWhatOthersStored:
    @pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"\xff"], ids=repr)
    @pytest.mark.parametrize("pop", POPS.values(), ids=POPS)
    def test_an_item_taken_that_cannot_be_read_is_on_the_error(
        self, db: Backend, pop: Callable[[Queue[Event]], object], raw: bytes
    ) -> None:
        send(db, "LPUSH", "events", raw)
        with pytest.raises(DecodeError, match=r"'events'.*Event") as caught:
            pop(Queue[Event]("events", db))
        assert caught.value.raw == raw
        assert caught.value.key == "events"
        assert keys(db) == []

    @pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
    def test_looking_at_an_item_that_cannot_be_read_leaves_it(
        self, db: Backend, look: Callable[[Queue[Event]], object]
    ) -> None:
        send(db, "LPUSH", "events", b"{}")
        with pytest.raises(DecodeError) as caught:
            look(Queue[Event]("events", db))
        assert caught.value.raw == b"{}"
        assert send(db, "LRANGE", "events", 0, -1) == [b"{}"]

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[Queue[str]], object]
    ) -> None:
        send(db, "SET", "jobs", "1")
        with pytest.raises(WrongType, match=r"'jobs' holds a string.* works on a list"):
            operation(Queue[str]("jobs", db))
        assert send(db, "GET", "jobs") == b"1"


class TestManyItems:
    @pytest.mark.parametrize("size", [999, 1000, 1001, 2000, 4321])
    def test_iteration_gives_each_item_once_in_pages_of_a_thousand(self, db: Backend, size: int) -> None:
        seen = Watched(db)
        numbers = Queue[int]("numbers", seen)
        numbers.push(*range(size))
        seen.results.clear()
        assert list(iter(numbers)) == list(reversed(range(size)))
        assert len(seen.results) == -(-size // 1000)
        assert sum(seen.page_sizes()) == size
        assert max(seen.page_sizes()) <= 1000

    def test_the_rest_is_not_fetched_when_iteration_stops_early(self, db: Backend) -> None:
        seen = Watched(db)
        numbers = Queue[int]("numbers", seen)
        numbers.push(*range(3000))
        assert len(seen.sent_by(lambda: next(iter(numbers)))) == 1

    def test_what_is_pushed_during_iteration_does_not_shift_it(self, db: Backend) -> None:
        numbers = Queue[int]("numbers", db)
        numbers.push(*range(2500))
        found: list[int] = []
        for number in numbers:
            found.append(number)
            if len(found) % 700 == 0:
                numbers.push(-1, -2)
        assert found == list(reversed(range(2500)))

    def test_what_is_popped_during_iteration_hides_no_other_item(self, db: Backend) -> None:
        numbers = Queue[int]("numbers", db)
        numbers.push(*range(2500))
        found: list[int] = []
        for number in numbers:
            found.append(number)
            if len(found) == 1000:
                assert [numbers.pop() for _ in range(600)] == list(range(600))
        assert set(found) >= set(range(600, 2500))

    def test_clearing_during_iteration_ends_it(self, db: Backend) -> None:
        numbers = Queue[int]("numbers", db)
        numbers.push(*range(2500))
        iteration = iter(numbers)
        next(iteration)
        numbers.clear()
        assert len(list(iteration)) == 999


class TestCommands:
    def test_reading_makes_no_key(self, db: Backend) -> None:
        jobs = Queue[str]("jobs", db)
        for look in (jobs.pop, jobs.peek, jobs.size, jobs.items, jobs.clear):
            look()
        assert list(jobs) == []
        assert jobs.pop_wait(0) is None
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        jobs = Queue[str]("jobs", seen)
        assert seen.sent_by(lambda: jobs.push("sweep", "mop")) == [jobs.commands.push("sweep", "mop")]
        assert seen.sent_by(jobs.push) == [jobs.commands.push()]
        assert seen.sent_by(jobs.pop) == [jobs.commands.pop()]
        assert seen.sent_by(lambda: jobs.pop_wait(5)) == [jobs.commands.pop_wait(5)]
        assert seen.sent_by(lambda: jobs.pop_wait(0)) == [jobs.commands.pop_wait(0)]
        assert seen.sent_by(jobs.peek) == [jobs.commands.peek()]
        assert seen.sent_by(jobs.size) == [jobs.commands.size()]
        assert seen.sent_by(jobs.items) == [jobs.commands.items()]
        assert seen.sent_by(lambda: list(iter(jobs))) == [jobs.commands.page()]
        assert seen.sent_by(jobs.clear) == [jobs.commands.delete()]
