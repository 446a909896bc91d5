"""One operation, described without doing it.

    model method  ->  Command[R]  ->  backend  ->  reply  ->  R

The rules of this module:

* A :class:`Command` is a value. It knows the words to send, the keys they touch, whether they may
  be repeated, and how to read the reply. It knows no socket, no client and no event loop.
* What is the same for every call of an operation stands in its :class:`Op`, written once beside the
  structure that uses it. What differs from call to call stands in the Command.
* What takes more than one round trip is a generator (:data:`Steps`): it yields commands and waits,
  is sent each result, and returns its own. The drivers (:func:`run`, and :func:`arun` under asyncio) do the I/O. An
  error, a cancellation too, is thrown into the generator, so `try`/`finally` inside it runs.

"Harmless to repeat" is judged by the state, by the answer, and by what others may have done meanwhile. SADD leaves
the same set when it is sent twice, but the second answer ("it was there already") would be a lie to the caller whose
first answer was lost. SET gives the same answer, but the second one undoes what somebody else has set in between. So
nearly all that is `repeatable` only reads.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from redisext.errors import DecodeError

__all__ = [
    "Argument",
    "Command",
    "CursorLost",
    "Op",
    "Reply",
    "Script",
    "Steps",
    "Wait",
    "arun",
    "describe",
    "in_sequence",
    "run",
    "text",
    "together",
]

Argument: TypeAlias = bytes | str | int | float
"""What may stand in a command: bytes, or text and numbers that the client writes as UTF-8."""

Reply: TypeAlias = "bytes | str | int | float | list[Reply] | None"
"""A reply as RESP2 has it: a bulk string, a status, an integer, an array, or nil."""

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
S = TypeVar("S")


class Script(NamedTuple):
    """A Lua script, run by its SHA-1 where the server knows it and sent whole where not."""

    source: str

    @property
    def sha(self) -> str:
        """By this the server knows it."""
        return _sha1(self.source)


@lru_cache(maxsize=1024)
def _sha1(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Op:
    """What every command of one operation has in common.

    * `name`: the Redis command; for a script, a name for people to read.
    * `type`: the Redis type that the first key must hold (``"list"``), or None where any will do.
    * `reads`: it only reads, and a replica may answer it.
    * `repeatable`: sent twice, it leaves the same state and gives the same answer, whatever others do meanwhile.
    * `recorded`: its script keeps the reply under the last key, and gives it again when it is sent twice.
    * `blocks`: the server may hold the reply back, until the seconds in the last argument are over.
    * `unconfirmed`: a replica may not answer it, but it changes nothing that replicas would have to confirm.
    * `scans`: its cursor, the first argument, is of use to the server only that has given it.
    """

    name: str
    type: str | None = None
    reads: bool = False
    repeatable: bool = False
    blocks: bool = False
    recorded: bool = False
    unconfirmed: bool = False
    scans: bool = False
    script: Script | None = None
    head: bytes = field(init=False, repr=False, compare=False)
    """The name, as the protocol writes it."""

    def __post_init__(self) -> None:
        if self.reads:
            object.__setattr__(self, "repeatable", True)
        name = self.name.encode()
        object.__setattr__(self, "head", b"\r\n$%d\r\n%b" % (len(name), name))


class _Draft:
    """A command while it can be changed. `packed` is what is sent for it, where that is kept."""

    __slots__ = ("args", "keys", "location", "op", "packed", "parse")

    packed: bytes | None


@dataclass(frozen=True, slots=True, init=False)
class Command(_Draft, Generic[R_co]):
    """One operation, ready to be sent: `op`, the `keys` it touches, the `args` after them, and `parse`.

    `location` says in which data the keys are (see :class:`~redisext.backend.abc.Backend`), ``""`` if nobody said.
    Commands are equal when they send the same.

    >>> Command(Op("INCRBY"), (b"hits",), (2,), int)
    Command(INCRBY b'hits' 2)
    """

    op: Op
    keys: tuple[bytes, ...]
    args: tuple[Argument, ...]
    parse: Callable[[Reply], R_co] = field(compare=False)
    location: str = field(compare=False)

    def __new__(
        cls,
        op: Op,
        keys: tuple[bytes, ...],
        args: tuple[Argument, ...],
        parse: Callable[[Reply], R_co],
        location: str = "",
    ) -> Command[R_co]:
        """Describe an operation."""
        return describe(op, keys, args, parse, location)

    @property
    def words(self) -> tuple[Argument, ...]:
        """What is sent. For a script: EVALSHA, which fails with NOSCRIPT where the server does not know it."""
        script = self.op.script
        if script is None:
            return (self.op.name, *self.keys, *self.args)
        return ("EVALSHA", script.sha, len(self.keys), *self.keys, *self.args)

    @property
    def words_in_full(self) -> tuple[Argument, ...]:
        """The same with a script's whole source, for a server that does not know it yet."""
        script = self.op.script
        if script is None:
            return self.words
        return ("EVAL", script.source, len(self.keys), *self.keys, *self.args)

    @property
    def timeout(self) -> float | None:
        """How long (seconds) the server may hold back the reply of a blocking command; None for ever."""
        seconds = float(self.args[-1])
        return seconds or None

    def kept(self) -> Command[R_co]:
        """The same, for who makes it once and uses it often: what is sent for it is written once, too."""
        self.keep(b"")
        return self

    def keep(self, packed: bytes) -> None:
        """For backends: `packed` from now on. It tells nobody anything new, so it may be set."""
        _set_packed(self, packed)

    def read(self, reply: Reply) -> R_co:
        """The reply, as the operation's result. Raises :exc:`DecodeError`, with the key named."""
        try:
            return self.parse(reply)
        except DecodeError as error:
            self.name_key(error)
            raise

    def name_key(self, error: Exception) -> None:
        """Have *error*, raised by `parse`, name the key, if it is one that does."""
        if isinstance(error, DecodeError):
            error.key = text(self.keys[0])

    def __iter__(self) -> Generator[Command[object], object, R_co]:
        """Inside :data:`Steps`: ``result = yield from command``."""
        result = yield self
        # A driver answers each yielded command with what `read` gave for it.
        return cast("R_co", result)

    def __reduce__(self) -> tuple[object, ...]:
        # Pickled (inside an error, on its way from another process), it tells what was asked; it reads no reply.
        return type(self), (self.op, self.keys, self.args, _unread, self.location)

    def __repr__(self) -> str:
        shown = " ".join(_shown(word) for word in (*self.keys, *self.args))
        return f"{type(self).__name__}({self.op.name} {shown})"


