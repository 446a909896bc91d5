"""Whether what workers saw, and what the server holds at the end, agree: nothing twice, nothing lost, nothing silent.

The checks count. An element has an identity of its own, so it can be told who pushed it and who got it:

    pushed, acknowledged  ->  got by exactly one, or there still, or taken by a call whose outcome is unknown
    pushed, unknown       ->  the same, or never there
    pushed, failed        ->  never there

Whether also the order of things can have been is for tests.faults.linearizability.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from tests.faults.history import History, Record
from tests.faults.linearizability import STEPS, Model, S, Verdict, check


@dataclass
class Findings:
    """What is wrong with a history, each in words. `undecided` is not wrong: the search took too long."""

    duplicates: list[str] = field(default_factory=list[str])
    losses: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    undecided: list[str] = field(default_factory=list[str])

    @property
    def none(self) -> bool:
        return not (self.duplicates or self.losses or self.wrong)

    def add(self, other: Findings) -> None:
        self.duplicates += other.duplicates
        self.losses += other.losses
        self.wrong += other.wrong
        self.undecided += other.undecided

    def __str__(self) -> str:
        parts = {
            "duplicates": self.duplicates,
            "losses": self.losses,
            "wrong": self.wrong,
            "undecided": self.undecided,
        }
        return "\n".join(
            f"{len(them)} {name}:\n" + "\n".join(f"  {one}" for one in them[:_SHOWN])
            for name, them in parts.items()
            if them
        )


_SHOWN = 8


def unexpected(history: History) -> Findings:
    """Errors that nobody should get to see, however the network fails."""
    return Findings(wrong=[f"an error that should not be: {one}" for one in history.unexpected])


def counted(records: Sequence[Record], held: int) -> Findings:
    """Increments by one: as many as were acknowledged, and perhaps those of unknown outcome; each answer given once."""
    findings = Findings()
    where = records[0].structure if records else "?"
    acknowledged = [one for one in records if one.acknowledged]
    least, most = len(acknowledged), len(acknowledged) + sum(one.unknown for one in records)
    if held < least:
        findings.losses += [f"{where}: {least} increments were acknowledged, and it holds {held}"] * (least - held)
    if held > most:
        findings.duplicates += [f"{where}: at most {most} increments were asked for, and it holds {held}"] * (
            held - most
        )
    for answer, times in Counter(_number(one.answer) for one in acknowledged).items():
        if times > 1:
            findings.wrong.append(f"{where}: {times} increments were each told that they made it {answer}")
        if not 1 <= answer <= held:
            findings.wrong.append(f"{where}: an increment was told {answer}, and it holds {held}")
    return findings


def _number(answer: object) -> float:
    assert isinstance(answer, (int, float)), f"an increment was told {answer!r}"
    return answer


@dataclass
class Elements:
    """The records of a collection of elements, of which each is pushed once, under its own name.

    * `pushes` have the element as their argument.
    * `takes` give the element (or None) as their answer.
    * `removes` have the element as their argument, and answer whether they were who removed it.
    * `held`: what is there at the end.
    """

    pushes: Sequence[Record]
    takes: Sequence[Record] = ()
    removes: Sequence[Record] = ()
    held: Sequence[Hashable] = ()

    def check(self) -> Findings:
        """Duplicates, losses, and what nobody pushed."""
        findings = Findings()
        where = next((one.structure for one in (*self.pushes, *self.takes)), "?")
        pushed: defaultdict[object, list[Record]] = defaultdict(list)
        for one in self.pushes:
            pushed[one.argument].append(one)
        got = Counter[object](one.answer for one in self.takes if one.acknowledged and one.answer is not None)
        got.update(one.argument for one in self.removes if one.acknowledged and one.answer)
        there = Counter[object](self.held)
        for element in {*got, *there}:
            tries = pushed.get(element, [])
            if got[element] + there[element] > 1:
                findings.duplicates.append(
                    f"{where}: {element!r} was taken {got[element]} times and is there {there[element]} times"
                )
            if not tries:
                findings.wrong.append(f"{where}: nobody pushed {element!r}")
            elif all(one.failed for one in tries):
                findings.wrong.append(f"{where}: {element!r} is there, though it was said: {tries[0].error}")
        untold = sum(one.unknown for one in self.takes)
        maybe_removed = {one.argument for one in self.removes if one.unknown}
        missing = [
            element
            for element, tries in pushed.items()
            if any(one.acknowledged for one in tries)
            and not (got[element] or there[element] or element in maybe_removed)
        ]
        if len(missing) > untold:
            findings.losses += [
                f"{where}: {element!r} is gone ({untold} takes had an unknown outcome, {len(missing)} are gone)"
                for element in missing[untold:]
            ]
        findings.wrong += [
            f"{where}: it was told that {one.argument!r} was not there, but it was: {one}"
            for one in self.removes
            if one.acknowledged and not one.answer and there[one.argument]
            # One of unknown outcome may have come later.
            if any(push.acknowledged and push.ended < one.started for push in pushed[one.argument])
        ]
        return findings


def in_order(pushes: Sequence[Record], takes: Sequence[Record], held: Sequence[Hashable]) -> Findings:
    """That a queue gives each producer's items in the order in which they were pushed; *held*: the next one first."""
    findings = Findings()
    taken = {one.answer: one for one in takes if one.acknowledged and one.answer is not None}
    place = {element: index for index, element in enumerate(held)}
    producers: defaultdict[str, list[Record]] = defaultdict(list)
    for one in pushes:
        if one.acknowledged:
            producers[one.worker].append(one)
    for mine in producers.values():
        mine.sort(key=lambda one: one.started)
        latest, who, last_place = -math.inf, None, -1
        for one in mine:
            take = taken.get(one.argument)
            if take is not None and take.ended < latest:
                findings.wrong.append(f"{one.structure}: {one.argument!r} was taken before {who!r}, which is older")
            if one.argument in place:
                started = math.inf
                if place[one.argument] < last_place:
                    findings.wrong.append(f"{one.structure}: {one.argument!r} is before what is older")
                last_place = max(last_place, place[one.argument])
            elif take is not None:
                started = take.started
            else:
                continue  # taken by somebody who does not know
            if started > latest:
                latest, who = started, one.argument
    return findings


