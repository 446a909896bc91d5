"""First in, first out: :class:`Queue`; and by priority: :class:`PriorityQueue`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op, Reply
from redisext.element import Position
from redisext.errors import DecodeError
from redisext.key import ElementCommands
from redisext.lists import AsyncListModel, ListCommands, ListModel
from redisext.model import AsyncModel, Model
from redisext.reply import array, bulk, flag, integer
from redisext.score import score
from redisext.waiting import block_for, checked_timeout

__all__ = ["AsyncPriorityQueue", "AsyncQueue", "PriorityQueue", "PriorityQueueCommands", "Queue", "QueueCommands"]

T = TypeVar("T", default=bytes)
D = TypeVar("D")
E = TypeVar("E")

_ZADD: Final = Op("ZADD", "zset")
_ZPOPMIN: Final = Op("ZPOPMIN", "zset")
_BZPOPMIN: Final = Op("BZPOPMIN", "zset", blocks=True)
_ZRANGE: Final = Op("ZRANGE", "zset", reads=True)
_ZSCORE: Final = Op("ZSCORE", "zset", reads=True)
_ZCARD: Final = Op("ZCARD", "zset", reads=True)


class QueueCommands(ListCommands[T]):
    """The commands of a :class:`Queue`: pushed at the list's head, taken from its tail."""

    _pop = Op("RPOP", "list")
    _pop_wait = Op("BRPOP", "list", blocks=True)
    _next = -1


class Queue(ListModel[T]):
    """A first-in, first-out queue. Stored as a list: LPUSH, RPOP.

    * adding: `push`
    * taking: `pop`, `pop_wait`, `clear`
    * looking: `peek`, `items`, `size`, `len`, iteration (the newest first, as `items`)
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    An item taken is gone from the server; a program that dies while it works on one loses it. While others pop,
    iteration may give an item twice; while others push, it gives none of theirs.

    >>> jobs = Queue[str]("jobs", "memory://docs")
    >>> jobs.push("sweep", "mop")
    2
    >>> jobs.pop()
    'sweep'
    """

    _positions = (Position(),)
    _describes = QueueCommands

    @classmethod
    def of(cls, element: type[E]) -> type[Queue[E]]:
        """``Queue[element]``, for a type known only at run time."""
        made: type[Queue[E]] = cls._of(element)
        return made

    @overload
    def pop(self) -> T | None: ...
    @overload
    def pop(self, default: D) -> T | D: ...
    def pop(self, default: object = None) -> object:
        """Take the oldest item; *default* if there is none. RPOP, O(1).

        >>> Queue[str]("empty", "memory://docs").pop(default="nothing")
        'nothing'

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return self._run(self.commands.pop(default))

    @overload
    def pop_wait(self, timeout: float | None = None) -> T | None: ...
    @overload
    def pop_wait(self, timeout: float | None = None, *, default: D) -> T | D: ...
    def pop_wait(self, timeout: float | None = None, *, default: object = None) -> object:
        """Take the oldest item, waiting for one up to *timeout* seconds (None: for ever; 0: not at all). BRPOP, O(1).

        Those who wait are served in the order in which they came. Gives *default* when the time is over. Holds a
        connection of its own while it waits.
        """
        return self._run(self.commands.pop_wait(timeout, default=default))

    @overload
    def peek(self) -> T | None: ...
    @overload
    def peek(self, default: D) -> T | D: ...
    def peek(self, default: object = None) -> object:
        """The oldest item, left where it is; *default* if there is none. LINDEX, O(1)."""
        return self._run(self.commands.peek(default))


class AsyncQueue(AsyncListModel[T]):
    """The same as `Queue`, under asyncio: its methods are awaited, ``async for`` iterates.

    `size` stands for `len`, which Python cannot await.

    >>> import asyncio
    >>> async def main() -> None:
    ...     jobs = AsyncQueue[str]("jobs", "memory://docs-async")
    ...     await jobs.push("sweep", "mop")
    ...     print(await jobs.pop(), [job async for job in jobs])
    >>> asyncio.run(main())
    sweep ['mop']
    """

    _positions = (Position(),)
    _describes = QueueCommands

    @classmethod
    def of(cls, element: type[E]) -> type[AsyncQueue[E]]:
        """``AsyncQueue[element]``, for a type known only at run time."""
        made: type[AsyncQueue[E]] = cls._of(element)
        return made

    @overload
    async def pop(self) -> T | None: ...
    @overload
    async def pop(self, default: D) -> T | D: ...
    async def pop(self, default: object = None) -> object:
        """Take the oldest item; *default* if there is none. RPOP, O(1).

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return await self._run(self.commands.pop(default))

    @overload
    async def pop_wait(self, timeout: float | None = None) -> T | None: ...
    @overload
    async def pop_wait(self, timeout: float | None = None, *, default: D) -> T | D: ...
    async def pop_wait(self, timeout: float | None = None, *, default: object = None) -> object:
        """Take the oldest item, waiting for one up to *timeout* seconds (None: for ever; 0: not at all). BRPOP, O(1).

        Those who wait are served in the order in which they came. Gives *default* when the time is over. Holds a
        connection of its own while it waits.
        """
        return await self._run(self.commands.pop_wait(timeout, default=default))

    @overload
    async def peek(self) -> T | None: ...
    @overload
    async def peek(self, default: D) -> T | D: ...
    async def peek(self, default: object = None) -> object:
        """The oldest item, left where it is; *default* if there is none. LINDEX, O(1)."""
        return await self._run(self.commands.peek(default))


