"""What redis-py's exceptions mean to the caller: each as one of :mod:`redisext.errors`."""

from __future__ import annotations

import copy
import ssl
from collections.abc import Sequence
from typing import Final

import redis

from redisext.command import Command, text
from redisext.dsn import Configuration
from redisext.errors import (
    BackendClosed,
    CommandRefused,
    ConfigurationError,
    ConnectionFailed,
    CrossSlot,
    NotReplicated,
    OutcomeUnknown,
    PermissionDenied,
    RedisextError,
    Timeout,
    WrongType,
)

__all__ = [
    "RECORDED",
    "answered",
    "broken",
    "closed",
    "cross_slot",
    "elsewhere",
    "exhausted",
    "has_moved",
    "is_exhausted",
    "is_for_now",
    "is_recorded",
    "is_redirected",
    "is_wrong_type",
    "no_cluster",
    "no_entry",
    "no_primary",
    "no_sentinel",
    "not_carried_out",
    "not_replicated",
    "on_the_move",
    "once_more",
    "out_of_touch",
    "refused",
    "unknown",
    "unreachable",
]


def unreachable(where: Configuration, error: Exception) -> RedisextError:
    """No connection was to be had; nothing was sent."""
    reason = _unreachable(where, error)
    reason.retriable = isinstance(reason, (ConnectionFailed, Timeout)) and _certificate(error) is None
    return reason


def _certificate(error: Exception) -> ssl.SSLCertVerificationError | None:
    """What is wrong with the server's certificate, if that is the reason."""
    return error.__context__ if isinstance(error.__context__, ssl.SSLCertVerificationError) else None


def _unreachable(where: Configuration, error: Exception) -> RedisextError:
    if isinstance(error.__cause__, ConfigurationError):  # which redis-py takes for a failure to connect
        return once_more(error.__cause__)
    if isinstance(error, (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError)):
        return ConfigurationError(f"{where} refused the user or the password")
    if isinstance(error, redis.exceptions.NoPermissionError):
        return PermissionDenied(f"{where} refused the user: {_server_text(error)}")
    if isinstance(error, redis.exceptions.ResponseError):
        return ConfigurationError(f"{where} refused the connection: {_server_text(error)}")
    if isinstance(error, redis.exceptions.TimeoutError):
        connecting = "connecting" in str(error)
        option = "socket_connect_timeout" if connecting else "socket_timeout"
        seconds = where.socket_connect_timeout if connecting else where.socket_timeout
        return Timeout(f"no answer from {where} within the {seconds:g} s of {option}: {error}")
    certificate = _certificate(error)
    if certificate is not None:
        reason = certificate.verify_message.rstrip(".")
        way_out = _CERTIFICATES.get(certificate.verify_code, "ssl_ca_certs names a file of the authorities to trust")
        return ConnectionFailed(f"the certificate of {where} was refused: {reason}; {way_out}")
    if _is_about_ours(error):
        return ConfigurationError(
            f"{where} refuses the certificate of ssl_certfile {where.ssl_certfile!r}: {error}"
            if where.ssl_certfile
            else f"{where} asks for a client's certificate: ssl_certfile and ssl_keyfile name its files ({error})"
        )
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return ConnectionFailed(f"{where} is not ready yet: {error}")
    reason = str(error).rstrip(".")
    return ConnectionFailed(f"cannot reach {where}: {reason}; is a server running there, and is the DSN right?")


_CERTIFICATES: Final = {
    10: "it has to be renewed there",  # expired
    62: "name the host as its certificate does, or say ssl_check_hostname=false",
    64: "name the host as its certificate does, or say ssl_check_hostname=false",  # the same for an address
}
"""What to do, for OpenSSL's number of what is wrong with a certificate."""


def _is_about_ours(error: Exception) -> bool:
    """Whether the server wants to see a certificate, or another one; with TLS 1.3 it says so after the handshake."""
    return any(alert in str(error) for alert in _ALERTS)


_ALERTS: Final = ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_", "CERTIFICATE_REQUIRED")


def once_more(error: RedisextError) -> RedisextError:
    """The same error for another command, which has a fate of its own."""
    again = copy.copy(error)
    again.__cause__ = error.__cause__
    return again


def out_of_touch(where: Configuration) -> ConnectionFailed:
    """A replica does not hear of what is written."""
    reason = ConnectionFailed(f"the replica {where} has lost its primary, so that what it knows may be out of date")
    reason.retriable = True
    return reason


