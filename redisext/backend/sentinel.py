"""A primary and its replicas, as Sentinels name them.

Theory of operation, after the "Guidelines for Redis clients with support for Redis Sentinel":

* Sentinels are asked before the first command, and again whenever there is reason to doubt what they said: a connection
  to the primary broke, it does not answer, or it refused a write. Whoever comes next finds out.
* They may differ: while a failover is under way, and after a network was split. So a majority of them is asked, and
  the answer with the highest epoch counts, which is the newest. One from before what is known does not, unless a
  majority gives it. Then the named one is asked for its own role.
* If it is another one than before, the connections to the old one are cut, also those on which somebody waits.
* An old primary that was frozen or cut off goes on as such when it is back, until a Sentinel tells it otherwise; what
  is written to it then is lost. So Sentinels are also asked when nothing was heard of the primary for a second, however
  that came about. If none answers then, what they said before holds. If they name another one, nobody else will do.
* The replicas answer also while there is no primary. Who they are is asked now and then.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

import redis

from redisext.backend import failures
from redisext.backend.exchange import Answer
from redisext.backend.topology import Ask, Node, Nodes, Once, Route, Topology
from redisext.dsn import Configuration
from redisext.errors import ConfigurationError, NotReplicated, RedisextError

__all__ = ["Sentinel"]

N = TypeVar("N", bound=Node)


class _Named(NamedTuple):
    """What a Sentinel says: in which epoch, where the primary is, and who are its replicas."""

    epoch: int
    primary: tuple[str, int]
    replicas: tuple[tuple[str, int], ...]


class _Appointed(NamedTuple, Generic[N]):
    """Who is the primary, since which epoch."""

    primary: N
    epoch: int


class Sentinel(Topology[N]):
    """The rules where Sentinels decide; see the head of this module."""

    def __init__(self, where: Configuration, nodes: Nodes[N]) -> None:
        super().__init__(where, nodes)
        self._sentinels = tuple(nodes.at(one) for one in where.sentinels())
        self._resting: dict[N, float] = {}
        """Those that did not answer, and until when the others are asked alone."""
        self._appointed: _Appointed[N] | None = None
        self._in_doubt = True
        self._heard_at = 0.0
        self._silence = _SILENCE
        self._replicas: tuple[N, ...] | None = None
        self._asked_at = 0.0

    def primary(self, what: str, keys: Sequence[bytes]) -> Route[N, N]:  # noqa: ARG002  # it has all keys
        """The one of the group."""
        if self._is_due():
            find = self._find_out if self._in_doubt else self._make_sure
            yield from Once("who is the primary", find, self._is_due)
        if self._appointed is None:  # nobody could be asked
            raise ConfigurationError(
                f"{self.where} was not asked yet who is primary: await a command before its client"
            )
        return self._appointed.primary

    def replicas(self, keys: Sequence[bytes]) -> Route[N, tuple[N, ...]]:  # noqa: ARG002  # as above
        """Those of the group, also while it has no primary."""
        if self._is_old():
            yield from Once("who are the replicas", self._ask_for_replicas, self._is_old)
        return self._replicas or ()

    def known_primary(self, keys: Sequence[bytes]) -> N | None:  # noqa: ARG002  # as above
        """The one of the group, if nobody has to be asked."""
        return None if self._is_due() or self._appointed is None else self._appointed.primary

    def known_replicas(self, keys: Sequence[bytes]) -> tuple[N, ...] | None:  # noqa: ARG002  # as above
        """Those of the group, if nobody has to be asked."""
        return None if self._is_old() else self._replicas

    def answered(self) -> None:
        """After a long silence, it may not be the primary any more."""
        now = time.monotonic()
        if now - self._heard_at < self._silence:
            self._heard_at = now

    def heard(self, node: N, error: RedisextError) -> None:  # noqa: ARG002  # whoever it was of the group
        """There may be reason to doubt."""
        if isinstance(error, NotReplicated):  # as where a replica is down; or the others follow another one by now
            self._in_doubt = self._in_doubt or time.monotonic() - self._asked_at > _SILENCE
        elif not failures.is_exhausted(error) and (error.retriable or error.sent or _is_refusal(error)):
            self._in_doubt = True

    def unanswered(self) -> None:
        """There may be other replicas by now."""
        self._asked_at = min(self._asked_at, time.monotonic() - _REPLICAS_LAST + _SILENCE)

    def _is_due(self) -> bool:
        """Whether to ask who is the primary."""
        return self._in_doubt or time.monotonic() - self._heard_at >= self._silence

    def _is_old(self) -> bool:
        """Whether to ask who the replicas are."""
        return self._replicas is None or time.monotonic() - self._asked_at >= _REPLICAS_LAST

    def _find_out(self) -> Route[N, None]:
        """Who is the primary by now."""
        self._in_doubt = False  # before anybody is asked: doubts that come up meanwhile stay
        try:
            named = yield from self._ask_all()
            yield from self._appoint(named)
        except BaseException:
            self._in_doubt = True
            raise

    def _make_sure(self) -> Route[N, None]:
        """Whether it is still the same. If nobody answers, it is. Meanwhile, others go on."""
        self._heard_at = time.monotonic()
        try:
            named = yield from self._ask_all()
        except RedisextError:
            self._silence = min(_LONGEST_SILENCE, self._silence * 2)
            return
        self._silence = _SILENCE
        known = self._appointed
        if known is None or self.nodes.at(self.where.at(*named.primary)) is not known.primary:
            self._in_doubt = True
            yield from self._appoint(named)
            self._in_doubt = False

    def _appoint(self, named: _Named) -> Route[N, None]:
        primary = self.nodes.at(self.where.at(*named.primary))
        [role] = yield from Ask(primary, [("ROLE",)])
        # Who may not ask for it, has to believe.
        if isinstance(role, list) and role[0] != b"master":
            raise failures.no_primary(self.where, f"{primary.where} is named, and is none yet")
        old, self._appointed = self._appointed, _Appointed(primary, named.epoch)
        self._heard_at = time.monotonic()
        self._silence = _SILENCE
        if old is not None and old.primary is not primary:
            old.primary.cut()

    def _ask_for_replicas(self) -> Route[N, None]:
        try:
            yield from self._ask_all()
        except RedisextError:
            if self._replicas is None:
                raise
            self._asked_at = time.monotonic()  # what they said before holds

    def _ask_all(self) -> Route[N, _Named]:
        """What the newest answer is, of a majority."""
        now = time.monotonic()
        resting = [node for node in self._sentinels if self._resting.get(node, 0.0) > now]
        awake = [node for node in self._sentinels if node not in resting]
        answers: list[_Named] = []
        unknown = False
        failed: list[RedisextError] = []
        for node in (*awake, *resting):
            if node in resting and answers:
                break
            try:
                named = yield from self._ask(node)
            except RedisextError as error:
                failed.append(error)
                self._resting[node] = time.monotonic() + _REST
                continue
            self._resting.pop(node, None)
            if named is None:
                unknown = True
                continue
            answers.append(named)
            if self._agreed(answers) * 2 > len(self._sentinels):
                break
        if not answers:
            raise self._nobody(failed, unknown=unknown)
        newest = max(answers, key=_epoch)
        # Who was left behind, or cut off, tells of what was.
        known = self._appointed
        minority = self._agreed(answers) * 2 <= len(self._sentinels)
        if known is not None and newest.epoch < known.epoch and minority:
            raise failures.no_primary(self.where, "the Sentinels that answer tell of what was before")
        self._replicas = tuple(self.nodes.at(self.where.at(*one)) for one in newest.replicas)
        self._asked_at = time.monotonic()
        primaries = [self.nodes.at(self.where.at(*newest.primary)), *([known.primary] if known else [])]
        self.nodes.keep({*self._sentinels, *self._replicas, *primaries})
        return newest

    @staticmethod
    def _agreed(answers: Sequence[_Named]) -> int:
        """How many tell the same as the newest."""
        newest = max(answers, key=_epoch)
        return sum(one.epoch == newest.epoch and one.primary == newest.primary for one in answers)

    def _nobody(self, failed: Sequence[RedisextError], *, unknown: bool) -> RedisextError:
        """Why there is no answer."""
        refused = [error for error in failed if not error.retriable]
        if unknown:
            return ConfigurationError(
                f"the Sentinels of {self.where} know no service {self.where.service!r}: "
                "the name stands in the DSN's path, redis+sentinel://host:port/service/db"
            )
        if refused:
            return refused[0]
        reason = failures.no_primary(self.where, f"no Sentinel answers: {'; '.join(map(str, failed))}")
        reason.__cause__ = failed[-1] if failed else None
        return reason

    def _ask(self, node: N) -> Route[N, _Named | None]:
        """What one of them says; None if it does not know the service."""
        service = self.where.service
        of_replicas = [("SENTINEL", "REPLICAS", service)] if self.where.read_from_replicas else []
        try:
            address, details, *listed = yield from Ask(
                node,
                [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service), ("SENTINEL", "MASTER", service), *of_replicas],
            )
        except ConfigurationError as error:
            raise failures.no_entry(node.where, error) from error.__cause__
        if isinstance(address, redis.exceptions.RedisError):
            raise failures.no_sentinel(node.where, address)
        if not isinstance(address, list):
            return None
        host, port = address
        replicas = [_fields(one) for answer in listed if isinstance(answer, list) for one in answer]
        return _Named(
            int(_fields(details).get("config-epoch", 0)),
            (_text(host), int(_text(port))),
            tuple((one["ip"], int(one["port"])) for one in replicas if _is_up(one)),
        )


def _epoch(named: _Named) -> int:
    return named.epoch


_REST: Final = 10.0
"""Seconds for which a Sentinel that did not answer is left alone."""

_REPLICAS_LAST: Final = 10.0
"""Seconds after which it is asked again who the replicas are."""

_SILENCE: Final = 1.0
_LONGEST_SILENCE: Final = 60.0
"""Seconds without a word of the primary, after which Sentinels are asked; and the most, while none answers."""


def _is_refusal(error: RedisextError) -> bool:
    return isinstance(error.__cause__, redis.exceptions.ReadOnlyError)


def _is_up(replica: dict[str, str]) -> bool:
    """Whether it is there, and in touch with its primary, as far as Sentinels know."""
    down = {"s_down", "o_down", "disconnected"}.intersection(replica.get("flags", "").split(","))
    return not down and replica.get("master-link-status") == "ok"


def _fields(answer: Answer) -> dict[str, str]:
    """An answer that lists names and values."""
    if not isinstance(answer, list):
        return {}
    words = map(_text, answer)
    return dict(zip(words, words, strict=True))


def _text(word: Answer) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
