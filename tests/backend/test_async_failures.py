"""What a task is told when the server or the network fails, and what has then been done."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import hiredis
import pytest
import redis
from redis.asyncio.connection import AbstractConnection

from redisext import AsyncCounter, AsyncHashMap, AsyncLock, AsyncMap, AsyncQueue, AsyncSortedSet
from redisext.backend import channel
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.command import Command, Op, Script
from redisext.errors import (
    BatchError,
    CommandRefused,
    ConfigurationError,
    ConnectionFailed,
    OutcomeUnknown,
    Timeout,
    WrongType,
)
from redisext.reply import integer
from tests.backend.observe import Sockets, calls, connections, open_sockets
from tests.backend.tasks import Hold, connect, outcomes, run, send, turns, until
from tests.backend.test_failures import BRIEF, GARBAGE, SHORT, answer
from tests.proxy import Proxy, drop, forward
from tests.servers import RedisServer, free_port
from tests.threads import PATIENCE


class TestServerDown:
    def test_a_port_where_nobody_listens_is_named(self, sockets: Sockets) -> None:
        port = free_port()

        async def main() -> None:
            async with connect(f"redis://user:s3cret@127.0.0.1:{port}/0") as db:
                hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[str]("jobs", db)
                for failed in await outcomes([hits.incr(), hits.get(), jobs.pop_wait()]):
                    assert type(failed) is ConnectionFailed
                    assert str(failed).startswith(f"cannot reach redis://127.0.0.1:{port}/0: ")
                    assert "Connection refused" in str(failed) or "Connect call failed" in str(failed)
                    assert isinstance(failed.__cause__, redis.exceptions.ConnectionError)
                    assert "s3cret" not in str(failed)
                with pytest.raises(BatchError) as none:
                    async with db.batch() as batch:
                        batch.add(hits.commands.incr())
                assert type(none.value.exceptions[0]) is ConnectionFailed
                with pytest.raises(BatchError):
                    async with db.transaction() as tx:
                        tx.add(hits.commands.incr())

        run(main)
        assert open_sockets() == sockets

    @pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".example"])
    def test_a_host_that_has_no_address_is_named(self, host: str) -> None:
        async def main() -> None:
            async with connect(f"redis://{host}/0") as db:
                with pytest.raises(ConnectionFailed, match=f"^cannot reach redis://{host}:6379/0: "):
                    await AsyncCounter[int]("hits", db).incr()

        run(main)

    def test_a_unix_socket_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with connect(f"unix://{tmp_path}/none.sock") as db:
                with pytest.raises(ConnectionFailed, match=f"^cannot reach unix://{tmp_path}/none.sock.*No such file"):
                    await AsyncCounter[int]("hits", db).incr()

        run(main)

    def test_a_server_that_is_back_is_used_again(self, own_server: RedisServer) -> None:
        async def main() -> None:
            async with connect(own_server.url) as db:
                hits = AsyncCounter[int]("hits", db)
                await hits.incr()
                own_server.kill()
                for failed in await outcomes([hits.incr() for _ in range(10)]):
                    assert type(failed) is ConnectionFailed
                own_server.start()
                assert await asyncio.gather(*(hits.incr() for _ in range(10))) == list(range(1, 11))

        run(main)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where somebody listens, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


class TestBlackHole:
    def test_a_handshake_takes_no_longer_than_a_reply_may(self, silent: int, sockets: Sockets) -> None:
        async def main() -> None:
            async with connect(f"redis://:s3cret@127.0.0.1:{silent}/0", socket_timeout=SHORT) as db:
                for use in (AsyncCounter[int]("hits", db).incr, AsyncQueue[str]("jobs", db).pop_wait):
                    begun = time.monotonic()
                    with pytest.raises(Timeout, match=r"no answer from .* within the 0\.2 s of socket_timeout") as late:
                        await use()
                    assert time.monotonic() - begun >= SHORT * 0.9
                    assert "s3cret" not in str(late.value)

        run(main)
        assert open_sockets() == sockets

    def test_those_who_wait_for_one_connection_fail_with_it_and_not_one_after_another(self, silent: int) -> None:
        async def main() -> None:
            async with connect(f"redis://127.0.0.1:{silent}/0", socket_timeout=SHORT) as db:
                hits = AsyncCounter[int]("hits", db)
                begun = time.monotonic()
                failed = await outcomes([hits.incr() for _ in range(1_000)])
                assert {type(one) for one in failed} == {Timeout}
                assert time.monotonic() - begun < SHORT * 100

        run(main)


class TestReplyLate:
    def test_what_must_not_be_repeated_has_an_unknown_outcome(self, proxy: Proxy, server: RedisServer) -> None:
        async def main() -> None:
            async with connect(proxy.url, socket_timeout=BRIEF) as db:
                hits, note = AsyncCounter[int]("hits", db), AsyncMap[str]("note", db)
                await note.set("right")
                proxy.on_reply = hold = Hold()
                begun = time.monotonic()
                counted, got = await outcomes([hits.incr(), note.get()])
                assert time.monotonic() - begun >= BRIEF * 0.9
                assert isinstance(counted, OutcomeUnknown)
                assert counted.command == hits.commands.incr()
                assert isinstance(counted.__cause__, redis.exceptions.TimeoutError)
                assert isinstance(got, Timeout)
                assert f"the connection to {proxy.url} broke during GET: no reply came in time" in str(got)
                proxy.on_reply = forward
                hold.let_go()
                assert (await note.get(), await hits.incr()) == ("right", 2)
                assert proxy.connections == 2

        run(main)

    def test_one_that_comes_slowly_is_no_silence(self, proxy: Proxy, server: RedisServer) -> None:
        """The limit is for the next piece, not for the whole of it."""
        server.call("SET", "note", "x" * 4_000_000)

        def slowly(data: bytes) -> bytes:
            time.sleep(0.03)  # a link of about 2 MB/s
            return data

        async def main() -> None:
            async with connect(proxy.url, socket_timeout=BRIEF) as db:
                await AsyncCounter[int]("warm", db).incr()
                proxy.on_reply = slowly
                begun = time.monotonic()
                assert len(await AsyncMap[str]("note", db).get("")) == 4_000_000
                assert time.monotonic() - begun > BRIEF

        run(main)

    def test_a_command_that_waits_has_the_time_to_do_so(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url, socket_timeout=BRIEF) as db:
                jobs = AsyncQueue[str]("jobs", db)
                begun = time.monotonic()
                assert await jobs.pop_wait(BRIEF * 1.5) is None
                assert time.monotonic() - begun >= BRIEF * 1.5 * 0.9
                waiting = asyncio.create_task(jobs.pop_wait())
                until_then = time.monotonic() + BRIEF * 1.5
                await until(lambda: time.monotonic() > until_then, "its time for a plain reply is long over")
                await jobs.push("sweep")
                assert await waiting == "sweep"

        run(main)

    def test_one_that_waits_is_given_up_when_the_server_does_not_answer_in_time(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url, socket_timeout=BRIEF) as db:
                jobs = AsyncQueue[str]("jobs", db)
                await jobs.push("sweep")
                assert await jobs.pop_wait(PATIENCE * 10) == "sweep"
                proxy.on_reply = hold = Hold()
                with pytest.raises(OutcomeUnknown, match=r"BRPOP.*no reply came in time"):
                    await jobs.pop_wait(0.1)
                proxy.on_reply = forward
                hold.let_go()
                await jobs.push("mop")
                assert await jobs.pop_wait(1) == "mop"

        run(main)

    def test_those_that_were_never_sent_ran_out_of_time(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those before them were all that may be due at one time, on each of three connections."""
        monkeypatch.setattr(channel, "_LOAD", 1)

        async def main() -> None:
            async with connect(proxy.url, socket_timeout=SHORT) as db:
                note = AsyncMap[str]("note", db)
                holds: list[Hold] = []

                def hold_gets(data: bytes) -> bytes | None:
                    if b"GET" not in data:
                        return data
                    holds.append(Hold())
                    return holds[-1](data)

                proxy.on_request = hold_gets
                got = await outcomes([note.get() for _ in range(10)])
                for hold in holds:
                    hold.let_go()
                assert {type(one) for one in got} == {Timeout}
                assert ["broke during GET" in str(one) for one in got] == [True] * 3 + [False] * 7
                assert "no answer from" in str(got[-1])
                assert proxy.connections == 3

        run(main)


