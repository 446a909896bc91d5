"""What is said to a server beyond one command and its reply: batches, transactions, and why a command was refused.

Each function is a generator that does no I/O: it yields the words of some commands, is sent their answers in that
order, and returns its own result. Both backends over redis-py drive them, each on its own connections. A connection
that breaks is thrown in as a :class:`Cut`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar, cast

import redis

from redisext.backend import failures
from redisext.command import Argument, Command, Op, Reply, together
from redisext.dsn import Configuration
from redisext.errors import CommandRefused
from redisext.pending import Pending
from redisext.reply import done

__all__ = [
    "Answer",
    "Cut",
    "Exchange",
    "Words",
    "adrive",
    "as_bytes",
    "commit",
    "drive",
    "is_wait",
    "many",
    "many_with",
    "one",
    "one_with",
    "packed",
    "refused",
    "watch",
]

R = TypeVar("R")

Words: TypeAlias = "tuple[Argument, ...] | Command[object]"
"""What is said to a server: a command, or the words of one."""

Answer: TypeAlias = "Reply | redis.exceptions.RedisError"
"""A reply, or the error that the server replied."""

Exchange: TypeAlias = Generator[list[Words], Sequence[Answer], R]


class Cut(Exception):
    """The connection broke: for `reason`, after these `answers`, and perhaps after all was `sent`."""

    def __init__(self, reason: Exception, answers: Sequence[Answer], *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answers = answers
        self.sent = sent


def packed(said: Iterable[Words]) -> bytes:
    """*said* as the protocol writes it."""
    # hiredis would take three times as long: it must be given a tuple of the words, and what it makes must be joined.
    parts: list[bytes] = []
    for one in said:
        if type(one) is Command and one.op.script is None:
            if one.packed is not None:
                parts.append(one.packed or _kept(one))
                continue
            words = one.keys + one.args
            count = len(words) + 1
            parts.append(_COUNTS[count] if count < _SMALL else b"*%d" % count)
            parts.append(one.op.head)
        else:
            words = one if isinstance(one, tuple) else one.words
            parts.append(b"*%d" % len(words))
        for word in words:
            written = word if type(word) is bytes else as_bytes(word)
            size = len(written)
            parts.append(_SIZES[size] if size < _SMALL else b"\r\n$%d\r\n" % size)
            parts.append(written)
        parts.append(b"\r\n")
    return b"".join(parts)


def _kept(command: Command[object]) -> bytes:
    ready = packed([command.words])
    command.keep(ready)
    return ready


def as_bytes(word: Argument) -> bytes:
    """*word* as it is sent, in bytes of Python's own type."""
    if isinstance(word, bytes):
        return bytes(word)  # without what a type of somebody's own has beside them
    return (word if isinstance(word, str) else repr(word)).encode()


_SMALL: Final = 256
_COUNTS: Final = tuple([b"*%d" % count for count in range(_SMALL)])
_SIZES: Final = tuple([b"\r\n$%d\r\n" % size for size in range(_SMALL)])
"""What stands before a command of so many words, and before a word of such a size: most are small."""


def drive(
    exchange: Exchange[R], send: Callable[[list[Words]], Sequence[Answer]], begun: list[Words] | None = None
) -> R:
    """What *exchange* gives, when *send* is what gets the answers. It may have *begun* with these words already."""
    try:
        words = next(exchange) if begun is None else begun
        while True:
            try:
                answers = send(words)
            except Cut as cut:
                words = exchange.throw(cut)
            else:
                words = exchange.send(answers)
    except StopIteration as stop:
        # The generator's return type is R; StopIteration does not say so.
        return cast("R", stop.value)


async def adrive(exchange: Exchange[R], send: Callable[[list[Words]], Awaitable[Sequence[Answer]]]) -> R:
    """The same under asyncio."""
    try:
        words = next(exchange)
        while True:
            try:
                answers = await send(words)
            except Cut as cut:
                words = exchange.throw(cut)
            else:
                words = exchange.send(answers)
    except StopIteration as stop:
        # As in `drive`.
        return cast("R", stop.value)


def one(where: Configuration, command: Command[object], *, in_full: bool = False) -> Exchange[Reply]:
    """The reply to *command*; raises what the server, or the connection, did to it."""
    try:
        [answer] = yield [command.words_in_full if in_full else command.words]
    except Cut as cut:
        raise failures.broken(where, command, cut.reason, sent=cut.sent) from cut.reason
    if isinstance(answer, redis.exceptions.RedisError):
        return (yield from refused(where, command, answer, in_full=in_full))
    return answer


