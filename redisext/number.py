"""Adding to a number on the server: whole numbers of 64 bits, or floating point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar, cast

from redisext.codec import Codec
from redisext.command import Argument, Op, Reply
from redisext.errors import ArgumentError, EncodeError, shown
from redisext.reply import integer, number

__all__ = ["checked", "increment"]

T = TypeVar("T")


Increment: TypeAlias = tuple[Op, tuple[Argument, ...], Callable[[Reply], T]]
"""What a command that changes a number consists of, besides its key."""


def increment(
    whole: Op, floating: Op, codec: Codec[T], fields: tuple[bytes, ...], by: float, *, sign: int = 1
) -> Increment[T]:
    """What adds *by* (subtracts it where *sign* is -1): *whole* or *floating*, as the codec's elements are.

    Raises :exc:`~redisext.errors.EncodeError` where the elements are no numbers, and
    :exc:`~redisext.errors.ArgumentError` where *by* is not a number of their kind.
    """
    if codec.counts is int:
        # That T is int, or float below, is what `counts` says.
        return cast("Increment[T]", (whole, (*fields, _whole(by, sign)), integer))
    if codec.counts is float:
        return cast("Increment[T]", (floating, (*fields, _floating(by, sign)), number))
    raise EncodeError(f"a {codec.element} cannot be incremented: only int and float can")


def checked(codec: Codec[T], value: T) -> T:
    """*value*, if the server can count on from it. Raises :exc:`~redisext.errors.ArgumentError`."""
    if codec.counts is int and isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
        raise ArgumentError("the server counts in 64 bits: the number is beyond them")
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"the server counts finite numbers only, not {shown(value)}")
    return value


_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**63 - 1


def _whole(by: object, sign: int) -> int:
    if type(by) is not int:
        raise ArgumentError(f"an int changes by an int, not by {type(by).__name__}")
    if not _LOWEST <= by * sign <= _HIGHEST:
        raise ArgumentError("the server counts in 64 bits: the change is beyond them")
    return by * sign


def _floating(by: object, sign: int) -> str:
    if type(by) is int and abs(by) <= _LARGEST_EXACT:
        by = float(by)
    if type(by) is not float or not math.isfinite(by):
        raise ArgumentError(f"a float changes by a finite number that a float can hold, not by {shown(by)}")
    return repr(by * sign)


_LARGEST_EXACT: Final = 2**53
"""Up to here a float holds every int."""
