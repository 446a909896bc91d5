"""What can be done with any key, whatever it holds: expiry, rename, existence.

Every model has these operations; the two mixins are kept for programs that name them as bases, as
redisext 2.0.2 asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from redisext.command import Command, Op, Reply, Script, text
from redisext.errors import ArgumentError, EncodeError, shown
from redisext.reply import array, bulk, flag, integer

if TYPE_CHECKING:
    from redisext.codec import Codec

__all__ = ["ElementCommands", "Expire", "Key", "KeyCommands", "expiration_ms", "key_bytes", "milliseconds", "value_or"]

T = TypeVar("T")
E = TypeVar("E")
D = TypeVar("D")

_PEXPIRE: Final = Op("PEXPIRE", repeatable=True)
_TTL: Final = Op("TTL", reads=True)
_PERSIST: Final = Op("PERSIST")
_EXISTS: Final = Op("EXISTS", reads=True)
_UNLINK: Final = Op("UNLINK")
_RENAME: Final = Op(
    "rename if it exists",
    script=Script(
        """
        if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
        redis.call("RENAME", KEYS[1], KEYS[2])
        return 1
        """
    ),
)


class KeyCommands:
    """The commands that work on a key of any type. `key` is its whole name, as it is sent."""

    def __init__(self, key: bytes, prefix: bytes = b"") -> None:
        self.key = key
        self._prefix = prefix

    def expire(self, seconds: float) -> Command[bool]:
        """PEXPIRE, O(1)."""
        return Command(_PEXPIRE, (self.key,), (milliseconds("seconds", seconds),), flag)

    def ttl(self) -> Command[int]:
        """TTL, O(1)."""
        return Command(_TTL, (self.key,), (), integer)

    def persist(self) -> Command[bool]:
        """PERSIST, O(1)."""
        return Command(_PERSIST, (self.key,), (), flag)

    def rename(self, newkey: str | bytes | int) -> Command[bool]:
        """A script over EXISTS and RENAME, O(1)."""
        return Command(_RENAME, (self.key, self._prefix + key_bytes(newkey)), (), flag)

    def exists(self) -> Command[bool]:
        """EXISTS, O(1)."""
        return Command(_EXISTS, (self.key,), (), flag)

    def delete(self) -> Command[bool]:
        """UNLINK, O(1); the memory is freed in the background."""
        return Command(_UNLINK, (self.key,), (), flag)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({text(self.key)!r})"

    # --- For the structures

    def _encoded(self, codec: Codec[E], value: E) -> bytes:
        """The bytes of *value*; an error names this key."""
        try:
            return codec.encode(value)
        except EncodeError as error:
            error.key = text(self.key)
            raise


class ElementCommands(KeyCommands, Generic[T]):
    """The commands of a structure whose elements are written by one codec."""

    def __init__(self, key: bytes, prefix: bytes, codec: Codec[T]) -> None:
        super().__init__(key, prefix)
        self._codec = codec

    def _encode(self, item: T) -> bytes:
        return self._encoded(self._codec, item)

    def _decode_all(self, reply: Reply) -> list[T]:
        decode = self._codec.decode
        return [decode(bulk(raw)) for raw in array(reply)]

    def _or(self, default: D) -> Callable[[Reply], T | D]:
        return value_or(self._codec, default)


def value_or(codec: Codec[E], default: D) -> Callable[[Reply], E | D]:
    """A parser that gives *default* for nil."""
    decode = codec.decode
    return lambda reply: default if reply is None else decode(bulk(reply))


class Expire:
    """Stands for `EXPIRE` and the methods that go with it; every model has them anyway."""


class Key:
    """Stands for `rename`; every model has it anyway."""


_LONGEST: Final = 10**12
"""The longest time (seconds, some 30,000 years) that is sent; the server's own clock ends not long after."""


def key_bytes(key: object) -> bytes:
    """A key as it is sent. Raises :exc:`~redisext.errors.ArgumentError` for what is none."""
    if isinstance(key, bool) or not isinstance(key, (str, bytes, int)) or (not key and key != 0):
        raise ArgumentError(f"a key is a str or bytes, not empty, or an int; not {shown(key)}")
    try:
        return key if isinstance(key, bytes) else str(key).encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(f"a key is text that UTF-8 can write, not {shown(key)}") from error


def expiration_ms(name: str, seconds: object) -> int:
    """The time until a key that is set now is deleted, in the server's unit. Raises as `milliseconds`, and for 0."""
    expiry = milliseconds(name, seconds)
    if expiry == 0:
        raise ArgumentError(f"{name} is above 0 seconds; None for a key that never expires")
    return expiry


def milliseconds(name: str, seconds: object) -> int:
    """A time in the server's unit. What is above 0 seconds is at least 1 ms."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= _LONGEST:
        raise ArgumentError(f"{name} is a number of seconds from 0 up, not {shown(seconds)}")
    return max(1, round(seconds * 1000)) if seconds > 0 else 0
