"""Under asyncio: a hundred tasks at once, and one operation at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import glide
import redis.asyncio

import redisext
from benchmarks.pair import Pair
from benchmarks.payload import EVENT, RAW, Event

Work = Callable[[], Awaitable[object]]

TASKS: Final = 100
EACH: Final = 10
IN_A_ROW: Final = 200


@asynccontextmanager
async def pairs(url: str) -> AsyncGenerator[list[Pair]]:
    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(redis.asyncio.Redis.from_url(url))
        db = redisext.aconnect(url)
        stack.push_async_callback(db.aclose)
        other = await glide.GlideClient.create(configuration(url))
        stack.push_async_callback(other.close)

        event = redisext.AsyncMap[Event]("event", db)
        hits = redisext.AsyncCounter[int]("hits", db)
        jobs = redisext.AsyncQueue[Event]("jobs", db)

        def push_then_pop(push: Work, pop: Work) -> Work:
            async def work() -> None:
                await push()
                await pop()

            return work

        ours: dict[str, Work] = {
            "increment": hits.incr,
            "set a model": lambda: event.set(EVENT),
            "get a model": event.get,
            "push, then pop a model": push_then_pop(lambda: jobs.push(EVENT), jobs.pop),
        }
        redis_py: dict[str, Work] = {
            "increment": lambda: raw.execute_command("INCR", "hits"),
            "set a model": lambda: raw.execute_command("SET", "event", RAW),
            "get a model": lambda: raw.execute_command("GET", "event"),
            "push, then pop a model": push_then_pop(
                lambda: raw.execute_command("LPUSH", "jobs", RAW), lambda: raw.execute_command("RPOP", "jobs")
            ),
        }
        valkey_glide: dict[str, Work] = {
            "increment": lambda: other.incr("hits"),
            "set a model": lambda: other.set("event", RAW),
            "get a model": lambda: other.get("event"),
            "push, then pop a model": push_then_pop(lambda: other.lpush("jobs", [RAW]), lambda: other.rpop("jobs")),
        }
        yield [
            *(
                Pair(f"{TASKS} tasks: {work}", beside, at_once(theirs[work]), at_once(ours[work]), wanted)
                for beside, theirs, wanted in (
                    ("redis.asyncio, gather", redis_py, "5 x"),
                    ("valkey-glide, gather", valkey_glide, "above 1 x"),
                )
                for work in ours
            ),
            *(
                Pair(f"one at a time: {work}", beside, in_a_row(theirs[work]), in_a_row(ours[work]), wanted)
                for beside, theirs, wanted in (
                    ("redis.asyncio", redis_py, "1 x"),
                    ("valkey-glide", valkey_glide, ""),
                )
                for work in ours
            ),
        ]


def at_once(work: Work) -> Callable[[], Awaitable[None]]:
    """The work, done some times by each of many tasks."""

    async def task() -> None:
        for _ in range(EACH):
            await work()

    async def run() -> None:
        await asyncio.gather(*(task() for _ in range(TASKS)))

    return run


def in_a_row(work: Work) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        for _ in range(IN_A_ROW):
            await work()

    return run


def configuration(url: str) -> glide.GlideClientConfiguration:
    parts = urlsplit(url)
    address = glide.NodeAddress(parts.hostname or "localhost", parts.port or 6379)
    return glide.GlideClientConfiguration([address], request_timeout=60_000)
