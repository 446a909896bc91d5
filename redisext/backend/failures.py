"""What redis-py's exceptions mean to the caller: each as one of :mod:`redisext.errors`."""

from __future__ import annotations

import redis

from redisext.command import Command, Reply, text
from redisext.dsn import Configuration
from redisext.errors import (
    CommandRefused,
    ConfigurationError,
    ConnectionFailed,
    OutcomeUnknown,
    PermissionDenied,
    RedisextError,
    Timeout,
    WrongType,
)

__all__ = ["broken", "is_wrong_type", "refused", "unreachable"]


def unreachable(where: Configuration, error: Exception) -> RedisextError:
    """No connection was to be had; nothing was sent."""
    if isinstance(error, (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError)):
        return ConfigurationError(f"{where} refused the user or the password")
    if isinstance(error, redis.exceptions.NoPermissionError):
        return PermissionDenied(f"{where} refused the user: {_server_text(error)}")
    if isinstance(error, redis.exceptions.ResponseError):
        return ConfigurationError(f"{where} refused the connection: {_server_text(error)}")
    if isinstance(error, redis.exceptions.TimeoutError):
        return Timeout(f"no answer from {where} within {where.socket_connect_timeout:g} s ({error})")
    if "No connection available" in str(error):
        return Timeout(
            f"all {where.max_connections} connections to {where} were in use for {where.socket_timeout:g} s; "
            "raise max_connections, or hold them for less time"
        )
    return ConnectionFailed(f"cannot reach {where}: {error} Is a server running there, and is the DSN right?")


def broken(where: Configuration, command: Command[object], error: Exception, *, sent: bool) -> RedisextError:
    """The connection broke, or the reply did not come in time."""
    if sent and not command.op.repeatable:
        return OutcomeUnknown(
            f"the connection to {where} broke after {command.op.name} on key {text(command.keys[0])!r} was sent: "
            "it was carried out once or not at all",
            command,
        )
    kind = Timeout if isinstance(error, redis.exceptions.TimeoutError) else ConnectionFailed
    return kind(f"the connection to {where} broke during {command.op.name}: {error}")


def is_wrong_type(error: Exception) -> bool:
    """Whether the key holds another structure; the answer to TYPE then explains it."""
    return "WRONGTYPE" in str(error)


def refused(command: Command[object], error: Exception, held: Reply = None) -> RedisextError:
    """The server's error reply; *held* is what TYPE says of the first key, if that was asked."""
    reason = _server_text(error)
    key = text(command.keys[0])
    if is_wrong_type(error):
        holds = held.decode() if isinstance(held, bytes) else "value of another type"
        return WrongType(
            f"key {key!r} holds a {holds}, and {command.op.name} works on a {command.op.type}: "
            "another structure uses the same key"
        )
    if isinstance(error, redis.exceptions.NoPermissionError) or reason.startswith("NOPERM"):
        return PermissionDenied(f"the user may not run {command.op.name} on key {key!r}: {reason}")
    return CommandRefused(f"the server refused {command.op.name} on key {key!r}: {reason}")


def _server_text(error: Exception) -> str:
    # An "unknown command" error goes on to repeat the arguments.
    return str(error).partition(", with args beginning with:")[0]
