"""From an element type to the bytes that Redis holds, and back.

What Redis can count or compare stays native, readable with redis-cli: `int` as decimal text, `float`
as its shortest text that reads back the same, `str` as UTF-8, `bytes` as they are. All else is JSON,
through one pydantic `TypeAdapter` for each type.

The rule is ``decode(encode(x)) == x``, with the same type, for every value that is accepted. Whether a
type can keep it is seen when its codec is made (:mod:`redisext.schema`), and for most values it takes
a look at their types (:mod:`redisext.plain`). Where that does not tell (`Any`, unions, models with
validators), the bytes are read back and compared before they are sent. So reading is strict (`"5"` is
no int), and a value that would come back changed is refused, also where Python calls the two equal
(True and 1, an enum's member and its value).

In an identity position (members of sets, keys of hashes) the codec is canonical too: equal values have equal
bytes, under every hash seed (:mod:`redisext.canonical`). Objects and sets are sorted, `Decimal` loses its trailing
zeros, an instant is written in UTC, and -0.0 is 0.0. What is written there is the canonical form of what would be
*read*, so that two values that are equal to each other cannot differ in a detail (an int in a float field) that
equality does not see.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NewType, Protocol, TypeVar, cast

from pydantic import ConfigDict, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError

from redisext import schema
from redisext.canonical import canonical_json, writer
from redisext.errors import ConfigurationError, DecodeError, EncodeError
from redisext.naming import type_name
from redisext.plain import Kinds, kinds
from redisext.sameness import LOST, Sameness, change
from redisext.serializer import Raw, Serializer

__all__ = ["RAW", "Codec", "Unresolved", "codec_for", "serializer_codec", "type_name"]

T = TypeVar("T")


class Codec(Protocol[T]):
    """What a structure needs to know about its elements.

    `element` is the type's name, for messages. `counts` is the kind of number that the server can add to a stored
    element, if it can.
    """

    @property
    def element(self) -> str: ...
    @property
    def counts(self) -> type[int | float] | None: ...

    def encode(self, value: T, /) -> bytes:
        """The bytes to store. Raises :exc:`~redisext.errors.EncodeError`."""
        ...

    def decode(self, raw: bytes, /) -> T:
        """The value stored as *raw*. Raises :exc:`~redisext.errors.DecodeError`."""
        ...

    def encode_all(self, values: Sequence[T], /) -> list[bytes]:
        """The bytes of each. Raises for the first that cannot be stored."""
        ...

    def decode_all(self, raws: Sequence[bytes], /) -> list[T]:
        """The value of each. Raises for the first that cannot be read."""
        ...


class Unresolved(Exception):
    """The element type names something that is not defined yet."""


def codec_for(element_type: object, *, identity: bool = False) -> Codec[object]:
    """The codec of a type; one for each, made once.

    Raises :exc:`~redisext.errors.ConfigurationError` for a type whose values could not come back as they
    were, and :exc:`Unresolved` for one that names something not defined yet.
    """
    try:
        # Equal types need not be the same (`int | str` and `str | int`, read in different order): their text is.
        return _cached_codec(element_type, type_name(element_type), identity)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _make_codec(element_type, identity=identity)


def serializer_codec(serializer: Serializer, element: str) -> Codec[object]:
    """The codec of a class that names its own `SERIALIZER`."""
    return _SerializerCodec(serializer, element)


@lru_cache(maxsize=1024)
def _cached_codec(element_type: object, _name: str, identity: bool) -> Codec[object]:
    return _make_codec(element_type, identity=identity)


def _make_codec(element_type: object, *, identity: bool) -> Codec[object]:
    native = _NATIVE.get(element_type) if isinstance(element_type, type) else None
    if native is not None:
        return native(identity=identity)
    name = type_name(element_type)
    adapter = _adapter(element_type, name)
    problem = schema.why_not_stored(adapter.core_schema)
    if problem is not None:
        raise ConfigurationError(
            f"{name} cannot be stored: {problem}. Store a type that can be written as JSON and read back, "
            "or give the class a SERIALIZER"
        )
    scalar = schema.native_scalar(adapter.core_schema)
    if scalar is not None:
        return _Constrained(_NATIVE[scalar](identity=identity), adapter, name)
    plain = kinds(adapter.core_schema)
    if not identity:
        return _PlainJson(adapter, name, plain) if plain else _Json(adapter, name)
    problem = schema.why_not_canonical(adapter.core_schema)
    if problem is not None:
        raise ConfigurationError(
            f"{name} cannot be a set member, a sorted-set member or a hash key: {problem}. Use a type whose equal "
            "values are written alike (str, int, a model of such fields), or give the class a SERIALIZER that "
            "writes equal values as equal bytes"
        )
    return _PlainCanonicalJson(adapter, name, plain) if plain else _CanonicalJson(adapter, name)


_CONFIG: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
"""How bytes and non-finite floats come back. A model has its own configuration, and so may others."""


def _adapter(element_type: object, name: str) -> TypeAdapter[object]:
    try:
        # A dataclass or a TypedDict takes a configuration from what holds it, and from the adapter only under another
        # name. What is no type, pydantic refuses.
        alias = cast("type[object]", NewType("Element", element_type))  # pyright: ignore[reportGeneralTypeIssues]
        adapter = TypeAdapter(alias, config=_CONFIG)
        adapter.rebuild()  # raises if a name inside the type is not defined
    except PydanticUndefinedAnnotation as error:
        raise Unresolved(error.name) from error
    except PydanticUserError as error:
        raise ConfigurationError(
            f"{name} cannot be stored: pydantic knows no way to write it as JSON. Use a pydantic model, a dataclass, a "
            "built-in type or a TypedDict (before Python 3.12 from typing_extensions), or give the class a SERIALIZER"
        ) from error
    return adapter


def _refuse(value: object, element: str, reason: str) -> EncodeError:
    given = type_name(type(value))
    wanted = "" if given == element else f" as {element}"
    return EncodeError(f"cannot store a value of type {given}{wanted}: {reason}")


class _OneByOne(ABC):
    """How several are written and read, where there is no faster way."""

    @abstractmethod
    def encode(self, value: object, /) -> bytes: ...

    @abstractmethod
    def decode(self, raw: bytes, /) -> object: ...

    def encode_all(self, values: Sequence[object], /) -> list[bytes]:
        encode = self.encode
        return [encode(value) for value in values]

    def decode_all(self, raws: Sequence[bytes], /) -> list[object]:
        decode = self.decode
        return [decode(raw) for raw in raws]


class _Bytes(_OneByOne):
    element = "bytes"
    counts = None

    def __init__(self, *, identity: bool) -> None:
        pass

    def encode(self, value: object) -> bytes:
        if type(value) is bytes:
            return value
        raise _refuse(value, self.element, "only bytes come back as bytes")

    def decode(self, raw: bytes) -> object:
        return raw


class _Str(_OneByOne):
    element = "str"
    counts = None

    def __init__(self, *, identity: bool) -> None:
        pass

    def encode(self, value: object) -> bytes:
        if type(value) is not str:
            raise _refuse(value, self.element, "only a str itself comes back as a str; store str(value)")
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise _refuse(value, self.element, "it holds a lone surrogate, which UTF-8 cannot write") from error

    def decode(self, raw: bytes) -> object:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(raw, self.element) from error

    def decode_all(self, raws: Sequence[bytes]) -> list[object]:
        try:
            return [raw.decode() for raw in raws]
        except UnicodeDecodeError:
            return super().decode_all(raws)  # which tells which one it is


class _Int(_OneByOne):
    element = "int"
    counts = int

    def __init__(self, *, identity: bool) -> None:
        pass

    def encode(self, value: object) -> bytes:
        if type(value) is not int:
            raise _refuse(value, self.element, "only an int itself comes back as an int; store int(value)")
        try:
            return b"%d" % value
        except ValueError as error:
            raise _refuse(value, self.element, str(error)) from error

    def decode(self, raw: bytes) -> object:
        try:
            value = int(raw)
            if raw != b"%d" % value:
                raise ValueError("not the plain decimal text of an integer")
        except ValueError as error:
            raise DecodeError(raw, self.element) from error
        return value


class _Float(_OneByOne):
    element = "float"
    counts = float

    def __init__(self, *, identity: bool) -> None:
        self._identity = identity

    def encode(self, value: object) -> bytes:
        # An int is a float to every type checker, so one that a float can hold exactly is taken for one.
        if type(value) is int:
            try:
                exact = float(value)
            except OverflowError as error:
                raise _refuse(value, self.element, "a float cannot hold it") from error
            if exact != value:
                raise _refuse(value, self.element, "a float cannot hold it exactly")
            value = exact
        if type(value) is not float:
            raise _refuse(value, self.element, "only a float itself comes back as a float; store float(value)")
        if self._identity:
            if math.isnan(value):
                raise _refuse(value, self.element, "NaN equals nothing, itself included, so it could never be found")
            value += 0.0  # -0.0 becomes 0.0, its equal
        return repr(value).encode()

    def decode(self, raw: bytes) -> object:
        try:
            if _UNDERSCORE in raw or raw != raw.strip():
                raise ValueError("not the plain text of a number")
            return float(raw)
        except ValueError as error:
            raise DecodeError(raw, self.element) from error


_UNDERSCORE: Final = ord("_")

_NativeCodec = _Bytes | _Str | _Int | _Float

_NATIVE: Final[Mapping[type, Callable[..., _NativeCodec]]] = {bytes: _Bytes, str: _Str, int: _Int, float: _Float}


class _Constrained(_OneByOne):
    """A native scalar with conditions: `Annotated[int, Field(ge=0)]`."""

    counts = None  # the server would not heed the conditions

    def __init__(self, native: _NativeCodec, adapter: TypeAdapter[object], element: str) -> None:
        self._native = native
        self._rewritten = native.counts is float  # an int and -0.0 may be read as other floats
        self._validate = adapter.validator.validate_python
        self.element = element

    def encode(self, value: object) -> bytes:
        raw = self._native.encode(value)
        plain = self._native.decode(raw) if self._rewritten else value
        try:
            checked: object = self._validate(plain, strict=True)
        except Exception as error:  # a validator may raise anything
            raise _refuse(value, self.element, "it does not meet the type's conditions") from error
        if type(checked) is not type(plain) or (checked != plain and change(plain, checked) is not None):
            raise _refuse(value, self.element, "the type's validators would change it on the way back")
        return raw

    def decode(self, raw: bytes) -> object:
        value = self._native.decode(raw)
        try:
            checked: object = self._validate(value, strict=True)
        except Exception as error:  # a validator may raise anything
            raise DecodeError(raw, self.element) from error
        return checked


class _Json(_OneByOne):
    """JSON, read back and compared before it is written."""

    counts = None

    def __init__(self, adapter: TypeAdapter[object], element: str) -> None:
        self._to_json = adapter.serializer.to_json
        self._to_python = adapter.serializer.to_python
        self._validate = adapter.validator.validate_python
        self._validate_json = adapter.validator.validate_json
        self._change = Sameness().change
        self.element = element

    def encode(self, value: object) -> bytes:
        try:
            raw = self._to_json(value, by_alias=True, round_trip=True, warnings=False)
        except Exception as error:  # a validator may raise anything
            raise self._mismatch(value) from error
        self._read_back(value, raw)
        return raw

    def decode(self, raw: bytes) -> object:
        try:
            return self._validate_json(raw, strict=True)
        except Exception as error:  # a validator may raise anything
            raise DecodeError(raw, self.element) from error

    def decode_all(self, raws: Sequence[bytes]) -> list[object]:
        validate = self._validate_json
        try:
            return [validate(raw, strict=True) for raw in raws]
        except Exception:  # noqa: BLE001  # a validator may raise anything
            return super().decode_all(raws)  # which tells which one it is

    def _read_back(self, value: object, raw: bytes) -> object:
        """What will be read for *raw*, if that is *value*; otherwise this is the last moment to say so."""
        try:
            back: object = self._validate_json(raw, strict=True)
            change = self._change(value, back)
        except ValidationError as error:
            raise self._mismatch(value, f"what is written for it would not be read back{_where(error)}") from error
        except Exception as error:  # a validator may raise anything
            raise self._mismatch(value) from error
        if change is not None:
            raise self._mismatch(value, change)
        return back

    def _mismatch(self, value: object, change: str | None = None) -> EncodeError:
        """Say why *value* cannot be stored: it is not of the type, or it would come back as something else."""
        not_one = "it is not an instance of the type, or breaks its conditions"
        try:
            checked: object = self._validate(value, strict=True)
        except ValidationError as error:
            return _refuse(value, self.element, f"{not_one}{_where(error)}")
        except Exception:  # noqa: BLE001  # a validator may raise anything
            return _refuse(value, self.element, not_one)
        if type(checked) is not type(value):
            return _refuse(value, self.element, not_one)
        return _refuse(value, self.element, change or LOST)


def _where(error: ValidationError) -> str:
    """The first of pydantic's findings: where in the value, and what. The value itself is not repeated."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f" ({place}: {first['msg']})" if place else f" ({first['msg']})"