def no_primary(where: Configuration, why: str) -> ConnectionFailed:
    """Nobody can tell by now who is the primary."""
    reason = ConnectionFailed(f"{where} has no primary for now: {why}")
    reason.retriable = True
    return reason


def no_sentinel(where: Configuration, error: Exception) -> RedisextError:
    """A Sentinel refuses to answer."""
    if "unknown command" in str(error):
        return ConfigurationError(f"{where} is no Sentinel: a server by itself is named redis://host:port/db")
    if isinstance(error, redis.exceptions.AuthenticationError):
        return ConfigurationError(
            f"the Sentinel {where} asks for a password of its own: sentinel_password, and sentinel_username"
        )
    return _answered_by(where, error)


def no_entry(where: Configuration, error: ConfigurationError) -> ConfigurationError:
    """A Sentinel refuses the connection: where it is for the password, that is said."""
    if isinstance(error.__cause__, (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError)):
        return ConfigurationError(
            f"the Sentinel {where} refused the user or the password: its own are sentinel_username, sentinel_password"
        )
    return error


def no_cluster(where: Configuration, error: Exception) -> RedisextError:
    """The node of a cluster refuses to tell who has which slots."""
    if "cluster support disabled" in str(error):
        return ConfigurationError(f"{where} is not in a cluster: name it redis://{where.host}:{where.port}/0")
    return _answered_by(where, error)


def _answered_by(where: Configuration, error: Exception) -> RedisextError:
    """What a server replied to a question about itself."""
    if isinstance(error, redis.exceptions.NoPermissionError):
        return PermissionDenied(f"the user may not ask {where} who does what: {_server_text(error)}")
    return unreachable(where, error)


def on_the_move(what: str, keys: Sequence[bytes], error: RedisextError) -> RedisextError:
    """Why *what* was not carried out, if its slot is being moved; *error* itself, if it is not."""
    if not is_redirected(error):
        return error
    reason = ConnectionFailed(
        f"the slot of key {text(keys[0])!r} is being moved to another node of the cluster, and {what} waits for that"
    )
    reason.__cause__ = error.__cause__
    reason.retriable = True
    return reason


def has_moved(error: RedisextError) -> bool:
    """Whether another node has the slot, for good."""
    return isinstance(error.__cause__, redis.exceptions.MovedError)


def is_redirected(error: Exception) -> bool:
    """Whether the node of a cluster has not, or not wholly, what was asked for."""
    return isinstance(error.__cause__, (redis.exceptions.AskError, redis.exceptions.TryAgainError))


def exhausted(where: Configuration) -> Timeout:
    """No connection was free in time."""
    reason = Timeout(
        f"all {where.max_connections} connections to {where} were in use for {where.socket_timeout:g} s; "
        "raise max_connections, or hold them for less time"
    )
    reason.retriable = True
    reason.exhausted = True
    return reason


def is_exhausted(error: Exception) -> bool:
    """Whether it tells nothing of the server."""
    return isinstance(error, Timeout) and error.exhausted


def broken(where: Configuration, command: Command[object], error: Exception, *, sent: bool) -> RedisextError:
    """The connection broke, or the reply did not come in time."""
    if _is_about_ours(error):
        return unreachable(where, error)
    if sent and not command.op.repeatable:
        return unknown(where, command, error)
    # Older redis-py lets Python's own through.
    kind = Timeout if isinstance(error, (redis.exceptions.TimeoutError, TimeoutError)) else ConnectionFailed
    reason = kind(f"the connection to {where} broke during {command.op.name}: {error}")
    reason.retriable = True
    reason.sent = sent
    return reason


def unknown(where: Configuration, command: Command[object], error: Exception) -> OutcomeUnknown:
    """Whether the command was carried out is not known, and it is not tried again."""
    reason = OutcomeUnknown(
        f"the connection to {where} broke after {command.op.name} on key {text(command.keys[0])!r} was sent "
        f"({error}): it was carried out once or not at all",
        command,
    )
    reason.sent = True
    return reason


_ANSWERS: Final = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.BusyLoadingError,
)
"""What redis-py takes for a broken connection, but is the server's own answer: it did not carry the command out."""


def closed(where: Configuration) -> BackendClosed:
    """A command came after the end."""
    return BackendClosed(f"the backend {where} was closed; connect again")


def elsewhere(backend: object) -> ConfigurationError:
    """A command came in another event loop."""
    return ConfigurationError(
        f"{backend!r} belongs to another event loop, in which it ran its first command; connect in each loop"
    )


