"""What both backends over redis-py share: whom they talk to, what a backend tells of itself, how to connect."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar, cast

import redis

from redisext.backend.cluster import Cluster
from redisext.backend.recorded import Records, carried_out, popped_in_time
from redisext.backend.sentinel import Sentinel
from redisext.backend.topology import Fixed, Node, Nodes, Topology
from redisext.command import Command, Reply, Steps
from redisext.dsn import Configuration
from redisext.errors import ConfigurationError, NotReplicated
from redisext.reply import as_it_is
from redisext.waiting import A_SLICE, block_for

__all__ = ["Servers", "Settings", "settings", "tls_context"]

N = TypeVar("N", bound=Node)
R = TypeVar("R")


class Servers(Generic[N]):
    """The servers of one configuration, each an N, and who of them gets what."""

    def __init__(self, configuration: Configuration, node: Callable[[Configuration], N]) -> None:
        self.configuration: Configuration = configuration
        self._nodes: Nodes[N] = Nodes(node)
        self._topology: Topology[N] = _topology(configuration, self._nodes)
        self._spreads_reads = bool(configuration.replicas) or configuration.read_from_replicas
        # Where there is nothing to choose, nothing is asked.
        alone = configuration.topology == "server" and not configuration.replicas
        self._only: N | None = self._nodes.at(configuration) if alone else None
        # And where nothing is tried again, it is asked at once, until it is closed.
        self._plain: N | None = self._only if configuration.deadline is None else None
        self._closed = False
        self._records = Records(configuration) if configuration.exactly_once else None

    def _share(self, whole: Servers[N]) -> None:
        """Be the same servers, and have all read where it is written."""
        self.configuration = whole.configuration
        self._nodes = whole._nodes
        self._topology = whole._topology
        self._records = whole._records
        self._spreads_reads = False
        self._only = whole._only
        self._plain = None  # it would not hear that the whole is closed

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
        replicas = "".join(f" +{one}" for one in self.configuration.replicas) if self._spreads_reads else ""
        prefix = f" prefix={self.prefix!r}" if self.prefix else ""
        return f"<{type(self).__name__.lstrip('_')} {self.configuration}{replicas}{prefix}>"

    def _patience(self, command: Command[object]) -> float | None:
        """For how long (seconds) to try a command again: one that waits, as long as it may wait."""
        held = command.timeout if command.op.blocks else None
        return self.deadline if held is None or self.deadline is None else max(held, self.deadline)

    def _in_steps(self, command: Command[R]) -> Steps[R] | None:
        """How *command* is carried out, where that is more than to send it."""
        if self._records is not None and not command.op.repeatable:
            return (popped_in_time if command.op.blocks else carried_out)(self._records, command)
        if command.op.blocks and self._topology.fails_over:
            return _in_slices(command)
        return None

    def _check_client(self) -> None:
        """Raise :exc:`~redisext.errors.ConfigurationError` where there is no one server to have a client of."""
        if self.configuration.topology == "cluster":
            raise ConfigurationError(
                f"{self!r} has no client of one server; redis-py's own for a cluster is redis.cluster.RedisCluster"
            )


def _topology(where: Configuration, nodes: Nodes[N]) -> Topology[N]:
    if where.topology == "sentinel":
        return Sentinel(where, nodes)
    return Cluster(where, nodes) if where.topology == "cluster" else Fixed(where, nodes)


def _in_slices(command: Command[R]) -> Steps[R]:
    """A command that blocks, as several that do so one after the other: each finds who is the primary by then."""
    held = command.timeout
    end = None if held is None else time.monotonic() + held
    while True:
        left = A_SLICE if end is None else min(A_SLICE, end - time.monotonic())
        args = (*command.args[:-1], block_for(left))
        try:
            reply = yield from Command(command.op, command.keys, args, as_it_is, command.location)
        except NotReplicated as error:
            error.command, error.result = command, command.read(cast("Reply", error.result))  # as it is
            raise
        if reply is not None or (end is not None and time.monotonic() >= end):
            return command.read(reply)


_DRIVER: dict[str, DriverInfo] = {}
"""What redis-py tells the server of itself. It would look for its version at each connection, by an import: in a child
that was forked while another thread did so, that import never ends. And it would read it from the installed package's
metadata, which takes some milliseconds."""
try:
    from redis.driver_info import DriverInfo
except ImportError:  # pragma: no cover  # before 7.1 it looked once
    pass
else:
    _DRIVER["driver_info"] = DriverInfo(lib_version=redis.__version__)


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
    return {**common, "host": where.host, "port": where.port, "socket_keepalive": True}


def tls_context(where: Configuration) -> ssl.SSLContext:
    """How TLS is spoken: redis-py would trust the authorities that are named beside the system's, not in their place.

    Raises :exc:`~redisext.errors.ConfigurationError` for files that are not what they should be.
    """
    try:
        context = ssl.create_default_context(cafile=where.ssl_ca_certs)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"ssl_ca_certs {where.ssl_ca_certs!r} is no file of certificates: {error}") from error
    context.check_hostname = where.ssl_check_hostname
    if where.ssl_certfile:
        try:
            context.load_cert_chain(where.ssl_certfile, where.ssl_keyfile, password=_no_password)
        except (ssl.SSLError, OSError, _Encrypted) as error:
            raise ConfigurationError(
                f"ssl_certfile {where.ssl_certfile!r} and ssl_keyfile {where.ssl_keyfile!r} are no certificate and its "
                f"key: {error}"
            ) from error
    return context


class _Encrypted(Exception):
    """A key has a password."""


def _no_password() -> str:
    """Not to be asked for at the terminal."""
    raise _Encrypted("the key is encrypted, and nobody is there to be asked for its password")
