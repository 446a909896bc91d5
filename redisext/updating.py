"""Replacing a value by what a function makes of it, atomically."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from redisext.backoff import waits
from redisext.codec import Codec
from redisext.command import Command, Reply, Steps, Wait
from redisext.reply import optional_bulk

__all__ = ["compare_and_set", "raw_and_value"]

T = TypeVar("T")


def compare_and_set(
    read: Command[tuple[bytes | None, T | None]],
    swap: Callable[[T, bytes | None], Command[bool]],
    fn: Callable[[T | None], T],
) -> Steps[T]:
    """Give the value that *fn* makes of the one that *read* gives, once *swap* has put it in that one's place.

    *read* gives the bytes too, and is answered by the primary: on a replica they may have been others for long. *swap*
    puts the new value where those bytes still are (None: where there is nothing still), and tells whether it did.
    """
    before_next = waits()
    while True:
        raw, old = yield from read
        value = fn(old)
        if (yield from swap(value, raw)):
            return value
        yield Wait(next(before_next))  # somebody else was faster


def raw_and_value(codec: Codec[T]) -> Callable[[Reply], tuple[bytes | None, T | None]]:
    """A parser for what `compare_and_set` reads."""
    decode = codec.decode

    def parse(reply: Reply) -> tuple[bytes | None, T | None]:
        raw = optional_bulk(reply)
        return raw, None if raw is None else decode(raw)

    return parse