def by_priority(
    pushes: Sequence[Record], takes: Sequence[Record], held: Iterable[Hashable], priority: Mapping[object, float]
) -> Findings:
    """That nobody was given an item while one of a lower priority was certainly there."""
    findings = Findings()
    taken = {one.answer: one for one in takes if one.acknowledged and one.answer is not None}
    staying = set(held)
    certain: list[tuple[float, float, float, object]] = []  # there from, to; its priority; what it is
    for one in pushes:
        if one.acknowledged:
            until = math.inf if one.argument in staying else -math.inf
            if one.argument in taken:
                until = taken[one.argument].started
            certain.append((one.ended, until, priority[one.argument], one.argument))
    for item, take in taken.items():
        for since, until, its, other in certain:
            if since < take.started and take.ended < until and its < priority.get(item, -math.inf):
                findings.wrong.append(f"{take.structure}: {item!r} was taken while {other!r} was there")
    return findings


def claimed(claims: Sequence[Record], held: Iterable[Hashable]) -> Findings:
    """Conditional pushes, several of each element, that nobody removes: exactly one is told that it was the first."""
    findings = Findings()
    there = set(held)
    of_element: defaultdict[object, list[Record]] = defaultdict(list)
    for one in claims:
        of_element[one.argument].append(one)
    for element, tries in of_element.items():
        where = f"{tries[0].structure}: {element!r}"
        winners = [one for one in tries if one.acknowledged and one.answer is True]
        told = [one for one in tries if one.acknowledged]
        if len(winners) > 1:
            findings.duplicates.append(f"{where} was won by {len(winners)}")
        if told and element not in there:
            findings.losses.append(f"{where} is gone")
        if not winners and told and not any(one.unknown for one in tries):
            findings.losses.append(f"{where} was won, and nobody was told so")
        if element in there and all(one.failed for one in tries):
            findings.wrong.append(f"{where} is there, though it was said: {tries[0].error}")
    return findings


def agreed(defaults: Sequence[Record], held: Mapping[Hashable, Hashable]) -> Findings:
    """`setdefault` of a key, by several: all get one value, which one of them gave, and it stays.

    Each record has (key, value) as its argument.
    """
    findings = Findings()
    of_key: defaultdict[Hashable, list[Record]] = defaultdict(list)
    for one in defaults:
        key, _ = cast("tuple[Hashable, Hashable]", one.argument)  # as promised
        of_key[key].append(one)
    for key, tries in of_key.items():
        where = f"{tries[0].structure}: {key!r}"
        answers = {one.answer for one in tries if one.acknowledged}
        if len(answers) > 1:
            findings.duplicates.append(f"{where} has several values: {answers}")
        if answers and held.get(key) not in answers:
            findings.losses.append(f"{where} was {answers}, and is {held.get(key)!r}")
        values = {cast("tuple[object, object]", one.argument)[1] for one in tries if not one.failed}
        if key in held and held[key] not in values:
            findings.wrong.append(
                f"{where} is {held[key]!r}, which nobody gave, or of which it was said that it failed"
            )
    return findings


