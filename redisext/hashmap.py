"""Values by key: :class:`Map` is one value, :class:`HashMap` is many under one Redis key."""

from __future__ import annotations

import random
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, cast, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op, Reply, Script, Steps, Wait
from redisext.element import Position
from redisext.errors import DecodeError, EncodeError
from redisext.key import ElementCommands, KeyCommands, expiration_ms, value_or
from redisext.model import Model, Page
from redisext.number import increment
from redisext.reply import array, bulk, done, flag, integer, optional_bulk, pairs

if TYPE_CHECKING:
    from redisext.codec import Codec

__all__ = ["HashMap", "HashMapCommands", "Map", "MapCommands"]

T = TypeVar("T", default=bytes)
K = TypeVar("K", default=bytes)
V = TypeVar("V", default=bytes)
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
V_co = TypeVar("V_co", covariant=True)


# --- One value

_GET: Final = Op("GET", "string", reads=True)
_GET_NEWEST: Final = Op("GET", "string", repeatable=True)
_SET: Final = Op("SET", repeatable=True)
_INCRBY: Final = Op("INCRBY", "string")
_INCRBYFLOAT: Final = Op("INCRBYFLOAT", "string")
_SWAP: Final = Op(
    "compare and set",
    "string",
    # ARGV: the new value, then the old one, if there was one. The key's expiry stays.
    script=Script(
        """
        if redis.call("GET", KEYS[1]) ~= (ARGV[2] or false) then return 0 end
        redis.call("SET", KEYS[1], ARGV[1], "KEEPTTL")
        return 1
        """
    ),
)

_LONGEST_BACKOFF: Final = 0.05


class MapCommands(ElementCommands[T]):
    """The commands of a :class:`Map`."""

    @overload
    def get(self) -> Command[T | None]: ...
    @overload
    def get(self, default: D) -> Command[T | D]: ...
    def get(self, default: object = None) -> Command[object]:
        """GET, O(1)."""
        return Command(_GET, (self.key,), (), self._or(default))

    def set(self, value: T, *, expire: float | None = None) -> Command[bool]:
        """SET, with PX where there is an expiry, O(1)."""
        expiry = () if expire is None else ("PX", expiration_ms("expire", expire))
        return Command(_SET, (self.key,), (self._encode(value), *expiry), flag)

    @overload
    def incr(self: MapCommands[int], by: int = 1) -> Command[int]: ...
    @overload
    def incr(self: MapCommands[float], by: float = 1) -> Command[float]: ...
    def incr(self, by: float = 1) -> Command[Any]:
        """INCRBY or INCRBYFLOAT, O(1)."""
        return increment(_INCRBY, _INCRBYFLOAT, self._codec, self.key, (), by)

    @overload
    def decr(self: MapCommands[int], by: int = 1) -> Command[int]: ...
    @overload
    def decr(self: MapCommands[float], by: float = 1) -> Command[float]: ...
    def decr(self, by: float = 1) -> Command[Any]:
        """INCRBY or INCRBYFLOAT, O(1)."""
        return increment(_INCRBY, _INCRBYFLOAT, self._codec, self.key, (), by, sign=-1)

    def update(self, fn: Callable[[T | None], T]) -> Steps[T]:
        """GET, then a script that sets the new value if the old one is still there; repeated until it was."""
        longest = 0.0
        while True:
            old, held = yield from Command(_GET_NEWEST, (self.key,), (), self._raw_and_value)
            value = fn(held)
            swap = (self._encode(value),) if old is None else (self._encode(value), old)
            if (yield from Command(_SWAP, (self.key,), swap, flag)):
                return value
            # Somebody else was faster. Of many who try, a random wait lets one through at a time.
            longest = min(_LONGEST_BACKOFF, longest * 2 + 0.001)
            yield from Wait(random.uniform(0, longest))  # noqa: S311  # it spreads tries, and hides nothing

    def _raw_and_value(self, reply: Reply) -> tuple[bytes | None, T | None]:
        raw = optional_bulk(reply)
        return raw, None if raw is None else self._codec.decode(raw)


