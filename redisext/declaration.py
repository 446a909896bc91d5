"""What a model's class says, and what follows from it: the key, the codecs, the commands. No I/O.

The base of both faces, :class:`~redisext.model.Model` and :class:`~redisext.model.AsyncModel`. What a class says of
itself stands in five attributes, all of them optional:

    class Visitors(Counter[int]):
        KEY = "site"                            # the key, unless one is passed
        CONNECTION = "redis://localhost:6379/0" # a DSN, a backend, or a Connection class
        CONNECTION_REUSE = True                 # False: open and close a connection for each command
        SERIALIZER = redisext.serializer.Numeric  # instead of what the element type decides
        EXPIRE = 60                             # what expire() takes when it is given nothing; seconds
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn

from typing_extensions import TypeVar

from redisext import element
from redisext.codec import RAW, Codec, Unresolved, codec_for, serializer_codec
from redisext.errors import ConfigurationError
from redisext.key import Address, KeyCommands, key_bytes
from redisext.naming import type_name

if TYPE_CHECKING:
    from redisext.serializer import Serializer

__all__ = ["Declaration"]

C_co = TypeVar("C_co", bound=KeyCommands, default=KeyCommands, covariant=True)


class Declaration(Generic[C_co]):
    """The base of every structure's faces; see the head of this module."""

    KEY: ClassVar[str | bytes | int | None] = None
    CONNECTION_REUSE: ClassVar[bool] = True
    SERIALIZER: ClassVar[Serializer | None] = None
    EXPIRE: ClassVar[float | None] = None

    _positions: ClassVar[tuple[element.Position, ...]] = ()
    # Each structure's commands know the types of its own codecs; here they are of any.
    _describes: ClassVar[Callable[..., Any]] = KeyCommands
    _made_codecs: ClassVar[tuple[Codec[object], ...]]

    def _declare(self, key: str | bytes | int | None, connected: Callable[[], tuple[str, str]]) -> None:
        """Settle the key and the commands; *connected* tells prefix and location of the data."""
        cls = type(self)
        if key is None:
            key = cls.KEY
        if key is None or (not key and key != 0):
            raise ConfigurationError(
                f"{cls.__name__} has no key: pass one, {cls.__name__}('key'), or set KEY on the class"
            )
        self._key = key
        codecs = cls._ready_codecs()
        prefix, location = connected()
        whole = prefix.encode() + key_bytes(key)
        self._commands: C_co = cls._describes(Address(whole, prefix.encode(), location), *codecs)

    @property
    def key(self) -> str | bytes | int:
        """The key, as it was given; the backend's prefix is not part of it."""
        return self._key

    @property
    def commands(self) -> C_co:
        """The operations, described but not carried out: a backend's `execute` or a batch's `add` takes them."""
        return self._commands

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is neither copied nor pickled: it goes with its connections. "
            "Hand on its key, and make another where it is needed"
        )

    def _expiry(self, seconds: float | None) -> float:
        if seconds is not None:
            return seconds
        if self.EXPIRE is None:
            raise ConfigurationError(f"no expiry: pass seconds, or set EXPIRE on {type(self).__name__}")
        return self.EXPIRE

    # --- The class itself

    if not TYPE_CHECKING:  # pragma: no branch  # it is false whenever this runs

        def __class_getitem__(cls, params: object) -> object:
            return element.parametrize(cls, params)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if element.subscripted(cls) and not any(position.allowed for position in cls._positions):
            return  # it may be no more than an annotation; its types are judged when it is used
        # A variable left open is for a later subclass, a name not defined yet for a later line.
        with contextlib.suppress(_OpenVariable, Unresolved):
            cls._codecs()

    @classmethod
    def _of(cls, *types: object) -> Any:  # the structure's own `of` knows which class it is
        return element.parametrize(cls, types)

    @classmethod
    def _codecs(cls) -> tuple[Codec[object], ...]:
        """One codec for each type parameter, made once for the class."""
        if "_made_codecs" not in cls.__dict__:
            cls._made_codecs = cls._make_codecs()
        return cls._made_codecs

    @classmethod
    def _ready_codecs(cls) -> tuple[Codec[object], ...]:
        try:
            return cls._codecs()
        except _OpenVariable as error:
            raise ConfigurationError(
                f"{cls.__name__} leaves its type variable {error} open: say of what it is, as in {cls.__name__}[int]"
            ) from None
        except Unresolved as error:
            raise ConfigurationError(
                f"the element type of {cls.__name__} cannot be found: {error} is not defined where it is used"
            ) from error

    @classmethod
    def _make_codecs(cls) -> tuple[Codec[object], ...]:
        structure = next((base for base in cls.__mro__ if base.__dict__.get("_positions")), cls)
        args = element.arguments(cls, structure)
        if args is None:
            return tuple(cls._codec(position, None) for position in cls._positions)
        return tuple(cls._codec(position, arg) for position, arg in zip(cls._positions, args, strict=True))

    @classmethod
    def _codec(cls, position: element.Position, arg: object) -> Codec[object]:
        if cls.SERIALIZER is not None and position.serialized:
            if not (hasattr(cls.SERIALIZER, "encode") and hasattr(cls.SERIALIZER, "decode")):
                raise ConfigurationError(f"{cls.__name__}.SERIALIZER has no encode and decode")
            return serializer_codec(cls.SERIALIZER, type_name(cls.SERIALIZER if arg is None else arg))
        if arg is None:
            return codec_for(position.allowed[0]) if position.allowed else RAW
        variable = element.open_variable(arg)
        if variable is not None:
            raise _OpenVariable(variable.__name__)
        resolved = element.resolve(cls, arg)
        if position.allowed and not any(resolved is one for one in position.allowed):
            allowed = " or ".join(map(type_name, position.allowed))
            raise ConfigurationError(f"{cls.__name__}: its elements are {allowed}, not {type_name(resolved)}")
        return codec_for(resolved, identity=position.identity)


class _OpenVariable(Exception):
    """A type variable to which no type was given."""
