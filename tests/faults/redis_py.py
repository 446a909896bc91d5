"""A backend over redis-py as it comes, with its retries: what the workloads are run on to see their checks fail."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import redis

from redisext.backend.abc import Session
from redisext.batch import Batches, Pending
from redisext.command import Argument, Command, Reply
from redisext.errors import CommandRefused, ConnectionFailed, OutcomeUnknown, RedisextError

R = TypeVar("R")

RETRIES: Final = 10
"""As many as redis-py makes by default; here, it waits less between them."""


class RedisPyBackend(Batches):
    """Each command by `redis.Redis.execute_command`, which sends it again where a reply was lost."""

    prefix: str = ""
    location: str = ""

    def __init__(self, url: str) -> None:
        # What the typings here, which are those of what the package uses, do not know.
        client: Any = redis.Redis
        waits = import_module("redis.backoff").ExponentialWithJitterBackoff(cap=0.05, base=0.001)
        retry = import_module("redis.retry").Retry(waits, RETRIES)
        made = client.from_url(url, retry=retry, protocol=2)
        made.response_callbacks.clear()  # a backend gives replies as they are
        self._client = cast("redis.Redis", made)

    @property
    def primary(self) -> RedisPyBackend:
        return self

    def execute(self, command: Command[R]) -> R:
        return command.read(self._reply(command))

    def _reply(self, command: Command[object]) -> Reply:
        try:
            try:
                reply = self._client.execute_command(*written_out(command.words))
            except redis.exceptions.NoScriptError:
                reply = self._client.execute_command(*written_out(command.words_in_full))
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            if command.op.reads:
                raise ConnectionFailed(str(error)) from error
            raise OutcomeUnknown(str(error), command) from error
        except redis.exceptions.ResponseError as error:
            raise CommandRefused(str(error)) from error
        return reply

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        for one in pending:
            try:
                one.settle(self._reply(one.command))
            except RedisextError as error:
                one.fail(error)

    @contextmanager
    def session(self, watch: Sequence[bytes] = ()) -> Generator[Session]:
        with cast("Any", self._client).pipeline() as pipeline:
            if watch:
                pipeline.watch(*watch)
            yield _Session(pipeline)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()


# As above.
_WATCH_ERROR: Final[type[Exception]] = getattr(redis.exceptions, "WatchError")  # noqa: B009


class _Session:
    """A pipeline, which sends a transaction again unless something is watched."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def execute(self, command: Command[R]) -> R:
        return command.read(self._pipeline.execute_command(*written_out(command.words_in_full)))

    def commit(self, pending: Sequence[Pending[object]]) -> bool:
        self._pipeline.multi()
        for one in pending:
            self._pipeline.execute_command(*written_out(one.command.words_in_full))
        try:
            replies = self._pipeline.execute(raise_on_error=False)
        except _WATCH_ERROR:
            return False
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            for one in pending:
                one.fail(OutcomeUnknown(str(error), one.command))
            return True
        for one, reply in zip(pending, replies, strict=True):
            if isinstance(reply, redis.exceptions.ResponseError):
                one.fail(CommandRefused(str(reply)))
            else:
                one.settle(reply)
        return True


def written_out(words: tuple[Argument, ...]) -> tuple[bytes | str, ...]:
    """*words* with the numbers as text: hiredis crashes where an interrupt cuts in while it writes a number."""
    return tuple(word if isinstance(word, (bytes, str)) else repr(word) for word in words)
