"""JSON in which equal values are equal bytes.

:func:`canonical_json` writes any value that pydantic has made plain Python of, part by part. For most that is more than
is needed: in a plain value (:mod:`redisext.plain`), only the order of what is in an object, and a few floats, differ
from how pydantic writes it. So :func:`writer` sees once, for a plain type, in which order its fields stand, and puts a
value's parts in that order before pydantic writes them.

Both write the same bytes. People's sets are stored with them: they must never change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias

from pydantic import BaseModel
from pydantic_core import to_json, to_jsonable_python

from redisext.errors import EncodeError
from redisext.narrow import is_mapping, is_sequence, is_set

__all__ = ["canonical_json", "writer"]


def canonical_json(value: object) -> bytes:
    """The JSON of *value*, which consists of Python's own types; the same for all values equal to it.

    Raises :exc:`~redisext.errors.EncodeError` where equal values could not be written alike.
    """
    return _dump(_canonical(value)).encode()


_dump: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode

_AS_THEY_ARE: Final = frozenset({str, int, bool, type(None)})


def _canonical(value: object) -> object:
    """*value* as what `_dump` writes."""
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, Enum):
        return _canonical(value.value)
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            raise EncodeError("it holds NaN, which equals nothing, so it could never be found")
        return value + 0.0
    if is_sequence(value):
        return [_canonical(item) for item in value]
    if is_set(value):
        return sorted((_canonical(item) for item in value), key=_dump)
    if is_mapping(value):
        return {_object_key(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, Decimal):
        return _canonical_decimal(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        try:
            value = value.astimezone(UTC)
        except OverflowError as error:
            raise EncodeError("in UTC it lies outside of the years 1 to 9999") from error
    elif isinstance(value, time) and value.tzinfo is not None:
        raise EncodeError("it holds a time of day with an offset, which can equal one with another offset")
    return to_jsonable_python(value, bytes_mode="base64", fallback=str)


def _object_key(key: object) -> str:
    """A mapping's key as the text that a JSON object has for it."""
    plain = _canonical(key)
    return plain if isinstance(plain, str) else to_json(plain).decode()


def _canonical_decimal(value: Decimal) -> str:
    # Decimal.normalize would round to the context's precision.
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise EncodeError("it holds a Decimal that is no number")
    significant = "".join(map(str, digits)).lstrip("0")
    kept = significant.rstrip("0")
    if not kept:
        return "0"
    return f"{'-' if sign else ''}{kept}E{exponent + len(significant) - len(kept)}"


# --- Of plain values

Form: TypeAlias = Callable[[Any], object]  # of the type that is plain, which no checker can know
"""Makes of a plain value what pydantic writes canonically. Raises ValueError where it knows no way."""


def writer(core_schema: object) -> Callable[[object], bytes]:
    """What writes the plain values of a plain type, as :func:`canonical_json` does.

    It raises where it does not know that it does, or where a value cannot be written at all.
    """
    form = _Forms().form(core_schema)
    return to_json if form is None else lambda value: to_json(form(value))


class _Forms:
    """Reads one core schema, of which :mod:`redisext.plain` has seen that it is plain."""

    def __init__(self) -> None:
        self._definitions: dict[str, Any] = {}
        self._known: dict[str, Form | None] = {}

    def form(self, node: Any) -> Form | None:
        """None, if pydantic writes all values canonically as they are."""
        match node["type"]:
            case "float":
                return _common_float
            case "default":
                return self.form(node["schema"])
            case "nullable":
                some = self.form(node["schema"])
                return some and _or_none(some)
            case "list":
                item = self.form(node["items_schema"])
                return item and _items_as(item)
            case "dict":
                return _entries_as(self.form(node["values_schema"]))
            case "typed-dict":
                return self._record("value[{!r}]", node["fields"])
            case "model":
                fields = node["schema"]["fields"]
                return _held_as(self._record("value[{!r}]", fields), len(fields))
            case "dataclass":
                return self._record("getattr(value, {!r})", {one["name"]: one for one in node["schema"]["fields"]})
            case "definitions":
                self._definitions |= {one["ref"]: one for one in node["definitions"]}
                return self.form(node["schema"])
            case "definition-ref":
                return self._defined(node["schema_ref"])
            case _:
                return None

    def _defined(self, name: str) -> Form | None:
        if name not in self._known:
            self._known[name] = self.form(self._definitions[name])
        return self._known[name]

    def _record(self, part: str, fields: Mapping[str, Any]) -> Form:
        """The fields by what they are written as, in order. *part* is the code that gets one by its name."""
        names: dict[str, object] = {}
        entries: list[str] = []
        # An alias may be of a type of somebody's own: what counts is its text.
        aliases = {name: str.__str__(field.get("serialization_alias", name)) for name, field in fields.items()}
        for name in sorted(aliases, key=lambda name: aliases[name]):
            form = self.form(fields[name]["schema"])
            made = part.format(name)
            if form is not None:
                made = f"form{len(entries)}({made})"
                names[f"form{len(entries)}"] = form
            entries.append(f"{aliases[name]!r}: {made}")
        # Compiled, as the check of a record is.
        record: Form = eval(f"lambda value: {{{', '.join(entries)}}}", names)  # noqa: S307  # names are written as text
        return record


def _common_float(number: float) -> float:
    """*number*, if Python and every pydantic agree on its text: they do where Python writes no exponent."""
    if number and not _LEAST <= abs(number) < _BEYOND:
        raise ValueError("Python writes it with an exponent")
    return number + 0.0  # -0.0 becomes 0.0, its equal


_LEAST: Final = 1e-4
_BEYOND: Final = 1e16


def _held_as(form: Form, count: int) -> Form:
    def form_of_model(model: BaseModel) -> object:
        held = model.__dict__
        if len(held) > count:
            raise ValueError("pydantic looks at the names of what else is in there")
        return form(held)

    return form_of_model


def _or_none(form: Form) -> Form:
    return lambda value: None if value is None else form(value)


def _items_as(form: Form) -> Form:
    return lambda items: [form(item) for item in items]


def _entries_as(form: Form | None) -> Form:
    if form is None:
        return lambda entries: dict(sorted(entries.items()))
    return lambda entries: {key: form(entries[key]) for key in sorted(entries)}
