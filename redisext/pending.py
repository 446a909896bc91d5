"""The result of one command among several, once it has been carried out."""

from __future__ import annotations

from typing import Final, Generic, TypeVar, cast

from redisext.command import Command, Reply, text
from redisext.errors import NotReady, RedisextError

__all__ = ["Pending"]

R_co = TypeVar("R_co", covariant=True)


class Pending(Generic[R_co]):
    """The result of a command in a batch or a transaction, once its block has ended."""

    __slots__ = ("_outcome", "command")

    def __init__(self, command: Command[R_co]) -> None:
        self.command: Command[R_co] = command
        self._outcome: object = _WAITING

    def result(self) -> R_co:
        """What the command gave; raises its error if it failed.

        Raises :exc:`~redisext.errors.NotReady` while the block runs, and if the block was left by an exception.
        """
        outcome = self._outcome
        if type(outcome) is _Failed:
            raise outcome.error
        if type(outcome) is _NoResult:
            raise NotReady(f"{self!r} has no result: {outcome.why}")
        return cast("R_co", outcome)  # what `command.read` gave

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
        try:
            self._outcome = self.command.read(reply)
        except Exception as error:  # noqa: BLE001  # it belongs to this command, and not to those after it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """For backends: why there is no reply, or none that is a result."""
        self._outcome = _Failed(error)

    def become(self, other: Pending[object]) -> None:
        """For backends: what *other*, which was carried out in its place, has become."""
        self._outcome = other._outcome

    def abandon(self, why: str) -> None:
        """For batches: there will be no result."""
        self._outcome = _NoResult(why)

    def __repr__(self) -> str:
        return f"<Pending {self.command.op.name} on key {text(self.command.keys[0])!r}>"


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
