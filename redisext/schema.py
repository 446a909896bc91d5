"""What a type's pydantic core schema tells about how its values can be stored.

Three questions are answered here, each by one walk over the schema: can a value come back at all, is it a
scalar that Redis itself understands, and do equal values have equal bytes. The first and the last give a
reason, in words that complete "cannot be stored: ...", or None where there is nothing against it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Final, TypeAlias

from pydantic import BaseModel, Secret

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
    while is_mapping(node):
        kind = node.get("type")
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind not in ("function-after", "function-before", "default", "definitions"):
            return None
        node = node.get("schema")
    return None


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
    return getattr(function, "__module__", None) == Secret.__module__ and "secret" in getattr(function, "__name__", "")


def _class_name(node: Node) -> str:
    return getattr(node.get("cls"), "__qualname__", "it")


_NO_JSON_KEY: Final = frozenset(
    {"none", "nullable", "tuple", "list", "set", "frozenset", "dict", "model", "dataclass", "typed-dict", "call"}
)


def _not_a_json_key(keys: object) -> str | None:
    for node in _walk(keys):
        kind = node["type"]
        if kind in _NO_JSON_KEY:
            return f"a mapping's keys become text in JSON, and a {kind} is not read back from text"
        if kind == "enum" and not all(isinstance(value, str) for value in _enum_values(node)):
            return "a mapping's keys become text in JSON, and this enum's values are not all text"
    return None


def _enum_values(node: Node) -> Iterator[object]:
    members = node.get("members")
    if is_sequence(members):
        for member in members:
            yield member.value if isinstance(member, Enum) else member


# --- Are equal values written alike?

_CANONICAL: Final = frozenset(
    {
        *("str", "int", "float", "bool", "none", "bytes", "decimal", "uuid", "enum", "literal"),
        *("date", "time", "datetime", "timedelta", "url", "multi-host-url"),
        *("list", "tuple", "set", "frozenset", "dict", "nullable", "union", "tagged-union"),
        *("model", "model-fields", "model-field", "computed-field"),
        *("dataclass", "dataclass-args", "dataclass-field"),
        *("typed-dict", "typed-dict-fields", "typed-dict-field"),
        *("call", "arguments", "definitions", "definition-ref", "default", "chain", "lax-or-strict", "json-or-python"),
        *("function-after", "function-before", "function-wrap", "function-plain"),
    }
)
"""The schemas whose values :func:`redisext.codec._canonical` writes alike when they are equal."""


def _not_canonical(node: Node) -> str | None:
    kind = node["type"]
    if kind == "any":
        return "it holds Any, under which 1, 1.0 and True are equal and written differently"
    if kind not in _CANONICAL:
        return f"it holds a {kind}, of which equal values may be written differently"
    if node.get("extra_behavior") == "allow" or node.get("extras_schema") is not None:
        return "it takes extra fields, of any type"
    if kind in ("union", "tagged-union", "literal"):
        return _numbers_of_several_types(node)
    if kind in ("model", "dataclass"):
        return _own_equality(node.get("cls"))
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
    listed = node.get("expected") if node["type"] == "literal" else list(_enum_values(node))
    if not is_sequence(listed):
        return set()
    return {"an enum" if node["type"] == "enum" else type(v).__name__ for v in listed if isinstance(v, (int, float))}


def _own_equality(cls: object) -> str | None:
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        if cls.__eq__ is not BaseModel.__eq__:
            return f"{cls.__qualname__} has an __eq__ of its own"
    elif isinstance(cls, type) and dataclasses.is_dataclass(cls):
        if cls.__eq__ is object.__eq__:
            return f"{cls.__qualname__} has no equality by value (eq=False)"
        if not all(field.compare for field in dataclasses.fields(cls)):
            return f"{cls.__qualname__} has fields that equality does not compare (compare=False)"
    return None
