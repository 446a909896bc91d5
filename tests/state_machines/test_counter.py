"""`Counter` beside a plain number."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from redisext import Backend, CommandRefused, Counter
from tests.state_machines.machine import KEY, Machine, drive

SMALLEST, BIGGEST = -(2**63), 2**63 - 1

AMOUNTS = st.integers(-5, 5) | st.integers(SMALLEST + 1, BIGGEST)


class Ints(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter[int](KEY, self.db)
        self.twin: int | None = None

    @rule(by=AMOUNTS)
    def incr(self, by: int) -> None:
        expected = (self.twin or 0) + by
        if SMALLEST <= expected <= BIGGEST:
            assert self.counter.incr(by) == expected
            self.twin = expected
        else:
            with pytest.raises(CommandRefused):
                self.counter.incr(by)

    @rule(by=AMOUNTS)
    def decr(self, by: int) -> None:
        expected = (self.twin or 0) - by
        if SMALLEST <= expected <= BIGGEST:
            assert self.counter.decr(by) == expected
            self.twin = expected
        else:
            with pytest.raises(CommandRefused):
                self.counter.decr(by)

    @rule(value=st.integers(SMALLEST, BIGGEST) | st.just(0))
    def set(self, value: int) -> None:
        self.counter.set(value)
        self.twin = value

    @rule()
    def reset(self) -> None:
        assert self.counter.reset() == self.twin
        self.twin = None

    @invariant()
    def they_agree(self) -> None:
        assert self.counter.get() == self.twin
        assert self.counter.get("none") == ("none" if self.twin is None else self.twin)
        assert self.counter.exists() is (self.twin is not None)


class Floats(Machine):
    """The last digits may differ: the server adds in 80 bits, and Python in 64."""

    amounts = st.floats(-1e6, 1e6) | st.integers(-5, 5)

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter[float](KEY, self.db)
        self.twin: float | None = None

    def check(self, found: float | None) -> None:
        assert found == (None if self.twin is None else pytest.approx(self.twin, rel=1e-9, abs=1e-6))
        assert found is None or type(found) is float

    @rule(by=amounts)
    def incr(self, by: float) -> None:
        self.twin = (self.twin or 0.0) + by
        self.check(self.counter.incr(by))

    @rule(by=amounts)
    def decr(self, by: float) -> None:
        self.twin = (self.twin or 0.0) - by
        self.check(self.counter.decr(by))

    @rule(value=amounts)
    def set(self, value: float) -> None:
        self.counter.set(value)
        self.twin = float(value)

    @rule()
    def reset(self) -> None:
        self.check(self.counter.reset())
        self.twin = None

    @invariant()
    def they_agree(self) -> None:
        self.check(self.counter.get())
        assert self.counter.exists() is (self.twin is not None)


@pytest.mark.parametrize("machine", [Ints, Floats])
def test_it_counts_as_a_number_does(machine: type[Machine], db: Backend) -> None:
    drive(machine, db)
