"""Which values come back from JSON for sure, told by the types of their parts and without reading anything back.

Most elements are records of text and numbers: models, dataclasses and TypedDicts, perhaps one in another. Where nothing
in their core schema acts on a value (no validator, serializer or condition, no setting that does), whatever is of
exactly the declared types comes back. To look at the types is sooner done than to read the JSON and compare.

What is harmless is listed here: the schemas, their keys, the settings. Anything else, a later pydantic's too, makes a
type that is not plain, and a value of any other type, be it a subclass, is not plain either. Nothing is wrong with
them: they are read back and compared.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from inspect import isdatadescriptor
from math import isfinite
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, TypeAlias, cast

from pydantic import BaseModel
from pydantic_core import TzInfo

from redisext.narrow import is_mapping, is_sequence
from redisext.schema import Node

__all__ = ["Kinds", "kinds"]

Check: TypeAlias = Callable[[Any], bool]  # of the type that it is looked up by, which no checker can know
"""Whether what is inside of a value comes back for sure. It may raise where an instance is broken."""


class Kinds(dict[type[object], Check | None]):
    """The exact types whose values come back for sure, each with a check of what is inside, if that matters.

    Any type can be looked up: a check that refuses is found for the others.

    `longest` is how many bytes the JSON may have, `height` how many arrays and objects can be inside of one another.
    `include` tells of any value whether it is one that comes back for sure. It may raise where an instance is broken.
    """

    def __init__(
        self,
        checks: Mapping[type[object], Check | None],
        *,
        longest: int = sys.maxsize,
        height: int = 0,
        include: Check | None = None,
    ) -> None:
        super().__init__(checks)
        self.longest = longest
        self.height = height
        self.include: Check = include or self._include

    def _include(self, value: object) -> bool:
        inside = self[type(value)]
        return inside is None or inside(value)

    def __missing__(self, kind: type[object]) -> Check:
        return _refuse


def kinds(core_schema: object) -> Kinds:
    """What comes back for sure of the type with this core schema; empty where that is not known."""
    try:
        found = _Reader().kinds(core_schema)
    except (_NotPlain, KeyError):
        return Kinds({})
    return found if found.height <= _HIGHEST else Kinds({})


_HIGHEST: Final = 100
"""Half of what pydantic reads."""

_LONGEST_WITH_INTS: Final = 4300
"""The digits that pydantic reads of an int. A JSON of so many bytes has none with more."""


def _refuse(_value: object) -> bool:
    return False


class _NotPlain(Exception):
    """Something may act on a value, or is not known."""


# --- What does not act on a value

_ANYWHERE: Final = frozenset({"type", "ref", "metadata", "strict"})
"""Exact types are all that strictness asks for."""

_RECORD: Final = _ANYWHERE | {"cls", "cls_name", "config", "generic_origin", "schema", "frozen", "revalidate_instances"}
_FIELDS: Final = _ANYWHERE | {"fields", "computed_fields", "extra_behavior", "from_attributes"}
_FIELD: Final = _ANYWHERE | {"schema", "validation_alias", "serialization_alias", "frozen"}

_HARMLESS: Final[Mapping[object, frozenset[str]]] = {
    **dict.fromkeys(("str", "int", "bool", "none"), _ANYWHERE),
    "float": _ANYWHERE | {"allow_inf_nan"},  # no others are taken
    "datetime": _ANYWHERE | {"microseconds_precision"},
    "nullable": _ANYWHERE | {"schema"},
    # A default is for what is missing, and nothing is.
    "default": _ANYWHERE
    | {"schema", "default", "default_factory", "default_factory_takes_data", "validate_default", "copy_default"},
    "list": _ANYWHERE | {"items_schema"},
    "dict": _ANYWHERE | {"keys_schema", "values_schema"},
    "model": _RECORD | {"custom_init", "root_model"},
    "model-fields": _FIELDS | {"model_name"},
    "model-field": _FIELD,
    "dataclass": _RECORD | {"fields", "post_init", "slots"},
    "dataclass-args": _FIELDS | {"dataclass_name", "collect_init_only"},
    "dataclass-field": _FIELD | {"name", "kw_only", "init", "init_only"},
    "typed-dict": _FIELDS | {"cls", "cls_name", "config", "total"},
    "typed-dict-field": _FIELD | {"required"},
    "definitions": _ANYWHERE | {"schema", "definitions"},
    "definition-ref": _ANYWHERE | {"schema_ref"},
}
"""The keys of each schema. Most are heeded below."""

_SETTINGS: Final = frozenset(
    {
        *("title", "strict", "loc_by_alias", "hide_input_in_errors", "cache_strings", "extra_fields_behavior"),
        *("from_attributes", "revalidate_instances", "validate_default"),  # of what is no JSON, or missing
        *("allow_inf_nan", "ser_json_inf_nan", "ser_json_bytes", "val_json_bytes"),  # of what is not taken
        *("serialize_by_alias", "validate_by_alias", "validate_by_name"),  # see `_fields`
    }
)
"""The harmless keys of a configuration."""

_ONLY: Final[Mapping[str, tuple[object, ...]]] = {
    **dict.fromkeys(("custom_init", "root_model", "post_init", "collect_init_only", "init_only"), (False,)),
    **dict.fromkeys(("extra_behavior", "extra_fields_behavior"), ("ignore", "forbid")),
    **dict.fromkeys(("init", "validate_by_alias"), (True,)),
    "computed_fields": ([],),
}
"""Keys that are harmless only with one of these values."""


def _node(schema: object, kind: str | None = None) -> Node:
    """*schema*, if nothing in it acts on a value; what is inside of it is not looked at."""
    node = _mapping(schema)
    if kind not in (None, node.get("type")):
        raise _NotPlain
    _see_that_harmless(node, _HARMLESS.get(node.get("type"), frozenset()))
    _see_that_harmless(_mapping(node.get("config", {})), _SETTINGS)
    return node


def _see_that_harmless(entries: Node, keys: frozenset[str]) -> None:
    if not entries.keys() <= keys or any(key in entries and entries[key] not in _ONLY[key] for key in _ONLY):
        raise _NotPlain


def _mapping(part: object) -> Node:
    if not is_mapping(part):
        raise _NotPlain
    return part


# --- From a schema to the check


class _Reader:
    """Reads one core schema."""

    def __init__(self) -> None:
        self._definitions: dict[object, object] = {}
        self._known: dict[object, Kinds | None] = {}

    def kinds(self, schema: object) -> Kinds:
        """What the values of *schema* may be. Raises :exc:`_NotPlain`."""
        node = _node(schema)
        match node["type"]:
            case "str":
                return Kinds({str: None})
            case "int":
                return Kinds({int: None}, longest=_LONGEST_WITH_INTS)
            case "float":
                return Kinds({float: isfinite})
            case "bool":
                return Kinds({bool: None})
            case "none":
                return Kinds({type(None): None})
            case "datetime":
                return Kinds({datetime: _is_naive_or_utc})
            case "nullable":
                some = self.kinds(node["schema"])
                return Kinds({**some, type(None): None}, longest=some.longest, height=some.height)
            case "default":
                return self.kinds(node["schema"])
            case "list":
                items = self.kinds(node.get("items_schema"))
                return _holding([items], list, _of_items(items))
            case "dict":
                _node(node.get("keys_schema"), "str")
                values = self.kinds(node.get("values_schema"))
                return _holding([values], dict, _of_entries(values))
            case "model":
                return self._model(node)
            case "dataclass":
                return self._dataclass(node)
            case "typed-dict":
                fields = self._fields(_mapping(node["fields"]))
                return _record(fields, dict, _of_typed_dict(fields))
            case "definitions":
                self._definitions |= {_mapping(one).get("ref"): one for one in _items(node["definitions"])}
                return self.kinds(node["schema"])
            case "definition-ref":
                return self._defined(node["schema_ref"])
            case _:
                raise _NotPlain

    def _defined(self, name: object) -> Kinds:
        if name not in self._known:
            self._known[name] = None  # while it is being read: what holds its own kind may be too deep to be read
            self._known[name] = self.kinds(self._definitions.get(name))
        found = self._known[name]
        if found is None:
            raise _NotPlain
        return found

    def _model(self, node: Node) -> Kinds:
        fields = self._fields(_mapping(_node(node["schema"], "model-fields")["fields"]))
        cls = _class(node["cls"], fields, in_slots=False)
        if not issubclass(cls, BaseModel) or cls.__pydantic_fields__.keys() != fields.keys():
            raise _NotPlain
        return _record(fields, cls, _of_model(cls, fields))

    def _dataclass(self, node: Node) -> Kinds:
        declared = _items(_node(node["schema"], "dataclass-args")["fields"])
        fields = self._fields({_mapping(one)["name"]: one for one in declared})
        cls = _class(node["cls"], fields, in_slots=node.get("slots") is True)
        if not dataclasses.is_dataclass(cls) or not (
            [*fields] == node["fields"] == [field.name for field in dataclasses.fields(cls)]
        ):
            raise _NotPlain
        return _record(fields, cls, _of_dataclass(cls, fields))

    def _fields(self, declared: Node) -> dict[str, Kinds]:
        """What each field may hold. Each is read from where it alone is written."""
        fields = {name: _node(field) for name, field in declared.items()}
        written = {name: field.get("serialization_alias", name) for name, field in fields.items()}
        read = {name: field.get("validation_alias", name) for name, field in fields.items()}
        # A field may be read by its name, too.
        taken = {name for name in fields if written[name] != name} & {*written.values()}
        if read != written or taken or len({*written.values()}) < len(fields):
            raise _NotPlain
        return {str(name): self.kinds(field["schema"]) for name, field in fields.items()}


def _items(part: object) -> list[object]:
    if not is_sequence(part):
        raise _NotPlain
    return [*part]


def _class(cls: object, names: Iterable[str], *, in_slots: bool) -> type[object]:
    """*cls*, if its instances are made, and hold what they hold, as Python has it."""
    if not isinstance(cls, type) or not isinstance(_attribute(cls, "__dict__"), GetSetDescriptorType | None):
        raise _NotPlain
    if any(_attribute(cls, name) is not vars(object)[name] for name in ("__new__", "__getattribute__")):
        raise _NotPlain
    for found in (_attribute(cls, name) for name in names):
        # A property, say, goes before what the instance holds under its name.
        if isdatadescriptor(found) and not (in_slots and isinstance(found, MemberDescriptorType)):
            raise _NotPlain
    return cast("type[object]", cls)


def _attribute(cls: type[object], name: str) -> object:
    """What *cls* and its bases have under *name*, as it stands there."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _holding(inside: Iterable[Kinds], kind: type[object], check: Check, *, include: Check | None = None) -> Kinds:
    """The kinds of an array or object."""
    parts = [*inside]
    longest = min((one.longest for one in parts), default=sys.maxsize)
    height = 1 + max((one.height for one in parts), default=0)
    return Kinds({kind: check}, longest=longest, height=height, include=include)


