"""A cluster: linked, failed over as often as wanted, its slots moved from node to node, ended.

    with Cluster() as cluster, redisext.connect(cluster.url) as db:
        Counter[int]("hits", db).incr()
        cluster.fail_over(cluster.node_of("hits"), "kill")
        cluster.revive()
        with cluster.migrating(cluster.slot("hits"), cluster.nodes[1]) as migration:
            ...                                         # each key is asked for where it was, or there, with ASKING
            migration.move("hits")
            ...

* Whose a slot is, each node is asked of itself, and the newest epoch counts: what one believes of others may be old.
* One that was elected, and is a replica again, still counts those votes when its primary is lost within four seconds.
  It takes itself for the primary, nobody else does, and so it stays until the lost one is back. So `fail_over` waits
  where that could happen; a test that kills nodes by itself has to, too.
"""

from __future__ import annotations

import binascii
import math
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import hiredis

from tests.sentinels import How
from tests.servers import Certificate, Group, RedisServer, free_port, in_step, wait_until

SLOTS: Final = 16_384
BUS: Final = 10_000
"""How far above its port a node listens to the others."""


class Cluster(Group):
    """Primaries and so many replicas of each: `with Cluster() as cluster: ...`.

    `arguments`, `password` and `certificate` are those of each node. `nodes` are first those that begin as primaries,
    then their replicas.
    """

    def __init__(
        self,
        *arguments: str,
        primaries: int = 3,
        replicas: int = 1,
        node_timeout_ms: int = 500,
        full_coverage: bool = True,
        password: str = "",
        certificate: Certificate | None = None,
    ) -> None:
        self.password = password
        self.nodes: list[RedisServer] = [
            Node(
                *("--cluster-node-timeout", str(node_timeout_ms)),
                *("--cluster-require-full-coverage", "yes" if full_coverage else "no"),
                *arguments,
                password=password,
                certificate=certificate,
            )
            for _ in range(primaries * (1 + replicas))
        ]
        self._primaries = primaries
        self._ids: dict[str, RedisServer] = {}
        self._announced: dict[RedisServer, int] = {}
        self._elected: dict[RedisServer, float] = {}
        self._votes_last = max(4, 4 * node_timeout_ms / 1000)
        super().__init__(self.nodes)

    def announce(self, node: RedisServer, port: int, *, bus_port: int | None = None) -> None:
        """Before the block begins: have clients, and its replicas, look for *node* on another port."""
        option = "--cluster-announce-port" if node.certificate is None else "--cluster-announce-tls-port"
        node.arguments += [option, str(port)]
        if bus_port is not None:
            node.arguments += ["--cluster-announce-bus-port", str(bus_port)]
        self._announced[node] = port

    @property
    def url(self) -> str:
        first = self.nodes[0]
        where = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return f"{first.scheme}+cluster://{first.userinfo}{where}"

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where clients look for the nodes."""
        return [(one.host, self._announced.get(one, one.port)) for one in self.nodes]

    # --- Who has what

    @staticmethod
    def slot(key: str | bytes) -> int:
        key = key.encode() if isinstance(key, str) else key
        tag, closed, _ = key.partition(b"{")[2].partition(b"}")
        return binascii.crc_hqx(tag if tag and closed else key, 0) % SLOTS

    def node_of(self, key: str | bytes) -> RedisServer:
        """The primary that has the key's slot now; LookupError where none has that is awake."""
        return self.primary_of(self.slot(key))

    def primary_of(self, slot: int) -> RedisServer:
        """The primary that has the slot now; LookupError where none has that is awake."""
        owners = [(line.epoch, node) for node, line in self._of_themselves().items() if line.has(slot)]
        if not owners:
            raise LookupError(f"slot {slot} is nobody's")
        return max(owners, key=lambda one: one[0])[1]

    def replica_of(self, node: RedisServer) -> RedisServer:
        """One that is awake; LookupError where there is none."""
        for one in self._replicas_of(node):
            return one
        raise LookupError(f"{node!r} has no replica")

    def primaries(self) -> list[RedisServer]:
        """Those that have slots now."""
        return [node for node, line in self._of_themselves().items() if line.slots]

    def flush(self) -> None:
        """Forget all keys."""
        for one in self.primaries():
            one.call("FLUSHALL")

    # --- What happens to nodes

    def fail_over(self, node: RedisServer, how: How) -> RedisServer:
        """Wait until all know a replica of the primary *node* to be in its place, which comes back."""
        slot = min(_line_of(node).slots[0])
        for one in self._replicas_of(node):
            wait_until(partial(self._has_no_votes, one), f"votes for {one!r} are void", 2 * self._votes_last)
        match how:
            case "ask":
                self._ask(node, slot)
            case "kill":
                node.kill()
            case "pause":
                node.pause()
        try:
            wait_until(partial(self._is_no_longer, node, slot), f"another is primary than {node!r}", 30, every=0.02)
        finally:
            if how == "pause":
                node.resume()
        new = self.primary_of(slot)
        self._elected[new] = time.monotonic()
        return new

    def revive(self) -> None:
        """Start all that were killed, and wait until they have found their places."""
        for one in self.nodes:
            if one.has_ended:
                one.start()
                self._elected.pop(one, None)
        self.settled()

    def settled(self) -> None:
        """Wait until all is served, all nodes agree on who is what, and each replica has what its primary has."""
        wait_until(self._is_settled, "the cluster has settled", 30, every=0.03)

    def named(self) -> None:
        """Wait until each node names all of them to clients: a replica only once it has got something."""
        wait_until(lambda: all(map(self._names_all, self.nodes)), "all nodes are named", 30, every=0.03)

    # --- Slots on the move

    def move_slot(self, slot: int, to: RedisServer) -> None:
        """Move it with all its keys, and wait until every node knows."""
        with self.migrating(slot, to):
            pass

    @contextmanager
    def migrating(self, slot: int, to: RedisServer) -> Generator[Migration]:
        """Inside, the slot is on its way, and its keys are where they were; at the end, all have moved."""
        migration = Migration(self, slot, to)
        migration.begin()
        try:
            yield migration
        finally:
            migration.finish()

    def id_of(self, node: RedisServer) -> str:
        return next(one for one, known in self._ids.items() if known is node)

    # --- Within

    def _link(self) -> None:
        for epoch, node in enumerate(self.nodes, 1):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            self._ids[_text(node.call("CLUSTER", "MYID"))] = node
        wait_until(self._have_met, "all know each other", 30, every=0.1)
        primaries, replicas = self.nodes[: self._primaries], self.nodes[self._primaries :]
        for number, node in enumerate(primaries):
            first, end = (SLOTS * one // self._primaries for one in (number, number + 1))
            node.call("CLUSTER", "ADDSLOTS", *range(first, end))
        for number, node in enumerate(replicas):
            node.call("CLUSTER", "REPLICATE", self.id_of(primaries[number % self._primaries]))
        self.settled()
        self.flush()
        self.named()

    def _have_met(self) -> bool:
        """Whether each knows all; have it meet those that it does not know, again if a second was not enough for it."""
        unknown = [(node, self._ids.keys() - {line.id for line in _view_of(node)}) for node in self.nodes]
        for node, others in unknown:
            for one in others:
                node.call("CLUSTER", "MEET", self._ids[one].host, self._ids[one].port)
        return not any(others for _, others in unknown)

    def _of_themselves(self) -> dict[RedisServer, Line]:
        return {node: _line_of(node) for node in self.nodes if node.is_awake}

    def _replicas_of(self, node: RedisServer) -> list[RedisServer]:
        lines = self._of_themselves().items()
        return [one for one, line in lines if line.primary and self._ids[line.primary] is node]

    def _has_no_votes(self, node: RedisServer) -> bool:
        return time.monotonic() - self._elected.get(node, -math.inf) > self._votes_last

    def _names_all(self, node: RedisServer) -> bool:
        ranges = cast("list[list[object]]", node.call("CLUSTER", "SLOTS"))  # first slot, last slot, nodes
        return sum(len(one) - 2 for one in ranges) >= len(self.nodes)

    def _ask(self, node: RedisServer, slot: int) -> None:
        """Again, where it had no majority in time: they vote for a replica of the same primary once in a while."""
        replica = self.replica_of(node)
        for _ in range(10):
            with suppress(hiredis.ReplyError):  # it is a primary by now
                replica.call("CLUSTER", "FAILOVER")
            with suppress(TimeoutError):
                wait_until(partial(self._is_no_longer, node, slot), "it is voted for", 2, every=0.02)
                return

    def _is_no_longer(self, node: RedisServer, slot: int) -> bool:
        views = [_view_of(one) for one in self.nodes if one.is_awake]
        owners = {line.id for view in views for line in view if line.has(slot)}
        return len(owners) == 1 and self.id_of(node) not in owners

    def _is_settled(self) -> bool:
        try:
            views = [_view_of(one) for one in self.nodes]
            healthy = all("cluster_state:ok" in _text(one.call("CLUSTER", "INFO")) for one in self.nodes)
            followers: dict[RedisServer, list[RedisServer]] = {
                self._ids[line.id]: [self._ids[other.id] for other in views[0] if other.primary == line.id]
                for line in views[0]
                if not line.primary
            }
            return (
                healthy
                and all({line.place for line in view} == {line.place for line in views[0]} for view in views)
                and all(len(view) == len(self.nodes) and all(line.is_well for line in view) for view in views)
                and all(in_step(*one) for one in followers.items())
            )
        except (OSError, KeyError, hiredis.ReplyError):  # one is not up yet; or not known by its name yet
            return False


class Migration:
    """A slot on its way from one primary to another."""

    def __init__(self, cluster: Cluster, slot: int, to: RedisServer) -> None:
        self.slot = slot
        self.source = cluster.primary_of(slot)
        self.to = to
        self._cluster = cluster

    def keys(self) -> list[bytes]:
        """Those that are still where they were, or some of them where there are many."""
        listed = self.source.call("CLUSTER", "GETKEYSINSLOT", self.slot, 1_000)
        return cast("list[bytes]", listed)  # as Redis documents it

    def move(self, *keys: str | bytes) -> None:
        """Move these keys, and leave the others where they are."""
        password = ("AUTH", self.to.password) if self.to.password else ()
        self.source.call("MIGRATE", self.to.host, self.to.port, "", 0, 5_000, *password, "KEYS", *keys)

    def begin(self) -> None:
        """Have each key be asked for where it was; one that is not there, at the other node, with ASKING."""
        self.to.call("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self._cluster.id_of(self.source))
        self.source.call("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self._cluster.id_of(self.to))

    def finish(self) -> None:
        """Move what is left, and wait until every node that is awake knows whose the slot is."""
        while keys := self.keys():
            self.move(*keys)
        to = self._cluster.id_of(self.to)
        rest = [one for one in self._cluster.primaries() if one not in {self.to, self.source}]
        for one in (self.to, self.source, *rest):
            one.call("CLUSTER", "SETSLOT", self.slot, "NODE", to)
        wait_until(self._is_known, f"all know that slot {self.slot} has moved", every=0.03)

    def _is_known(self) -> bool:
        to = self._cluster.id_of(self.to)
        views = [_view_of(one) for one in self._cluster.nodes if one.is_awake]
        return all(line.has(self.slot) == (line.id == to) for view in views for line in view)


class Node(RedisServer):
    """One that may be part of a cluster."""

    def __init__(self, *arguments: str, password: str, certificate: Certificate | None) -> None:
        if password:
            arguments = ("--masterauth", password, *arguments)
        if certificate is not None:
            arguments = ("--tls-cluster", "yes", *arguments)
        super().__init__(
            # No replica goes over to another primary, lest a test find it elsewhere.
            *("--cluster-enabled", "yes", "--cluster-migration-barrier", "100"),
            *arguments,
            password=password,
            certificate=certificate,
            port=free_port(and_above=BUS),
        )


@dataclass(frozen=True)
class Line:
    """What one node says of one node, itself or another."""

    id: str
    flags: frozenset[str]
    primary: str  # whose replica it is, or ""
    epoch: int
    link: str
    slots: tuple[range, ...]

    @property
    def place(self) -> tuple[object, ...]:
        """What all should agree on."""
        return self.id, self.primary, self.slots

    @property
    def is_well(self) -> bool:
        return self.link == "connected" and self.flags <= {"myself", "master", "slave"}

    def has(self, slot: int) -> bool:
        return any(slot in one for one in self.slots)


def _view_of(node: RedisServer) -> list[Line]:
    """What one node says of all that it knows."""
    lines: list[Line] = []
    for text in _text(node.call("CLUSTER", "NODES")).splitlines():
        name, _, flags, primary, _, _, epoch, link, *owned = text.split()
        bounds = [one.split("-") for one in owned if not one.startswith("[")]  # [ is for those that are on their way
        slots = tuple(range(int(one[0]), int(one[-1]) + 1) for one in bounds)
        lines.append(Line(name, frozenset(flags.split(",")), primary.strip("-"), int(epoch), link, slots))
    return lines


def _line_of(node: RedisServer) -> Line:
    """What one node says of itself."""
    return next(line for line in _view_of(node) if "myself" in line.flags)


def _text(reply: object) -> str:
    assert isinstance(reply, bytes)
    return reply.decode()
