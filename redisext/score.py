"""Scores of a sorted set: 64-bit floating-point numbers, and the bounds of a range of them."""

from __future__ import annotations

import math
import re
from typing import Final, TypeAlias

from redisext.errors import ArgumentError, shown

__all__ = ["Bound", "bound", "score"]

Bound: TypeAlias = float | str
"""A number, or Redis's text for one: ``"-inf"``, ``"+inf"``, and with a leading ``(`` for "but not this one"."""

_BOUND: Final = r"\(?[-+]?(inf|\d+(\.\d*)?([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?)"


def score(name: str, value: object) -> str:
    """A score as it is sent. Raises :exc:`~redisext.errors.ArgumentError` for NaN, and for an int that is not exact."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(f"{name} is a number, not {type(value).__name__}")
    if isinstance(value, int) and not -(2**53) <= value <= 2**53:
        raise ArgumentError(f"{name} is an integer beyond 2**53, which a score cannot hold exactly")
    if math.isnan(value):
        raise ArgumentError(f"{name} is NaN, which has no place in an order")
    return repr(value)


def bound(name: str, value: Bound) -> str:
    """One end of a range of scores, as it is sent."""
    if not isinstance(value, str):
        return score(name, value)
    if re.fullmatch(_BOUND, value, re.ASCII) is None:
        raise ArgumentError(
            f"{name} is a number, '-inf' or '+inf', with '(' before it to leave it out; not {shown(value)}"
        )
    return value
