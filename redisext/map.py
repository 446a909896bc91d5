"""One value under one key: :class:`Map`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op, Script, Steps
from redisext.element import Position
from redisext.key import ElementCommands, expiration_ms
from redisext.model import AsyncModel, Model
from redisext.number import increment
from redisext.reply import flag
from redisext.updating import compare_and_set, raw_and_value

__all__ = ["AsyncMap", "Map", "MapCommands"]

T = TypeVar("T", default=bytes)
D = TypeVar("D")
E = TypeVar("E")

_GET: Final = Op("GET", "string", reads=True)
_GET_NEWEST: Final = Op("GET", "string", repeatable=True, unconfirmed=True)
_SET: Final = Op("SET")
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


class MapCommands(ElementCommands[T]):
    """The commands of a :class:`Map`."""

    @overload
    def get(self) -> Command[T | None]: ...
    @overload
    def get(self, default: D) -> Command[T | D]: ...
    def get(self, default: object = None) -> Command[object]:
        """GET, O(1)."""
        if default is None:
            return self._plain(_GET, self._or_none)
        return self._command(_GET, (), self._or(default))

    def set(self, value: T, *, expire: float | None = None) -> Command[bool]:
        """SET, with PX where there is an expiry, O(1)."""
        if expire is None:
            return self._command(_SET, (self._encode(value),), flag)
        expiry = expiration_ms("expire", expire)
        return self._command(_SET, (self._encode(value), "PX", expiry), flag)

    @overload
    def incr(self: MapCommands[int], by: int = 1) -> Command[int]: ...
    @overload
    def incr(self: MapCommands[float], by: float = 1) -> Command[float]: ...
    def incr(self, by: float = 1) -> Command[Any]:
        """INCRBY or INCRBYFLOAT, O(1)."""
        return self._command(*increment(_INCRBY, _INCRBYFLOAT, self._codec, (), by))

    @overload
    def decr(self: MapCommands[int], by: int = 1) -> Command[int]: ...
    @overload
    def decr(self: MapCommands[float], by: float = 1) -> Command[float]: ...
    def decr(self, by: float = 1) -> Command[Any]:
        """INCRBY or INCRBYFLOAT, O(1)."""
        return self._command(*increment(_INCRBY, _INCRBYFLOAT, self._codec, (), by, sign=-1))

    def update(self, fn: Callable[[T | None], T]) -> Steps[T]:
        """GET, then a script that sets the new value if the old one is still there; repeated until it was."""
        parse = raw_and_value(self._codec)
        return compare_and_set(self._command(_GET_NEWEST, (), parse), self._swap, fn)

    def _swap(self, new: T, old: bytes | None) -> Command[bool]:
        return self._command(_SWAP, (self._encode(new),) if old is None else (self._encode(new), old), flag)


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
    _describes = MapCommands

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


class AsyncMap(AsyncModel[MapCommands[T]]):
    """The same as `Map`, under asyncio: its methods are awaited.

    >>> import asyncio
    >>> async def main() -> None:
    ...     name = AsyncMap[str]("name", "memory://docs-async")
    ...     await name.set("Ada")
    ...     print(await name.get())
    >>> asyncio.run(main())
    Ada
    """

    _positions = (Position(),)
    _describes = MapCommands

    @classmethod
    def of(cls, element: type[E]) -> type[AsyncMap[E]]:
        """``AsyncMap[element]``, for a type known only at run time."""
        made: type[AsyncMap[E]] = cls._of(element)
        return made

    @overload
    async def get(self) -> T | None: ...
    @overload
    async def get(self, default: D) -> T | D: ...
    async def get(self, default: object = None) -> object:
        """The value; *default* if there is none. GET, O(1).

        Raises :exc:`~redisext.errors.DecodeError` if what is stored is not of the element type.
        """
        return await self._run(self.commands.get(default))

    async def set(self, value: T, *, expire: float | None = None) -> bool:
        """Store *value*, to be deleted after *expire* seconds (None: never); always True. SET, O(1).

        Replaces whatever is under the key, another structure too, and its expiry.

        Raises :exc:`~redisext.errors.EncodeError` if *value* is not of the element type, and
        :exc:`~redisext.errors.ArgumentError` for an expiry that is not above 0; then the old value stays.
        """
        return await self._run(self.commands.set(value, expire=expire))

    async def put(self, value: T) -> bool:
        """The same as `set`: the name that the examples of redisext 2.0.2 used."""
        return await self.set(value)

    async def update(self, fn: Callable[[T | None], T]) -> T:
        """Replace the value by ``fn(value)``, atomically, and give the new one. *fn* gets None if there is none.

        GET, then a script that sets the new value only if the old one is still there; if it is not, all over again. So
        *fn* may run several times, and must have no effect of its own. The expiry stays. O(1) for each try.
        """
        return await self._run_steps(self.commands.update(fn))

    @overload
    async def incr(self: AsyncMap[int], by: int = 1) -> int: ...
    @overload
    async def incr(self: AsyncMap[float], by: float = 1) -> float: ...
    async def incr(self, by: float = 1) -> Any:
        """Add *by* to a number and give the new one; it begins at 0. INCRBY or INCRBYFLOAT, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if the elements are no numbers, and
        :exc:`~redisext.errors.CommandRefused` if the result does not fit, or what is stored is no number.
        """
        commands: MapCommands[Any] = self.commands
        return await self._run(commands.incr(by))

    @overload
    async def decr(self: AsyncMap[int], by: int = 1) -> int: ...
    @overload
    async def decr(self: AsyncMap[float], by: float = 1) -> float: ...
    async def decr(self, by: float = 1) -> Any:
        """Subtract *by* from a number and give the new one. As `incr`."""
        commands: MapCommands[Any] = self.commands
        return await self._run(commands.decr(by))

    async def remove(self) -> bool:
        """Remove the value; whether there was one. UNLINK, O(1)."""
        return await self._run(self.commands.delete())