class TestGarbage:
    @pytest.mark.parametrize("reply", GARBAGE)
    def test_in_place_of_a_reply_it_ends_the_connection(self, proxy: Proxy, reply: bytes) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[str]("jobs", db)
                await hits.incr()
                await jobs.pop_wait(0.01)
                proxy.on_reply = answer(reply)
                counted, got, popped = await outcomes([hits.incr(), hits.get(), jobs.pop_wait(1)])
                assert isinstance(counted, OutcomeUnknown)
                assert type(got) is ConnectionFailed
                assert isinstance(popped, OutcomeUnknown)
                proxy.on_reply = forward
                assert await hits.incr() == 3
                assert await jobs.pop_wait(0.01) is None

        run(main)

    @pytest.mark.parametrize("reply", GARBAGE)
    def test_from_the_beginning_it_is_no_server(self, proxy: Proxy, reply: bytes) -> None:
        proxy.on_reply = answer(reply)

        async def main() -> None:
            async with connect(proxy.url) as db:
                for use in (AsyncCounter[int]("hits", db).incr, AsyncQueue[int]("jobs", db).pop_wait):
                    with pytest.raises(ConnectionFailed, match=f"cannot reach {proxy.url}: .*is the DSN right"):
                        await use()

        run(main)


class Fake:
    """A server that greets, and then does what a test wants; `connections` were opened to it."""

    def __init__(self, after: bytes = b"", *, close: bool = False) -> None:
        self.connections = 0
        self._after = after
        self._close = close

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        asked = hiredis.Reader()
        for _ in range(2):  # CLIENT SETINFO, twice
            while asked.gets() is False:  # it has no more
                asked.feed(await reader.read(65_536))
        writer.write(b"+OK\r\n+OK\r\n" + self._after)
        if not self._close:
            await reader.read()
        writer.close()
        await writer.wait_closed()