class Map(Model[MapCommands[T]]):
    """One value under one key. Stored as a string: GET, SET.

    * changing: `set`, `update`, `incr`, `decr`, `remove`
    * looking: `get`, `exists`
    * the key: `expire`, `ttl`, `persist`, `rename`

    >>> name = Map[str]("name", "memory://docs")
    >>> name.get(), name.set("Ada"), name.get()
    (None, True, 'Ada')
    """

    _positions = (Position(),)

    def _describe(self, key: bytes, prefix: bytes, *codecs: Codec[Any]) -> MapCommands[T]:
        return MapCommands(key, prefix, *codecs)

    @classmethod
    def of(cls, element: type[E]) -> type[Map[E]]:
        """``Map[element]``, for a type known only at run time."""
        made: type[Map[E]] = cls._of(element)
        return made

    @overload
    def get(self) -> T | None: ...
    @overload
    def get(self, default: D) -> T | D: ...
    def get(self, default: object = None) -> object:
        """The value; *default* if there is none. GET, O(1).

        Raises :exc:`~redisext.errors.DecodeError` if what is stored is not of the element type.
        """
        return self._run(self.commands.get(default))

    def set(self, value: T, *, expire: float | None = None) -> bool:
        """Store *value*, to be deleted after *expire* seconds (None: never); always True. SET, O(1).

        Replaces whatever is under the key, another structure too, and its expiry.

        Raises :exc:`~redisext.errors.EncodeError` if *value* is not of the element type, and
        :exc:`~redisext.errors.ArgumentError` for an expiry that is not above 0; then the old value stays.
        """
        return self._run(self.commands.set(value, expire=expire))

    def put(self, value: T) -> bool:
        """The same as `set`: the name that the examples of redisext 2.0.2 used."""
        return self.set(value)

    def update(self, fn: Callable[[T | None], T]) -> T:
        """Replace the value by ``fn(value)``, atomically, and give the new one. *fn* gets None if there is none.

        GET, then a script that sets the new value only if the old one is still there; if it is not, all over again. So
        *fn* may run several times, and must have no effect of its own. The expiry stays. O(1) for each try.

        >>> best = Map[int]("best", "memory://docs")
        >>> best.update(lambda score: max(score or 0, 7))
        7
        """
        return self._run_steps(self.commands.update(fn))

    @overload
    def incr(self: Map[int], by: int = 1) -> int: ...
    @overload
    def incr(self: Map[float], by: float = 1) -> float: ...
    def incr(self, by: float = 1) -> Any:
        """Add *by* to a number and give the new one; it begins at 0. INCRBY or INCRBYFLOAT, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if the elements are no numbers, and
        :exc:`~redisext.errors.CommandRefused` if the result does not fit, or what is stored is no number.
        """
        commands: MapCommands[Any] = self.commands
        return self._run(commands.incr(by))

    @overload
    def decr(self: Map[int], by: int = 1) -> int: ...
    @overload
    def decr(self: Map[float], by: float = 1) -> float: ...
    def decr(self, by: float = 1) -> Any:
        """Subtract *by* from a number and give the new one. As `incr`."""
        commands: MapCommands[Any] = self.commands
        return self._run(commands.decr(by))

    def remove(self) -> bool:
        """Remove the value; whether there was one. UNLINK, O(1)."""
        return self._run(self.commands.delete())


# --- Many values

_HGET: Final = Op("HGET", "hash", reads=True)
_HMGET: Final = Op("HMGET", "hash", reads=True)
_HGETALL: Final = Op("HGETALL", "hash", reads=True)
_HSCAN: Final = Op("HSCAN", "hash", reads=True)
_HEXISTS: Final = Op("HEXISTS", "hash", reads=True)
_HLEN: Final = Op("HLEN", "hash", reads=True)
_HSET: Final = Op("HSET", "hash")
_HSET_UNASKED: Final = Op("HSET", "hash", repeatable=True)
_HDEL: Final = Op("HDEL", "hash")
_HINCRBY: Final = Op("HINCRBY", "hash")
_HINCRBYFLOAT: Final = Op("HINCRBYFLOAT", "hash")
_TAKE: Final = Op(
    "get and remove a field",
    "hash",
    script=Script(
        """
        local value = redis.call("HGET", KEYS[1], ARGV[1])
        if value then redis.call("HDEL", KEYS[1], ARGV[1]) end
        return value
        """
    ),
)
_TAKE_ANY: Final = Op(
    "get and remove any field",
    "hash",
    script=Script(
        """
        if redis.call("EXISTS", KEYS[1]) == 0 then return {} end
        local field = redis.call("HRANDFIELD", KEYS[1], 1)[1]
        local value = redis.call("HGET", KEYS[1], field)
        redis.call("HDEL", KEYS[1], field)
        return {field, value}
        """
    ),
)
_SET_DEFAULT: Final = Op(
    "set a field unless it is there",
    "hash",
    repeatable=True,
    script=Script(
        """
        redis.call("HSETNX", KEYS[1], ARGV[1], ARGV[2])
        return redis.call("HGET", KEYS[1], ARGV[1])
        """
    ),
)

_PAGE: Final = 500


