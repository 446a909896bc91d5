"""What :class:`~redisext.queue.Queue` and :class:`~redisext.stack.Stack` share: a Redis list, pushed at its head."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import ClassVar, Final, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op, Reply, Script
from redisext.key import ElementCommands
from redisext.model import AsyncModel, Model, Page
from redisext.reply import array, bulk, integer
from redisext.waiting import block_for, checked_timeout

__all__ = ["AsyncListModel", "ListCommands", "ListModel"]

T = TypeVar("T", default=bytes)
D = TypeVar("D")

_PAGE: Final = 1000

_LPUSH: Final = Op("LPUSH", "list")
_LLEN: Final = Op("LLEN", "list", reads=True)
_LRANGE: Final = Op("LRANGE", "list", reads=True)
_LINDEX: Final = Op("LINDEX", "list", reads=True)
_FIRST_PAGE: Final = Op(
    "length and first page",
    "list",
    reads=True,
    script=Script("""return {redis.call("LLEN", KEYS[1]), redis.call("LRANGE", KEYS[1], 0, ARGV[1] - 1)}"""),
)


class ListCommands(ElementCommands[T]):
    """The commands of a list whose new items go to its head. A subclass says from which end they are taken."""

    _pop: ClassVar[Op]
    _pop_wait: ClassVar[Op]
    _next: ClassVar[int]

    def push(self, *items: T) -> Command[int]:
        """LPUSH, O(1) for each item."""
        if not items:
            return self.size()
        args = (self._encode(items[0]),) if len(items) == 1 else self._encoded_all(self._codec, items)
        return self._command(_LPUSH, args, integer)

    @overload
    def pop(self) -> Command[T | None]: ...
    @overload
    def pop(self, default: D) -> Command[T | D]: ...
    def pop(self, default: object = None) -> Command[object]:
        """RPOP or LPOP, O(1)."""
        if default is None:
            return self._plain(self._pop, self._or_none)
        return self._command(self._pop, (), self._or(default))

    @overload
    def pop_wait(self, timeout: float | None = None) -> Command[T | None]: ...
    @overload
    def pop_wait(self, timeout: float | None = None, *, default: D) -> Command[T | D]: ...
    def pop_wait(self, timeout: float | None = None, *, default: object = None) -> Command[object]:
        """BRPOP or BLPOP, O(1)."""
        seconds = checked_timeout(timeout)
        if seconds == 0:
            return self.pop(default)
        decode = self._codec.decode

        def parse(reply: Reply) -> object:
            return default if reply is None else decode(bulk(array(reply)[1]))

        return self._command(self._pop_wait, (block_for(seconds),), parse)

    @overload
    def peek(self) -> Command[T | None]: ...
    @overload
    def peek(self, default: D) -> Command[T | D]: ...
    def peek(self, default: object = None) -> Command[object]:
        """LINDEX, O(1)."""
        return self._command(_LINDEX, (self._next,), self._or(default))

    def size(self) -> Command[int]:
        """LLEN, O(1)."""
        return self._plain(_LLEN, integer)

    def items(self) -> Command[list[T]]:
        """LRANGE, O(n)."""
        return self._command(_LRANGE, (0, -1), self._decode_all)

    def page(self, cursor: int | None = None) -> Command[Page[T, int]]:
        """LRANGE, O(n) for the page's distance from the nearer end.

        The cursor counts from the tail, where indexes stay as they are while new items are pushed.
        """
        if cursor is None:
            return self._command(_FIRST_PAGE, (_PAGE,), self._first_page)
        following = cursor + _PAGE
        return self._command(
            _LRANGE,
            (cursor, min(following, 0) - 1),
            lambda reply: (self._decode_all(reply), following if following < 0 else None),
        )

    def _first_page(self, reply: Reply) -> Page[T, int]:
        length, elements = array(reply)
        rest = integer(length) - _PAGE
        return self._decode_all(elements), -rest if rest > 0 else None


class ListModel(Model[ListCommands[T]]):
    """A list in Redis; see :class:`~redisext.queue.Queue` and :class:`~redisext.stack.Stack`."""

    def push(self, *items: T) -> int:
        """Add *items*, in the order given, and give the new size. LPUSH, O(1) for each item, in one command.

        Raises :exc:`~redisext.errors.EncodeError` for an item of another type; then none is added.
        """
        return self._run(self.commands.push(*items))

    def size(self) -> int:
        """How many items there are. LLEN, O(1)."""
        return self._run(self.commands.size())

    def items(self) -> list[T]:
        """All items, the newest first. LRANGE, O(n), in one reply; to go through many, iterate instead."""
        return self._run(self.commands.items())

    def clear(self) -> None:
        """Remove all items. UNLINK, O(1); the memory is freed in the background."""
        self._run(self.commands.delete())

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator[T]:
        """The items, the newest first, a thousand in memory at a time. LRANGE, O(n) in all."""
        return self._pages(self.commands.page)

    # Looking for a value in a list takes the server O(n); without this, `in` would do it by iteration.
    __contains__: ClassVar[None] = None


class AsyncListModel(AsyncModel[ListCommands[T]]):
    """A list in Redis; see :class:`~redisext.queue.AsyncQueue` and :class:`~redisext.stack.AsyncStack`."""

    async def push(self, *items: T) -> int:
        """Add *items*, in the order given, and give the new size. LPUSH, O(1) for each item, in one command.

        Raises :exc:`~redisext.errors.EncodeError` for an item of another type; then none is added.
        """
        return await self._run(self.commands.push(*items))

    async def size(self) -> int:
        """How many items there are. LLEN, O(1)."""
        return await self._run(self.commands.size())

    async def items(self) -> list[T]:
        """All items, the newest first. LRANGE, O(n), in one reply; to go through many, iterate instead."""
        return await self._run(self.commands.items())

    async def clear(self) -> None:
        """Remove all items. UNLINK, O(1); the memory is freed in the background."""
        await self._run(self.commands.delete())

    def __aiter__(self) -> AsyncIterator[T]:
        """The items, the newest first, a thousand in memory at a time. LRANGE, O(n) in all."""
        return self._pages(self.commands.page)
