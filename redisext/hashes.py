"""The commands of a :class:`~redisext.hashmap.HashMap`: a Redis hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final, Generic, overload

from typing_extensions import TypeVar

from redisext.codec import Codec
from redisext.command import Command, Op, Reply, Script, Steps
from redisext.errors import DecodeError
from redisext.key import Address, KeyCommands, value_or
from redisext.model import Page
from redisext.number import increment
from redisext.reply import array, bulk, bulks, done, flag, integer
from redisext.updating import compare_and_set, raw_and_value

__all__ = ["HashMapCommands"]

K = TypeVar("K", default=bytes)
V = TypeVar("V", default=bytes)
D = TypeVar("D")

_HGET: Final = Op("HGET", "hash", reads=True)
_HGET_NEWEST: Final = Op("HGET", "hash", repeatable=True, unconfirmed=True)
_HMGET: Final = Op("HMGET", "hash", reads=True)
_HGETALL: Final = Op("HGETALL", "hash", reads=True)
_HSCAN: Final = Op("HSCAN", "hash", reads=True, scans=True)
_HEXISTS: Final = Op("HEXISTS", "hash", reads=True)
_HLEN: Final = Op("HLEN", "hash", reads=True)
_HSET: Final = Op("HSET", "hash")
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
    script=Script(
        """
        redis.call("HSETNX", KEYS[1], ARGV[1], ARGV[2])
        return redis.call("HGET", KEYS[1], ARGV[1])
        """
    ),
)
_SWAP: Final = Op(
    "compare and set a field",
    "hash",
    # ARGV: the field, the new value, then the old one, if there was one.
    script=Script(
        """
        if redis.call("HGET", KEYS[1], ARGV[1]) ~= (ARGV[3] or false) then return 0 end
        redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
        return 1
        """
    ),
)

_PAGE: Final = 500


class HashMapCommands(KeyCommands, Generic[K, V]):
    """The commands of a :class:`HashMap`."""

    def __init__(self, address: Address, keys: Codec[K], values: Codec[V]) -> None:
        super().__init__(address)
        self._keys = keys
        self._values = values
        self._or_none: Callable[[Reply], V | None] = self._or(None)

    @overload
    def get(self, key: K) -> Command[V | None]: ...
    @overload
    def get(self, key: K, default: D) -> Command[V | D]: ...
    def get(self, key: K, default: object = None) -> Command[object]:
        """HGET, O(1)."""
        return self._command(_HGET, (self._field(key),), self._or_none if default is None else self._or(default))

    def set(self, key: K, value: V) -> Command[bool]:
        """HSET, O(1)."""
        return self._command(_HSET, (self._field(key), self._value(value)), flag)

    def update(self, pairs: Iterable[tuple[K, V]]) -> Command[None]:
        """HSET, O(1) for each pair; there must be one at least."""
        given = [*pairs]
        fields = self._encoded_all(self._keys, [key for key, _ in given])
        values = self._encoded_all(self._values, [value for _, value in given])
        return self._command(_HSET, tuple(chain.from_iterable(zip(fields, values, strict=True))), done)

    def update_value(self, key: K, fn: Callable[[V | None], V]) -> Steps[V]:
        """HGET, then a script that sets the new value if the old one is still there; repeated until it was."""
        field = self._field(key)
        parse = raw_and_value(self._values)

        def swap(new: V, old: bytes | None) -> Command[bool]:
            words = (field, self._value(new)) if old is None else (field, self._value(new), old)
            return self._command(_SWAP, words, flag)

        return compare_and_set(self._command(_HGET_NEWEST, (field,), parse), swap, fn)

    def remove(self, key: K) -> Command[bool]:
        """HDEL, O(1)."""
        return self._command(_HDEL, (self._field(key),), flag)

    @overload
    def pop(self, key: K) -> Command[V | None]: ...
    @overload
    def pop(self, key: K, default: D) -> Command[V | D]: ...
    def pop(self, key: K, default: object = None) -> Command[object]:
        """A script over HGET and HDEL, O(1)."""
        return self._command(_TAKE, (self._field(key),), self._or(default))

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

        return self._command(_TAKE_ANY, (), parse)

    def setdefault(self, key: K, default: V) -> Command[V]:
        """A script over HSETNX and HGET, O(1)."""
        words = (self._field(key), self._value(default))
        return self._command(_SET_DEFAULT, words, lambda reply: self._values.decode(bulk(reply)))

    @overload
    def incr(self: HashMapCommands[K, int], key: K, by: int = 1) -> Command[int]: ...
    @overload
    def incr(self: HashMapCommands[K, float], key: K, by: float = 1) -> Command[float]: ...
    def incr(self, key: K, by: float = 1) -> Command[Any]:
        """HINCRBY or HINCRBYFLOAT, O(1)."""
        return self._command(*increment(_HINCRBY, _HINCRBYFLOAT, self._values, (self._field(key),), by))

    def contains(self, key: K) -> Command[bool]:
        """HEXISTS, O(1)."""
        return self._command(_HEXISTS, (self._field(key),), flag)

    def get_many(self, keys: Iterable[K]) -> Command[dict[K, V]]:
        """HMGET, O(1) for each key; there must be one at least."""
        asked = [*keys]

        def parse(reply: Reply) -> dict[K, V]:
            found = zip(asked, array(reply), strict=True)
            return {key: self._values.decode(bulk(raw)) for key, raw in found if raw is not None}

        return self._command(_HMGET, self._encoded_all(self._keys, asked), parse)

    def all(self) -> Command[dict[K, V]]:
        """HGETALL, O(n)."""
        return self._command(_HGETALL, (), lambda reply: dict(self._decode_pairs(reply)))

    def size(self) -> Command[int]:
        """HLEN, O(1)."""
        return self._command(_HLEN, (), integer)

    def page(self, cursor: int | None = None) -> Command[Page[tuple[K, V], int]]:
        """HSCAN, O(1) for each call."""

        def parse(reply: Reply) -> Page[tuple[K, V], int]:
            following, found = array(reply)
            return self._decode_pairs(found), int(bulk(following)) or None

        return self._command(_HSCAN, (cursor or 0, "COUNT", _PAGE), parse)

    def _field(self, key: K) -> bytes:
        return self._encoded(self._keys, key)

    def _value(self, value: V) -> bytes:
        return self._encoded(self._values, value)

    def _or(self, default: D) -> Callable[[Reply], V | D]:
        return value_or(self._values, default)

    def _decode_pairs(self, reply: Reply) -> list[tuple[K, V]]:
        flat = bulks(reply)
        return [*zip(self._keys.decode_all(flat[::2]), self._values.decode_all(flat[1::2]), strict=True)]
