"""From a DSN to a configuration.

    redis://[user[:password]@]host[:port][/db][?option=value&...]
    unix://[user[:password]@]/path/to/socket[?db=0&option=value&...]
    redis+sentinel://[user[:password]@]host[:port][,host[:port]...]/service[/db][?option=value&...]
    redis+cluster://[user[:password]@]host[:port][,host[:port]...][?option=value&...]
    memory://[name]                 the embedded engine

With `rediss` in place of `redis` the same goes over TLS; `valkey` and `valkeys` are the same two.

User and password are percent-encoded, an IPv6 host stands in brackets. Every part is checked; what is
wrong is named, and neither the password nor any text that might be one is ever repeated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redisext.errors import ConfigurationError, shown
from redisext.narrow import is_iterable

__all__ = ["Configuration", "from_mapping", "parse"]

_DEFAULT_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_PATIENCE: Final = 10.0
"""The deadline (seconds) where `exactly_once` is on, and none was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Where the data lives, and how to talk to it. Two that are equal can share connections.

    * `topology`: a ``server``, a group that is watched by Sentinels (``sentinel``), or a ``cluster``.
    * `transport`: ``tcp``, ``tls``, ``unix`` or ``memory``.
    * `host` and `port`; `path` for a Unix socket, `name` for an embedded store.
    * `hosts`: where to ask who does what: the Sentinels, or some nodes of the cluster.
    * `service`: what the Sentinels call the group; `sentinel_username` and `sentinel_password`: for themselves.
    * `replicas`: servers that answer reads, each with a configuration of its own.
    * `read_from_replicas`: have the replicas that Sentinels or a cluster name answer reads.
    * `fallback_to_primary`: have the primary answer what no replica does.
    * `wait_replicas`: how many replicas must confirm each write, within `wait_timeout` (seconds).
    * `prefix`: stands before every key.
    * `socket_timeout`: how long (seconds) a reply may take; `socket_connect_timeout`: the same for connecting.
    * `max_connections`: the most connections at one time; who comes later waits `socket_timeout` for one.
    * `client_name`: what CLIENT LIST calls these connections.
    * `ssl_ca_certs`: a file of the authorities to trust over TLS, instead of the system's.
    * `ssl_certfile` and `ssl_keyfile`: files of the certificate to show to the server, and of its key.
    * `ssl_check_hostname`: whether the server's certificate must be for the host's name.
    * `deadline`: for how long (seconds) what failed is tried again, if that does no harm; None: not at all.
    * `exactly_once`: have the server record what a command gave, so that any can be tried again.
    * `reuse`: keep connections open between commands.
    * `readonly`: what is said to it only reads: a replica in a cluster must be told so.
    """

    topology: Literal["server", "sentinel", "cluster"] = "server"
    transport: Literal["tcp", "tls", "unix", "memory"] = "tcp"
    host: str = "localhost"
    port: int = _DEFAULT_PORT
    path: str = ""
    name: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    replicas: tuple[Configuration, ...] = ()
    read_from_replicas: bool = False
    fallback_to_primary: bool = False
    wait_replicas: int = 0
    wait_timeout: float = 0.1
    prefix: str = ""
    socket_timeout: float = 5.0
    socket_connect_timeout: float = 5.0
    max_connections: int = 50
    client_name: str | None = None
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = True
    deadline: float | None = None
    exactly_once: bool = False
    reuse: bool = True
    readonly: bool = False

    def __str__(self) -> str:
        """The DSN, without user, password and options."""
        if self.transport == "memory":
            return f"memory://{self.name}"
        if self.transport == "unix":
            return f"unix://{self.path}?db={self.db}"
        scheme = "rediss" if self.transport == "tls" else "redis"
        if self.topology == "server":
            return f"{scheme}://{_address(self.host, self.port)}/{self.db}"
        hosts = ",".join(_address(*one) for one in self.hosts)
        group = f"/{self.service}/{self.db}" if self.topology == "sentinel" else ""
        return f"{scheme}+{self.topology}://{hosts}{group}"

    @property
    def location(self) -> str:
        """What tells the data from those elsewhere: the same text."""
        return str(self)

    def at(self, host: str, port: int, *, readonly: bool = False) -> Configuration:
        """One server of the group or the cluster."""
        return replace(
            self, topology="server", host=host, port=port, hosts=(), service="", replicas=(), readonly=readonly
        )

    def sentinels(self) -> Iterator[Configuration]:
        """Those that are asked for the group's primary."""
        for host, port in self.hosts:
            yield replace(
                self.at(host, port),
                db=0,
                username=self.sentinel_username,
                password=self.sentinel_password,
                socket_timeout=min(self.socket_timeout, _SENTINEL_TIMEOUT),
                socket_connect_timeout=min(self.socket_connect_timeout, _SENTINEL_TIMEOUT),
                wait_replicas=0,
            )

    def with_options(self, options: Mapping[str, object]) -> Configuration:
        """The same with *options* set, each checked. A None leaves an option as it is."""
        given = {name: _option(name, value) for name, value in options.items() if value is not None}
        replicas = given.pop("replicas", None)
        changed = replace(self, **given)  # type: ignore[arg-type]  # each value was converted to its field's type
        if changed.exactly_once and changed.deadline is None:
            changed = replace(changed, deadline=_PATIENCE)
        if changed.deadline is not None:
            # The first attempt may take so long, and it is one of those that the deadline is for.
            changed = replace(
                changed,
                socket_timeout=min(changed.socket_timeout, changed.deadline),
                socket_connect_timeout=min(changed.socket_connect_timeout, changed.deadline),
            )
        _check_together(changed, replicas=replicas is not None)
        # Last: a replica named by host:port takes all else from here.
        return changed if replicas is None else replace(changed, replicas=_replicas(replicas, changed))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_SENTINEL_TIMEOUT: Final = 1.0
