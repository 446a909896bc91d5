"""Commands as the protocol writes them: by hand, and the same as hiredis would."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisext.backend.exchange import packed
from redisext.command import Argument, Command, Op, Script
from redisext.reply import integer
from tests.faults.redis_py import written_out

ARGUMENTS = st.lists(st.binary(max_size=1_100) | st.text() | st.integers() | st.floats(), max_size=3).map(tuple)
KEYS = st.lists(st.binary(min_size=1), min_size=1, max_size=2).map(tuple)
RUN_SCRIPT = Op("get by script", script=Script("return redis.call('GET', KEYS[1])"))

as_hiredis_does = cast(  # its own types know commands of one word only
    "Callable[[tuple[bytes | str, ...]], bytes]",
    hiredis.pack_command,  # pyright: ignore[reportUnknownMemberType]
)


class Bytes(bytes):
    """What an element type or a serializer may give."""


@given(st.sampled_from([Op("SET"), Op("COMMAND WITH A LONG NAME"), RUN_SCRIPT]), KEYS, ARGUMENTS)
def test_commands_and_words_are_packed_alike(op: Op, keys: tuple[bytes, ...], args: tuple[Argument, ...]) -> None:
    command = Command(op, keys, args, integer)
    wanted = as_hiredis_does(written_out(command.words))
    assert packed([command]) == packed([command.words]) == wanted
    kept = Command(op, keys, args, integer).kept()
    assert packed([kept, command.words, kept]) == wanted * 3


@pytest.mark.parametrize("count", [1, 999, 1_000, 1_001])
def test_any_number_of_words(count: int) -> None:
    words = (Bytes(b"word"),) * count
    assert packed([words]) == as_hiredis_does(words)


def test_nothing_is_nothing() -> None:
    assert packed([]) == b""
