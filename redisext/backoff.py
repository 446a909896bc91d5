"""How long to wait before trying again, and when to give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

from redisext.errors import RedisextError
from redisext.pending import Pending, without_overtaking

__all__ = ["Patience", "waits"]

R = TypeVar("R")


def waits(longest: float = 0.05) -> Iterator[float]:
    """Seconds before each new attempt. Of many who try, random waits, longer each time, let one through at a time.

    "Full jitter", as Marc Brooker compared it with others in "Exponential Backoff And Jitter" (AWS, 2015).
    """
    bound = 0.0
    while True:
        bound = min(longest, bound * 2 + 0.001)
        yield random.uniform(0, bound)  # noqa: S311  # it spreads attempts, and hides nothing


_LONGEST: Final = 0.5
"""Between two attempts at a server that is away (seconds)."""


class Patience:
    """Tries again what failed and may be tried again, until *deadline* seconds are over; None: not at all.

    An attempt that has begun is not cut short: it has the timeouts of any other.
    """

    def __init__(self, deadline: float | None) -> None:
        self._end = None if deadline is None else time.monotonic() + deadline
        self._waits = waits(_LONGEST)
        self.doubt: bool = False
        """Whether an attempt may have been carried out although it failed."""
        self._doubted: set[Pending[object]] = set()

    def doubts(self, one: Pending[object]) -> bool:
        """The same of one of several."""
        return one in self._doubted

    def persist(self, work: Callable[[], R]) -> R:
        """What *work* gives in the end."""
        while True:
            try:
                return work()
            except RedisextError as error:
                pause = self._pause_after(error)
            time.sleep(pause)

    async def apersist(self, work: Callable[[], Awaitable[R]]) -> R:
        """The same under asyncio."""
        while True:
            try:
                return await work()
            except RedisextError as error:
                pause = self._pause_after(error)
            await asyncio.sleep(pause)

    def persist_with(
        self, work: Callable[[Sequence[Pending[object]]], object], pending: Sequence[Pending[object]]
    ) -> None:
        """Have *work* carry out *pending*, and again those that failed."""
        left = pending
        while left:
            reason: RedisextError | None = None
            try:
                work(left)
            except RedisextError as error:
                reason = error
            left, pause = self._left_of(left, reason)
            if left:
                time.sleep(pause)

    async def apersist_with(
        self, work: Callable[[Sequence[Pending[object]]], Awaitable[object]], pending: Sequence[Pending[object]]
    ) -> None:
        """The same under asyncio."""
        left = pending
        while left:
            reason: RedisextError | None = None
            try:
                await work(left)
            except RedisextError as error:
                reason = error
            left, pause = self._left_of(left, reason)
            if left:
                await asyncio.sleep(pause)

    def _pause(self) -> float | None:
        """How long to wait now; None when it is over."""
        pause = next(self._waits)
        return None if self._end is None or time.monotonic() + pause >= self._end else pause

    def _pause_after(self, error: RedisextError) -> float:
        """The same; raises *error* when it is over, or the error final."""
        self.doubt = error.sent = self.doubt or error.sent
        pause = self._pause() if error.retriable else None
        if pause is None:
            raise error
        return pause

    def _left_of(
        self, pending: Sequence[Pending[object]], reason: RedisextError | None
    ) -> tuple[Sequence[Pending[object]], float]:
        """Which are to be tried again, and after how long. Raises *reason*, for which none was sent, if it is final."""
        if reason is not None:
            return pending, self._pause_after(reason)
        for one in pending:
            if isinstance(one.error, RedisextError):
                if one.error.sent:
                    self._doubted.add(one)
                one.error.sent = one in self._doubted
        failed = without_overtaking(pending, lambda one: one.retriable)
        if len(failed) < len(pending):
            self._waits = waits(_LONGEST)  # the server is there
        pause = self._pause() if failed else None
        return ((), 0) if pause is None else (failed, pause)