def refused(
    where: Configuration, command: Command[object], error: redis.exceptions.RedisError, *, in_full: bool = False
) -> Exchange[Reply]:
    """What follows when the server answered *error*: a script is sent whole, else it is raised what that means."""
    if isinstance(error, redis.exceptions.NoScriptError) and not in_full:
        return (yield from one(where, command, in_full=True))
    held: Answer = None
    if failures.is_wrong_type(error):  # it is asked what the key holds
        with contextlib.suppress(Cut):  # then it is explained without
            [held] = yield [("TYPE", command.keys[0])]
    raise failures.answered(where, command, error, held) from error


def many(where: Configuration, pending: Sequence[Pending[object]]) -> Exchange[None]:
    """Tell each its reply, or its error. Raises only if nothing was sent."""
    try:
        answers = yield together([one.command for one in pending])
    except Cut as cut:
        if not cut.sent:
            raise failures.unreachable(where, cut.reason) from cut.reason
        yield from _settle(where, pending[: len(cut.answers)], cut.answers, ask=False)
        _fail(where, pending[len(cut.answers) :], cut)
    else:
        yield from _settle(where, pending, answers)


# --- What is said beside it


def one_with(where: Configuration, command: Command[object], *, asking: bool = False) -> Exchange[Reply]:
    """The same as `one`, with what :func:`many_with` says beside it."""
    wait = _confirmation(where, [command])
    reply, lack = yield from _extended(where, one(where, command), wait, asking=asking)
    if lack is not None:
        raise failures.not_replicated(where, command, command.read(reply), *lack)
    return reply


def many_with(
    where: Configuration, pending: Sequence[Pending[object]], steps: Exchange[R], *, asking: bool = False
) -> Exchange[R]:
    """*steps*, which carry out *pending*, with what must be said beside it.

    With *asking*, each command follows ASKING, as a node of a cluster wants it which is just being given the key. Where
    the configuration wants writes to be confirmed by replicas, WAIT follows them; what too few have confirmed has
    failed.
    """
    wait = _confirmation(where, [one.command for one in pending])
    result, lack = yield from _extended(where, steps, wait, asking=asking)
    if lack is not None:
        for one in pending:
            if one.succeeded and _writes(one.command):
                one.fail(failures.not_replicated(where, one.command, one.result(), *lack))
    return result


_WAIT: Final = "WAIT"
_ASKING: Final = ("ASKING",)


def is_wait(words: Words) -> bool:
    """Whether they are those by which replicas confirm what stands before them."""
    return isinstance(words, tuple) and words[0] == _WAIT


def _writes(command: Command[object]) -> bool:
    return not (command.op.reads or command.op.unconfirmed)


def _confirmation(where: Configuration, commands: Sequence[Command[object]]) -> Words | None:
    if not where.wait_replicas or not any(map(_writes, commands)):
        return None
    # In milliseconds; 0 would be for ever.
    return (_WAIT, where.wait_replicas, max(1, round(where.wait_timeout * 1000)))


class _Lack(NamedTuple):
    """How many replicas have confirmed a write, which are too few, and why."""

    confirmed: int
    why: str
    for_good: bool = False
    """Whether to wait once more would be in vain."""


def _extended(
    where: Configuration, steps: Exchange[R], wait: Words | None, *, asking: bool
) -> Exchange[tuple[R, _Lack | None]]:
    answer: Answer = None
    result: R
    try:
        words = next(steps)
        while True:
            said = [one for each in words for one in (_ASKING, each)] if asking else words
            try:
                answers = yield ([*said, wait] if wait else said)
            except Cut as cut:
                there = cut.answers[1::2] if asking else cut.answers
                if len(there) < len(words):
                    words = steps.throw(Cut(cut.reason, there, sent=cut.sent))
                else:  # all that is missing is how many have confirmed it
                    answer = redis.exceptions.ConnectionError(f"the connection broke: {cut.reason}")
                    words = steps.send(there)
            else:
                if wait:
                    *answers, answer = answers
                words = steps.send(answers[1::2] if asking else answers)
    except StopIteration as stop:
        result = cast("R", stop.value)  # as in `drive`
    if wait is None or (isinstance(answer, int) and answer >= where.wait_replicas):
        return result, None
    if not isinstance(answer, int):
        return result, _Lack(0, f": {answer!s}", isinstance(answer, redis.exceptions.NoPermissionError))
    why = ""
    with contextlib.suppress(Cut):  # then it is said without
        [role] = yield [("ROLE",)]
        if isinstance(role, list) and len(role) == _OF_A_PRIMARY and isinstance(role[2], list):
            why = f"; it has {len(role[2])}"
    return result, _Lack(answer, why)


