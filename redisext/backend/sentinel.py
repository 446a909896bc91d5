"""A primary and its replicas, as Sentinels name them.

Theory of operation, after the "Guidelines for Redis clients with support for Redis Sentinel":

* Sentinels are asked before the first command, and again whenever there is reason to doubt what they said: a connection
  to the primary broke, it does not answer, or it refused a write. Whoever comes next finds out.
* They may differ: while a failover is under way, and after a network was split. So a majority of them is asked, and
  the answer with the highest epoch counts, which is the newest. Then the named one is asked for its own role.
* If it is another one than before, the connections to the old one are cut, also those on which somebody waits.
* An old primary that was frozen or cut off goes on as such when it is back, until a Sentinel tells it otherwise; what
  is written to it then is lost. So Sentinels are also asked when nothing was heard of the primary for a second, however
  that came about. If none answers then, what they said before holds.
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
from redisext.errors import ConfigurationError, RedisextError

__all__ = ["Sentinel"]

N = TypeVar("N", bound=Node)


class _Group(NamedTuple, Generic[N]):
    """Who is what."""

    primary: N
    replicas: tuple[N, ...]


class _Named(NamedTuple):
    """What a Sentinel says: in which epoch, where the primary is, and who are its replicas."""

    epoch: int
    primary: tuple[str, int]
    replicas: tuple[tuple[str, int], ...]


class Sentinel(Topology[N]):
    """The rules where Sentinels decide; see the head of this module."""

    def __init__(self, where: Configuration, nodes: Nodes[N]) -> None:
        super().__init__(where, nodes)
        # Those that answered last come first.
        self._sentinels = [nodes.at(one) for one in where.sentinels()]
        self._group: _Group[N] | None = None
        self._in_doubt = False
        self._heard_at = 0.0
        self._silence = _SILENCE

    def primary(self, what: str, keys: Sequence[bytes]) -> Route[N, N]:  # noqa: ARG002  # it has all keys
        """The one of the group."""
        return (yield from self._known()).primary

    def replicas(self, keys: Sequence[bytes]) -> Route[N, tuple[N, ...]]:  # noqa: ARG002  # as above
        """Those of the group."""
        return (yield from self._known()).replicas

    def answered(self) -> None:
        """After a long silence, it may not be the primary any more."""
        now = time.monotonic()
        if now - self._heard_at < self._silence:
            self._heard_at = now

    def heard(self, node: N, error: RedisextError) -> None:  # noqa: ARG002  # whoever it was of the group
        """There is reason to doubt."""
        if error.retriable or error.sent or _is_refusal(error):
            self._in_doubt = True

    def _known(self) -> Route[N, _Group[N]]:
        group = self._group
        if group is None or self._in_doubt:
            yield from Once("who is the primary", self._find_out)
        elif time.monotonic() - self._heard_at >= self._silence:
            yield from Once("who is the primary", self._make_sure)
        else:
            return group
        if self._group is None:  # nobody could be asked
            raise ConfigurationError(
                f"{self.where} was not asked yet who is primary: await a command before its client"
            )
        return self._group

    def _make_sure(self) -> Route[N, None]:
        """Find out what has changed; if that cannot be, nothing has."""
        try:
            yield from self._find_out()
        except RedisextError:
            self._in_doubt = False
            self._heard_at = time.monotonic()
            self._silence = min(_LONGEST_SILENCE, self._silence * 2)

    def _find_out(self) -> Route[N, None]:
        self._in_doubt = False
        try:
            named = yield from self._ask_all()
            primary = self.nodes.at(self.where.at(*named.primary))
            [role] = yield from Ask(primary, [("ROLE",)])
            # Who may not ask for it, has to believe.
            if isinstance(role, list) and role[0] != b"master":
                raise failures.no_primary(self.where, f"{primary.where} is named, and is none yet")
        except BaseException:
            self._in_doubt = True
            raise
        old = self._group
        self._group = _Group(primary, tuple(self.nodes.at(self.where.at(*one)) for one in named.replicas))
        self._heard_at = time.monotonic()
        self._silence = _SILENCE
        if old is not None and old.primary is not primary:
            old.primary.cut()

    def _ask_all(self) -> Route[N, _Named]:
        """What the newest answer is, of a majority."""
        best: _Named | None = None
        agreed = 0
        unknown = False
        reasons: list[str] = []
        last: RedisextError | None = None
        sentinels = self._sentinels
        for node in tuple(sentinels):
            try:
                named = yield from self._ask(node)
            except RedisextError as error:
                if not error.retriable:
                    raise
                last = error
                reasons.append(str(error))
                self._sentinels = [one for one in self._sentinels if one is not node] + [node]
                continue
            if named is None:
                unknown = True
            elif best is None or named.epoch > best.epoch:
                best, agreed = named, 1
            else:
                agreed += named.epoch == best.epoch
            if agreed * 2 > len(sentinels):
                break
        if best is not None:
            return best
        if unknown:
            raise ConfigurationError(
                f"the Sentinels of {self.where} know no service {self.where.service!r}: "
                "the name stands in the DSN's path, redis+sentinel://host:port/service/db"
            )
        raise failures.no_primary(self.where, f"no Sentinel answers: {'; '.join(reasons)}") from last

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
