"""Calls in threads of their own, which can hang without the tests hanging too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Barrier, Thread
from typing import TypeVar

R = TypeVar("R")

PATIENCE = 30
"""How long (seconds) a thread may take before its test fails."""

AT_ONCE = 1
"""What takes no time takes no longer than this (seconds), on a busy machine."""


def start(call: Callable[[], R]) -> Future[R]:
    """Make the call in another thread."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # whoever asks for the result gets it
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def at_once(calls: Sequence[Callable[[], R]]) -> list[R]:
    """Make each call in a thread of its own, all at the same instant, and give their results."""
    barrier = Barrier(len(calls))

    def after_all_are_ready(call: Callable[[], R]) -> R:
        barrier.wait(PATIENCE)
        return call()

    begun = [start(partial(after_all_are_ready, call)) for call in calls]
    return [one.result(PATIENCE) for one in begun]