def moved(records: Sequence[Record], left: int, right: int, notes: Mapping[str, int]) -> Findings:
    """Units moved between two sides that begin with nothing, each move noted as often as it was made: all or nothing.

    Each record has its note as its argument, and as its answer (which way, what was read of the left side before if
    anything was, and what both sides came to). A note is kept with the way: "x +1".
    """
    findings = Findings()
    where = records[0].structure if records else "?"
    if left + right:
        findings.wrong.append(f"{where}: a part of a move was carried out: left is {left}, right is {right}")
    if left != sum(int(note.rpartition(" ")[2]) * times for note, times in notes.items()):
        findings.wrong.append(f"{where}: left is {left}, which is not what was noted")
    made = Counter({note.rpartition(" ")[0]: 0 for note in notes})
    for note, times in notes.items():
        made[note.rpartition(" ")[0]] += times
    for one in records:
        times = made.pop(str(one.argument), 0)
        if times > 1:
            findings.duplicates.append(f"{where}: the move {one.argument!r} was made {times} times")
        if one.failed and times:
            findings.wrong.append(f"{where}: the move {one.argument!r} was made, though it was said: {one.error}")
        if not one.acknowledged:
            continue
        by, seen, its_left, its_right = cast("tuple[int, int | None, int, int]", one.answer)
        if f"{one.argument} {by:+}" not in notes:
            findings.losses.append(f"{where}: the move {one.argument!r} is not noted")
        if its_left + its_right:
            findings.wrong.append(f"{where}: the move {one.argument!r} saw a part of another: {one.answer}")
        if seen is not None and seen + by != its_left:
            findings.wrong.append(f"{where}: the move {one.argument!r} began from what was not there: {one.answer}")
    findings.wrong += [f"{where}: nobody asked for the move {note!r}" for note in made]
    return findings


def exclusive(records: Sequence[Record], expiry: float) -> Findings:
    """`acquire` (its answer a token, or None) and `release(token)` of a lock: never two holders, and no hold untold.

    A hold is certain from the end of `acquire` to the beginning of `release`, or until *expiry* is over. It is possible
    from the beginning of the one to the end of the other; one that may have been acquired is possible from then on.
    """
    findings = Findings()
    releases: defaultdict[object, list[Record]] = defaultdict(list)
    for one in records:
        if one.operation == "release" and not one.failed:
            releases[one.argument].append(one)
    certain: list[tuple[float, float, Record]] = []
    possible: list[tuple[float, float]] = []
    for one in records:
        if one.operation != "acquire" or one.failed:
            continue
        if one.unknown:
            possible.append((one.started, math.inf))
        elif one.answer is not None:
            given_up = releases[one.answer]
            certain.append((one.ended, min((one.started + expiry, *(other.started for other in given_up))), one))
            possible.append((one.started, min((math.inf, *(other.ended for other in given_up if other.acknowledged)))))
    certain.sort(key=lambda hold: hold[0])
    latest, holder = -math.inf, None
    for since, until, one in certain:
        if since < latest:
            findings.duplicates.append(f"{one.structure}: {one.worker} acquired it while {holder} held it")
        if until > latest:
            latest, holder = until, one.worker
    for one in records:
        if one.operation == "acquire" and one.acknowledged and one.answer is None:
            around = any(since < one.ended and one.started < until for since, until in possible)
            if not around:
                findings.losses.append(f"{one.structure}: {one.worker} was refused, and nobody held it")
    return findings


def linearizable(records: Sequence[Record], model: Model[S], *, steps: int = STEPS) -> Findings:
    """That one object, doing one thing at a time, can have given these answers."""
    verdict = check(records, model, steps=steps)
    if verdict is Verdict.LINEARIZABLE:
        return Findings()
    where = f"{records[0].structure}: {len(records)} calls" if records else "?"
    if verdict is Verdict.UNDECIDED:
        return Findings(undecided=[f"{where}: no answer within {steps} steps"])
    return Findings(wrong=[f"{where} are not linearizable"])
