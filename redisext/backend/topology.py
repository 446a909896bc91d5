"""Which server gets what: the rules, without any I/O.

Theory of operation. A topology knows the servers, here called nodes, and who of them is what. How a command finds its
way is a generator, a *route*: it yields requests (say this to that node, wait a moment), is sent what came of each, and
returns the reply. An error is thrown into it, and it decides what follows: another replica, the node that a cluster
names, the primary that has taken over, or nothing, and then the error is the caller's. Both backends over redis-py
drive the same routes, one by waiting and one by awaiting.

A route makes one attempt. It goes on to another node only if that does no harm: after a read, or after what was
certainly not carried out. To make several attempts, until a deadline, is the backend's.

What is known of the servers is replaced in single steps, so that threads need no lock for it. To find out what is not
known is one's work for all: :class:`Once`.

* :class:`Fixed`: a primary and its replicas, as they were named.
* :class:`~redisext.backend.sentinel.Sentinel`: a primary and its replicas, as Sentinels name them.
* :class:`~redisext.backend.cluster.Cluster`: several such, each for some of the slots.
"""

from __future__ import annotations

import itertools
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from redisext.backend import failures
from redisext.backend.exchange import Answer, Words
from redisext.backoff import waits
from redisext.command import Command, Reply, Wait
from redisext.dsn import Configuration
from redisext.errors import CrossSlot, RedisextError
from redisext.pending import Pending, without_overtaking

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "ANEW",
    "TRANSACTION",
    "Anew",
    "Ask",
    "Call",
    "CallMany",
    "Commit",
    "Fixed",
    "Node",
    "Nodes",
    "Once",
    "Request",
    "Route",
    "Seat",
    "Topology",
    "Trial",
]


class Node(Protocol):
    """What a topology knows of one server."""

    @property
    def where(self) -> Configuration:
        """Its address, and how to talk to it."""
        ...

    def cut(self) -> None:
        """Close the connections to it, those in use too: it is not any more what they were made for."""
        ...

    def end(self) -> None:
        """The same, for good."""
        ...


N = TypeVar("N", bound=Node)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Nodes(Generic[N]):
    """The servers of a backend, each made when it is first named."""

    def __init__(self, make: Callable[[Configuration], N]) -> None:
        self._make = make
        self._made: dict[Configuration, N] = {}
        self._forgotten: list[weakref.ref[N]] = []
        self.ended: bool = False
        """Whether the backend was closed: then all that are made are."""

    def at(self, where: Configuration) -> N:
        """The node there."""
        node = self._made.get(where)
        if node is None:
            node = self._made.setdefault(where, self._make(where))
            if self.ended:
                node.end()
        return node

    def keep(self, named: Collection[N]) -> None:
        """Forget all others, which are gone, and close the connections to them."""
        for where, node in tuple(self._made.items()):
            if node not in named:
                self._made.pop(where, None)
                self._forgotten = [one for one in self._forgotten if one() is not None] + [weakref.ref(node)]
                node.cut()

    def __iter__(self) -> Iterator[N]:
        """All, also those that are forgotten and still in use."""
        yield from tuple(self._made.values())
        yield from (node for one in self._forgotten if (node := one()) is not None)


# --- Requests


class Seat(NamedTuple, Generic[N]):
    """Where something is said: a node; with `asking`, as the one that a cluster is just moving the key to."""

    node: N
    asking: bool = False


class _Request(Generic[R_co]):
    """What a route yields; it is sent an R_co."""

    def __iter__(self) -> Generator[Self, object, R_co]:
        result = yield self
        # A driver answers each request with what its class says.
        return cast("R_co", result)


class Call(_Request[Reply], Generic[N]):
    """Have *command* carried out there; its reply."""

    def __init__(self, seat: Seat[N], command: Command[object]) -> None:
        self.seat = seat
        self.command = command


class CallMany(_Request[Sequence[RedisextError | None]], Generic[N]):
    """Have each seat carry out its commands, all at the same time; for each, why nothing was said to it."""

    def __init__(self, parts: Mapping[Seat[N], Sequence[Pending[object]]]) -> None:
        self.parts = parts


class Commit(_Request[None], Generic[N]):
    """Have *pending* carried out there as a transaction."""

    def __init__(self, node: N, pending: Sequence[Pending[object]]) -> None:
        self.node = node
        self.pending = pending