class HashMapCommands(KeyCommands, Generic[K, V]):
    """The commands of a :class:`HashMap`."""

    def __init__(self, key: bytes, prefix: bytes, keys: Codec[K], values: Codec[V]) -> None:
        super().__init__(key, prefix)
        self._keys = keys
        self._values = values

    @overload
    def get(self, key: K) -> Command[V | None]: ...
    @overload
    def get(self, key: K, default: D) -> Command[V | D]: ...
    def get(self, key: K, default: object = None) -> Command[object]:
        """HGET, O(1)."""
        return Command(_HGET, (self.key,), (self._field(key),), self._or(default))

    def set(self, key: K, value: V) -> Command[bool]:
        """HSET, O(1)."""
        return Command(_HSET, (self.key,), (self._field(key), self._value(value)), flag)

    def update(self, pairs: Iterable[tuple[K, V]]) -> Command[None]:
        """HSET, O(1) for each pair; there must be one at least."""
        words = tuple(word for key, value in pairs for word in (self._field(key), self._value(value)))
        return Command(_HSET_UNASKED, (self.key,), words, done)

    def remove(self, key: K) -> Command[bool]:
        """HDEL, O(1)."""
        return Command(_HDEL, (self.key,), (self._field(key),), flag)

    @overload
    def pop(self, key: K) -> Command[V | None]: ...
    @overload
    def pop(self, key: K, default: D) -> Command[V | D]: ...
    def pop(self, key: K, default: object = None) -> Command[object]:
        """A script over HGET and HDEL, O(1)."""
        return Command(_TAKE, (self.key,), (self._field(key),), self._or(default))

    def popitem(self) -> Command[tuple[K, V] | None]:
        """A script over HRANDFIELD, HGET and HDEL, O(1)."""

        def parse(reply: Reply) -> tuple[K, V] | None:
            if not reply:
                return None
            field, value = map(bulk, array(reply))
            try:
                return self._keys.decode(field), self._values.decode(value)
            except DecodeError as error:
                error.taken = (field, value)
                raise

        return Command(_TAKE_ANY, (self.key,), (), parse)

    def setdefault(self, key: K, default: V) -> Command[V]:
        """A script over HSETNX and HGET, O(1)."""
        words = (self._field(key), self._value(default))
        return Command(_SET_DEFAULT, (self.key,), words, lambda reply: self._values.decode(bulk(reply)))

    @overload
    def incr(self: HashMapCommands[K, int], key: K, by: int = 1) -> Command[int]: ...
    @overload
    def incr(self: HashMapCommands[K, float], key: K, by: float = 1) -> Command[float]: ...
    def incr(self, key: K, by: float = 1) -> Command[Any]:
        """HINCRBY or HINCRBYFLOAT, O(1)."""
        return increment(_HINCRBY, _HINCRBYFLOAT, self._values, self.key, (self._field(key),), by)

    def contains(self, key: K) -> Command[bool]:
        """HEXISTS, O(1)."""
        return Command(_HEXISTS, (self.key,), (self._field(key),), flag)

    def get_many(self, keys: Iterable[K]) -> Command[dict[K, V]]:
        """HMGET, O(1) for each key; there must be one at least."""
        asked = list(keys)

        def parse(reply: Reply) -> dict[K, V]:
            found = zip(asked, array(reply), strict=True)
            return {key: self._values.decode(bulk(raw)) for key, raw in found if raw is not None}

        return Command(_HMGET, (self.key,), tuple(map(self._field, asked)), parse)

    def all(self) -> Command[dict[K, V]]:
        """HGETALL, O(n)."""
        return Command(_HGETALL, (self.key,), (), lambda reply: dict(self._decode_pairs(reply)))

    def size(self) -> Command[int]:
        """HLEN, O(1)."""
        return Command(_HLEN, (self.key,), (), integer)

    def page(self, cursor: int | None = None) -> Command[Page[tuple[K, V], int]]:
        """HSCAN, O(1) for each call."""

        def parse(reply: Reply) -> Page[tuple[K, V], int]:
            following, found = array(reply)
            return self._decode_pairs(found), int(bulk(following)) or None

        return Command(_HSCAN, (self.key,), (cursor or 0, "COUNT", _PAGE), parse)

    def _field(self, key: K) -> bytes:
        return self._encoded(self._keys, key)

    def _value(self, value: V) -> bytes:
        return self._encoded(self._values, value)

    def _or(self, default: D) -> Callable[[Reply], V | D]:
        return value_or(self._values, default)

    def _decode_pairs(self, reply: Reply) -> list[tuple[K, V]]:
        field, value = self._keys.decode, self._values.decode
        return [(field(bulk(key)), value(bulk(item))) for key, item in pairs(reply)]


