"""A default that no stored value can be taken for."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["NOTHING", "Nothing"]


class Nothing(Enum):
    """The type of :data:`NOTHING`; an enum of one member, so that ``is NOTHING`` narrows for type checkers."""

    NOTHING = "NOTHING"

    def __repr__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return False


NOTHING: Final = Nothing.NOTHING
"""``queue.pop(default=NOTHING)`` tells an empty queue from a stored None."""
