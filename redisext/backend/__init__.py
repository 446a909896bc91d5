"""Where commands are carried out, and how a backend is found for a DSN.

* :mod:`redisext.backend.abc`: what a backend owes.
* :mod:`redisext.backend.redis`: redis-py, for one server or a primary with replicas.
* :mod:`redisext.backend.redis_async`: the same under asyncio; :mod:`redisext.backend.channel`: its connections.
* :mod:`redisext.backend.servers`, :mod:`redisext.backend.exchange`: what these two share; what is said to a server.
* :mod:`redisext.backend.memory`: the embedded engine, for both; :mod:`redisext.backend.store`: its data.
* :mod:`redisext.backend.failures`: what redis-py's exceptions mean to the caller.
"""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from redisext import dsn
from redisext.backend import memory, redis
from redisext.backend.abc import AsyncBackend, Backend, HasAsyncClient, HasClient
from redisext.backend.memory import AsyncMemoryBackend, MemoryBackend
from redisext.backend.redis import Connection, RedisBackend
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.dsn import Configuration
from redisext.errors import ConfigurationError, EmbeddedWarning
from redisext.frames import stacklevel

__all__ = [
    "AsyncBackend",
    "AsyncConnectionSource",
    "Backend",
    "Configuration",
    "Connection",
    "ConnectionSource",
    "HasAsyncClient",
    "HasClient",
    "aconnect",
    "configured",
    "connect",
    "memory",
    "redis",
    "shared",
    "shared_async",
]

ConnectionSource: TypeAlias = Backend | str | type[Connection]
"""What a model takes as its connection: a backend, a DSN, or a `Connection` class."""

AsyncConnectionSource: TypeAlias = AsyncBackend | str | type[Connection]
"""The same for a model under asyncio."""


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
    ssl_certfile: str | None = None,
    ssl_keyfile: str | None = None,
    ssl_check_hostname: bool | None = None,
    sentinel_username: str | None = None,
    sentinel_password: str | None = None,
    read_from_replicas: bool | None = None,
    fallback_to_primary: bool | None = None,
    wait_replicas: int | None = None,
    wait_timeout: float | None = None,
    deadline: float | None = None,
    exactly_once: bool | None = None,
) -> RedisBackend | MemoryBackend:
    """A backend on *url*. Nothing is opened yet: the first command does that.

    Without a *url*: the environment's `REDISEXT_URL`, else the embedded engine with one
    :exc:`~redisext.errors.EmbeddedWarning`. Each option can stand in the URL's query too; given here, it wins.

    * `replicas`: DSNs (or host:port, with all else as in *url*) of servers that answer reads, in turn.
    * `read_from_replicas`: have the replicas answer reads that the Sentinels, or the cluster, name.
    * `fallback_to_primary`: have the primary answer reads where no replica does; else that is an error.
    * `wait_replicas`, `wait_timeout`: how many replicas must confirm each write (0), within how many seconds (0.1); if
      fewer do, :exc:`~redisext.errors.NotReplicated` is raised.
    * `prefix`: put before every key.
    * `socket_timeout`: how long a reply, or a free connection, may take, in seconds (5).
    * `socket_connect_timeout`: how long connecting may take, in seconds (5).
    * `max_connections`: the most connections open at one time (50).
    * `client_name`: the connections' name in CLIENT LIST.
    * `ssl_ca_certs`: the file of authorities to trust over TLS, instead of the system's.
    * `ssl_certfile`, `ssl_keyfile`: the files of a certificate to show to the server, and of its key.
    * `ssl_check_hostname`: whether the server's certificate must name its host (true).
    * `sentinel_username`, `sentinel_password`: for the Sentinels themselves.
    * `deadline`: for how long (seconds) a command is tried again when the server cannot be reached or the connection
      breaks: one that only reads, or was certainly not carried out. Without it, the first failure is raised.
    * `exactly_once`: have the server record what a command gave, so that one whose reply was lost can be tried again
      too, and gets that reply: nothing is done twice, nothing taken is lost. `deadline` is 10 s then, if none is given.

    Close it with `close()` or a `with` block; what is forgotten is closed when it is collected.

    Raises :exc:`~redisext.errors.ConfigurationError` for a URL or an option that is wrong.

    >>> db = connect("memory://docs", prefix="app:")
    >>> db
    <MemoryBackend memory://docs prefix='app:'>
    """
    return _make(
        _asked_for(
            url,
            replicas=replicas or None,
            prefix=prefix,
            socket_timeout=socket_timeout,
            socket_connect_timeout=socket_connect_timeout,
            max_connections=max_connections,
            client_name=client_name,
            ssl_ca_certs=ssl_ca_certs,
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
            ssl_check_hostname=ssl_check_hostname,
            sentinel_username=sentinel_username,
            sentinel_password=sentinel_password,
            read_from_replicas=read_from_replicas,
            fallback_to_primary=fallback_to_primary,
            wait_replicas=wait_replicas,
            wait_timeout=wait_timeout,
            deadline=deadline,
            exactly_once=exactly_once,
        )
    )


