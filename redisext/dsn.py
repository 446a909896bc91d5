"""From a DSN to a configuration.

    redis://[user[:password]@]host[:port][/db][?option=value&...]
    rediss://...                    the same over TLS
    valkey://... valkeys://...      the same two
    unix://[user[:password]@]/path/to/socket[?db=0&option=value&...]
    memory://[name]                 the embedded engine

User and password are percent-encoded, an IPv6 host stands in brackets. Every part is checked; what is
wrong is named, and neither the password nor any text that might be one is ever repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redisext.errors import ConfigurationError, shown
from redisext.narrow import is_iterable

__all__ = ["Configuration", "from_mapping", "parse"]

_DEFAULT_PORT: Final = 6379
_PATIENCE: Final = 10.0
"""The deadline (seconds) where `exactly_once` is on, and none was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Where the data lives, and how to talk to it. Two that are equal can share connections.

    * `transport`: ``tcp``, ``tls``, ``unix`` or ``memory``.
    * `host` and `port`; `path` for a Unix socket, `name` for an embedded store.
    * `replicas`: servers that answer reads, each with a configuration of its own.
    * `prefix`: stands before every key.
    * `socket_timeout`: how long (seconds) a reply may take; `socket_connect_timeout`: the same for connecting.
    * `max_connections`: the most connections at one time; who comes later waits `socket_timeout` for one.
    * `client_name`: what CLIENT LIST calls these connections.
    * `ssl_ca_certs`: a file of the authorities to trust over TLS, instead of the system's.
    * `deadline`: for how long (seconds) what failed is tried again, if that does no harm; None: not at all.
    * `exactly_once`: have the server record what a command gave, so that any can be tried again.
    * `reuse`: keep connections open between commands.
    """

    transport: Literal["tcp", "tls", "unix", "memory"] = "tcp"
    host: str = "localhost"
    port: int = _DEFAULT_PORT
    path: str = ""
    name: str = ""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    replicas: tuple[Configuration, ...] = ()
    prefix: str = ""
    socket_timeout: float = 5.0
    socket_connect_timeout: float = 5.0
    max_connections: int = 50
    client_name: str | None = None
    ssl_ca_certs: str | None = None
    deadline: float | None = None
    exactly_once: bool = False
    reuse: bool = True

    def __str__(self) -> str:
        """The DSN, without user, password and options."""
        if self.transport == "memory":
            return f"memory://{self.name}"
        if self.transport == "unix":
            return f"unix://{self.path}?db={self.db}"
        scheme = "rediss" if self.transport == "tls" else "redis"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/{self.db}"

    @property
    def location(self) -> str:
        """What tells the data from those elsewhere: the same text."""
        return str(self)

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
        # Last: a replica named by host:port takes all else from here.
        return changed if replicas is None else replace(changed, replicas=_replicas(replicas, changed))


def parse(dsn: str) -> Configuration:
    """Read a DSN. Raises :exc:`~redisext.errors.ConfigurationError`, which names what is wrong with it.

    >>> parse("redis://localhost/2").db
    2
    """
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
        where = replace(where, host=_decoded(host), port=_port(parts), db=_db(parts.path.lstrip("/") or "0"))
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


_TRANSPORTS: Final[Mapping[str, Literal["tcp", "tls", "unix", "memory"]]] = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "unix": "unix",
    "memory": "memory",
}

_LATER: Final = frozenset({"redis+sentinel", "redis+cluster"})


def _unknown_scheme(scheme: str) -> str:
    if scheme in _LATER:
        return f"{scheme}:// is not supported yet; known are {', '.join(_TRANSPORTS)}"
    if not scheme:
        return "a DSN begins with its scheme: redis://host:port/db"
    return f"unknown DSN scheme {scheme!r}; known are {', '.join(_TRANSPORTS)}"


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
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
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


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        return _DEFAULT_PORT
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
            found.append(parse(one))
        else:
            found.append(_beside(base, one))
    if base.transport == "memory" and found:
        raise ConfigurationError("the embedded engine has no replicas")
    return tuple(found)


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


def _count(name: str, value: object) -> int:
    count = _whole_number(name, value)
    if count < 1:
        raise ConfigurationError(f"{name} is at least 1, not {count}")
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
    "prefix": _text,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "max_connections": _count,
    "client_name": _text,
    "ssl_ca_certs": _file,
    "deadline": _seconds,
    "exactly_once": _flag,
}