class Ask(_Request[Sequence[Answer]], Generic[N]):
    """Say *words* to a node; its answers, errors among them."""

    def __init__(self, node: N, words: list[Words]) -> None:
        self.node = node
        self.words = words


class Once(_Request[None], Generic[N]):
    """Go a *route*; where it is being gone, wait for its end, and share its outcome.

    *needed* tells whether nobody has found it out meanwhile.
    """

    def __init__(self, name: str, route: Callable[[], Route[N, None]], needed: Callable[[], bool]) -> None:
        self.name = name
        self.route = route
        self.needed = needed


Request: TypeAlias = "Call[N] | CallMany[N] | Commit[N] | Ask[N] | Once[N]"

Route: TypeAlias = "Generator[Request[N] | Wait, object, R]"
"""How something finds its way to those who carry it out."""


class Anew:
    """In place of a seat: whoever is the primary by now."""


ANEW: Final = Anew()


class Trial(Generic[N]):
    """How far one attempt has come on its way from node to node."""

    def __init__(self, where: Configuration) -> None:
        self._end = time.monotonic() + where.socket_timeout
        self._pauses = waits(_LONGEST_PAUSE)
        self.turn: int = 0
        self.waits: bool = False
        """Whether to wait before each turn from now on: something is under way in a cluster."""
        self.seen: set[N] = set()
        """Those that have sent it elsewhere."""

    def begin_turn(self) -> Generator[Wait, object, None]:
        """Go to the next node, or to the same after a pause."""
        self.turn += 1
        if self.waits:
            yield Wait(next(self._pauses))

    @property
    def over(self) -> bool:
        """Whether to give up: what is sent on so often goes in circles, and what takes so long does not end."""
        return time.monotonic() >= self._end if self.waits else self.turn >= _TURNS


_TURNS: Final = 16
_LONGEST_PAUSE: Final = 0.1


# --- Who gets what


