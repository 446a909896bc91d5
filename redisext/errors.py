"""Everything Redisext raises, one class for each thing a caller can do about it.

:exc:`RedisextError` is the root. Each error also inherits the built-in exception that a caller who
has never heard of Redisext would expect (`ValueError`, `ConnectionError`, ...). What the client
library raised is the `__cause__`, never the surface.

No message holds a password, and none holds more than 80 bytes of a stored value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redisext.command import Command

__all__ = [
    "ArgumentError",
    "BackendClosed",
    "BatchError",
    "CommandRefused",
    "ConfigurationError",
    "Conflict",
    "ConnectionFailed",
    "CrossSlot",
    "DecodeError",
    "EmbeddedWarning",
    "EncodeError",
    "LockNotOwned",
    "NotBatchable",
    "NotReady",
    "NotReplicated",
    "OutcomeUnknown",
    "PermissionDenied",
    "RedisextError",
    "Timeout",
    "WrongType",
    "excerpt",
    "shown",
]

_EXCERPT = 80
"""The most bytes of a stored value that a message shows."""


class RedisextError(Exception):
    """The root of all errors that Redisext raises.

    `retriable` tells that the same call may succeed later, and that to make it again does no harm: nothing was carried
    out, or it only reads. With a `deadline`, that has been done until it was over.
    """

    retriable: bool = False
    sent: bool = False
    """Whether a connection broke after the command may have been sent."""

    def __repr__(self) -> str:
        # Not of the arguments, which may be a stored value as a whole.
        return f"{type(self).__name__}({str(self)!r})"


class ConfigurationError(RedisextError, ValueError):
    """A DSN, an option, a class attribute or an element type is wrong; mend the program or its settings."""


class ArgumentError(RedisextError, ValueError):
    """An argument lies outside of what the operation takes; nothing was sent."""


class EncodeError(RedisextError, TypeError):
    """A value is not one of the element type, or could not be read back as it is; nothing was sent.

    `key` names the collection, where it is known.
    """

    def __init__(self, reason: str, *, key: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key

    def __str__(self) -> str:
        return self.reason if self.key is None else f"{self.reason} (key {self.key!r})"


class DecodeError(RedisextError, ValueError):
    """A stored value is not one of the element type. It is not lost: `raw` holds its bytes.

    `key` names the collection, `element` the type that was expected; the parser's own error is the `__cause__`. Where
    more was taken with it (a field with its value, an item with its priority), `taken` holds all of it.
    """

    def __init__(self, raw: bytes, element: str, *, key: str | None = None) -> None:
        super().__init__(raw, element)
        self.raw = raw
        self.element = element
        self.key = key
        self.taken: tuple[bytes, ...] = (raw,)

    def __str__(self) -> str:
        where = "" if self.key is None else f" under key {self.key!r}"
        return (
            f"the value stored{where} is not of type {self.element}: {excerpt(self.raw)}; "
            "its bytes are in .raw, the parser's reason in __cause__"
        )


class WrongType(RedisextError, TypeError):
    """The key holds another Redis structure than the one the operation works on; nothing was changed."""


class CommandRefused(RedisextError, RuntimeError):
    """The server understood the command and refused it (overflow, out of memory, read-only, ...)."""


class PermissionDenied(CommandRefused, PermissionError):
    """The user may not run this command or touch this key; grant the right that the message names."""


class ConnectionFailed(RedisextError, ConnectionError):
    """The server could not be reached, or the connection broke."""


class Timeout(RedisextError, TimeoutError):
    """The server, or a free connection, did not come in time."""

    exhausted: bool = False
    """Whether it was a free connection: then the server was not asked."""


class OutcomeUnknown(ConnectionFailed):
    """The connection broke after a command that must not be repeated may have been sent.

    It was carried out once or not at all. `command` is that command.
    """

    def __init__(self, message: str, command: Command[object]) -> None:
        super().__init__(message, command)
        self.command = command

    def __str__(self) -> str:
        return str(self.args[0])


class NotReplicated(OutcomeUnknown):
    """Fewer replicas than `wait_replicas` confirmed a write within `wait_timeout`: a failover may undo it.

    It was carried out on the primary, where `result` is what it gave: what was popped is there. `confirmed` is how many
    replicas had it in time.
    """

    def __init__(self, message: str, command: Command[object], result: object = None, confirmed: int = 0) -> None:
        super().__init__(message, command)
        self.result = result
        self.confirmed = confirmed


class BackendClosed(RedisextError, ValueError):
    """The backend was closed; connect again."""


class LockNotOwned(RedisextError, RuntimeError):
    """The lock is held by somebody else: it was never acquired here, or it expired and was taken over."""


class NotBatchable(RedisextError, TypeError):
    """The operation blocks, or takes more than one round trip, and cannot stand in a batch."""


class NotReady(RedisextError, RuntimeError):
    """A result was asked for before the batch or transaction was carried out, or after it was left by an exception."""


class Conflict(RedisextError, RuntimeError):
    """Others changed what a transaction watches, in every attempt; nothing was carried out. Try again later."""


class BatchError(RedisextError, ExceptionGroup[Exception]):
    """Some commands of a batch or a transaction failed; the others have their results.

    An exception group: `exceptions` are the errors, each of a command in `commands`. ``except* ConnectionFailed`` takes
    some of them out, where ``except ConnectionFailed`` would see none.
    """

    commands: tuple[Command[object], ...] = ()

    @property
    def retriable(self) -> bool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether all of the errors are: it is what they are together, and nobody sets it."""
        return all(isinstance(error, RedisextError) and error.retriable for error in self.exceptions)

    @classmethod
    def of(cls, message: str, failed: Sequence[tuple[Command[object], Exception]]) -> BatchError:
        """The group of these commands' errors."""
        made = cls(message, [error for _, error in failed])
        made.commands = tuple(command for command, _ in failed)
        return made

    # No error of a command is a BaseException, for which the group would have to be of another kind.
    def derive(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, excs: Sequence[Exception], /
    ) -> BatchError:
        """A group of some of the errors, with their commands: what ``except*`` makes."""
        made = type(self)(self.message, excs)
        # In the same order; and commands that were not sent, for one, have the same error.
        left = iter(zip(self.exceptions, self.commands, strict=False))
        found = (next((command for one, command in left if one is error), None) for error in excs)
        made.commands = tuple(command for command in found if command is not None)
        return made


class CrossSlot(RedisextError, ValueError):
    """The keys of one operation lie in different slots of a cluster; give them a common hash tag."""


class EmbeddedWarning(UserWarning):
    """No server was named, so the data lives in this process and ends with it."""


def shown(value: object) -> str:
    """The `repr` of *value*, cut to 80 characters.

    >>> shown("6o")
    "'6o'"
    """
    try:
        whole = repr(value)
    except ValueError:  # an int of thousands of digits
        return f"a very large {type(value).__name__}"
    return whole if len(whole) <= _EXCERPT else f"{whole[:_EXCERPT]}..."


def excerpt(raw: bytes) -> str:
    """The `repr` of *raw*, cut to the first 80 bytes.

    >>> excerpt(b"5")
    "b'5'"
    """
    if len(raw) <= _EXCERPT:
        return repr(raw)
    return f"{raw[:_EXCERPT]!r}... ({len(raw)} bytes)"
