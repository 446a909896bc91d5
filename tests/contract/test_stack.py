"""What a user may rely on in a `Stack`: the last item in is the first out."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from redisext import NOTHING, Backend, DecodeError, EncodeError, Stack, WrongType, serializer
from tests.elements import Event
from tests.watching import Watched, keys, send


class TestLastInFirstOut:
    def test_the_newest_item_is_taken_first(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        assert plates.push("blue") == 1
        assert plates.push("green", "red") == 3
        assert [plates.pop(), plates.pop(), plates.pop()] == ["red", "green", "blue"]

    def test_an_empty_stack_gives_the_default(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        assert plates.pop() is None
        assert plates.pop("none") == "none"
        assert plates.pop(default=NOTHING) is NOTHING
        assert plates.peek() is None
        assert plates.peek(default=NOTHING) is NOTHING

    def test_peek_shows_the_item_that_pop_would_take_and_leaves_it(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        plates.push("blue", "green")
        assert plates.peek() == "green"
        assert plates.size() == 2
        assert plates.pop() == "green"

    def test_its_size_is_its_length(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        assert plates.size() == len(plates) == 0
        assert not plates
        plates.push("blue", "green")
        assert plates.size() == len(plates) == 2
        assert plates

    def test_items_and_iteration_come_in_the_order_of_pop(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        assert plates.items() == list(plates) == []
        plates.push("blue", "green", "red")
        assert plates.items() == list(plates) == ["red", "green", "blue"]

    def test_models_come_back_as_they_were(self, db: Backend) -> None:
        events = Stack[Event]("events", db)
        events.push(Event(name="", tags=("x",)))
        popped = events.pop()
        assert popped == Event(name="", tags=("x",))
        assert type(popped) is Event

    def test_clear_removes_all_items(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        plates.push("blue", "green")
        plates.clear()
        assert plates.size() == 0
        assert keys(db) == []

    def test_an_emptied_stack_leaves_no_key(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        plates.push("blue")
        plates.pop()
        assert keys(db) == []

    def test_without_an_element_type_it_holds_bytes(self, db: Backend) -> None:
        raw = Stack("raw", db)
        raw.push(b"\x00\xff")
        assert raw.pop() == b"\x00\xff"

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Plates(Stack[str]):
            SERIALIZER = serializer.String

        send(db, "LPUSH", "plates", "blue")
        send(db, "LPUSH", "plates", "green")
        assert Plates("plates", db).pop() == "green"

    def test_of_takes_a_type_that_is_known_only_at_run_time(self, db: Backend) -> None:
        events = Stack.of(Event)("events", db)
        events.push(Event(name="x"))
        assert events.pop() == Event(name="x")


class TestFalsyItems:
    @pytest.mark.parametrize(
        ("element", "item"),
        [(int, 0), (float, 0.0), (str, ""), (bytes, b""), (bool, False), (list[int], []), (dict[str, int], {})],
        ids=repr,
    )
    def test_a_falsy_item_is_not_an_empty_stack(self, db: Backend, element: type[object], item: object) -> None:
        items = Stack.of(element)("items", db)
        items.push(item, item)
        for found in (items.peek("empty"), items.pop("empty"), items.pop_wait(0, default="empty")):
            assert found == item
            assert type(found) is type(item)
        assert items.pop("empty") == "empty"

    def test_a_stored_none_is_told_from_an_empty_stack_by_a_default(self, db: Backend) -> None:
        names = Stack[str | None]("names", db)
        names.push(None)
        assert names.peek(NOTHING) is None
        assert names.pop(NOTHING) is None
        assert names.pop(NOTHING) is NOTHING


class TestWhatIsRefused:
    @pytest.mark.parametrize("item", ["5", True, 5.0, None], ids=repr)
    def test_one_item_of_another_type_and_none_is_pushed(self, db: Backend, item: object) -> None:
        numbers = Stack[int]("numbers", db)
        with pytest.raises(EncodeError, match=r"int.*'numbers'"):
            numbers.push(1, cast("int", item), 2)
        assert keys(db) == []

    def test_looking_for_a_value_is_not_hidden_in_an_operator(self, db: Backend) -> None:
        seen = Watched(db)
        plates = Stack[str]("plates", seen)
        with pytest.raises(TypeError):
            assert "blue" in plates
        assert seen.commands == []


OPERATIONS: dict[str, Callable[[Stack[str]], object]] = {
    "push": lambda plates: plates.push("blue"),
    "pop": lambda plates: plates.pop(),
    "pop_wait": lambda plates: plates.pop_wait(0.01),
    "peek": lambda plates: plates.peek(),
    "size": lambda plates: plates.size(),
    "items": lambda plates: plates.items(),
    "iteration": list,
}


POPS: dict[str, Callable[[Stack[Event]], object]] = {
    "pop": lambda events: events.pop(),
    "pop_wait": lambda events: events.pop_wait(1),
    "pop_wait of no time": lambda events: events.pop_wait(0),
}


class TestWhatOthersStored:
    @pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"\xff"], ids=repr)
    @pytest.mark.parametrize("pop", POPS.values(), ids=POPS)
    def test_an_item_taken_that_cannot_be_read_is_on_the_error(
        self, db: Backend, pop: Callable[[Stack[Event]], object], raw: bytes
    ) -> None:
        send(db, "LPUSH", "events", raw)
        with pytest.raises(DecodeError, match=r"'events'.*Event") as caught:
            pop(Stack[Event]("events", db))
        assert caught.value.raw == raw
        assert keys(db) == []

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[Stack[str]], object]
    ) -> None:
        send(db, "SET", "plates", "1")
        with pytest.raises(WrongType, match=r"'plates' holds a string.* works on a list"):
            operation(Stack[str]("plates", db))
        assert send(db, "GET", "plates") == b"1"


class TestManyItems:
    @pytest.mark.parametrize("size", [1000, 1001, 4321])
    def test_iteration_gives_each_item_once_in_pages_of_a_thousand(self, db: Backend, size: int) -> None:
        seen = Watched(db)
        numbers = Stack[int]("numbers", seen)
        numbers.push(*range(size))
        seen.results.clear()
        assert list(iter(numbers)) == list(reversed(range(size)))
        assert len(seen.results) == -(-size // 1000)
        assert max(seen.page_sizes()) <= 1000

    def test_each_item_that_stays_is_given_once_whatever_is_pushed_and_popped(self, db: Backend) -> None:
        numbers = Stack[int]("numbers", db)
        numbers.push(*range(2500))
        found: list[int] = []
        for number in numbers:
            found.append(number)
            if len(found) == 900:
                for _ in range(50):
                    numbers.pop()
            if len(found) == 1300:
                numbers.push(*range(-99, 0))
        assert found == list(reversed(range(2500)))


class TestCommands:
    def test_reading_makes_no_key(self, db: Backend) -> None:
        plates = Stack[str]("plates", db)
        for look in (plates.pop, plates.peek, plates.size, plates.items, plates.clear):
            look()
        assert list(plates) == []
        assert plates.pop_wait(0) is None
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        plates = Stack[str]("plates", seen)
        assert seen.sent_by(lambda: plates.push("blue", "green")) == [plates.commands.push("blue", "green")]
        assert seen.sent_by(plates.pop) == [plates.commands.pop()]
        assert seen.sent_by(lambda: plates.pop_wait(5)) == [plates.commands.pop_wait(5)]
        assert seen.sent_by(lambda: plates.pop_wait(0)) == [plates.commands.pop_wait(0)]
        assert seen.sent_by(plates.peek) == [plates.commands.peek()]
        assert seen.sent_by(plates.size) == [plates.commands.size()]
        assert seen.sent_by(plates.items) == [plates.commands.items()]
        assert seen.sent_by(lambda: list(iter(plates))) == [plates.commands.page()]
        assert seen.sent_by(plates.clear) == [plates.commands.delete()]
