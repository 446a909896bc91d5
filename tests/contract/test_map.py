"""What a user may rely on in a `Map`: one value under one key."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import pytest

from redisext import (
    NOTHING,
    ArgumentError,
    Backend,
    CommandRefused,
    DecodeError,
    EncodeError,
    Map,
    WrongType,
    serializer,
)
from tests.elements import Event, Place
from tests.servers import wait_until
from tests.watching import Watched, keys, send


class TestOneValue:
    def test_what_was_set_is_what_get_gives(self, db: Backend) -> None:
        name = Map[str]("name", db)
        assert name.get() is None
        assert name.set("Ada") is True
        assert name.get() == "Ada"
        assert name.set("Bob") is True
        assert name.get() == "Bob"

    def test_it_can_be_looked_for_and_removed(self, db: Backend) -> None:
        name = Map[str]("name", db)
        assert name.exists() is False
        name.set("Ada")
        assert name.exists() is True
        assert name.remove() is True
        assert name.exists() is False
        assert name.remove() is False
        assert keys(db) == []

    def test_a_model_comes_back_as_it_was(self, db: Backend) -> None:
        event = Event(name="fête", place=Place(city="Žižkov", floor=2), tags=("a", ""))
        Map[Event]("event", db).set(event)
        found = Map[Event]("event", db).get()
        assert found == event
        assert type(found) is Event
        assert type(found.place) is Place

    def test_update_replaces_the_value_by_one_made_from_it(self, db: Backend) -> None:
        best = Map[int]("best", db)
        assert best.update(lambda score: max(score or 0, 7)) == 7
        assert best.update(lambda score: max(score or 0, 3)) == 7
        assert best.get() == 7

    def test_numbers_count_up_and_down(self, db: Backend) -> None:
        level = Map[int]("level", db)
        assert level.incr() == 1
        assert level.incr(4) == 5
        assert level.decr() == 4
        assert level.decr(10) == -6
        price = Map[float]("price", db)
        assert price.incr(1.5) == 1.5
        assert price.decr(1) == 0.5
        assert type(price.incr()) is float

    def test_put_is_another_name_of_set(self, db: Backend) -> None:
        assert Map[str]("name", db).put("Ada") is True
        assert Map[str]("name", db).get() == "Ada"

    def test_without_an_element_type_it_holds_bytes(self, db: Backend) -> None:
        raw = Map("raw", db)
        raw.set(b"\x00\xff")
        assert raw.get() == b"\x00\xff"

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Settings(Map[object]):
            SERIALIZER = serializer.JSON

        send(db, "SET", "settings", '{"volume": 11, "muted": false}')
        assert Settings("settings", db).get() == {"volume": 11, "muted": False}

    def test_of_takes_a_type_that_is_known_only_at_run_time(self, db: Backend) -> None:
        assert Map.of(Event)("event", db).update(lambda _: Event(name="x")) == Event(name="x")


class TestExpiry:
    def test_a_value_can_be_set_to_expire(self, db: Backend) -> None:
        session = Map[str]("session", db)
        assert session.set("a", expire=60) is True
        assert session.ttl() == 60
        assert session.set("b", expire=0.02) is True
        wait_until(lambda: session.get() is None, "it expires")
        assert keys(db) == []

    def test_a_value_set_without_it_does_not_expire(self, db: Backend) -> None:
        session = Map[str]("session", db)
        session.set("a", expire=60)
        session.set("b")
        assert session.ttl() == -1

    def test_update_keeps_it(self, db: Backend) -> None:
        session = Map[str]("session", db)
        session.set("a", expire=60)
        session.update(lambda old: f"{old}b")
        assert session.ttl() == 60

    @pytest.mark.parametrize("expire", [0, -1, math.nan, math.inf, "60", True], ids=repr)
    def test_what_is_no_time_is_refused_and_the_old_value_stays(self, db: Backend, expire: object) -> None:
        session = Map[str]("session", db)
        session.set("a", expire=60)
        with pytest.raises(ArgumentError, match="expire"):
            session.set("b", expire=cast("float", expire))
        assert session.get() == "a"
        assert session.ttl() == 60


class TestFalsyValues:
    @pytest.mark.parametrize(
        ("element", "value"),
        [
            (int, 0),
            (float, 0.0),
            (str, ""),
            (bytes, b""),
            (bool, False),
            (list[int], []),
            (dict[str, int], {}),
            (tuple[int, ...], ()),
        ],
        ids=repr,
    )
    def test_a_falsy_value_is_not_a_missing_one(self, db: Backend, element: type[object], value: object) -> None:
        holder = Map.of(element)("holder", db)
        holder.set(value)
        found = holder.get("missing")
        assert found == value
        assert type(found) is type(value)
        assert holder.exists() is True
        assert holder.update(lambda old: [value, "missing"][old is None]) == value

    def test_a_stored_none_is_told_from_nothing_by_a_default(self, db: Backend) -> None:
        name = Map[str | None]("name", db)
        assert name.get(NOTHING) is NOTHING
        name.set(None)
        assert name.get(NOTHING) is None
        assert name.get("default") is None


class TestUpdate:
    def test_it_starts_over_when_somebody_else_was_faster(self, db: Backend) -> None:
        words = Map[str]("words", db)
        words.set("a")
        given: list[str | None] = []

        def add_b(old: str | None) -> str:
            given.append(old)
            if len(given) == 1:
                words.set("ab")  # longer, with the old value as its beginning
            return f"{old}b"

        assert words.update(add_b) == "abb"
        assert given == ["a", "ab"]

    def test_it_starts_over_when_somebody_else_set_the_first_value(self, db: Backend) -> None:
        word = Map[str]("word", db)
        given: list[str | None] = []

        def replace(old: str | None) -> str:
            given.append(old)
            if len(given) == 1:
                word.set("")
            return "new"

        word.update(replace)
        assert given == [None, ""]

    def test_it_starts_over_when_somebody_else_removed_the_value(self, db: Backend) -> None:
        word = Map[str]("word", db)
        word.set("old")
        given: list[str | None] = []

        def replace(old: str | None) -> str:
            given.append(old)
            word.remove()
            return "new"

        word.update(replace)
        assert given == ["old", None]

    def test_any_bytes_are_compared_exactly(self, db: Backend) -> None:
        raw = Map[bytes]("raw", db)
        raw.set(b"\xff\x00\xfe")
        assert raw.update(lambda old: (old or b"") + b"\x80") == b"\xff\x00\xfe\x80"
        assert raw.get() == b"\xff\x00\xfe\x80"

    def test_big_ints_stay_exact(self, db: Backend) -> None:
        big = Map[int]("big", db)
        big.set(2**64 + 1)
        assert big.update(lambda old: (old or 0) + 1) == 2**64 + 2
        assert big.get() == 2**64 + 2

    def test_an_error_of_the_function_changes_nothing(self, db: Backend) -> None:
        word = Map[str]("word", db)
        word.set("old")
        with pytest.raises(ZeroDivisionError):
            word.update(lambda _: str(1 // 0))
        assert word.get() == "old"

    def test_a_result_of_another_type_changes_nothing(self, db: Backend) -> None:
        word = Map[str]("word", db)
        word.set("old")
        with pytest.raises(EncodeError, match=r"int as str.*'word'"):
            word.update(lambda _: cast("str", 5))
        assert word.get() == "old"

    def test_it_takes_two_commands_when_nobody_interferes(self, db: Backend) -> None:
        seen = Watched(db)
        assert len(seen.sent_by(lambda: Map[int]("best", seen).update(lambda _: 1))) == 2


class TestWhatIsRefused:
    @pytest.mark.parametrize("value", ["5", True, 5.0, None], ids=repr)
    def test_a_value_of_another_type_is_not_set(self, db: Backend, value: object) -> None:
        number = Map[int]("number", db)
        number.set(1)
        with pytest.raises(EncodeError, match=r"int.*'number'"):
            number.set(cast("int", value))
        assert number.get() == 1

    @pytest.mark.parametrize("by", ["1", True, 1.5, None, math.nan], ids=repr)
    def test_an_int_changes_by_an_int(self, db: Backend, by: object) -> None:
        number = Map[int]("number", db)
        for change in (number.incr, number.decr):
            with pytest.raises(ArgumentError, match="by an int"):
                change(cast("int", by))
        assert keys(db) == []

    def test_what_is_no_number_cannot_be_counted(self, db: Backend) -> None:
        word = Map[str]("word", db)
        word.set("5")
        with pytest.raises(EncodeError, match="str cannot be incremented"):
            word.incr()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        with pytest.raises(EncodeError, match="str cannot be incremented"):
            word.decr()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        assert word.get() == "5"

    def test_an_overflow_is_refused_and_the_number_stays(self, db: Backend) -> None:
        number = Map[int]("number", db)
        number.set(2**63 - 1)
        with pytest.raises(CommandRefused, match="'number'"):
            number.incr()
        assert number.get() == 2**63 - 1


OPERATIONS: dict[str, Callable[[Map[int]], object]] = {
    "get": lambda number: number.get(),
    "incr": lambda number: number.incr(),
    "decr": lambda number: number.decr(),
    "update": lambda number: number.update(lambda _: 5),
}


class TestWhatOthersStored:
    @pytest.mark.parametrize("raw", [b"", b"{}", b"null", b'{"name":5}', b"\xff"], ids=repr)
    def test_what_is_not_of_the_element_type_is_an_error_that_holds_it(self, db: Backend, raw: bytes) -> None:
        send(db, "SET", "event", raw)
        event = Map[Event]("event", db)
        with pytest.raises(DecodeError, match=r"'event'.*Event") as caught:
            event.get()
        assert caught.value.raw == raw
        assert caught.value.key == "event"
        assert send(db, "GET", "event") == raw

    def test_update_does_not_overwrite_what_it_cannot_read(self, db: Backend) -> None:
        send(db, "SET", "event", b"{}")
        with pytest.raises(DecodeError, match="'event'") as caught:
            Map[Event]("event", db).update(lambda _: Event(name="x"))
        assert caught.value.raw == b"{}"
        assert send(db, "GET", "event") == b"{}"

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[Map[int]], object]
    ) -> None:
        send(db, "SADD", "number", "1")
        with pytest.raises(WrongType, match=r"'number' holds a set.* works on a string"):
            operation(Map[int]("number", db))
        assert send(db, "SMEMBERS", "number") == [b"1"]

    def test_set_replaces_another_structure_as_redis_does(self, db: Backend) -> None:
        send(db, "SADD", "number", "1")
        assert Map[int]("number", db).set(5) is True
        assert send(db, "GET", "number") == b"5"


class TestCommands:
    def test_reading_makes_no_key(self, db: Backend) -> None:
        name = Map[str]("name", db)
        name.get()
        name.exists()
        name.remove()
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        number = Map[int]("number", seen)
        assert seen.sent_by(lambda: number.set(5)) == [number.commands.set(5)]
        assert seen.sent_by(lambda: number.set(5, expire=60)) == [number.commands.set(5, expire=60)]
        assert seen.sent_by(lambda: number.incr(5)) == [number.commands.incr(5)]
        assert seen.sent_by(lambda: number.decr(5)) == [number.commands.decr(5)]
        assert seen.sent_by(number.get) == [number.commands.get()]
        assert seen.sent_by(number.exists) == [number.commands.exists()]
        assert seen.sent_by(number.remove) == [number.commands.delete()]
