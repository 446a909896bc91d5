"""Backends and event loops: to which one a backend belongs, how it ends with it, and what is left of it then."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import redisext
from redisext import AsyncCounter, AsyncMap, AsyncQueue
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.errors import BackendClosed, ConfigurationError, OutcomeUnknown, RedisextError
from tests.backend.observe import Sockets, blocked, connections, open_sockets, run_python
from tests.backend.tasks import Hold, connect, outcomes, run, turns, until
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.threads import PATIENCE, at_once


class TestOneAfterAnother:
    def test_a_model_at_module_level_works_in_each(self, server: RedisServer, url: str, name: str) -> None:
        class Hits(AsyncCounter[int]):
            CONNECTION = f"{url}?client_name={name}"

        hits = Hits("hits")

        async def count() -> int:
            counted = await hits.incr()
            assert len(connections(server, name)) == 1
            return counted

        for turn in range(1, 6):
            assert run(count) == turn

    def test_models_at_module_level_cost_nothing(self, tmp_path: Path) -> None:
        """A program that only defines them needs no server and no event loop, and opens no socket."""
        program = tmp_path / "program.py"
        program.write_text(
            "import asyncio, socket\n"
            "def refuse(*_): raise AssertionError('a socket was made')\n"
            "socket.socket.__init__ = asyncio.new_event_loop = refuse\n"
            "from redisext import AsyncCounter, AsyncQueue, aconnect\n"
            "class Visitors(AsyncCounter[int]):\n"
            "    CONNECTION = 'redis://:s3cret@127.0.0.1:1/0'\n"
            "site, jobs = Visitors('site'), AsyncQueue[str]('jobs', 'redis://127.0.0.1:1/0')\n"
            "print(site, jobs, AsyncCounter('hits', aconnect('redis://127.0.0.1:1/0')))\n"
            "site.commands.incr()\n"
        )
        done = run_python(program)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "Visitors('site', 'redis://127.0.0.1:1/0') AsyncQueue[str]('jobs', 'redis://127.0.0.1:1/0') "
            "AsyncCounter('hits', <AsyncRedisBackend redis://127.0.0.1:1/0>)\n"
        )

    def test_outside_of_one_a_model_has_no_backend(self, url: str) -> None:
        hits = AsyncCounter[int]("hits", url)
        with pytest.raises(ConfigurationError, match="has a backend in each event loop, and none is running here"):
            _ = hits.backend
        with pytest.raises(ConfigurationError, match="none is running here"):
            hits.connect_to_master()
        explicit = connect(url)
        assert AsyncCounter[int]("hits", explicit).backend is explicit

    def test_the_backend_of_one_says_so_in_another(self, url: str) -> None:
        db = connect(url.replace("//", "//:s3cret@"))
        loop = asyncio.new_event_loop()
        with closing(loop):
            loop.run_until_complete(outcomes([AsyncCounter[int]("hits", db).incr()]))  # which settles the loop

            async def use_elsewhere() -> None:
                hits = AsyncCounter[int]("hits", db)
                for use in (hits.incr, AsyncQueue[int]("jobs", db).pop_wait, partial(db.execute_many, []), db.aclose):
                    with pytest.raises(
                        ConfigurationError, match=r"belongs to another event loop.*connect in each"
                    ) as no:
                        await use()
                    assert "s3cret" not in str(no.value)
                with pytest.raises(ConfigurationError, match="belongs to another event loop"):
                    _ = db.client

            run(use_elsewhere)
            loop.run_until_complete(db.aclose())
        run(db.aclose)  # there is nothing left to be closed

    def test_it_ends_with_the_loop(self, url: str) -> None:
        db = connect(url)

        async def count() -> int:
            return await AsyncCounter[int]("hits", db).incr()

        with pytest.warns(ResourceWarning, match="still open when its event loop ended"):
            assert run(count) == 1
        with pytest.raises(BackendClosed):
            run(count)


class TestTwoAtOnce:
    def test_in_two_threads_a_model_has_a_backend_in_each(self, server: RedisServer, url: str, name: str) -> None:
        hits = AsyncCounter[int]("hits", f"{url}?client_name={name}")
        together = threading.Barrier(4)

        async def count() -> list[int]:
            counted = [await hits.incr()]
            together.wait(PATIENCE)
            assert len(connections(server, name)) == 4
            together.wait(PATIENCE)
            for _ in range(300):
                counted += await asyncio.gather(hits.incr(), hits.incr())
            return counted

        counted = at_once([partial(asyncio.run, count()) for _ in range(4)])
        assert sorted(number for one in counted for number in one) == list(range(1, 4 * 601 + 1))

    def test_a_loop_that_has_ended_is_forgotten(self, url: str) -> None:
        hits = AsyncCounter[int]("hits", url)

        async def count() -> None:
            await hits.incr()

        for _ in range(3):
            run(count)
        assert len(redisext.backend._shared_in_loops) <= 1  # pyright: ignore[reportPrivateUsage]


async def use_all(db: AsyncRedisBackend) -> None:
    """Have connections of every kind opened."""
    hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[int]("jobs", db)
    await asyncio.gather(hits.incr(), hits.get(), *(jobs.pop_wait(0.01) for _ in range(3)))
    await db.client.ping()


class TestClosing:
    def test_it_closes_everything(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            before = open_sockets()
            async with connect(url, client_name=name, replicas=[url]) as db:
                await use_all(db)
                assert len(open_sockets() - before) == 6
                closed = [db.closed]
            closed += [db.closed]
            assert closed == [False, True]
            assert open_sockets() == before
            await until(lambda: connections(server, name) == [], "the server has seen them end")

        run(main)

    def test_after_it_commands_are_refused(self, url: str) -> None:
        async def main() -> None:
            before = open_sockets()
            db = connect(url)
            hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[str]("jobs", db)
            await hits.incr()
            await jobs.pop_wait(0.01)
            await db.aclose()
            await db.aclose()

            async def batch() -> None:
                async with db.batch() as batch:
                    batch.add(hits.commands.incr())

            for use in (hits.incr, hits.get, partial(jobs.pop_wait, 1), db.session().__aenter__):
                with pytest.raises(BackendClosed, match=f"{url} was closed; connect again"):
                    await use()
            with pytest.raises(ExceptionGroup) as refused:
                await batch()
            assert isinstance(refused.value.exceptions[0], BackendClosed)
            with pytest.raises(BackendClosed):
                _ = db.replica_client
            assert open_sockets() == before

        run(main)

    def test_one_that_was_never_used_needs_no_loop_for_it(self, url: str) -> None:
        async def main() -> None:
            db = connect(url)
            await db.aclose()
            with pytest.raises(BackendClosed):
                await AsyncCounter[int]("hits", db).incr()

        run(main)

    def test_commands_in_flight_fail_and_those_that_wait_are_refused(self, proxy: Proxy, server: RedisServer) -> None:
        async def main() -> None:
            before = open_sockets()
            db = connect(proxy.url, max_connections=2)
            hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[str]("jobs", db)
            await hits.incr()
            waiting = [asyncio.create_task(jobs.pop_wait()) for _ in range(3)]
            await until(lambda: blocked(server) == 1, "one waits, and two for its connection")
            proxy.on_reply = hold = Hold()
            counting = asyncio.create_task(hits.incr())
            await until(lambda: server.call("GET", "hits") == b"2", "it was carried out")
            written_no_more = asyncio.create_task(hits.incr())
            await turns(1)
            await db.aclose()
            hold.let_go()
            (popped, *not_popped), counted, late = await asyncio.gather(
                outcomes([*waiting]), outcomes([counting]), outcomes([written_no_more])
            )
            assert isinstance(popped, OutcomeUnknown)
            assert {type(one) for one in not_popped} == {BackendClosed}
            assert isinstance(counted[0], OutcomeUnknown)
            assert "the backend was closed" in str(counted[0])
            assert isinstance(late[0], BackendClosed)
            await turns(2)
            assert len(open_sockets() - before) <= 4  # the proxy's own, of those that it has not seen end

        run(main)
        assert server.call("GET", "hits") == b"2"

    @pytest.mark.parametrize("after", range(12))
    def test_while_a_connection_is_being_made_it_ends_that(self, url: str, after: int) -> None:
        async def main() -> None:
            before = open_sockets()
            db = connect(url)
            hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[str]("jobs", db)
            using: list[asyncio.Task[object]] = [
                asyncio.create_task(use) for use in (hits.incr(), hits.incr(), jobs.pop_wait(PATIENCE))
            ]
            await turns(after)
            await db.aclose()
            ended = await outcomes([*using])
            assert all(isinstance(one, (RedisextError, int)) for one in ended)
            await turns(2)
            assert open_sockets() == before

        run(main)

    def test_twice_at_once_and_one_of_them_cancelled(self, url: str) -> None:
        async def main() -> None:
            before = open_sockets()
            db = connect(url, replicas=[url])
            await use_all(db)
            closing_it = [asyncio.create_task(db.aclose()) for _ in range(3)]
            await turns(1)
            closing_it[0].cancel()
            ended = await outcomes([*closing_it])
            assert [type(one) for one in ended] == [asyncio.CancelledError, type(None), type(None)]
            assert open_sockets() == before

        run(main)

    def test_an_exception_in_the_block_closes_it_too(self, url: str) -> None:
        async def main() -> None:
            before = open_sockets()

            async def use_and_fail() -> None:
                async with connect(url) as db:
                    await use_all(db)
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await use_and_fail()
            assert open_sockets() == before

        run(main)

    def test_in_a_generator_that_ends_with_the_loop(self, url: str, sockets: Sockets) -> None:
        """The loop ends it and the backend at once, in any order."""

        async def numbers() -> AsyncGenerator[int]:
            async with connect(url) as db:
                await use_all(db)
                while True:
                    yield await AsyncCounter[int]("numbers", db).incr()

        left: list[AsyncGenerator[int]] = []

        async def main() -> None:
            left.extend(numbers() for _ in range(10))
            for one in left:
                assert await anext(one) > 0

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # of those that the loop ended first
            run(main)
        assert open_sockets() == sockets


class TestForgotten:
    """What nobody closes is closed with the loop; that it was forgotten is said of what somebody connected."""

    @pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
    def test_an_explicit_one_is_closed_and_warned_of(
        self, server: RedisServer, url: str, name: str, sockets: Sockets, kept: bool
    ) -> None:
        keep: list[AsyncRedisBackend] = []
        password = url.replace("//", "//default:s3cret@")

        async def main() -> None:
            db = connect(url, client_name=name, replicas=[url])
            await use_all(db)
            if kept:
                keep.append(db)
            wrong = connect(password)
            await outcomes([AsyncCounter[int]("hits", wrong).incr()])
            keep.append(wrong)

        with pytest.warns(ResourceWarning, match="was still open when its event loop ended: await its aclose") as told:
            run(main)
        assert len(told) == 2
        assert any(f"<AsyncRedisBackend {url} +{url}> was still open" in str(one.message) for one in told)
        assert all("s3cret" not in str(one.message) for one in told)
        assert open_sockets() == sockets
        assert all(one.closed for one in keep)

    def test_one_that_is_collected_while_the_loop_runs_is_closed_then(self, url: str) -> None:
        async def use_and_forget() -> None:
            db = connect(url)
            await asyncio.gather(AsyncCounter[int]("hits", db).incr(), AsyncQueue[int]("jobs", db).pop_wait(0.01))

        async def main() -> None:
            before = open_sockets()
            await use_and_forget()
            assert len(open_sockets() - before) > 1
            gc.collect()
            await until(lambda: open_sockets() == before, "it was closed")

        with pytest.warns(ResourceWarning, match="was still open"):
            run(main)

    def test_one_that_models_share_is_closed_silently(
        self, server: RedisServer, url: str, name: str, sockets: Sockets
    ) -> None:
        class Hits(AsyncCounter[int]):
            CONNECTION = f"{url}?client_name={name}&replicas={url}"

        hits = Hits("hits")

        async def main() -> None:
            assert isinstance(hits.backend, AsyncRedisBackend)
            await use_all(hits.backend)
            await hits.incr()

        for _ in range(2):
            run(main)
            assert open_sockets() == sockets

    def test_those_in_the_midst_of_commands_too(self, server: RedisServer, url: str, sockets: Sockets) -> None:
        hits, jobs = AsyncCounter[int]("hits", url), AsyncQueue[str]("jobs", url)
        left: list[asyncio.Task[object]] = []

        async def main() -> None:
            left.extend(asyncio.create_task(jobs.pop_wait()) for _ in range(5))
            await until(lambda: blocked(server) == 5, "they wait")
            left.extend(asyncio.create_task(hits.incr()) for _ in range(5))
            await turns(1)

        run(main)
        assert all(one.done() for one in left)
        assert open_sockets() == sockets

    @pytest.mark.parametrize("shared", [True, False], ids=["shared", "explicit"])
    def test_a_loop_that_is_closed_without_ceremony_leaves_nothing_that_is_not_collected(
        self, url: str, sockets: Sockets, shared: bool
    ) -> None:
        """`asyncio.run` ends what was begun in its loop; who closes a loop by hand may not."""

        def use_and_close() -> None:
            db = None if shared else connect(url)
            hits = AsyncCounter[int]("hits", url if db is None else db)

            async def main() -> None:
                backend = hits.backend
                assert isinstance(backend, AsyncRedisBackend)
                await use_all(backend)

            loop = asyncio.new_event_loop()
            with closing(loop):
                loop.run_until_complete(main())

        async def use_another() -> None:
            await AsyncCounter[int]("hits", url).incr()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's own
            use_and_close()
            if shared:
                run(use_another)  # until then, somebody might close it
            gc.collect()
        assert open_sockets() == sockets

    def test_a_program_is_told_once(self, url: str) -> None:
        done = run_python(
            "import asyncio, sys, redisext\n"
            "class Hits(redisext.AsyncCounter[int]):\n"
            "    CONNECTION = sys.argv[1]\n"
            "async def main():\n"
            "    async with redisext.aconnect(sys.argv[1]) as db:\n"
            "        await redisext.AsyncCounter('hits', db).incr()\n"
            "    await Hits('hits').connect_to_master().ping()\n"
            "    forgotten = redisext.aconnect(sys.argv[1], replicas=[sys.argv[1]])\n"
            "    print(await Hits('hits').incr(), await redisext.AsyncCounter('hits', forgotten).get())\n"
            "asyncio.run(main())\n",
            url,
            flags=("-X", "dev", "-W", "always"),
        )
        assert (done.returncode, done.stdout) == (0, "2 2\n")
        assert done.stderr.count("Warning") == 1
        assert "ResourceWarning: <AsyncRedisBackend" in done.stderr


class TestSharing:
    def test_when_it_is_closed_the_next_model_gets_a_new_one(self, url: str) -> None:
        class Hits(AsyncCounter[int]):
            CONNECTION = url

        async def main() -> None:
            hits = Hits("hits")
            await hits.incr()
            await hits.backend.aclose()
            with pytest.raises(BackendClosed):
                await hits.incr()
            assert await Hits("hits").incr() == 2

        run(main)

    def test_those_that_are_connected_are_apart(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as one, connect(url) as other:
                await AsyncMap[str]("note", one).set("x")
                await one.aclose()
                assert await AsyncMap[str]("note", other).get() == "x"

        run(main)

    USES: tuple[Callable[[AsyncCounter[int]], Awaitable[object]], ...] = (
        AsyncCounter[int].incr,
        AsyncCounter[int].get,
        AsyncCounter[int].exists,
        AsyncCounter[int].ttl,
        AsyncCounter[int].persist,
        lambda hits: hits.expire(10),
        lambda hits: hits.rename("visits"),
    )

    def test_every_method_works_in_any_loop(self, url: str) -> None:
        hits = AsyncCounter[int]("hits", url)
        for use in self.USES:

            async def main(use: Callable[[AsyncCounter[int]], Awaitable[object]] = use) -> object:
                return await use(hits)

            assert run(main) is not None