class _HasKeys(Protocol[E, V_co]):
    """What `dict.update` takes as a mapping."""

    def keys(self) -> Iterable[E]: ...
    def __getitem__(self, key: E, /) -> V_co: ...


_MISSING: Final = object()
"""No default, where even `NOTHING` can be one."""


class HashMap(Model[HashMapCommands[K, V]], MutableMapping[K, V]):
    """Values by key, as a `dict` has them. Stored as a hash: HGET, HSET.

    * as a mapping: all of :class:`collections.abc.MutableMapping`, and ``|``
    * changing: `set`, `update`, `incr`, `remove`, `pop`, `popitem`, `setdefault`, `clear`
    * looking: `get`, `get_many`, `all`, `len`, `in`, iteration
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    Each change is one command or one script, so it is atomic. Keys are looked up by their bytes, so their type must be
    one whose equal values are written alike (`str`, `int`, a model of such fields).

    What `[]` and `get` give is a copy: changing it (``h["a"].append(1)``) changes nothing in Redis until it is stored
    again.

    Iteration, `items` and `values` fetch some hundred pairs at a time, in no order. A pair that is there all along is
    given at least once; one that comes or goes meanwhile may be missing, and one may come twice while the hash grows.

    >>> stock = HashMap[str, int]("stock", "memory://docs")
    >>> stock["apples"] = 3
    >>> stock.incr("apples", 2), stock.get("pears"), dict(stock)
    (5, None, {'apples': 5})
    """

    _positions = (Position(identity=True, serialized=False), Position())

    def _describe(self, key: bytes, prefix: bytes, *codecs: Codec[Any]) -> HashMapCommands[K, V]:
        return HashMapCommands(key, prefix, *codecs)

    @classmethod
    def of(cls, key: type[E], value: type[F]) -> type[HashMap[E, F]]:
        """``HashMap[key, value]``, for types known only at run time."""
        made: type[HashMap[E, F]] = cls._of(key, value)
        return made

    # --- Looking

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V) -> V: ...
    @overload
    def get(self, key: K, /, default: D) -> V | D: ...
    def get(self, key: K, /, default: object = None) -> object:
        """The value of *key*; *default* if there is none. HGET, O(1).

        Raises :exc:`~redisext.errors.DecodeError` if what is stored is not of the value type.
        """
        return self._run(self.commands.get(key, default))

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of those *keys* that are there. HMGET, O(1) for each key, in one command."""
        asked = list(keys)
        return self._run(self.commands.get_many(asked)) if asked else {}

    def all(self) -> dict[K, V]:
        """Everything, at one instant. HGETALL, O(n), in one reply."""
        return self._run(self.commands.all())

    def __getitem__(self, key: K) -> V:
        """The value of *key*. HGET, O(1). Raises `KeyError` if there is none."""
        value = self._run(self.commands.get(key, _MISSING))
        if value is _MISSING:
            raise KeyError(key)
        # A checker cannot tell that what is left is a V.
        return cast("V", value)

    def __contains__(self, key: object) -> bool:
        """Whether there is a value for *key*; False for what is not of the key type. HEXISTS, O(1)."""
        return self._holds(self.commands.contains, key)

    def __len__(self) -> int:
        """How many keys there are. HLEN, O(1)."""
        return self._run(self.commands.size())

    def __iter__(self) -> Iterator[K]:
        """The keys, some hundred in memory at a time. HSCAN, O(n) in all."""
        return (key for key, _ in self.pairs())

    def pairs(self) -> Iterator[tuple[K, V]]:
        """The pairs, some hundred in memory at a time: what `items` iterates. HSCAN, O(n) in all."""
        return self._pages(self.commands.page)

    def items(self) -> ItemsView[K, V]:
        """A view of the pairs; iterating it is HSCAN, O(n) in all."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """A view of the values; iterating it is HSCAN, O(n) in all."""
        return _Values(self)

    # --- Changing

    def set(self, key: K, value: V) -> bool:
        """Store *value* under *key*; True if the key is new, False if it had a value. HSET, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if either is not of its type; then nothing changes.
        """
        return self._run(self.commands.set(key, value))

    def __setitem__(self, key: K, value: V) -> None:
        """Store *value* under *key*. HSET, O(1)."""
        self._run(self.commands.update([(key, value)]))

    @overload
    def update(self, other: _HasKeys[K, V], /) -> None: ...
    @overload
    def update(self: HashMap[str, V], other: _HasKeys[str, V], /, **values: V) -> None: ...
    @overload
    def update(self, other: Iterable[tuple[K, V]], /) -> None: ...
    @overload
    def update(self: HashMap[str, V], other: Iterable[tuple[str, V]], /, **values: V) -> None: ...
    @overload
    def update(self: HashMap[str, V], /, **values: V) -> None: ...
    # The base's own overloads; that here only a HashMap with keys of type str takes keywords, pyright does not follow.
    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: Any = (), /, **values: Any
    ) -> None:
        """Store all pairs of *other* and *values*, in one command: all of them or none. HSET, O(1) for each pair.

        Raises :exc:`~redisext.errors.EncodeError` if one is not of its type; then nothing changes.
        """
        merged: dict[Any, Any] = {}
        merged.update(_fetched(other), **values)
        if merged:
            self._run(self.commands.update(merged.items()))

    @overload
    def incr(self: HashMap[K, int], key: K, by: int = 1) -> int: ...
    @overload
    def incr(self: HashMap[K, float], key: K, by: float = 1) -> float: ...
    def incr(self, key: K, by: float = 1) -> Any:
        """Add *by* to the number under *key* and give the new one; it begins at 0. HINCRBY or HINCRBYFLOAT, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if the values are no numbers, and
        :exc:`~redisext.errors.CommandRefused` if the result does not fit, or what is stored is no number.
        """
        commands: HashMapCommands[K, Any] = self.commands
        return self._run(commands.incr(key, by))

    @overload
    def setdefault(self: HashMap[K, T | None], key: K, default: None = None, /) -> T | None: ...
    @overload
    def setdefault(self, key: K, default: V, /) -> V: ...
    def setdefault(self, key: K, default: Any = None, /) -> Any:
        """The value of *key*, which is *default* from now on if there was none. A script over HSETNX and HGET, O(1)."""
        return self._run(self.commands.setdefault(key, default))

    # --- Removing

    def remove(self, key: K) -> bool:
        """Remove *key*; whether it was there. HDEL, O(1)."""
        return self._run(self.commands.remove(key))

    def __delitem__(self, key: K) -> None:
        """Remove *key*. HDEL, O(1). Raises `KeyError` if it is not there."""
        if not self.remove(key):
            raise KeyError(key)

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, /, default: V) -> V: ...
    @overload
    def pop(self, key: K, /, default: D) -> V | D: ...
    def pop(self, key: K, /, default: object = _MISSING) -> object:
        """Remove *key* and give its value. A script over HGET and HDEL, O(1).

        Gives *default* if it is not there; raises `KeyError` if there is no *default* either.
        """
        value = self._run(self.commands.pop(key, default))
        if value is _MISSING:
            raise KeyError(key)
        return value

    def popitem(self) -> tuple[K, V]:
        """Remove any pair and give it. A script over HRANDFIELD, HGET and HDEL, O(1).

        Raises `KeyError` if there is none.
        """
        taken = self._run(self.commands.popitem())
        if taken is None:
            raise KeyError(f"popitem(): {self.key!r} is empty")
        return taken

    def clear(self) -> None:
        """Remove everything. UNLINK, O(1); the memory is freed in the background."""
        self._run(self.commands.delete())

    # --- Merging, as dict does

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        """A `dict` of both, where *other* wins. HGETALL, O(n)."""
        return {**self.all(), **_fetched(other)} if _is_mapping(other) else NotImplemented

    def __ror__(self, other: Mapping[K, V]) -> dict[K, V]:
        """A `dict` of both, where this one wins. HGETALL, O(n)."""
        return {**_fetched(other), **self.all()} if _is_mapping(other) else NotImplemented

    def __ior__(self, other: _HasKeys[K, V] | Iterable[tuple[K, V]]) -> Self:
        """The same as `update`."""
        self.update(other)
        return self


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _fetched(other: Mapping[K, V]) -> Mapping[K, V]:
    """All of *other* in one command, where asking it for one key after the other would take a command for each."""
    return other.all() if isinstance(other, HashMap) else other


class _Items(ItemsView[K, V]):
    _mapping: HashMap[K, V]

    def __contains__(self, item: object) -> bool:
        if not (isinstance(item, tuple) and len(cast("tuple[object, ...]", item)) == 2):
            return False
        # What is no K is refused by its codec.
        key, value = cast("tuple[K, object]", item)
        try:
            held = self._mapping.get(key, _MISSING)
        except EncodeError:
            return False
        return held is value or held == value

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.pairs()


class _Values(ValuesView[V]):
    _mapping: HashMap[Any, V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.pairs())

    def __contains__(self, value: object) -> bool:
        return any(value is other or value == other for other in self)
