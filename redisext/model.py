"""What all models have in common: a key, a connection, codecs, expiry.

A model is a thin face over its *commands* (:mod:`redisext.command`): each method describes an operation and has the
backend carry it out. What a class says of itself stands in five attributes, all of them optional:

    class Visitors(Counter[int]):
        KEY = "site"                            # the key, unless one is passed
        CONNECTION = "redis://localhost:6379/0" # a DSN, a backend, or a Connection class
        CONNECTION_REUSE = True                 # False: open and close a connection for each command
        SERIALIZER = redisext.serializer.Numeric  # instead of what the element type decides
        EXPIRE = 60                             # what expire() takes when it is given nothing; seconds
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeAlias, cast

from typing_extensions import TypeVar

from redisext import backend as backends
from redisext import command, element
from redisext.codec import RAW, Codec, Unresolved, codec_for, serializer_codec, type_name
from redisext.errors import ConfigurationError, EncodeError
from redisext.key import KeyCommands, key_bytes

if TYPE_CHECKING:
    import redis

    from redisext.command import Command, Steps
    from redisext.serializer import Serializer

__all__ = ["Model", "Page"]

C_co = TypeVar("C_co", bound=KeyCommands, default=KeyCommands, covariant=True)
R = TypeVar("R")
T = TypeVar("T")
Cursor = TypeVar("Cursor")

Page: TypeAlias = tuple[list[T], Cursor | None]
"""Some elements, and where the next ones begin (None: there are no more)."""


class Model(Generic[C_co]):
    """The base of every structure. *key* and *connection* stand in for `KEY` and `CONNECTION`.

    Raises :exc:`~redisext.errors.ConfigurationError` where there is no key, where the connection is not one, or where
    the element type cannot be found or stored.
    """

    KEY: ClassVar[str | bytes | int | None] = None
    CONNECTION: ClassVar[backends.ConnectionSource | None] = None
    CONNECTION_REUSE: ClassVar[bool] = True
    SERIALIZER: ClassVar[Serializer | None] = None
    EXPIRE: ClassVar[float | None] = None

    _positions: ClassVar[tuple[element.Position, ...]] = ()
    _made_codecs: ClassVar[tuple[Codec[object], ...]]
    _held_backend: ClassVar[backends.Backend]

    def __init__(
        self, key: str | bytes | int | None = None, connection: backends.ConnectionSource | None = None
    ) -> None:
        cls = type(self)
        if key is None:
            key = cls.KEY
        if key is None or (not key and key != 0):
            raise ConfigurationError(
                f"{cls.__name__} has no key: pass one, {cls.__name__}('key'), or set KEY on the class"
            )
        self._key = key
        codecs = cls._ready_codecs()
        if connection is None:
            self._backend = cls._own_backend()
        else:
            self._backend = _as_backend(connection, reuse=cls.CONNECTION_REUSE)
        prefix = self._backend.prefix.encode()
        self._commands = self._describe(prefix + key_bytes(key), prefix, *codecs)

    @property
    def key(self) -> str | bytes | int:
        """The key, as it was given; the backend's prefix is not part of it."""
        return self._key

    @property
    def backend(self) -> backends.Backend:
        """Where the commands are carried out."""
        return self._backend

    @property
    def commands(self) -> C_co:
        """The operations, described but not carried out: `model.backend.execute` does that."""
        return self._commands

    # Each structure knows the types of its own codecs; here they are of any.
    def _describe(self, key: bytes, prefix: bytes, *codecs: Codec[Any]) -> C_co:
        """The structure's commands on this key."""
        raise NotImplementedError

    # --- Any key

    def expire(self, seconds: float | None = None) -> bool:
        """Have the key deleted after *seconds* (default: the class's `EXPIRE`); False if there is no such key.

        PEXPIRE, O(1). Counts to the millisecond; 0 deletes at once. A later write that replaces the whole value
        (`Map.set`) takes the expiry away; one that changes it (`incr`, `push`) leaves it.

        Raises :exc:`~redisext.errors.ConfigurationError` if nothing is given and the class has no `EXPIRE`, and
        :exc:`~redisext.errors.ArgumentError` for a negative number.
        """
        return self._run(self.commands.expire(self._expiry(seconds)))

    def ttl(self) -> int:
        """How many seconds are left to the key; -1 if it does not expire, -2 if there is none. TTL, O(1)."""
        return self._run(self.commands.ttl())

    def persist(self) -> bool:
        """Take the expiry away; False if there was none. PERSIST, O(1)."""
        return self._run(self.commands.persist())

    def rename(self, newkey: str | bytes | int) -> bool:
        """Give the key another name, replacing what is there; False if there is no such key.

        A script over EXISTS and RENAME, O(1). This model stays on the old name.
        """
        return self._run(self.commands.rename(newkey))

    def exists(self) -> bool:
        """Whether there is anything under the key. EXISTS, O(1)."""
        return self._run(self.commands.exists())

    # --- The client behind

    def connect_to_master(self) -> redis.Redis:
        """redis-py's client of the primary, on this model's connections; its `pipeline()` is the driver's own."""
        return _client(self.backend).client

    def connect_to_slave(self) -> redis.Redis:
        """redis-py's client of the server that answers reads, on this model's connections."""
        return _client(self.backend).replica_client

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self.backend!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is neither copied nor pickled: it goes with its connections. "
            "Hand on its key, and make another where it is needed"
        )

    # --- For the structures

    def _run(self, what: Command[R]) -> R:
        return self._backend.execute(what)

    def _run_steps(self, steps: Steps[R]) -> R:
        return command.run(steps, self._backend.execute)

    def _pages(self, page: Callable[[Cursor | None], Command[Page[T, Cursor]]]) -> Iterator[T]:
        """All elements, a page in memory at a time."""
        elements, cursor = self._run(page(None))
        yield from elements
        while cursor is not None:
            elements, cursor = self._run(page(cursor))
            yield from elements

    def _holds(self, contains: Callable[[T], Command[bool]], value: object) -> bool:
        """Python's `in`, which takes a value of any type: what is not of the element type is not there."""
        try:
            asked = contains(cast("T", value))  # what is no T is refused by its codec
        except EncodeError:
            return False
        return self._run(asked)

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

    @classmethod
    def _own_backend(cls) -> backends.Backend:
        """The backend of the class's `CONNECTION`; the class holds it, so that it outlives the single model."""
        cls._held_backend = _as_backend(cls.CONNECTION, reuse=cls.CONNECTION_REUSE)
        return cls._held_backend


class _OpenVariable(Exception):
    """A type variable to which no type was given."""


def _as_backend(source: object, *, reuse: bool) -> backends.Backend:
    if source is None or isinstance(source, str):
        return backends.shared(source, reuse=reuse)
    source_type = type(source)
    if not isinstance(source, type):
        if isinstance(source, backends.Backend):
            return source
    elif issubclass(source, backends.Connection):
        return backends.shared(source, reuse=reuse)
    raise ConfigurationError(f"a connection is a DSN, a backend or a Connection class, not {source_type.__name__}")


def _client(backend: backends.Backend) -> backends.HasClient:
    if isinstance(backend, backends.HasClient):
        return backend
    raise ConfigurationError(f"{backend!r} has no redis-py client behind it")
