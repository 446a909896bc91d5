"""`Queue` and `Stack` beside a `deque`, and `PriorityQueue` beside a `dict` and `min`."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from redisext import NOTHING, Backend, PriorityQueue, Queue, Stack
from tests.state_machines.machine import ANY_ELEMENTS, KEY, MEMBERS, Elements, Machine, drive, shown


def list_machine(kind: type[Queue[Any] | Stack[Any]], elements: Elements) -> type[Machine]:
    element, values = elements

    class AList(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.items: Queue[Any] | Stack[Any] = kind.of(element)(KEY, self.db)
            self.twin: deque[Any] = deque()

        def next_of_twin(self) -> Any:
            """Where it would be taken from, without taking it."""
            if not self.twin:
                return NOTHING
            return self.twin[-1] if kind is Queue else self.twin[0]

        def taken_from_twin(self) -> Any:
            if not self.twin:
                return NOTHING
            return self.twin.pop() if kind is Queue else self.twin.popleft()

        @rule(items=st.lists(values, max_size=4))
        def push(self, items: list[Any]) -> None:
            self.twin.extendleft(items)
            assert self.items.push(*items) == len(self.twin)

        @rule()
        def pop(self) -> None:
            assert shown(self.items.pop(NOTHING)) == shown(self.taken_from_twin())

        @rule()
        def pop_or_none(self) -> None:
            taken = self.taken_from_twin()
            assert shown(self.items.pop()) == shown(None if taken is NOTHING else taken)

        @rule()
        def pop_wait(self) -> None:
            timeout = 10 if self.twin else 0
            assert shown(self.items.pop_wait(timeout, default=NOTHING)) == shown(self.taken_from_twin())

        @rule()
        def peek(self) -> None:
            assert shown(self.items.peek(NOTHING)) == shown(self.next_of_twin())

        @rule()
        def clear(self) -> None:
            if len(self.twin) > 5:
                self.items.clear()
                self.twin.clear()

        @invariant()
        def they_agree(self) -> None:
            newest_first = list(map(shown, self.twin))
            assert list(map(shown, self.items.items())) == newest_first
            assert list(map(shown, self.items)) == newest_first
            assert self.items.size() == len(self.items) == len(newest_first)
            assert self.items.exists() is bool(newest_first)

    return AList


@pytest.mark.parametrize("elements", ANY_ELEMENTS.values(), ids=ANY_ELEMENTS)
def test_a_queue_is_a_deque_with_two_ends(elements: Elements, db: Backend) -> None:
    drive(list_machine(Queue, elements), db)


@pytest.mark.parametrize("elements", ANY_ELEMENTS.values(), ids=ANY_ELEMENTS)
def test_a_stack_is_a_deque_with_one_end(elements: Elements, db: Backend) -> None:
    drive(list_machine(Stack, elements), db)


PRIORITIES = st.integers(-2, 2) | st.floats(allow_nan=False) | st.sampled_from([math.inf, -math.inf])


def priority_queue_machine(elements: Elements) -> type[Machine]:
    element, values = elements

    class APriorityQueue(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.queue: PriorityQueue[Any] = PriorityQueue.of(element)(KEY, self.db)
            self.twin: dict[Any, float] = {}

        def ordered(self) -> list[Any]:
            """The lowest priority first; where priorities are equal, in the order of bytes."""
            return sorted(self.twin, key=lambda item: (self.twin[item], self.queue.commands.contains(item).args))

        def taken_from_twin(self) -> Any:
            if not self.twin:
                return NOTHING
            first = self.ordered()[0]
            del self.twin[first]
            return first

        @rule(item=values, priority=PRIORITIES)
        def push(self, item: Any, priority: float) -> None:
            assert self.queue.push(item, priority) is (item not in self.twin)
            self.twin[item] = priority

        @rule(number=st.integers(0, 9), priority=PRIORITIES)
        def push_again(self, number: int, priority: float) -> None:
            for item in self.ordered()[number : number + 1]:
                assert self.queue.push(item, priority) is False
                self.twin[item] = priority

        @rule()
        def pop(self) -> None:
            assert self.queue.pop(NOTHING) == self.taken_from_twin()

        @rule()
        def pop_wait(self) -> None:
            timeout = 10 if self.twin else 0
            assert self.queue.pop_wait(timeout, default=NOTHING) == self.taken_from_twin()

        @rule()
        def peek(self) -> None:
            assert self.queue.peek(NOTHING) == next(iter(self.ordered()), NOTHING)

        @rule(item=values)
        def look_for(self, item: Any) -> None:
            assert (item in self.queue) is (item in self.twin)

        @rule()
        def clear(self) -> None:
            if len(self.twin) > 5:
                self.queue.clear()
                self.twin.clear()

        @invariant()
        def they_agree(self) -> None:
            assert self.queue.items() == self.ordered()
            assert self.queue.size() == len(self.queue) == len(self.twin)
            assert self.queue.exists() is bool(self.twin)

    return APriorityQueue


@pytest.mark.parametrize("elements", MEMBERS.values(), ids=MEMBERS)
def test_a_priority_queue_gives_the_least_of_a_dict(elements: Elements, db: Backend) -> None:
    drive(priority_queue_machine(elements), db)
