"""Whether a value came back from JSON as it was.

Equality does not tell: True equals 1, a named tuple its tuple, noon in Berlin noon in +01:00. So the types are compared
too, part by part. :func:`change` does this with any two values, and says what became of the first.

Nearly all values are the same, and are to be told quickly: :class:`Sameness` sees once for each class what its
instances consist of, and compares in bulk what has no parts. It may only say "the same" where `change` does; what it
does not know for sure, `change` decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from operator import attrgetter, eq
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from redisext.naming import type_name
from redisext.narrow import is_mapping, is_sequence, is_set

__all__ = ["LOST", "Sameness", "change"]

LOST: Final = (
    "it would not come back from JSON as it is (an excluded or private field, bytes or NaN in a model that does not "
    "configure them, a type that JSON cannot tell from another); change the type, or give the class a SERIALIZER"
)


def change(value: object, back: object) -> str | None:
    """What became of *value*, in words that complete "cannot store ...: "; None if *back* is the same."""
    if type(value) is not type(back):
        # An int is a float to every type checker.
        if type(value) is int and type(back) is float and value == back:
            return None
        return f"{type_name(type(value))} would come back as {type_name(type(back))}; convert it, or change the type"
    parts = None if type(value) in _WITHOUT_PARTS else _parts(value, back)
    if parts is None:
        if isinstance(value, (datetime, time)) and value.tzinfo is not None and value.tzinfo.utcoffset(None) is None:
            return f"of the time zone {value.tzinfo} only the offset would come back; store .astimezone(timezone.utc)"
        if isinstance(value, (float, complex, Decimal)) and str(value) == str(back):
            return None  # NaN, too, which equals nothing
        return None if value == back else LOST
    here, there = parts
    types = [*map(type, here)]
    if _WITHOUT_PARTS.issuperset(types) and here == there and types == [*map(type, there)]:
        return None  # what most values are, told fast
    changes = (change(one, other) for one, other in zip(here, there, strict=True))
    return next((change for change in changes if change is not None), None)


def _parts(value: object, back: object) -> tuple[list[object], list[object]] | None:
    """The parts of two values of one type, in one order; None if they have none, or not the same."""
    if is_sequence(value) and is_sequence(back):
        if len(value) != len(back):
            return None
        return [*value, *_attributes(value, ("maxlen",))], [*back, *_attributes(back, ("maxlen",))]
    if isinstance(value, BaseModel):
        names = (*type(value).__pydantic_fields__, *_BESIDE_FIELDS)
        return _attributes(value, names), _attributes(back, names)
    if is_dataclass(value):
        names = tuple(field.name for field in fields(value) if field.init or field.compare)
        return _attributes(value, names), _attributes(back, names)
    if is_set(value) and is_set(back) and value == back:
        same = {one: one for one in back}
        return [*value], [same[one] for one in value]
    if is_mapping(value) and is_mapping(back) and value.keys() == back.keys():
        keys = [*back]
        if keys != [*value]:
            same = {key: key for key in back}
            keys = [same[key] for key in value]
        here = [*value, *value.values(), *_attributes(value, ("default_factory",))]
        return here, [*keys, *(back[key] for key in keys), *_attributes(back, ("default_factory",))]
    return None


_BESIDE_FIELDS: Final = ("__pydantic_extra__", "__pydantic_private__")


def _attributes(value: object, names: Iterable[str]) -> list[object]:
    return [getattr(value, name, None) for name in names]


_WITHOUT_PARTS: Final[frozenset[type[object]]] = frozenset({str, int, float, bool, bytes, type(None)})

Same: TypeAlias = Callable[[Any, Any], bool]  # two of the class that it is looked up by, which no checker can know
"""Whether two instances of one class are the same for sure."""


class Sameness(dict[type[object], Same]):
    """For each class, a function that tells its instances apart; made when it is first looked up.

    Each codec has one of its own, so that no class is kept for longer than its codec.
    """

    def change(self, value: object, back: object) -> str | None:
        """What :func:`change` says, sooner."""
        kind = type(value)
        try:
            if kind is type(back) and self[kind](value, back):
                return None
        except Exception:  # noqa: BLE001, S110  # an attribute is missing, an __eq__ is broken: it may matter, or not
            pass
        return change(value, back)

    def __missing__(self, kind: type[object]) -> Same:
        self[kind] = same = self._made_for(kind)
        return same

    def _made_for(self, kind: type[object]) -> Same:
        # In the order of `_parts`.
        if kind is list or kind is tuple:
            return self._same_items
        if issubclass(kind, (list, tuple, deque)):
            return self._same_parts
        if issubclass(kind, BaseModel):
            return self._for_model(kind)
        if is_dataclass(kind):
            return self._for_fields({field.name: field.type for field in fields(kind) if field.init or field.compare})
        if kind is dict:
            return self._same_entries
        if issubclass(kind, (set, frozenset, Mapping)):
            return self._same_parts
        return _same_moment if issubclass(kind, (datetime, time)) else eq

    def _same_items(self, value: Sequence[object], back: Sequence[object]) -> bool:
        kinds = [*map(type, value)]
        if kinds != [*map(type, back)]:
            return False
        if _WITHOUT_PARTS.issuperset(kinds):
            return value == back
        for kind, one, other in zip(kinds, value, back, strict=True):  # noqa: SIM110  # `all` takes longer
            if not self[kind](one, other):
                return False
        return True

    def _same_entries(self, value: dict[object, object], back: dict[object, object]) -> bool:
        keys, there = [*value], [*back]
        if keys != there:
            return self._same_parts(value, back)  # a TypedDict comes back in the order of its fields
        return self._same_items([*keys, *value.values()], [*there, *back.values()])

    def _same_parts(self, value: object, back: object) -> bool:
        parts = _parts(value, back)
        return parts is not None and self._same_items(*parts)

    def _for_model(self, kind: type[BaseModel]) -> Same:
        hidden = kind.model_config.get("extra") == "allow" or kind.__private_attributes__
        declared: dict[str, object] = dict.fromkeys(_BESIDE_FIELDS, object if hidden else type(None))
        return self._for_fields({name: field.annotation for name, field in kind.__pydantic_fields__.items()} | declared)

    def _for_fields(self, declared: Mapping[str, object]) -> Same:
        """The fields that are declared to have no parts are compared in bulk, if they hold what is declared."""
        # An annotation may also be text.
        bulk = {
            name: kind
            for name, annotation in declared.items()
            for kind in _WITHOUT_PARTS
            if annotation in (kind, kind.__name__)
        }
        others = [name for name in declared if name not in bulk]
        kinds = [*bulk.values()]
        get = _getter([*bulk])

        def same(value: object, back: object) -> bool:
            here, there = get(value), get(back)
            if [*map(type, here)] != kinds or [*map(type, there)] != kinds or here != there:
                return False
            for name in others:
                one: object = getattr(value, name)
                other: object = getattr(back, name)
                kind = type(one)
                if kind is not type(other) or not self[kind](one, other):
                    return False
            return True

        return same


def _getter(names: Sequence[str]) -> Callable[[object], tuple[object, ...]]:
    """What gets all these attributes: `attrgetter` of one gives no tuple, and there is none of none."""
    return attrgetter(*names) if len(names) > 1 else lambda value: tuple([getattr(value, name) for name in names])


def _same_moment(value: datetime | time, back: datetime | time) -> bool:
    return value == back and (value.tzinfo is None or value.tzinfo.utcoffset(None) is not None)
