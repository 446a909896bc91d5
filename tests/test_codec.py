"""What the element type makes of a value: it comes back as it was, or it is refused before anything is sent."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import subprocess
import sys
import types
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path, PurePath
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NoReturn,
    NotRequired,
    TypeVar,
    Union,
    cast,
)
from unittest.mock import patch
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, TzInfo, core_schema, to_json
from typing_extensions import TypedDict

import redisext.codec
from redisext import plain
from redisext.canonical import canonical_json
from redisext.codec import Codec, Unresolved, codec_for, serializer_codec, type_name
from redisext.command import Command, Op
from redisext.errors import ConfigurationError, DecodeError, EncodeError
from redisext.queue import Queue
from redisext.reply import bulk
from redisext.sameness import Sameness, change

T = TypeVar("T")


def label(one: object) -> str:
    """A parameter, in the name of a test."""
    if isinstance(one, type) or type(one).__module__ in ("types", "typing"):
        return type_name(one)
    return f"{type(one).__name__} {one!r}".partition(" at 0x")[0]


# --- The element types


class Colour(Enum):
    RED = "red"
    LEVEL = 7


class Level(IntEnum):
    NONE = 0
    HIGH = 1


class Tone(StrEnum):
    DARK = "dark"
    EMPTY = ""


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    name: str
    size: float = 0.0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]
    poster: NotRequired[bytes]


@dataclass
class Point:
    x: float
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Blob:
    data: bytes
    tags: frozenset[str] = frozenset()


@dataclass
class Tree:
    """Refers to itself, and to a class that is defined further down."""

    value: int
    children: list[Tree] = field(default_factory=list["Tree"])
    leaf: Leaf | None = None


@dataclass
class Leaf:
    colour: Colour


@dataclass
class Point3(Point):
    z: float = 0.0


class Place(BaseModel):
    city: str
    floor: int = 0
    at: datetime | None = None


class Flat(Place):
    door: str = ""


class Event(BaseModel):
    name: str
    place: Place | None = None
    parts: list[Event] = []
    colours: dict[str, Colour] = {}


class Everything(BaseModel):
    """Configured so that bytes and non-finite numbers come back."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")

    data: bytes = b""
    number: float = 0.0


class Numbers(RootModel[list[int]]):
    pass


UserId = NewType("UserId", int)
Port = Annotated[int, Field(ge=1, le=65535)]
Short = Annotated[str, Field(max_length=3)]


# --- Types and their values, generated


class Element(NamedTuple):
    """An element type, some of its values, and which kind of JSON they are written as."""

    type: Any
    values: st.SearchStrategy[object]
    json: str

    def __repr__(self) -> str:
        return type_name(self.type)


ZONES = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TEXT = st.text() | st.text(st.characters(categories=["Cs", "Ll"]))
"""With lone surrogates among it, which UTF-8 cannot write."""

FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 1e16, 5e-324, math.inf, -math.inf, math.nan])
INTS = st.integers() | st.integers(-(10**100), 10**100)

PLACES = st.builds(Place, city=st.text(), floor=INTS, at=st.none() | st.datetimes(timezones=ZONES))
EVENTS = st.recursive(
    st.builds(Event, name=st.text(), place=st.none() | PLACES),
    lambda events: st.builds(
        Event,
        name=st.text(),
        parts=st.lists(events, max_size=2),
        colours=st.dictionaries(st.text(), st.sampled_from(Colour), max_size=2),
    ),
    max_leaves=3,
)
TREES = st.recursive(
    st.builds(Tree, INTS, st.just([]), st.none() | st.builds(Leaf, st.sampled_from(Colour))),
    lambda trees: st.builds(Tree, INTS, st.lists(trees, max_size=2), st.none()),
    max_leaves=3,
)
MOVIES = st.fixed_dictionaries({"title": st.text()}, optional={"year": INTS, "poster": st.binary()})

SCALARS = [
    Element(int, INTS, "number"),
    Element(float, FLOATS, "number"),
    Element(str, TEXT, "string"),
    Element(bytes, st.binary(), "string"),
    Element(bool, st.booleans(), "boolean"),
    Element(None, st.none(), "null"),
    Element(UserId, INTS, "number"),
    Element(Port, st.integers(1, 65535), "number"),
    Element(Short, st.text(max_size=3), "string"),
    # Written as a string, but read from a number too.
    Element(Decimal, st.decimals(allow_nan=False, allow_infinity=False), "string or number"),
    Element(datetime, st.datetimes(timezones=ZONES), "string"),
    Element(date, st.dates(), "string"),
    Element(time, st.times(timezones=ZONES), "string"),
    Element(timedelta, st.timedeltas(), "string"),
    Element(UUID, st.uuids(), "string"),
    Element(Path, st.text(st.characters(exclude_categories=["Cs"])).map(Path), "string"),
    Element(IPv4Address, st.ip_addresses(v=4), "string"),
    Element(Colour, st.sampled_from(Colour), "enum"),
    Element(Level, st.sampled_from(Level), "number"),
    Element(Tone, st.sampled_from(Tone), "string"),
    Element(Rights, st.sampled_from([*Rights, Rights.READ | Rights.WRITE]), "number"),
    Element(Literal["on", "off", 1], st.sampled_from(["on", "off", 1]), "enum"),
]
OBJECTS = [
    Element(Pair, st.builds(Pair, st.text(), FLOATS), "array"),
    Element(Movie, MOVIES, "object"),
    Element(Point, st.builds(Point, FLOATS, FLOATS), "object"),
    Element(Blob, st.builds(Blob, st.binary(), st.frozensets(TEXT, max_size=3)), "object"),
    Element(Tree, TREES, "object"),
    Element(Place, PLACES, "object"),
    Element(Event, EVENTS, "object"),
    Element(Everything, st.builds(Everything, data=st.binary(), number=FLOATS), "object"),
    Element(Numbers, st.lists(INTS, max_size=3).map(Numbers), "array"),
]
KEYS = [one for one in SCALARS if one.json in ("number", "string", "boolean") and one.type not in (Level, Rights)]
"""What JSON can write as an object's key, and read back."""

HASHABLE = [*SCALARS, Element(Pair, st.builds(Pair, st.text(), FLOATS), "array")]


