"""What can be done with any key, whatever it holds: expiry, rename, existence.

Every model has these operations; the two mixins are kept for programs that name them as bases, as
redisext 2.0.2 asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from redisext.command import Argument, Command, Op, Reply, Script, describe, text
from redisext.errors import ArgumentError, EncodeError, shown
from redisext.reply import bulk, bulks, flag, integer

if TYPE_CHECKING:
    from redisext.codec import Codec

__all__ = [
    "Address",
    "ElementCommands",
    "Expire",
    "Key",
    "KeyCommands",
    "expiration_ms",
    "key_bytes",
    "milliseconds",
    "value_or",
]

T = TypeVar("T")
E = TypeVar("E")
D = TypeVar("D")
R = TypeVar("R")

_PEXPIRE: Final = Op("PEXPIRE")
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


class Address(NamedTuple):
    """Where a collection is: its `key`, whole, as it is sent; the `prefix` in it; the `location` of its data.

    >>> Address(b"app:jobs", b"app:", "redis://localhost:6379/0").key
    b'app:jobs'
    """

    key: bytes
    prefix: bytes = b""
    location: str = ""


class KeyCommands:
    """The commands that work on a key of any type. `key` is its whole name, as it is sent."""

    def __init__(self, address: Address) -> None:
        self.key: bytes = address.key
        self._prefix = address.prefix
        self._location = address.location
        self._only = (address.key,)
        self._made: dict[str, Command[Any]] = {}

    def expire(self, seconds: float) -> Command[bool]:
        """PEXPIRE, O(1)."""
        return self._command(_PEXPIRE, (milliseconds("seconds", seconds),), flag)

    def ttl(self) -> Command[int]:
        """TTL, O(1)."""
        return self._plain(_TTL, integer)

    def persist(self) -> Command[bool]:
        """PERSIST, O(1)."""
        return self._plain(_PERSIST, flag)

    def rename(self, newkey: str | bytes | int) -> Command[bool]:
        """A script over EXISTS and RENAME, O(1)."""
        return self._command(_RENAME, (), flag, (self._prefix + key_bytes(newkey),))

    def exists(self) -> Command[bool]:
        """EXISTS, O(1)."""
        return self._plain(_EXISTS, flag)

    def delete(self) -> Command[bool]:
        """UNLINK, O(1); the memory is freed in the background."""
        return self._plain(_UNLINK, flag)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({text(self.key)!r})"

    # --- For the structures

    def _command(
        self, op: Op, args: tuple[Argument, ...], parse: Callable[[Reply], R], more_keys: tuple[bytes, ...] = ()
    ) -> Command[R]:
        """The command of *op* on this key."""
        return describe(op, (self.key, *more_keys) if more_keys else self._only, args, parse, self._location)

    def _plain(self, op: Op, parse: Callable[[Reply], R]) -> Command[R]:
        """The command of *op* without arguments, made once: all of its calls are alike."""
        # Each structure has one way to read the reply to each.
        made: Command[R]
        try:
            made = self._made[op.name]
        except KeyError:
            made = self._made[op.name] = self._command(op, (), parse).kept()
        return made

    def _encoded(self, codec: Codec[E], value: E) -> bytes:
        """The bytes of *value*; an error names this key."""
        try:
            return codec.encode(value)
        except EncodeError as error:
            error.key = text(self.key)
            raise

    def _encoded_all(self, codec: Codec[E], values: Sequence[E]) -> tuple[bytes, ...]:
        """The same of several, which have been made before: what fails while they are made is not one of them."""
        try:
            return tuple(codec.encode_all(values))
        except EncodeError as error:
            error.key = text(self.key)
            raise


class ElementCommands(KeyCommands, Generic[T]):
    """The commands of a structure whose elements are written by one codec."""

    def __init__(self, address: Address, codec: Codec[T]) -> None:
        super().__init__(address)
        self._codec = codec
        self._write = codec.encode
        self._or_none: Callable[[Reply], T | None] = self._or(None)

    def _encode(self, item: T) -> bytes:
        """The bytes of *item*; an error names this key."""
        try:
            return self._write(item)
        except EncodeError as error:
            error.key = text(self.key)
            raise

    def _decode_all(self, reply: Reply) -> list[T]:
        return self._codec.decode_all(bulks(reply))

    def _or(self, default: D) -> Callable[[Reply], T | D]:
        return value_or(self._codec, default)


def value_or(codec: Codec[E], default: D) -> Callable[[Reply], E | D]:
    """A parser that gives *default* for nil."""
    decode = codec.decode

    def parse(reply: Reply) -> E | D:
        if type(reply) is bytes:
            return decode(reply)
        return default if reply is None else decode(bulk(reply))

    return parse


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