"""How long (seconds) a Sentinel may take: there are others, and whoever asks has waited already."""


def parse(dsn: str) -> Configuration:
    """Read a DSN. Raises :exc:`~redisext.errors.ConfigurationError`, which names what is wrong with it.

    >>> parse("redis://localhost/2").db
    2
    >>> parse("redis+sentinel://10.0.0.1,10.0.0.2:26380/orders/0").hosts
    (('10.0.0.1', 26379), ('10.0.0.2', 26380))
    """
    scheme, found, rest = dsn.partition("://")
    scheme, _, group = scheme.strip().lower().partition("+")
    topology = _TOPOLOGIES.get(group)
    if topology is None or _TRANSPORTS.get(scheme) not in ("tcp", "tls"):
        return _parse(dsn)
    # What names one of the hosts is a DSN as any other.
    authority, *_ = re.split("[/?#]", rest, maxsplit=1)
    userinfo, at, listed = authority.rpartition("@")
    if "@" in userinfo:
        raise ConfigurationError("user and password stand once, before the first host; in them, '@' is written %40")
    first, *others = (one.strip() for one in listed.split(","))
    where = _parse(f"{scheme}{found}{userinfo}{at}{first}{rest[len(authority) :]}", topology)
    default_port = _SENTINEL_PORT if topology == "sentinel" else _DEFAULT_PORT
    hosts = tuple(_host(one, default_port) for one in (first, *others))
    return replace(where, host=hosts[0][0], port=hosts[0][1], hosts=hosts)


def _host(address: str, default_port: int) -> tuple[str, int]:
    """One of several, which has nothing of its own but its port."""
    parts = _split(f"redis://{address}")
    if parts is None or not parts.hostname:
        raise ConfigurationError("the DSN's hosts are malformed: scheme://host:port,host:port/...")
    return _decoded(parts.hostname), _port(parts, default_port)


