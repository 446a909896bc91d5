"""In which slot of a cluster a key is: the CRC16 of its hash tag, or of the key as a whole.

As the Redis Cluster Specification has it, "Key distribution model" and "Hash tags".
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from functools import lru_cache
from itertools import count
from typing import Final

__all__ = ["SLOTS", "beside", "slot"]

SLOTS: Final = 16_384


def slot(key: bytes) -> int:
    """The slot of *key*.

    >>> slot(b"jobs"), slot(b"{jobs}:done") == slot(b"jobs")
    (9631, True)
    """
    tag = _TAG.match(key)
    return crc_hqx(tag[1] if tag else key, 0) % SLOTS


def beside(prefix: bytes, key: bytes) -> bytes:
    """How the names of the keys begin that a structure has beside its own: they are in the same slot of a cluster.

    Where the key has a hash tag, that is kept; else it is one as a whole. Where it cannot be one, because of a brace,
    a number is, of the same slot.

    >>> beside(b"app:", b"app:jobs"), beside(b"", b"{jobs}:new")
    (b'app:{app:jobs}', b'{jobs}:new:beside')
    >>> beside(b"", b"}jobs")
    b'{3926}:}jobs'
    """
    if _TAG.match(key):
        return key + b":beside"
    if b"{" in prefix:  # it would be taken for the tag's
        prefix = b""
    if b"}" not in key:
        return prefix + b"{%s}" % key
    return prefix + b"{%d}:%s" % (_number_in(slot(key)), key)


_TAG: Final = re.compile(rb"[^{]*\{([^}]+)\}", re.DOTALL)


@lru_cache(maxsize=1024)
def _number_in(wanted: int) -> int:
    """The first number whose text is in a slot; about as many are tried as there are slots."""
    return next(number for number in count() if slot(b"%d" % number) == wanted)
