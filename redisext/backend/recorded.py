"""Commands of which the server records what they gave, so that they can be sent again: `exactly_once`.

Theory of operation. A command that must not be repeated is run by a script, under an id of its own. The script first
looks for a record of that id; if there is one, it gives the recorded reply and does nothing. Else it carries the
command out and records its reply, in the same atomic step. So whoever has lost a reply asks again, as often as it
takes, and gets what the first one gave: nothing is done twice, and nothing that was taken is lost.

    {<key>}:once:<id>    string: the reply, as MessagePack; "" where the command shall not be carried out any more

A record expires. One whose reply has arrived is of no use any more, if the command was sent once: the next command
names it, and its script deletes it. After a second sending it stays: the first may still be on its way.

Lua's numbers are exact to 53 bits, so where a number of 64 bits is the answer, the script reads it as text.

A command that blocks cannot run in a script. What blocks instead takes nothing: BLMOVE from a list's end to the same
end. Then the element is taken by a script, and if somebody else was faster, that is tried again. There is no such
command for sorted sets, so these are looked at now and then. Where an interrupt or a cancellation cuts in, what was
taken is put back.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Generic, TypeVar, cast

from redisext.backend import failures
from redisext.backoff import Patience, waits
from redisext.command import Command, Op, Reply, Script, Steps, Wait
from redisext.dsn import Configuration
from redisext.errors import ConnectionFailed, DecodeError, NotReplicated, RedisextError
from redisext.pending import Pending
from redisext.reply import as_it_is, flag
from redisext.slots import beside, slot
from redisext.waiting import A_SLICE, block_for

__all__ = ["Records", "Requests", "carried_out", "popped_in_time"]

R = TypeVar("R")

_AT_LEAST: Final = 60.0
_DEADLINES: Final = 4
"""How long a record is kept: so many seconds at least, and so many deadlines."""

_PLAIN: Final = """
local function operation(KEYS, ARGV)
  local name = table.remove(ARGV, 1)
  local reply = 0
  for first = 1, math.max(#ARGV, 1), 4000 do -- what Lua can unpack is bounded
    local words = {name}
    for _, key in ipairs(KEYS) do words[#words + 1] = key end
    for number = first, math.min(first + 3999, #ARGV) do words[#words + 1] = ARGV[number] end
    local one = redis.call(unpack(words))
    if #ARGV <= 4000 or name == "LPUSH" then reply = one else reply = reply + one end
  end
  if name == "INCRBY" then return redis.call("GET", KEYS[1]) end
  if name == "HINCRBY" then return redis.call("HGET", KEYS[1], ARGV[1]) end
  return reply
end
"""

# KEYS: those of the command, then its record. ARGV: for how long to keep it in ms, a record to be deleted or "", then
# those of the command. The record is made before anything else is written: so it is seen whether memory is used up. An
# error of the command is a reply as any other, or else the same attempt, arriving late, might succeed.
_RECORDED: Final = f"""
local record = table.remove(KEYS)
local lifetime = table.remove(ARGV, 1)
local done = table.remove(ARGV, 1)
local made = redis.pcall("SET", record, "", "NX", "PX", lifetime)
if not made or made.err then
  local given = redis.call("GET", record)
  if given then redis.pcall("PEXPIRE", record, lifetime) end -- a write: only what follows one can be confirmed by WAIT
  if given == "" then return redis.error_reply("ERR it was given up, and is not carried out{failures.RECORDED}") end
  if given then return cmsgpack.unpack(given) end
  return made
end
if done ~= "" then redis.call("UNLINK", done) end
local succeeded, reply = pcall(operation, KEYS, ARGV)
if not succeeded and type(reply) ~= "table" then reply = redis.error_reply(reply) end
if type(reply) == "table" and reply.err then reply = {{err = reply.err .. "{failures.RECORDED}"}} end
redis.call("SET", record, cmsgpack.pack(reply or false), "KEEPTTL")
return reply
"""

# After a write that needs no memory, used-up memory forbids no other: a full server can be emptied.
_WHEN_FULL: Final = """
redis.pcall("PEXPIRE", KEYS[#KEYS], ARGV[1])
"""
_FREES: Final = frozenset({"GETDEL", "HDEL", "LPOP", "RPOP", "SPOP", "SREM", "UNLINK", "ZPOPMIN", "ZREM"})

_NUMBERS: Final = frozenset({"INCRBY", "HINCRBY"})

_DECIDE: Final = Op(
    "see whether the transaction was carried out",
    repeatable=True,
    # KEYS: the records of a transaction. ARGV: for how long to keep them in ms.
    # Gives 1 if it was carried out; else sees to it that it will not be, even if it arrives later, and gives 0.
    script=Script(
        """
        local given = redis.call("GET", KEYS[1])
        if given and given ~= "" then return 1 end
        for _, record in ipairs(KEYS) do
          redis.call("UNLINK", record) -- after a write that frees, used-up memory forbids no other
          redis.call("SET", record, "", "PX", ARGV[1])
        end
        return 0
        """
    ),
)
_PUT_BACK: Final = Op(
    "put back what was taken",
    repeatable=True,
    # KEYS: the collection, the record. ARGV: for how long to keep it in ms, the command that took.
    script=Script(
        """
        local given = redis.call("GET", KEYS[2])
        redis.call("UNLINK", KEYS[2]) -- after a write that frees, used-up memory forbids no other
        redis.call("SET", KEYS[2], "", "PX", ARGV[1])
        local taken = given and given ~= "" and cmsgpack.unpack(given)
        if not taken then return 0 end
        if ARGV[2] == "RPOP" then return redis.call("RPUSH", KEYS[1], taken) end
        if ARGV[2] == "LPOP" then return redis.call("LPUSH", KEYS[1], taken) end
        if ARGV[2] == "SPOP" then return redis.call("SADD", KEYS[1], taken) end
        if taken[1] then return redis.call("ZADD", KEYS[1], taken[2], taken[1]) end
        return 0
        """
    ),
)


class Records:
    """What a backend knows of its records: how they are named, how long they are kept, which are of no use any more."""

    def __init__(self, where: Configuration) -> None:
        self._prefix = where.prefix.encode()
        self.where = where
        self.lifetime: int = round(max(_AT_LEAST, _DEADLINES * (where.deadline or 0)) * 1000)
        self._in_slots = where.topology == "cluster"
        # In a cluster, a command can delete what is in its own slot.
        self._useless: dict[int, deque[bytes]] = {}

    def record(self, key: bytes) -> bytes:
        """The name of a new one."""
        # Of the system's own random numbers: a forked child has no others than its parent of Python's.
        return beside(self._prefix, key) + b":once:" + os.urandom(12).hex().encode()

    def forget(self, record: bytes) -> None:
        """It is of no use any more: the next command will delete it."""
        number = self._slot(record)
        useless = self._useless.get(number)
        if useless is None:
            useless = self._useless.setdefault(number, deque(maxlen=_IN_A_SLOT if self._in_slots else _IN_ALL))
        useless.append(record)

    def one_useless(self, beside: bytes) -> bytes:
        """The name of one that can be deleted with a command that has its own record *beside*."""
        try:
            return self._useless[self._slot(beside)].pop()
        except (KeyError, IndexError):
            return b""

    def _slot(self, record: bytes) -> int:
        return slot(record) if self._in_slots else 0


_IN_ALL: Final = 10_000
_IN_A_SLOT: Final = 10
"""How many useless records are remembered. The others expire."""


class Request(Generic[R]):
    """A command under an id, and what has become of it."""

    def __init__(self, records: Records, command: Command[R], *, atomic: bool = False) -> None:
        self.command: Command[R] = command
        self.record: bytes = records.record(command.keys[0])
        self._where = records.where
        self._lifetime = records.lifetime
        name = () if command.op.script else (command.op.name,)
        self.recorded: Command[R] = Command(
            # A transaction is refused as a whole.
            _recorded(command.op, when_full=command.op.name in _FREES and not atomic),
            (*command.keys, self.record),
            (records.lifetime, records.one_useless(self.record), *name, *command.args),
            _number(command.parse) if command.op.name in _NUMBERS else command.parse,
            command.location,
        )

    def final(self, error: RedisextError) -> Exception:
        """What to raise when there will be no other attempt."""
        if isinstance(error, NotReplicated):  # it was carried out, and has its result
            error.command = self.command
            return error
        # Any other refusal tells of the last attempt, but not of those before.
        answered = isinstance(error, DecodeError) or failures.is_recorded(error.__cause__)
        if answered or not error.sent:
            return error
        return failures.unknown(self._where, self.command, error)

    def put_back(self) -> Command[bool]:
        """What undoes it, if it took something, and keeps it from being carried out if it was not yet."""
        command = self.command
        return Command(
            _PUT_BACK, (command.keys[0], self.record), (self._lifetime, command.op.name), flag, command.location
        )


@lru_cache(maxsize=256)
def _recorded(op: Op, *, when_full: bool) -> Op:
    source = _PLAIN if op.script is None else f"local function operation(KEYS, ARGV)\n{op.script.source}\nend\n"
    source += _WHEN_FULL if when_full else ""
    return Op(op.name, op.type, repeatable=True, recorded=True, script=Script(source + _RECORDED))


def _number(parse: Callable[[Reply], R]) -> Callable[[Reply], R]:
    return lambda reply: parse(int(reply) if isinstance(reply, bytes) else reply)


class Requests:
    """Several at once: `shadows` are what is carried out in place of *pending*."""

    def __init__(self, records: Records, pending: Sequence[Pending[object]], *, atomic: bool = False) -> None:
        self._pending = pending
        self._records = records
        # In a transaction, what may be repeated may not be so alone.
        self._requests = [
            None
            if (one.command.op.reads if atomic else one.command.op.repeatable)
            else Request(records, one.command, atomic=atomic)
            for one in pending
        ]
        self.shadows: list[Pending[object]] = [
            one if request is None else Pending(request.recorded)
            for one, request in zip(pending, self._requests, strict=True)
        ]
        self._in_doubt = False

    @property
    def in_doubt(self) -> bool:
        """Whether a transaction may have been carried out without its replies having come."""
        sent = any(isinstance(one.error, RedisextError) and one.error.sent for one in self.shadows)
        self._in_doubt = sent and any(self._requests)
        return self._in_doubt

    def decide(self) -> Command[bool]:
        """Whether the transaction in doubt was carried out; if not, it will not be."""
        records = tuple(request.record for request in self._requests if request is not None)
        return Command(_DECIDE, records, (self._records.lifetime,), flag, self._pending[0].command.location)

    def were_not(self) -> None:
        """It was decided so."""
        self._in_doubt = False
        for one in self.shadows:
            reason = ConnectionFailed("the connection broke before the transaction was carried out")
            reason.retriable = True
            one.fail(reason)

    def finish(self, patience: Patience, reason: RedisextError | None = None) -> None:
        """Tell the outcome of all. Raises *reason*, for which the last attempt was not sent, if none was ever."""
        told = False
        for one, request, shadow in zip(self._pending, self._requests, self.shadows, strict=True):
            if request is None:
                if reason is not None and not one.done:
                    one.fail(reason)
            elif shadow.succeeded:
                one.become(shadow)
                if not patience.doubts(shadow):
                    self._records.forget(request.record)
            else:
                error = shadow.error or reason
                if isinstance(error, RedisextError) and self._in_doubt:
                    error.sent = True  # once, whatever became of the attempts to get the replies
                # Of what may be tried again there is none, or one that keeps it from being carried out.
                if isinstance(error, RedisextError) and not error.sent and not error.retriable:
                    self._records.forget(request.record)
                if error is not None:
                    one.fail(request.final(error) if isinstance(error, RedisextError) else error)
            told = told or (one.done and one.error is not reason)
        if reason is not None and not told:
            raise reason


def carried_out(records: Records, command: Command[R]) -> Steps[R]:
    """A command that is recorded. Where an interrupt or a cancellation cuts in, what it took is put back."""
    request = Request(records, command)
    try:
        result: R = yield from request.recorded
    except RedisextError as error:
        if not error.sent:
            records.forget(request.record)
        final = request.final(error)
        if final is error:
            raise
        raise final from error
    except GeneratorExit:  # nobody is left who would carry anything out
        raise
    except BaseException:
        if command.op.name in _CAN_BE_PUT_BACK:
            with contextlib.suppress(RedisextError):  # what cut in is what the caller must hear of
                yield from request.put_back()
        raise
    return result


_CAN_BE_PUT_BACK: Final = frozenset({"RPOP", "LPOP", "ZPOPMIN", "SPOP"})


def popped_in_time(records: Records, command: Command[R]) -> Steps[R]:
    """A command that blocks, in steps none of which takes anything without a record."""
    take = _TAKES[command.op.name]
    held = command.timeout
    end = None if held is None else time.monotonic() + held
    pauses = waits(_LOOK_AGAIN)
    while True:
        try:
            taken = yield from carried_out(records, Command(take.op, command.keys, (), as_it_is, command.location))
        except NotReplicated as error:
            taken = cast("Reply", error.result)  # as it is
            error.command, error.result = command, command.read(_with_key(command, taken))
            raise
        if taken is not None and taken != []:
            return command.read(_with_key(command, taken))
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return command.read(None)
        if take.end is None:
            yield Wait(next(pauses) if left is None else min(next(pauses), left))
        else:
            key = command.keys[0]
            for_now = A_SLICE if left is None else min(A_SLICE, left)
            yield from Command(
                _LOOK,
                (key, key),
                (take.end, take.end, block_for(for_now)),
                as_it_is,
                command.location,
            )


def _with_key(command: Command[object], taken: Reply) -> Reply:
    """What was taken, as the command that blocks would have given it."""
    if taken is None or taken == []:
        return None
    return [command.keys[0], *(taken if isinstance(taken, list) else [taken])]


class _Take:
    def __init__(self, op: Op, end: str | None) -> None:
        self.op = op
        self.end = end


_TAKES: Final = {
    "BRPOP": _Take(Op("RPOP", "list"), "RIGHT"),
    "BLPOP": _Take(Op("LPOP", "list"), "LEFT"),
    "BZPOPMIN": _Take(Op("ZPOPMIN", "zset"), None),
}
_LOOK: Final = Op("BLMOVE", "list", repeatable=True, blocks=True, unconfirmed=True)
_LOOK_AGAIN: Final = 0.1