def aconnect(
    url: str | None = None,
    *,
    replicas: Sequence[str] = (),
    prefix: str | None = None,
    socket_timeout: float | None = None,
    socket_connect_timeout: float | None = None,
    max_connections: int | None = None,
    client_name: str | None = None,
    ssl_ca_certs: str | None = None,
    ssl_certfile: str | None = None,
    ssl_keyfile: str | None = None,
    ssl_check_hostname: bool | None = None,
    sentinel_username: str | None = None,
    sentinel_password: str | None = None,
    read_from_replicas: bool | None = None,
    fallback_to_primary: bool | None = None,
    wait_replicas: int | None = None,
    wait_timeout: float | None = None,
    deadline: float | None = None,
    exactly_once: bool | None = None,
) -> AsyncRedisBackend | AsyncMemoryBackend:
    """A backend for asyncio on *url*. Nothing is opened yet: the first command does that, and settles the event loop.

    *url* and the options are those of :func:`connect`. Tasks share one connection: what they send in one turn of the
    loop leaves in one write, and none waits for another's reply. A command that blocks and a transaction have a
    connection of their own, of which there are `max_connections` at the most.

    Close it with ``await aclose()`` or an ``async with`` block. What is forgotten is closed with the event loop, and a
    ResourceWarning says so.

    Raises :exc:`~redisext.errors.ConfigurationError` for a URL or an option that is wrong.

    >>> aconnect("memory://docs", prefix="app:")
    <AsyncMemoryBackend memory://docs prefix='app:'>
    """
    return _amake(
        _asked_for(
            url,
            replicas=replicas or None,
            prefix=prefix,
            socket_timeout=socket_timeout,
            socket_connect_timeout=socket_connect_timeout,
            max_connections=max_connections,
            client_name=client_name,
            ssl_ca_certs=ssl_ca_certs,
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
            ssl_check_hostname=ssl_check_hostname,
            sentinel_username=sentinel_username,
            sentinel_password=sentinel_password,
            read_from_replicas=read_from_replicas,
            fallback_to_primary=fallback_to_primary,
            wait_replicas=wait_replicas,
            wait_timeout=wait_timeout,
            deadline=deadline,
            exactly_once=exactly_once,
        )
    )


def _asked_for(url: str | None, **options: object) -> Configuration:
    configuration = _default_configuration() if url is None else dsn.parse(_checked(url))
    return configuration.with_options(options)


def _checked(url: object) -> str:
    if isinstance(url, str):
        return url
    raise ConfigurationError(
        f"a server is named by its DSN, as in 'redis://localhost:6379/0', not by a {type(url).__name__}"
    )


def configured(source: str | type[Connection] | None, *, reuse: bool = True) -> Configuration:
    """What a DSN or a `Connection` class says (None: the default).

    With *reuse* false, each connection is closed after its command.
    """
    if source is None:
        configuration = _default_configuration()
    elif isinstance(source, str):
        configuration = dsn.parse(source)
    else:
        configuration = source.configuration()
    replicas = tuple(replace(one, reuse=reuse) for one in configuration.replicas)
    return replace(configuration, replicas=replicas, reuse=reuse)


def shared(configuration: Configuration) -> RedisBackend | MemoryBackend:
    """The one backend that all models in this process share for a configuration. It lives while somebody holds it."""
    with _shared_lock:
        backend = _shared.get(configuration)
        if backend is None or backend.closed:
            backend = _shared[configuration] = _make(configuration)
        return backend


def shared_async(configuration: Configuration) -> AsyncRedisBackend | AsyncMemoryBackend:
    """The one backend that all models in the running event loop share for a configuration, closed with the loop."""
    loop = asyncio.get_running_loop()
    with _shared_lock:
        for other in [one for one in _shared_in_loops if one.is_closed()]:
            del _shared_in_loops[other]
        backends = _shared_in_loops.setdefault(loop, {})
        backend = backends.get(configuration)
        if backend is None or backend.closed:
            backend = backends[configuration] = _amake(configuration, shared=True)
        return backend


_shared: Final[weakref.WeakValueDictionary[Configuration, RedisBackend | MemoryBackend]] = weakref.WeakValueDictionary()
_shared_in_loops: Final[
    dict[asyncio.AbstractEventLoop, dict[Configuration, AsyncRedisBackend | AsyncMemoryBackend]]
] = {}
_shared_lock: Final = threading.Lock()
if hasattr(os, "register_at_fork"):  # pragma: no branch
    # A child must not find it held by a thread that it has not.
    os.register_at_fork(
        before=_shared_lock.acquire, after_in_parent=_shared_lock.release, after_in_child=_shared_lock.release
    )


def _amake(configuration: Configuration, *, shared: bool = False) -> AsyncRedisBackend | AsyncMemoryBackend:
    if configuration.transport == "memory":
        return AsyncMemoryBackend(configuration)
    return AsyncRedisBackend(configuration, shared=shared)


def _make(configuration: Configuration) -> RedisBackend | MemoryBackend:
    if configuration.transport == "memory":
        return MemoryBackend(configuration)
    return RedisBackend(configuration)


_EMBEDDED: Final = Configuration(transport="memory")


def _default_configuration() -> Configuration:
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
