"""Last in, first out: :class:`Stack`."""

from __future__ import annotations

from typing import overload

from typing_extensions import TypeVar

from redisext.command import Op
from redisext.element import Position
from redisext.lists import AsyncListModel, ListCommands, ListModel

__all__ = ["AsyncStack", "Stack", "StackCommands"]

T = TypeVar("T", default=bytes)
D = TypeVar("D")
E = TypeVar("E")


class StackCommands(ListCommands[T]):
    """The commands of a :class:`Stack`: pushed at the list's head, and taken from there."""

    _pop = Op("LPOP", "list")
    _pop_wait = Op("BLPOP", "list", blocks=True)
    _next = 0


class Stack(ListModel[T]):
    """A last-in, first-out stack. Stored as a list: LPUSH, LPOP.

    * adding: `push`
    * taking: `pop`, `pop_wait`, `clear`
    * looking: `peek`, `items`, `size`, `len`, iteration (the newest first, as `items`)
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    Iteration gives each item that is there all along once, whatever others push and pop meanwhile.

    >>> plates = Stack[str]("plates", "memory://docs")
    >>> plates.push("blue", "green")
    2
    >>> plates.pop()
    'green'
    """

    _positions = (Position(),)
    _describes = StackCommands

    @classmethod
    def of(cls, element: type[E]) -> type[Stack[E]]:
        """``Stack[element]``, for a type known only at run time."""
        made: type[Stack[E]] = cls._of(element)
        return made

    @overload
    def pop(self) -> T | None: ...
    @overload
    def pop(self, default: D) -> T | D: ...
    def pop(self, default: object = None) -> object:
        """Take the newest item; *default* if there is none. LPOP, O(1).

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return self._run(self.commands.pop(default))

    @overload
    def pop_wait(self, timeout: float | None = None) -> T | None: ...
    @overload
    def pop_wait(self, timeout: float | None = None, *, default: D) -> T | D: ...
    def pop_wait(self, timeout: float | None = None, *, default: object = None) -> object:
        """Take the newest item, waiting for one up to *timeout* seconds (None: for ever; 0: not at all). BLPOP, O(1).

        Those who wait are served in the order in which they came. Gives *default* when the time is over. Holds a
        connection of its own while it waits.
        """
        return self._run(self.commands.pop_wait(timeout, default=default))

    @overload
    def peek(self) -> T | None: ...
    @overload
    def peek(self, default: D) -> T | D: ...
    def peek(self, default: object = None) -> object:
        """The newest item, left where it is; *default* if there is none. LINDEX, O(1)."""
        return self._run(self.commands.peek(default))


class AsyncStack(AsyncListModel[T]):
    """The same as `Stack`, under asyncio: its methods are awaited, ``async for`` iterates.

    `size` stands for `len`, which Python cannot await.

    >>> import asyncio
    >>> async def main() -> None:
    ...     plates = AsyncStack[str]("plates", "memory://docs-async")
    ...     await plates.push("blue", "green")
    ...     print(await plates.pop())
    >>> asyncio.run(main())
    green
    """

    _positions = (Position(),)
    _describes = StackCommands

    @classmethod
    def of(cls, element: type[E]) -> type[AsyncStack[E]]:
        """``AsyncStack[element]``, for a type known only at run time."""
        made: type[AsyncStack[E]] = cls._of(element)
        return made

    @overload
    async def pop(self) -> T | None: ...
    @overload
    async def pop(self, default: D) -> T | D: ...
    async def pop(self, default: object = None) -> object:
        """Take the newest item; *default* if there is none. LPOP, O(1).

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return await self._run(self.commands.pop(default))

    @overload
    async def pop_wait(self, timeout: float | None = None) -> T | None: ...
    @overload
    async def pop_wait(self, timeout: float | None = None, *, default: D) -> T | D: ...
    async def pop_wait(self, timeout: float | None = None, *, default: object = None) -> object:
        """Take the newest item, waiting for one up to *timeout* seconds (None: for ever; 0: not at all). BLPOP, O(1).

        Those who wait are served in the order in which they came. Gives *default* when the time is over. Holds a
        connection of its own while it waits.
        """
        return await self._run(self.commands.pop_wait(timeout, default=default))

    @overload
    async def peek(self) -> T | None: ...
    @overload
    async def peek(self, default: D) -> T | D: ...
    async def peek(self, default: object = None) -> object:
        """The newest item, left where it is; *default* if there is none. LINDEX, O(1)."""
        return await self._run(self.commands.peek(default))
