"""What lets machines take their thousands of steps fast."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests import faces


@pytest.fixture(autouse=True)
def _unmeasured(unmeasured: None) -> None:
    """Most of the time goes to drawing what happens next. And a line that only chance reaches is not covered."""


@pytest.fixture(scope="session")
def loop() -> Iterator[faces.Loop]:
    """A machine is driven by one thread."""
    with contextlib.closing(faces.LoopInThisThread()) as loop:
        yield loop


@pytest.fixture(scope="session")
def stand_ins(loop: faces.Loop) -> dict[object, type]:
    """Those of other tests ask the loop in another thread."""
    return faces.stand_ins(loop)
