"""What a backend owes.

Any client library can be plugged in by a class with these members; nothing needs to be inherited. A backend knows
commands and connections, never structures.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from redisext.command import Command

if TYPE_CHECKING:
    from typing import Self

    import redis

__all__ = ["Backend", "HasClient"]

R = TypeVar("R")


@runtime_checkable
class Backend(Protocol):
    """Where commands are carried out: one server, a primary with replicas, an engine in the process."""

    @property
    def prefix(self) -> str:
        """What stands before every key of the models on this backend; mostly ``""``."""
        ...

    @property
    def primary(self) -> Backend:
        """The same data, read from where it is written. A backend without replicas gives itself."""
        ...

    def execute(self, command: Command[R]) -> R:
        """Carry out *command* and give ``command.read(reply)``.

        The implementer owes:

        * It sends `command.words`. When the reply is NOSCRIPT, it sends `command.words_in_full`.
        * The reply is handed over as RESP2 has it: `bytes`, `int`, a list, or None.
        * A command whose `op.reads` is false goes to the primary.
        * One whose `op.repeatable` is false is never sent twice, unless the first was certainly not sent.
          If the connection breaks after it may have been, :exc:`~redisext.errors.OutcomeUnknown` is raised.
        * One whose `op.blocks` is true gets its reply after up to `command.timeout` seconds (None: whenever it
          comes), whatever the timeout of other replies is.
        * Errors are those of :mod:`redisext.errors`, with the client's own as the cause.
        * It may be called from several threads at a time.
        """
        ...

    def close(self) -> None:
        """Close all connections. Commands after that raise :exc:`~redisext.errors.BackendClosed`."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


@runtime_checkable
class HasClient(Protocol):
    """A backend with a redis-py client behind it, for what Redisext does not cover."""

    @property
    def client(self) -> redis.Redis:
        """A client of the primary, on this backend's own connections."""
        ...

    @property
    def replica_client(self) -> redis.Redis:
        """A client of the server that answers reads."""
        ...