def not_replicated(
    where: Configuration, command: Command[object], result: object, confirmed: int, why: str, for_good: bool
) -> NotReplicated:
    """Too few replicas have confirmed a write in time."""
    reason = NotReplicated(
        f"{command.op.name} on key {text(command.keys[0])!r} was carried out on {where}, and {confirmed} of "
        f"{where.wait_replicas} replicas confirmed it within the {where.wait_timeout:g} s of wait_timeout{why}",
        command,
        result,
        confirmed,
    )
    # Where the server has a record, the next attempt gets the same result, and waits once more.
    reason.retriable = command.op.repeatable and not for_good
    reason.sent = True
    return reason


def cross_slot(what: str, keys: Sequence[bytes]) -> CrossSlot:
    """The keys of one operation are in different slots."""
    named = ", ".join(repr(text(key)) for key in dict.fromkeys(keys))
    example = text(keys[0])
    return CrossSlot(
        f"{what} works on keys that are in different slots of the cluster ({named}); a common hash tag puts keys into "
        f"the same one, as in '{{{example}}}:a' and '{{{example}}}:b'"
    )


def is_wrong_type(error: Exception) -> bool:
    """Whether the key holds another structure; the answer to TYPE then explains it."""
    return "WRONGTYPE" in str(error)


def answered(where: Configuration, command: Command[object], error: Exception, held: object = None) -> RedisextError:
    """The error that the server replied, be it about the command or about the connection."""
    if isinstance(error, _ANSWERS):
        return unreachable(where, error)
    # MOVED is one of them; and a script may find that it is to delete a record of another node's key.
    if isinstance(error, redis.exceptions.AskError) or _NOT_HERE in str(error):
        return ConfigurationError(
            f"{where} is a node of a cluster, and another node has key {text(command.keys[0])!r}: "
            f"name it redis+cluster://{where.host}:{where.port}"
        )
    return refused(command, error, held)


_NOT_HERE: Final = "access a non local key in a cluster node"


def not_carried_out(command: Command[object], error: Exception) -> RedisextError:
    """One of a transaction of which the server refused another."""
    return CommandRefused(
        f"{command.op.name} on key {text(command.keys[0])!r} was not carried out, nor was the rest of its transaction: "
        f"{_server_text(error)}"
    )


def refused(command: Command[object], error: Exception, held: object = None) -> RedisextError:
    """The server's error reply; *held* is what TYPE says of the first key, if that was asked."""
    reason = _server_text(error)
    key = text(command.keys[0])
    if is_wrong_type(error):
        holds = held.decode() if isinstance(held, bytes) else "value of another type"
        wanted = command.op.type or "value of another type"
        return WrongType(
            f"key {key!r} holds a {holds}, and {command.op.name} works on a {wanted}: "
            "another structure uses the same key"
        )
    if isinstance(error, redis.exceptions.NoPermissionError) or any(one in reason for one in _NO_PERMISSION):
        needed = "; exactly_once runs it by EVALSHA and EVAL, with SET, GET and UNLINK on keys beside it"
        return PermissionDenied(
            f"the user may not run {command.op.name} on key {key!r}: {reason}{needed if command.op.recorded else ''}"
        )
    refusal = CommandRefused(f"the server refused {command.op.name} on key {key!r}: {reason}")
    refusal.retriable = is_for_now(error)
    return refusal


def is_for_now(error: Exception) -> bool:
    """Whether the server did nothing, and may do it later."""
    return isinstance(error, _FOR_NOW_KINDS) or str(error).startswith(_FOR_NOW)


RECORDED: Final = " (recorded)"
"""How an error ends that `exactly_once` has recorded."""
_NO_PERMISSION: Final = (
    "NOPERM",
    "ACL failure in script",
    "The user executing the script can't",  # before Redis 7.2
)
_FOR_NOW: Final = ("BUSY ", "NOREPLICAS ", "UNBLOCKED ")
_FOR_NOW_KINDS: Final = (
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.NoScriptError,  # of several commands: the one that would have brought the script was refused
)


def is_recorded(error: BaseException | None) -> bool:
    """Whether the server gives it for good: the command was carried out, or tried, and that is what came of it."""
    return str(error).endswith(RECORDED)


def _server_text(error: Exception) -> str:
    # An "unknown command" error goes on to repeat the arguments.
    return str(error).partition(", with args beginning with:")[0].removesuffix(RECORDED)
