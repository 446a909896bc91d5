"""Which element type a class was given: `Queue[Event]`, at run time.

`typing` keeps ``Queue[Event]`` as a mere note about `Queue`. Here it is a class of its own, so that it can hold
its codec, and `isinstance` and `repr` work on it. Where a type variable is left open
(``class Jobs(Queue[T])``) the note is what is wanted, save that a model cannot be made of it.

A name that is not defined yet (``Queue["Event"]``) is looked up again when the first model is made: in the module
and function where it was written, in those functions of this module that are running, then where the model is made.

An annotation must never fail, so subscribing alone judges no type: that is done when a class statement or a
constructor uses it.
"""

from __future__ import annotations

import os
import sys
import threading
import types
import weakref
from collections.abc import Mapping
from itertools import zip_longest
from typing import (
    Annotated,
    Final,
    ForwardRef,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import NoDefault

from redisext import frames
from redisext.codec import Unresolved
from redisext.naming import type_name
from redisext.narrow import is_sequence

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
    if not cls.__dict__.get("_positions", True):
        return note
    # Equal types need not be the same one: `int | str` and `str | int` are read in different order. `typing` gives
    # the first of them for each, so its note serves only to check and to fill in what is missing.
    given = params if is_sequence(params) else (params,)
    args = tuple(one if one == arg else arg for one, arg in zip_longest(given, get_args(note)))
    if getattr(note, "__parameters__", ()):
        return _Open(cls, args)
    if any(map(_is_forward, args)):
        scope = _Scope.of(next(frames.outside()))
        try:
            return parametrize(cls, tuple(scope.evaluate(arg) for arg in args))
        except _NOT_DEFINED:
            return _new_class(cls, args, scope)
    key = (cls, args, ", ".join(map(type_name, args)))
    try:
        with _classes_lock:
            known = _classes.get(key)
            if known is None:
                known = _classes[key] = _new_class(cls, args)
            return known
    except TypeError:  # a condition in Annotated[...] cannot be hashed
        return _new_class(cls, args)


_classes: Final[weakref.WeakValueDictionary[tuple[type, tuple[object, ...], str], type]] = weakref.WeakValueDictionary()
"""Each class once, for as long as somebody uses it."""
_classes_lock: Final = threading.RLock()
if hasattr(os, "register_at_fork"):  # pragma: no branch  # it is not everywhere
    # A child must not find it held by a thread that it has not.
    os.register_at_fork(
        before=_classes_lock.acquire, after_in_parent=_classes_lock.release, after_in_child=_classes_lock.release
    )


def arguments(cls: type, generic: type) -> tuple[object, ...] | None:
    """What *cls* or its bases gave for the variables of *generic*; None if they gave nothing."""
    given = _given(cls, generic)
    return None if given is None else tuple(_substitute(arg, _defaults(arg)) for arg in given)


def _given(cls: type, generic: type) -> tuple[object, ...] | None:
    for base in cls.__dict__.get("__orig_bases__", ()):
        origin = get_origin(base)
        if origin is generic:
            return get_args(base)
        if isinstance(origin, type) and issubclass(origin, generic):
            variables: tuple[object, ...] = getattr(origin, "__parameters__", ())
            given = dict(zip(variables, get_args(base), strict=True))
            return tuple(_substitute(arg, given) for arg in _given(origin, generic) or ())
    for base in cls.__bases__:
        if base is not generic and issubclass(base, generic):
            return _given(base, generic)
    return None


def resolve(cls: type, arg: object) -> object:
    """*arg* with its forward references looked up. Raises :exc:`~redisext.codec.Unresolved`."""
    if not _is_forward(arg):
        return arg
    written = [scope for base in cls.__mro__ if isinstance(scope := base.__dict__.get(_SCOPE), _Scope)]
    users = [base for base in cls.__mro__ if hasattr(base, "_positions") and not frames.inside(base.__module__)]
    modules = [sys.modules[base.__module__] for base in reversed(users) if base.__module__ in sys.modules]
    written += [_Scope(vars(module), {}) for module in modules]
    # Other callers, and who imports the module, have nothing to do with it: a name of theirs would be another's.
    maker, *callers = frames.outside()
    around = [frame for frame in callers if any(frame.f_globals is scope.module for scope in written)]
    missing: str | None = None
    for scope in (*written, *map(_Scope.of, (*around, maker))):
        try:
            return scope.evaluate(arg)
        except _NOT_DEFINED as error:
            missing = missing or error.name
    raise Unresolved(missing)


def open_variable(arg: object) -> TypeVar | None:
    """A type variable that is still open in *arg*."""
    return next(iter(_variables(arg)), None)


def subscripted(cls: type) -> bool:
    """Whether *cls* was made by ``Queue[...]`` and not by a class statement."""
    return _SUBSCRIPTED in cls.__dict__


_NOT_DEFINED: Final = (NameError, AttributeError)
"""What looking up `Event` or `events.Event` raises before it is there."""

_SCOPE: Final = "_redisext_scope"
_SUBSCRIPTED: Final = "_redisext_subscripted"


def _note(cls: type, params: object) -> object:
    # By way of Generic itself: the collections.abc classes have a __class_getitem__ of another kind.
    return Generic.__dict__["__class_getitem__"].__get__(None, cls)(params)


def _new_class(cls: type, args: tuple[object, ...], scope: _Scope | None = None) -> type:
    names = ", ".join(map(type_name, args))
    body: dict[str, object] = {
        "__module__": cls.__module__,
        "__qualname__": f"{cls.__qualname__}[{names}]",
        "__doc__": cls.__doc__,
        _SUBSCRIPTED: True,
    }
    if scope is not None:
        body[_SCOPE] = scope
    note = types.GenericAlias(cls, args)
    return types.new_class(f"{cls.__name__}[{names}]", (note,), exec_body=lambda namespace: namespace.update(body))


class _Open(types.GenericAlias):
    """``Queue[T]``: a base for class statements, and nothing more while nobody says what T is."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """A model of open elements: it refuses to be made, and says which variable it is."""
        return _new_class(cast("type", self.__origin__), self.__args__)(*args, **kwargs)

    # A class, once no variable is open any more.
    def __getitem__(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, params: object
    ) -> object:
        """What becomes of it when types are put in for its variables."""
        origin = cast("type", self.__origin__)
        return parametrize(origin, types.GenericAlias(origin, self.__args__)[params].__args__)


def _substitute(arg: object, given: Mapping[object, object]) -> object:
    if isinstance(arg, TypeVar):
        return given.get(arg, arg)
    variables = _variables(arg)
    if not variables:
        return arg
    # Whatever has parameters takes arguments for them.
    return cast("types.GenericAlias", arg)[tuple(given.get(one, one) for one in variables)]


def _defaults(arg: object) -> Mapping[object, object]:
    """What stands for the variables in *arg* as long as nothing is given: `TypeVar("T", default=int)`."""
    # Before Python 3.13 only a variable of typing_extensions has a default.
    defaults = {one: getattr(one, "__default__", NoDefault) for one in _variables(arg)}
    return {one: default for one, default in defaults.items() if default is not NoDefault}


def _variables(arg: object) -> tuple[TypeVar, ...]:
    return (arg,) if isinstance(arg, TypeVar) else getattr(arg, "__parameters__", ())


def _is_forward(arg: object) -> bool:
    if isinstance(arg, (str, ForwardRef)):
        return True
    # What stands in a Literal, and after the type in Annotated, is no type.
    origin = get_origin(arg)
    types_inside = get_args(arg)[:1] if origin is Annotated else get_args(arg)
    return origin is not Literal and any(map(_is_forward, types_inside))


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