class Topology(ABC, Generic[N]):
    """The rules; see the head of this module."""

    fails_over: ClassVar[bool] = True
    """Whether another server may take over from the primary."""

    def __init__(self, where: Configuration, nodes: Nodes[N]) -> None:
        self.where = where
        self.nodes = nodes
        self._health = _Health[N](where.socket_connect_timeout + where.socket_timeout)

    @abstractmethod
    def primary(self, what: str, keys: Sequence[bytes]) -> Route[N, N]:
        """The node where *keys* are written. Raises :exc:`~redisext.errors.CrossSlot` if they have none in common."""

    @abstractmethod
    def replicas(self, keys: Sequence[bytes]) -> Route[N, tuple[N, ...]]:
        """Those that have copies of them."""

    @abstractmethod
    def known_primary(self, keys: Sequence[bytes]) -> N | None:
        """The same as `primary`, if that is known for sure; None if not, and where the keys have none in common."""

    @abstractmethod
    def known_replicas(self, keys: Sequence[bytes]) -> tuple[N, ...] | None:
        """The same as `replicas`, if they are known."""

    def at_once(self, command: Command[object], *, from_replica: bool) -> N | None:
        """Who is to carry out *command*, if there is nothing to find out: mostly there is not, and no route is gone."""
        if not from_replica:
            return self.known_primary(command.keys)
        replicas = self.known_replicas(command.keys)
        return self._health.any_of(replicas) if replicas else None

    def answered(self) -> None:
        """A primary has answered."""

    def heard(self, node: N, error: RedisextError) -> None:
        """It has not, or has refused."""

    def unanswered(self) -> None:
        """A replica has not answered."""

    def following(self, trial: Trial[N], seat: Seat[N], error: RedisextError) -> Seat[N] | Anew | None:  # noqa: ARG002  # for a cluster
        """Where to go on after *error*; None if that could do harm, or would be of no use."""
        untouched = error.retriable and not error.sent
        return ANEW if self.fails_over and untouched and trial.turn == 1 else None

    def ending(self, what: str, keys: Sequence[bytes], error: RedisextError) -> RedisextError:  # noqa: ARG002  # as above
        """What to raise where *error* is not followed: *error* itself."""
        return error

    # --- Routes

    def call(
        self, command: Command[object], *, from_replica: bool, failed: tuple[N, RedisextError] | None = None
    ) -> Route[N, tuple[Seat[N], Reply]]:
        """Carry out *command*, by a replica if that may be: who did it, and the reply.

        *failed*: the node that was to do so at once, and why it did not.
        """
        if from_replica:
            reading = _Reading[N]()
            if failed is not None and not self._pass_on(*failed, reading):
                raise failed[1]
            # Who they are is asked each time: they may be others by then.
            while (node := (yield from self._reader((yield from self.replicas(command.keys)), reading))) is not None:
                try:
                    reply = yield from Call(Seat(node), command)
                except RedisextError as error:
                    if not self._pass_on(node, error, reading):
                        raise
                else:
                    self._health.answered(node)
                    return Seat(node), reply
            if (failure := self._unread(reading)) is not None:
                raise failure
            failed = None
        return (yield from self._write(command, failed))

    def _write(
        self, command: Command[object], failed: tuple[N, RedisextError] | None
    ) -> Route[N, tuple[Seat[N], Reply]]:
        name, keys = command.op.name, command.keys
        trial = Trial[N](self.where)
        if failed is None:
            seat = Seat((yield from self.primary(name, keys)))
        else:
            node, error = failed
            self.heard(node, error)
            yield from trial.begin_turn()
            seat = yield from self.moved(trial, Seat(node), name, keys, error)
        while True:
            yield from trial.begin_turn()
            try:
                reply = yield from Call(seat, command)
            except RedisextError as error:
                self.heard(seat.node, error)
                seat = yield from self.moved(trial, seat, name, keys, error)
            else:
                self.answered()
                return seat, reply

    def call_many(self, pending: Sequence[Pending[object]], *, from_replicas: bool) -> Route[N, None]:
        """Carry out all, those that only read by replicas if that may be. Raises only if nothing was sent."""
        trial = Trial[N](self.where)
        seats: dict[Pending[object], Seat[N]] = {}
        readings: dict[tuple[N, ...], _Reading[N]] = {}
        left = pending
        while left:
            yield from trial.begin_turn()
            try:
                parts = yield from self._parts(left, seats, readings if from_replicas else None)
            except RedisextError as error:
                if trial.turn == 1:
                    raise
                for one in left:
                    one.fail(failures.once_more(error))
                return
            seats = {}
            unsaid = yield from CallMany({seat: its for seat, (_, its) in parts.items()})
            again: dict[Pending[object], RedisextError] = {}
            for (seat, (reading, its)), reason in zip(parts.items(), unsaid, strict=True):
                if reason is not None:
                    for one in its:
                        one.fail(failures.once_more(reason))
                if any(one.succeeded for one in its):
                    if reading is None:
                        self.answered()
                    else:
                        self._health.answered(seat.node)
                for one in its:
                    if not isinstance(one.error, RedisextError):
                        continue
                    following: Seat[N] | Anew | None
                    if reading is not None:
                        following = ANEW if self._pass_on(seat.node, one.error, reading) else None
                    else:
                        self.heard(seat.node, one.error)
                        following = None if trial.over else self.following(trial, seat, one.error)
                        if following is None:
                            one.fail(self.ending(one.command.op.name, one.command.keys, one.error))
                    if following is not None:
                        again[one] = one.error
                    if isinstance(following, Seat):
                        seats[one] = following
            left = without_overtaking(left, again.__contains__)
            for one in again.keys() - set(left):  # a later one has overtaken it, so that it ends here
                one.fail(self.ending(one.command.op.name, one.command.keys, again[one]))
                one.give_up()

    def commit(self, pending: Sequence[Pending[object]]) -> Route[N, None]:
        """Carry out all together."""
        keys = list(dict.fromkeys(key for one in pending for key in one.command.keys))
        trial = Trial[N](self.where)
        seat = Seat((yield from self.primary(TRANSACTION, keys)))
        while True:
            yield from trial.begin_turn()
            try:
                yield from Commit(seat.node, pending)
            except RedisextError as error:
                self.heard(seat.node, error)
                seat = yield from self.moved(trial, seat, TRANSACTION, keys, error)
            else:
                reason = self.refusal(seat.node, pending) or _refused_for_now(pending)
                if reason is None:
                    return
                try:
                    seat = yield from self.moved(trial, seat, TRANSACTION, keys, reason)
                except RedisextError as error:
                    for one in pending:
                        one.fail(failures.once_more(error))
                    return

    def refusal(self, node: N, pending: Sequence[Pending[object]]) -> RedisextError | None:
        """Why a transaction was refused by a node that is not the right one any more; None if it was not."""
        for one in pending:
            if isinstance(one.error, RedisextError):
                self.heard(node, one.error)
        if any(one.succeeded for one in pending):
            self.answered()
        return None

    def concluded(self, node: N, keys: Sequence[bytes], pending: Sequence[Pending[object]], *, committed: bool) -> bool:
        """Whether a session's transaction is over: if not, nothing was carried out, and it is to be begun anew."""
        reason = self.refusal(node, pending)
        if reason is None:
            return committed
        if failures.has_moved(reason):
            for one in pending:
                one.abandon("its key has moved to another node")
            return False
        ending = self.ending(TRANSACTION, keys, reason)
        for one in pending:
            one.fail(failures.once_more(ending))
        return True

    def check_together(self, what: str, keys: Sequence[bytes]) -> None:
        """Raise :exc:`~redisext.errors.CrossSlot` if *keys* are not all at one primary."""

    def moved(
        self, trial: Trial[N], seat: Seat[N], what: str, keys: Sequence[bytes], error: RedisextError
    ) -> Route[N, Seat[N]]:
        """Where to go on after *error*; raises it if nowhere."""
        following = self.following(trial, seat, error)
        if isinstance(following, Seat) and following.asking and what is TRANSACTION:
            trial.waits = True  # it cannot be carried out by both: it waits until the key has moved
            following = ANEW
        if following is None or trial.over:
            raise self.ending(what, keys, error) from error.__cause__
        if isinstance(following, Seat):
            return following
        try:
            node = yield from self.primary(what, keys)
        except RedisextError:
            raise self.ending(what, keys, error) from error.__cause__
        if node is seat.node and not trial.waits:
            raise error
        return Seat(node)

    def _parts(
        self,
        left: Sequence[Pending[object]],
        seats: Mapping[Pending[object], Seat[N]],
        readings: dict[tuple[N, ...], _Reading[N]] | None,
    ) -> Route[N, dict[Seat[N], tuple[_Reading[N] | None, list[Pending[object]]]]]:
        """Who carries out what. Of each group of replicas, one gets all that only reads."""
        parts: dict[Seat[N], tuple[_Reading[N] | None, list[Pending[object]]]] = {}
        readers: dict[tuple[N, ...], N | None] = {}
        for one in left:
            command = one.command
            seat = seats.get(one)
            reading: _Reading[N] | None = None
            try:
                if seat is None and readings is not None and command.op.reads:
                    replicas = yield from self.replicas(command.keys)
                    reading = readings.setdefault(replicas, _Reading[N]())
                    if replicas not in readers:
                        readers[replicas] = yield from self._reader(replicas, reading)
                    reader = readers[replicas]
                    if reader is not None:
                        seat = Seat(reader)
                    elif (failure := self._unread(reading)) is not None:
                        one.fail(failures.once_more(failure))
                        continue
                    else:
                        reading = None
                if seat is None:
                    seat = Seat((yield from self.primary(command.op.name, command.keys)))
            except CrossSlot as error:
                one.fail(error)
                continue
            parts.setdefault(seat, (reading, []))[1].append(one)
        return parts

    # --- Replicas

    def reader(self, keys: Sequence[bytes]) -> Route[N, N]:
        """The replica whose turn it is; the primary where there is none."""
        replicas = yield from self.replicas(keys)
        for node in self._health.in_turn(replicas):
            return node
        return (yield from self.primary("a read", keys))

    def _reader(self, replicas: tuple[N, ...], reading: _Reading[N]) -> Route[N, N | None]:
        """The replica that answers next; None if there is none left to try."""
        for node in self._health.in_turn(replicas):
            if node in reading.tried:
                continue
            try:
                yield from self._check_link(node)
            except RedisextError as error:
                if not self._pass_on(node, error, reading):
                    raise
            else:
                return node
        return None

    def _check_link(self, node: N) -> Route[N, None]:
        """Now and then, see whether it still hears of its primary: if not, what it knows grows old."""
        if not self._health.is_due(node):
            return
        [role] = yield from Ask(node, [("ROLE",)])
        # Who may not ask, is not told.
        if isinstance(role, list) and role[0] == b"slave" and role[3] != b"connected":
            raise failures.out_of_touch(node.where)

    def _pass_on(self, node: N, error: RedisextError, reading: _Reading[N]) -> bool:
        """Whether another may answer in its place."""
        if failures.is_redirected(error):  # it is nobody's replica any more
            self.heard(node, error)
            reading.tried.add(node)
            return True
        if not error.retriable:
            return False
        self._health.failed(node)
        reading.tried.add(node)
        reading.failure = error
        self.unanswered()
        return True

    def _unread(self, reading: _Reading[N]) -> RedisextError | None:
        """Why nothing is read, where no replica has answered and the primary shall not."""
        return None if self.where.fallback_to_primary else reading.failure


