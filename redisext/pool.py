"""Sets: :class:`Pool`, in no order, and, from here too, :class:`SortedSet`, in the order of scores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from typing import Final, Self, cast, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op, Reply, Script
from redisext.element import Position
from redisext.errors import EncodeError
from redisext.key import ElementCommands
from redisext.model import AsyncModel, Model, Page
from redisext.reply import array, bulk, done, flag, integer
from redisext.sortedset import AsyncSortedSet, SortedSet, SortedSetCommands

__all__ = ["AsyncPool", "AsyncSortedSet", "Pool", "PoolCommands", "SortedSet", "SortedSetCommands"]

T = TypeVar("T", default=bytes)
D = TypeVar("D")
E = TypeVar("E")

_SADD: Final = Op("SADD", "set")
_SREM: Final = Op("SREM", "set")
_SPOP: Final = Op("SPOP", "set")
_SMEMBERS: Final = Op("SMEMBERS", "set", reads=True)
_SISMEMBER: Final = Op("SISMEMBER", "set", reads=True)
_SCARD: Final = Op("SCARD", "set", reads=True)
_SSCAN: Final = Op("SSCAN", "set", reads=True, scans=True)
_SRANDMEMBER: Final = Op("SRANDMEMBER", "set", reads=True)
_KEEP: Final = Op(
    "keep only these members",
    "set",
    script=Script(
        """
        local keep = {}
        for _, member in ipairs(ARGV) do keep[member] = true end
        for _, member in ipairs(redis.call("SMEMBERS", KEYS[1])) do
          if not keep[member] then redis.call("SREM", KEYS[1], member) end
        end
        """
    ),
)
_TOGGLE: Final = Op(
    "add those that are missing, remove those that are there",
    "set",
    script=Script(
        """
        for _, member in ipairs(ARGV) do
          if redis.call("SREM", KEYS[1], member) == 0 then redis.call("SADD", KEYS[1], member) end
        end
        """
    ),
)

_PAGE: Final = 500


class PoolCommands(ElementCommands[T]):
    """The commands of a :class:`Pool`."""

    def push(self, item: T) -> Command[bool]:
        """SADD, O(1)."""
        return self._command(_SADD, (self._encode(item),), flag)

    def push_all(self, items: Iterable[T]) -> Command[None]:
        """SADD, O(1) for each item; there must be one at least."""
        return self._command(_SADD, self._encoded_all(self._codec, [*items]), done)

    def remove(self, item: T) -> Command[bool]:
        """SREM, O(1)."""
        return self._command(_SREM, (self._encode(item),), flag)

    def remove_all(self, items: Iterable[object]) -> Command[None]:
        """SREM, O(1) for each item; there must be one member at least among them."""
        return self._command(_SREM, self._possible(items), done)

    def keep(self, items: Iterable[object]) -> Command[None]:
        """A script over SMEMBERS and SREM, O(n)."""
        return self._command(_KEEP, self._possible(items), done)

    def toggle(self, items: Iterable[T]) -> Command[None]:
        """A script over SREM and SADD, O(1) for each item."""
        return self._command(_TOGGLE, tuple(dict.fromkeys(self._encoded_all(self._codec, [*items]))), done)

    @overload
    def pop(self) -> Command[T | None]: ...
    @overload
    def pop(self, default: D) -> Command[T | D]: ...
    def pop(self, default: object = None) -> Command[object]:
        """SPOP, O(1)."""
        if default is None:
            return self._plain(_SPOP, self._or_none)
        return self._command(_SPOP, (), self._or(default))

    @overload
    def peek(self) -> Command[T | None]: ...
    @overload
    def peek(self, default: D) -> Command[T | D]: ...
    def peek(self, default: object = None) -> Command[object]:
        """SRANDMEMBER, O(1)."""
        return self._command(_SRANDMEMBER, (), self._or(default))

    def members(self) -> Command[list[T]]:
        """SMEMBERS, O(n)."""
        return self._command(_SMEMBERS, (), self._decode_all)

    def contains(self, item: T) -> Command[bool]:
        """SISMEMBER, O(1)."""
        return self._command(_SISMEMBER, (self._encode(item),), flag)

    def size(self) -> Command[int]:
        """SCARD, O(1)."""
        return self._command(_SCARD, (), integer)

    def page(self, cursor: int | None = None) -> Command[Page[T, int]]:
        """SSCAN, O(1) for each call."""

        def parse(reply: Reply) -> Page[T, int]:
            following, found = array(reply)
            return self._decode_all(found), int(bulk(following)) or None

        return self._command(_SSCAN, (cursor or 0, "COUNT", _PAGE), parse)

    def _possible(self, items: Iterable[object]) -> tuple[bytes, ...]:
        """Those of *items* that can be members at all."""
        encoded: list[bytes] = []
        for item in items:
            try:
                encoded.append(self._codec.encode(cast("T", item)))  # what is no T is refused by its codec
            except EncodeError:
                continue
        return tuple(encoded)


class Pool(Model[PoolCommands[T]], MutableSet[T]):
    """A set of elements, each once, in no order. Stored as a set: SADD, SPOP.

    * as a set: all of :class:`collections.abc.MutableSet`; operators that make a new set give a plain `set`
    * adding: `push`, `add`, `update` or ``|=``
    * taking: `pop`, `remove`, `discard`, `clear`, `difference_update` or ``-=``, `intersection_update` or ``&=``,
      `symmetric_difference_update` or ``^=``
    * looking: `members`, `contains`, `peek`, `size`, `len`, `in`, `isdisjoint`, iteration
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    Elements are looked up by their bytes, so their type must be one whose equal values are written alike.

    Two things differ from a `set`: `pop` of an empty pool gives None, and iteration, which fetches some hundred members
    at a time, may give one twice while others add to it.

    >>> tokens = Pool[str]("tokens", "memory://docs")
    >>> tokens.push("t1"), tokens.push("t1")
    (True, False)
    >>> "t1" in tokens, tokens.pop(), tokens.pop()
    (True, 't1', None)
    """

    _positions = (Position(identity=True),)
    _describes = PoolCommands

    @classmethod
    def of(cls, element: type[E]) -> type[Pool[E]]:
        """``Pool[element]``, for a type known only at run time."""
        made: type[Pool[E]] = cls._of(element)
        return made

    # --- Adding

    def push(self, item: T) -> bool:
        """Add *item*; False if it was there. SADD, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return self._run(self.commands.push(item))

    def add(self, value: T) -> None:
        """Add *value*; nothing happens if it was there. SADD, O(1)."""
        self._run(self.commands.push_all([value]))

    def update(self, items: Iterable[T]) -> None:
        """Add all *items*, in one command. SADD, O(1) for each."""
        command = self.commands.push_all(items)
        if command.args:
            self._run(command)

    def __ior__(self, it: AbstractSet[T]) -> Self:  # type: ignore[override,misc]  # as typeshed has it for MutableSet
        """The same as `update`."""
        self.update(it)
        return self

    # --- Taking

    # As in redisext 2.0.2, an empty pool is no error.
    @overload  # type: ignore[override]
    def pop(self) -> T | None: ...
    @overload
    def pop(self, default: D) -> T | D: ...
    def pop(self, default: object = None) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take any element; *default* if there is none. SPOP, O(1).

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return self._run(self.commands.pop(default))

    def discard(self, value: T) -> None:
        """Remove *value*, if it is there. SREM, O(1)."""
        self._run(self.commands.remove(value))

    def remove(self, value: T) -> None:
        """Remove *value*. SREM, O(1). Raises `KeyError` if it is not there."""
        if not self._run(self.commands.remove(value)):
            raise KeyError(value)

    def clear(self) -> None:
        """Remove all elements. UNLINK, O(1); the memory is freed in the background."""
        self._run(self.commands.delete())

    def difference_update(self, items: Iterable[object]) -> None:
        """Remove all *items* that are there, in one command. SREM, O(1) for each."""
        command = self.commands.remove_all(items)
        if command.args:
            self._run(command)

    def intersection_update(self, items: Iterable[object]) -> None:
        """Remove all but *items*, in one script. O(n) for n members."""
        self._run(self.commands.keep(items))

    def symmetric_difference_update(self, items: Iterable[T]) -> None:
        """Remove those *items* that are there, and add those that are not, in one script. O(1) for each."""
        self._run(self.commands.toggle(items))

    def __isub__(self, it: AbstractSet[object]) -> Self:
        """The same as `difference_update`."""
        self.difference_update(it)
        return self

    def __iand__(self, it: AbstractSet[object]) -> Self:
        """The same as `intersection_update`."""
        self.intersection_update(it)
        return self

    def __ixor__(self, it: AbstractSet[T]) -> Self:  # type: ignore[override,misc]  # as typeshed has it for MutableSet
        """The same as `symmetric_difference_update`."""
        self.symmetric_difference_update(it)
        return self

    # --- Looking

    def members(self) -> list[T]:
        """All elements, in no order. SMEMBERS, O(n), in one reply; to go through many, iterate instead."""
        return self._run(self.commands.members())

    def contains(self, item: T) -> bool:
        """Whether *item* is there. SISMEMBER, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return self._run(self.commands.contains(item))

    @overload
    def peek(self) -> T | None: ...
    @overload
    def peek(self, default: D) -> T | D: ...
    def peek(self, default: object = None) -> object:
        """Any element, left where it is; *default* if there is none. SRANDMEMBER, O(1)."""
        return self._run(self.commands.peek(default))

    def __contains__(self, value: object) -> bool:
        """Whether *value* is there; False for what is not of the element type. SISMEMBER, O(1)."""
        return self._holds(self.commands.contains, value)

    def size(self) -> int:
        """How many elements there are. SCARD, O(1)."""
        return self._run(self.commands.size())

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator[T]:
        """The elements, some hundred in memory at a time. SSCAN, O(n) in all."""
        return self._pages(self.commands.page)

    # --- As a set. Each of these compares or combines what one SMEMBERS gives, O(n); asking for each element would
    # be a command for each.

    def __le__(self, other: AbstractSet[object]) -> bool:
        return _local(self) <= _local(other) if _is_set(other) else NotImplemented

    def __lt__(self, other: AbstractSet[object]) -> bool:
        return _local(self) < _local(other) if _is_set(other) else NotImplemented

    def __ge__(self, other: AbstractSet[object]) -> bool:
        return _local(self) >= _local(other) if _is_set(other) else NotImplemented

    def __gt__(self, other: AbstractSet[object]) -> bool:
        return _local(self) > _local(other) if _is_set(other) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return _local(self) == _local(cast("AbstractSet[object]", other))

    __hash__ = None  # type: ignore[assignment]  # as every mutable set

    def isdisjoint(self, other: Iterable[object]) -> bool:
        """Whether no element of *other* is there. SMEMBERS, O(n)."""
        return _local(self).isdisjoint(other)

    def __and__(self, other: AbstractSet[object]) -> set[T]:
        return _local(self) & _local(other) if _is_set(other) else NotImplemented

    def __or__(self, other: AbstractSet[E]) -> set[T | E]:
        return _local(self) | _local(other) if _is_set(other) else NotImplemented

    def __sub__(self, other: AbstractSet[object]) -> set[T]:
        return _local(self) - _local(other) if _is_set(other) else NotImplemented

    def __xor__(self, other: AbstractSet[E]) -> set[T | E]:
        return _local(self) ^ _local(other) if _is_set(other) else NotImplemented

    def __rand__(self, other: AbstractSet[object]) -> set[T]:
        return self & other if _is_set(other) else NotImplemented

    # A set of another kind on the left has its own idea of what comes out; it is not asked.
    def __ror__(self, other: AbstractSet[E]) -> set[T | E]:  # type: ignore[misc]
        return _local(other) | _local(self) if _is_set(other) else NotImplemented

    def __rsub__(self, other: AbstractSet[E]) -> set[E]:  # type: ignore[misc]
        return _local(other) - _local(self) if _is_set(other) else NotImplemented

    def __rxor__(self, other: AbstractSet[E]) -> set[T | E]:  # type: ignore[misc]
        return _local(other) ^ _local(self) if _is_set(other) else NotImplemented


class AsyncPool(AsyncModel[PoolCommands[T]]):
    """The same as `Pool`, under asyncio: its methods are awaited, ``async for`` iterates.

    `size` and `contains` stand for `len` and `in`, which Python cannot await; `update`, `difference_update` and so on
    for the operators. For those that make a new set, there is ``set(await pool.members())``.

    >>> import asyncio
    >>> async def main() -> None:
    ...     tokens = AsyncPool[str]("tokens", "memory://docs-async")
    ...     print(await tokens.push("t1"), await tokens.push("t1"), await tokens.contains("t1"))
    >>> asyncio.run(main())
    True False True
    """

    _positions = (Position(identity=True),)
    _describes = PoolCommands

    @classmethod
    def of(cls, element: type[E]) -> type[AsyncPool[E]]:
        """``AsyncPool[element]``, for a type known only at run time."""
        made: type[AsyncPool[E]] = cls._of(element)
        return made

    # --- Adding

    async def push(self, item: T) -> bool:
        """Add *item*; False if it was there. SADD, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return await self._run(self.commands.push(item))

    async def add(self, value: T) -> None:
        """Add *value*; nothing happens if it was there. SADD, O(1)."""
        await self._run(self.commands.push_all([value]))

    async def update(self, items: Iterable[T]) -> None:
        """Add all *items*, in one command. SADD, O(1) for each."""
        command = self.commands.push_all(items)
        if command.args:
            await self._run(command)

    # --- Taking

    # As in redisext 2.0.2, an empty pool is no error.
    @overload
    async def pop(self) -> T | None: ...
    @overload
    async def pop(self, default: D) -> T | D: ...
    async def pop(self, default: object = None) -> object:
        """Take any element; *default* if there is none. SPOP, O(1).

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return await self._run(self.commands.pop(default))

    async def discard(self, value: T) -> None:
        """Remove *value*, if it is there. SREM, O(1)."""
        await self._run(self.commands.remove(value))

    async def remove(self, value: T) -> None:
        """Remove *value*. SREM, O(1). Raises `KeyError` if it is not there."""
        if not await self._run(self.commands.remove(value)):
            raise KeyError(value)

    async def clear(self) -> None:
        """Remove all elements. UNLINK, O(1); the memory is freed in the background."""
        await self._run(self.commands.delete())

    async def difference_update(self, items: Iterable[object]) -> None:
        """Remove all *items* that are there, in one command. SREM, O(1) for each."""
        command = self.commands.remove_all(items)
        if command.args:
            await self._run(command)

    async def intersection_update(self, items: Iterable[object]) -> None:
        """Remove all but *items*, in one script. O(n) for n members."""
        await self._run(self.commands.keep(items))

    async def symmetric_difference_update(self, items: Iterable[T]) -> None:
        """Remove those *items* that are there, and add those that are not, in one script. O(1) for each."""
        await self._run(self.commands.toggle(items))

    # --- Looking

    async def members(self) -> list[T]:
        """All elements, in no order. SMEMBERS, O(n), in one reply; to go through many, iterate instead."""
        return await self._run(self.commands.members())

    async def contains(self, item: T) -> bool:
        """Whether *item* is there. SISMEMBER, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return await self._run(self.commands.contains(item))

    @overload
    async def peek(self) -> T | None: ...
    @overload
    async def peek(self, default: D) -> T | D: ...
    async def peek(self, default: object = None) -> object:
        """Any element, left where it is; *default* if there is none. SRANDMEMBER, O(1)."""
        return await self._run(self.commands.peek(default))

    async def size(self) -> int:
        """How many elements there are. SCARD, O(1)."""
        return await self._run(self.commands.size())

    def __aiter__(self) -> AsyncIterator[T]:
        """The elements, some hundred in memory at a time. SSCAN, O(n) in all."""
        return self._pages(self.commands.page)

    async def isdisjoint(self, other: Iterable[object]) -> bool:
        """Whether no element of *other* is there. SMEMBERS, O(n)."""
        return set(await self.members()).isdisjoint(other)


def _is_set(value: object) -> bool:
    return isinstance(value, AbstractSet)


def _local(elements: AbstractSet[E]) -> set[E]:
    """A set in this process, fetched in one command if it is a pool."""
    return set(elements.members() if isinstance(elements, Pool) else elements)
