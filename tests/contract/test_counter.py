"""What a user may rely on in a `Counter`."""

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
    ConfigurationError,
    Counter,
    DecodeError,
    EncodeError,
    WrongType,
    serializer,
)
from tests.watching import Watched, keys, send

BIGGEST = 2**63 - 1


class TestCounting:
    def test_it_counts_up_and_down_from_zero(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        assert visits.incr() == 1
        assert visits.incr(5) == 6
        assert visits.decr() == 5
        assert visits.decr(7) == -2
        assert visits.get() == -2

    def test_it_is_one_number_for_all_who_name_its_key(self, db: Backend) -> None:
        class Visits(Counter[int]):
            KEY = "visits"

        Visits(connection=db).incr()
        Counter[int]("visits", db).incr()
        assert Visits(connection=db).get() == 2

    def test_before_anything_was_counted_get_gives_the_default(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        assert visits.get() is None
        assert visits.get(0) == 0
        assert visits.get(default=NOTHING) is NOTHING

    def test_zero_is_a_number_like_any_other(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        visits.set(0)
        assert visits.get() == 0
        assert visits.get(7) == 0
        assert visits.reset() == 0

    def test_set_makes_it_another_number(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        visits.set(40)
        assert visits.incr(2) == 42

    def test_reset_removes_the_number_and_tells_it(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        visits.incr(3)
        assert visits.reset() == 3
        assert keys(db) == []
        assert visits.reset() is None
        assert visits.incr() == 1

    def test_floats_are_counted_as_floats(self, db: Backend) -> None:
        total = Counter[float]("total", db)
        results = [total.incr(), total.incr(0.5), total.decr(2), total.incr(0.25), total.get(), total.reset()]
        assert results == [1.0, 1.5, -0.5, -0.25, -0.25, -0.25]
        assert [type(result) for result in results] == [float] * 6

    def test_a_small_change_of_a_float_is_not_lost(self, db: Backend) -> None:
        total = Counter[float]("total", db)
        total.set(1e-7)
        assert total.incr(2e-7) == pytest.approx(3e-7)
        assert total.get() == pytest.approx(3e-7)

    def test_without_an_element_type_it_counts_ints(self, db: Backend) -> None:
        visits = Counter("visits", db)
        assert visits.incr(2) == 2
        assert type(visits.get()) is int

    def test_it_is_stored_as_plain_text(self, db: Backend) -> None:
        Counter[int]("visits", db).incr(12)
        Counter[float]("total", db).set(1.5)
        assert send(db, "GET", "visits") == b"12"
        assert send(db, "GET", "total") == b"1.5"

    def test_it_reads_what_the_original_stored(self, db: Backend) -> None:
        class Visits(Counter):
            SERIALIZER = serializer.Numeric

        send(db, "SET", "visits", "41")
        assert Visits("visits", db).get() == 41
        assert Visits("visits", db).incr() == 42

    def test_of_takes_a_type_that_is_known_only_at_run_time(self, db: Backend) -> None:
        assert Counter.of(float)("total", db).incr(0.5) == 0.5


class TestLimits:
    def test_ints_are_exact_to_the_last_of_64_bits(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        visits.set(2**53)
        assert visits.incr() == 2**53 + 1
        visits.set(-BIGGEST)
        assert visits.decr() == -BIGGEST - 1
        visits.set(BIGGEST - 1)
        assert visits.incr() == BIGGEST

    def test_an_overflow_is_refused_and_the_number_stays(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        visits.set(BIGGEST)
        with pytest.raises(CommandRefused, match=r"INCRBY on key 'visits'.*overflow"):
            visits.incr()
        assert visits.get() == BIGGEST

    def test_the_widest_change_down_and_up(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        visits.set(BIGGEST)
        assert visits.decr(BIGGEST) == 0
        assert visits.incr(-BIGGEST - 1) == -BIGGEST - 1

    @pytest.mark.parametrize("by", [1.5, 1.0, "1", True, None, 2**64], ids=repr)
    def test_an_int_changes_by_an_int_of_64_bits(self, db: Backend, by: object) -> None:
        seen = Watched(db)
        visits = Counter[int]("visits", seen)
        for change in (visits.incr, visits.decr):
            with pytest.raises(ArgumentError):
                change(cast("int", by))
        assert seen.commands == []

    @pytest.mark.parametrize(
        "by", [math.nan, math.inf, "1", True, None, 2**53 + 1, 10**400], ids=lambda by: repr(by)[:20]
    )
    def test_a_float_changes_by_a_finite_number(self, db: Backend, by: object) -> None:
        seen = Watched(db)
        total = Counter[float]("total", seen)
        for change in (total.incr, total.decr):
            with pytest.raises(ArgumentError, match="finite number"):
                change(cast("float", by))
        assert seen.commands == []

    @pytest.mark.parametrize("value", ["5", True, 5.0, None], ids=repr)
    def test_set_takes_only_the_element_type(self, db: Backend, value: object) -> None:
        visits = Counter[int]("visits", db)
        visits.incr()
        with pytest.raises(EncodeError, match=r"int.*'visits'"):
            visits.set(cast("int", value))
        assert visits.get() == 1

    @pytest.mark.parametrize("value", [2**63, -(2**63) - 1], ids=["above", "below"])
    def test_set_refuses_an_int_that_the_server_could_not_count_on_from(self, db: Backend, value: int) -> None:
        visits = Counter[int]("visits", db)
        with pytest.raises(ArgumentError, match="64 bits"):
            visits.set(value)
        assert keys(db) == []

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=repr)
    def test_set_refuses_a_float_that_the_server_could_not_count_on_from(self, db: Backend, value: float) -> None:
        total = Counter[float]("total", db)
        with pytest.raises(ArgumentError, match="finite"):
            total.set(value)
        assert keys(db) == []

    @pytest.mark.parametrize("element", [str, bytes, bool], ids=lambda element: element.__name__)
    def test_only_numbers_can_be_counted(self, element: type) -> None:
        with pytest.raises(ConfigurationError, match=f"int or float, not {element.__name__}"):
            Counter.of(cast("type[int]", element))("visits", "memory://")


OPERATIONS: dict[str, Callable[[Counter[int]], object]] = {
    "get": lambda visits: visits.get(),
    "incr": lambda visits: visits.incr(),
    "decr": lambda visits: visits.decr(),
    "reset": lambda visits: visits.reset(),
}


class TestWhatOthersStored:
    @pytest.mark.parametrize("raw", [b"", b"many", b"1.5", b" 1", b"1_000", b"\xff"], ids=repr)
    def test_what_is_no_number_is_not_read_as_one(self, db: Backend, raw: bytes) -> None:
        send(db, "SET", "visits", raw)
        with pytest.raises(DecodeError, match=r"'visits'.* int") as caught:
            Counter[int]("visits", db).get()
        assert caught.value.raw == raw
        assert send(db, "GET", "visits") == raw

    def test_what_is_no_number_is_not_counted_on_from(self, db: Backend) -> None:
        send(db, "SET", "visits", b"many")
        with pytest.raises(CommandRefused, match="not an integer"):
            Counter[int]("visits", db).incr()
        assert send(db, "GET", "visits") == b"many"

    def test_reset_of_what_is_no_number_gives_it_on_the_error(self, db: Backend) -> None:
        send(db, "SET", "visits", b"many")
        with pytest.raises(DecodeError) as caught:
            Counter[int]("visits", db).reset()
        assert caught.value.raw == b"many"
        assert keys(db) == []

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_another_structure_under_its_key_is_named_and_left_alone(
        self, db: Backend, operation: Callable[[Counter[int]], object]
    ) -> None:
        send(db, "LPUSH", "visits", "1")
        with pytest.raises(WrongType, match=r"'visits' holds a list.* works on a string"):
            operation(Counter[int]("visits", db))
        assert send(db, "LRANGE", "visits", 0, -1) == [b"1"]


class TestCommands:
    def test_reading_makes_no_key(self, db: Backend) -> None:
        visits = Counter[int]("visits", db)
        visits.get()
        visits.reset()
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        visits = Counter[int]("visits", seen)
        assert seen.sent_by(visits.incr) == [visits.commands.incr()]
        assert seen.sent_by(lambda: visits.incr(5)) == [visits.commands.incr(5)]
        assert seen.sent_by(lambda: visits.decr(5)) == [visits.commands.decr(5)]
        assert seen.sent_by(lambda: visits.set(5)) == [visits.commands.set(5)]
        assert seen.sent_by(visits.get) == [visits.commands.get()]
        assert seen.sent_by(visits.reset) == [visits.commands.reset()]
