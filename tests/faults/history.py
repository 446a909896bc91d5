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
from typing import Final

from redisext.errors import BatchError, CommandRefused, Conflict, ConnectionFailed, OutcomeUnknown, Timeout


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


class Cancelled(Exception):
    """A call was cancelled: it may have been carried out, unless what it took is `put_back`."""

    def __init__(self, *, put_back: bool) -> None:
        super().__init__("it was cancelled")
        self.put_back = put_back


class Asked:
    """A call that is being made: its `record`, which tells the outcome once it has ended."""

    answer: object = None

    def __init__(self, record: Record, *, reads: bool) -> None:
        self.record = record
        self.reads = reads


class History:
    """The records of some calls, in the order in which they ended."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.unexpected: list[Record] = []
        self._records = list(records)
        self._outcomes = Counter(one.outcome for one in self._records)
        self._reasons = Counter[tuple[Outcome, str]]()
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

    @property
    def reasons(self) -> Counter[tuple[Outcome, str]]:
        """Of those that were not acknowledged: how many, by outcome and kind of error."""
        with self._lock:
            return Counter(self._reasons)

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
        self, worker: str, structure: str, operation: str, argument: object = None, *, reads: bool = False
    ) -> Generator[Asked]:
        """Around a call. Of one that only *reads*, no outcome is unknown."""
        asked = self.begin(worker, structure, operation, argument, reads=reads)
        try:
            yield asked
        except Exception as error:  # noqa: BLE001  # the record tells of it
            self.end(asked, error)
        except BaseException as error:  # the worker is stopped, in the midst of it
            self.end(asked, error)
            raise
        else:
            self.end(asked)

    def begin(
        self, worker: str, structure: str, operation: str, argument: object = None, *, reads: bool = False
    ) -> Asked:
        """The beginning of a call, where several begin at once."""
        now = time.monotonic()
        return Asked(Record(worker, structure, operation, argument, now, now, Outcome.UNKNOWN), reads=reads)

    def end(self, asked: Asked, error: BaseException | None = None) -> None:
        """Its end, which may have been an error."""
        outcome, expected = (Outcome.ACKNOWLEDGED, True) if error is None else _meaning(error, reads=asked.reads)
        asked.record = replace(
            asked.record,
            ended=time.monotonic(),
            outcome=outcome,
            answer=asked.answer if error is None else None,
            error="" if error is None else f"{type(error).__name__}: {error}",
        )
        with self._lock:
            self._records.append(asked.record)
            self._outcomes[outcome] += 1
            if error is not None:
                self._reasons[outcome, _reason(error)] += 1
            if not expected:
                self.unexpected.append(asked.record)


def _meaning(error: BaseException, *, reads: bool) -> tuple[Outcome, bool]:
    """What the caller knows by this error, and whether it is one that may come."""
    if isinstance(error, BatchError):
        meanings = [_meaning(one, reads=reads) for one in error.exceptions]
        unknown = any(outcome is Outcome.UNKNOWN for outcome, _ in meanings)
        return Outcome.UNKNOWN if unknown else Outcome.FAILED, all(expected for _, expected in meanings)
    if isinstance(error, OutcomeUnknown):
        # That it was raised for what only reads would be wrong, but it is what is known.
        return Outcome.UNKNOWN, not reads
    if isinstance(error, Cancelled):
        return (Outcome.FAILED if error.put_back else Outcome.UNKNOWN), True
    if isinstance(error, (ConnectionFailed, Timeout, CommandRefused, Conflict)):
        return Outcome.FAILED, True
    return Outcome.UNKNOWN, not isinstance(error, Exception)


def _reason(error: BaseException) -> str:
    """In a word or two, for a table."""
    if isinstance(error, BatchError):
        return f"{_reason(error.exceptions[0])}, of a transaction"
    if isinstance(error, CommandRefused):
        text = str(error)
        return next((code for code, says in _CODES.items() if says in text), type(error).__name__)
    return type(error).__name__


_CODES: Final = {
    "OOM": "maxmemory",
    "READONLY": "read only replica",
    "BUSY": "busy",
    "EXECABORT": "transaction discarded",
    "UNBLOCKED": "UNBLOCKED",
}
"""How an error reply begins, where the client has cut that off, and what it says."""
