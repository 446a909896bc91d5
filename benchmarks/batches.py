"""A batch of a hundred commands, beside redis-py's pipeline; sync."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import redis

import redisext
from benchmarks.pair import Pair
from benchmarks.payload import EVENT, RAW, Event

SIZE: Final = 100
TIMES: Final = 20


@asynccontextmanager
async def pairs(url: str) -> AsyncGenerator[list[Pair]]:
    host, port = url.removeprefix("redis://").removesuffix("/0").split(":")
    with redis.Redis(host=host, port=int(port)) as raw, redisext.connect(url) as db:
        hits = redisext.Counter[int]("hits", db)
        event = redisext.Map[Event]("event", db)
        jobs = redisext.Queue[Event]("jobs", db)

        def increments() -> None:
            with db.batch() as batch:
                pending = [batch.add(hits.commands.incr()) for _ in range(SIZE)]
            for one in pending:
                one.result()

        def sets() -> None:
            with db.batch() as batch:
                pending = [batch.add(event.commands.set(EVENT)) for _ in range(SIZE)]
            for one in pending:
                one.result()

        def gets() -> None:
            with db.batch() as batch:
                pending = [batch.add(event.commands.get()) for _ in range(SIZE)]
            for one in pending:
                one.result()

        def pushes_and_pops() -> None:
            with db.batch() as batch:
                pushed = [batch.add(jobs.commands.push(EVENT)) for _ in range(SIZE // 2)]
                popped = [batch.add(jobs.commands.pop()) for _ in range(SIZE // 2)]
            for one in (*pushed, *popped):
                one.result()

        def pipeline(*commands: tuple[str | bytes, ...]) -> Callable[[], None]:
            def run() -> None:
                with raw.pipeline(transaction=False) as pipe:
                    for command in commands:
                        for _ in range(SIZE // len(commands)):
                            pipe.execute_command(*command)
                    pipe.execute()

            return run

        cases = [
            ("increment", pipeline(("INCR", "hits")), increments),
            ("set a model", pipeline(("SET", "event", RAW)), sets),
            ("get a model", pipeline(("GET", "event")), gets),
            ("push, then pop models", pipeline(("LPUSH", "jobs", RAW), ("RPOP", "jobs")), pushes_and_pops),
        ]
        yield [
            Pair(f"a batch of {SIZE}: {work}", "redis-py, pipeline", several(theirs), several(ours), "2 x")
            for work, theirs, ours in cases
        ]


def several(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        for _ in range(TIMES):
            work()

    return run