def small(values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    return st.lists(values, max_size=3)


def of(generic: Any, *types: object) -> object:
    """``generic[types]``, which checkers read as a type only where it is written out."""
    return generic[types]


def optional(one: Element) -> Element:
    return Element(of(Union, one.type, None), st.none() | one.values, "null")


def either(one: Element, other: Element) -> Element:
    return Element(one.type | other.type, one.values | other.values, "several")


def list_of(one: Element) -> Element:
    return Element(of(list, one.type), small(one.values), "array")


def tuple_of(one: Element) -> Element:
    return Element(of(tuple, one.type, ...), small(one.values).map(tuple), "array")


def pair_of(one: Element, other: Element) -> Element:
    return Element(of(tuple, one.type, other.type), st.tuples(one.values, other.values), "array")


def set_of(one: Element) -> Element:
    return Element(of(set, one.type), small(one.values).map(set), "array")


def frozenset_of(one: Element) -> Element:
    return Element(of(frozenset, one.type), small(one.values).map(frozenset), "array")


def dict_of(key: Element, one: Element) -> Element:
    return Element(of(dict, key.type, one.type), st.dictionaries(key.values, one.values, max_size=3), "object")


def record_of(one: Element, other: Element) -> Element:
    record = dataclasses.make_dataclass("Record", [("first", one.type), ("second", other.type)])
    return Element(record, st.builds(record, one.values, other.values), "object")


def model_of(one: Element, other: Element) -> Element:
    fields: Any = {"first": (one.type, ...), "second": (other.type, ...)}
    model = pydantic.create_model("Model", __config__=Everything.model_config, **fields)
    return Element(model, st.builds(model.model_construct, first=one.values, second=other.values), "object")


def collections_of(elements: st.SearchStrategy[Element]) -> st.SearchStrategy[Element]:
    """Types that hold one of `elements`, or several, and of which equal values can be written alike."""
    return st.one_of(
        elements.map(optional),
        elements.map(list_of),
        elements.map(tuple_of),
        st.sampled_from(HASHABLE).map(set_of),
        st.sampled_from(HASHABLE).map(frozenset_of),
        st.builds(pair_of, elements, elements),
        st.builds(dict_of, st.sampled_from(KEYS), elements),
        st.builds(record_of, elements, elements),
        st.builds(model_of, elements, elements),
    )


def all_collections_of(elements: st.SearchStrategy[Element]) -> st.SearchStrategy[Element]:
    """Those, and some that only come back."""
    of_one_kind = elements.filter(lambda one: one.json in ("number", "string", "boolean", "array", "object"))
    told_apart = st.tuples(of_one_kind, of_one_kind).filter(lambda two: two[0].json != two[1].json)
    return st.one_of(collections_of(elements), told_apart.map(lambda two: either(*two)))


ELEMENTS = st.recursive(st.sampled_from([*SCALARS, *OBJECTS]), all_collections_of, max_leaves=3)
IDENTITIES = st.recursive(st.sampled_from([*SCALARS, *OBJECTS]), collections_of, max_leaves=3)


def parts(value: object) -> Iterator[object]:
    """The value, and all that is inside of it."""
    yield value
    inside: Iterable[object] = ()
    if isinstance(value, BaseModel):
        inside = [item for _, item in value]
    elif dataclasses.is_dataclass(value):
        inside = [getattr(value, one.name) for one in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        inside = [*entries, *entries.values()]
    elif isinstance(value, (list, tuple, deque, set, frozenset)):
        inside = cast("Iterable[object]", value)
    for one in inside:
        yield from parts(one)


def why_lost(value: object) -> str | None:
    """Why JSON (or UTF-8) cannot give this value back. There is nothing else that may be refused."""
    for one in parts(value):
        if isinstance(one, str) and any("\ud800" <= letter <= "\udfff" for letter in one):
            return "a lone surrogate"
        if isinstance(one, (set, frozenset, dict)) and has_nan(list(cast("Iterable[object]", one))):
            return "NaN, which cannot be looked up"
    return None


def has_nan(value: object) -> bool:
    return any(isinstance(one, float) and math.isnan(one) for one in parts(value))


def shape(value: object) -> object:
    """All that a value is, with the type of each part: equal only for what cannot be told apart."""
    kind = type(value)
    if isinstance(value, Enum):
        return kind, value.name
    if isinstance(value, BaseModel):
        return kind, [(name, shape(item)) for name, item in value]
    if dataclasses.is_dataclass(value):
        return kind, [shape(getattr(value, one.name)) for one in dataclasses.fields(value)]
    if isinstance(value, dict):
        # A TypedDict comes back in the order of its fields.
        items = [(shape(key), shape(item)) for key, item in cast("dict[object, object]", value).items()]
        return kind, sorted(items, key=repr)
    if isinstance(value, (list, tuple, deque)):
        return kind, [shape(one) for one in cast("Iterable[object]", value)]
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(shape(one)) for one in cast("Iterable[object]", value))
    if isinstance(value, (datetime, time)):
        return kind, value.isoformat()
    if isinstance(value, (float, Decimal)):
        return kind, repr(value)
    return kind, value


FALSY: list[tuple[object, object]] = [
    (int, 0),
    (float, 0.0),
    (str, ""),
    (bytes, b""),
    (bool, False),
    (None, None),
    (int | None, 0),
    (int | None, None),
    (list[int], []),
    (dict[str, int], {}),
    (tuple[()], ()),
    (set[int], set()),
    (Tone, Tone.EMPTY),
    (Level, Level.NONE),
    (timedelta, timedelta(0)),
    (Decimal, Decimal(0)),
    (Decimal | None, None),
]


class TestRoundTrip:
    def test_a_value_of_any_type_comes_back_as_it_was(self) -> None:
        """Refused is only what cannot come back, and that is little."""
        outcomes: Counter[str] = Counter()

        @given(st.data())
        def comes_back(data: st.DataObject) -> None:
            element = data.draw(ELEMENTS)
            value = data.draw(element.values)
            codec = codec_for(element.type)
            try:
                raw = codec.encode(value)
            except EncodeError:
                lost = why_lost(value)
                assert lost is not None
                event(f"refused: {lost}")
                outcomes["refused"] += 1
                return
            back = codec.decode(raw)
            assert shape(back) == shape(value)
            assert back == value or has_nan(value)
            event("came back")
            outcomes["came back"] += 1

        comes_back()
        assert outcomes["came back"] > 5 * outcomes["refused"]

    @pytest.mark.parametrize(("type_", "value"), FALSY, ids=label)
    def test_a_falsy_value_is_a_value(self, type_: object, value: object) -> None:
        codec = codec_for(type_)
        back = codec.decode(codec.encode(value))
        assert back == value
        assert type(back) is type(value)

    @pytest.mark.parametrize(
        ("type_", "value", "raw"),
        [
            (int, -5, b"-5"),
            (float, 0.1, b"0.1"),
            (float, 3, b"3.0"),
            (float, math.inf, b"inf"),
            (str, "naïve ☃", "naïve ☃".encode()),
            (bytes, b"\xff\x00", b"\xff\x00"),
            (UserId, 7, b"7"),
            (Port, 80, b"80"),
            (Annotated[str, "a note"], "x", b"x"),
            (bool, True, b"true"),
            (int | None, None, b"null"),
            (Point, Point(1, 2), b'{"x":1.0,"y":2.0}'),
            (Level, Level.HIGH, b"1"),
        ],
        ids=label,
    )
    def test_what_redis_counts_or_compares_is_native_and_all_else_is_json(
        self, type_: object, value: object, raw: bytes
    ) -> None:
        assert codec_for(type_).encode(value) == raw

    @pytest.mark.parametrize("type_", [float, list[float], Annotated[float, "a note"], Point, Everything], ids=label)
    def test_not_a_number_comes_back(self, type_: Any) -> None:
        values = {
            Point: Point(math.nan),
            Everything: Everything(number=math.nan),
            list[float]: [math.nan, 1.0],
        }
        value = values.get(type_, math.nan)
        codec = codec_for(type_)
        assert repr(codec.decode(codec.encode(value))) == repr(value)

    def test_a_codec_is_made_once_for_a_type(self) -> None:
        assert codec_for(list[int]) is codec_for(list[int])
        assert codec_for(list[int]) is not codec_for(list[int], identity=True)

    def test_conditions_that_cannot_be_hashed_are_no_hindrance(self) -> None:
        codec = codec_for(Annotated[int, Field(ge=0), {"not": "hashable"}])
        assert codec.encode(5) == b"5"
        with pytest.raises(EncodeError):
            codec.encode(-5)

    def test_other_errors_of_a_type_are_its_own(self) -> None:
        class Broken:
            @classmethod
            def __get_pydantic_core_schema__(cls, source: object, handler: object) -> NoReturn:
                raise TypeError("this type is broken")

        with pytest.raises(TypeError, match="this type is broken"):
            codec_for(Broken)

    def test_a_name_that_is_not_defined_is_told(self) -> None:
        @dataclass
        class Waiting:
            inner: list[NowhereDefined]  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

        with pytest.raises(Unresolved, match="NowhereDefined"):
            codec_for(Waiting)

    def test_the_order_of_a_union_is_kept_although_python_calls_both_equal(self) -> None:
        first, second = codec_for(int | str), codec_for(str | int)
        assert (int | str) == (str | int)
        assert (first.element, second.element) == ("int | str", "str | int")

    def test_a_dict_keeps_its_order(self) -> None:
        codec = codec_for(dict[str, int])
        back = codec.decode(codec.encode({"b": 1, "a": 2}))
        assert isinstance(back, dict)
        assert list(cast("dict[str, int]", back)) == ["b", "a"]

    def test_an_int_among_floats_comes_back_as_the_equal_float(self) -> None:
        """Every type checker takes an int for a float."""
        codec = codec_for(list[float])
        back = codec.decode(codec.encode([1, 2**53]))
        assert repr(back) == "[1.0, 9007199254740992.0]"

    def test_a_value_computed_by_a_cached_property_is_not_part_of_the_model(self) -> None:
        class Square(BaseModel):
            side: int

            @cached_property
            def area(self) -> int:
                return self.side**2

        square = Square(side=2)
        assert square.area == 4
        assert codec_for(Square).encode(square) == b'{"side":2}'

    def test_a_class_with_secret_in_its_name_holds_no_secret(self) -> None:
        class SecretSanta(BaseModel):
            name: str

        assert codec_for(SecretSanta).encode(SecretSanta(name="Ann")) == b'{"name":"Ann"}'

    def test_a_field_that_is_made_by_the_class_comes_back(self) -> None:
        @dataclass
        class Doubled:
            size: int
            doubled: int = field(init=False)
            unit: InitVar[int] = 1

            def __post_init__(self, unit: int) -> None:
                self.doubled = self.size * 2 * unit

        codec = codec_for(Doubled)
        assert codec.decode(codec.encode(Doubled(3))) == Doubled(3)


# --- What does not come back as it was


class OnlyWritten(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")
    data: bytes


class OnlyRead(BaseModel):
    model_config = ConfigDict(val_json_bytes="base64")
    data: bytes


class Unconfigured(BaseModel):
    data: bytes = b""
    number: float = 0.0


class AsStrings(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    number: float


class Alias(BaseModel):
    number: int = Field(alias="Number")


class ReadAlias(BaseModel):
    number: int = Field(default=0, validation_alias="Number")


class ReadAliases(BaseModel):
    number: int = Field(default=0, validation_alias=AliasChoices("Number", "no"))


class WriteAlias(BaseModel):
    number: int = Field(serialization_alias="Number")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot tell a decorated property from a method
    @property
    def area(self) -> int:
        return self.side**2


class Excluded(BaseModel):
    number: int
    cache: str = Field(default="", exclude=True)


class EqualByNumber(Excluded):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, EqualByNumber) and other.number == self.number

    def __hash__(self) -> int:
        return 0


class Private(BaseModel):
    number: int
    _seen: int = PrivateAttr(default=0)

    def seen(self, times: int) -> Private:
        self._seen = times
        return self


class Login(BaseModel):
    password: SecretStr


class Shifted(BaseModel):
    number: int

    @field_serializer("number")
    def shift(self, number: int) -> int:
        return number + 1


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    name: str


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int


@dataclass
class Made:
    """Its second field is taken by no constructor."""

    number: int
    made: int = field(init=False, default=0)

    def make(self, made: int) -> Made:
        self.made = made
        return self


class Id(int):
    """An int of somebody's own, like those of numpy."""


class Name(str):
    __slots__ = ()


class Old(typing.TypedDict):
    """The standard library's."""

    number: int


class Thing:
    """Nothing that pydantic knows."""


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Thing


@dataclass(eq=False)
class Anybody:
    name: str


@dataclass
class Uncompared:
    number: int
    note: str = field(default="", compare=False)


@dataclass
class EqualDataclass:
    number: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EqualDataclass)

    def __hash__(self) -> int:
        return 0


class EqualTuple(NamedTuple):
    number: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EqualTuple)

    def __hash__(self) -> int:
        return 0


class FrozenPlace(BaseModel, frozen=True):
    city: str


@dataclass(frozen=True)
class FrozenPoint:
    x: float


def drop_last(numbers: list[int]) -> list[int]:
    return numbers[:-1]


def as_point(value: object) -> object:
    return Point(0.0) if isinstance(value, Thing) else value


def nested(depth: int) -> list[object]:
    """A list in a list in a list ..."""
    inside: list[object] = []
    for _ in range(depth):
        inside = [inside]
    return inside


SEEDED = """
from collections.abc import Mapping
from dataclasses import dataclass
from redisext.codec import codec_for

@dataclass
class Labelled:
    name: str
    labels: dict[str, frozenset[str]]

print(codec_for(frozenset[str], identity=True).encode(frozenset({"gamma", "alpha", "beta"})).decode())
print(codec_for(Labelled, identity=True).encode(Labelled("n", {"b": frozenset(), "a": frozenset({"y", "x"})})).decode())
"""


def run_with_hash_seed(seed: str) -> bytes:
    """What the program above writes in a process of its own."""
    environment = os.environ | {"PYTHONHASHSEED": seed}
    return subprocess.check_output([sys.executable, "-c", SEEDED], env=environment, cwd=Path(__file__).parent.parent)


BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2024, 7, 1, 12)  # noqa: DTZ001  # naive on purpose

