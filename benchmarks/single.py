"""One operation at a time, beside redis-py; sync. And what it costs to have each recorded on the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import redis

import redisext
from benchmarks.pair import Pair
from benchmarks.payload import EVENT, RAW, Event

TIMES: Final = 300


@asynccontextmanager
async def pairs(url: str) -> AsyncGenerator[list[Pair]]:
    host, port = url.removeprefix("redis://").removesuffix("/0").split(":")
    with (
        redis.Redis(host=host, port=int(port)) as raw,
        redisext.connect(url) as db,
        redisext.connect(url, exactly_once=True) as recording,
    ):
        hits, surely = redisext.Counter[int]("hits", db), redisext.Counter[int]("hits", recording)
        jobs, sure_jobs = redisext.Queue[Event]("jobs", db), redisext.Queue[Event]("jobs", recording)
        users = redisext.HashMap[str, Event]("users", db)

        def raw_push_and_pop() -> None:
            raw.execute_command("LPUSH", "jobs", RAW)
            raw.execute_command("RPOP", "jobs")

        def push_and_pop(jobs: redisext.Queue[Event]) -> None:
            jobs.push(EVENT)
            jobs.pop()

        def pair(work: str, theirs: Callable[[], object], ours: Callable[[], object]) -> Pair:
            return Pair(f"one at a time: {work}", "redis-py", many(theirs), many(ours), "1.25 x")

        yield [
            pair("increment", lambda: raw.execute_command("INCR", "hits"), hits.incr),
            pair("push, then pop a model", raw_push_and_pop, lambda: push_and_pop(jobs)),
            pair(
                "set a hash's field",
                lambda: raw.execute_command("HSET", "users", "ada", RAW),
                lambda: users.set("ada", EVENT),
            ),
            pair("get a hash's field", lambda: raw.execute_command("HGET", "users", "ada"), lambda: users.get("ada")),
            Pair("exactly once: increment", "without", many(hits.incr), many(surely.incr), ""),
            Pair(
                "exactly once: push, then pop a model",
                "without",
                many(lambda: push_and_pop(jobs)),
                many(lambda: push_and_pop(sure_jobs)),
                "",
            ),
        ]


def many(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        for _ in range(TIMES):
            work()

    return run
