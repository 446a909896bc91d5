"""A backend over redis-py as it comes, with its retries: what the workloads are run on to see their checks fail."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import redis

from redisext.backend.abc import Session
from redisext.batch import Batches, Pending
from redisext.command import Command, written_out
from redisext.errors import CommandRefused, ConnectionFailed, OutcomeUnknown

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
        try:
            try:
                reply = self._client.execute_command(*written_out(command.words))
            except redis.exceptions.NoScriptError:
                reply = self._client.execute_command(*written_out(command.words_in_full))
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            if command.op.repeatable:
                raise ConnectionFailed(str(error)) from error
            raise OutcomeUnknown(str(error), command) from error
        except redis.exceptions.ResponseError as error:
            raise CommandRefused(str(error)) from error
        return command.read(reply)

    def execute_many(self, pending: Sequence[Pending[object]]) -> None:
        raise NotImplementedError

    def session(self, watch: Sequence[bytes] = ()) -> AbstractContextManager[Session]:
        raise NotImplementedError

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()
