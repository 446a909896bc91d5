"""Where commands are carried out, and how a backend is found for a DSN.

* :mod:`redisext.backend.abc`: what a backend owes.
* :mod:`redisext.backend.redis`: redis-py, for one server or a primary with replicas.
* :mod:`redisext.backend.memory`: the embedded engine.
"""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from redisext import dsn
from redisext.backend import memory, redis
from redisext.backend.abc import Backend, HasClient
from redisext.backend.memory import MemoryBackend
from redisext.backend.redis import Connection, RedisBackend
from redisext.errors import ConfigurationError, EmbeddedWarning
from redisext.frames import stacklevel

__all__ = ["Backend", "Connection", "ConnectionSource", "HasClient", "connect", "memory", "redis", "shared"]

ConnectionSource: TypeAlias = Backend | str | type[Connection]
"""What a model takes as its connection: a backend, a DSN, or a `Connection` class."""


def connect(
    url: str | None = None,
    *,
    replicas: Sequence[str] = (),
    prefix: str | None = None,
    socket_timeout: float | None = None,
    socket_connect_timeout: float | None = None,
    max_connections: int | None = None,
    client_name: str | None = None,
    ssl_ca_certs: str | None = None,
) -> RedisBackend | MemoryBackend:
    """A backend on *url*. Nothing is opened yet: the first command does that.

    Without a *url*: the environment's `REDISEXT_URL`, else the embedded engine with one
    :exc:`~redisext.errors.EmbeddedWarning`. Each option can stand in the URL's query too; given here, it wins.

    * `replicas`: DSNs (or host:port, with all else as in *url*) of servers that answer reads, in turn.
    * `prefix`: put before every key.
    * `socket_timeout`: how long a reply, or a free connection, may take, in seconds (5).
    * `socket_connect_timeout`: how long connecting may take, in seconds (5).
    * `max_connections`: the most connections open at one time (50).
    * `client_name`: the connections' name in CLIENT LIST.
    * `ssl_ca_certs`: the file of authorities to trust over TLS, instead of the system's.

    Close it with `close()` or a `with` block; what is forgotten is closed when it is collected.

    Raises :exc:`~redisext.errors.ConfigurationError` for a URL or an option that is wrong.

    >>> db = connect("memory://docs", prefix="app:")
    >>> db
    <MemoryBackend memory://docs prefix='app:'>
    """
    configuration = _default_configuration() if url is None else dsn.parse(_checked(url))
    return _make(
        configuration.with_options(
            {
                "replicas": replicas or None,
                "prefix": prefix,
                "socket_timeout": socket_timeout,
                "socket_connect_timeout": socket_connect_timeout,
                "max_connections": max_connections,
                "client_name": client_name,
                "ssl_ca_certs": ssl_ca_certs,
            }
        )
    )


def _checked(url: object) -> str:
    if isinstance(url, str):
        return url
    raise ConfigurationError(
        f"a server is named by its DSN, as in 'redis://localhost:6379/0', not by a {type(url).__name__}"
    )


def shared(source: str | type[Connection] | None, *, reuse: bool = True) -> Backend:
    """The one backend that all models in this process share for a DSN or a `Connection` class (None: the default).

    It lives as long as somebody holds it. With *reuse* false, it closes each connection after its command.
    """
    if source is None:
        configuration = _default_configuration()
    elif isinstance(source, str):
        configuration = dsn.parse(source)
    else:
        configuration = source.configuration()
    replicas = tuple(replace(one, reuse=reuse) for one in configuration.replicas)
    configuration = replace(configuration, replicas=replicas, reuse=reuse)
    with _shared_lock:
        backend = _shared.get(configuration)
        if backend is None or backend.closed:
            backend = _shared[configuration] = _make(configuration)
        return backend


_shared: Final[weakref.WeakValueDictionary[dsn.Configuration, RedisBackend | MemoryBackend]] = (
    weakref.WeakValueDictionary()
)
_shared_lock: Final = threading.Lock()
if hasattr(os, "register_at_fork"):  # pragma: no branch
    # A child must not find it held by a thread that it has not.
    os.register_at_fork(
        before=_shared_lock.acquire, after_in_parent=_shared_lock.release, after_in_child=_shared_lock.release
    )


def _make(configuration: dsn.Configuration) -> RedisBackend | MemoryBackend:
    if configuration.transport == "memory":
        return MemoryBackend(configuration)
    return RedisBackend(configuration)


_EMBEDDED: Final = dsn.Configuration(transport="memory")


def _default_configuration() -> dsn.Configuration:
    url = os.environ.get("REDISEXT_URL")
    if url:
        return dsn.parse(url)
    _warn_once()
    return _EMBEDDED


_warned: Final = threading.Event()


def _warn_once() -> None:
    if not _warned.is_set():
        _warned.set()
        warnings.warn(
            "no server was named: data lives in this process and ends with it. Name one with "
            "redisext.connect('redis://host:port/db') or the environment's REDISEXT_URL; to keep the embedded engine "
            "without this warning, say connect('memory://')",
            EmbeddedWarning,
            stacklevel=stacklevel(),
        )
