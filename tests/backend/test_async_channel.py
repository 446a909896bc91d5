"""One connection for many tasks: each gets its own reply, whoever is cancelled and whatever breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from itertools import count

import pytest

from redisext import AsyncCounter, AsyncMap, AsyncQueue
from redisext.backend import channel
from redisext.backend.redis_async import AsyncRedisBackend
from redisext.command import Command, Op
from redisext.errors import BatchError, ConnectionFailed, OutcomeUnknown
from redisext.reply import bulk
from tests.backend.observe import calls, connections, open_sockets
from tests.backend.tasks import Hold, connect, outcomes, run, send, turns, until
from tests.proxy import Proxy, forward
from tests.servers import RedisServer
from tests.threads import PATIENCE

ECHO = Op("ECHO", repeatable=True)


class Seen:
    """A rule of the proxy: note what comes, and pass it on."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def __call__(self, data: bytes) -> bytes:
        self.chunks.append(data)
        return data

    def with_word(self, word: bytes) -> list[bytes]:
        return [chunk for chunk in self.chunks if word in chunk]


def warm(db: AsyncRedisBackend) -> Awaitable[object]:
    """Have the connection made."""
    return AsyncCounter[int]("warm", db).incr()


class TestSharing:
    def test_what_is_sent_in_one_turn_of_the_loop_leaves_in_one_write(
        self, proxy: Proxy, server: RedisServer, name: str
    ) -> None:
        async def main() -> None:
            async with connect(proxy.url, client_name=name) as db:
                await warm(db)
                proxy.on_request = seen = Seen()
                hits = AsyncCounter[int]("hits", db)
                assert await asyncio.gather(*(hits.incr() for _ in range(100))) == list(range(1, 101))
                assert len(seen.chunks) == 1
                assert len(connections(server, name)) == 1

        run(main)

    def test_the_first_who_wait_for_the_connection_do_so_together(
        self, proxy: Proxy, server: RedisServer, name: str
    ) -> None:
        async def main() -> None:
            proxy.on_request = seen = Seen()
            async with connect(proxy.url, client_name=name) as db:
                hits = AsyncCounter[int]("hits", db)
                assert await asyncio.gather(*(hits.incr() for _ in range(100))) == list(range(1, 101))
                assert proxy.connections == 1
                assert len(seen.with_word(b"INCRBY")) == 1
                assert len(connections(server, name)) == 1

        run(main)

    def test_commands_are_carried_out_in_the_order_in_which_they_were_given(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as db:
                jobs = AsyncQueue[int]("jobs", db)
                sizes = await asyncio.gather(*(jobs.push(number) for number in range(1_000)))
                assert sizes == list(range(1, 1_001))
                assert await jobs.items() == list(range(999, -1, -1))

        run(main)

    def test_what_one_task_does_next_comes_after_what_it_did_before(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as db:

                async def work(task: int) -> None:
                    mine = AsyncMap[int](f"mine-{task}", db)
                    for number in range(50):
                        await mine.set(number)
                        assert await mine.get() == number

                await asyncio.gather(*map(work, range(50)))

        run(main)

    def test_a_thousand_tasks_need_no_more_connections_than_there_may_be(
        self, server: RedisServer, url: str, name: str
    ) -> None:
        async def main() -> None:
            async with connect(url, client_name=name, max_connections=2) as db:
                hits = AsyncCounter[int]("hits", db)

                async def work(task: int) -> None:
                    await hits.incr()
                    if task % 10 == 0:
                        async with db.transaction() as tx:
                            tx.add(hits.commands.incr())
                    assert task % 100 or len(connections(server, name)) <= 2

                await asyncio.gather(*map(work, range(1_000)))
                assert await hits.get() == 1_100

        run(main)

    def test_a_batch_is_one_of_them(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                proxy.on_request = seen = Seen()
                hits, note = AsyncCounter[int]("hits", db), AsyncMap[str]("note", db)

                async def both() -> tuple[int, bool]:
                    async with db.batch() as batch:
                        counted, kept = batch.add(hits.commands.incr()), batch.add(note.commands.set("x"))
                    return counted.result(), kept.result()

                one, counted, other = await asyncio.gather(both(), hits.incr(), both())
                assert (one, counted, other) == ((1, True), 2, (3, True))
                assert len(seen.chunks) == 1

        run(main)

    def test_what_is_no_text_that_can_be_sent_is_an_error_of_that_command(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as db:
                unsayable, counted, lone = await outcomes(
                    [send(db, "SET", "note", "\ud800"), warm(db), send(db, "GET", "note")]
                )
                assert isinstance(unsayable, UnicodeEncodeError)
                assert (counted, lone) == (1, None)

        run(main)


class TestCancelling:
    def test_a_reply_never_reaches_another_task(self, url: str) -> None:
        """10,000 times, before the command is written, after that, and while the connection is being made."""
        chance = random.Random(17)

        async def echo(db: AsyncRedisBackend, word: bytes) -> None:
            assert await db.execute(Command(ECHO, (word,), (), bulk)) == word

        async def echo_both(db: AsyncRedisBackend, word: bytes) -> None:
            async with db.batch() as batch:
                one = batch.add(Command(ECHO, (word + b"-1",), (), bulk))
                other = batch.add(Command(ECHO, (word + b"-2",), (), bulk))
            assert (one.result(), other.result()) == (word + b"-1", word + b"-2")

        async def go_on(db: AsyncRedisBackend, task: int) -> None:
            for turn in count():
                await (echo_both if task % 4 == 0 else echo)(db, b"%d-%d" % (task, turn))

        async def work(db: AsyncRedisBackend, task: int) -> None:
            for turn in range(5):
                await echo(db, b"other-%d-%d" % (task, turn))

        async def cancel(victim: asyncio.Task[None]) -> None:
            await turns(chance.randrange(10))
            victim.cancel()

        async def main() -> None:
            # To note where each future was made would take most of the time.
            asyncio.get_running_loop().set_debug(False)
            cancelled = 0
            for turn in range(100):
                async with connect(url) as db:
                    if turn % 4:
                        await warm(db)
                    victims = [asyncio.create_task(go_on(db, task)) for task in range(100)]
                    others = [asyncio.create_task(work(db, task)) for task in range(5)]
                    await asyncio.gather(*map(cancel, victims), *others)
                    ended = await outcomes([*victims])
                    assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == []
                    cancelled += len(ended)
                    await work(db, 0)
            assert cancelled == 10_000

        run(main)

    @pytest.mark.parametrize("after", range(10))
    def test_one_is_heard_at_any_moment_of_connecting(self, url: str, after: int) -> None:
        """redis-py alone does not hear all on Python 3.11."""

        async def main() -> None:
            before = open_sockets()
            async with connect(url) as db:
                waiting = asyncio.create_task(AsyncQueue[str]("jobs", db).pop_wait(PATIENCE))
                await turns(after)
                assert waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await AsyncQueue[str]("jobs", db).push("sweep")
                assert await AsyncQueue[str]("jobs", db).pop_wait(1) == "sweep"
            assert open_sockets() == before

        run(main)

    def test_what_is_cancelled_before_it_is_written_is_never_sent(self, server: RedisServer, url: str) -> None:
        async def main() -> None:
            async with connect(url) as db:
                await warm(db)
                hits = AsyncCounter[int]("hits", db)
                before = calls(server, "incrby")
                counting = [asyncio.create_task(hits.incr()) for _ in range(10)]
                await turns(1)
                for one in counting[::2]:
                    one.cancel()
                counted = await outcomes([*counting])
                assert [one for one in counted if isinstance(one, int)] == [1, 2, 3, 4, 5]
                alone = asyncio.create_task(hits.incr())
                await turns(1)
                alone.cancel()
                await turns(2)
                assert await hits.get() == 5
                assert calls(server, "incrby") == before + 5

        run(main)

    def test_what_is_cancelled_after_that_costs_nobody_a_reply(self, proxy: Proxy, server: RedisServer) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                proxy.on_reply = hold = Hold()
                hits = AsyncCounter[int]("hits", db)
                counting = [asyncio.create_task(hits.incr()) for _ in range(10)]
                await until(lambda: server.call("GET", "hits") == b"10", "all were carried out")
                for one in counting[::2]:
                    one.cancel()
                hold.let_go()
                counted = await outcomes([*counting])
                assert [one for one in counted if isinstance(one, int)] == [2, 4, 6, 8, 10]
                assert await hits.incr() == 11
                assert proxy.connections == 1

        run(main)

    def test_what_is_cancelled_when_the_connection_breaks_is_nobodys_error(self, proxy: Proxy) -> None:
        """Neither is it told of as an error that nobody asked for."""

        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                proxy.on_request = hold = Hold()
                hits = AsyncCounter[int]("hits", db)
                counting = [asyncio.create_task(hits.incr()) for _ in range(10)]
                await until(lambda: b"INCRBY" in hold.held, "they were written")
                for one in counting[:9]:
                    one.cancel()
                proxy.on_request = forward
                hold.cut()
                *cancelled, failed = await outcomes([*counting])
                assert isinstance(failed, OutcomeUnknown)
                assert {type(one) for one in cancelled} == {asyncio.CancelledError}
                assert await hits.incr() == 1

        run(main)

    def test_the_connection_that_one_was_waiting_for_is_made_for_the_others(self, proxy: Proxy) -> None:
        async def main() -> None:
            proxy.on_reply = hold = Hold()
            async with connect(proxy.url) as db:
                hits = AsyncCounter[int]("hits", db)
                counting = [asyncio.create_task(hits.incr()) for _ in range(10)]
                await until(lambda: hold.held != b"", "the handshake has begun")
                for one in counting[:9]:
                    one.cancel()
                await turns(5)
                hold.let_go()
                *_, counted = await outcomes([*counting])
                assert counted == 1
                assert proxy.connections == 1

        run(main)

    def test_if_nobody_waits_for_it_any_more_its_failure_is_told_to_nobody(self, proxy: Proxy) -> None:
        async def main() -> None:
            proxy.on_reply = hold = Hold()
            async with connect(proxy.url) as db:
                hits = AsyncCounter[int]("hits", db)
                before = asyncio.all_tasks()
                counting = asyncio.create_task(hits.incr())
                await until(lambda: hold.held != b"", "the handshake has begun")
                counting.cancel()
                proxy.on_reply = forward
                await turns(5)
                hold.cut()
                await until(lambda: asyncio.all_tasks() == before, "it has failed")
                await turns(2)
                assert await hits.incr() == 1

        run(main)


SMALL = 100
"""How many small commands may be due at one time in these tests."""


@pytest.fixture
def small_load(monkeypatch: pytest.MonkeyPatch) -> None:
    per_command: int = channel._PER_COMMAND  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(channel, "_LOAD", SMALL * per_command)


@pytest.mark.usefixtures("small_load")
class TestBackpressure:
    """A server that stalls is sent no more than so much; the other tasks wait for it to go on."""

    def test_all_finish_in_their_order_when_it_goes_on(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                due, most = 0, 0

                def requested(data: bytes) -> bytes | None:
                    nonlocal due, most
                    due += data.count(b"INCRBY")
                    most = max(most, due)
                    return hold(data)

                def replied(data: bytes) -> bytes:
                    nonlocal due
                    due -= data.count(b"\r\n")
                    return data

                hold = Hold()
                proxy.on_request, proxy.on_reply = requested, replied
                hits = AsyncCounter[int]("hits", db)
                counting = [asyncio.create_task(hits.incr()) for _ in range(3_000)]
                await until(lambda: due > 0, "the first were written")
                await turns(20)
                assert due <= SMALL
                hold.let_go()
                assert await asyncio.gather(*counting) == list(range(1, 3_001))
                assert 1 < most <= SMALL

        run(main)

    def test_who_waits_when_the_connection_breaks_goes_on_to_the_next(self, proxy: Proxy, server: RedisServer) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                proxy.on_request = hold = Hold()
                hits = AsyncCounter[int]("hits", db)
                counting = [asyncio.create_task(hits.incr()) for _ in range(3 * SMALL)]
                await until(lambda: b"INCRBY" in hold.held, "the first were written")
                for one in counting[2 * SMALL :]:
                    one.cancel()
                proxy.on_request = forward
                hold.cut()
                ended = await outcomes([*counting])
                sent = hold.held.count(b"INCRBY")
                assert 1 < sent <= SMALL
                assert {type(one) for one in ended[:sent]} == {OutcomeUnknown}
                assert ended[sent : 2 * SMALL] == list(range(1, 2 * SMALL + 1 - sent))
                assert {type(one) for one in ended[2 * SMALL :]} == {asyncio.CancelledError}
                assert proxy.connections == 2

        run(main)

    def test_who_waits_can_be_cancelled(self, proxy: Proxy, server: RedisServer) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                proxy.on_request = hold = Hold()
                hits = AsyncCounter[int]("hits", db)
                counting = [asyncio.create_task(hits.incr()) for _ in range(3 * SMALL)]
                await until(lambda: b"INCRBY" in hold.held, "the first were written")
                for one in counting[SMALL : 2 * SMALL]:
                    one.cancel()
                await turns(3)
                hold.let_go()
                counted = [one for one in await outcomes([*counting]) if isinstance(one, int)]
                assert counted == list(range(1, 2 * SMALL + 1))
                assert server.call("GET", "hits") == b"%d" % (2 * SMALL)

        run(main)

    def test_one_that_is_larger_than_all_that_may_be_due_is_sent_alone(self, url: str) -> None:
        async def main() -> None:
            async with connect(url) as db:
                large = [bytes([number]) * 1_000_000 for number in range(20)]
                notes = [AsyncMap[bytes](f"note-{number}", db) for number in range(20)]
                assert await asyncio.gather(*(note.set(one) for note, one in zip(notes, large, strict=True)))
                assert await asyncio.gather(*(note.get() for note in notes)) == large

        run(main)


class TestBreaking:
    def test_it_fails_those_whose_commands_were_on_it_and_no_others(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                proxy.on_request = hold = Hold()
                hits, note = AsyncCounter[int]("hits", db), AsyncMap[str]("note", db)
                sent = [asyncio.create_task(one) for one in (hits.incr(), hits.get(), note.set("x"), hits.decr(2))]
                await until(lambda: b"note" in hold.held, "they were written")
                proxy.on_request = forward
                hold.cut()
                counted, got, kept, counted_down = await outcomes([*sent])
                for one, by in ((counted, 1), (counted_down, -2)):
                    assert isinstance(one, OutcomeUnknown)
                    assert (one.command.op.name, one.command.args) == ("INCRBY", (by,))
                    assert "on key 'hits' was sent" in str(one)
                assert type(got) is ConnectionFailed
                assert f"the connection to {proxy.url} broke during GET" in str(got)
                assert isinstance(kept, OutcomeUnknown)
                assert kept.command.op.name == "SET"
                assert await hits.incr() == 1
                assert proxy.connections == 2

        run(main)

    def test_in_a_batch_each_command_has_its_own_error(self, proxy: Proxy, server: RedisServer) -> None:
        server.call("SET", "note", "x" * 1_000_000)  # more than comes at one time
        once = iter((True,))

        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                hits = AsyncCounter[int]("hits", db)
                proxy.on_reply = lambda data: data if next(once, False) else None
                batch = db.batch()
                await batch.__aenter__()
                counted = batch.add(hits.commands.incr())
                got = batch.add(AsyncMap[str]("note", db).commands.get())
                again = batch.add(hits.commands.incr())
                with pytest.raises(BatchError) as failed:
                    await batch.__aexit__(None, None, None)
                assert counted.result() == 1
                assert type(got.error) is ConnectionFailed
                assert isinstance(again.error, OutcomeUnknown)
                assert failed.value.exceptions == (got.error, again.error)

        run(main)

    def test_a_reply_that_nobody_asked_for_ends_it(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with connect(proxy.url) as db:
                await warm(db)
                proxy.on_reply = lambda data: data + b"$5\r\nstray\r\n"
                hits = AsyncCounter[int]("hits", db)
                assert [*await asyncio.gather(hits.incr(), hits.incr())] == [1, 2]
                proxy.on_reply = forward
                assert await hits.incr() == 3
                assert proxy.connections == 2

        run(main)