def _record(fields: Mapping[str, Kinds], kind: type[object], check: Check) -> Kinds:
    """The same of one whose check looks at the type of the whole too."""
    return _holding(fields.values(), kind, check, include=check)


# --- The checks
# Each does all by itself, as a call for each part would take longer.


def _is_naive_or_utc(moment: datetime) -> bool:
    zone = moment.tzinfo
    return zone is None or zone is UTC or (type(zone) is TzInfo and zone.utcoffset(None) == _NO_OFFSET)


_NO_OFFSET: Final = timedelta(0)


def _of_items(kinds: Kinds) -> Callable[[Iterable[object]], bool]:
    only = frozenset(kinds)

    def are_plain(items: Iterable[object]) -> bool:
        for item in items:
            inside = kinds[type(item)]
            if inside is not None and not inside(item):
                return False
        return True

    return are_plain if any(kinds.values()) else lambda items: only.issuperset(map(type, items))


def _of_entries(kinds: Kinds) -> Check:
    values_are_plain = _of_items(kinds)

    def is_plain(value: dict[str, object]) -> bool:
        if not _TEXT.issuperset(map(type, value)):
            return False
        "".join(value).encode()  # raises at a lone surrogate, in place of which pydantic writes another key
        return values_are_plain(value.values())

    return is_plain


