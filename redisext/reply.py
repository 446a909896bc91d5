"""How a reply becomes a result: the plain cases, which every structure shares.

Each function takes a reply as RESP2 has it and says what it is, or raises :exc:`~redisext.errors.CommandRefused`
where the server (or the client in between) answered with something else.
"""

from __future__ import annotations

from typing import Final, cast

from redisext.command import Reply
from redisext.errors import CommandRefused, shown

__all__ = ["array", "as_it_is", "bulk", "bulks", "done", "flag", "integer", "number", "optional_bulk"]


def _unexpected(wanted: str, reply: Reply) -> CommandRefused:
    return CommandRefused(
        f"expected {wanted} and got {shown(reply)}; a backend must give replies as RESP2 has them, not decoded further"
    )


def as_it_is(reply: Reply) -> Reply:
    """For what is read by somebody else."""
    return reply


def integer(reply: Reply) -> int:
    """A whole number."""
    if isinstance(reply, int):
        return reply
    raise _unexpected("an integer", reply)


def flag(reply: Reply) -> bool:
    """Whether anything was changed, from the number of changes, a status, or nil."""
    return bool(reply)


def done(reply: Reply) -> None:
    """For operations that have nothing to tell."""


def optional_bulk(reply: Reply) -> bytes | None:
    """The bytes of a value, or None for nil."""
    if reply is None or isinstance(reply, bytes):
        return reply
    raise _unexpected("a bulk string or nil", reply)


def bulk(reply: Reply) -> bytes:
    """The bytes of a value."""
    if isinstance(reply, bytes):
        return reply
    raise _unexpected("a bulk string", reply)


def number(reply: Reply) -> float:
    """A floating-point number: RESP2 sends it as text."""
    if isinstance(reply, (bytes, float, int)):
        return float(reply)
    raise _unexpected("a number", reply)


def array(reply: Reply) -> list[Reply]:
    """Several replies."""
    if isinstance(reply, list):
        return reply
    raise _unexpected("an array", reply)


def bulks(reply: Reply) -> list[bytes]:
    """The bytes of several values."""
    found = array(reply)
    # To look at the kinds that there are is sooner done than to look at each of them.
    if _ONLY_BYTES.issuperset(map(type, found)):
        return cast("list[bytes]", found)  # as has just been seen
    return [*map(bulk, found)]


_ONLY_BYTES: Final[frozenset[type[object]]] = frozenset({bytes})