LOST_WHEN_WRITTEN = [
    pytest.param(Unconfigured, Unconfigured(data=b"\xff"), id="bytes in a model that does not configure them"),
    pytest.param(OnlyWritten, OnlyWritten(data=b"abcd"), id="bytes in a model that configures only writing"),
    pytest.param(OnlyRead, OnlyRead(data=b"abcd"), id="bytes in a model that configures only reading"),
    pytest.param(Unconfigured, Unconfigured(number=math.nan), id="NaN in a model that does not configure it"),
    pytest.param(Unconfigured, Unconfigured(number=math.inf), id="inf in a model that does not configure it"),
    pytest.param(AsStrings, AsStrings(number=math.inf), id="inf as a string"),
    pytest.param(ReadAlias, ReadAlias.model_construct(number=5), id="an alias that is only read"),
    pytest.param(ReadAliases, ReadAliases.model_construct(number=5), id="several aliases that are only read"),
    pytest.param(WriteAlias, WriteAlias(number=5), id="an alias that is only written"),
    pytest.param(datetime, NOON.replace(tzinfo=BERLIN), id="a time of a zone"),
    pytest.param(list[Place], [Place(city="Berlin", at=NOON.replace(tzinfo=BERLIN))], id="a time of a zone, inside"),
    pytest.param(time, time(12, tzinfo=BERLIN), id="a time of day of a zone"),
    pytest.param(datetime, NOON.replace(tzinfo=timezone(timedelta(seconds=3601))), id="an offset with seconds"),
    pytest.param(datetime | str, "2024-07-01T12:00:00", id="a text that reads as a datetime"),
    pytest.param(UUID | str, str(UUID(int=5)), id="a text that reads as a UUID"),
    pytest.param(list[bytes | str], ["YQ=="], id="a text that reads as bytes"),
    pytest.param(str | datetime, NOON, id="a datetime where text comes first"),
    pytest.param(list[int] | tuple[int, ...], (1, 2), id="a tuple where a list comes first"),
    pytest.param(Sequence[int], (1, 2), id="a tuple under Sequence"),
    pytest.param(Mapping[str, int], OrderedDict({"a": 1}), id="an OrderedDict under Mapping"),
    pytest.param(list[Any], [(1, 2)], id="a tuple under Any"),
    pytest.param(list[Any], [{1}], id="a set under Any"),
    pytest.param(list[Any], [NOON], id="a datetime under Any"),
    pytest.param(list[Any], [b"x"], id="bytes under Any"),
    pytest.param(list[Any], [UUID(int=5)], id="a UUID under Any"),
    pytest.param(list[Any], [Level.HIGH], id="an enum under Any"),
    pytest.param(list[Any], [Place(city="Rome")], id="a model under Any"),
    pytest.param(dict[Any, int], {5: 1}, id="an int as a key under Any"),
    pytest.param(dict[int | str, int], {5: 1, "5": 2}, id="5 and '5' as keys"),
    pytest.param(dict[int | str, int], {5: 1}, id="5 as a key that may be text"),
    pytest.param(dict[float, int], {math.nan: 1}, id="NaN as a key"),
    pytest.param(set[float], {math.nan}, id="NaN in a set"),
    pytest.param(list[Place], [Flat(city="Rome", door="a")], id="a model's subclass, inside"),
    pytest.param(Place, Flat(city="Rome", door="a"), id="a model's subclass"),
    pytest.param(list[Point], [Point3(1, 2, 3)], id="a dataclass's subclass, inside"),
    pytest.param(Private, Private(number=1).seen(3), id="a private attribute"),
    pytest.param(Excluded, Excluded(number=1, cache="full"), id="an excluded field"),
    pytest.param(EqualByNumber, EqualByNumber(number=1, cache="full"), id="an excluded field that __eq__ ignores"),
    pytest.param(Made, Made(1).make(2), id="a field that no constructor takes"),
    pytest.param(Shifted, Shifted(number=1), id="a serializer that cannot be undone"),
    pytest.param(Stripped, Stripped.model_construct(name=" a "), id="what a validator changes"),
    pytest.param(Annotated[str, BeforeValidator(str.strip)], " a ", id="what a validator changes in a scalar"),
    pytest.param(Annotated[int, AfterValidator(float)], 1, id="what a validator makes another type of"),
    pytest.param(Annotated[list[int], AfterValidator(drop_last)], [1, 2], id="what a validator takes away"),
    pytest.param(Annotated[Point, BeforeValidator(as_point)], Thing(), id="what a validator makes of another type"),
    pytest.param(Open, Open.model_construct(number=1, more=(1, 2)), id="an extra field of another type"),
    pytest.param(str, "\ud800", id="a lone surrogate"),
    pytest.param(list[str], ["\ud800"], id="a lone surrogate, inside"),
    pytest.param(int, 10**5000, id="5,000 digits"),
    pytest.param(list[int], [10**5000], id="5,000 digits, inside"),
    pytest.param(deque[int], deque([1], maxlen=3), id="the bound of a deque"),
    pytest.param(defaultdict[str, int], defaultdict(lambda: 5, a=1), id="what a defaultdict makes"),
    pytest.param(re.Pattern[str], re.compile("a", re.IGNORECASE), id="the flags of a pattern"),
    pytest.param(list[Any], nested(5000), id="what is nested too deep"),
]

NEVER_STORED = [
    pytest.param(dict[None, int], "keys", id="None as a key"),
    pytest.param(dict[int | None, int], "keys", id="None as one of the keys"),
    pytest.param(dict[tuple[int, int], int], "keys", id="tuples as keys"),
    pytest.param(dict[Pair, int], "keys", id="named tuples as keys"),
    pytest.param(dict[frozenset[int], int], "keys", id="frozensets as keys"),
    pytest.param(dict[Level, int], "keys", id="an enum of int as keys"),
    pytest.param(dict[Literal[1], int], "keys", id="a literal int as key"),
    pytest.param(list[dict[Colour, int]], "keys", id="an enum of several types as keys, inside"),
    pytest.param(SecretStr, "asterisks", id="SecretStr"),
    pytest.param(list[SecretBytes], "asterisks", id="SecretBytes"),
    pytest.param(Secret[int], "asterisks", id="Secret"),
    pytest.param(Login, "asterisks", id="a model with a secret"),
    pytest.param(Anybody, "eq=False", id="a dataclass without equality"),
    pytest.param(Callable[[], int], "callable", id="a callable"),
    pytest.param(Iterable[int], "used up", id="an iterable"),
    pytest.param(type[int], "knows no way", id="a class"),
    pytest.param(Holder, "knows no way to write Thing", id="a model with an arbitrary type"),
    pytest.param(Thing, "knows no way", id="a class that pydantic does not know"),
    pytest.param(Id, "knows no way", id="a subclass of int"),
    pytest.param(5, "knows no way", id="no type at all"),
    pytest.param(
        Old,
        "from typing_extensions",
        id="a TypedDict before Python 3.12",
        marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic reads it there"),
    ),
]


COMES_BACK: list[tuple[object, object]] = [
    (Alias, Alias(Number=5)),
    (deque[int], deque([1, 2])),
    (defaultdict[str, int], defaultdict(int, a=1)),
    (Computed, Computed(side=3)),
    (Private, Private(number=1)),
    (Excluded, Excluded(number=1)),
    (Made, Made(1)),
    (Open, Open.model_construct(number=1, more=2)),
    (datetime | str, "noon"),
    (list[Any], [1, 1.0, "a", None, True, {"a": []}]),
    (dict[int | str, int], {"five": 5}),
    (Movie, {"title": "M", "poster": b"\xff"}),
    (Blob, Blob(b"\xff")),
    (Unconfigured, Unconfigured(data="☃".encode())),
    (datetime, NOON.replace(tzinfo=UTC)),
    (datetime, NOON.replace(tzinfo=ZoneInfo("UTC"))),
]
"""Much like some of those, and yet no reason to refuse it."""


