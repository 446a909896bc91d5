"""What is compared: the same work, done by another client and by Redisext."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass
class Pair:
    """`wanted` says how Redisext is to come out of it."""

    work: str
    beside: str
    theirs: Callable[[], Awaitable[None]]
    ours: Callable[[], Awaitable[None]]
    wanted: str