def _parse(dsn: str, topology: Literal["server", "sentinel", "cluster"] = "server") -> Configuration:
    parts = _split(dsn)
    if parts is None:
        raise ConfigurationError(
            "the DSN's host is malformed: an IPv6 address stands in [brackets], and in a user or password "
            "'[' is written %5B and ']' %5D"
        )
    host = parts.hostname
    transport = _TRANSPORTS.get(parts.scheme)
    if transport is None:
        raise ConfigurationError(_unknown_scheme(parts.scheme))
    if any(map(dsn.strip().__contains__, "\t\r\n")):
        # urlsplit drops them, and with them a part of a password.
        raise ConfigurationError("the DSN holds a tab or a line break: in a user or password they are percent-encoded")
    if parts.fragment or dsn.endswith("#"):
        raise ConfigurationError("the DSN holds a '#': in a user or password it is written %23")
    if "@" in parts.path or "@" in parts.query:
        raise ConfigurationError(
            "the DSN holds an '@' after its host: in a user or password, '/' is written %2F, '?' %3F and '@' %40"
        )
    where = Configuration(
        topology=topology,
        transport=transport,
        username=_decoded(parts.username) if parts.username else None,
        password=_decoded(parts.password) if parts.password else None,
    )
    options = _query(parts)
    if transport == "memory":
        if parts.path not in ("", "/") or where.username or where.password or ":" in parts.netloc:
            raise ConfigurationError("an embedded store is named memory://name, with no user, port or path")
        where = replace(where, name=_decoded(parts.netloc))
    elif transport == "unix":
        if host or not parts.path or ":" in parts.netloc.rpartition("@")[2]:
            raise ConfigurationError("a Unix socket is named by its absolute path: unix:///run/redis.sock")
        where = replace(where, path=_decoded(parts.path), db=_db(options.pop("db", "0")))
    else:
        if not host:
            raise ConfigurationError(f"the DSN names no host: {parts.scheme}://host:port/db")
        if "," in host:
            raise ConfigurationError(
                "several hosts are those of Sentinels or of a cluster: redis+sentinel://h1,h2/name"
            )
        path = parts.path.lstrip("/")
        if topology == "sentinel":
            service, _, path = path.partition("/")
            where = replace(where, service=_decoded(service))
            if not where.service:
                raise ConfigurationError("the DSN names no service: redis+sentinel://host:port,host:port/service/db")
        where = replace(where, host=_decoded(host), port=_port(parts, _DEFAULT_PORT), db=_db(path or "0"))
        if topology == "cluster" and where.db:
            raise ConfigurationError(f"a cluster has no other database than 0, and the DSN names {where.db}")
    return where.with_options(options)


def from_mapping(settings: Mapping[str, object]) -> Configuration:
    """Read the settings of a `Connection` class: ``{"host": ..., "port": ..., "db": ...}``."""
    known = {"host", "port", "db", "username", "password", *_OPTIONS}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ConfigurationError(f"unknown connection setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    options = {name: value for name, value in settings.items() if name in _OPTIONS}
    username, password = settings.get("username"), settings.get("password")
    return Configuration(
        host=_text("host", settings.get("host", "localhost")),
        port=_port_number(settings.get("port", _DEFAULT_PORT)),
        db=_db(settings.get("db", 0)),
        username=None if username is None else _text("username", username),
        password=None if password is None else _text("password", password),
    ).with_options(options)


_TOPOLOGIES: Final[Mapping[str, Literal["sentinel", "cluster"]]] = {"sentinel": "sentinel", "cluster": "cluster"}
"""What stands in a scheme after a plus."""

_TRANSPORTS: Final[Mapping[str, Literal["tcp", "tls", "unix", "memory"]]] = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "unix": "unix",
    "memory": "memory",
}


def _unknown_scheme(scheme: str) -> str:
    if not scheme:
        return "a DSN begins with its scheme: redis://host:port/db"
    return f"unknown DSN scheme {scheme!r}; known are {', '.join(_TRANSPORTS)}, redis+sentinel, redis+cluster"


# What urllib raises repeats what it was given, a password too, and an error raised meanwhile would keep it as its
# context. So it is caught in functions that raise nothing themselves.


def _split(dsn: str) -> SplitResult | None:
    try:
        parts = urlsplit(dsn)
        _ = parts.hostname
    except ValueError:
        return None
    return parts


def _pairs(query: str) -> list[tuple[str, str]] | None:
    # A plus is one, as everywhere else in a DSN; only forms of web pages take it for a space.
    try:
        return parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        return None


def _decoded(part: str) -> str:
    text = unquote(part, errors="surrogateescape")
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        raise ConfigurationError("the DSN's percent-encoding is of something else than UTF-8")
    return text


def _query(parts: SplitResult) -> dict[str, str]:
    pairs = _pairs(parts.query)
    if pairs is None:
        raise ConfigurationError("the DSN's options are malformed: ?option=value&option=value")
    options = dict(pairs)
    if len(options) != len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise ConfigurationError(f"the DSN names option {twice!r} twice")
    return options


def _port(parts: SplitResult, default: int) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        return default
    if port == 0:
        # The text there may be a password whose '@' is missing: it is not repeated.
        raise ConfigurationError("the DSN's port is no number from 1 to 65535 (in a user or password, ':' is %3A)")
    return port