class PriorityQueueCommands(ElementCommands[T]):
    """The commands of a :class:`PriorityQueue`."""

    def push(self, item: T, priority: float) -> Command[bool]:
        """ZADD, O(log n)."""
        return self._command(_ZADD, (score("priority", priority), self._encode(item)), flag)

    @overload
    def pop(self) -> Command[T | None]: ...
    @overload
    def pop(self, default: D) -> Command[T | D]: ...
    def pop(self, default: object = None) -> Command[object]:
        """ZPOPMIN, O(log n)."""
        return self._command(_ZPOPMIN, (), self._first_or(default))

    @overload
    def pop_wait(self, timeout: float | None = None) -> Command[T | None]: ...
    @overload
    def pop_wait(self, timeout: float | None = None, *, default: D) -> Command[T | D]: ...
    def pop_wait(self, timeout: float | None = None, *, default: object = None) -> Command[object]:
        """BZPOPMIN, O(log n)."""
        seconds = checked_timeout(timeout)
        if seconds == 0:
            return self.pop(default)
        return self._command(
            _BZPOPMIN,
            (block_for(seconds),),
            lambda reply: default if reply is None else self._item(array(reply)[1:]),
        )

    @overload
    def peek(self) -> Command[T | None]: ...
    @overload
    def peek(self, default: D) -> Command[T | D]: ...
    def peek(self, default: object = None) -> Command[object]:
        """ZRANGE, O(log n)."""
        return self._command(_ZRANGE, (0, 0), self._first_or(default))

    def items(self) -> Command[list[T]]:
        """ZRANGE, O(n)."""
        return self._command(_ZRANGE, (0, -1), self._decode_all)

    def contains(self, item: T) -> Command[bool]:
        """ZSCORE, O(1)."""
        return self._command(_ZSCORE, (self._encode(item),), lambda reply: reply is not None)

    def size(self) -> Command[int]:
        """ZCARD, O(1)."""
        return self._command(_ZCARD, (), integer)

    def _first_or(self, default: object) -> Callable[[Reply], object]:
        return lambda reply: self._item(array(reply)) if reply else default

    def _item(self, taken: list[Reply]) -> T:
        """The item of a reply that begins with it; its priority may follow."""
        try:
            return self._codec.decode(bulk(taken[0]))
        except DecodeError as error:
            error.taken = tuple(map(bulk, taken))
            raise


class PriorityQueue(Model[PriorityQueueCommands[T]]):
    """A queue from which the item with the lowest priority is taken first. Stored as a sorted set: ZADD, ZPOPMIN.

    * adding: `push`
    * taking: `pop`, `pop_wait`, `clear`
    * looking: `peek`, `items`, `contains`, `size`, `len`, `in`
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    A sorted set holds each item once: pushing one that is waiting already moves it to the new priority. To queue
    equal pieces of work, put something into the element type that tells them apart. Items of equal priority come in
    the order of their bytes.

    >>> tasks = PriorityQueue[str]("tasks", "memory://docs")
    >>> tasks.push("sweep", 2), tasks.push("fire!", 1)
    (True, True)
    >>> tasks.pop()
    'fire!'
    """

    _positions = (Position(identity=True),)
    _describes = PriorityQueueCommands

    @classmethod
    def of(cls, element: type[E]) -> type[PriorityQueue[E]]:
        """``PriorityQueue[element]``, for a type known only at run time."""
        made: type[PriorityQueue[E]] = cls._of(element)
        return made

    def push(self, item: T, priority: float) -> bool:
        """Add *item*; False if it was waiting already, and was moved to *priority*. ZADD, O(log n).

        Raises :exc:`~redisext.errors.ArgumentError` if *priority* is NaN, or an int that a 64-bit float does not hold
        exactly.
        """
        return self._run(self.commands.push(item, priority))

    @overload
    def pop(self) -> T | None: ...
    @overload
    def pop(self, default: D) -> T | D: ...
    def pop(self, default: object = None) -> object:
        """Take the item with the lowest priority; *default* if there is none. ZPOPMIN, O(log n).

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return self._run(self.commands.pop(default))

    @overload
    def pop_wait(self, timeout: float | None = None) -> T | None: ...
    @overload
    def pop_wait(self, timeout: float | None = None, *, default: D) -> T | D: ...
    def pop_wait(self, timeout: float | None = None, *, default: object = None) -> object:
        """Take the item with the lowest priority, waiting for one up to *timeout* seconds. BZPOPMIN, O(log n).

        None waits for ever, 0 not at all. Those who wait are served in the order in which they came. Gives *default*
        when the time is over. Holds a connection of its own while it waits.
        """
        return self._run(self.commands.pop_wait(timeout, default=default))

    @overload
    def peek(self) -> T | None: ...
    @overload
    def peek(self, default: D) -> T | D: ...
    def peek(self, default: object = None) -> object:
        """The item with the lowest priority, left where it is; *default* if there is none. ZRANGE, O(log n)."""
        return self._run(self.commands.peek(default))

    def items(self) -> list[T]:
        """All items, the lowest priority first. ZRANGE, O(n), in one reply."""
        return self._run(self.commands.items())

    def size(self) -> int:
        """How many items there are. ZCARD, O(1)."""
        return self._run(self.commands.size())

    def contains(self, item: T) -> bool:
        """Whether *item* is waiting. ZSCORE, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return self._run(self.commands.contains(item))

    def clear(self) -> None:
        """Remove all items. UNLINK, O(1); the memory is freed in the background."""
        self._run(self.commands.delete())

    def __len__(self) -> int:
        return self.size()

    def __contains__(self, item: object) -> bool:
        """Whether *item* is waiting; False for what is not of the element type. ZSCORE, O(1)."""
        return self._holds(self.commands.contains, item)