class TestWhatDoesNotComeBack:
    @pytest.mark.parametrize(("type_", "value"), LOST_WHEN_WRITTEN)
    def test_is_refused_when_it_is_written(self, type_: object, value: object) -> None:
        with pytest.raises(EncodeError, match=r"^cannot store a value of type ") as caught:
            codec_for(type_).encode(value)
        assert isinstance(caught.value, TypeError)
        assert caught.value.key is None

    @pytest.mark.parametrize(("type_", "why"), NEVER_STORED)
    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    def test_is_refused_when_the_class_is_made_if_the_type_tells(self, type_: object, why: str, identity: bool) -> None:
        with pytest.raises(ConfigurationError, match=why) as caught:
            codec_for(type_, identity=identity)
        assert "cannot be stored" in str(caught.value)
        assert "SERIALIZER" in str(caught.value)

    @pytest.mark.parametrize(("type_", "value"), COMES_BACK, ids=label)
    def test_and_nothing_else(self, type_: object, value: object) -> None:
        codec = codec_for(type_)
        assert shape(codec.decode(codec.encode(value))) == shape(value)

    @given(st.one_of(st.text(), st.datetimes().map(str), st.uuids().map(str), st.binary().map(str)))
    def test_text_that_may_be_something_else_comes_back_as_text_or_is_refused(self, text: str) -> None:
        for type_ in (datetime | str, UUID | str, bytes | str, date | str, Decimal | str, Tone | str):
            codec = codec_for(type_)
            try:
                raw = codec.encode(text)
            except EncodeError as refused:
                assert "str would come back as" in str(refused)  # noqa: PT017  # it need not be raised
            else:
                assert type(codec.decode(raw)) is str
                assert codec.decode(raw) == text

    def test_offsets_come_back(self) -> None:
        moment = NOON.replace(tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
        back = codec_for(datetime).decode(codec_for(datetime).encode(moment))
        assert isinstance(back, datetime)
        assert back.utcoffset() == moment.utcoffset()

    @pytest.mark.parametrize(
        ("type_", "value", "way_out"),
        [
            (int, True, "store int(value)"),
            (str, Name("x"), "store str(value)"),
            (float, 2**53 + 1, "a float cannot hold it exactly"),
            (datetime, NOON.replace(tzinfo=BERLIN), "Europe/Berlin only the offset would come back; store .astimezone"),
            (list[int], [Id(5)], "Id would come back as int; convert it"),
            (list[Any], [(1, 2)], "tuple would come back as list; convert it, or change the type"),
            (Excluded, Excluded(number=1, cache="full"), "excluded or private field"),
            (Unconfigured, Unconfigured(data=b"\xff"), "bytes or NaN in a model that does not configure them"),
        ],
        ids=label,
    )
    def test_the_message_names_the_way_out(self, type_: object, value: object, way_out: str) -> None:
        with pytest.raises(EncodeError, match=re.escape(way_out)):
            codec_for(type_).encode(value)


# --- The same, told quickly


def lookalikes(value: object) -> list[object]:
    """Values that this one may be taken for, and some that it may not."""
    found: list[object] = [None, 0, 1, True, 1.0, "", b"", [], (), {}, Decimal(1), Id(1), NOON, value]
    if isinstance(value, (int, float)) and abs(value) < 2**1000:
        found += [int(value), Id(value), float(value), -value, bool(value)]
    if isinstance(value, str):
        found += [Name(value), str(value), value.encode(errors="replace")]
    if isinstance(value, bytes):
        found += [bytearray(value), value + b"x"]
    if isinstance(value, (datetime, time)):
        found += [value.replace(tzinfo=zone) for zone in (None, UTC, BERLIN, timezone(timedelta(hours=2)))]
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        items = [*cast("Iterable[object]", value)]
        found += [items, tuple(items), deque(items), deque(items, maxlen=9), items[1:], [*items, 1], items[::-1]]
    if isinstance(value, dict):
        entries = [*cast("dict[object, object]", value).items()]
        found += [dict(entries[::-1]), dict(entries[1:]), OrderedDict(entries), defaultdict(int, entries)]
    return found


def almost(data: st.DataObject, value: object) -> object:
    """A copy in which a part may be another."""
    if data.draw(st.integers(0, 6)) == 0:
        return data.draw(st.sampled_from(lookalikes(value)))
    if isinstance(value, BaseModel):
        copy = value.model_copy()
        items: dict[str, object] = {name: almost(data, item) for name, item in vars(value).items()}
        match data.draw(st.integers(0, 20)):
            case 0:
                object.__setattr__(copy, "__pydantic_extra__", {"more": data.draw(st.sampled_from([1, True]))})
            case 1:
                object.__setattr__(copy, "__pydantic_private__", {"_seen": data.draw(st.sampled_from([1, True]))})
            case 2:
                items = dict([*items.items()][1:])
            case 3:
                items["cached"] = 1
            case 4:
                items = dict([*items.items()][::-1])
            case _:
                pass
        object.__setattr__(copy, "__dict__", items)
        return copy
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = {one.name: almost(data, getattr(value, one.name)) for one in dataclasses.fields(value) if one.init}
        return dataclasses.replace(value, **cast("dict[str, Any]", made))
    if isinstance(value, dict):
        return {key: almost(data, item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, Pair):
        return Pair(*(cast("Any", almost(data, one)) for one in value))
    if isinstance(value, (list, tuple)):
        return cast("type[list[object]]", type(cast("object", value)))(
            [almost(data, one) for one in cast("Iterable[object]", value)]
        )
    if isinstance(value, (set, frozenset)):
        return cast("type[set[object]]", type(cast("object", value)))(
            one if isinstance(one, Pair) else data.draw(st.sampled_from([one, 1, True, Decimal(1)]))
            for one in cast("Iterable[object]", value)
        )
    return value


HARD_TO_TELL = [
    *(case.values[1] for case in LOST_WHEN_WRITTEN),
    *(value for _, value in COMES_BACK),
    Open.model_construct(number=1, more={"a": [1]}),
    Everything.model_construct(),
    Made(1),
    Uncompared(1, "note"),
    EqualDataclass(1),
    dataclasses.make_dataclass("Nothing", [])(),
    pydantic.create_model("NoField")(),
    [Decimal("NaN"), Decimal("sNaN"), Decimal("1.0"), Decimal("1.00"), complex(math.nan, 0)],
]


class TestSameness:
    @given(st.data())
    def test_what_is_told_quickly_is_what_is_told_slowly(self, data: st.DataObject) -> None:
        value = data.draw(ELEMENTS.flatmap(lambda element: element.values) | st.sampled_from(HARD_TO_TELL[:-1]))
        one, other = almost(data, value), almost(data, value)
        told = outcome(change, one, other)
        assert outcome(Sameness().change, one, other) == told
        event("the same" if told is None else "not the same")

    def test_also_where_it_is_hard_to_tell(self) -> None:
        for value, other in itertools.product(HARD_TO_TELL, repeat=2):
            assert outcome(Sameness().change, value, other) == outcome(change, value, other)

    @pytest.mark.parametrize("element", [*SCALARS, *OBJECTS], ids=repr)
    def test_ordinary_values_are_told_quickly(self, element: Element) -> None:
        @given(element.values)
        def is_told(value: object) -> None:
            assume(not has_nan(value) and why_lost(value) is None)
            codec = codec_for(of(list, element.type))
            back = codec.decode(codec.encode([value]))
            assert Sameness()[list]([value], back)

        is_told()


def outcome(told: Callable[[object, object], str | None], one: object, other: object) -> str | None:
    """What is told, or the error."""
    try:
        return told(one, other)
    except Exception as error:  # noqa: BLE001  # nested too deep, or an __eq__ that raises
        return type(error).__name__


# --- Strictness

STRANGERS: list[tuple[object, object]] = [
    *((int, one) for one in ("5", True, False, 5.0, None, Id(5), Level.HIGH, Decimal(5), [5], b"5")),
    *((float, one) for one in (True, "1.5", None, Decimal(1), 10**400, 2**53 + 1, Id(1))),
    *((str, one) for one in (b"x", 5, None, Name("x"), Tone.DARK)),
    *((bytes, one) for one in ("x", bytearray(b"x"), memoryview(b"x"), None)),
    *((bool, one) for one in (1, 0, "true", None)),
    *((int | None, one) for one in (True, "5", Id(5))),
    *((list[int], one) for one in ([True], ["5"], [5.0], [Id(5)], [Level.HIGH], [None], (1,), None)),
    *((list[float], one) for one in ([True], ["1"], [2**53 + 1])),
    *((list[str], one) for one in ([Name("x")], [Tone.DARK], ["x", 5])),
    *((set[int], one) for one in ({True}, {Id(5)}, frozenset({1}), [1])),
    *(
        (dict[str, int], one)
        for one in ({"a": True}, {Name("b"): 1, "a": 2}, {5: 1}, OrderedDict({"a": 1}), Counter("a"))
    ),
    *((dict[int, int], one) for one in ({True: 1}, {"5": 1}, {Id(5): 1})),
    *((tuple[int, int], one) for one in ((1,), (1, 2, 3), [1, 2], (1, True))),
    *((tuple[str, float], one) for one in (Pair("a", 1.0), Pair("a"))),
    *((Pair, one) for one in (("a", 1.0), Pair("a", True), ["a", 1.0])),
    *((Movie, one) for one in ({}, {"title": 5}, {"title": "M", "year": True}, {"title": "M", "length": 90})),
    *((Point, one) for one in (Point(True), {"x": 1.0, "y": 0.0}, Point3(1.0), (1.0, 0.0), None)),
    *((Place, one) for one in ({"city": "Rome"}, Flat(city="Rome"), "Rome", None)),
    *((Tone, one) for one in ("dark", "", Name("dark"))),
    *((Level, one) for one in (1, True, 2)),
    *((Literal[1], one) for one in (True, 1.0, Level.HIGH)),
    *((Literal["a"], one) for one in ("b", Name("a"), b"a")),
    *((datetime, one) for one in (date(2024, 1, 1), "2024-01-01T00:00:00", 0)),
    *((date, one) for one in (NOON, "2024-01-01")),
    *((Decimal, one) for one in (1, 1.5, "1")),
    *((UUID, one) for one in (str(UUID(int=1)), 1)),
    *((Path, one) for one in ("a", PurePath("a"))),
    *((Port, one) for one in (0, 65536, True, "80")),
    *((Short, one) for one in ("abcd", Name("a"))),
    *((UserId, one) for one in (True, "5")),
]


class TestStrictness:
    @pytest.mark.parametrize(("type_", "value"), STRANGERS, ids=label)
    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    def test_what_is_no_instance_is_refused(self, type_: object, value: object, identity: bool) -> None:
        codec = codec_for(type_, identity=identity)
        with pytest.raises(EncodeError):
            codec.encode(value)

    @pytest.mark.parametrize(
        "value",
        [
            Place.model_construct(city=5),
            Place.model_construct(city="Rome", floor="5"),
            Place.model_construct(city="Rome", floor=True),
            Place.model_construct(city=Name("Rome")),
            Place.model_construct(),
        ],
        ids=["a number", "text", "a bool", "a subclass", "nothing"],
    )
    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    def test_an_instance_that_was_made_invalid_is_refused(self, value: Place, identity: bool) -> None:
        with pytest.raises(EncodeError):
            codec_for(Place, identity=identity).encode(value)
        with pytest.raises(EncodeError):
            codec_for(Event, identity=identity).encode(Event.model_construct(name="fair", place=value))

    def test_pydantics_reason_is_the_cause(self) -> None:
        with pytest.raises(EncodeError, match=r"type list as list\[int\]: it is not an instance") as caught:
            codec_for(list[int]).encode([1, "2"])
        assert isinstance(caught.value.__cause__, pydantic.ValidationError)
        assert caught.value.__cause__.errors()[0]["loc"] == (1,)

    def test_nothing_is_sent_if_one_of_several_is_refused(self) -> None:
        numbers = Queue[int]("numbers", "memory://test-codec")
        text: Any = "3"
        with pytest.raises(EncodeError) as caught:
            numbers.push(1, 2, text)
        assert caught.value.key == "numbers"
        assert numbers.size() == 0


# --- In an identity position


def equal_but_other(value: Any) -> Any:
    """An equal value that differs in what equality does not see: order, zeros, offsets, int for float."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        return Decimal((sign, (*digits, 0), exponent - 1)) if len(digits) < 28 else value
    if isinstance(value, datetime) and value.tzinfo is not None:
        try:
            return value.astimezone(timezone(timedelta(hours=5, minutes=45)))
        except OverflowError:
            return value
    if isinstance(value, BaseModel):
        return type(value).model_construct(**{name: equal_but_other(item) for name, item in value})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(*(equal_but_other(getattr(value, one.name)) for one in dataclasses.fields(value)))
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {equal_but_other(key): equal_but_other(item) for key, item in reversed(items)}
    if isinstance(value, Pair):
        return Pair(*(equal_but_other(one) for one in value))
    if isinstance(value, (list, tuple, set, frozenset)):
        made = [equal_but_other(one) for one in cast("list[object]", value)]
        kind = type(cast("list[object]", value))
        return kind(reversed(made) if isinstance(value, (set, frozenset)) else made)
    return value


def why_no_identity(value: object) -> str | None:
    """Why equal values could not be written alike. There is nothing else that may be refused."""
    for one in parts(value):
        if isinstance(one, float) and math.isnan(one):
            return "NaN"
        if isinstance(one, time) and one.tzinfo is not None:
            return "a time of day with an offset"
        if isinstance(one, datetime) and one.tzinfo is not None and not one.utcoffset():
            continue
        if isinstance(one, datetime) and one.tzinfo is not None and one.year in (1, 9999):
            return "the end of the calendar"
    return why_lost(value)


class TestIdentity:
    def test_equal_values_are_equal_bytes_and_come_back_equal(self) -> None:
        outcomes: Counter[str] = Counter()

        @given(st.data())
        def are_alike(data: st.DataObject) -> None:
            element = data.draw(IDENTITIES)
            value = data.draw(element.values)
            codec = codec_for(element.type, identity=True)
            other = equal_but_other(value)
            try:
                raw = codec.encode(value)
            except EncodeError:
                lost = why_no_identity(value)
                assert lost is not None
                event(f"refused: {lost}")
                outcomes["refused"] += 1
                return
            assert other == value
            assert codec.encode(other) == raw
            back = codec.decode(raw)
            assert back == value
            assert type(back) is type(value)
            assert codec.encode(back) == raw
            event("alike" if shape(other) == shape(value) else "alike, and told apart otherwise")
            outcomes["alike"] += 1

        are_alike()
        assert outcomes["alike"] > 3 * outcomes["refused"]

    @given(st.data())
    def test_different_values_are_different_bytes(self, data: st.DataObject) -> None:
        element = data.draw(IDENTITIES)
        one, other = data.draw(element.values), data.draw(element.values)
        codec = codec_for(element.type, identity=True)
        try:
            written = codec.encode(one), codec.encode(other)
        except EncodeError:
            assert why_no_identity(one) or why_no_identity(other)
            return
        assert (written[0] == written[1]) == (one == other)

    @pytest.mark.parametrize(
        ("type_", "one", "other"),
        [
            (dict[str, int], {"a": 1, "b": 2}, {"b": 2, "a": 1}),
            (frozenset[str], frozenset("abc"), frozenset("cba")),
            (list[set[str]], [{"a", "b"}], [{"b", "a"}]),
            (Decimal, Decimal("1.0"), Decimal("1.00")),
            (Decimal, Decimal(100), Decimal("1E+2")),
            (Decimal, Decimal("-0.0"), Decimal(0)),
            (dict[Decimal, int], {Decimal("1.0"): 1}, {Decimal(1): 1}),
            (
                datetime,
                NOON.replace(tzinfo=UTC),
                datetime(2024, 7, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            ),
            (float, 0.0, -0.0),
            (float, 1.0, 1),
            (list[float], [0.0, 5.0], [-0.0, 5]),
            (dict[float, str], {0.0: "a", 1.0: "b"}, {1: "b", -0.0: "a"}),
            (Point, Point(1.0, 0.0), Point(1, -0.0)),
            (Place, Place(city="Rome", at=NOON), Place(at=NOON, floor=0, city="Rome")),
            (Annotated[float, Field(ge=0)], 0.0, -0.0),
        ],
        ids=label,
    )
    def test_equal_values_are_equal_bytes(self, type_: object, one: object, other: object) -> None:
        codec = codec_for(type_, identity=True)
        assert one == other
        assert codec.encode(one) == codec.encode(other)

    @pytest.mark.parametrize(
        ("type_", "one", "other"),
        [
            (int | str, 5, "5"),
            (str | None, "null", None),
            (str | bool, "true", True),
            (list[str], ["a", "b"], ["b", "a"]),
            (list[str], ["a,b"], ["a", "b"]),
            (dict[str, str], {"a": "b"}, {"b": "a"}),
            (datetime, NOON, NOON.replace(tzinfo=UTC)),
            (Decimal, Decimal("1E+30"), Decimal("1.000000000000000000000000000001E+30")),
            (tuple[int, ...], (1, 23), (12, 3)),
        ],
        ids=label,
    )
    def test_different_values_are_different_bytes_even_where_they_look_alike(
        self, type_: object, one: object, other: object
    ) -> None:
        codec = codec_for(type_, identity=True)
        assert codec.encode(one) != codec.encode(other)

    def test_it_is_the_same_under_every_hash_seed(self) -> None:
        written = {run_with_hash_seed(seed) for seed in ("0", "1", "4711")}
        assert len(written) == 1
        assert written.pop().splitlines() == [
            b'["alpha","beta","gamma"]',
            b'{"labels":{"a":["x","y"],"b":[]},"name":"n"}',
        ]

    @pytest.mark.parametrize(
        ("type_", "why"),
        [
            (Any, "Any"),
            (object, "Any"),
            (list[Any], "Any"),
            (dict, "Any"),
            (int | float, "float or int"),
            (int | bool, "bool or int"),
            (Decimal | int, "decimal or int"),
            (Level | bool, "an enum or bool"),
            (Literal[1, True], "bool or int"),
            (list[int] | list[float], "float or int"),
            (Open, "extra fields"),
            (list[Open], "extra fields"),
            (EqualByNumber, "EqualByNumber has an __eq__ of its own"),
            (EqualDataclass, "EqualDataclass has an __eq__ of its own"),
            (EqualTuple, "EqualTuple has an __eq__ of its own"),
            (Uncompared, "does not compare"),
            (frozenset[FrozenPlace], "a set of"),
            (set[FrozenPoint], "a set of"),
            (complex, "complex"),
        ],
        ids=label,
    )
    def test_a_type_that_cannot_keep_it_is_refused_when_the_class_is_made(self, type_: object, why: str) -> None:
        with pytest.raises(ConfigurationError, match=why) as caught:
            codec_for(type_, identity=True)
        assert "cannot be a set member, a sorted-set member or a hash key" in str(caught.value)
        assert "Use a type whose equal values are written alike" in str(caught.value)
        assert "SERIALIZER" in str(caught.value)
        codec_for(type_)  # it can be stored elsewhere

    @pytest.mark.parametrize(
        ("type_", "value", "why"),
        [
            (float, math.nan, "NaN"),
            (list[float], [math.nan], "NaN"),
            (Point, Point(math.nan), "NaN"),
            (Decimal, Decimal("NaN"), "no number"),
            (Annotated[Decimal, Field(allow_inf_nan=True)], Decimal("NaN"), "no number"),
            (time, time(12, tzinfo=UTC), "time of day with an offset"),
            (datetime, datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), "outside of the years"),
            (Place, Place(city="\ud800"), "would not come back"),
        ],
        ids=label,
    )
    def test_a_single_value_that_cannot_keep_it_is_refused_when_it_is_written(
        self, type_: object, value: object, why: str
    ) -> None:
        with pytest.raises(EncodeError, match=why):
            codec_for(type_, identity=True).encode(value)

    def test_named_tuples_root_models_and_paths_can_be_members(self) -> None:
        values = [Pair("a", 1.0), Numbers([1, 2]), PurePath("a/b"), Path("a")]
        types = [Pair, Numbers, PurePath, Path]
        for type_, value in zip(types, values, strict=True):
            codec = codec_for(type_, identity=True)
            assert codec.decode(codec.encode(value)) == value


# --- Without reading back


class Record(BaseModel):
    text: str
    number: int = 0
    size: float = 0.0
    sure: bool = False
    at: datetime | None = None


class Cached(Record):
    @cached_property
    def twice(self) -> int:
        return self.number * 2

    def ask(self) -> Cached:
        assert self.twice == self.number * 2
        return self


class Crate(BaseModel, Generic[T]):
    """Holds others, of one type, in several places."""

    held: list[T] = []
    by_name: dict[str, T | None] = {}


class Settled(BaseModel):
    """All the settings that do no harm."""

    model_config = ConfigDict(
        title="settled",
        alias_generator=str.title,
        populate_by_name=True,
        serialize_by_alias=False,
        extra="forbid",
        frozen=True,
        strict=True,
        from_attributes=True,
        revalidate_instances="always",
        validate_default=True,
        validate_assignment=True,
        allow_inf_nan=False,
        ser_json_inf_nan="strings",
        ser_json_bytes="base64",
        val_json_bytes="hex",
        hide_input_in_errors=True,
        loc_by_alias=False,
        cache_strings=False,
    )
    text: str = Field(default="", frozen=True)
    number: float | None = Field(default_factory=lambda: 1.5, strict=True, allow_inf_nan=False)


@dataclass
class Defaulted:
    text: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    text: str
    number: int | None = None


@pydantic.dataclasses.dataclass
class Checked:
    text: str
    number: int = Field(default=0, alias="no")


@dataclass
class Either(Generic[T]):
    one: T


class Listed(TypedDict):
    text: str
    number: NotRequired[Annotated[int, Field(default=5)]]


class Bare(BaseModel):
    pass


class Renamed(BaseModel):
    """Written in the opposite order of its names."""

    a: float = Field(alias="z")
    b: int | None = Field(alias="y")
    c: str = Field(alias="x")


@pydantic.dataclasses.dataclass
class RenamedData:
    a: float = Field(alias="z")
    b: int | None = Field(alias="y")


class RenamedDict(TypedDict):
    a: Annotated[float, Field(alias="z")]
    b: Annotated[int | None, Field(alias="y")]


class Spelling(StrEnum):
    """Text, whose repr is no Python."""

    LATER = "z"
    SOONER = "a"


Named = pydantic.create_model(
    "Named", first=(float, Field(alias=Spelling.LATER)), second=(int, Field(alias=Spelling.SOONER))
)


RECORD = Record(text="x", number=1, size=0.5, sure=True, at=NOON)
AT_READ = Record.model_validate_json(Record(text="read", at=NOON.replace(tzinfo=UTC)).model_dump_json())

PLAIN = [
    pytest.param(Record, RECORD, id="a model"),
    pytest.param(Record, AT_READ, id="a model that was read"),
    pytest.param(Record, Record(text="\0\u2028☃", number=-(10**4000), size=-5e-324), id="far ends"),
    pytest.param(Record, Record(text="", at=NOON.replace(tzinfo=UTC)), id="UTC"),
    pytest.param(Record, Record(text="", at=NOON.replace(fold=1)), id="the later of two moments"),
    pytest.param(Record, Record.model_construct(at=None, size=1e300, sure=True, number=5, text=""), id="another order"),
    pytest.param(Cached, Cached(text="").ask(), id="a cached property"),
    pytest.param(Crate[Record], Crate[Record](held=[RECORD], by_name={"a": None, "b": RECORD}), id="models in a model"),
    pytest.param(Crate[list[int]], Crate[list[int]](held=[[1], []]), id="lists in a model"),
    pytest.param(Crate[Crate[bool]], Crate[Crate[bool]](held=[Crate[bool]()]), id="models of one generic in another"),
    pytest.param(Settled, Settled.model_validate({"Text": "x"}), id="a model with settings"),
    pytest.param(Settled, Settled.model_validate({"Number": None}), id="a model with settings, and None"),
    pytest.param(Defaulted, Defaulted("x", 5), id="a dataclass"),
    pytest.param(Slotted, Slotted(text="x"), id="a dataclass with slots"),
    pytest.param(Checked, Checked(text="x", no=5), id="a dataclass of pydantic's"),
    pytest.param(Either[int], Either(5), id="a generic dataclass"),
    pytest.param(Listed, {"text": "x", "number": 1}, id="a TypedDict"),
    pytest.param(Listed, {"number": 1, "text": "x"}, id="a TypedDict in another order"),
    pytest.param(Bare, Bare(), id="no field"),
    pytest.param(Renamed, Renamed(z=-2.5, y=None, x=""), id="a model with aliases"),
    pytest.param(Named, Named.model_validate({"z": 0.5, "a": 1}), id="a model with aliases of another type"),
    pytest.param(RenamedData, RenamedData(z=0.0, y=1), id="a dataclass with aliases"),
    pytest.param(RenamedDict, {"a": 1e-4, "b": None}, id="a TypedDict with aliases"),
    pytest.param(dict[str, int], {"b": 1, "a": 2, "ab": 3, "B": 4, "": 5}, id="a dict out of order"),
    pytest.param(dict[str, list[float]], {"b": [1.5], "a": []}, id="a dict of lists, out of order"),
    pytest.param(Crate[Record], Crate[Record](by_name={"b": RECORD, "a": None}), id="a dict in a model, out of order"),
    pytest.param(list[int | None], [1, None], id="a list of ints"),
    pytest.param(list[float], [1.5, -0.0], id="a list of floats"),
    pytest.param(list[str], ["x" * 5000], id="a long text"),
    pytest.param(dict[str, bool], {"": True}, id="a dict"),
    pytest.param(datetime | None, NOON, id="one part"),
    pytest.param(None, None, id="None"),
]
"""What comes back for sure."""


PUT_IN_ORDER = [one for one in PLAIN if one.id not in ("far ends", "another order", "a cached property")]
"""Of these, all but where floats have an exponent, or a model holds more than its fields."""


class Sly(BaseModel):
    """What follows writes, reads or makes this model in a way of its own."""

    text: str


class SlyNew(Sly):
    def __new__(cls, **_fields: object) -> NoReturn:
        raise TypeError("make none")


class SlyInit(Sly):
    def __init__(self, text: str) -> None:
        super().__init__(text=text.strip())


class SlyPostInit(Sly):
    def model_post_init(self, context: object, /) -> None:
        self.text = self.text.strip()


class SlyAttribute(Sly):
    def __getattribute__(self, name: str) -> Any:
        return object() if name == "text" else super().__getattribute__(name)


SlyDict = types.new_class(
    "SlyDict", (Sly,), exec_body=lambda body: body.update(__dict__=property(lambda _: {"text": " of all "}))
)


class SlyValidator(Sly):
    @field_validator("text")
    @classmethod
    def strip(cls, text: str) -> str:
        return text.strip()


class SlyModelValidator(Sly):
    @model_validator(mode="before")
    @classmethod
    def strip(cls, data: Any) -> Any:
        return {"text": str(cast("dict[str, object]", data)["text"]).strip()} if isinstance(data, dict) else data


class SlySerializer(Sly):
    @field_serializer("text")
    def strip(self, text: str) -> str:
        return text.strip()


class SlyModelSerializer(Sly):
    @model_serializer
    def strip(self) -> dict[str, object]:
        return {"text": self.text.strip()}


class SlySchema(Sly):
    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.model_schema(cls, core_schema.model_fields_schema({}))


class NoModel:
    """Pydantic is told that it is one."""

    __slots__ = ("__dict__", "__pydantic_extra__", "__pydantic_fields_set__", "__pydantic_private__")
    __pydantic_fields__: ClassVar[dict[str, object]] = {}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.model_schema(cls, core_schema.model_fields_schema({}))


class Hiding(Sly):
    """Something else is found where its field is, from now on."""


class HidingSlot(Sly):
    __slots__ = ("hidden",)


@dataclass(slots=True)
class HidingData:
    text: str


HIDING, HIDING_SLOT, HIDING_DATA = Hiding(text=""), HidingSlot(text=""), HidingData("")
object.__setattr__(HIDING_SLOT, "hidden", "seen")
for hiding, found in (
    (Hiding, property(lambda _: object())),
    (HidingSlot, vars(HidingSlot)["hidden"]),
    (HidingData, property(lambda _: "seen")),
):
    setattr(hiding, "text", found)  # noqa: B010  # what no checker approves of


@dataclass
class SlyData:
    text: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.dataclass_schema(cls, core_schema.dataclass_args_schema("SlyData", []), [])


class NoDataclass:
    """Pydantic is told that it is one."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoDataclass)

    def __hash__(self) -> int:
        return 0

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.dataclass_schema(cls, core_schema.dataclass_args_schema("NoDataclass", []), [])


@dataclass
class SlyPostInitData:
    text: str

    def __post_init__(self) -> None:
        self.text = self.text.strip()


@dataclass
class WithInitVar:
    text: str
    more: InitVar[str] = ""


class OneKey(BaseModel):
    one: int = Field(alias="number")
    other: int = Field(alias="number")


class Crossed(BaseModel):
    """One field is written where the other can be read, too."""

    model_config = ConfigDict(populate_by_name=True)
    one: int = Field(alias="other")
    other: int = Field(alias="number")


class ByNameOnly(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=False)
    one: int = Field(default=1, alias="other")


class OpenDict(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


class Chain(BaseModel):
    next: Chain | None = None


def chained(links: int) -> Chain:
    chain = Chain()
    for _ in range(links):
        chain = Chain(next=chain)
    return chain


def set_to(text: str = "", at: datetime = NOON, **settings: Any) -> tuple[object, object]:
    """A model with these settings, and one that was made in spite of them."""
    config = cast("ConfigDict", settings)
    model = pydantic.create_model("Set", __config__=config, text=(str, ""), at=(datetime, NOON))
    return model, model.model_construct(text=text, at=at)


def bypassing(cls: type[Any], **fields: object) -> Any:
    """An instance that has nothing but these."""
    made = object.__new__(cls)
    for base in cls.__mro__:
        if isinstance(base.__dict__.get("__dict__"), types.GetSetDescriptorType):
            base.__dict__["__dict__"].__set__(made, fields)
    for name in ("__pydantic_extra__", "__pydantic_private__"):
        object.__setattr__(made, name, None)
    return made


NOT_PLAIN = [
    pytest.param(SlyNew, bypassing(SlyNew, text=""), id="__new__"),
    pytest.param(SlyInit, bypassing(SlyInit, text=" a "), id="__init__"),
    pytest.param(SlyPostInit, bypassing(SlyPostInit, text=" a "), id="model_post_init"),
    pytest.param(SlyAttribute, SlyAttribute(text=""), id="__getattribute__"),
    pytest.param(SlyDict, bypassing(SlyDict, text=" a "), id="__dict__"),
    pytest.param(SlyValidator, bypassing(SlyValidator, text=" a "), id="a validator"),
    pytest.param(SlyModelValidator, bypassing(SlyModelValidator, text=" a "), id="a validator of the model"),
    pytest.param(SlySerializer, SlySerializer(text=" a "), id="a serializer"),
    pytest.param(SlyModelSerializer, SlyModelSerializer(text=" a "), id="a serializer of the model"),
    pytest.param(SlySchema, bypassing(SlySchema, text="a"), id="a schema without a field"),
    pytest.param(NoModel, bypassing(NoModel), id="the schema of a model, on something else"),
    pytest.param(Hiding, HIDING, id="a property in front of a field"),
    pytest.param(HidingSlot, HIDING_SLOT, id="a slot in front of a field"),
    pytest.param(HidingData, HIDING_DATA, id="a property in front of a slot"),
    pytest.param(SlyData, SlyData("a"), id="a schema without a field, of a dataclass"),
    pytest.param(NoDataclass, NoDataclass(), id="the schema of a dataclass, on something else"),
    pytest.param(SlyPostInitData, bypassing(SlyPostInitData, text=" a "), id="__post_init__"),
    pytest.param(WithInitVar, WithInitVar("a", "b"), id="InitVar"),
    pytest.param(Made, Made(1).make(2), id="a field that no constructor takes"),
    pytest.param(OneKey, OneKey.model_construct(one=1, other=2), id="one alias for two fields"),
    pytest.param(Crossed, Crossed.model_construct(one=1, other=2), id="an alias that is another's name"),
    pytest.param(ByNameOnly, ByNameOnly.model_validate({"one": 5}), id="an alias that is not read"),
    pytest.param(ReadAlias, ReadAlias.model_construct(number=5), id="an alias that is only read"),
    pytest.param(ReadAliases, ReadAliases.model_construct(number=5), id="several aliases"),
    pytest.param(WriteAlias, WriteAlias(number=5), id="an alias that is only written"),
    pytest.param(Excluded, Excluded(number=1, cache="full"), id="an excluded field"),
    pytest.param(Computed, Computed(side=3), id="a computed field"),
    pytest.param(Private, Private(number=1).seen(3), id="a private attribute"),
    pytest.param(Open, Open.model_construct(number=1, more=(1, 2)), id="extra fields"),
    pytest.param(OpenDict, {"more": (1, 2)}, id="extra keys"),
    pytest.param(Numbers, Numbers([1]), id="a root model"),
    pytest.param(Chain, chained(250), id="a model in itself"),
    pytest.param(list[Chain], [chained(3)], id="a list of models in themselves"),
    pytest.param(Annotated[list[int], Field(max_length=1)], [1, 2], id="a list with a condition"),
    pytest.param(list[Annotated[int, Field(gt=1)]], [1], id="an int with a condition"),
    pytest.param(list[Annotated[str, Field(pattern="a")]], ["b"], id="a str with a condition"),
    pytest.param(list[Annotated[float, Field(multiple_of=2)]], [1.0], id="a float with a condition"),
    pytest.param(list[pydantic.AwareDatetime], [NOON], id="a datetime with a condition"),
    pytest.param(dict[int, int], {1: 1}, id="ints as keys"),
    pytest.param(dict[Short, int], {"abcd": 1}, id="keys with a condition"),
    pytest.param(list[int | str], [1], id="a union"),
    pytest.param(list[Any], [(1,)], id="Any"),
    pytest.param(list[bytes], [b"\xff"], id="bytes"),
    pytest.param(list[Level], [1], id="an enum"),
    pytest.param(list[Literal["a"]], ["b"], id="a literal"),
    pytest.param(tuple[int, ...], (1,), id="a tuple"),
    pytest.param(*set_to(" a ", str_strip_whitespace=True), id="str_strip_whitespace"),
    pytest.param(*set_to("A", str_to_lower=True), id="str_to_lower"),
    pytest.param(*set_to("a", str_to_upper=True), id="str_to_upper"),
    pytest.param(*set_to("aa", str_max_length=1), id="str_max_length"),
    pytest.param(*set_to("a", str_min_length=2), id="str_min_length"),
    pytest.param(*set_to(at=NOON.replace(microsecond=1), ser_json_temporal="seconds"), id="ser_json_temporal"),
    pytest.param(*set_to(at=NOON.replace(tzinfo=UTC), val_temporal_unit="seconds"), id="val_temporal_unit"),
]
"""What would change some values, or may."""


class Lying(dict[str, object]):
    def __getitem__(self, name: str) -> object:
        return getattr(RECORD, name)


class Late(datetime):
    pass


def changed(value: Record, **attributes: object) -> Record:
    """A copy, of which nothing is checked."""
    copy = value.model_copy()
    for name, item in attributes.items():
        object.__setattr__(copy, name, item)
    return copy


def without(value: Any, name: str) -> Any:
    object.__delattr__(value, name)
    return value


def crate_of(**parts: object) -> object:
    return Crate[Record].model_construct(**cast("Any", parts))


def in_a_list(depth: int) -> tuple[object, object]:
    type_, value = of(list, int), cast("list[object]", [1])
    for _ in range(depth):
        type_, value = of(Union, of(list, type_), None), [value]
    return type_, value


def record_with(**items: Any) -> Record:
    return Record.model_construct(**(vars(RECORD) | items))


UNSURE = [
    pytest.param(Record, Cached(text=""), id="a subclass"),
    pytest.param(Record, {"text": "x"}, id="a dict for a model"),
    pytest.param(Record, bypassing(Record), id="no field is set"),
    pytest.param(Record, object.__new__(Record), id="nothing is set"),
    pytest.param(Record, without(Record(text=""), "number"), id="a field is deleted"),
    pytest.param(Record, changed(RECORD, __pydantic_extra__={"more": 1}), id="extra fields"),
    pytest.param(Record, changed(RECORD, __pydantic_extra__={}), id="no extra field"),
    pytest.param(Record, changed(RECORD, __pydantic_private__={"_seen": 1}), id="private attributes"),
    pytest.param(Record, changed(RECORD, __dict__=Lying(vars(RECORD) | {"number": "5"})), id="a __dict__ that lies"),
    pytest.param(Record, changed(RECORD, __dict__=vars(RECORD) | {5: 1}), id="a __dict__ with a number"),
    *(
        pytest.param(Record, record_with(text=text), id=f"{type(text).__name__} for str")
        for text in (Name("x"), Tone.DARK, b"x", None, 5)
    ),
    pytest.param(Record, record_with(text="\ud800"), id="a lone surrogate"),
    *(
        pytest.param(Record, record_with(number=number), id=f"{type(number).__name__} for int")
        for number in (True, Level.HIGH, Id(5), 1.0, "5", None)
    ),
    *(pytest.param(Record, record_with(number=10**power), id=f"{power} zeros") for power in (4299, 4300, 5000)),
    *(
        pytest.param(Record, record_with(size=size), id=f"{type(size).__name__} for float")
        for size in (1, True, Decimal(1), None)
    ),
    pytest.param(Record, record_with(size=2**60 + 1), id="an int that no float can hold"),
    *(pytest.param(Record, record_with(size=size), id=str(size)) for size in (math.nan, math.inf, -math.inf)),
    *(pytest.param(Record, record_with(sure=sure), id=f"{type(sure).__name__} for bool") for sure in (1, "true", None)),
    *(
        pytest.param(Record, record_with(at=NOON.replace(tzinfo=zone)), id=f"the time zone {zone!r}")
        for zone in (BERLIN, ZoneInfo("UTC"), timezone(timedelta(hours=2)), TzInfo(3600), TzInfo(3601))
    ),
    *(
        pytest.param(Record, record_with(at=at), id=f"{type(at).__name__} for datetime")
        for at in (date(2024, 1, 1), Late(2024, 1, 1), "2024-01-01T00:00:00")
    ),
    pytest.param(list[Record], [RECORD, Cached(text="")], id="a subclass, in a list"),
    pytest.param(Crate[Record], crate_of(held=[record_with(text=5)]), id="an int for str, further inside"),
    pytest.param(Crate[Record], crate_of(by_name={"a": record_with(text=5)}), id="the same in a dict"),
    pytest.param(Crate[Record], crate_of(by_name={Name("a"): RECORD}), id="a key of another type"),
    pytest.param(Crate[Record], crate_of(by_name=OrderedDict({"a": RECORD})), id="a dict of another type"),
    pytest.param(Crate[Record], crate_of(held=(RECORD,)), id="a tuple for a list"),
    pytest.param(Crate[Record], crate_of(held=[None]), id="None in a list"),
    pytest.param(Settled, Settled.model_construct(text="", number=math.nan), id="NaN under settings"),
    pytest.param(Defaulted, without(Defaulted("x", 5), "number"), id="a field whose class has a default"),
    pytest.param(Defaulted, Defaulted("x", cast("int", "5")), id="a str for int"),
    pytest.param(Slotted, without(Slotted(text="x"), "text"), id="an empty slot"),
    pytest.param(Slotted, Slotted(text=cast("str", 5)), id="an int for str, in a slot"),
    pytest.param(Either[int], Either("5"), id="another type in a generic dataclass"),
    pytest.param(Listed, {"text": "x"}, id="a key is missing that has a default"),
    pytest.param(Listed, {"text": "x", "number": 1, "more": 1}, id="one key more"),
    pytest.param(Listed, {"text": "x", "more": 1}, id="one key for another"),
    pytest.param(Listed, {"text": "x", "number": True}, id="a bool for int, in a TypedDict"),
    pytest.param(Listed, {Name("text"): "x", "number": 1}, id="a key of another type, in a TypedDict"),
    pytest.param(Listed, OrderedDict[str, object]({"text": "x", "number": 1}), id="another dict for a TypedDict"),
    pytest.param(list[int], [1, True], id="a bool in a list of ints"),
    pytest.param(list[int], [1] * 5000, id="a long list of ints"),
    pytest.param(list[int | None], [10**4300], id="4300 zeros in a list"),
    pytest.param(list[float], [1.0, math.nan], id="NaN in a list"),
    pytest.param(dict[str, int], {"a": True}, id="a bool in a dict of ints"),
    pytest.param(dict[str, int], {"\ud800": 1}, id="a lone surrogate in a key"),
    pytest.param(list[dict[str, int]], [{"a": 1, "\ud800": 1}], id="the same, in a list"),
]
"""Values of plain types: each is read back, and many are refused."""


def nothing(_schema: object) -> plain.Kinds:
    return plain.Kinds({})


def read_back(type_: object, *, identity: bool) -> Codec[object]:
    """The codec of a type if nothing came back for sure."""
    with patch.object(redisext.codec, "kinds", nothing):
        return redisext.codec._make_codec(type_, identity=identity)  # pyright: ignore[reportPrivateUsage]


def written(made: Codec[object], value: object) -> bytes | str:
    """What is written, or why it is not."""
    try:
        return made.encode(value)
    except EncodeError as error:
        return f"{error} from {type(error.__cause__)}: {error.__cause__}"


def kinds_of(type_: Any) -> plain.Kinds:
    return plain.kinds(pydantic.TypeAdapter(type_).core_schema)


def model_schema(**more: object) -> dict[str, object]:
    fields: dict[str, object] = {"type": "model-fields", "fields": {}}
    return {"type": "model", "cls": Bare, "schema": fields} | more


def dataclass_schema(args: dict[str, object], **more: object) -> dict[str, object]:
    arguments = {"type": "dataclass-args", "fields": [X_FIELD]} | args
    return {"type": "dataclass", "cls": HasX, "fields": ["x"], "schema": arguments} | more


HasX = dataclasses.make_dataclass("HasX", ["x"])
X_FIELD: dict[str, object] = {"type": "dataclass-field", "name": "x", "schema": {"type": "str"}}

ODD_SCHEMAS: list[object] = [
    None,
    {},
    {"type": "later"},
    {"type": "str", "later": 1},
    {"type": "str", "serialization": {"type": "to-string"}},
    {"type": "list"},
    {"type": "nullable"},
    {"type": "model-field", "schema": {"type": "str"}},
    {"type": "typed-dict", "fields": []},
    {"type": "typed-dict", "fields": {}, "config": {"later": 1}},
    {"type": "typed-dict", "fields": {}, "computed_fields": [{}]},
    {"type": "typed-dict", "fields": {}, "extra_behavior": "allow"},
    model_schema(root_model=True),
    dataclass_schema({}, post_init=True),
    dataclass_schema({"collect_init_only": True}),
    dataclass_schema({"fields": [X_FIELD | {"init_only": True}]}),
    {"type": "model", "cls": 5, "schema": {"type": "model-fields", "fields": {}}},
    {"type": "model", "cls": Bare, "schema": {"type": "function-after"}},
    {"type": "definitions", "definitions": {}, "schema": {"type": "str"}},
    {"type": "definition-ref", "schema_ref": "missing"},
]


def with_aliases(made: str, parts: dict[str, Element], alias: Callable[[str], str]) -> Element:
    """A type whose fields are in any order, and written in another."""
    values = st.fixed_dictionaries({name: part.values for name, part in parts.items()})
    types: dict[str, Any] = {
        name: of(Annotated, part.type, Field(alias=alias(name), default=None)) for name, part in parts.items()
    }
    if made == "TypedDict":
        functional: Any = TypedDict
        return Element(functional("Keys", types), values, "object")
    if made == "dataclass":
        record = dataclasses.make_dataclass("Record", types.items())
        return Element(record, values.map(lambda items: record(**items)), "object")
    fields: Any = {name: (type_, ...) for name, type_ in types.items()}
    model = pydantic.create_model("Model", **fields)
    by_alias = {alias(name): part.values for name, part in parts.items()}
    return Element(model, st.builds(model.model_construct, **by_alias), "object")


def mirrored(name: str) -> str:
    return "".join(chr(0x10FFFF - ord(letter)) for letter in name)


RECORDS = st.recursive(
    st.sampled_from([one for one in SCALARS if one.type in (int, float, str, bool, None, datetime)]),
    lambda elements: st.one_of(
        elements.map(optional),
        elements.map(list_of),
        elements.map(lambda one: dict_of(Element(str, TEXT, "string"), one)),
        st.builds(record_of, elements, elements),
        st.builds(model_of, elements, elements),
        st.builds(
            with_aliases,
            st.sampled_from(["model", "dataclass", "TypedDict"]),
            st.dictionaries(st.sampled_from("zaB\N{GREEK SMALL LETTER PI}\N{DESERET SMALL LETTER EW}"), elements),
            st.sampled_from([str, repr, mirrored, "{{'{}\"\\".format]),
        ),
    ),
    max_leaves=6,
)


class TestWithoutReadingBack:
    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    @pytest.mark.parametrize(("type_", "value"), PLAIN)
    def test_what_comes_back_for_sure_is_not_read(
        self, type_: object, value: object, identity: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = redisext.codec._make_codec(type_, identity=identity)  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(made, "_read_back", None)
        raw = made.encode(value)
        assert raw == read_back(type_, identity=identity).encode(value)
        assert made.decode(raw) == value

    @pytest.mark.parametrize(("type_", "value"), NOT_PLAIN)
    def test_what_may_change_a_value_is_not_plain(self, type_: object, value: object) -> None:
        assert not kinds_of(type_)
        assert written(codec_for(type_), value) == written(read_back(type_, identity=False), value)

    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    @pytest.mark.parametrize(("type_", "value"), UNSURE)
    def test_a_value_that_is_not_plain_is_read_back(self, type_: object, value: object, identity: bool) -> None:
        assert kinds_of(type_)
        assert written(codec_for(type_, identity=identity), value) == written(
            read_back(type_, identity=identity), value
        )

    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    def test_any_value_of_any_type_is_written_the_same_or_refused_in_the_same_words(self, identity: bool) -> None:
        told: Counter[bool] = Counter()

        @given(st.data())
        def is_written_the_same(data: st.DataObject) -> None:
            element = data.draw(RECORDS | (IDENTITIES if identity else ELEMENTS))
            value = data.draw(element.values)
            if data.draw(st.booleans()):
                value = almost(data, value)
            outcome = written(read_back(element.type, identity=identity), value)
            assert written(codec_for(element.type, identity=identity), value) == outcome
            told[bool(kinds_of(element.type)) and isinstance(outcome, bytes)] += 1

        is_written_the_same()
        assert told[True] > 10

    def test_what_is_nested_too_deep_is_refused(self) -> None:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(20_000)
        try:
            for depth in (98, 99, 100, 198, 250):
                type_, value = in_a_list(depth)
                assert bool(kinds_of(type_)) == (depth < 100)
                assert isinstance(written(codec_for(type_), value), bytes) == (depth < 200)
        finally:
            sys.setrecursionlimit(limit)

    def test_an_int_too_long_to_be_read_is_refused_though_python_may_write_it(self) -> None:
        limit = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            for identity in (False, True):
                with pytest.raises(EncodeError, match="would not be read back"):
                    codec_for(Record, identity=identity).encode(record_with(number=10**5000))
        finally:
            sys.set_int_max_str_digits(limit)

    def test_the_schemas_that_are_made_up_here_are_plain_but_for_one_thing(self) -> None:
        assert plain.kinds(model_schema())
        assert plain.kinds(dataclass_schema({}))

    @pytest.mark.parametrize("schema", ODD_SCHEMAS, ids=str)
    def test_a_schema_of_another_shape_is_not_plain(self, schema: object) -> None:
        assert not plain.kinds(schema)

    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    @given(
        FLOATS | st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**17), 10**17, places=6).map(float),
        st.datetimes(),
        TEXT,
        INTS,
    )
    def test_every_float_and_moment_comes_back(
        self, identity: bool, size: float, at: datetime, text: str, number: int
    ) -> None:
        for moment in (at, at.replace(tzinfo=UTC)):
            record = Record(text=text, number=number, size=size, at=moment)
            expected = written(read_back(Record, identity=identity), record)
            assert written(codec_for(Record, identity=identity), record) == expected

    @pytest.mark.parametrize(("type_", "value"), PUT_IN_ORDER)
    def test_what_only_needs_to_be_put_in_order_is_written_by_pydantic(
        self, type_: object, value: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = redisext.codec._make_codec(type_, identity=True)  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(made, "_canonical", None)
        assert made.encode(value) == read_back(type_, identity=True).encode(value)

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("size", [0.0, 5e-324, 1e-5, 1e-4, 1e-3, 0.1 + 0.2, 2.0**53, 1e15, 1e16, 1e17, 1e300])
    def test_floats_are_written_as_python_writes_them(self, size: float, sign: int) -> None:
        made = codec_for(list[float], identity=True)
        for number in (math.nextafter(size, -math.inf), size, math.nextafter(size, math.inf)):
            assert made.encode([number * sign]) == f"[{number * sign + 0.0!r}]".encode()

    @given(st.data())
    def test_plain_values_are_written_in_the_same_order(self, data: st.DataObject) -> None:
        element = data.draw(RECORDS)
        value = data.draw(element.values)
        expected = written(read_back(element.type, identity=True), value)
        assert written(codec_for(element.type, identity=True), value) == expected

    def test_what_is_used_in_many_places_is_looked_at_once(self) -> None:
        kind: Any = Record
        for number in range(60):
            fields: Any = dict.fromkeys(("one", "other"), (of(Union, kind, None), None))
            kind = pydantic.create_model(f"Layer{number}", **fields)
        made = codec_for(kind, identity=True)
        assert made.encode(kind()) == b'{"one":null,"other":null}'

    @given(st.text())
    def test_every_text_is_written_as_python_writes_it(self, text: str) -> None:
        assert to_json(text) == canonical_json(text)


# --- Reading

MALFORMED = [
    *((int, raw) for raw in (b"", b"x", b"5.0", b" 5", b"5\n", b"+5", b"05", b"-0", b"1_000", "٣".encode())),
    *((float, raw) for raw in (b"", b"x", b" 1", b"1_0", b"0x1")),
    *((str, raw) for raw in (b"\xff", b"\xed\xa0\x80")),
    *((bool, raw) for raw in (b"1", b"True", b"")),
    *((Port, raw) for raw in (b"0", b"x")),
    *((Point, raw) for raw in (b"", b"{", b'{"x":"1"}', b"[1.0]", b"null")),
    *((Place, raw) for raw in (b'{"floor":1}', b'{"city":5}')),
    *((list[int], raw) for raw in (b"[1.5]", b'["5"]', b"5", b"[true]")),
    (UserId, b"x"),
]


class TestReading:
    @pytest.mark.parametrize(("type_", "raw"), MALFORMED, ids=label)
    def test_bytes_of_something_else_raise_and_are_kept(self, type_: object, raw: bytes) -> None:
        with pytest.raises(DecodeError) as caught:
            codec_for(type_).decode(raw)
        error = caught.value
        assert isinstance(error, ValueError)
        assert error.raw == raw
        assert error.key is None
        assert isinstance(error.__cause__, ValueError)

    def test_pydantics_own_error_is_the_cause(self) -> None:
        with pytest.raises(DecodeError) as caught:
            codec_for(Place).decode(b'{"city":5}')
        assert isinstance(caught.value.__cause__, pydantic.ValidationError)
        assert caught.value.element == "Place"

    def test_the_command_adds_the_key(self) -> None:
        command = Command(Op("GET"), (b"site:\xff",), (), lambda reply: codec_for(int).decode(bulk(reply)))
        with pytest.raises(
            DecodeError, match=r"the value stored under key 'site:\\\\xff' is not of type int: b'x'"
        ) as caught:
            command.read(b"x")
        assert caught.value.key == "site:\\xff"

    @pytest.mark.parametrize("type_", [int, float, Point, Place], ids=label)
    def test_at_most_80_bytes_are_shown(self, type_: object) -> None:
        with pytest.raises(DecodeError) as caught:
            codec_for(type_).decode(b"\x01" * 5000)
        assert str(caught.value).count("\\x01") == 80
        assert "(5000 bytes)" in str(caught.value)
        assert len(caught.value.raw) == 5000

    @pytest.mark.parametrize(
        ("raw", "number"), [(b"3", 3.0), (b"-1.50", -1.5), (b"1e3", 1000.0), (b"inf", math.inf), (b"-inf", -math.inf)]
    )
    def test_floats_are_read_as_the_server_writes_them(self, raw: bytes, number: float) -> None:
        assert codec_for(float).decode(raw) == number

    @given(st.sampled_from([*SCALARS, *OBJECTS]), st.binary() | st.text().map(str.encode))
    def test_any_bytes_are_read_or_refused(self, element: Element, raw: bytes) -> None:
        """Whatever is stored, no other error comes of it."""
        codec = codec_for(element.type)
        try:
            codec.decode(raw)
        except DecodeError as error:
            assert error.raw == raw  # noqa: PT017  # it need not be raised


class TestBrokenValidators:
    """What a validator may raise is nobody's to say."""

    @pytest.mark.parametrize("type_", [int, list[int], Event], ids=label)
    @pytest.mark.parametrize("identity", [False, True], ids=["stored", "identity"])
    def test_their_errors_become_the_causes_of_ours(self, type_: Any, identity: bool) -> None:
        def broken(value: object) -> object:
            raise KeyError("broken")

        values: dict[Any, object] = {int: 5, list[int]: [5], Event: Event(name="fair")}
        codec = codec_for(of(Annotated, type_, AfterValidator(broken)), identity=identity)
        with pytest.raises(EncodeError, match=r"conditions"):
            codec.encode(values[type_])
        raw = codec_for(type_, identity=identity).encode(values[type_])
        with pytest.raises(DecodeError) as caught:
            codec.decode(raw)
        assert caught.value.raw == raw
        assert isinstance(caught.value.__cause__, KeyError)


# --- A serializer of the class's own


class Doubling:
    """Writes what it was told to."""

    def __init__(self, written: object = b"") -> None:
        self.written = written

    def encode(self, item: object) -> Any:  # a liar
        return self.written

    def decode(self, item: bytes) -> object:
        raise KeyError(item)


class TestOwnSerializer:
    @pytest.mark.parametrize(
        ("written", "raw"),
        [
            (b"\xff", b"\xff"),
            ("☃", "☃".encode()),
            (5, b"5"),
            (0.5, b"0.5"),
            (Level.HIGH, b"1"),
            (Tone.DARK, b"dark"),
        ],
        ids=label,
    )
    def test_bytes_text_and_numbers_are_written(self, written: object, raw: bytes) -> None:
        assert serializer_codec(Doubling(written), "thing").encode(object()) == raw

    @pytest.mark.parametrize("written", [None, True, [], object()], ids=["None", "True", "list", "object"])
    def test_anything_else_is_refused_and_names_the_serializer(self, written: object) -> None:
        with pytest.raises(EncodeError, match="the serializer Doubling refused it") as caught:
            serializer_codec(Doubling(written), "thing").encode(5)
        assert isinstance(caught.value.__cause__, TypeError)

    def test_its_errors_are_the_cause(self) -> None:
        with pytest.raises(DecodeError, match="is not of type thing") as caught:
            serializer_codec(Doubling(), "thing").decode(b"x")
        assert isinstance(caught.value.__cause__, KeyError)
        assert caught.value.raw == b"x"


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        (int, "int"),
        (None, "None"),
        (list[int], "list[int]"),
        (int | str, "int | str"),
        (UserId, "UserId"),
        (Port, "Annotated[int, Ge(ge=1), Le(le=65535)]"),
        (Annotated[int, "a note"], "Annotated[int, 'a note']"),
        (TestRoundTrip, "TestRoundTrip"),
    ],
)
def test_a_type_is_named_as_a_person_would_write_it(type_: object, name: str) -> None:
    assert type_name(type_) == name


class TestSeveral:
    """Several at once are written and read as each of them alone."""

    @pytest.mark.parametrize(
        ("type_", "values"),
        [
            (str, ["a", "", "\u00e4"]),
            (int, [1, -1]),
            (Event, [Event(name="a"), Event(name="b")]),
            (dict[str, int], [{"a": 1}, {"b": 10**4298}]),
            (int | str, [1, "1"]),
            (Event, []),
        ],
        ids=["str", "int", "model", "JSON that is read back", "union", "none"],
    )
    def test_they_are_as_each_alone(self, type_: object, values: list[object]) -> None:
        codec = codec_for(type_)
        raws = codec.encode_all(values)
        assert raws == [codec.encode(value) for value in values]
        assert codec.decode_all(raws) == values

    @pytest.mark.parametrize(("type_", "good"), [(str, "a"), (int, 1), (Event, Event(name="a")), (list[int], [1])])
    def test_the_first_that_is_none_is_told(self, type_: object, good: object) -> None:
        codec = codec_for(type_)
        with pytest.raises(EncodeError, match=r"cannot store a value of type float as"):
            codec.encode_all([good, 1.5, b""])
        with pytest.raises(DecodeError) as caught:
            codec.decode_all([codec.encode(good), b"\xff", b"\xfe"])
        assert caught.value.raw == b"\xff"

    def test_so_is_one_that_looks_like_the_others_but_cannot_be_written(self) -> None:
        with pytest.raises(EncodeError, match=r"cannot store a value of type Record"):
            codec_for(Record).encode_all([RECORD, RECORD.model_copy(update={"text": "\ud800"})])


def test_a_local_class_is_named_without_the_function_around_it() -> None:
    class Local: ...

    assert type_name(Local) == "Local"
