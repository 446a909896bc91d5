"""Whether a history can have come from one object that does one thing at a time: linearizability.

A history is linearizable if each call can be given an instant between its beginning and its end, so that the answers
are those of the object to the calls in the order of these instants (Herlihy and Wing, "Linearizability: a correctness
condition for concurrent objects", 1990). A call whose outcome is unknown has its instant at any time after its
beginning, or none.

The algorithm is the one of Wing and Gong ("Testing and verifying concurrent objects", 1993): take, of the calls that
may come next, one whose answer fits, and go on; where none fits, take back the last one. With the memory of Lowe
("Testing for linearizability", 2017): what was taken, as a set, together with the state that it left, is not tried
twice. The doubly-linked list of beginnings and ends, and the checking of each object by itself (P-compositionality),
are as in Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015. Knossos and Porcupine do
the same in other languages; for Python there is no such library that is kept.

Three things are of this module's own. A call of unknown outcome is taken where no other fits. Of equal ones the first
is taken first: what a later one can do, it can do too, so what would be tried for each subset of them is tried for each
number. And a search that would not end is given up after so many steps: UNDECIDED.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Protocol, TypeVar, cast

from tests.faults.history import Record

S = TypeVar("S", bound=Hashable)

STEPS: Final = 300_000
"""The most steps of a search: about a second."""


class Verdict(Enum):
    LINEARIZABLE = "linearizable"
    NOT = "not linearizable"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a history. Where nobody was `told` its outcome, `answer` says nothing.

    `ended` is None if it is `pending`: it may have its effect at any time, or never. One of which nobody was told, but
    whose effect somebody has seen, is not: it ended then.
    """

    operation: str
    argument: object
    answer: object
    started: float
    ended: float | None
    told: bool = True

    @property
    def pending(self) -> bool:
        return self.ended is None

    def gave(self, answer: object) -> bool:
        """Whether that can have been the answer."""
        return not self.told or self.answer == answer


class Model(Protocol[S]):
    """What an object does when calls come one at a time."""

    @property
    def initial(self) -> S:
        """The state at first."""
        ...

    def step(self, state: S, call: Call) -> S | None:
        """The state after *call*; None if it cannot have given its answer in *state*."""
        ...

    def calls(self, records: Sequence[Record]) -> list[Call]:
        """What is to be explained of the records of one object. Mostly `calls_of` gives it."""
        ...


def calls_of(records: Iterable[Record]) -> list[Call]:
    """All that was or may have been carried out, but reads of which nobody heard."""
    return [
        Call(
            one.operation,
            one.argument,
            one.answer,
            one.started,
            one.ended if one.acknowledged else None,
            not one.unknown,
        )
        for one in records
        if one.acknowledged or (one.unknown and one.operation not in _READS)
    ]


_READS: Final = frozenset({"get", "items"})


def check(records: Sequence[Record], model: Model[S], *, steps: int = STEPS) -> Verdict:
    """Whether the records of one object are linearizable."""
    return search(model.calls(records), model, steps=steps)


def search(calls: Sequence[Call], model: Model[S], *, steps: int = STEPS) -> Verdict:
    """The same for calls."""
    completed = _List([one for one in calls if not one.pending])
    pending = _Pending([one for one in calls if one.pending])
    state, taken = model.initial, pending.none
    path: list[tuple[_Begin | _End, int, S]] = []
    seen: set[tuple[int, S]] = {(taken, state)}
    event, position = completed.first, 0
    while event is not None:
        steps -= 1
        if steps < 0:
            return Verdict.UNDECIDED
        if isinstance(event, _Begin):
            bit, call = event.bit << pending.size, event.call
        else:
            # Here ends a call that has not been taken: no other can come before it, but one that is pending.
            position = pending.next(position, taken, event.time)
            if position < 0:
                if not path:
                    return Verdict.NOT
                event, position, state = path.pop()
                if isinstance(event, _Begin):
                    taken &= ~(event.bit << pending.size)
                    event.unlift()
                    event = event.next
                else:
                    taken &= ~(1 << position)
                    position += 1
                continue
            bit, call = 1 << position, pending.calls[position]
        after = model.step(state, call)
        if after is None or (taken | bit, after) in seen:
            if isinstance(event, _Begin):
                event = event.next
            else:
                position += 1
            continue
        seen.add((taken | bit, after))
        path.append((event, position, state))
        state, taken = after, taken | bit
        if isinstance(event, _Begin):
            event.lift()
        event, position = completed.first, 0
    return Verdict.LINEARIZABLE


class _Event:
    """Something in a doubly-linked list."""

    next: _Begin | _End | None = None
    previous: _Event


class _End(_Event):
    """The end of a call."""

    def __init__(self, time: float) -> None:
        self.time = time


class _Begin(_Event):
    """Its beginning."""

    def __init__(self, index: int, call: Call, end: _End) -> None:
        self.bit = 1 << index
        self.call = call
        self.end = end

    def lift(self) -> None:
        """Take the call, its beginning and its end, out of the list."""
        for one in (self, self.end):
            one.previous.next = one.next
            if one.next is not None:
                one.next.previous = one.previous

    def unlift(self) -> None:
        """Put it back where it was."""
        for one in (self.end, self):
            one.previous.next = one
            if one.next is not None:
                one.next.previous = one


