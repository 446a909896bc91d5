"""A number that many can change at the same time: :class:`Counter`."""

from __future__ import annotations

from typing import Final, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op
from redisext.element import Position
from redisext.key import ElementCommands
from redisext.model import AsyncModel, Model
from redisext.number import checked, increment
from redisext.reply import done

__all__ = ["AsyncCounter", "Counter", "CounterCommands"]

N = TypeVar("N", int, float, default=int)
M = TypeVar("M", int, float)
D = TypeVar("D")

_GET: Final = Op("GET", "string", reads=True)
_SET: Final = Op("SET")
_GETDEL: Final = Op("GETDEL", "string")
_INCRBY: Final = Op("INCRBY", "string")
_INCRBYFLOAT: Final = Op("INCRBYFLOAT", "string")


_ONE: Final = 1


class CounterCommands(ElementCommands[N]):
    """The commands of a :class:`Counter`."""

    _one_more: Command[N] | None = None

    @overload
    def get(self) -> Command[N | None]: ...
    @overload
    def get(self, default: D) -> Command[N | D]: ...
    def get(self, default: object = None) -> Command[object]:
        """GET, O(1)."""
        if default is None:
            return self._plain(_GET, self._or_none)
        return self._command(_GET, (), self._or(default))

    def incr(self, by: N | int = 1) -> Command[N]:
        """INCRBY or INCRBYFLOAT, O(1)."""
        if by is not _ONE:
            return self._command(*increment(_INCRBY, _INCRBYFLOAT, self._codec, (), by))
        if self._one_more is None:
            self._one_more = self._command(*increment(_INCRBY, _INCRBYFLOAT, self._codec, (), by)).kept()
        return self._one_more

    def decr(self, by: N | int = 1) -> Command[N]:
        """INCRBY or INCRBYFLOAT, O(1)."""
        return self._command(*increment(_INCRBY, _INCRBYFLOAT, self._codec, (), by, sign=-1))

    def set(self, value: N) -> Command[None]:
        """SET, O(1)."""
        return self._command(_SET, (self._encode(checked(self._codec, value)),), done)

    def reset(self) -> Command[N | None]:
        """GETDEL, O(1)."""
        return self._plain(_GETDEL, self._or_none)


class Counter(Model[CounterCommands[N]]):
    """A number, int or float, that many can change at the same time. Stored as a string: INCRBY, INCRBYFLOAT.

    * changing: `incr`, `decr`, `set`, `reset`
    * looking: `get`
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    ``Counter[int]`` counts in 64 bits and refuses to overflow; ``Counter[float]`` adds in the server's floating point.
    ``Counter`` alone is ``Counter[int]``.

    >>> visitors = Counter[int]("visitors", "memory://docs")
    >>> visitors.incr(), visitors.incr(5), visitors.decr(2)
    (1, 6, 4)
    >>> visitors.reset()
    4
    """

    _positions = (Position(allowed=(int, float)),)
    _describes = CounterCommands

    @classmethod
    def of(cls, element: type[M]) -> type[Counter[M]]:
        """``Counter[element]``, for a type known only at run time."""
        made: type[Counter[M]] = cls._of(element)
        return made

    @overload
    def get(self) -> N | None: ...
    @overload
    def get(self, default: D) -> N | D: ...
    def get(self, default: object = None) -> object:
        """The number; *default* if nothing was counted yet. GET, O(1).

        Raises :exc:`~redisext.errors.DecodeError` if what is stored is no such number.
        """
        return self._run(self.commands.get(default))

    def incr(self, by: N | int = 1) -> N:
        """Add *by* and give the new number, which begins at 0. INCRBY or INCRBYFLOAT, O(1).

        Raises :exc:`~redisext.errors.ArgumentError` if *by* is not such a number, and
        :exc:`~redisext.errors.CommandRefused` if the result does not fit (the number stays as it was).
        """
        return self._run(self.commands.incr(by))

    def decr(self, by: N | int = 1) -> N:
        """Subtract *by* and give the new number. As `incr`."""
        return self._run(self.commands.decr(by))

    def set(self, value: N) -> None:
        """Make the number *value*; takes an expiry away. SET, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if *value* is not of the element type, and
        :exc:`~redisext.errors.ArgumentError` if the server could not count on from it; then the old number stays.
        """
        self._run(self.commands.set(value))

    def reset(self) -> N | None:
        """Remove the number, and give what it was. GETDEL, O(1)."""
        return self._run(self.commands.reset())


class AsyncCounter(AsyncModel[CounterCommands[N]]):
    """The same as `Counter`, under asyncio: its methods are awaited.

    >>> import asyncio
    >>> async def main() -> None:
    ...     visitors = AsyncCounter[int]("visitors", "memory://docs-async")
    ...     print(await visitors.incr(), await visitors.incr(5), await visitors.reset())
    >>> asyncio.run(main())
    1 6 6
    """

    _positions = (Position(allowed=(int, float)),)
    _describes = CounterCommands

    @classmethod
    def of(cls, element: type[M]) -> type[AsyncCounter[M]]:
        """``AsyncCounter[element]``, for a type known only at run time."""
        made: type[AsyncCounter[M]] = cls._of(element)
        return made

    @overload
    async def get(self) -> N | None: ...
    @overload
    async def get(self, default: D) -> N | D: ...
    async def get(self, default: object = None) -> object:
        """The number; *default* if nothing was counted yet. GET, O(1).

        Raises :exc:`~redisext.errors.DecodeError` if what is stored is no such number.
        """
        return await self._run(self.commands.get(default))

    async def incr(self, by: N | int = 1) -> N:
        """Add *by* and give the new number, which begins at 0. INCRBY or INCRBYFLOAT, O(1).

        Raises :exc:`~redisext.errors.ArgumentError` if *by* is not such a number, and
        :exc:`~redisext.errors.CommandRefused` if the result does not fit (the number stays as it was).
        """
        return await self._run(self.commands.incr(by))

    async def decr(self, by: N | int = 1) -> N:
        """Subtract *by* and give the new number. As `incr`."""
        return await self._run(self.commands.decr(by))

    async def set(self, value: N) -> None:
        """Make the number *value*; takes an expiry away. SET, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if *value* is not of the element type, and
        :exc:`~redisext.errors.ArgumentError` if the server could not count on from it; then the old number stays.
        """
        await self._run(self.commands.set(value))

    async def reset(self) -> N | None:
        """Remove the number, and give what it was. GETDEL, O(1)."""
        return await self._run(self.commands.reset())
