"""Connections under asyncio: when they are opened, who shares them, and where they lead."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import cast

import pytest
import redis.asyncio

import redisext
from redisext import AsyncCounter, AsyncLock, AsyncMap, AsyncQueue
from redisext.backend.abc import AsyncBackend
from redisext.backend.memory import AsyncMemoryBackend
from redisext.backend.redis import Connection
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.batch import AsyncTransaction
from redisext.command import Command, Op
from redisext.errors import (
    BackendClosed,
    BatchError,
    ConfigurationError,
    ConnectionFailed,
    RedisextError,
    Timeout,
)
from redisext.reply import array, bulk
from tests.backend.observe import blocked, calls, connections, forking_threads, in_child, open_sockets
from tests.backend.tasks import connect, kill, outcomes, run, until
from tests.backend.test_replicas import in_step
from tests.servers import RedisServer, Replicated, free_port


class TestOpening:
    def test_nothing_is_opened_before_the_first_command(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            before = open_sockets()
            async with connect(url, client_name=name) as db:
                hits = AsyncCounter[int]("hits", db)
                assert repr(hits) == f"AsyncCounter[int]('hits', <AsyncRedisBackend {url}>)"
                assert db.primary is db
                assert open_sockets() == before
                await hits.incr()
                assert len(open_sockets() - before) == 1
                assert len(connections(server, name)) == 1

        run(main)

    def test_the_tasks_of_one_transaction_share_its_connection(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            async with connect(url, client_name=name) as db:
                hits = AsyncCounter[int]("hits", db)

                async def fn(tx: AsyncTransaction) -> list[int]:
                    return await asyncio.gather(*(tx.read(hits.commands.get(7)) for _ in range(20)))

                assert await db.transact(fn, watch=[]) == [7] * 20
                assert len(connections(server, name)) == 1

        run(main)

    def test_those_that_have_one_to_themselves_share_it_one_after_another(
        self, server: RedisServer, url: str, name: str
    ) -> None:
        async def main() -> None:
            async with connect(url, client_name=name) as db:
                hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[int]("jobs", db)
                for number in range(1, 20):
                    await jobs.push(number)
                    assert await jobs.pop_wait(1) == number
                    async with db.transaction() as tx:
                        counted = tx.add(hits.commands.incr())
                    assert counted.result() == number
                assert len(connections(server, name)) == 2

        run(main)

    def test_models_on_one_dsn_share_one(self, server: RedisServer, url: str, name: str) -> None:
        dsn = f"{url}?client_name={name}"

        class Hits(AsyncCounter[int]):
            CONNECTION = dsn

        class Here(Connection):
            MASTER = dsn

        hits, jobs, note = Hits("hits"), AsyncQueue[str]("jobs", dsn), AsyncMap[str]("note", Here)

        async def main() -> None:
            assert hits.backend is jobs.backend is note.backend is Hits("others").backend
            await asyncio.gather(hits.incr(), jobs.push("sweep"), note.set("hello"))
            assert len(connections(server, name)) == 1

        run(main)

    def test_without_reuse_one_is_opened_for_each_command_and_closed_after_it(
        self, server: RedisServer, url: str, name: str
    ) -> None:
        class Hits(AsyncCounter[int]):
            CONNECTION = f"{url}?client_name={name}"
            CONNECTION_REUSE = False

        async def main() -> None:
            before = open_sockets()
            hits = Hits("hits")
            opened = int(server.info("stats")["total_connections_received"])
            assert [await hits.incr() for _ in range(3)] == [1, 2, 3]
            async with hits.backend.batch() as batch:
                counted = batch.add(hits.commands.incr())
            assert counted.result() == 4
            await until(lambda: connections(server, name) == [], "they have ended")
            assert open_sockets() == before
            asked = int(server.info("stats")["total_connections_received"]) - opened
            assert asked >= 4
            assert sorted(await asyncio.gather(*(hits.incr() for _ in range(20)))) == list(range(5, 25))

        run(main)

    def test_nothing_to_do_needs_none(self, url: str) -> None:
        async def main() -> None:
            before = open_sockets()
            async with connect(url) as db:
                await db.execute_many([])
                async with db.batch(), db.transaction(), db.session():
                    pass
                assert open_sockets() == before

        run(main)


class TestBlocking:
    def test_those_who_wait_hold_up_nobody(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            async with connect(url, client_name=name) as db:
                jobs, hits = AsyncQueue[int]("jobs", db), AsyncCounter[int]("hits", db)
                waiting = [asyncio.create_task(jobs.pop_wait()) for _ in range(20)]
                await until(lambda: blocked(server) == 20, "all wait")
                assert await hits.incr() == 1
                assert len(connections(server, name)) == 21
                await jobs.push(*range(20))
                assert {*await asyncio.gather(*waiting)} == {*range(20)}

        run(main)

    def test_one_that_is_cancelled_closes_its_connection(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            async with connect(url, client_name=name) as db:
                jobs = AsyncQueue[str]("jobs", db)
                for turn in ("first", "second", "third"):
                    await jobs.size()
                    before = open_sockets()
                    waiting = asyncio.create_task(jobs.pop_wait())
                    await until(lambda: blocked(server) == 1, "it waits")
                    waiting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await waiting
                    await until(lambda: blocked(server) == 0, "the server has given it up")
                    assert open_sockets() == before
                    await jobs.push(turn)
                    assert await jobs.pop_wait(1) == turn
                    kill(server, name)

        run(main)

    def test_a_time_limit_of_ones_own_ends_it(self, server: RedisServer, url: str) -> None:
        async def main() -> None:
            async with connect(url, max_connections=2) as db:
                jobs = AsyncQueue[str]("jobs", db)
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(jobs.pop_wait(), 0.05)
                await jobs.push("sweep")
                await until(lambda: blocked(server) == 0, "the server has given all up")
                assert await jobs.pop_wait(1) == "sweep"

        run(main)

    def test_who_waits_too_long_for_a_connection_is_told_how_to_get_one(self, server: RedisServer, url: str) -> None:
        async def main() -> None:
            async with connect(url, max_connections=2, socket_timeout=0.5) as db:
                jobs = AsyncQueue[str]("jobs", db)
                waiting = asyncio.create_task(jobs.pop_wait())
                await until(lambda: blocked(server) == 1, "the only connection is taken")
                begun = time.monotonic()
                with pytest.raises(Timeout, match=r"connections .* in use for 0\.5 s; raise max_connections"):
                    await jobs.pop_wait(0.1)
                assert time.monotonic() - begun > 0.4
                late = asyncio.create_task(jobs.pop_wait(10))
                await asyncio.sleep(0)
                await jobs.push("sweep", "mop")
                assert (await waiting, await late) == ("sweep", "mop")

        run(main)

    def test_its_being_cancelled_while_it_waits_for_one_costs_none(self, server: RedisServer, url: str) -> None:
        async def main() -> None:
            async with connect(url, max_connections=2) as db:
                jobs = AsyncQueue[str]("jobs", db)
                waiting = [asyncio.create_task(jobs.pop_wait()) for _ in range(5)]
                await until(lambda: blocked(server) == 1, "one has it")
                for one in waiting:
                    one.cancel()
                await outcomes([*waiting])
                await until(lambda: blocked(server) == 0, "the server has given it up")
                await jobs.push("sweep")
                assert await jobs.pop_wait(1) == "sweep"

        run(main)


class TestAddresses:
    def test_a_unix_socket(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            async with connect(f"{server.socket_url}&client_name={name}") as db:
                hits = AsyncCounter[int]("hits", db)
                for turn in range(1, 4):
                    assert await hits.incr() == turn
                    assert len(connections(server, name)) == 1
                    kill(server, name)
                assert repr(db) == f"<AsyncRedisBackend {server.socket_url}>"

        run(main)

    def test_a_database_by_its_number_and_a_prefix(self, server: RedisServer, url: str) -> None:
        async def main() -> None:
            fifth = url.replace("/0", "/5")
            async with connect(fifth, prefix="app:") as db, connect(fifth) as same, connect(url) as other:
                assert await AsyncCounter[int]("hits", db).incr() == 1
                assert repr(db) == f"<AsyncRedisBackend {fifth} prefix='app:'>"
                assert (db.prefix, db.location) == ("app:", fifth)
                assert await AsyncCounter[int]("app:hits", same).get() == 1
                assert await AsyncCounter[int]("app:hits", other).get() is None

        run(main)

    def test_a_database_that_the_server_has_not_is_refused(self, url: str) -> None:
        async def main() -> None:
            async with connect(url.replace("/0", "/99")) as db:
                with pytest.raises(ConfigurationError, match="/99 refused the connection: DB index is out of range"):
                    await AsyncCounter[int]("hits", db).incr()

        run(main)

    def test_the_embedded_engine_has_its_own(self) -> None:
        async def main() -> None:
            db = redisext.aconnect("memory://async-connections")
            assert isinstance(db, AsyncMemoryBackend)
            assert await AsyncCounter[int]("hits", db).incr() == 1

        run(main)


class TestTheOtherKind:
    def test_a_model_under_asyncio_takes_no_synchronous_backend(self, url: str) -> None:
        with (
            redisext.connect(url) as db,
            pytest.raises(ConfigurationError, match=r"not a backend for asyncio: .* one of redisext\.aconnect\(\)"),
        ):
            AsyncCounter[int]("hits", db)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested

    def test_a_synchronous_model_takes_no_backend_for_asyncio(self, url: str) -> None:
        db = connect(url)
        with pytest.raises(ConfigurationError, match=r"is a backend for asyncio: .* one of redisext\.connect\(\)"):
            redisext.Counter[int]("hits", db)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested

    @pytest.mark.parametrize("source", [int, AsyncRedisBackend, 5])
    def test_what_is_no_connection_at_all_is_named(self, source: object) -> None:
        with pytest.raises(ConfigurationError, match="a connection is a DSN, a backend or a Connection class, not "):
            AsyncCounter[int]("hits", source)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested


class TestClientBehind:
    def test_it_is_redis_pys_own_and_closed_with_the_backend(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            before = open_sockets()
            async with connect(url, client_name=name) as db:
                hits = AsyncCounter[int]("hits", db)
                await hits.incr()
                client = hits.connect_to_master()
                assert isinstance(client, redis.asyncio.Redis)
                assert client is db.client
                async with client.pipeline() as pipeline:
                    pipeline.execute_command("SET", "a", "1")
                    pipeline.execute_command("GET", "a")
                    assert await pipeline.execute() == [True, b"1"]
                assert await client.get("hits") == await hits.connect_to_slave().get("hits") == b"1"
                assert len(connections(server, name)) == 2
            await until(lambda: connections(server, name) == [], "the server has seen them end")
            assert open_sockets() == before

        run(main)

    def test_a_backend_without_one_says_so(self) -> None:
        whole = redisext.aconnect("memory://")
        names = [name for name in dir(AsyncBackend) if not name.startswith("_")]
        without = SimpleNamespace(**{name: getattr(whole, name) for name in (*names, "__aenter__", "__aexit__")})
        hits = AsyncCounter[int]("hits", cast("AsyncBackend", without))  # which has all that is looked for
        for give in (hits.connect_to_master, hits.connect_to_slave):
            with pytest.raises(ConfigurationError, match="no redis-py client behind it"):
                give()


@pytest.fixture
def primary(replicated: Replicated) -> RedisServer:
    replicated.primary.call("FLUSHALL")
    in_step(replicated)
    return replicated.primary


class TestReplicas:
    def test_reads_go_to_them_in_turn_and_writes_to_the_primary(self, name: str) -> None:
        with Replicated(replicas=2) as servers:
            replicas = servers.replicas

            async def main() -> None:
                named = [f"{one.url}?client_name={name}" for one in replicas]
                async with connect(servers.primary.url, replicas=named, client_name=name) as db:
                    hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[int]("jobs", db)
                    before = [calls(one, "get") for one in replicas]
                    await asyncio.gather(*(hits.get() for _ in range(10)))
                    assert [calls(one, "get") for one in replicas] == [count + 5 for count in before]
                    assert connections(servers.primary, name) == []
                    await hits.incr()
                    await jobs.push(1)
                    assert await jobs.pop_wait(1) == 1
                    assert await AsyncLock("nightly", db).acquire(30)
                    assert await AsyncCounter[int]("hits", db.primary).get() == 1
                    assert [len(connections(one, name)) for one in replicas] == [1, 1]
                    assert len(connections(servers.primary, name)) == 2
                    assert (
                        repr(db) == f"<AsyncRedisBackend {servers.primary.url} +{replicas[0].url} +{replicas[1].url}>"
                    )
                    assert repr(db.primary) == f"<PrimaryOnly {servers.primary.url}>"
                    assert await port_of(db.client) == servers.primary.port
                    assert await port_of(db.primary.replica_client) == servers.primary.port
                    assert {await port_of(db.replica_client) for _ in replicas} == {one.port for one in replicas}

            run(main)

    def test_a_batch_asks_both(self, replicated: Replicated, primary: RedisServer) -> None:
        [replica] = replicated.replicas

        async def main() -> None:
            async with connect(primary.url, replicas=[replica.url]) as db:
                hits, note = AsyncCounter[int]("hits", db), AsyncMap[str]("note", db)
                await note.set("here")
                in_step(replicated)
                reads = calls(replica, "get")
                async with db.batch() as batch:
                    counted, got = batch.add(hits.commands.incr()), batch.add(note.commands.get())
                assert (counted.result(), got.result()) == (1, "here")
                assert calls(replica, "get") == reads + 1

        run(main)

    def test_one_that_is_down_is_named_and_costs_the_others_nothing(self, primary: RedisServer) -> None:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"

        async def main() -> None:
            async with connect(primary.url, replicas=[nowhere]) as db:
                hits = AsyncCounter[int]("hits", db)
                batch = await db.batch().__aenter__()
                counted, got = batch.add(hits.commands.incr()), batch.add(hits.commands.get())
                with pytest.raises(BatchError):
                    await batch.__aexit__(None, None, None)
                assert counted.result() == 1
                assert f"cannot reach {nowhere}" in str(got.error)
                with pytest.raises(ConnectionFailed, match=f"cannot reach {nowhere}: "):
                    await hits.get()
                assert await AsyncCounter[int]("hits", db.primary).get() == 1

        run(main)

    def test_closing_the_view_of_the_primary_closes_the_backend(self, replicated: Replicated) -> None:
        async def main() -> None:
            before = open_sockets()
            db = connect(replicated.primary.url, replicas=[replicated.replicas[0].url])
            hits = AsyncCounter[int]("hits", db)
            await hits.incr()
            await hits.get()
            view = db.primary
            async with view:
                assert len(open_sockets() - before) == 2
            assert open_sockets() == before
            assert view.closed
            for use in (hits.get, hits.incr, AsyncCounter[int]("hits", view).get):
                with pytest.raises(BackendClosed):
                    await use()

        run(main)


async def port_of(client: redis.asyncio.Redis) -> int:
    """The port of the server that a client talks to."""
    _, port = array(await client.execute_command("CONFIG", "GET", "port"))
    return int(bulk(port))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
class TestFork:
    @pytest.mark.parametrize("how", ["shared", "explicit"])
    @forking_threads
    def test_the_child_has_loops_of_its_own_and_the_parents_goes_on(
        self, server: RedisServer, url: str, name: str, how: str
    ) -> None:
        hits = AsyncCounter[int]("hits", f"{url}?client_name={name}")

        async def use(work: Callable[[AsyncCounter[int]], Coroutine[object, object, int]]) -> int:
            if how == "shared":
                return await work(hits)
            async with connect(url, client_name=name) as db:
                return await work(AsyncCounter[int]("hits", db))

        async def in_parent(hits: AsyncCounter[int]) -> int:
            assert await hits.incr() == 1
            [parents] = connections(server, name)
            assert in_child(lambda: asyncio.run(use(AsyncCounter[int].incr))) == "2"
            assert await hits.incr() == 3
            await until(lambda: connections(server, name) == [parents], "the child's connection has ended")
            return await hits.incr()

        assert run(lambda: use(in_parent)) == 4


def test_every_failure_has_one_root(url: str) -> None:
    async def main() -> None:
        async with connect(url) as db:
            with pytest.raises(RedisextError):
                await db.execute(Command(Op("NOSUCH"), (b"key",), (), lambda reply: reply))

    run(main)