class _PlainJson(_Json):
    """JSON of a type whose values mostly need not be read back (:mod:`redisext.plain`)."""

    def __init__(self, adapter: TypeAdapter[object], element: str, plain: Kinds) -> None:
        super().__init__(adapter, element)
        self._is_plain = plain.include
        self._longest = plain.longest

    def encode(self, value: object) -> bytes:
        try:
            if self._is_plain(value):
                raw = self._to_json(value, by_alias=True)
                if len(raw) <= self._longest:
                    return raw
        except Exception:  # noqa: BLE001, S110  # a broken instance, or a lone surrogate: told below
            pass
        return super().encode(value)

    def encode_all(self, values: Sequence[object]) -> list[bytes]:
        is_plain, to_json = self._is_plain, self._to_json
        try:
            if all(map(is_plain, values)):
                raws = [to_json(value, by_alias=True) for value in values]
                if max(map(len, raws), default=0) <= self._longest:
                    return raws
        except Exception:  # noqa: BLE001, S110  # as above
            pass
        return super().encode_all(values)


class _CanonicalJson(_Json):
    """JSON in which equal values are equal bytes."""

    def encode(self, value: object) -> bytes:
        # Through what is read back: see the head of this module.
        return self._canonical(self._read_back(value, self._canonical(value)))

    def _canonical(self, value: object) -> bytes:
        try:
            return canonical_json(self._to_python(value, by_alias=True, round_trip=True, warnings=False))
        except EncodeError as error:
            raise _refuse(value, self.element, error.reason) from error
        except Exception as error:  # a validator may raise anything
            raise self._mismatch(value) from error


