"""How long a blocking operation may wait."""

from __future__ import annotations

import math
from typing import Final

from redisext.errors import ArgumentError, shown

__all__ = ["A_SLICE", "block_for", "checked_timeout"]


def checked_timeout(timeout: object) -> float | None:
    """*timeout* in seconds; None for ever. Raises :exc:`~redisext.errors.ArgumentError` for what is no time."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise ArgumentError(f"timeout is a number of seconds from 0 up, or None to wait for ever; not {shown(timeout)}")
    return timeout if timeout < _FOR_EVER else None


_FOR_EVER: Final = 1e9
"""Thirty years. Neither a server nor a socket takes every longer time, so that is taken for "for ever"."""


def block_for(timeout: float | None) -> float:
    """The same as a blocking command takes it: 0 for ever, and never less than the server's 1 ms."""
    return 0 if timeout is None else max(1, math.ceil(timeout * 1000)) / 1000


A_SLICE: Final = 5.0
"""Seconds that a server is asked to wait at a time, where it may be gone meanwhile and another is to be asked."""