_TEXT: Final[frozenset[type[object]]] = frozenset({str})


def _of_typed_dict(fields: Mapping[str, Kinds]) -> Check:
    # One that lacks a key is read back: the key may have a default.
    return _written_out(
        dict, f"[*map(type, value)] == [str] * {len(fields)}", {f"value[{name!r}]": fields[name] for name in fields}
    )


def _of_model(cls: type[object], fields: Mapping[str, Kinds]) -> Check:
    # `__dict__` is what pydantic writes; what else is in there, it ignores.
    nothing_else = "value.__pydantic_extra__ is None and value.__pydantic_private__ is None"
    return _written_out(
        cls,
        f"{nothing_else} and type(held := value.__dict__) is dict",
        {f"held[{name!r}]": fields[name] for name in fields},
    )


def _of_dataclass(cls: type[object], fields: Mapping[str, Kinds]) -> Check:
    return _written_out(cls, "True", {f"getattr(value, {name!r})": fields[name] for name in fields})


def _written_out(cls: type[object], first: str, parts: Mapping[str, Kinds]) -> Check:
    """Whether a value is a *cls*, *first* is true of it, and each of its *parts* is of one of its kinds.

    Compiled, as `collections.namedtuple` does it: a loop over the parts would take twice as long, more than it takes
    to write the JSON.
    """
    names: dict[str, object] = {"cls": cls}
    tests = ["type(value) is cls", first]
    for number, (part, kinds) in enumerate(parts.items()):
        [(kind, inside), *others] = kinds.items()
        if others:
            names |= {f"kinds{number}": kinds}
            tests.append(f"((inside := kinds{number}[type(one := {part})]) is None or inside(one))")
        elif inside is None:
            names |= {f"kind{number}": kind}
            tests.append(f"type({part}) is kind{number}")
        else:
            names |= {f"kind{number}": kind, f"inside{number}": inside}
            tests.append(f"type(one := {part}) is kind{number} and inside{number}(one)")
    check: Check = eval(f"lambda value: {' and '.join(tests)}", names)  # noqa: S307  # a field's name is written as text
    return check
