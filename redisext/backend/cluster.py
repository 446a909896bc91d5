"""A Redis Cluster: several primaries with their replicas, each for some of the slots.

Theory of operation, after the "Redis Cluster Specification":

* Any node tells who has which slots (CLUSTER SLOTS). That is asked before the first command, and again when there is
  reason to doubt it: a node sends a command elsewhere, does not answer, or says that the cluster is down. Replicas come
  and go without any of that, and one that was just started is not named at first: who reads from them asks again
  after a while.
* MOVED names the new node of a slot for good, ASK that of a key while its slot is being moved: there it is asked once,
  after ASKING. TRYAGAIN, of a command with several keys, some of which have moved: it waits, and is tried again.
* The keys of a command are in one slot, and so are those of a transaction; else nothing is sent.
* A replica answers reads on connections that were told READONLY.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

import redis

from redisext.backend import failures
from redisext.backend.exchange import Answer
from redisext.backend.topology import ANEW, Anew, Ask, Node, Nodes, Once, Route, Seat, Topology, Trial
from redisext.dsn import Configuration
from redisext.errors import ArgumentError, NotReplicated, RedisextError
from redisext.pending import Pending
from redisext.slots import SLOTS, slot

__all__ = ["Cluster"]

N = TypeVar("N", bound=Node)


class _Shard(NamedTuple, Generic[N]):
    """A primary and its replicas."""

    primary: N
    replicas: tuple[N, ...] = ()


class Cluster(Topology[N]):
    """The rules in a cluster; see the head of this module."""

    def __init__(self, where: Configuration, nodes: Nodes[N]) -> None:
        super().__init__(where, nodes)
        self._seeds = tuple(nodes.at(where.at(*one)) for one in where.hosts)
        self._shards: list[_Shard[N] | None] = []
        """For each slot; empty as long as nobody was asked."""
        self._primaries: dict[N, _Shard[N]] = {}
        self._others: tuple[N, ...] = ()
        """Replicas, as nodes that may be asked who has what."""
        self._learned_at = -_REPLICAS_LAST
        self._turn = itertools.count(random.randrange(SLOTS))  # noqa: S311  # so that not all ask the same one
        self._moved: dict[int, tuple[float, N]] = {}
        """Slots of which a node has said who has them, and when."""
        self._leaving: dict[int, float] = {}
        """Slots that are being moved, since when: replicas do not know which keys have gone already."""
        self._in_doubt = False
        self._silent: set[N] = set()
        """Those that did not answer, and are asked last."""

    def primary(self, what: str, keys: Sequence[bytes]) -> Route[N, N]:
        """The one that has the slot of *keys*; any, which will refuse, if none has."""
        number = self._slot(what, keys)
        if self._is_unknown():
            yield from Once("who has which slots", self._find_out, self._is_unknown)
        shard = self._shards[number]
        return next(iter(self._primaries)) if shard is None else shard.primary

    def replicas(self, keys: Sequence[bytes]) -> Route[N, tuple[N, ...]]:
        """Those of the one that has the slot."""
        if self._is_due():
            yield from Once("who has which slots", self._find_out, self._is_due)
        number = self._slot("a read", keys)
        shard = self._shards[number]
        return () if shard is None or self._is_leaving(number) else shard.replicas

    def known_primary(self, keys: Sequence[bytes]) -> N | None:
        """The one that has the slot, if that is known, and the keys have no more than one."""
        shard = self._known_shard(keys)
        return None if shard is None else shard.primary

    def known_replicas(self, keys: Sequence[bytes]) -> tuple[N, ...] | None:
        """Its replicas."""
        shard = None if self._is_due() or self._leaving else self._known_shard(keys)
        return None if shard is None else shard.replicas

    def _is_leaving(self, number: int) -> bool:
        return time.monotonic() - self._leaving.get(number, -_LEAVES) < _LEAVES

    def _is_unknown(self) -> bool:
        """Whether to ask who has which slots, before anybody is."""
        return self._in_doubt or not self._shards

    def _is_due(self) -> bool:
        """Whether to ask who is there, before a replica is."""
        return self._is_unknown() or time.monotonic() - self._learned_at >= _REPLICAS_LAST

    def _known_shard(self, keys: Sequence[bytes]) -> _Shard[N] | None:
        return None if self._is_unknown() or len(keys) != 1 else self._shards[slot(keys[0])]

    def heard(self, node: N, error: RedisextError) -> None:
        """There is reason to doubt."""
        cause, now = error.__cause__, time.monotonic()
        if isinstance(cause, redis.exceptions.MovedError):
            owner = self._named_by(node, cause)
            self._shards[cause.slot_id] = self._primaries.get(owner) or _Shard(owner)
            self._moved[cause.slot_id] = now, owner
            # Of many slots that are moved, not each is reason to ask.
            self._in_doubt = self._in_doubt or now - self._learned_at > _OFTEN
        elif isinstance(cause, redis.exceptions.AskError):
            self._leaving[cause.slot_id] = now
        elif isinstance(error, NotReplicated):  # as where a replica is down; or it is no primary any more
            self._in_doubt = self._in_doubt or now - self._learned_at > _SETTLES
        elif not (failures.is_redirected(error) or failures.is_exhausted(error)) and (error.retriable or error.sent):
            self._in_doubt = True
            self._silent.add(node)

    def unanswered(self) -> None:
        """There may be another replica by now."""
        self._in_doubt = True

    def following(self, trial: Trial[N], seat: Seat[N], error: RedisextError) -> Seat[N] | Anew | None:
        """Where the cluster sends it; or to the new primary of its slot, if nothing was done."""
        cause = error.__cause__
        if isinstance(cause, redis.exceptions.TryAgainError):
            trial.waits = True
            return ANEW
        if not isinstance(cause, redis.exceptions.AskError):
            return super().following(trial, seat, error)
        node = self._named_by(seat.node, cause)
        moved = isinstance(cause, redis.exceptions.MovedError)
        # Who sends it back does not know yet what the other one knows.
        trial.waits = trial.waits or (moved and node in trial.seen)
        trial.seen.add(seat.node)
        return Seat(node, asking=not moved)

    def _named_by(self, node: N, cause: redis.exceptions.AskError) -> N:
        """The node to which *node* sends a command."""
        # Without a host, it is the one that says so.
        host = node.where.host if cause.host in ("", "?") else cause.host
        return self.nodes.at(self.where.at(host, cause.port))

    def ending(self, what: str, keys: Sequence[bytes], error: RedisextError) -> RedisextError:
        """What to raise where *error* is not followed: of what is on the move, that it may be tried again."""
        return failures.on_the_move(what, keys, error)

    def refusal(self, node: N, pending: Sequence[Pending[object]]) -> RedisextError | None:
        """Why a transaction was refused by a node that is not the right one any more; None if it was not."""
        super().refusal(node, pending)
        errors = [one.error for one in pending]
        if None in errors:
            return None  # it was carried out, as far as it could be
        return next((one for one in errors if isinstance(one, RedisextError) and failures.is_redirected(one)), None)

    def check_together(self, what: str, keys: Sequence[bytes]) -> None:
        """Raise :exc:`~redisext.errors.CrossSlot` if *keys* are in different slots."""
        self._slot(what, keys)

    def _slot(self, what: str, keys: Sequence[bytes]) -> int:
        if not keys:
            raise ArgumentError(f"{what} in a cluster watches a key at least: it goes to the node that has that")
        number = slot(keys[0])
        if len(keys) > 1 and any(slot(key) != number for key in keys):
            raise failures.cross_slot(what, keys)
        return number

    def _find_out(self) -> Route[N, None]:
        self._in_doubt = False  # before anybody is asked: doubts that come up meanwhile stay
        try:
            yield from self._ask_one()
        except BaseException:
            self._in_doubt = True
            raise

    def _ask_one(self) -> Route[N, None]:
        last: RedisextError | None = None
        for node in self._whom_to_ask():
            try:
                [answer] = yield from Ask(node, [("CLUSTER", "SLOTS")])
                if isinstance(answer, redis.exceptions.RedisError):
                    raise failures.no_cluster(node.where, answer)
            except RedisextError as error:
                self._silent.add(node)
                if not error.retriable:
                    raise
                last = error
            else:
                self._learn(node, answer)
                return
        raise failures.no_primary(self.where, f"no node answers, the last one was: {last}") from last

    def _whom_to_ask(self) -> Sequence[N]:
        """All that are known, those last that did not answer."""
        known = [*dict.fromkeys((*self._primaries, *self._seeds, *self._others))]
        # Another one each time: one that was cut off would tell the same for ever.
        first = next(self._turn) % len(known)
        return sorted(known[first:] + known[:first], key=self._silent.__contains__)

    def _learn(self, node: N, answer: Answer) -> None:
        shards: list[_Shard[N] | None] = [None] * SLOTS
        primaries: dict[N, _Shard[N]] = {}
        others: dict[N, None] = {}
        readers: set[N] = set()
        for first, last, (primary, *replicas) in _ranges(node.where.host, answer):
            shard = _Shard(
                self.nodes.at(self.where.at(*primary)),
                tuple(self.nodes.at(self.where.at(*one, readonly=True)) for one in replicas)
                if self.where.read_from_replicas
                else (),
            )
            primaries[shard.primary] = shard
            readers.update(shard.replicas)
            others.update((self.nodes.at(self.where.at(*one)), None) for one in replicas)
            shards[first : last + 1] = [shard] * (last + 1 - first)
        if not primaries:  # it knows of nobody but itself
            primaries[node] = _Shard(node)
        now = time.monotonic()
        # What nodes have just said of single slots is newer than what one that has not heard of it tells.
        self._moved = {number: told for number, told in self._moved.items() if now - told[0] < _SETTLES}
        for number, (_, owner) in self._moved.items():
            named = shards[number]
            if named is None or named.primary is not owner:
                shards[number] = primaries.setdefault(owner, _Shard(owner))
        self._leaving = {number: at for number, at in self._leaving.items() if now - at < _LEAVES}
        for one in self._primaries:
            if one not in primaries:
                one.cut()
        self._silent.discard(node)
        self._primaries, self._others, self._shards = primaries, tuple(others), shards
        self._learned_at = now
        self.nodes.keep({*self._seeds, *primaries, *others, *readers})


def _ranges(asked: str, answer: Answer) -> Iterator[tuple[int, int, list[tuple[str, int]]]]:
    """The first and the last slot of each range, and the addresses of its nodes, the primary's first."""
    for one in answer if isinstance(answer, list) else []:
        match one:
            case [int(first), int(last), primary, *replicas]:
                address = _address(asked, primary)
                others = [_address(asked, replica) for replica in replicas]
                if address is not None:
                    yield first, last, [address, *(other for other in others if other is not None)]
            case _:
                pass


def _address(asked: str, node: Answer) -> tuple[str, int] | None:
    """Where a node is; None if that is not known. Without a host, it is where it was *asked*."""
    match node:
        case [bytes() | None as host, int(port), *_] if host != _UNKNOWN:
            return (host.decode() if host else asked), port
        case _:
            return None


_UNKNOWN: Final = b"?"
_OFTEN: Final = 0.1
"""Seconds in which not to ask again for a single slot that has moved."""

_SETTLES: Final = 1.0
"""Seconds in which a change has become known to all nodes."""

_LEAVES: Final = 10.0
"""Seconds for which a slot is taken to be on the move, after a key was found to have gone."""

_REPLICAS_LAST: Final = 10.0
"""Seconds after which it is asked again who the replicas are."""
