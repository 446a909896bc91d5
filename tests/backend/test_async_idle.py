"""The server closes a connection on which nothing is due: nobody is told, and nothing is sent on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from redisext import AsyncCounter, AsyncQueue
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.command import Command, Op
from redisext.reply import integer
from tests.backend.observe import connections
from tests.backend.tasks import connect, kill, run, turns, until
from tests.servers import RedisServer, wait_until


async def in_batch(db: AsyncRedisBackend) -> int:
    async with db.batch() as batch:
        counted = batch.add(AsyncCounter[int]("hits", db).commands.incr())
    return counted.result()


async def in_transaction(db: AsyncRedisBackend) -> int:
    async with db.transaction() as tx:
        counted = tx.add(AsyncCounter[int]("hits", db).commands.incr())
    return counted.result()


async def in_watch(db: AsyncRedisBackend) -> int:
    hits = AsyncCounter[int]("hits", db)
    async with db.session([hits.commands.key]) as session:
        before = await session.execute(hits.commands.get(0))
        counted = await session.execute(Command(Op("INCR"), (hits.commands.key,), (), integer))
    assert counted == before + 1
    return counted


class TestIdle:
    USES: tuple[tuple[str, Callable[[AsyncRedisBackend], Awaitable[object]]], ...] = (
        ("command", lambda db: AsyncCounter[int]("hits", db).incr()),
        ("batch", in_batch),
        ("transaction", in_transaction),
        ("watching", in_watch),
        ("blocking", lambda db: AsyncQueue[int]("jobs", db).pop_wait(10)),
    )
    USES_BY_NAME = pytest.mark.parametrize("use", [one[1] for one in USES], ids=[one[0] for one in USES])

    @USES_BY_NAME
    def test_before_a_command(
        self, server: RedisServer, url: str, name: str, use: Callable[[AsyncRedisBackend], Awaitable[object]]
    ) -> None:
        server.call("LPUSH", "jobs", *range(1, 11))

        async def main() -> None:
            async with connect(url, client_name=name) as db:
                for turn in range(1, 11):
                    assert await use(db) == turn
                    kill(server, name)  # of which the loop knows nothing yet

        run(main)

    @USES_BY_NAME
    def test_between_a_command_and_its_write(
        self, server: RedisServer, url: str, name: str, use: Callable[[AsyncRedisBackend], Awaitable[object]]
    ) -> None:
        server.call("LPUSH", "jobs", *range(1, 11))

        async def kill_next_turn() -> None:
            await asyncio.sleep(0)
            kill(server, name)

        async def main() -> None:
            async with connect(url, client_name=name) as db:
                assert await use(db) == 1
                for turn in range(2, 11):
                    _, used = await asyncio.gather(kill_next_turn(), use(db))
                    assert used == turn

        run(main)

    @USES_BY_NAME
    def test_by_restarting(
        self, own_server: RedisServer, use: Callable[[AsyncRedisBackend], Awaitable[object]]
    ) -> None:
        async def main() -> None:
            async with connect(own_server.url) as db:
                for _ in range(3):
                    own_server.call("LPUSH", "jobs", 1)
                    assert await use(db) == 1
                    own_server.restart()

        run(main)

    def test_by_its_own_limit(self, own_server: RedisServer, name: str) -> None:
        own_server.call("CONFIG", "SET", "timeout", "1")

        async def main() -> None:
            async with connect(own_server.url, client_name=name) as db:
                assert await in_transaction(db) == 1
                assert await in_batch(db) == 2
                await until(lambda: connections(own_server, name) == [], "the server has closed them")
                assert await in_transaction(db) == 3
                assert await in_batch(db) == 4

        run(main)

    def test_a_loop_that_was_blocked_for_long_has_its_reply_all_the_same(self, server: RedisServer, url: str) -> None:
        """It came in time, though nobody looked."""

        async def main() -> None:
            async with connect(url, socket_timeout=0.2) as db:
                hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[int]("jobs", db)
                await jobs.push(1, 2)
                assert await jobs.pop_wait(0.1) == 1
                using = [asyncio.create_task(hits.incr()), asyncio.create_task(jobs.pop_wait(0.1))]
                await turns(2)
                wait_until(lambda: server.call("EXISTS", "hits", "jobs") == 1, "both were carried out")
                time.sleep(0.5)  # noqa: ASYNC251  # which is what is tested
                counted, popped = await asyncio.gather(*using)
                assert (counted, popped) == (1, 2)

        run(main)
