"""Values by key: :class:`HashMap` is many under one Redis key; :class:`Map`, from here too, is one value."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import Any, Final, Protocol, Self, cast, overload

from typing_extensions import TypeVar

from redisext.element import Position
from redisext.errors import EncodeError
from redisext.hashes import HashMapCommands
from redisext.map import AsyncMap, Map, MapCommands
from redisext.model import AsyncModel, Model

__all__ = ["AsyncHashMap", "AsyncMap", "HashMap", "HashMapCommands", "Map", "MapCommands"]

T = TypeVar("T", default=bytes)
K = TypeVar("K", default=bytes)
V = TypeVar("V", default=bytes)
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
V_co = TypeVar("V_co", covariant=True)


class _HasKeys(Protocol[E, V_co]):
    """What `dict.update` takes as a mapping."""

    def keys(self) -> Iterable[E]: ...
    def __getitem__(self, key: E, /) -> V_co: ...


_MISSING: Final = object()
"""No default, where even `NOTHING` can be one."""


class HashMap(Model[HashMapCommands[K, V]], MutableMapping[K, V]):
    """Values by key, as a `dict` has them. Stored as a hash: HGET, HSET.

    * as a mapping: all of :class:`collections.abc.MutableMapping`, and ``|``
    * changing: `set`, `update`, `update_value`, `incr`, `remove`, `pop`, `popitem`, `setdefault`, `clear`
    * looking: `get`, `get_many`, `all`, `contains`, `size`, `len`, `in`, iteration
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    Each change is one command or one script, so it is atomic. Keys are looked up by their bytes, so their type must be
    one whose equal values are written alike (`str`, `int`, a model of such fields).

    What `[]` and `get` give is a copy: changing it (``h["a"].append(1)``) changes nothing in Redis until it is stored
    again.

    Iteration, `keys`, `values` and `items` fetch some hundred pairs at a time, in no order. A pair that is there all
    along is given at least once; one that comes or goes meanwhile may be missing, and one may come twice while the hash
    grows.

    >>> stock = HashMap[str, int]("stock", "memory://docs")
    >>> stock["apples"] = 3
    >>> stock.incr("apples", 2), stock.get("pears"), dict(stock)
    (5, None, {'apples': 5})
    """

    _positions = (Position(identity=True, serialized=False), Position())
    _describes = HashMapCommands

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
        # A checker cannot tell that what is left is a V.
        return cast("V", _found(key, self._run(self.commands.get(key, _MISSING))))

    def contains(self, key: K) -> bool:
        """Whether there is a value for *key*. HEXISTS, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the key type.
        """
        return self._run(self.commands.contains(key))

    def __contains__(self, key: object) -> bool:
        """Whether there is a value for *key*; False for what is not of the key type. HEXISTS, O(1)."""
        return self._holds(self.commands.contains, key)

    def size(self) -> int:
        """How many keys there are. HLEN, O(1)."""
        return self._run(self.commands.size())

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator[K]:
        """The keys, some hundred in memory at a time. HSCAN, O(n) in all."""
        return (key for key, _ in self.pairs())

    def pairs(self) -> Iterator[tuple[K, V]]:
        """The pairs, some hundred in memory at a time: what `items` iterates. HSCAN, O(n) in all."""
        return self._pages(self.commands.page)

    def keys(self) -> KeysView[K]:
        """The keys, fetched while they are iterated. HSCAN, O(n) in all."""
        return KeysView(self)

    def values(self) -> ValuesView[V]:
        """The values, fetched while they are iterated. HSCAN, O(n) in all."""
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        """The pairs, fetched while they are iterated. HSCAN, O(n) in all."""
        return _Items(self)

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
        if merged := _merged(other, values):
            self._run(self.commands.update(merged.items()))

    def update_value(self, key: K, fn: Callable[[V | None], V]) -> V:
        """Replace the value of *key* by ``fn(value)``, atomically, and give the new one. *fn* gets None if it has none.

        HGET, then a script that sets the new value only if the old one is still there; if it is not, all over again. So
        *fn* may run several times, and must have no effect of its own. O(1) for each try.

        >>> best = HashMap[str, int]("best-of-all", "memory://docs")
        >>> best.update_value("ada", lambda score: max(score or 0, 7))
        7
        """
        return self._run_steps(self.commands.update_value(key, fn))

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
        return _found(key, self._run(self.commands.pop(key, default)))

    def popitem(self) -> tuple[K, V]:
        """Remove any pair and give it. A script over HRANDFIELD, HGET and HDEL, O(1).

        Raises `KeyError` if there is none.
        """
        return _taken(self.key, self._run(self.commands.popitem()))

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


class AsyncHashMap(AsyncModel[HashMapCommands[K, V]]):
    """The same as `HashMap`, under asyncio: its methods are awaited, ``async for`` iterates.

    `size` and `contains` stand for `len` and `in`, which Python cannot await; `get`, `set` and `remove` for ``[]``;
    `keys`, `values` and `items` for the views of those names.

    >>> import asyncio
    >>> async def main() -> None:
    ...     stock = AsyncHashMap[str, int]("stock", "memory://docs-async")
    ...     await stock.update(apples=3)
    ...     print(await stock.incr("apples", 2), [pair async for pair in stock.items()])
    >>> asyncio.run(main())
    5 [('apples', 5)]
    """

    _positions = (Position(identity=True, serialized=False), Position())
    _describes = HashMapCommands

    @classmethod
    def of(cls, key: type[E], value: type[F]) -> type[AsyncHashMap[E, F]]:
        """``AsyncHashMap[key, value]``, for types known only at run time."""
        made: type[AsyncHashMap[E, F]] = cls._of(key, value)
        return made

    # --- Looking

    @overload
    async def get(self, key: K, /) -> V | None: ...
    @overload
    async def get(self, key: K, /, default: V) -> V: ...
    @overload
    async def get(self, key: K, /, default: D) -> V | D: ...
    async def get(self, key: K, /, default: object = None) -> object:
        """The value of *key*; *default* if there is none. HGET, O(1).

        Raises :exc:`~redisext.errors.DecodeError` if what is stored is not of the value type.
        """
        return await self._run(self.commands.get(key, default))

    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of those *keys* that are there. HMGET, O(1) for each key, in one command."""
        asked = list(keys)
        return await self._run(self.commands.get_many(asked)) if asked else {}

    async def all(self) -> dict[K, V]:
        """Everything, at one instant. HGETALL, O(n), in one reply."""
        return await self._run(self.commands.all())

    async def contains(self, key: K) -> bool:
        """Whether there is a value for *key*. HEXISTS, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the key type.
        """
        return await self._run(self.commands.contains(key))

    async def size(self) -> int:
        """How many keys there are. HLEN, O(1)."""
        return await self._run(self.commands.size())

    def __aiter__(self) -> AsyncIterator[K]:
        """The keys, some hundred in memory at a time. HSCAN, O(n) in all."""
        return (key async for key, _ in self.pairs())

    def pairs(self) -> AsyncIterator[tuple[K, V]]:
        """The pairs, some hundred in memory at a time: what `items` iterates. HSCAN, O(n) in all."""
        return self._pages(self.commands.page)

    def keys(self) -> AsyncIterator[K]:
        """The keys, fetched while they are iterated. HSCAN, O(n) in all."""
        return aiter(self)

    def values(self) -> AsyncIterator[V]:
        """The values, fetched while they are iterated. HSCAN, O(n) in all."""
        return (value async for _, value in self.pairs())

    def items(self) -> AsyncIterator[tuple[K, V]]:
        """The pairs, fetched while they are iterated. HSCAN, O(n) in all."""
        return self.pairs()

    # --- Changing

    async def set(self, key: K, value: V) -> bool:
        """Store *value* under *key*; True if the key is new, False if it had a value. HSET, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if either is not of its type; then nothing changes.
        """
        return await self._run(self.commands.set(key, value))

    @overload
    async def update(self, other: _HasKeys[K, V], /) -> None: ...
    @overload
    async def update(self: AsyncHashMap[str, V], other: _HasKeys[str, V], /, **values: V) -> None: ...
    @overload
    async def update(self, other: Iterable[tuple[K, V]], /) -> None: ...
    @overload
    async def update(self: AsyncHashMap[str, V], other: Iterable[tuple[str, V]], /, **values: V) -> None: ...
    @overload
    async def update(self: AsyncHashMap[str, V], /, **values: V) -> None: ...
    async def update(self, other: Any = (), /, **values: Any) -> None:
        """Store all pairs of *other* and *values*, in one command: all of them or none. HSET, O(1) for each pair.

        Raises :exc:`~redisext.errors.EncodeError` if one is not of its type; then nothing changes.
        """
        if merged := _merged(other, values):
            await self._run(self.commands.update(merged.items()))

    async def update_value(self, key: K, fn: Callable[[V | None], V]) -> V:
        """Replace the value of *key* by ``fn(value)``, atomically, and give the new one. *fn* gets None if it has none.

        HGET, then a script that sets the new value only if the old one is still there; if it is not, all over again. So
        *fn* may run several times, and must have no effect of its own. O(1) for each try.
        """
        return await self._run_steps(self.commands.update_value(key, fn))

    @overload
    async def incr(self: AsyncHashMap[K, int], key: K, by: int = 1) -> int: ...
    @overload
    async def incr(self: AsyncHashMap[K, float], key: K, by: float = 1) -> float: ...
    async def incr(self, key: K, by: float = 1) -> Any:
        """Add *by* to the number under *key* and give the new one; it begins at 0. HINCRBY or HINCRBYFLOAT, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if the values are no numbers, and
        :exc:`~redisext.errors.CommandRefused` if the result does not fit, or what is stored is no number.
        """
        commands: HashMapCommands[K, Any] = self.commands
        return await self._run(commands.incr(key, by))

    @overload
    async def setdefault(self: AsyncHashMap[K, T | None], key: K, default: None = None, /) -> T | None: ...
    @overload
    async def setdefault(self, key: K, default: V, /) -> V: ...
    async def setdefault(self, key: K, default: Any = None, /) -> Any:
        """The value of *key*, which is *default* from now on if there was none. A script over HSETNX and HGET, O(1)."""
        return await self._run(self.commands.setdefault(key, default))

    # --- Removing

    async def remove(self, key: K) -> bool:
        """Remove *key*; whether it was there. HDEL, O(1)."""
        return await self._run(self.commands.remove(key))

    @overload
    async def pop(self, key: K, /) -> V: ...
    @overload
    async def pop(self, key: K, /, default: V) -> V: ...
    @overload
    async def pop(self, key: K, /, default: D) -> V | D: ...
    async def pop(self, key: K, /, default: object = _MISSING) -> object:
        """Remove *key* and give its value. A script over HGET and HDEL, O(1).

        Gives *default* if it is not there; raises `KeyError` if there is no *default* either.
        """
        return _found(key, await self._run(self.commands.pop(key, default)))

    async def popitem(self) -> tuple[K, V]:
        """Remove any pair and give it. A script over HRANDFIELD, HGET and HDEL, O(1).

        Raises `KeyError` if there is none.
        """
        return _taken(self.key, await self._run(self.commands.popitem()))

    async def clear(self) -> None:
        """Remove everything. UNLINK, O(1); the memory is freed in the background."""
        await self._run(self.commands.delete())


def _found(key: object, value: object) -> object:
    if value is _MISSING:
        raise KeyError(key)
    return value


def _taken(key: object, pair: tuple[K, V] | None) -> tuple[K, V]:
    if pair is None:
        raise KeyError(f"popitem(): {key!r} is empty")
    return pair


def _merged(other: Any, values: dict[str, Any]) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    merged.update(_fetched(other), **values)
    return merged


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
