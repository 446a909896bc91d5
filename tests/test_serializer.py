"""What `SERIALIZER` names: the bytes are those of redisext 2.0.2, and what that version stored is still read."""

from __future__ import annotations

import ast
import json
import math
import pickle
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from redisext import serializer
from redisext.backend.abc import Backend
from redisext.codec import RAW, Codec, serializer_codec
from redisext.command import Reply
from redisext.errors import DecodeError, EncodeError
from redisext.reply import array, bulk
from redisext.serializer import JSON, Numeric, Pickle, Raw, Serializer, String
from tests.watching import send

RECORDED = json.loads(Path(__file__).with_name("data").joinpath("redisext_2_0_2.json").read_text())
"""What 2.0.2 stored, and what it read back: see `data/make_redisext_2_0_2.py`."""


class Stored(NamedTuple):
    """A value, by its source, and what 2.0.2 made of it: bytes, and what it read back from them."""

    serializer: str | None
    value: str
    raw: bytes
    read: str | None

    def __repr__(self) -> str:
        return f"{self.serializer} {self.value}"

    @property
    def codec(self) -> Codec[object]:
        return RAW if self.serializer is None else serializer_codec(getattr(serializer, self.serializer), "item")


STORED = [
    Stored(one["serializer"], one["value"], bytes.fromhex(one["stored"]), one["read"])
    for one in cast("list[dict[str, Any]]", RECORDED["values"])
    if one["stored"] is not None
]

EMPTY = ("''", "b''")
ZEROS = ("0", "0.0", "-0.0")

WRITTEN_OTHERWISE = {
    # 2.0.2 passed falsy values by its serializer.
    ("JSON", "''"): b'""',
    ("Numeric", "0.0"): b"0",
    ("Numeric", "-0.0"): b"0",
    ("String", "b''"): b"b''",
    **{("Pickle", value): pickle.dumps(ast.literal_eval(value)) for value in (*EMPTY, *ZEROS)},
    # So it stored what its serializer would have refused, as today's does.
    ("JSON", "b''"): None,
    ("Numeric", "''"): None,
    ("Numeric", "b''"): None,
}
"""Where today's bytes are not those of 2.0.2; None where the value is refused."""

READ_OTHERWISE = {
    # 2.0.2 passed empty bytes by its serializer when reading, too.
    **{(name, value): "''" for name in ("String", "JSON", "Pickle") for value in EMPTY},
    # It could not read them itself.
    **{("Pickle", value): value for value in ZEROS},
    # These are no whole numbers, for neither.
    ("Numeric", "''"): None,
    ("Numeric", "b''"): None,
}
"""Where a value is not read as 2.0.2 read it; None where that is refused."""


class TestRedisext202:
    @pytest.mark.parametrize("stored", STORED, ids=repr)
    def test_the_same_bytes_are_written_for_the_same_value(self, stored: Stored) -> None:
        value = ast.literal_eval(stored.value)
        expected = WRITTEN_OTHERWISE.get((str(stored.serializer), stored.value), stored.raw)
        if expected is None:
            with pytest.raises(EncodeError):
                stored.codec.encode(value)
        elif stored.serializer == "Pickle":
            # Its bytes are those of Python's default protocol, which has changed since and may again.
            assert stored.codec.encode(value) == pickle.dumps(value)
        else:
            assert stored.codec.encode(value) == expected

    @pytest.mark.parametrize("stored", STORED, ids=repr)
    def test_what_was_stored_is_read_as_it_was(self, stored: Stored) -> None:
        expected = READ_OTHERWISE.get((str(stored.serializer), stored.value), stored.read)
        if expected is None:
            with pytest.raises(DecodeError) as caught:
                stored.codec.decode(stored.raw)
            assert caught.value.raw == stored.raw
        else:
            assert repr(stored.codec.decode(stored.raw)) == expected

    def test_the_exceptions_are_of_values_that_are_false(self) -> None:
        for _, value in (*WRITTEN_OTHERWISE, *READ_OTHERWISE):
            assert not ast.literal_eval(value)

    def test_much_was_recorded(self) -> None:
        assert len(STORED) > 100
        assert {one.serializer for one in STORED} == {None, "String", "Numeric", "JSON", "Pickle"}


# --- Whole structures


class Structure(NamedTuple):
    """What some calls of 2.0.2 left under a key, and what one more call gave."""

    path: str
    serializer: str | None
    calls: list[tuple[Any, ...]]
    type: str
    content: list[bytes]
    read: tuple[Any, ...]
    gives: Any

    def __repr__(self) -> str:
        return f"{self.path} {self.serializer} {self.read[0]}"

    def model(self, db: Backend) -> Any:
        """Today's class of that name."""
        module, _, name = self.path.partition(".")
        base = getattr(import_module(f"redisext.{module}"), name)
        named = {} if self.serializer is None else {"SERIALIZER": getattr(serializer, self.serializer)}
        return type(name, (base,), named)("key", db)


STRUCTURES = [
    Structure(
        one["class"],
        one["serializer"],
        ast.literal_eval(one["calls"]),
        one["type"],
        list(map(bytes.fromhex, one["content"])),
        ast.literal_eval(one["read"]),
        ast.literal_eval(one["gives"]),
    )
    for one in cast("list[dict[str, Any]]", RECORDED["structures"])
]


@pytest.fixture(params=["embedded", "redis"])
def variant(request: pytest.FixtureRequest) -> str:
    """The structures are found by their old modules, where nothing stands in for them."""
    return str(request.param)


