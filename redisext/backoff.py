"""How long to wait before trying again what others were faster with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

__all__ = ["waits"]


def waits() -> Iterator[float]:
    """Seconds before each new attempt. Of many who try, random waits, longer each time, let one through at a time."""
    longest = 0.0
    while True:
        longest = min(_LONGEST, longest * 2 + 0.001)
        yield random.uniform(0, longest)  # noqa: S311  # it spreads attempts, and hides nothing


_LONGEST: Final = 0.05
