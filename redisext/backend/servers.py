"""What both backends over redis-py have in common: a primary with replicas, who of them gets what, how to connect."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

from redisext.backend.recorded import Records
from redisext.command import Command, Op
from redisext.dsn import Configuration
from redisext.pending import Pending

__all__ = ["Servers", "Settings", "settings"]

N = TypeVar("N")


class Servers(Generic[N]):
    """A primary and its replicas, each an N: reads go to the replicas in turn, all else to the primary."""

    def __init__(self, configuration: Configuration, node: Callable[[Configuration], N]) -> None:
        self.configuration = configuration
        self._primary = node(configuration)
        self._replicas = [node(one) for one in configuration.replicas]
        self._turn = itertools.count()
        self._closed = False
        self._records = Records(configuration) if configuration.exactly_once else None

    @property
    def deadline(self) -> float | None:
        """For how long (seconds) what failed is tried again."""
        return self.configuration.deadline

    @property
    def prefix(self) -> str:
        """What stands before every key."""
        return self.configuration.prefix

    @property
    def location(self) -> str:
        """What tells the data here from those elsewhere: the DSN, without user, password and options."""
        return self.configuration.location

    @property
    def closed(self) -> bool:
        """Whether it was closed; under asyncio, its event loop's end does that too."""
        return self._closed

    def __repr__(self) -> str:
        replicas = "".join(f" +{one}" for one in self.configuration.replicas) if self._replicas else ""
        prefix = f" prefix={self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__.lstrip('_')} {self.configuration}{replicas}{prefix}>"

    def _patience(self, command: Command[object]) -> float | None:
        """For how long (seconds) to try a command again: one that waits, as long as it may wait."""
        held = command.timeout if command.op.blocks else None
        return self.deadline if held is None or self.deadline is None else max(held, self.deadline)

    def _node(self, op: Op) -> N:
        if op.reads and self._replicas:
            return self._replicas[next(self._turn) % len(self._replicas)]
        return self._primary

    def _reader(self) -> N:
        return self._node(_READS)

    def _parts(self, pending: Sequence[Pending[object]]) -> Mapping[N, Sequence[Pending[object]]]:
        """Those for each server, in order. All that only read go to one replica."""
        if not self._replicas:
            return {self._primary: pending}
        nodes: dict[bool, N] = {}
        parts: dict[N, list[Pending[object]]] = {}
        for one in pending:
            op = one.command.op
            node = nodes.get(op.reads)
            if node is None:
                node = nodes[op.reads] = self._node(op)
            parts.setdefault(node, []).append(one)
        return parts


_READS: Final = Op("", reads=True)


_DRIVER: dict[str, DriverInfo] = {}
"""What redis-py tells the server of itself. It would look for its version at each connection, by an import: in a child
that was forked while another thread did so, that import never ends."""
try:
    from redis.driver_info import DriverInfo
except ImportError:  # pragma: no cover  # before 7.1 it looked once
    pass
else:
    _DRIVER["driver_info"] = DriverInfo()


Settings: TypeAlias = "dict[str, str | float | DriverInfo | None]"
"""What redis-py's connections are made with."""


def settings(where: Configuration) -> Settings:
    """What redis-py's connections, sync or async, are made with."""
    common: Settings = {
        "db": where.db,
        "username": where.username,
        "password": where.password,
        "socket_timeout": where.socket_timeout,
        "socket_connect_timeout": where.socket_connect_timeout,
        "client_name": where.client_name,
        "protocol": 2,
        **_DRIVER,
    }
    if where.transport == "unix":
        return {**common, "path": where.path}
    common |= {"host": where.host, "port": where.port, "socket_keepalive": True}
    return {**common, "ssl_ca_certs": where.ssl_ca_certs} if where.transport == "tls" else common
