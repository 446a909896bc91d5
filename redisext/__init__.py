"""Typed collections over Redis.

    import redisext

    db = redisext.connect("redis://localhost:6379/0")
    jobs = redisext.Queue[Event]("jobs", db)
    jobs.push(Event(name="signup"))
    event = jobs.pop()          # Event | None

The architecture, from the outside in: a *model* (`Queue`, ...) is a thin face over *commands* (`QueueCommands`), which
describe operations without doing them; a *backend* (:mod:`redisext.backend`) carries commands out; a *codec*
(:mod:`redisext.codec`), derived from the element type, writes and reads the values.
"""

from redisext import backend, serializer
from redisext.backend import Backend, connect
from redisext.counter import Counter
from redisext.errors import (
    ArgumentError,
    BackendClosed,
    CommandRefused,
    ConfigurationError,
    ConnectionFailed,
    CrossSlot,
    DecodeError,
    EmbeddedWarning,
    EncodeError,
    LockNotOwned,
    NotBatchable,
    OutcomeUnknown,
    PermissionDenied,
    RedisextError,
    Timeout,
    WrongType,
)
from redisext.hashmap import HashMap, Map
from redisext.key import Expire, Key
from redisext.lock import Lock
from redisext.nothing import NOTHING, Nothing
from redisext.pool import Pool, SortedSet
from redisext.queue import PriorityQueue, Queue
from redisext.stack import Stack

__all__ = [
    "NOTHING",
    "ArgumentError",
    "Backend",
    "BackendClosed",
    "CommandRefused",
    "ConfigurationError",
    "ConnectionFailed",
    "Counter",
    "CrossSlot",
    "DecodeError",
    "EmbeddedWarning",
    "EncodeError",
    "Expire",
    "HashMap",
    "Key",
    "Lock",
    "LockNotOwned",
    "Map",
    "NotBatchable",
    "Nothing",
    "OutcomeUnknown",
    "PermissionDenied",
    "Pool",
    "PriorityQueue",
    "Queue",
    "RedisextError",
    "SortedSet",
    "Stack",
    "Timeout",
    "WrongType",
    "backend",
    "connect",
    "serializer",
]

__version__ = "3.0.0.dev0"
