"""Sets: :class:`Pool`, in no order, and :class:`SortedSet`, in the order of scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, overload

from typing_extensions import TypeVar

from redisext.command import Command, Op, Reply, Script
from redisext.element import Position
from redisext.errors import ArgumentError, EncodeError, shown
from redisext.key import ElementCommands
from redisext.model import Model, Page
from redisext.reply import array, bulk, done, flag, integer, number, pairs
from redisext.score import Bound, bound, score

if TYPE_CHECKING:
    from redisext.codec import Codec

__all__ = ["Pool", "PoolCommands", "SortedSet", "SortedSetCommands"]

T = TypeVar("T", default=bytes)
D = TypeVar("D")
E = TypeVar("E")

_SADD: Final = Op("SADD", "set")
_SADD_UNASKED: Final = Op("SADD", "set", repeatable=True)
_SREM: Final = Op("SREM", "set")
_SREM_UNASKED: Final = Op("SREM", "set", repeatable=True)
_SPOP: Final = Op("SPOP", "set")
_SMEMBERS: Final = Op("SMEMBERS", "set", reads=True)
_SISMEMBER: Final = Op("SISMEMBER", "set", reads=True)
_SCARD: Final = Op("SCARD", "set", reads=True)
_SSCAN: Final = Op("SSCAN", "set", reads=True)
_SRANDMEMBER: Final = Op("SRANDMEMBER", "set", reads=True)
_KEEP: Final = Op(
    "keep only these members",
    "set",
    repeatable=True,
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
        return Command(_SADD, (self.key,), (self._encode(item),), flag)

    def push_all(self, items: Iterable[T]) -> Command[None]:
        """SADD, O(1) for each item; there must be one at least."""
        return Command(_SADD_UNASKED, (self.key,), tuple(map(self._encode, items)), done)

    def remove(self, item: T) -> Command[bool]:
        """SREM, O(1)."""
        return Command(_SREM, (self.key,), (self._encode(item),), flag)

    def remove_all(self, items: Iterable[object]) -> Command[None]:
        """SREM, O(1) for each item; there must be one member at least among them."""
        return Command(_SREM_UNASKED, (self.key,), self._possible(items), done)

    def keep(self, items: Iterable[object]) -> Command[None]:
        """A script over SMEMBERS and SREM, O(n)."""
        return Command(_KEEP, (self.key,), self._possible(items), done)

    def toggle(self, items: Iterable[T]) -> Command[None]:
        """A script over SREM and SADD, O(1) for each item."""
        return Command(_TOGGLE, (self.key,), tuple({self._encode(item): None for item in items}), done)

    @overload
    def pop(self) -> Command[T | None]: ...
    @overload
    def pop(self, default: D) -> Command[T | D]: ...
    def pop(self, default: object = None) -> Command[object]:
        """SPOP, O(1)."""
        return Command(_SPOP, (self.key,), (), self._or(default))

    @overload
    def peek(self) -> Command[T | None]: ...
    @overload
    def peek(self, default: D) -> Command[T | D]: ...
    def peek(self, default: object = None) -> Command[object]:
        """SRANDMEMBER, O(1)."""
        return Command(_SRANDMEMBER, (self.key,), (), self._or(default))

    def members(self) -> Command[list[T]]:
        """SMEMBERS, O(n)."""
        return Command(_SMEMBERS, (self.key,), (), self._decode_all)

    def contains(self, item: T) -> Command[bool]:
        """SISMEMBER, O(1)."""
        return Command(_SISMEMBER, (self.key,), (self._encode(item),), flag)

    def size(self) -> Command[int]:
        """SCARD, O(1)."""
        return Command(_SCARD, (self.key,), (), integer)

    def page(self, cursor: int | None = None) -> Command[Page[T, int]]:
        """SSCAN, O(1) for each call."""

        def parse(reply: Reply) -> Page[T, int]:
            following, found = array(reply)
            return self._decode_all(found), int(bulk(following)) or None

        return Command(_SSCAN, (self.key,), (cursor or 0, "COUNT", _PAGE), parse)

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
    * adding: `push`, `add`, ``|=``
    * taking: `pop`, `remove`, `discard`, `clear`, ``-=``, ``&=``, ``^=``
    * looking: `members`, `contains`, `peek`, `len`, `in`, iteration
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

    def _describe(self, key: bytes, prefix: bytes, *codecs: Codec[Any]) -> PoolCommands[T]:
        return PoolCommands(key, prefix, *codecs)

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

    def __ior__(self, it: AbstractSet[T]) -> Self:  # type: ignore[override,misc]  # as typeshed has it for MutableSet
        """Add all of *it*, in one command. SADD, O(1) for each."""
        command = self.commands.push_all(it)
        if command.args:
            self._run(command)
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

    def __isub__(self, it: AbstractSet[object]) -> Self:
        """Remove all of *it*, in one command. SREM, O(1) for each."""
        command = self.commands.remove_all(it)
        if command.args:
            self._run(command)
        return self

    def __iand__(self, it: AbstractSet[object]) -> Self:
        """Remove all but *it*, in one script. O(n) for n members."""
        self._run(self.commands.keep(it))
        return self

    def __ixor__(self, it: AbstractSet[T]) -> Self:  # type: ignore[override,misc]  # as typeshed has it for MutableSet
        """Remove those of *it* that are there, and add those that are not, in one script. O(1) for each."""
        self._run(self.commands.toggle(it))
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

    def __len__(self) -> int:
        """How many elements there are. SCARD, O(1)."""
        return self._run(self.commands.size())

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


def _is_set(value: object) -> bool:
    return isinstance(value, AbstractSet)


def _local(elements: AbstractSet[E]) -> set[E]:
    """A set in this process, fetched in one command if it is a pool."""
    return set(elements.members() if isinstance(elements, Pool) else elements)


# --- In order

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
        return Command(_ZADD, (self.key,), (_score("score", score), self._encode(element)), flag)

    def rem(self, element: T) -> Command[bool]:
        """ZREM, O(log n)."""
        return Command(_ZREM, (self.key,), (self._encode(element),), flag)

    def incr(self, element: T, by: float = 1) -> Command[float]:
        """ZINCRBY, O(log n)."""
        return Command(_ZINCRBY, (self.key,), (_score("by", by), self._encode(element)), number)

    def score(self, element: T) -> Command[float | None]:
        """ZSCORE, O(1)."""
        return Command(
            _ZSCORE, (self.key,), (self._encode(element),), lambda reply: None if reply is None else number(reply)
        )

    def rank(self, element: T) -> Command[int | None]:
        """ZREVRANK, O(log n)."""
        return Command(
            _ZREVRANK, (self.key,), (self._encode(element),), lambda reply: None if reply is None else integer(reply)
        )

    def contains(self, element: T) -> Command[bool]:
        """ZSCORE, O(1)."""
        return Command(_ZSCORE, (self.key,), (self._encode(element),), lambda reply: reply is not None)

    def size(self) -> Command[int]:
        """ZCARD, O(1)."""
        return Command(_ZCARD, (self.key,), (), integer)

    def length(self, start_score: Bound = "-inf", end_score: Bound = "+inf") -> Command[int]:
        """ZCOUNT, O(log n)."""
        return Command(_ZCOUNT, (self.key,), _range("start_score", start_score, "end_score", end_score), integer)

    def members(self, limit: int | None = None) -> Command[list[T]]:
        """ZREVRANGE, O(log n + m) for m members given."""
        return Command(_ZREVRANGE, (self.key,), _ranks(limit), self._decode_all)

    def members_with_scores(self, limit: int | None = None) -> Command[list[tuple[float, T]]]:
        """ZREVRANGE WITHSCORES, O(log n + m) for m members given."""
        return Command(_ZREVRANGE, (self.key,), (*_ranks(limit), "WITHSCORES"), self._decode_scored)

    def members_by_score(self, min_score: Bound = "-inf", max_score: Bound = "+inf") -> Command[list[T]]:
        """ZRANGEBYSCORE, O(log n + m) for m members in the range."""
        return Command(
            _ZRANGEBYSCORE, (self.key,), _range("min_score", min_score, "max_score", max_score), self._decode_all
        )

    def members_by_score_with_scores(
        self, min_score: Bound = "-inf", max_score: Bound = "+inf"
    ) -> Command[list[tuple[float, T]]]:
        """ZRANGEBYSCORE WITHSCORES, O(log n + m) for m members in the range."""
        ends = _range("min_score", min_score, "max_score", max_score)
        return Command(_ZRANGEBYSCORE, (self.key,), (*ends, "WITHSCORES"), self._decode_scored)

    def truncate(self, size: int) -> Command[int]:
        """ZREMRANGEBYRANK, O(log n + m) for m members removed."""
        return Command(_ZREMRANGEBYRANK, (self.key,), (0, -_count("size", size) - 1), integer)

    def clean_by_score(self, min_score: Bound, max_score: Bound) -> Command[bool]:
        """ZREMRANGEBYSCORE, O(log n + m) for m members removed."""
        return Command(_ZREMRANGEBYSCORE, (self.key,), _range("min_score", min_score, "max_score", max_score), flag)

    def page(self, cursor: int | None = None) -> Command[Page[T, int]]:
        """ZREVRANGE, O(log n + m) for m members in the page."""
        start = cursor or 0

        def parse(reply: Reply) -> Page[T, int]:
            found = self._decode_all(reply)
            return found, start + _PAGE if len(found) == _PAGE else None

        return Command(_ZREVRANGE, (self.key,), (start, start + _PAGE - 1), parse)

    def _decode_scored(self, reply: Reply) -> list[tuple[float, T]]:
        decode = self._codec.decode
        return [(number(points), decode(bulk(member))) for member, points in pairs(reply)]


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
    * looking: `members`, `members_by_score`, `score`, `rank`, `contains`, `length`, `len`, `in`, iteration
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

    def _describe(self, key: bytes, prefix: bytes, *codecs: Codec[Any]) -> SortedSetCommands[T]:
        return SortedSetCommands(key, prefix, *codecs)

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

    def __len__(self) -> int:
        """How many elements there are. ZCARD, O(1)."""
        return self._run(self.commands.size())

    def __contains__(self, element: object) -> bool:
        """Whether *element* is there; False for what is not of the element type. ZSCORE, O(1)."""
        return self._holds(self.commands.contains, element)

    def __iter__(self) -> Iterator[T]:
        """The elements, the highest score first, some hundred in memory at a time. ZREVRANGE, O(n) in all."""
        return self._pages(self.commands.page)