def raw_content(db: Backend, kind: str) -> list[bytes]:
    """What is under the key, and for sets and hashes in a fixed order."""
    words = {
        "string": ("GET", ()),
        "list": ("LRANGE", (0, -1)),
        "set": ("SMEMBERS", ()),
        "zset": ("ZRANGE", (0, -1, "WITHSCORES")),
        "hash": ("HGETALL", ()),
    }
    name, arguments = words[kind]
    reply = send(db, name, "key", *arguments)
    flat: list[Reply] = [reply] if kind == "string" else array(reply)
    content = [bulk(part) for part in flat]
    if kind == "hash":
        return [part for pair in sorted(zip(content[::2], content[1::2], strict=True)) for part in pair]
    return sorted(content) if kind == "set" else content


def restore(db: Backend, structure: Structure) -> None:
    """Put under the key what 2.0.2 left there."""
    words = {"string": "SET", "list": "RPUSH", "set": "SADD", "zset": "ZADD", "hash": "HSET"}
    content = structure.content
    if structure.type == "zset":
        content = [part for pair in zip(content[1::2], content[::2], strict=True) for part in pair]
    send(db, words[structure.type], "key", *content)


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
class TestStructuresOf202:
    def test_the_same_calls_leave_the_same_bytes(self, db: Backend, structure: Structure) -> None:
        model = structure.model(db)
        for method, *arguments in structure.calls:
            getattr(model, method)(*arguments)
        assert raw_content(db, structure.type) == structure.content

    def test_the_same_call_reads_what_was_left(self, db: Backend, structure: Structure) -> None:
        restore(db, structure)
        method, *arguments = structure.read
        gives = getattr(structure.model(db), method)(*arguments)
        if structure.type == "set":
            assert sorted(gives) == sorted(structure.gives)
        else:
            assert gives == structure.gives


# --- Each by itself


class Level(IntEnum):
    HIGH = 1


class TestRaw:
    @pytest.mark.parametrize(
        ("item", "raw"),
        [(b"\xff", b"\xff"), ("☃", "☃".encode()), (5, b"5"), (1.5, b"1.5"), (Level.HIGH, b"1"), ("", b""), (0, b"0")],
    )
    def test_text_and_numbers_are_written_as_text_and_read_as_bytes(self, item: object, raw: bytes) -> None:
        assert RAW.encode(item) == raw
        assert RAW.decode(raw) == raw

    @pytest.mark.parametrize("item", [True, None, [], bytearray(b"x"), object()], ids=lambda item: type(item).__name__)
    def test_anything_else_is_refused(self, item: object) -> None:
        with pytest.raises(EncodeError, match=f"raw values are bytes, str, int or float, not {type(item).__name__}"):
            RAW.encode(item)

    def test_text_that_is_no_utf_8_is_refused(self) -> None:
        with pytest.raises(EncodeError, match="the serializer Raw refused it"):
            RAW.encode("\ud800")


class TestFalsyValues:
    @pytest.mark.parametrize("item", [0, 0.0, "", False, None, [], {}], ids=repr)
    @pytest.mark.parametrize("by", [JSON, Pickle], ids=lambda by: by.__name__)
    def test_they_go_through_the_serializer(self, by: Serializer, item: object) -> None:
        codec = serializer_codec(by, "item")
        back = codec.decode(codec.encode(item))
        assert repr(back) == repr(item)

    def test_none_is_no_text(self) -> None:
        with pytest.raises(EncodeError, match="None is not text"):
            serializer_codec(String, "item").encode(None)


class TestNumeric:
    @pytest.mark.parametrize("item", [math.inf, math.nan, "x", None, [1]], ids=repr)
    def test_what_is_no_number_is_refused(self, item: object) -> None:
        with pytest.raises(EncodeError, match="the serializer Numeric refused it"):
            serializer_codec(Numeric, "number").encode(item)

    @pytest.mark.parametrize("raw", [b"", b"x", b"1.5", b"\xff"])
    def test_what_is_no_whole_number_is_not_read(self, raw: bytes) -> None:
        with pytest.raises(DecodeError, match="is not of type number"):
            serializer_codec(Numeric, "number").decode(raw)


class TestPickle:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_every_protocol_is_read(self, protocol: int) -> None:
        """Python 2 wrote protocol 0."""
        for value in (5, "text", b"\xff", [1, (2, {"a": None})], 0, "", None, Level.HIGH):
            assert Pickle.decode(pickle.dumps(value, protocol)) == value

    def test_nothing_is_taken_for_what_2_0_2_left_that_is_a_pickle(self) -> None:
        for raw in (b"", b"0", b"0.0", b"-0.0"):
            with pytest.raises((pickle.UnpicklingError, EOFError)):
                pickle.loads(raw)

    def test_what_is_no_pickle_is_an_error_with_the_bytes(self) -> None:
        with pytest.raises(DecodeError) as caught:
            serializer_codec(Pickle, "item").decode(b"1")
        assert caught.value.raw == b"1"

    def test_what_cannot_be_pickled_is_refused(self) -> None:
        with pytest.raises(EncodeError, match="the serializer Pickle refused it"):
            serializer_codec(Pickle, "item").encode(lambda: None)


class Hexadecimal:
    @staticmethod
    def encode(item: int) -> str:
        return f"{item:x}"

    @staticmethod
    def decode(item: bytes) -> int:
        return int(item, 16)


class TestOwn:
    @pytest.mark.parametrize("own", [Hexadecimal, Hexadecimal()], ids=["class", "instance"])
    def test_any_object_with_encode_and_decode_serves(self, own: Serializer) -> None:
        codec = serializer_codec(own, "int")
        assert codec.encode(255) == b"ff"
        assert codec.decode(b"ff") == 255

    def test_the_four_and_raw_are_serializers(self) -> None:
        named: list[Serializer] = [JSON, Numeric, Pickle, Raw, String]
        for one in named:
            assert isinstance(serializer_codec(one, "item").encode("5"), bytes)