def _refused_for_now(pending: Sequence[Pending[object]]) -> RedisextError | None:
    """Why nothing of a transaction was carried out, if another may carry it out."""
    errors = [one.error for one in pending if isinstance(one.error, RedisextError)]
    untouched = [error for error in errors if error.retriable and not error.sent]
    return untouched[0] if len(untouched) == len(pending) else None


TRANSACTION: Final = "a transaction"


class _Reading(Generic[N]):
    """Which replicas one attempt has tried, and why the last one did not answer."""

    def __init__(self) -> None:
        self.tried: set[N] = set()
        self.failure: RedisextError | None = None


class _Health(Generic[N]):
    """Which replicas answer. They take turns; one that fails is left alone for a while, longer each time."""

    def __init__(self, probe: float) -> None:
        self._probe = probe
        """For how long (seconds) one may try whether another is back."""
        self._failed_at: dict[N, float] = {}
        self._turn = itertools.count()
        self._until: dict[N, float] = {}
        self._pause: dict[N, float] = {}
        self._seen: dict[N, float] = {}

    def in_turn(self, replicas: tuple[N, ...]) -> Sequence[N]:
        """Whom to try, one after the other."""
        if not replicas:
            return ()
        first = next(self._turn) % len(replicas)
        ordered = replicas[first:] + replicas[:first]
        if not self._until:
            return ordered
        now = time.monotonic()
        up = [node for node in ordered if self._until.get(node, 0) <= now]
        if up and up[0] in self._until:  # one sees whether it is back, and the others leave it alone
            self._until[up[0]] = now + self._probe
        # Where all are down, the one that was so for the longest time may be up again.
        return up or sorted(ordered, key=lambda node: self._until.get(node, 0))

    def any_of(self, replicas: tuple[N, ...]) -> N | None:
        """The one whose turn it is, if all are well and none is due to be looked at."""
        now = time.monotonic()
        if self._until or any(now - self._seen.get(node, -_SEEN) >= _SEEN for node in replicas):
            return None
        return replicas[next(self._turn) % len(replicas)]

    def is_due(self, node: N) -> bool:
        """Whether to see how it is; not more than once in a while."""
        now = time.monotonic()
        if now - self._seen.get(node, -_SEEN) < _SEEN:
            return False
        self._seen[node] = now
        return True

    def failed(self, node: N) -> None:
        """It does not answer, or should not."""
        now = time.monotonic()
        if self._failed_at.get(node, 0) + _REST / 2 > now:
            return  # with others that were under way, of which that is known already
        self._failed_at[node] = now
        pause = self._pause[node] = min(_LONGEST_REST, 2 * self._pause.get(node, _REST / 2))
        self._until[node] = now + pause
        self._seen.pop(node, None)

    def answered(self, node: N) -> None:
        """It does again."""
        if self._until.pop(node, None) is not None:
            self._pause.pop(node, None)


