"""What a type's pydantic core schema tells about how its values can be stored.

Three questions are answered here, each by one walk over the schema: can a value come back at all, is it a
scalar that Redis itself understands, and do equal values have equal bytes. The first and the last give a
reason, in words that complete "cannot be stored: ...", or None where there is nothing against it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import FunctionType
from typing import Final, TypeAlias

import pydantic

from redisext.narrow import is_mapping, is_sequence

__all__ = ["native_scalar", "why_not_canonical", "why_not_stored"]

Node: TypeAlias = Mapping[object, object]
"""One schema of a core schema: nested mappings, each with a "type"."""


def why_not_stored(schema: object) -> str | None:
    """Why no value of this type, or not every ordinary one, would come back; None if that is up to the value."""
    return _first(_not_stored, schema)


def why_not_canonical(schema: object) -> str | None:
    """Why equal values of this type may be written as different bytes."""
    return _first(_not_canonical, schema)


def native_scalar(schema: object) -> type | None:
    """int, float, str or bytes where the type is one of them with conditions: `Annotated[int, Field(ge=0)]`."""
    node = schema
    while is_mapping(node) and node.get("type") in ("function-after", "function-before", "default", "definitions"):
        node = node.get("schema")
    return _SCALARS.get(node.get("type")) if is_mapping(node) else None


_SCALARS: Final[Mapping[object, type]] = {"int": int, "float": float, "str": str, "bytes": bytes}


def _first(why_not: Callable[[Node], str | None], schema: object) -> str | None:
    return next((reason for node in _walk(schema) if (reason := why_not(node)) is not None), None)


def _walk(schema: object) -> Iterator[Node]:
    """Each node that takes part in reading JSON strictly."""
    if is_mapping(schema):
        kind = schema.get("type")
        if isinstance(kind, str):
            yield schema
            skipped = _NOT_FOLLOWED.get(kind, _ASIDE)
        else:
            skipped = _ASIDE
        for name, child in schema.items():
            if name not in skipped:
                yield from _walk(child)
    elif is_sequence(schema):
        for child in schema:
            yield from _walk(child)


_ASIDE: Final = frozenset({"serialization", "metadata", "ref", "default", "expected", "members", "config", "function"})
_NOT_FOLLOWED: Final[Mapping[str, frozenset[str]]] = {
    "json-or-python": _ASIDE | {"python_schema"},
    "lax-or-strict": _ASIDE | {"lax_schema"},
}


# --- Can it come back?


def _not_stored(node: Node) -> str | None:
    kind = node["type"]
    if kind == "callable":
        return "a callable cannot be written as JSON"
    if kind == "generator":
        return "an iterable is used up by writing it"
    if kind == "dataclass" and getattr(node.get("cls"), "__eq__", None) is object.__eq__:
        return f"{_class_name(node)} has no equality by value (eq=False), so it would not equal what comes back"
    if kind in ("is-instance", "is-subclass") and not isinstance(node.get("cls"), type(Enum)):
        return f"pydantic knows no way to write {_class_name(node)} as JSON"
    if _is_secret(node):
        return "a secret is written as asterisks"
    if kind == "dict":
        return _not_a_json_key(node.get("keys_schema"))
    return None


def _is_secret(node: Node) -> bool:
    serialization = node.get("serialization")
    function = serialization.get("function") if is_mapping(serialization) else None
    module = getattr(function, "__module__", None)
    return module == pydantic.Secret.__module__ and "secret" in getattr(function, "__name__", "")


def _class_name(node: Node) -> str:
    return getattr(node.get("cls"), "__qualname__", "it")


_NO_JSON_KEY: Final = frozenset(
    {
        *("none", "nullable", "tuple", "list", "set", "frozenset", "dict"),
        *("model", "dataclass", "typed-dict", "call", "named-tuple"),
    }
)


def _not_a_json_key(keys: object) -> str | None:
    for node in _walk(keys):
        kind = node["type"]
        if kind in _NO_JSON_KEY:
            return f"a mapping's keys become text in JSON, and a {kind} is not read back from text"
        if kind in ("enum", "literal") and not all(isinstance(value, str) for value in _listed_values(node)):
            return f"a mapping's keys become text in JSON, and this {kind}'s values are not all text"
    return None


def _listed_values(node: Node) -> Iterator[object]:
    """The values of a literal or of an enum."""
    listed = node.get("expected" if node["type"] == "literal" else "members")
    if is_sequence(listed):
        for one in listed:
            yield one.value if isinstance(one, Enum) else one


# --- Are equal values written alike?

_CANONICAL: Final = frozenset(
    {
        *("str", "int", "float", "bool", "none", "bytes", "decimal", "uuid", "enum", "literal"),
        *("date", "time", "datetime", "timedelta", "url", "multi-host-url"),
        *("list", "tuple", "set", "frozenset", "dict", "nullable", "union", "tagged-union"),
        *("model", "model-fields", "model-field", "computed-field"),
        *("dataclass", "dataclass-args", "dataclass-field"),
        *("typed-dict", "typed-dict-fields", "typed-dict-field"),
        *("named-tuple", "named-tuple-field"),
        *("call", "arguments", "definitions", "definition-ref", "default", "chain", "lax-or-strict", "json-or-python"),
        *("function-after", "function-before", "function-wrap", "function-plain"),
    }
)
"""The schemas whose values :func:`redisext.canonical.canonical_json` writes alike when they are equal."""


_WRITTEN_AS_OBJECTS: Final = frozenset({"model", "dataclass"})


def _not_canonical(node: Node) -> str | None:
    kind = node["type"]
    if kind == "any":
        return "it holds Any, under which 1, 1.0 and True are equal and written differently"
    if kind not in _CANONICAL:
        return f"it holds a {kind}, of which equal values may be written differently"
    config = node.get("config")
    extra = config.get("extra_fields_behavior") if is_mapping(config) else node.get("extra_behavior")
    if extra == "allow" or node.get("extras_schema") is not None:
        return "it takes extra fields, of any type"
    if kind in ("set", "frozenset") and any(one["type"] in _WRITTEN_AS_OBJECTS for one in _walk(node["items_schema"])):
        return "it holds a set of JSON objects, which are not written in an order of their own"
    if kind in ("union", "tagged-union", "literal"):
        return _numbers_of_several_types(node)
    if kind in ("model", "dataclass", "named-tuple", "call"):
        return _own_equality(node.get("cls", node.get("function")))
    return None


def _numbers_of_several_types(node: Node) -> str | None:
    """1, 1.0, True and Decimal(1) are equal; JSON writes each in its own way."""
    families: set[str] = set()
    for choice in _walk({key: value for key, value in node.items() if key != "type"}):
        if choice["type"] in ("int", "float", "bool", "decimal"):
            families.add(str(choice["type"]))
        families |= _number_families(choice)
    families |= _number_families(node)
    if len(families) > 1:
        return f"it may be {' or '.join(sorted(families))}, whose equal values (1, 1.0, True) are written differently"
    return None


def _number_families(node: Node) -> set[str]:
    """The types of the numbers among a literal's or an enum's values."""
    numbers = [value for value in _listed_values(node) if isinstance(value, (int, float))]
    return {"an enum" if node["type"] == "enum" else type(number).__name__ for number in numbers}


def _own_equality(cls: object) -> str | None:
    equality: object = getattr(cls, "__eq__", None)
    name = getattr(cls, "__qualname__", None)
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        if not all(field.compare for field in dataclasses.fields(cls)):
            return f"{name} has fields that equality does not compare (compare=False)"
        # `dataclasses` makes its methods from text, so they come from no file.
        by_fields = isinstance(equality, FunctionType) and equality.__code__.co_filename == "<string>"
    else:
        # pydantic imports `RootModel` only when it is asked for.
        by_fields = equality in [vars(one)["__eq__"] for one in (pydantic.BaseModel, pydantic.RootModel, tuple)]
    return None if by_fields else f"{name} has an __eq__ of its own"
