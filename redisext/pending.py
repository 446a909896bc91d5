"""The result of one command among several, once it has been carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

from redisext.command import Command, Reply, text
from redisext.errors import (
    ArgumentError,
    CommandRefused,
    ConfigurationError,
    ConnectionFailed,
    CrossSlot,
    NotReady,
    OutcomeUnknown,
    RedisextError,
    Timeout,
    WrongType,
)

__all__ = ["Pending", "without_overtaking"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Pending(Generic[R_co]):
    """The result of a command in a batch or a transaction, once its block has ended."""

    __slots__ = ("_outcome", "command")

    def __init__(self, command: Command[R_co]) -> None:
        self.command: Command[R_co] = command
        self._outcome: Any = _WAITING  # what `command.read` gave, or what stands in its place

    def result(self) -> R_co:
        """What the command gave; raises its error if it failed.

        Raises :exc:`~redisext.errors.NotReady` while the block runs, and if the block was left by an exception.
        """
        outcome: R_co = self._outcome
        if type(outcome) in _WITHOUT_RESULT:
            raise self._why_none()
        return outcome

    def _why_none(self) -> Exception:
        outcome = self._outcome
        if type(outcome) is _Failed:
            return outcome.error
        return NotReady(f"{self!r} has no result: {outcome.why}")

    @property
    def done(self) -> bool:
        """Whether there is a result or an error."""
        return type(self._outcome) is not _NoResult

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return type(self._outcome) not in _WITHOUT_RESULT

    @property
    def error(self) -> Exception | None:
        """Why the command failed; None if it did not, or is not done."""
        outcome = self._outcome
        return outcome.error if type(outcome) is _Failed else None

    @property
    def retriable(self) -> bool:
        """Whether the command failed, and may be tried again."""
        error = self.error
        return isinstance(error, RedisextError) and error.retriable

    def give_up(self) -> None:
        """For backends: if the command failed, it is not to be tried again."""
        error = self.error
        if isinstance(error, RedisextError):
            error.retriable = False

    def settle(self, reply: Reply) -> None:
        """For backends: the server's reply."""
        self.settle_each([self], [reply])

    def fail(self, error: Exception) -> None:
        """For backends: why there is no reply, or none that is a result."""
        self._outcome = _Failed(error)

    def become(self, other: Pending[object]) -> None:
        """For backends: what *other*, which was carried out in its place, has become."""
        self._outcome = other._outcome

    def abandon(self, why: str) -> None:
        """For batches: there will be no result."""
        self._outcome = _NoResult(why)

    @staticmethod
    def of(command: Command[R]) -> Pending[R]:
        """``Pending(command)``, made faster."""
        made: Pending[R] = _Unfilled()
        made.command = command
        made._outcome = _WAITING
        return made

    @staticmethod
    def settle_each(pending: Iterable[Pending[object]], replies: Iterable[Reply]) -> None:
        """For backends: tell each of several the server's reply."""
        # In one loop, as a call for each, and another for `command.read`, would take longer than what they do.
        for one, reply in zip(pending, replies, strict=True):
            command = one.command
            try:
                one._outcome = command.parse(reply)  # noqa: SLF001  # of its own kind
            except Exception as error:  # noqa: BLE001  # it belongs to this command, and not to those after it
                command.name_key(error)
                one.fail(error)

    @staticmethod
    def without_result(pending: Iterable[Pending[object]]) -> list[Pending[object]]:
        """For batches: those that have not succeeded."""
        return [one for one in pending if type(one._outcome) in _WITHOUT_RESULT]  # noqa: SLF001  # as above

    def __repr__(self) -> str:
        return f"<Pending {self.command.op.name} on key {text(self.command.keys[0])!r}>"


_Unfilled = cast(
    "Callable[[], Pending[Any]]", type("_Unfilled", (Pending,), {"__slots__": (), "__init__": object.__init__})
)
"""One without its command: a class that has no `__init__` in Python is called in half of the time."""


def without_overtaking(
    pending: Sequence[Pending[object]], again: Callable[[Pending[object]], bool]
) -> list[Pending[object]]:
    """Those of *pending*, in order, for which *again* is true: they are to be sent once more.

    But not a write that was certainly not carried out, if a later one on the same key was, or may have been: sent now,
    it would undo that one. It has failed, then. (A later one that may have been carried out before an earlier one is
    always behind it on the same connection; so where both may have been, both are sent again.)
    """
    left: list[Pending[object]] = []
    written: set[bytes] = set()
    for one in reversed(pending):
        op, keys, error = one.command.op, one.command.keys, one.error
        refused = isinstance(error, _REFUSED) and not isinstance(error, OutcomeUnknown) and not error.sent
        if again(one):
            if not op.reads and refused and not written.isdisjoint(keys):
                one.give_up()
                continue
            left.append(one)
        if not op.reads and not refused:
            written.update(keys)
    left.reverse()
    return left


_REFUSED: Final = (ArgumentError, CommandRefused, ConfigurationError, ConnectionFailed, CrossSlot, Timeout, WrongType)
"""What has these, and was not sent on a connection that broke, was not carried out."""


class _Failed:
    """In place of a result: an error."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class _NoResult:
    """In place of a result: why there is none."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


_WITHOUT_RESULT: Final = frozenset({_Failed, _NoResult})
_WAITING: Final = _NoResult("its batch or transaction is not carried out before the block ends")