_set_packed = cast("Callable[[object, bytes], None]", vars(_Draft)["packed"].__set__)
"""Sets it where the class itself lets nobody do so."""


def describe(
    op: Op, keys: tuple[bytes, ...], args: tuple[Argument, ...], parse: Callable[[Reply], R], location: str
) -> Command[R]:
    """``Command(op, keys, args, parse, location)``, without what it costs to call a class."""
    draft: Any = _Draft()  # which of its slots holds what, the command says
    draft.op = op
    draft.keys = keys
    draft.args = args
    draft.parse = parse
    draft.location = location
    draft.packed = None
    # It becomes one of the class that lets nobody change it. To go round that class, slot by slot, takes twice as long.
    draft.__class__ = Command
    command: Command[R] = draft
    return command


class CursorLost(Exception):
    """The server that has begun a scan does not go on with it, and no other can: it is to be begun anew."""


class Wait(NamedTuple):
    """Inside :data:`Steps`: let `seconds` pass."""

    seconds: float


Steps: TypeAlias = Generator[Command[object] | Wait, object, R]
"""An operation of several round trips: yields commands and waits, returns its result."""


def run(steps: Generator[S | Wait, object, R], execute: Callable[[S], object]) -> R:
    """Drive *steps* to their end, in this thread, each but the waits through *execute*: of :data:`Steps`, a command."""
    try:
        step = next(steps)
        while True:
            try:
                result: object = None
                if isinstance(step, Wait):
                    time.sleep(step.seconds)
                else:
                    result = execute(step)
            except BaseException as error:  # noqa: BLE001  # the steps decide what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as stop:
        # The generator's return type is R; StopIteration does not say so.
        return cast("R", stop.value)


async def arun(steps: Generator[S | Wait, object, R], execute: Callable[[S], Awaitable[object]]) -> R:
    """The same under asyncio, each awaited from *execute*."""
    try:
        step = next(steps)
        while True:
            try:
                result: object = None
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                else:
                    result = await execute(step)
            except BaseException as error:  # noqa: BLE001  # the steps decide what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as stop:
        # As in `run`.
        return cast("R", stop.value)


def in_sequence(commands: Iterable[Command[object]]) -> list[tuple[Argument, ...]]:
    """What is sent for each of *commands* where they go together: each script whole at first, then by its SHA-1.

    One by one, NOSCRIPT tells that a script must be sent whole; by then, those after it would have been carried out.
    """
    return [one if isinstance(one, tuple) else one.words for one in together([*commands])]


def together(commands: Sequence[Command[object]]) -> list[tuple[Argument, ...] | Command[object]]:
    """The same, with the commands themselves where they are sent as they are."""
    if not [one for one in commands if one.op.script is not None]:  # as a rule
        return [*commands]
    known: set[tuple[Script, tuple[bytes, ...]]] = set()
    said: list[tuple[Argument, ...] | Command[object]] = []
    for command in commands:
        script = command.op.script
        if script is None:
            said.append(command)
            continue
        # For other keys it may be refused, and is not known then. A record's is the command's own.
        use = script, command.keys[:-1] if command.op.recorded else command.keys
        said.append(command if use in known else command.words_in_full)
        known.add(use)
    return said


def text(key: bytes) -> str:
    """A key as people read it."""
    return key.decode("utf-8", "backslashreplace")


def _unread(reply: Reply) -> object:
    return reply


_SHOWN = 40


def _shown(word: Argument) -> str:
    whole = repr(word)
    return whole if len(whole) <= _SHOWN else f"{whole[:_SHOWN]}..."