class _List:
    """The beginnings and ends of calls, in the order of time."""

    def __init__(self, calls: Sequence[Call]) -> None:
        events: list[tuple[float, bool, int, _Begin | _End]] = []
        for index, call in enumerate(calls):
            assert call.ended is not None, "it is pending"
            end = _End(call.ended)
            # Of what happens at one instant, the beginnings are first: such calls are taken as simultaneous.
            events.append((call.started, False, index, _Begin(index, call, end)))
            events.append((call.ended, True, index, end))
        events.sort(key=lambda one: one[:3])
        self._head = last = _Event()
        for *_, event in events:
            last.next, event.previous = event, last
            last = event

    @property
    def first(self) -> _Begin | _End | None:
        return self._head.next


class _Pending:
    """The calls that have no end, in the order of their beginnings."""

    none: Final = 0

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = sorted(calls, key=lambda one: one.started)
        self.size = len(calls)
        self._before = [0] * len(calls)
        """For each the one that is taken before it, as a set."""
        latest: dict[tuple[str, str], int] = {}
        for index, call in enumerate(self.calls):
            same = (call.operation, repr(call.argument))
            if same in latest:
                self._before[index] = 1 << latest[same]
            latest[same] = index

    def next(self, position: int, taken: int, until: float) -> int:
        """The first from *position* on that may be taken now, if it began by then; -1 if there is none."""
        while position < self.size and self.calls[position].started <= until:
            if not taken >> position & 1 and not self._before[position] & ~taken:
                return position
            position += 1
        return -1


# --- Objects


class CounterModel:
    """`incr(by)` gives the new number, `get` the number or None, `set(value)` nothing."""

    initial: int = 0

    def step(self, state: int, call: Call) -> int | None:
        match call.operation, call.argument:
            case "incr", int(by):
                return state + by if call.gave(state + by) else None
            case "set", int(value):
                return value
            case "get", None:
                return state if (call.answer or 0) == state else None
            case _:
                raise AssertionError(call)

    def calls(self, records: Sequence[Record]) -> list[Call]:
        return calls_of(records)


Value = tuple[Hashable]
"""What a register holds, so that None is a value too."""


class RegisterModel:
    """`set(value)`, `get()`, `setdefault(value)`, `incr(by)`, `remove()`; None where nothing is."""

    initial: Value = (None,)

    def step(self, state: Value, call: Call) -> Value | None:
        [held] = state
        answer: object
        match call.operation, call.argument:
            case "set", Hashable() as value:
                return (value,)
            case "get", None:
                after, answer = state, held
            case "setdefault", Hashable() as value:
                after = state if held is not None else (value,)
                [answer] = after
            case "incr", int(by):
                assert held is None or isinstance(held, int)
                answer = (held or 0) + by
                after = ((held or 0) + by,)
            case "remove", None:
                after, answer = (None,), held is not None
            case _:
                raise AssertionError(call)
        return after if call.gave(answer) else None

    def calls(self, records: Sequence[Record]) -> list[Call]:
        calls = calls_of(records)
        if all(one.operation in ("get", "set") for one in calls) and _differ(calls, "set"):
            calls = _seen_by(calls, "set", _first_seen(calls))
        return calls


Items = tuple[Hashable, ...]


class ListModel:
    """`push(item)`, `pop()` (None where there is nothing), `items()`; see `QueueModel` and `StackModel`.

    What `push` says of the size counts only where every outcome is known: it depends on all of them.
    """

    initial: Items = ()
    _end: int

    def __init__(self) -> None:
        self._sizes = True
        self._taken: dict[object, tuple[float, float]] = {}
        """For each item that was seen to be taken, or to stay, when that was."""

    def step(self, state: Items, call: Call) -> Items | None:
        match call.operation, call.argument:
            case "push", Hashable() as item:
                if self._sizes and not call.gave(len(state) + 1):
                    return None
                return None if self._is_too_late(state, item) else (*state, item)
            case "pop", None:
                if not state:
                    # One of which nobody was told might then as well not be.
                    return state if call.told and call.answer is None else None
                item = state[self._end]
                if item != call.answer if call.told else item in self._taken:
                    return None
                return state[1:] if self._end == 0 else state[:-1]
            case "items", None:
                return state if call.answer == state else None
            case _:
                raise AssertionError(call)

    def calls(self, records: Sequence[Record]) -> list[Call]:
        calls = calls_of(records)
        self._sizes = all(one.told for one in calls)
        self._taken = {}
        if self._sizes or not _differ(calls, "push"):
            return calls
        self._taken = {
            one.answer: (one.started, one.ended)
            for one in calls
            if one.operation == "pop" and one.ended is not None and one.answer is not None
        }
        reads = [one for one in calls if one.operation == "items"]
        others = [one.ended for one in calls if one.ended is not None and one.operation != "items"]
        if len(reads) == 1 and reads[0].started >= max(others, default=0):
            stay = cast("Items", reads[0].answer)
            for index, item in enumerate(stay if self._end == 0 else reversed(stay)):
                self._taken.setdefault(item, (_LATE + index, _LATE + index))
        return self._bounded(_seen_by(calls, "push", _first_seen(calls)))

    def ignore_sizes(self) -> None:
        """Take whatever `push` says of the size for right."""
        self._sizes = False

    def _is_too_late(self, state: Items, item: Hashable) -> bool:
        """Whether, if *item* came now, it would be taken in another order than it was."""
        raise NotImplementedError

    def _bounded(self, calls: list[Call]) -> list[Call]:
        return calls


