"""Which element type a class was given: `Queue[Event]`, at run time.

`typing` keeps ``Queue[Event]`` as a mere note about `Queue`. Here it is a class of its own, so that it can hold
its codec, and `isinstance` and `repr` work on it. Where a type variable is left open
(``class Jobs(Queue[T])``) the note is what is wanted, and `typing`'s own is given.

A name that is not defined yet (``Queue["Event"]``) is looked up again when the first model is made: in the module
and function where it was written, then where the model is made.

An annotation must never fail, so subscribing alone judges no type: that is done when a class statement or a
constructor uses it.
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Mapping
from typing import Final, ForwardRef, Generic, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

from redisext import frames
from redisext.codec import Unresolved, type_name

__all__ = ["Position", "arguments", "open_variable", "parametrize", "resolve", "subscripted"]


class Position(NamedTuple):
    """What a structure does with one of its type parameters.

    * `identity`: values are looked up by their bytes, which therefore must be canonical.
    * `serialized`: a class's `SERIALIZER` applies here.
    * `allowed`: the only types that may stand here; the first is taken where none was given.
    """

    identity: bool = False
    serialized: bool = True
    allowed: tuple[type, ...] = ()


def parametrize(cls: type, params: object) -> object:
    """``cls[params]``: a class, or `typing`'s note of it while a type variable is open."""
    note = _note(cls, params)
    if getattr(note, "__parameters__", ()) or not cls.__dict__.get("_positions", True):
        return note
    args = get_args(note)
    if any(map(_is_forward, args)):
        scope = _Scope.of(next(frames.outside()))
        try:
            args = tuple(scope.evaluate(arg) for arg in args)
        except NameError:
            return _new_class(cls, note, scope)
        note = _note(cls, args)
    # Equal types need not be the same one: `int | str` and `str | int` are read in different order.
    key = (cls, args, ", ".join(map(type_name, args)))
    try:
        known = _classes.get(key)
    except TypeError:  # a condition in Annotated[...] cannot be hashed
        return _new_class(cls, note)
    if known is None:
        known = _classes[key] = _new_class(cls, note)
    return known


_classes: Final[weakref.WeakValueDictionary[tuple[type, tuple[object, ...], str], type]] = weakref.WeakValueDictionary()
"""Each class once, for as long as somebody uses it."""


def arguments(cls: type, generic: type) -> tuple[object, ...] | None:
    """What *cls* or its bases gave for the variables of *generic*; None if they gave nothing."""
    for base in cls.__dict__.get("__orig_bases__", ()):
        origin = get_origin(base)
        if origin is generic:
            return get_args(base)
        if isinstance(origin, type) and issubclass(origin, generic):
            variables: tuple[object, ...] = getattr(origin, "__parameters__", ())
            given = dict(zip(variables, get_args(base), strict=True))
            return tuple(_substitute(arg, given) for arg in arguments(origin, generic) or ())
    for base in cls.__bases__:
        if base is not generic and issubclass(base, generic):
            return arguments(base, generic)
    return None


def resolve(cls: type, arg: object) -> object:
    """*arg* with its forward references looked up. Raises :exc:`~redisext.codec.Unresolved`."""
    if not _is_forward(arg):
        return arg
    written = [scope for base in cls.__mro__ if isinstance(scope := base.__dict__.get(_SCOPE), _Scope)]
    module = _Scope(vars(sys.modules[cls.__module__]), {})
    for scope in (*written, module, *map(_Scope.of, frames.outside())):
        try:
            return scope.evaluate(arg)
        except NameError:
            continue
    raise Unresolved(_written(arg))


def open_variable(arg: object) -> TypeVar | None:
    """A type variable that is still open in *arg*."""
    if isinstance(arg, TypeVar):
        return arg
    return next(iter(getattr(arg, "__parameters__", ())), None)


def subscripted(cls: type) -> bool:
    """Whether *cls* was made by ``Queue[...]`` and not by a class statement."""
    return _SUBSCRIPTED in cls.__dict__


_SCOPE: Final = "_redisext_scope"
_SUBSCRIPTED: Final = "_redisext_subscripted"


def _note(cls: type, params: object) -> object:
    # By way of Generic itself: the collections.abc classes have a __class_getitem__ of another kind.
    return Generic.__dict__["__class_getitem__"].__get__(None, cls)(params)


def _new_class(cls: type, note: object, scope: _Scope | None = None) -> type:
    args = ", ".join(map(_written, get_args(note)))
    body: dict[str, object] = {
        "__module__": cls.__module__,
        "__qualname__": f"{cls.__qualname__}[{args}]",
        "__doc__": cls.__doc__,
        _SUBSCRIPTED: True,
    }
    if scope is not None:
        body[_SCOPE] = scope
    return types.new_class(f"{cls.__name__}[{args}]", (note,), exec_body=lambda namespace: namespace.update(body))


def _written(arg: object) -> str:
    return arg.__forward_arg__ if isinstance(arg, ForwardRef) else type_name(arg)


def _substitute(arg: object, given: Mapping[object, object]) -> object:
    if isinstance(arg, TypeVar):
        return given.get(arg, arg)
    parameters: tuple[object, ...] = getattr(arg, "__parameters__", ())
    if not parameters:
        return arg
    # Whatever has parameters takes arguments for them.
    return cast("types.GenericAlias", arg)[tuple(given.get(one, one) for one in parameters)]


def _is_forward(arg: object) -> bool:
    return isinstance(arg, (str, ForwardRef)) or any(map(_is_forward, get_args(arg)))


class _Scope(NamedTuple):
    """The names that can be seen from one place in a program."""

    module: Mapping[str, object]
    function: Mapping[str, object]

    @classmethod
    def of(cls, frame: types.FrameType) -> _Scope:
        inside_a_function = frame.f_locals is not frame.f_globals
        return cls(frame.f_globals, dict(frame.f_locals) if inside_a_function else {})

    def evaluate(self, arg: object) -> object:
        """*arg* with its forward references looked up here. Raises `NameError`."""
        note = types.SimpleNamespace(__annotations__={"element": arg})
        return get_type_hints(note, dict(self.module), dict(self.function), include_extras=True)["element"]
