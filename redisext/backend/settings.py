"""What both backends over redis-py do alike before they send: connections' settings, and which server gets what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from redisext.batch import Pending
from redisext.command import Op
from redisext.dsn import Configuration

__all__ = ["settings", "split"]

N = TypeVar("N")


def settings(where: Configuration) -> dict[str, str | float | None]:
    """What redis-py's connections, sync or async, are made with."""
    common: dict[str, str | float | None] = {
        "db": where.db,
        "username": where.username,
        "password": where.password,
        "socket_timeout": where.socket_timeout,
        "socket_connect_timeout": where.socket_connect_timeout,
        "client_name": where.client_name,
        "protocol": 2,
    }
    if where.transport == "unix":
        return {**common, "path": where.path}
    common |= {"host": where.host, "port": where.port, "socket_keepalive": True}
    return {**common, "ssl_ca_certs": where.ssl_ca_certs} if where.transport == "tls" else common


def split(pending: Iterable[Pending[object]], node_of: Callable[[Op], N]) -> dict[N, list[Pending[object]]]:
    """Those for each server, in order. One that only reads goes to the replica that the first such one got."""
    nodes: dict[bool, N] = {}
    parts: dict[N, list[Pending[object]]] = {}
    for one in pending:
        op = one.command.op
        node = nodes.get(op.reads)
        if node is None:
            node = nodes[op.reads] = node_of(op)
        parts.setdefault(node, []).append(one)
    return parts