class TestHandshake:
    def test_a_server_that_closes_each_connection_at_once_is_given_up(self) -> None:
        async def main() -> None:
            fake = Fake(close=True)
            async with fake.running() as url, connect(url) as db:
                for use in (AsyncCounter[int]("hits", db).incr, AsyncMap[str]("note", db).get):
                    with pytest.raises(ConnectionFailed, match=f"cannot reach {url}: .*closed") as failed:
                        await use()
                    assert type(failed.value) is ConnectionFailed
                assert 2 <= fake.connections <= 6
                with pytest.raises(ConnectionFailed):
                    await AsyncQueue[str]("jobs", db).pop_wait()

        run(main)

    def test_what_it_says_unasked_is_nobodys_reply(self) -> None:
        async def main() -> None:
            fake = Fake(b"$5\r\nstray\r\n")
            async with fake.running() as url, connect(url) as db:
                with pytest.raises(ConnectionFailed, match=f"cannot reach {url}: the server said something unasked"):
                    await AsyncMap[str]("note", db).get()

        run(main)

    def test_one_that_closes_before_it_is_handed_over_is_not_used(
        self, url: str, server: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As may be on a loop other than asyncio's own; redis-py's stream then says so."""
        connect_as_ever = AbstractConnection.connect
        once = iter((True,))

        async def connect_and_be_closed(self: AbstractConnection) -> None:
            await connect_as_ever(self)
            stream = self._reader
            if next(once, False) and stream is not None:
                for one in connections(server, name):
                    server.call("CLIENT", "KILL", "ID", one)
                await until(stream.at_eof, "the stream has ended")

        monkeypatch.setattr(AbstractConnection, "connect", connect_and_be_closed)

        async def main() -> None:
            async with connect(url, client_name=name) as db:
                hits = AsyncCounter[int]("hits", db)
                with pytest.raises(ConnectionFailed, match="the connection was closed"):
                    await hits.incr()
                assert await hits.incr() == 1

        run(main)


class TestServersAnswer:
    """The server answers, and says no: nothing was done."""

    def test_one_that_is_still_loading_its_data(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                hits, jobs = AsyncCounter[int]("hits", db), AsyncQueue[str]("jobs", db)
                await hits.incr()
                await jobs.pop_wait(0.01)
                proxy.on_reply = answer(b"-LOADING Redis is loading the dataset in memory\r\n")
                for use in (hits.incr, hits.get, partial(jobs.pop_wait, 0.1)):
                    with pytest.raises(
                        ConnectionFailed, match=f"{proxy.url} is not ready yet: Redis is load"
                    ) as failed:
                        await use()
                    assert type(failed.value) is ConnectionFailed
                proxy.on_reply = forward
                assert await hits.get() == 2  # carried out by the server here, which was only quoted wrongly

        run(main)

    def test_one_that_wants_a_password_by_now(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                hits = AsyncCounter[int]("hits", db)
                await hits.incr()
                proxy.on_reply = answer(b"-NOAUTH Authentication required.\r\n")
                with pytest.raises(ConfigurationError, match=f"{proxy.url} refused the user or the password"):
                    await hits.incr()

        run(main)

    def test_the_key_holds_another_structure(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            async with connect(url, client_name=name) as db:
                await AsyncQueue[str]("jobs", db).push("sweep")
                await AsyncMap[int]("note", db).set(1)
                with pytest.raises(WrongType, match="key 'jobs' holds a list, and ZADD works on a zset") as wrong:
                    await AsyncSortedSet[str]("jobs", db).add("mop", 1)
                assert isinstance(wrong.value.__cause__, redis.exceptions.ResponseError)
                with pytest.raises(WrongType, match="key 'note' holds a string, and BRPOP works on a list"):
                    await AsyncQueue[str]("note", db).pop_wait(1)
                with pytest.raises(WrongType, match="holds a list, and set a field unless it is there works on a hash"):
                    await AsyncHashMap[str, int]("jobs", db).setdefault("apples", 1)
                batch = await db.batch().__aenter__()
                batch.add(AsyncCounter[int]("jobs", db).commands.incr())
                counted = batch.add(AsyncCounter[int]("note", db).commands.incr())
                with pytest.raises(BatchError) as failed:
                    await batch.__aexit__(None, None, None)
                assert "key 'jobs' holds a list" in str(failed.value.exceptions[0])
                assert counted.result() == 2
                assert len(connections(server, name)) == 2

        run(main)

    def test_the_connection_breaks_while_the_error_is_explained(self, proxy: Proxy, server: RedisServer) -> None:
        server.call("LPUSH", "hits", "x")

        def last(data: bytes) -> bytes:
            proxy.on_reply = drop
            return data

        async def main() -> None:
            async with connect(proxy.url) as db:
                await AsyncCounter[int]("warm", db).incr()
                proxy.on_reply = last
                with pytest.raises(WrongType, match="key 'hits' holds a value of another type, and INCRBY works on"):
                    await AsyncCounter[int]("hits", db).incr()
                proxy.on_reply = forward
                assert await AsyncCounter[int]("others", db).incr() == 1

        run(main)

    def test_a_command_that_the_server_does_not_know_is_named_without_its_arguments(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as db:
                with pytest.raises(CommandRefused, match="refused NOSUCH on key 'key': unknown command") as refused:
                    await send(db, "NOSUCH", "key", "a secret value")
                assert "secret" not in str(refused.value)

        run(main)


class TestScripts:
    def test_one_that_the_server_has_forgotten_is_sent_again(self, server: RedisServer, url: str, name: str) -> None:
        async def main() -> None:
            async with connect(url, client_name=name) as db:
                lock = AsyncLock("nightly", db)
                for _ in range(3):
                    server.call("SCRIPT", "FLUSH")
                    evals = calls(server, "eval")
                    for _ in range(2):
                        assert await lock.acquire(30)
                        assert await lock.release()
                    assert calls(server, "eval") == evals + 1
                assert len(connections(server, name)) == 1

        run(main)

    def test_one_that_was_sent_in_full_may_have_run(self, proxy: Proxy, server: RedisServer) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                lock = AsyncLock("nightly", db)
                assert await lock.acquire(30)
                server.call("SCRIPT", "FLUSH")
                proxy.on_reply = lambda data: data if data.startswith(b"-NOSCRIPT") else None
                with pytest.raises(OutcomeUnknown, match="after release the lock on key 'nightly' was sent"):
                    await lock.release()
                assert server.call("EXISTS", "nightly") == 0

        run(main)

    def test_its_error_is_the_servers(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as db:
                broken = Op("my script", script=Script("error('it broke')"))
                with pytest.raises(CommandRefused, match=r"refused my script on key 'key': .*it broke"):
                    await db.execute(Command(broken, (b"key",), (), integer))

        run(main)


async def transaction(db: AsyncRedisBackend) -> int:
    async with db.transaction() as tx:
        counted = tx.add(AsyncCounter[int]("hits", db).commands.incr())
    return counted.result()


class TestOnOnesOwn:
    """A connection that one task has for itself, and that breaks."""

    USES: tuple[Callable[[AsyncRedisBackend], Awaitable[object]], ...] = (
        lambda db: AsyncQueue[str]("jobs", db).pop_wait(1),
        transaction,
    )

    @pytest.mark.parametrize("use", USES, ids=["blocking", "transaction"])
    def test_it_is_replaced(self, proxy: Proxy, use: Callable[[AsyncRedisBackend], Awaitable[object]]) -> None:
        async def main() -> None:
            async with connect(proxy.url, max_connections=2) as db:
                await AsyncQueue[str]("jobs", db).push(*"abcdef")
                for turn in range(1, 4):
                    await use(db)
                    proxy.on_reply = drop
                    with pytest.raises((OutcomeUnknown, BatchError)):
                        await use(db)
                    proxy.on_reply = forward
                    assert await AsyncCounter[int]("turns", db).incr() == turn

        run(main)

    def test_after_that_nothing_more_is_said_on_it(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                hits = AsyncCounter[int]("hits", db)
                async with db.session() as session:
                    assert await session.execute(hits.commands.incr()) == 1
                    proxy.on_reply = drop
                    with pytest.raises(OutcomeUnknown):
                        await session.execute(hits.commands.incr())
                    proxy.on_reply = forward
                    begun = time.monotonic()
                    with pytest.raises(ConnectionFailed, match="broke during INCRBY") as failed:
                        await session.execute(hits.commands.incr())
                    assert type(failed.value) is ConnectionFailed
                    assert time.monotonic() - begun < 5  # of socket_timeout
                assert await hits.get() == 2
                await turns(1)

        run(main)