_OF_A_PRIMARY: Final = 3
"""How much ROLE tells of one: "master", how much it has written, its replicas."""


def watch(where: Configuration, keys: Sequence[bytes]) -> Exchange[None]:
    """Have *keys* watched, until the next transaction on the connection."""
    yield from one(where, Command(_WATCH, tuple(keys), (), done))


_WATCH = Op("WATCH", repeatable=True, unconfirmed=True)


def commit(where: Configuration, pending: Sequence[Pending[object]]) -> Exchange[bool]:
    """Carry out all together; false, and nothing was, if a watched key has changed."""
    try:
        answers = yield [("MULTI",), *together([one.command for one in pending]), ("EXEC",)]
    except Cut as cut:
        _fail(where, pending, cut)
        committed = True
    else:
        committed = yield from _committed(where, pending, *answers)
    failed = [one.error for one in pending if one.error is not None and one.retriable]
    writes = [one for one in pending if not one.command.op.reads]
    if failed and writes and all(one.retriable for one in writes):
        # Nothing was carried out: what has only read is tried again with the rest.
        for one in pending:
            if not one.retriable:
                reason = failures.not_carried_out(one.command, failed[0])
                reason.retriable = True
                one.fail(reason)
    # What would be tried again alone, would be without the rest.
    if not all(one.retriable for one in pending):
        for one in pending:
            one.give_up()
    return committed


def _committed(
    where: Configuration, pending: Sequence[Pending[object]], begun: Answer, *queued_and_outcome: Answer
) -> Exchange[bool]:
    *queued, outcome = queued_and_outcome
    if isinstance(begun, redis.exceptions.RedisError):
        # What came after it was then no transaction.
        yield from _settle(where, pending, queued)
        if queued and all(isinstance(answer, redis.exceptions.RedisError) for answer in queued):
            return True  # nothing was carried out, and each has its reason
        raise CommandRefused(
            f"{where} refused to begin a transaction, and carried the commands out one by one: {begun}"
        ) from begun
    if isinstance(outcome, redis.exceptions.RedisError):
        refused = [answer for answer in queued if isinstance(answer, redis.exceptions.RedisError)]
        for_now = all(map(failures.is_for_now, refused or [outcome]))
        for one, answer in zip(pending, queued, strict=True):
            if isinstance(answer, redis.exceptions.RedisError):
                reason = failures.answered(where, one.command, answer)
                reason.__cause__ = answer
            else:
                reason = failures.not_carried_out(one.command, outcome)
                reason.__cause__ = outcome
            reason.retriable = for_now
            one.fail(reason)
        return True
    if outcome is None:
        return False
    yield from _settle(where, pending, outcome if isinstance(outcome, list) else [])
    return True


def _settle(
    where: Configuration, pending: Sequence[Pending[object]], answers: Sequence[Answer], *, ask: bool = True
) -> Exchange[None]:
    error_kind = redis.exceptions.RedisError
    refused: list[tuple[Pending[object], redis.exceptions.RedisError]] = []
    # To look at the kinds that there are is sooner done than to look at each answer.
    if any(issubclass(kind, error_kind) for kind in set(map(type, answers))):
        for one, answer in zip(pending, answers, strict=True):
            if isinstance(answer, error_kind):
                refused.append((one, answer))
            else:
                one.settle(answer)
    else:
        Pending.settle_each(pending, cast("Sequence[Reply]", answers))  # as has just been seen
    unexplained = [one.command.keys[0] for one, error in refused if failures.is_wrong_type(error)] if ask else []
    types: dict[bytes, Answer] = {}
    if unexplained:
        with contextlib.suppress(Cut):  # then they are explained without
            types = dict(zip(unexplained, (yield [("TYPE", key) for key in unexplained]), strict=True))
    for one, error in refused:
        reason = failures.answered(where, one.command, error, types.get(one.command.keys[0]))
        reason.__cause__ = error
        one.fail(reason)


def _fail(where: Configuration, pending: Iterable[Pending[object]], cut: Cut) -> None:
    for one in pending:
        reason = failures.broken(where, one.command, cut.reason, sent=cut.sent)
        reason.__cause__ = cut.reason
        one.fail(reason)