class AsyncPriorityQueue(AsyncModel[PriorityQueueCommands[T]]):
    """The same as `PriorityQueue`, under asyncio: its methods are awaited.

    `size` and `contains` stand for `len` and `in`, which Python cannot await.

    >>> import asyncio
    >>> async def main() -> None:
    ...     tasks = AsyncPriorityQueue[str]("tasks", "memory://docs-async")
    ...     await tasks.push("sweep", 2)
    ...     await tasks.push("fire!", 1)
    ...     print(await tasks.pop())
    >>> asyncio.run(main())
    fire!
    """

    _positions = (Position(identity=True),)
    _describes = PriorityQueueCommands

    @classmethod
    def of(cls, element: type[E]) -> type[AsyncPriorityQueue[E]]:
        """``AsyncPriorityQueue[element]``, for a type known only at run time."""
        made: type[AsyncPriorityQueue[E]] = cls._of(element)
        return made

    async def push(self, item: T, priority: float) -> bool:
        """Add *item*; False if it was waiting already, and was moved to *priority*. ZADD, O(log n).

        Raises :exc:`~redisext.errors.ArgumentError` if *priority* is NaN, or an int that a 64-bit float does not hold
        exactly.
        """
        return await self._run(self.commands.push(item, priority))

    @overload
    async def pop(self) -> T | None: ...
    @overload
    async def pop(self, default: D) -> T | D: ...
    async def pop(self, default: object = None) -> object:
        """Take the item with the lowest priority; *default* if there is none. ZPOPMIN, O(log n).

        Raises :exc:`~redisext.errors.DecodeError`, which holds the bytes that were taken, if they are not of the
        element type.
        """
        return await self._run(self.commands.pop(default))

    @overload
    async def pop_wait(self, timeout: float | None = None) -> T | None: ...
    @overload
    async def pop_wait(self, timeout: float | None = None, *, default: D) -> T | D: ...
    async def pop_wait(self, timeout: float | None = None, *, default: object = None) -> object:
        """Take the item with the lowest priority, waiting for one up to *timeout* seconds. BZPOPMIN, O(log n).

        None waits for ever, 0 not at all. Those who wait are served in the order in which they came. Gives *default*
        when the time is over. Holds a connection of its own while it waits.
        """
        return await self._run(self.commands.pop_wait(timeout, default=default))

    @overload
    async def peek(self) -> T | None: ...
    @overload
    async def peek(self, default: D) -> T | D: ...
    async def peek(self, default: object = None) -> object:
        """The item with the lowest priority, left where it is; *default* if there is none. ZRANGE, O(log n)."""
        return await self._run(self.commands.peek(default))

    async def items(self) -> list[T]:
        """All items, the lowest priority first. ZRANGE, O(n), in one reply."""
        return await self._run(self.commands.items())

    async def size(self) -> int:
        """How many items there are. ZCARD, O(1)."""
        return await self._run(self.commands.size())

    async def contains(self, item: T) -> bool:
        """Whether *item* is waiting. ZSCORE, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return await self._run(self.commands.contains(item))

    async def clear(self) -> None:
        """Remove all items. UNLINK, O(1); the memory is freed in the background."""
        await self._run(self.commands.delete())