def _port_number(value: object) -> int:
    port = _whole_number("port", value)
    if not 1 <= port <= 65535:
        raise ConfigurationError(f"port {port} is not from 1 to 65535")
    return port


def _db(value: object) -> int:
    try:
        db = _whole_number("db", value)
    except ConfigurationError:
        raise ConfigurationError("the database is a number, as in redis://host:port/0") from None
    if db < 0:
        raise ConfigurationError(f"the database is a number from 0 up, not {db}")
    return db


# --- Options


def _check_together(where: Configuration, *, replicas: bool) -> None:
    """What cannot be, of options that can be each by itself."""
    if where.topology != "server" and replicas:
        they_name = "the Sentinels name" if where.topology == "sentinel" else "the cluster names"
        raise ConfigurationError(f"replicas: {they_name} them; say read_from_replicas=true to have them answer reads")
    if where.topology != "sentinel" and (where.sentinel_username or where.sentinel_password):
        raise ConfigurationError("sentinel_username and sentinel_password are for redis+sentinel://")
    if where.transport == "memory" and where.wait_replicas:
        raise ConfigurationError("wait_replicas: the embedded engine has no replicas that could confirm anything")
    if where.ssl_keyfile and not where.ssl_certfile:
        raise ConfigurationError("ssl_keyfile is the key of a certificate: ssl_certfile names that")


def _option(name: str, value: object) -> object:
    convert = _OPTIONS.get(name)
    if convert is None:
        hint = ", and the database stands in the path: redis://host:port/0" if name == "db" else ""
        raise ConfigurationError(f"unknown option {name!r}; known are {', '.join(_OPTIONS)}{hint}")
    return convert(name, value)


def _replicas(value: object, base: Configuration) -> tuple[Configuration, ...]:
    """Each a DSN, or a host:port with all else as on the primary."""
    if isinstance(value, str):
        value = value.split(",")
    if not is_iterable(value):
        raise ConfigurationError("replicas are a list of DSNs or host:port")
    found: list[Configuration] = []
    for one in value:
        if isinstance(one, Configuration):
            found.append(one)
        elif isinstance(one, str) and "://" in one:
            found.append(_server(parse(one)))
        else:
            found.append(_beside(base, one))
    if base.transport == "memory" and found:
        raise ConfigurationError("the embedded engine has no replicas")
    return tuple(found)


def _server(where: Configuration) -> Configuration:
    if where.topology == "server" and where.transport != "memory":
        return where
    raise ConfigurationError(f"a replica is a server by itself, not {where}")


def _beside(base: Configuration, address: object) -> Configuration:
    """*base* at another host:port."""
    if isinstance(address, str) and base.transport != "unix":
        # Read as a whole DSN, with all that a DSN is checked for.
        there = parse(f"redis://{address}")
        if there == Configuration(host=there.host, port=there.port):
            return replace(base, host=there.host, port=there.port, replicas=())
    raise ConfigurationError("a replica is named by a DSN, or by host:port where the primary is too")


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise ConfigurationError(f"{name} is text, not {type(value).__name__}")


def _file(name: str, value: object) -> str:
    path = _text(name, value)
    if Path(path).is_file():
        return path
    raise ConfigurationError(f"{name} names no file: {path!r}")


def _seconds(name: str, value: object) -> float:
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ConfigurationError(f"{name} is a number of seconds above 0, not {shown(value)}")
    return seconds


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    truth = _TRUTH.get(value.lower()) if isinstance(value, str) else None
    if truth is None:
        raise ConfigurationError(f"{name} is true or false")
    return truth


_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}


def _count(name: str, value: object, *, least: int = 1) -> int:
    count = _whole_number(name, value)
    if count < least:
        raise ConfigurationError(f"{name} is at least {least}, not {count}")
    return count


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # What is longer is none of the numbers that this module reads, and int() refuses some of it.
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20:
        return int(value)
    # What stands there is not repeated: it may be a password in the wrong place.
    raise ConfigurationError(f"{name} is a whole number")


_OPTIONS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "replicas": lambda _name, value: value,
    "read_from_replicas": _flag,
    "fallback_to_primary": _flag,
    "wait_replicas": partial(_count, least=0),
    "wait_timeout": _seconds,
    "prefix": _text,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "max_connections": _count,
    "client_name": _text,
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_check_hostname": _flag,
    "sentinel_username": _text,
    "sentinel_password": _text,
    "deadline": _seconds,
    "exactly_once": _flag,
}
