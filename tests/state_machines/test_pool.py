"""`Pool` beside a `set`, and `SortedSet` beside a `dict` that is sorted."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from redisext import NOTHING, Backend, CommandRefused, Pool, SortedSet
from tests.state_machines.machine import KEY, MEMBERS, Elements, Machine, drive


def pool_machine(elements: Elements) -> type[Machine]:
    element, values = elements
    sets = st.sets(values, max_size=4)

    class APool(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.pool: Pool[Any] = Pool.of(element)(KEY, self.db)
            self.twin: set[Any] = set()

        # Half of an operand comes from the twin: chance alone would seldom hit a member.
        def mixed(self, others: set[Any], number: int) -> set[Any]:
            return others | set(sorted(self.twin, key=repr)[:number])

        @rule(value=values)
        def push(self, value: Any) -> None:
            assert self.pool.push(value) is (value not in self.twin)
            self.twin.add(value)

        @rule(value=values)
        def add(self, value: Any) -> None:
            self.pool.add(value)
            self.twin.add(value)

        @rule(value=values)
        def look_for(self, value: Any) -> None:
            assert (value in self.pool) is (value in self.twin)
            assert self.pool.contains(value) is (value in self.twin)

        @rule()
        def pop(self) -> None:
            taken = self.pool.pop(NOTHING)
            if self.twin:
                self.twin.remove(taken)
            else:
                assert taken is NOTHING

        @rule()
        def peek(self) -> None:
            seen = self.pool.peek(NOTHING)
            assert seen in self.twin or (not self.twin and seen is NOTHING)

        @rule(others=sets, number=st.integers(0, 1))
        def discard(self, others: set[Any], number: int) -> None:
            for value in self.mixed(others, number):
                self.pool.discard(value)
                self.twin.discard(value)

        @rule(others=sets, number=st.integers(0, 1))
        def remove(self, others: set[Any], number: int) -> None:
            for value in self.mixed(others, number):
                if value in self.twin:
                    self.pool.remove(value)
                    self.twin.remove(value)
                else:
                    with pytest.raises(KeyError):
                        self.pool.remove(value)

        @rule(others=sets, number=st.integers(0, 3))
        def combine(self, others: set[Any], number: int) -> None:
            others = self.mixed(others, number)
            assert self.pool & others == others & self.pool == self.twin & others
            assert self.pool | others == others | self.pool == self.twin | others
            assert self.pool ^ others == others ^ self.pool == self.twin ^ others
            assert self.pool - others == self.twin - others
            assert others - self.pool == others - self.twin

        @rule(others=sets, number=st.integers(0, 9))
        def compare(self, others: set[Any], number: int) -> None:
            for other in (others, self.mixed(others, number), self.mixed(set(), number)):
                assert (self.pool == other) is (self.twin == other)
                assert (self.pool <= other) is (self.twin <= other)
                assert (self.pool < other) is (self.twin < other)
                assert (self.pool >= other) is (self.twin >= other)
                assert (self.pool > other) is (self.twin > other)
                assert self.pool.isdisjoint(other) is self.twin.isdisjoint(other)

        @rule(others=sets, number=st.integers(0, 3))
        def unite(self, others: set[Any], number: int) -> None:
            others = self.mixed(others, number)
            self.pool |= others
            self.twin |= others

        @rule(others=sets, number=st.integers(1, 9))
        def intersect(self, others: set[Any], number: int) -> None:
            others = self.mixed(others, number)
            self.pool &= others
            self.twin &= others

        @rule(others=sets, number=st.integers(0, 3))
        def subtract(self, others: set[Any], number: int) -> None:
            others = self.mixed(others, number)
            self.pool -= others
            self.twin -= others

        @rule(others=sets, number=st.integers(0, 3))
        def toggle(self, others: set[Any], number: int) -> None:
            others = self.mixed(others, number)
            self.pool ^= others
            self.twin ^= others

        @rule()
        def clear(self) -> None:
            if len(self.twin) > 5:
                self.pool.clear()
                self.twin.clear()

        @invariant()
        def they_agree(self) -> None:
            members = self.pool.members()
            assert len(members) == len(self.pool) == len(self.twin)
            assert set(members) == set(self.pool) == self.twin
            assert {type(member) for member in members} == {type(value) for value in self.twin}
            assert self.pool.exists() is bool(self.twin)

    return APool


@pytest.mark.parametrize("elements", MEMBERS.values(), ids=MEMBERS)
def test_a_pool_is_a_set(elements: Elements, db: Backend) -> None:
    drive(pool_machine(elements), db)


SCORES = st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from([0.5, math.inf, -math.inf])


def sorted_set_machine(elements: Elements) -> type[Machine]:
    element, values = elements

    class ASortedSet(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.sorted: SortedSet[Any] = SortedSet.of(element)(KEY, self.db)
            self.twin: dict[Any, float] = {}

        def ordered(self) -> list[tuple[float, Any]]:
            """The lowest score first; where scores are equal, in the order of bytes."""
            pairs = [(score, self.sorted.commands.rem(value).args, value) for value, score in self.twin.items()]
            return [(score, value) for score, _, value in sorted(pairs, key=lambda pair: pair[:2])]

        def between(self, lowest: float, highest: float) -> list[Any]:
            return [value for score, value in self.ordered() if lowest <= score <= highest]

        @rule(value=values, score=SCORES)
        def add(self, value: Any, score: float) -> None:
            assert self.sorted.add(value, score) is (value not in self.twin)
            self.twin[value] = score

        @rule(value=values, others=st.integers(0, 9), by=SCORES)
        def incr(self, value: Any, others: int, by: float) -> None:
            known = [known for _, known in self.ordered()]
            value = known[others] if others < len(known) else value
            expected = self.twin.get(value, 0.0) + by
            if math.isnan(expected):
                with pytest.raises(CommandRefused):
                    self.sorted.incr(value, by)
            else:
                assert self.sorted.incr(value, by) == expected
                self.twin[value] = expected

        @rule(value=values, number=st.integers(0, 9))
        def rem(self, value: Any, number: int) -> None:
            for one in (value, *self.between(-math.inf, math.inf)[number : number + 1]):
                assert self.sorted.rem(one) is (one in self.twin)
                self.twin.pop(one, None)

        @rule(value=values)
        def look_for(self, value: Any) -> None:
            assert (value in self.sorted) is self.sorted.contains(value) is (value in self.twin)
            assert self.sorted.score(value) == self.twin.get(value)
            for rank, (score, known) in enumerate(reversed(self.ordered())):
                assert self.sorted.rank(known) == rank
                assert self.sorted.score(known) == score

        @rule(lowest=SCORES, highest=SCORES)
        def look_between(self, lowest: float, highest: float) -> None:
            found = self.between(lowest, highest)
            assert self.sorted.members_by_score(lowest, highest) == found
            assert self.sorted.length(lowest, highest) == len(found)
            inside = [value for value in found if lowest < self.twin[value] < highest]
            assert self.sorted.members_by_score(f"({lowest}", f"({highest}") == inside
            assert self.sorted.length(f"({lowest}", f"({highest}") == len(inside)

        @rule(size=st.integers(0, 9))
        def truncate(self, size: int) -> None:
            removed = self.ordered()[: max(0, len(self.twin) - size)]
            assert self.sorted.truncate(size) == len(removed)
            for _, value in removed:
                del self.twin[value]

        @rule(lowest=SCORES, highest=SCORES)
        def clean_by_score(self, lowest: float, highest: float) -> None:
            removed = self.between(lowest, highest)
            assert self.sorted.clean_by_score(lowest, highest) is bool(removed)
            for value in removed:
                del self.twin[value]

        @rule()
        def clean(self) -> None:
            if len(self.twin) > 5:
                assert self.sorted.clean() is True
                self.twin.clear()

        @invariant()
        def they_agree(self) -> None:
            ordered = self.ordered()
            highest_first = [value for _, value in reversed(ordered)]
            assert self.sorted.members(with_scores=True) == ordered[::-1]
            assert self.sorted.members() == list(self.sorted) == highest_first
            assert self.sorted.members_by_score(with_scores=True) == ordered
            assert self.sorted.length() == len(self.sorted) == len(ordered)
            assert self.sorted.exists() is bool(ordered)

    return ASortedSet


@pytest.mark.parametrize("elements", MEMBERS.values(), ids=MEMBERS)
def test_a_sorted_set_is_a_dict_in_the_order_of_its_values(elements: Elements, db: Backend) -> None:
    drive(sorted_set_machine(elements), db)
