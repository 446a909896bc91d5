"""What the workers of a test asked for, when, and what they were told.

    with history.asking("worker 1", "jobs", "push", "sweep") as asked:
        asked.answer = jobs.push("sweep")

The errors by which a library says that a call failed end there, in the record; whatever else is raised does too, and is
kept as well in `unexpected`. It may be used from threads and from tasks, where the call is awaited inside the block.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum

from redisext.errors import CommandRefused, ConnectionFailed, OutcomeUnknown, Timeout


class Outcome(Enum):
    """What a worker knows of a call after it."""

    ACKNOWLEDGED = "acknowledged"
    UNKNOWN = "unknown"
    """It may have been carried out, or may be yet."""
    FAILED = "failed"
    """It was certainly not carried out, and will not be."""


@dataclass(frozen=True, slots=True)
class Record:
    """One call: by which `worker`, on which `structure`, from when to when, with what `outcome`.

    `answer` is what it gave, where it was acknowledged; `error` the name and the message of what it raised.
    """

    worker: str
    structure: str
    operation: str
    argument: object
    started: float
    ended: float
    outcome: Outcome
    answer: object = None
    error: str = ""

    @property
    def acknowledged(self) -> bool:
        return self.outcome is Outcome.ACKNOWLEDGED

    @property
    def unknown(self) -> bool:
        return self.outcome is Outcome.UNKNOWN

    @property
    def failed(self) -> bool:
        return self.outcome is Outcome.FAILED

    def __str__(self) -> str:
        told = repr(self.answer) if self.acknowledged else f"{self.outcome.value}: {self.error[:60]}"
        argument = "" if self.argument is None else repr(self.argument)
        return f"{self.worker} {self.operation}({argument}) on {self.structure} -> {told}"


class Asked:
    """A call that is being made."""

    answer: object = None
    record: Record
    """There once the block has ended."""


class History:
    """The records of some calls, in the order in which they ended."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.unexpected: list[Record] = []
        self._records = list(records)
        self._outcomes = Counter(one.outcome for one in self._records)
        self._lock = threading.Lock()

    @property
    def records(self) -> list[Record]:
        with self._lock:
            return list(self._records)

    @property
    def acknowledged(self) -> int:
        """How many calls were acknowledged so far."""
        return self._outcomes[Outcome.ACKNOWLEDGED]

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many calls had each outcome."""
        with self._lock:
            return Counter(self._outcomes)

    def of(self, structure: str, *operations: str) -> list[Record]:
        """The records of one structure, or only of these operations on it."""
        return [
            one
            for one in self.records
            if one.structure == structure and (not operations or one.operation in operations)
        ]

    def longest_gap(self) -> float:
        """The longest time (seconds) in which no call was acknowledged, from the first that was asked for on."""
        records = self.records
        if not records:
            return 0.0
        ends = sorted(one.ended for one in records if one.acknowledged)
        first, last = min(one.started for one in records), max(one.ended for one in records)
        return max(later - sooner for sooner, later in itertools.pairwise((first, *ends, last)))

    @contextmanager
    def asking(
        self, worker: str, structure: str, operation: str, argument: object = None, *, repeatable: bool = False
    ) -> Generator[Asked]:
        """Around a call. One that is *repeatable* may have been carried out wherever it failed for the connection."""
        asked = Asked()
        started = time.monotonic()
        outcome = Outcome.ACKNOWLEDGED
        expected = True
        error: BaseException | None = None
        try:
            yield asked
        except Exception as raised:  # noqa: BLE001  # the record tells of it
            outcome, expected = _meaning(raised, repeatable=repeatable)
            error = raised
        except BaseException as raised:  # the worker is stopped, in the midst of it
            outcome, error = Outcome.UNKNOWN, raised
            raise
        finally:
            told = "" if error is None else f"{type(error).__name__}: {error}"
            record = Record(
                worker, structure, operation, argument, started, time.monotonic(), outcome, asked.answer, told
            )
            asked.record = record if record.acknowledged else replace(record, answer=None)
            with self._lock:
                self._records.append(asked.record)
                self._outcomes[outcome] += 1
                if not expected:
                    self.unexpected.append(asked.record)


def _meaning(error: Exception, *, repeatable: bool) -> tuple[Outcome, bool]:
    """What the caller knows by this error, and whether it is one that may come."""
    if isinstance(error, OutcomeUnknown):
        # That it was raised for what may be repeated would be wrong, but it is what is known.
        return Outcome.UNKNOWN, not repeatable
    if isinstance(error, (ConnectionFailed, Timeout)):
        return Outcome.UNKNOWN if repeatable else Outcome.FAILED, True
    if isinstance(error, CommandRefused):
        return Outcome.FAILED, True
    return Outcome.UNKNOWN, False
