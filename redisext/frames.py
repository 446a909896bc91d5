"""Where in the user's program a call came from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

__all__ = ["inside", "outside", "stacklevel"]

_PACKAGE = __name__.rpartition(".")[0]


def outside() -> Iterator[FrameType]:
    """The frames of this call that are not in Redisext, the nearest first."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if not inside(frame.f_globals.get("__name__")):
            yield frame
        frame = frame.f_back


def stacklevel() -> int:
    """What `warnings.warn`, called by the caller of this function, needs in order to point at the user's line."""
    level = 1
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None and inside(frame.f_globals.get("__name__")):
        level += 1
        frame = frame.f_back
    return level


def inside(module: object) -> bool:
    """Whether a module of this name is Redisext's."""
    return isinstance(module, str) and (module == _PACKAGE or module.startswith(f"{_PACKAGE}."))