_LATE: Final = 1e12
"""After all is over."""


class QueueModel(ListModel):
    """First in, first out. `items` are given in the order in which they will be taken."""

    _end = 0

    def _is_too_late(self, state: Items, item: Hashable) -> bool:
        if item not in self._taken:
            return False
        _, by = self._taken[item]
        return any(one in self._taken and self._taken[one][0] > by for one in state)

    def _bounded(self, calls: list[Call]) -> list[Call]:
        """What is certainly taken sooner is pushed sooner; with that, most of the search is spared."""
        pushes = {one.argument: one for one in calls if one.operation == "push" and one.argument in self._taken}
        by_start = sorted(pushes, key=lambda item: self._taken[item][0])
        by_end = sorted(pushes, key=lambda item: self._taken[item][1])
        started = {item: one.started for item, one in pushes.items()}
        ended = {item: one.ended for item, one in pushes.items()}
        # From the first taken to the last: no sooner than those that were taken before it.
        latest, before = -math.inf, iter(by_end)
        sooner = next(before, None)
        for item in by_start:
            while sooner is not None and self._taken[sooner][1] < self._taken[item][0]:
                latest = max(latest, pushes[sooner].started)
                sooner = next(before, None)
            started[item] = max(started[item], latest)
        # And from the last to the first: no later than those that were taken after it.
        earliest, after = math.inf, iter(reversed(by_start))
        later = next(after, None)
        for item in reversed(by_end):
            while later is not None and self._taken[later][0] > self._taken[item][1]:
                end = pushes[later].ended
                earliest = min(earliest, math.inf if end is None else end)
                later = next(after, None)
            end = ended[item]
            if earliest < math.inf:
                ended[item] = earliest if end is None else min(end, earliest)
        return [
            replace(one, started=started[one.argument], ended=ended[one.argument])
            if one.operation == "push" and one.argument in pushes
            else one
            for one in calls
        ]


class StackModel(ListModel):
    """Last in, first out. `items` are given in the order in which they were pushed."""

    _end = -1

    def _is_too_late(self, state: Items, item: Hashable) -> bool:
        if item not in self._taken:
            return False
        since, _ = self._taken[item]
        return any(one in self._taken and self._taken[one][1] < since for one in state)


def _differ(calls: Sequence[Call], operation: str) -> bool:
    """Whether no two calls of *operation* have the same argument."""
    arguments = [one.argument for one in calls if one.operation == operation]
    return len(arguments) == len(set(arguments))


def _first_seen(calls: Sequence[Call]) -> dict[object, float]:
    """By when each value was seen."""
    seen: dict[object, float] = {}
    for one in calls:
        if one.ended is not None and one.operation in ("get", "pop", "items"):
            for value in cast("Items", one.answer) if one.operation == "items" else (one.answer,):
                seen[value] = min(one.ended, seen.get(value, math.inf))
    return seen


def _seen_by(calls: Sequence[Call], operation: str, seen: Mapping[object, float]) -> list[Call]:
    """*calls*, of which those of *operation* had their effect by when it was seen; or never, where it was not."""
    found: list[Call] = []
    for one in calls:
        if not one.pending or one.operation != operation:
            found.append(one)
        elif one.argument in seen:
            found.append(replace(one, ended=seen[one.argument]))
    return found


class LockModel:
    """`acquire()` gives a token, or None where somebody holds it; `release(token)` gives "released", "free" or "other".

    An `acquire` of unknown outcome may be given up again later, by whoever asked for it; `break` frees the lock.
    """

    initial: str = ""

    def step(self, state: str, call: Call) -> str | None:
        match call.operation, call.argument:
            case "acquire", token:
                if not call.told:
                    return None if state else str(token)  # where it is held, it might as well not be
                if call.answer is None:
                    return state or None
                return None if state else str(call.answer)
            case "release", token:
                after, answer = ("", "released") if state == token else (state, "other" if state else "free")
                return after if call.gave(answer) else None
            case "break", None:
                return ""
            case _:
                raise AssertionError(call)

    def calls(self, records: Sequence[Record]) -> list[Call]:
        calls: list[Call] = []
        for index, one in enumerate(calls_of(records)):
            if one.operation == "acquire" and one.pending:
                # Each has a token that nobody was told.
                untold = replace(one, argument=f"untold {index}")
                calls += [untold, replace(untold, operation="release")]
            else:
                calls.append(one)
        return calls


def by_structure(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each object."""
    parts: defaultdict[str, list[Record]] = defaultdict(list)
    for one in records:
        parts[one.structure].append(one)
    return dict(parts)