class _PlainCanonicalJson(_CanonicalJson):
    """The same of a type whose values mostly need not be read back (:mod:`redisext.plain`)."""

    def __init__(self, adapter: TypeAdapter[object], element: str, plain: Kinds) -> None:
        super().__init__(adapter, element)
        self._is_plain = plain.include
        self._longest = plain.longest
        self._write = writer(adapter.core_schema)

    def encode(self, value: object) -> bytes:
        try:
            plain = self._is_plain(value)
        except Exception:  # noqa: BLE001  # a broken instance
            plain = False
        if plain:
            try:
                raw = self._write(value)
            except Exception:  # noqa: BLE001  # a float whose text differs, or a lone surrogate
                raw = self._canonical(value)
            if len(raw) <= self._longest:
                return raw
        return super().encode(value)


class _SerializerCodec(_OneByOne):
    counts = int  # as in redisext 2.0.2, where any map could be incremented

    def __init__(self, serializer: Serializer, element: str) -> None:
        self._serializer: Any = serializer  # what its parameter's type may be, it alone knows; it refuses what it must
        self.element = element

    def encode(self, value: object) -> bytes:
        try:
            return _as_bytes(self._serializer.encode(value))
        except Exception as error:
            name = type_name(self._serializer if isinstance(self._serializer, type) else type(self._serializer))
            raise EncodeError(
                f"cannot store a value of type {type_name(type(value))}: the serializer {name} refused it ({error})"
            ) from error

    def decode(self, raw: bytes) -> object:
        try:
            read: object = self._serializer.decode(raw)
        except Exception as error:
            raise DecodeError(raw, self.element) from error
        return read


RAW: Final[Codec[object]] = _SerializerCodec(Raw, "bytes")
"""What a class without an element type and without a `SERIALIZER` uses."""


def _as_bytes(written: object) -> bytes:
    if isinstance(written, bytes):
        return written
    if isinstance(written, str):
        return written.encode()
    if isinstance(written, bool) or not isinstance(written, (int, float)):
        raise TypeError(f"a serializer gives bytes, str, int or float, not {type(written).__name__}")
    # An IntEnum or a number of numpy's would show its own name.
    return repr(int(written) if isinstance(written, int) else float(written)).encode()
