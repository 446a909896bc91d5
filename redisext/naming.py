"""How messages name a type."""

from __future__ import annotations

from typing import Annotated, ForwardRef, get_args, get_origin

from pydantic.fields import FieldInfo

__all__ = ["type_name"]


def type_name(element_type: object) -> str:
    """A type as a person would write it.

    >>> type_name(int), type_name(list[int])
    ('int', 'list[int]')
    """
    if get_origin(element_type) is Annotated:
        inner, *conditions = get_args(element_type)
        listed = [part for one in conditions for part in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return f"Annotated[{', '.join([type_name(inner), *map(repr, listed)])}]"
    if isinstance(element_type, ForwardRef):
        return element_type.__forward_arg__
    if element_type is type(None):
        return "None"
    name = getattr(element_type, "__qualname__", None) or getattr(element_type, "__name__", None)
    if isinstance(name, str) and not get_args(element_type):
        return name.rpartition("<locals>.")[2]
    return repr(element_type).replace("typing.", "")
