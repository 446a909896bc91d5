"""How values are written when a class says so itself: `SERIALIZER`.

    class Visitors(Counter[int]):
        SERIALIZER = redisext.serializer.Numeric

Without one, the element type decides (see :mod:`redisext.codec`), and that is what new code wants.
The four named here, and :class:`Raw`, write the same bytes as redisext 2.0.2 did, so data of that
age stays readable. Any object with `encode` and `decode` serves as well, a class with static methods too.

2.0.2 passed falsy values by its serializer. Those that it could store at all (``""``, ``0``, ``0.0``)
are read here as what they were, where the serializer has such values.
"""

from __future__ import annotations

import json
from typing import Final, Never, Protocol

from redisext.command import Argument

__all__ = ["JSON", "Numeric", "Pickle", "Raw", "Serializer", "String"]


class Serializer(Protocol):
    """What `SERIALIZER` takes.

    `encode` gives bytes (or text or a number, which are written as UTF-8 text); `decode` takes the
    stored bytes. Either may raise whatever it likes: it becomes the cause of an
    :exc:`~redisext.errors.EncodeError` or :exc:`~redisext.errors.DecodeError`.
    """

    # A parameter of type Never accepts every implementation, whatever type of item it takes.
    def encode(self, item: Never, /) -> Argument: ...
    def decode(self, item: bytes, /) -> object: ...


class Raw:
    """Bytes as they are. Text and numbers are written as the client library writes them, and read as bytes."""

    @staticmethod
    def encode(item: object) -> Argument:
        if isinstance(item, bool) or not isinstance(item, (bytes, str, int, float)):
            raise TypeError(f"raw values are bytes, str, int or float, not {type(item).__name__}")
        return item

    @staticmethod
    def decode(item: bytes) -> bytes:
        return item


class JSON:
    """The standard library's :mod:`json`, with its defaults."""

    @staticmethod
    def encode(item: object) -> str:
        return json.dumps(item)

    @staticmethod
    def decode(item: bytes) -> object:
        # 2.0.2 stored "" as no bytes at all, which is no JSON.
        return json.loads(item) if item else ""


class String:
    """Text, as UTF-8."""

    @staticmethod
    def encode(item: object) -> str:
        if item is None:
            raise TypeError("None is not text")
        return str(item)

    @staticmethod
    def decode(item: bytes) -> str:
        return item.decode()


class Numeric:
    """Whole numbers, as decimal text."""

    @staticmethod
    def encode(item: float | str) -> int:
        return int(item)

    @staticmethod
    def decode(item: bytes) -> int:
        return int(item)


class Pickle:
    """Python's own :mod:`pickle`, only ever by explicit choice.

    Reading a pickle runs whatever code its writer put into it: use this only where nobody else can
    write to the server. Its bytes differ between pickle protocols and Python versions, so equal values
    need not be equal members of a set.
    """

    # What 2.0.2 stored for values that are false; none of these bytes is a pickle.
    _STORED_BY_2_0_2: Final = {b"": "", b"0": 0, b"0.0": 0.0, b"-0.0": -0.0}

    @staticmethod
    def encode(item: object) -> bytes:
        import pickle  # noqa: PLC0415  # few choose it

        return pickle.dumps(item)

    @staticmethod
    def decode(item: bytes) -> object:
        if item in Pickle._STORED_BY_2_0_2:
            return Pickle._STORED_BY_2_0_2[item]
        import pickle  # noqa: PLC0415  # as above

        return pickle.loads(item)  # noqa: S301  # chosen by whoever named this class
