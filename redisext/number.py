"""Adding to a number on the server: whole numbers of 64 bits, or floating point."""

from __future__ import annotations

import math
from typing import TypeVar, cast

from redisext.codec import Codec
from redisext.command import Command, Op
from redisext.errors import ArgumentError, EncodeError
from redisext.reply import integer, number

__all__ = ["increment"]

T = TypeVar("T")


def increment(whole: Op, floating: Op, codec: Codec[T], key: bytes, fields: tuple[bytes, ...], by: float) -> Command[T]:
    """The command that adds *by*: *whole* or *floating*, as the codec's elements are.

    Raises :exc:`~redisext.errors.EncodeError` where the elements are no numbers, and
    :exc:`~redisext.errors.ArgumentError` where *by* is not a number of their kind.
    """
    if codec.counts is int:
        # That T is int, or float below, is what `counts` says.
        return cast("Command[T]", Command(whole, (key,), (*fields, _whole(by)), integer))
    if codec.counts is float:
        return cast("Command[T]", Command(floating, (key,), (*fields, _floating(by)), number))
    raise EncodeError(f"a {codec.element} cannot be incremented: only int and float can")


def _whole(by: object) -> int:
    if type(by) is not int:
        raise ArgumentError(f"an int changes by an int, not by {type(by).__name__}")
    if not -(2**63) <= by < 2**63:
        raise ArgumentError("the server counts in 64 bits: the change is beyond them")
    return by


def _floating(by: object) -> str:
    if isinstance(by, bool) or not isinstance(by, (int, float)) or not math.isfinite(by):
        raise ArgumentError(f"a float changes by a finite number, not by {by!r}")
    return repr(float(by))
