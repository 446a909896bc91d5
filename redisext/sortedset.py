"""A set in the order of scores: :class:`SortedSet`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final, Literal, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op, Reply
from redisext.element import Position
from redisext.errors import ArgumentError, shown
from redisext.key import ElementCommands
from redisext.model import AsyncModel, Model, Page
from redisext.reply import array, flag, integer, number
from redisext.score import Bound, bound, score

__all__ = ["AsyncSortedSet", "SortedSet", "SortedSetCommands"]

T = TypeVar("T", default=bytes)
E = TypeVar("E")

_PAGE: Final = 500

_ZADD: Final = Op("ZADD", "zset")
_ZREM: Final = Op("ZREM", "zset")
_ZINCRBY: Final = Op("ZINCRBY", "zset")
_ZSCORE: Final = Op("ZSCORE", "zset", reads=True)
_ZREVRANK: Final = Op("ZREVRANK", "zset", reads=True)
_ZCARD: Final = Op("ZCARD", "zset", reads=True)
_ZCOUNT: Final = Op("ZCOUNT", "zset", reads=True)
_ZREVRANGE: Final = Op("ZREVRANGE", "zset", reads=True)
_ZRANGEBYSCORE: Final = Op("ZRANGEBYSCORE", "zset", reads=True)
_ZREMRANGEBYRANK: Final = Op("ZREMRANGEBYRANK", "zset")
_ZREMRANGEBYSCORE: Final = Op("ZREMRANGEBYSCORE", "zset")


class SortedSetCommands(ElementCommands[T]):
    """The commands of a :class:`SortedSet`."""

    def add(self, element: T, score: float) -> Command[bool]:
        """ZADD, O(log n)."""
        return self._command(_ZADD, (_score("score", score), self._encode(element)), flag)

    def rem(self, element: T) -> Command[bool]:
        """ZREM, O(log n)."""
        return self._command(_ZREM, (self._encode(element),), flag)

    def incr(self, element: T, by: float = 1) -> Command[float]:
        """ZINCRBY, O(log n)."""
        return self._command(_ZINCRBY, (_score("by", by), self._encode(element)), number)

    def score(self, element: T) -> Command[float | None]:
        """ZSCORE, O(1)."""
        return self._command(_ZSCORE, (self._encode(element),), lambda reply: None if reply is None else number(reply))

    def rank(self, element: T) -> Command[int | None]:
        """ZREVRANK, O(log n)."""
        return self._command(
            _ZREVRANK, (self._encode(element),), lambda reply: None if reply is None else integer(reply)
        )

    def contains(self, element: T) -> Command[bool]:
        """ZSCORE, O(1)."""
        return self._command(_ZSCORE, (self._encode(element),), lambda reply: reply is not None)

    def size(self) -> Command[int]:
        """ZCARD, O(1)."""
        return self._command(_ZCARD, (), integer)

    def length(self, start_score: Bound = "-inf", end_score: Bound = "+inf") -> Command[int]:
        """ZCOUNT, O(log n)."""
        return self._command(_ZCOUNT, _range("start_score", start_score, "end_score", end_score), integer)

    def members(self, limit: int | None = None) -> Command[list[T]]:
        """ZREVRANGE, O(log n + m) for m members given."""
        return self._command(_ZREVRANGE, _ranks(limit), self._decode_all)

    def members_with_scores(self, limit: int | None = None) -> Command[list[tuple[float, T]]]:
        """ZREVRANGE WITHSCORES, O(log n + m) for m members given."""
        return self._command(_ZREVRANGE, (*_ranks(limit), "WITHSCORES"), self._decode_scored)

    def members_by_score(self, min_score: Bound = "-inf", max_score: Bound = "+inf") -> Command[list[T]]:
        """ZRANGEBYSCORE, O(log n + m) for m members in the range."""
        return self._command(_ZRANGEBYSCORE, _range("min_score", min_score, "max_score", max_score), self._decode_all)

    def members_by_score_with_scores(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf"
    ) -> Command[list[tuple[float, T]]]:
        """ZRANGEBYSCORE WITHSCORES, O(log n + m) for m members in the range."""
        ends = _range("min_score", min_score, "max_score", max_score)
        return self._command(_ZRANGEBYSCORE, (*ends, "WITHSCORES"), self._decode_scored)

    def truncate(self, size: int) -> Command[int]:
        """ZREMRANGEBYRANK, O(log n + m) for m members removed."""
        return self._command(_ZREMRANGEBYRANK, (0, -_count("size", size) - 1), integer)

    def clean_by_score(self, min_score: Bound, max_score: Bound) -> Command[bool]:
        """ZREMRANGEBYSCORE, O(log n + m) for m members removed."""
        return self._command(_ZREMRANGEBYSCORE, _range("min_score", min_score, "max_score", max_score), flag)

    def page(self, cursor: int | None = None) -> Command[Page[T, int]]:
        """ZREVRANGE, O(log n + m) for m members in the page."""
        start = cursor or 0

        def parse(reply: Reply) -> Page[T, int]:
            found = self._decode_all(reply)
            return found, start + _PAGE if len(found) == _PAGE else None

        return self._command(_ZREVRANGE, (start, start + _PAGE - 1), parse)

    def _decode_scored(self, reply: Reply) -> list[tuple[float, T]]:
        flat = array(reply)
        return [*zip(map(number, flat[1::2]), self._decode_all(flat[::2]), strict=True)]


_score = score
"""The function of :mod:`redisext.score`, inside methods whose parameter has its name."""


def _count(name: str, count: object) -> int:
    if type(count) is not int or count < 0:
        raise ArgumentError(f"{name} is a whole number from 0 up, not {shown(count)}")
    return count


def _ranks(limit: int | None) -> tuple[int, int]:
    """The first and the last rank of so many elements."""
    if limit is None:
        return 0, -1
    # A last rank of -1 would be the end of the set: where nothing is wanted, the range ends before it begins.
    return (0, limit - 1) if _count("limit", limit) else (1, 0)


def _range(min_name: str, lowest: Bound, max_name: str, highest: Bound) -> tuple[str, str]:
    return bound(min_name, lowest), bound(max_name, highest)


class SortedSet(Model[SortedSetCommands[T]]):
    """A set whose elements each have a score, kept in the order of scores. Stored as a sorted set: ZADD.

    * adding: `add`, `incr`
    * taking: `rem`, `truncate`, `clean`, `clean_by_score`
    * looking: `members`, `members_by_score`, `score`, `rank`, `contains`, `length`, `size`, `len`, `in`, iteration
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    `members`, `rank` and iteration begin with the highest score, `members_by_score` with the lowest. Elements of equal
    score stand in the order of their bytes where the lowest comes first, and else in the reverse. Elements are looked
    up by their bytes, so their type must be one whose equal values are written alike. Iteration fetches some hundred
    elements at a time, by rank: those whose rank others change meanwhile may be given twice, or not at all.

    >>> scores = SortedSet[str]("scores", "memory://docs")
    >>> scores.add("ada", 3), scores.add("bob", 1), scores.incr("bob", 4)
    (True, True, 5.0)
    >>> scores.members(with_scores=True)
    [(5.0, 'bob'), (3.0, 'ada')]
    """

    _positions = (Position(identity=True),)
    _describes = SortedSetCommands

    @classmethod
    def of(cls, element: type[E]) -> type[SortedSet[E]]:
        """``SortedSet[element]``, for a type known only at run time."""
        made: type[SortedSet[E]] = cls._of(element)
        return made

    # --- Adding

    def add(self, element: T, score: float) -> bool:
        """Give *element* the *score*; True if it is new, False if it had one. ZADD, O(log n).

        Raises :exc:`~redisext.errors.ArgumentError` if *score* is NaN, or an int that a 64-bit float does not hold
        exactly, and :exc:`~redisext.errors.EncodeError` if *element* is not of the element type.
        """
        return self._run(self.commands.add(element, score))

    def incr(self, element: T, by: float = 1) -> float:
        """Add *by* to the score, which begins at 0, and give the new one. ZINCRBY, O(log n)."""
        return self._run(self.commands.incr(element, by))

    # --- Taking

    def rem(self, element: T) -> bool:
        """Remove *element*; whether it was there. ZREM, O(log n)."""
        return self._run(self.commands.rem(element))

    def truncate(self, size: int) -> int:
        """Keep the *size* elements with the highest scores; how many were removed. ZREMRANGEBYRANK, O(log n + m)."""
        return self._run(self.commands.truncate(size))

    def clean(self) -> bool:
        """Remove all elements; whether there were any. UNLINK, O(1); the memory is freed in the background."""
        return self._run(self.commands.delete())

    def clean_by_score(self, min_score: Bound, max_score: Bound) -> bool:
        """Remove the elements with scores in this range; whether there were any. ZREMRANGEBYSCORE, O(log n + m)."""
        return self._run(self.commands.clean_by_score(min_score, max_score))

    # --- Looking

    @overload
    def members(self, with_scores: Literal[False] = False, *, limit: int | None = None) -> list[T]: ...
    @overload
    def members(self, with_scores: Literal[True], *, limit: int | None = None) -> list[tuple[float, T]]: ...
    @overload
    def members(self, with_scores: bool, *, limit: int | None = None) -> list[T] | list[tuple[float, T]]: ...
    def members(self, with_scores: bool = False, *, limit: int | None = None) -> list[T] | list[tuple[float, T]]:
        """The elements, the highest score first, all or the first *limit*; with *with_scores*, as (score, element).

        ZREVRANGE, O(log n + m) for m elements given, in one reply.
        """
        if with_scores:
            return self._run(self.commands.members_with_scores(limit))
        return self._run(self.commands.members(limit))

    @overload
    def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", with_scores: Literal[False] = False
    ) -> list[T]: ...
    @overload
    def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", *, with_scores: Literal[True]
    ) -> list[tuple[float, T]]: ...
    @overload
    def members_by_score(
        self, min_score: Bound, max_score: Bound, with_scores: Literal[True]
    ) -> list[tuple[float, T]]: ...
    @overload
    def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", with_scores: bool = False
    ) -> list[T] | list[tuple[float, T]]: ...
    def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", with_scores: bool = False
    ) -> list[T] | list[tuple[float, T]]:
        """The elements with scores in this range, the lowest first; with *with_scores*, as pairs of score and element.

        Both ends belong to the range; one written as text with a leading ``(`` does not: ``"(5"``.
        ZRANGEBYSCORE, O(log n + m) for m elements found.
        """
        if with_scores:
            return self._run(self.commands.members_by_score_with_scores(min_score, max_score))
        return self._run(self.commands.members_by_score(min_score, max_score))

    def score(self, element: T) -> float | None:
        """The score of *element*; None if it is not there. ZSCORE, O(1)."""
        return self._run(self.commands.score(element))

    def rank(self, element: T) -> int | None:
        """Where *element* stands in `members`: 0 for the highest score; None if it is not there. ZREVRANK, O(log n)."""
        return self._run(self.commands.rank(element))

    def contains(self, element: T) -> bool:
        """Whether *element* is there. ZSCORE, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return self._run(self.commands.contains(element))

    def length(self, start_score: Bound = "-inf", end_score: Bound = "+inf") -> int:
        """How many elements have scores in this range; see `members_by_score`. ZCOUNT, O(log n)."""
        return self._run(self.commands.length(start_score, end_score))

    def size(self) -> int:
        """How many elements there are. ZCARD, O(1)."""
        return self._run(self.commands.size())

    def __len__(self) -> int:
        return self.size()

    def __contains__(self, element: object) -> bool:
        """Whether *element* is there; False for what is not of the element type. ZSCORE, O(1)."""
        return self._holds(self.commands.contains, element)

    def __iter__(self) -> Iterator[T]:
        """The elements, the highest score first, some hundred in memory at a time. ZREVRANGE, O(n) in all."""
        return self._pages(self.commands.page)


class AsyncSortedSet(AsyncModel[SortedSetCommands[T]]):
    """The same as `SortedSet`, under asyncio: its methods are awaited, ``async for`` iterates.

    `size` and `contains` stand for `len` and `in`, which Python cannot await.

    >>> import asyncio
    >>> async def main() -> None:
    ...     scores = AsyncSortedSet[str]("scores", "memory://docs-async")
    ...     await scores.add("ada", 3)
    ...     await scores.incr("bob", 5)
    ...     print(await scores.members(with_scores=True))
    >>> asyncio.run(main())
    [(5.0, 'bob'), (3.0, 'ada')]
    """

    _positions = (Position(identity=True),)
    _describes = SortedSetCommands

    @classmethod
    def of(cls, element: type[E]) -> type[AsyncSortedSet[E]]:
        """``AsyncSortedSet[element]``, for a type known only at run time."""
        made: type[AsyncSortedSet[E]] = cls._of(element)
        return made

    # --- Adding

    async def add(self, element: T, score: float) -> bool:
        """Give *element* the *score*; True if it is new, False if it had one. ZADD, O(log n).

        Raises :exc:`~redisext.errors.ArgumentError` if *score* is NaN, or an int that a 64-bit float does not hold
        exactly, and :exc:`~redisext.errors.EncodeError` if *element* is not of the element type.
        """
        return await self._run(self.commands.add(element, score))

    async def incr(self, element: T, by: float = 1) -> float:
        """Add *by* to the score, which begins at 0, and give the new one. ZINCRBY, O(log n)."""
        return await self._run(self.commands.incr(element, by))

    # --- Taking

    async def rem(self, element: T) -> bool:
        """Remove *element*; whether it was there. ZREM, O(log n)."""
        return await self._run(self.commands.rem(element))

    async def truncate(self, size: int) -> int:
        """Keep the *size* elements with the highest scores; how many were removed. ZREMRANGEBYRANK, O(log n + m)."""
        return await self._run(self.commands.truncate(size))

    async def clean(self) -> bool:
        """Remove all elements; whether there were any. UNLINK, O(1); the memory is freed in the background."""
        return await self._run(self.commands.delete())

    async def clean_by_score(self, min_score: Bound, max_score: Bound) -> bool:
        """Remove the elements with scores in this range; whether there were any. ZREMRANGEBYSCORE, O(log n + m)."""
        return await self._run(self.commands.clean_by_score(min_score, max_score))

    # --- Looking

    @overload
    async def members(self, with_scores: Literal[False] = False, *, limit: int | None = None) -> list[T]: ...
    @overload
    async def members(self, with_scores: Literal[True], *, limit: int | None = None) -> list[tuple[float, T]]: ...
    @overload
    async def members(self, with_scores: bool, *, limit: int | None = None) -> list[T] | list[tuple[float, T]]: ...
    async def members(self, with_scores: bool = False, *, limit: int | None = None) -> list[T] | list[tuple[float, T]]:
        """The elements, the highest score first, all or the first *limit*; with *with_scores*, as (score, element).

        ZREVRANGE, O(log n + m) for m elements given, in one reply.
        """
        if with_scores:
            return await self._run(self.commands.members_with_scores(limit))
        return await self._run(self.commands.members(limit))

    @overload
    async def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", with_scores: Literal[False] = False
    ) -> list[T]: ...
    @overload
    async def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", *, with_scores: Literal[True]
    ) -> list[tuple[float, T]]: ...
    @overload
    async def members_by_score(
        self, min_score: Bound, max_score: Bound, with_scores: Literal[True]
    ) -> list[tuple[float, T]]: ...
    @overload
    async def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", with_scores: bool = False
    ) -> list[T] | list[tuple[float, T]]: ...
    async def members_by_score(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf", with_scores: bool = False
    ) -> list[T] | list[tuple[float, T]]:
        """The elements with scores in this range, the lowest first; with *with_scores*, as pairs of score and element.

        Both ends belong to the range; one written as text with a leading ``(`` does not: ``"(5"``.
        ZRANGEBYSCORE, O(log n + m) for m elements found.
        """
        if with_scores:
            return await self._run(self.commands.members_by_score_with_scores(min_score, max_score))
        return await self._run(self.commands.members_by_score(min_score, max_score))

    async def score(self, element: T) -> float | None:
        """The score of *element*; None if it is not there. ZSCORE, O(1)."""
        return await self._run(self.commands.score(element))

    async def rank(self, element: T) -> int | None:
        """Where *element* stands in `members`: 0 for the highest score; None if it is not there. ZREVRANK, O(log n)."""
        return await self._run(self.commands.rank(element))

    async def contains(self, element: T) -> bool:
        """Whether *element* is there. ZSCORE, O(1).

        Raises :exc:`~redisext.errors.EncodeError` if it is not of the element type.
        """
        return await self._run(self.commands.contains(element))

    async def length(self, start_score: Bound = "-inf", end_score: Bound = "+inf") -> int:
        """How many elements have scores in this range; see `members_by_score`. ZCOUNT, O(log n)."""
        return await self._run(self.commands.length(start_score, end_score))

    async def size(self) -> int:
        """How many elements there are. ZCARD, O(1)."""
        return await self._run(self.commands.size())

    def __aiter__(self) -> AsyncIterator[T]:
        """The elements, the highest score first, some hundred in memory at a time. ZREVRANGE, O(n) in all."""
        return self._pages(self.commands.page)
