"""Typed collections over Redis.

    import redisext

    db = redisext.connect("redis://localhost:6379/0")
    jobs = redisext.Queue[Event]("jobs", db)
    jobs.push(Event(name="signup"))
    event = jobs.pop()          # Event | None

The same under asyncio: `aconnect` gives the backend, and each structure has a face whose methods are awaited,
``await redisext.AsyncQueue[Event]("jobs", adb).pop()``.

The architecture, from the outside in: a *model* (`Queue`, ...) is a thin face over *commands* (`QueueCommands`), which
describe operations without doing them; a *backend* (:mod:`redisext.backend`) carries commands out; a *codec*
(:mod:`redisext.codec`), derived from the element type, writes and reads the values.
"""

from redisext import backend, serializer
from redisext.backend import AsyncBackend, Backend, aconnect, connect
from redisext.batch import AsyncBatch, AsyncTransaction, Batch, Pending, Transaction
from redisext.counter import AsyncCounter, Counter
from redisext.errors import (
    ArgumentError,
    BackendClosed,
    BatchError,
    CommandRefused,
    ConfigurationError,
    Conflict,
    ConnectionFailed,
    CrossSlot,
    DecodeError,
    EmbeddedWarning,
    EncodeError,
    LockNotOwned,
    NotBatchable,
    NotReady,
    NotReplicated,
    OutcomeUnknown,
    PermissionDenied,
    RedisextError,
    Timeout,
    WrongType,
)
from redisext.hashmap import AsyncHashMap, AsyncMap, HashMap, Map
from redisext.key import Expire, Key
from redisext.lock import AsyncLock, Lock
from redisext.nothing import NOTHING, Nothing
from redisext.pool import AsyncPool, AsyncSortedSet, Pool, SortedSet
from redisext.queue import AsyncPriorityQueue, AsyncQueue, PriorityQueue, Queue
from redisext.stack import AsyncStack, Stack

__all__ = [
    "NOTHING",
    "ArgumentError",
    "AsyncBackend",
    "AsyncBatch",
    "AsyncCounter",
    "AsyncHashMap",
    "AsyncLock",
    "AsyncMap",
    "AsyncPool",
    "AsyncPriorityQueue",
    "AsyncQueue",
    "AsyncSortedSet",
    "AsyncStack",
    "AsyncTransaction",
    "Backend",
    "BackendClosed",
    "Batch",
    "BatchError",
    "CommandRefused",
    "ConfigurationError",
    "Conflict",
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
    "NotReady",
    "NotReplicated",
    "Nothing",
    "OutcomeUnknown",
    "Pending",
    "PermissionDenied",
    "Pool",
    "PriorityQueue",
    "Queue",
    "RedisextError",
    "SortedSet",
    "Stack",
    "Timeout",
    "Transaction",
    "WrongType",
    "aconnect",
    "backend",
    "connect",
    "serializer",
]

__version__ = "3.0.0.dev0"
