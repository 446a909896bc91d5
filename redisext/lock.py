"""One holder at a time, among all processes: :class:`Lock`.

Theory of operation. The lock is a string that holds its holder's token, set with SET NX PX, so that it has a holder and
an end from the same instant on. Only a script that finds its own token there deletes or extends it.

Who waits does not poll. It writes itself into a sorted set beside the lock, scored by when it gives up (on the
server's clock), and blocks on a list. A release that finds waiters pushes one element to that list, and the server
gives it to the one whose block began first: one wakes, not all. A holder that dies wakes nobody, so a waiter blocks no
longer than the lock has left to live. A waiter that dies is struck off by its score.

    <key>             the holder's token
    {<key>}:waiters   sorted set: token of a waiter -> when it gives up, in ms of the server's clock
    {<key>}:wake      list: an element for each waiter to be woken; expires after a second

The braces put all three into one slot of a cluster; a backend's prefix stands before them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

from redisext.command import Command, Op, Script, Steps, arun
from redisext.declaration import Declaration
from redisext.errors import ArgumentError, LockNotOwned, RedisextError, shown
from redisext.key import Address, KeyCommands, expiration_ms
from redisext.model import AsyncModel, Model
from redisext.reply import done, flag, integer
from redisext.slots import beside

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AsyncLock", "Lock", "LockCommands"]

R = TypeVar("R")

_ACQUIRE: Final = Op("SET", "string")
_EXISTS: Final = Op("EXISTS", repeatable=True, unconfirmed=True)
# An element that was taken and got lost only lets a waiter look again later.
_WAKE: Final = Op("BLPOP", "list", repeatable=True, blocks=True, unconfirmed=True)

_ENTER: Final = Op(
    "acquire the lock or wait for it",
    "string",
    # KEYS: lock, waiters. ARGV: token, expiry in ms ("" for none), how long it will wait in ms.
    # Gives -1 when acquired; else how many ms the holder has left, 0 if it has no end.
    script=Script(
        """
        local acquired
        if ARGV[2] == "" then acquired = redis.call("SET", KEYS[1], ARGV[1], "NX")
        else acquired = redis.call("SET", KEYS[1], ARGV[1], "NX", "PX", ARGV[2]) end
        if acquired then
          redis.call("ZREM", KEYS[2], ARGV[1])
          return -1
        end
        redis.call("GET", KEYS[1]) -- an error, where the key holds another structure: nobody will release that
        local time = redis.call("TIME")
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        redis.call("ZADD", KEYS[2], now + ARGV[3], ARGV[1])
        redis.call("PEXPIRE", KEYS[2], math.max(ARGV[3], redis.call("PTTL", KEYS[2])))
        local left = redis.call("PTTL", KEYS[1])
        if left == -1 then return 0 end
        return math.max(1, left)
        """
    ),
)
_WAKE_ONE: Final = """
        local time = redis.call("TIME")
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", "(" .. now)
        if redis.call("ZCARD", KEYS[2]) > 0 then
          redis.call("RPUSH", KEYS[3], "")
          redis.call("PEXPIRE", KEYS[3], 1000)
        end
        """
"""Part of a script: wakes the waiter that came first, if any is left."""

_LEAVE: Final = Op(
    "wait for the lock no longer",
    "string",
    repeatable=True,
    # KEYS: lock, waiters, wake. ARGV: token. If it was acquired after all, and the reply was lost, it is given up.
    # The next one is woken then, and where the one who leaves had been woken in its place.
    script=Script(
        """
        redis.call("ZREM", KEYS[2], ARGV[1])
        if redis.call("GET", KEYS[1]) == ARGV[1] then redis.call("DEL", KEYS[1]) end
        if redis.call("EXISTS", KEYS[1]) == 0 then
        """
        + _WAKE_ONE
        + """
        end
        """
    ),
)
_RELEASE: Final = Op(
    "release the lock",
    "string",
    # KEYS: lock, waiters, wake. ARGV: token.
    # Gives 1 when released, 0 when there was no lock, -1 when somebody else holds it.
    script=Script(
        """
        local holder = redis.call("GET", KEYS[1])
        if not holder then return 0 end
        if holder ~= ARGV[1] then return -1 end
        -- The list too: a waiter that was awake already leaves the element that was to wake it.
        redis.call("DEL", KEYS[1], KEYS[3])
        """
        + _WAKE_ONE
        + """
        return 1
        """
    ),
)
_EXTEND: Final = Op(
    "extend the lock",
    "string",
    repeatable=True,
    script=Script(
        """
        if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call("PEXPIRE", KEYS[1], ARGV[2])
        """
    ),
)

_LONGEST_BLOCK: Final = 5.0
"""How long (seconds) a waiter blocks before it looks again, should the element that was to wake it have been lost."""


class LockCommands(KeyCommands):
    """The commands of a :class:`Lock`; each names the token of the holder it speaks for."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        near = beside(address.prefix, self.key)
        self._waiters = near + b":waiters"
        self._wake = near + b":wake"

    def acquire(self, token: str, expiration: float | None) -> Command[bool]:
        """SET NX PX, O(1)."""
        expiry = () if expiration is None else ("PX", expiration_ms("expiration", expiration))
        return self._command(_ACQUIRE, (token, "NX", *expiry), flag)

    def acquire_wait(self, token: str, expiration: float | None, wait: float | None) -> Steps[bool]:
        """Acquire, waiting up to *wait* seconds as the head of this module tells (None: not at all); whether it did.

        Where an error or a cancellation cuts in, what may have been acquired by then is given up again.
        """
        expiry = "" if expiration is None else expiration_ms("expiration", expiration)
        leave = self._command(_LEAVE, (token,), done, (self._waiters, self._wake))
        try:
            if wait is None:
                return (yield from self.acquire(token, expiration))
            give_up = time.monotonic() + wait
            while True:
                left = give_up - time.monotonic()
                held_for = yield from self._enter(token, expiry, min(left, _LONGEST_BLOCK))
                if held_for < 0:
                    return True
                if left <= 0:
                    break
                block = min(left, _LONGEST_BLOCK, held_for / 1000 if held_for else math.inf)
                yield from Command(_WAKE, (self._wake,), (max(0.001, round(block, 3)),), done, self._location)
        except GeneratorExit:  # nobody is left who would carry anything out
            raise
        except BaseException:
            # What went wrong is what the caller must hear of, not that leaving failed too.
            with contextlib.suppress(RedisextError):
                yield from leave
            raise
        yield from leave
        return False

    def _enter(self, token: str, expiry: int | str, wait: float) -> Command[int]:
        # A waiter's entry outlives its block by a little, so that a release in between still wakes somebody.
        wait_ms = max(0, round(wait * 1000)) + 1000
        return self._command(_ENTER, (token, expiry, wait_ms), integer, (self._waiters,))

    def release(self, token: str) -> Command[int]:
        """A script, O(log n) for n waiters: 1 when released, 0 when there was no lock, -1 when another holds it."""
        return self._command(_RELEASE, (token,), integer, (self._waiters, self._wake))

    def extend(self, token: str, seconds: float) -> Command[bool]:
        """A script over GET and PEXPIRE, O(1)."""
        return self._command(_EXTEND, (token, expiration_ms("seconds", seconds)), flag)

    def locked(self) -> Command[bool]:
        """EXISTS on the primary, O(1)."""
        return self._command(_EXISTS, (), flag)


class _Holder(Declaration[LockCommands]):
    """What the two faces of a lock have in common: the token under which an object holds it."""

    _token: str | None = None

    @property
    def token(self) -> str | None:
        """The token under which this object acquired the lock; None when it has not, or has released it."""
        return self._token

    def _acquire(self, expiration: float | None, wait: object) -> Steps[bool]:
        token = secrets.token_hex(16)
        expiration = self.EXPIRE if expiration is None else expiration
        acquired = yield from self.commands.acquire_wait(token, expiration, _checked(wait))
        if acquired:
            self._token = token
        return acquired

    def _release(self) -> Steps[bool]:
        how_lost, token = self._how_lost(), self._token
        # Before the release, not after it: from then on another thread or task may acquire by this same object.
        self._token = None
        try:
            outcome = yield from self.commands.release(token or "")
        except BaseException:
            self._token = self.token or token  # it may be held still
            raise
        if outcome < 0:
            raise LockNotOwned(f"lock {self.key!r} is held by another: {how_lost}")
        return bool(outcome)

    def _extend(self, seconds: float | None) -> Command[bool]:
        return self.commands.extend(self._token or "", self._expiry(seconds))

    @contextlib.contextmanager
    def _leaving(self, exc: BaseException | None) -> Generator[Callable[[bool], None]]:
        """Around the release at a block's end, which tells whether it released anything.

        A hold that was lost while the block ran is an error, or a note on the one by which the block is left.
        """
        how_lost = self._how_lost()

        def tell(released: bool) -> None:
            if not released:
                raise LockNotOwned(f"lock {self.key!r} was lost before its block ended: {how_lost}")

        try:
            yield tell
        except LockNotOwned as lost:
            if exc is None:
                raise
            exc.add_note(str(lost))

    def _how_lost(self) -> str:
        if self._token is None:
            return "this object never acquired it, or has released it"
        return "it expired; give it a longer expiry, or extend it while the work goes on"


class Lock(_Holder, Model[LockCommands]):
    """A lock that one holder has at a time, among all processes. Stored as a string: the holder's token.

    * holding: `acquire`, `release`, `extend`, ``with lock:``
    * looking: `locked`, `token`
    * breaking it, whoever holds it: `remove`
    * the key: `expire`, `ttl`, `persist`, `rename`, `exists`

    The holder is this object, by a random token made at each acquisition: another `Lock` on the same key, in this
    process or elsewhere, cannot release it. Threads that share one object share its hold, as with `threading.Lock`.

    Give it an expiry (`EXPIRE` on the class, or `acquire(expiration)`), or a holder that dies holds it for ever. With
    one, the hold ends on time even if the work goes on: `extend` it, and let the work bear a second holder when it
    must. A server that fails over to a replica may lose the lock with it.

    >>> lock = Lock("nightly", "memory://docs")
    >>> lock.acquire(30), lock.acquire(30)
    (True, False)
    >>> lock.release(), lock.release()
    (True, False)
    """

    _describes = LockCommands

    def acquire(self, expiration: float | None = None, *, wait: float | None = None) -> bool:
        """Take the lock if it is free; whether it was. SET NX PX, O(1).

        It is free again after *expiration* seconds (default: the class's `EXPIRE`; without one, never). With *wait*,
        up to that many seconds are spent waiting for it (`math.inf`: for ever); a release wakes one of those who wait.

        Raises :exc:`~redisext.errors.ArgumentError` for a time that is none.
        """
        return self._run_steps(self._acquire(expiration, wait))

    def release(self) -> bool:
        """Give the lock up; False if nobody holds it (it expired, or was never acquired). O(log n) for n waiters.

        Raises :exc:`~redisext.errors.LockNotOwned` if somebody else holds it; then it stays held.
        """
        return self._run_steps(self._release())

    def extend(self, seconds: float | None = None) -> bool:
        """Have the hold end *seconds* from now (default: `EXPIRE`); False if it is not, or no longer, this object's.

        A script over GET and PEXPIRE, O(1).
        """
        return self._run(self._extend(seconds))

    def locked(self) -> bool:
        """Whether anybody holds it. EXISTS, O(1), asked of the primary."""
        return self._run(self.commands.locked())

    def remove(self) -> bool:
        """Break the lock, whoever holds it; whether anybody did. UNLINK, O(1). Waiters notice in their own time."""
        return self._run(self.commands.delete())

    def __enter__(self) -> Self:
        """Acquire, waiting as long as it takes."""
        self.acquire(wait=math.inf)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Release. Raises :exc:`~redisext.errors.LockNotOwned` if the hold was lost while the block ran."""
        with self._leaving(exc) as tell:
            tell(self.release())


class AsyncLock(_Holder, AsyncModel[LockCommands]):
    """The same as `Lock`, under asyncio: its methods are awaited, ``async with lock:`` holds it.

    Tasks that share one object share its hold, as with threads. Where the task of a block is cancelled, the lock is
    released all the same, and then the cancellation goes on.

    >>> async def main() -> None:
    ...     lock = AsyncLock("nightly", "memory://docs-async")
    ...     async with lock:
    ...         print(await lock.locked(), await lock.acquire())
    ...     print(await lock.locked())
    >>> asyncio.run(main())
    True False
    False
    """

    _describes = LockCommands

    async def acquire(self, expiration: float | None = None, *, wait: float | None = None) -> bool:
        """Take the lock if it is free; whether it was. SET NX PX, O(1).

        It is free again after *expiration* seconds (default: the class's `EXPIRE`; without one, never). With *wait*,
        up to that many seconds are spent waiting for it (`math.inf`: for ever); a release wakes one of those who wait.

        Raises :exc:`~redisext.errors.ArgumentError` for a time that is none.
        """
        return await arun(self._acquire(expiration, wait), self._acquiring)

    async def release(self) -> bool:
        """Give the lock up; False if nobody holds it (it expired, or was never acquired). O(log n) for n waiters.

        Raises :exc:`~redisext.errors.LockNotOwned` if somebody else holds it; then it stays held.
        """
        return await self._run_steps(self._release())

    async def extend(self, seconds: float | None = None) -> bool:
        """Have the hold end *seconds* from now (default: `EXPIRE`); False if it is not, or no longer, this object's.

        A script over GET and PEXPIRE, O(1).
        """
        return await self._run(self._extend(seconds))

    async def locked(self) -> bool:
        """Whether anybody holds it. EXISTS, O(1), asked of the primary."""
        return await self._run(self.commands.locked())

    async def remove(self) -> bool:
        """Break the lock, whoever holds it; whether anybody did. UNLINK, O(1). Waiters notice in their own time."""
        return await self._run(self.commands.delete())

    async def _acquiring(self, command: Command[R]) -> R:
        # What a first cancellation began, to give up what may have been acquired, a second one does not stop.
        work = self.backend.execute(command)
        return await (_to_its_end(work) if command.op is _LEAVE else work)

    async def __aenter__(self) -> Self:
        """Acquire, waiting as long as it takes."""
        await self.acquire(wait=math.inf)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Release. Raises :exc:`~redisext.errors.LockNotOwned` if the hold was lost while the block ran."""
        with self._leaving(exc) as tell:
            tell(await _to_its_end(self.release()))


def _checked(wait: object) -> float | None:
    if wait is None:
        return None
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not wait >= 0:
        raise ArgumentError(f"wait is a number of seconds from 0 up, not {shown(wait)}")
    return wait


async def _to_its_end(work: Awaitable[R]) -> R:
    """The result of *work*, which a cancellation of this task does not stop: the task ends once *work* has."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()  # the cancellation goes before it, and asyncio need not tell of it
        raise
