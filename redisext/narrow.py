"""`isinstance` for containers, which tells a type checker that what is inside may be anything."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from typing_extensions import TypeIs

__all__ = ["is_iterable", "is_mapping", "is_sequence", "is_set"]


def is_mapping(value: object) -> TypeIs[Mapping[object, object]]:
    """Whether *value* is a mapping."""
    return isinstance(value, Mapping)


def is_sequence(value: object) -> TypeIs[list[object] | tuple[object, ...] | deque[object]]:
    """Whether *value* is one of the sequences that JSON writes as an array."""
    return isinstance(value, (list, tuple, deque))


def is_set(value: object) -> TypeIs[set[object] | frozenset[object]]:
    """Whether *value* is a set, of either kind."""
    return isinstance(value, (set, frozenset))


def is_iterable(value: object) -> TypeIs[Iterable[object]]:
    """Whether *value* can be iterated."""
    return isinstance(value, Iterable)