_SEEN: Final = 1.0
_REST: Final = 0.5
_LONGEST_REST: Final = 15.0
"""Seconds: between two looks at a replica; and how long one that fails is left alone, at first and at the most."""


class Fixed(Topology[N]):
    """A primary and its replicas, as they were named."""

    fails_over = False

    def __init__(self, where: Configuration, nodes: Nodes[N]) -> None:
        super().__init__(where, nodes)
        self._primary = nodes.at(replace(where, replicas=()))
        self._replicas = tuple(nodes.at(one) for one in where.replicas)

    def known_primary(self, keys: Sequence[bytes]) -> N:  # noqa: ARG002  # it has all keys
        """The one that was named."""
        return self._primary

    def known_replicas(self, keys: Sequence[bytes]) -> tuple[N, ...]:  # noqa: ARG002  # as above
        """Those that were named."""
        return self._replicas

    def primary(self, what: str, keys: Sequence[bytes]) -> Route[N, N]:  # noqa: ARG002  # as above
        """The one that was named."""
        yield from ()  # so that it is a route
        return self._primary

    def replicas(self, keys: Sequence[bytes]) -> Route[N, tuple[N, ...]]:  # noqa: ARG002  # as above
        """Those that were named."""
        yield from ()  # as above
        return self._replicas
