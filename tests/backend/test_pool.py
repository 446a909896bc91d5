"""The connections that a backend keeps: how many, for whom, and what an interrupt or a fork does to them."""

from __future__ import annotations

import gc
import random
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import redisext
from redisext import Counter, Map, Queue
from redisext.backend import connections as pooled
from redisext.backend.connections import NoneFree, Pool
from redisext.backend.redis import RedisBackend
from redisext.batch import Pending
from redisext.dsn import parse
from redisext.errors import RedisextError
from tests.backend.observe import blocked, connections, forking_threads, in_child
from tests.servers import RedisServer, wait_until
from tests.threads import PATIENCE


@pytest.fixture
def pool(url: str) -> Iterator[Pool]:
    pool = Pool(parse(f"{url}?max_connections=2&socket_timeout=0.3"))
    yield pool
    pool.close()


class TestTheLimit:
    def test_who_comes_later_gets_what_is_given_back(self, pool: Pool) -> None:
        first, second = pool.take(), pool.take()
        with ThreadPoolExecutor(1) as threads:
            late = threads.submit(pool.take)
            pool.give_back(second, settled=True)
            assert late.result(PATIENCE) is second
        pool.give_back(first, settled=True)

    def test_waiting_ends(self, pool: Pool) -> None:
        held = [pool.take(), pool.take()]
        with pytest.raises(NoneFree):
            pool.take()
        for one in held:
            pool.give_back(one, settled=True)
        assert pool.take() in held

    def test_one_that_got_lost_makes_room(self, pool: Pool) -> None:
        """As an interrupt may let it, between two steps."""
        kept = pool.take()
        pool.take()
        gc.collect()
        assert pool.take() is not kept

    def test_it_makes_room_for_who_waits_already(self, pool: Pool) -> None:
        lost = [pool.take(), pool.take()]
        with ThreadPoolExecutor(1) as threads:
            late = threads.submit(pool.take)
            lost.clear()
            gc.collect()
            assert late.result(PATIENCE).home is not None

    def test_the_last_one_used_is_the_next_one_taken(self, pool: Pool) -> None:
        first, second = pool.take(), pool.take()
        pool.give_back(first, settled=True)
        pool.give_back(second, settled=True)
        assert pool.take() is second

    def test_one_in_the_midst_of_a_reply_is_taken_last_and_anew(self, pool: Pool) -> None:
        first, second = pool.take(), pool.take()
        pool.give_back(first, settled=True)
        pool.give_back(second, settled=False)
        assert pool.take() is first
        assert pool.take() is second

    def test_one_that_was_closed_in_the_meantime_has_no_answer(self, pool: Pool) -> None:
        connection = pool.take()
        connection.disconnect()
        with pytest.raises(redis.exceptions.ConnectionError, match="closed in the meantime"):
            connection.read_into_late([], 1, timeout=1)
        pool.give_back(connection, settled=False)

    def test_nothing_is_written_to_the_file_that_has_the_number_of_one_that_was_closed(self, pool: Pool) -> None:
        connection = pool.take()
        connection.disconnect()
        one, other = socket.socketpair()
        with one, other:
            other.setblocking(False)
            with pytest.raises(redis.exceptions.ConnectionError, match="closed in the meantime"):
                connection.send(b"*1\r\n$4\r\nPING\r\n")
            with pytest.raises(BlockingIOError):
                other.recv(1)
        pool.give_back(connection, settled=False)

    def test_what_does_not_fit_at_once_is_sent_while_the_server_reads(self, url: str) -> None:
        with redisext.connect(url) as db:
            note = Map[bytes]("note", db)
            long = bytes(20_000_000)
            assert note.set(long)
            assert note.get() == long

    def test_a_place_in_the_line_that_an_interrupt_kept_from_being_taken_is_none(self, pool: Pool) -> None:
        place = pooled._Place  # pyright: ignore[reportPrivateUsage]
        place.__new__(place)
        gc.collect()
        assert pool.take() is not pool.take()

    def test_one_that_is_open_is_not_opened_again(self, server: RedisServer, pool: Pool) -> None:
        """Which redis-py asks for before each message to a subscriber."""
        connection = pool.take()
        opened = int(server.info("stats")["total_connections_received"])
        connection.connect()
        assert int(server.info("stats")["total_connections_received"]) == opened + 1  # that which asks

    def test_nobody_starves(self, url: str) -> None:
        with redisext.connect(url, max_connections=1, socket_timeout=2) as db, ThreadPoolExecutor(8) as threads:
            hits = Counter[int]("hits", db)

            def use() -> None:
                for _ in range(300):
                    hits.incr()

            for one in [threads.submit(use) for _ in range(8)]:
                one.result(PATIENCE)
            assert hits.get() == 2_400


class TestClosing:
    def test_another_thread_closes_what_is_in_use(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name) as db, ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(Queue[str]("jobs", db).pop_wait)
            wait_until(lambda: blocked(server) == 1, "it waits")
            db.close()
            with pytest.raises(RedisextError):
                waiting.result(PATIENCE)
            wait_until(lambda: connections(server, name) == [], "nothing is left open")

    def test_a_client_may_give_back_twice(self, url: str) -> None:
        with redisext.connect(url, max_connections=1, socket_timeout=0.1) as db:
            assert isinstance(db, RedisBackend)
            pool = db.client.connection_pool
            connection = pool.get_connection()
            pool.release(connection)
            pool.release(connection)
            assert pool.get_connection() is connection
            with pytest.raises(NoneFree):  # else two would use it at a time
                pool.get_connection()


class TestFork:
    def test_a_child_begins_anew(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it does, done here: its own connections, and nobody is given one of the parent's."""
        used, idle = pool.take(), pool.take()
        pool.give_back(idle, settled=False)
        with monkeypatch.context() as patch:
            patch.setattr(pooled, "_pools", {pool})
            pooled._begin_in_child()  # pyright: ignore[reportPrivateUsage]
        first = pool.take()
        pool.give_back(used, settled=True)
        assert not {first, pool.take()} & {used, idle}

    @forking_threads
    def test_a_transaction_that_is_open_stays_the_parents(self, url: str) -> None:
        with redisext.connect(url, max_connections=2) as db:
            hits = Counter[int]("hits", db)
            with db.session([hits.commands.key]) as session:
                told = in_child(lambda: session.execute(hits.commands.get()))
                assert told.startswith("ConnectionFailed"), told
                assert in_child(hits.incr) == "1"
                assert session.execute(hits.commands.get()) == 1
                assert not session.commit([Pending(hits.commands.incr())])  # the child has changed what is watched

    def test_the_child_closes_its_copies_and_not_the_parents(self, server: RedisServer, url: str, name: str) -> None:
        with redisext.connect(url, client_name=name) as db:
            hits = Counter[int]("hits", db)
            hits.incr()
            before = connections(server, name)
            assert in_child(hits.incr) == "2"
            assert hits.incr() == 3
            assert connections(server, name) == before


class TestInterrupts:
    def test_one_whose_end_was_interrupted_makes_room_too(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object) -> None:
            raise Interrupted

        monkeypatch.setattr(sys, "unraisablehook", str)
        monkeypatch.setattr(pool._alive, "_remove", interrupted)  # pyright: ignore[reportPrivateUsage]
        lost = [pool.take(), pool.take()]
        lost.clear()
        gc.collect()
        assert pool.take() is not pool.take()

    # An interrupt would leave coverage's own lock held.
    @pytest.mark.usefixtures("unmeasured")
    def test_at_whatever_instant_they_come_nothing_is_lost_or_shifted(
        self, server: RedisServer, url: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each reply carries its own identity; a connection that an interrupt cost makes room for another."""
        # One may come in the midst of a destructor; pytest would keep what that was destroying. And redis-py's own
        # steps, connecting and closing, may let go of a socket that the collector then closes.
        monkeypatch.setattr(sys, "unraisablehook", str)

        def interrupt(*_: object) -> None:
            raise Interrupted

        instants = random.Random()
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with redisext.connect(url, max_connections=2, socket_timeout=5, client_name=name) as db:
                echo = redisext.Map[int]("echo", db)
                interrupted = number = 0
                while interrupted < 300 or number < 1_000:
                    number += 1
                    try:
                        signal.setitimer(signal.ITIMER_REAL, instants.uniform(20e-6, 1200e-6))
                        try:
                            echo.set(number)
                            got = echo.get()
                        finally:
                            signal.setitimer(signal.ITIMER_REAL, 0)
                    except Interrupted:
                        interrupted += 1
                    else:
                        assert got == number
                wait_until(lambda: len(connections(server, name)) <= 2, "no connection was left open")
                with ThreadPoolExecutor(2) as threads:  # nobody waits for what is lost: socket_timeout would pass
                    waiting = [threads.submit(Queue[str]("jobs", db).pop_wait) for _ in range(2)]
                    wait_until(lambda: blocked(server) == 2, "all that there may be are there")
                    server.call("LPUSH", "jobs", "a", "b")
                    assert sorted(str(one.result(PATIENCE)) for one in waiting) == ["a", "b"]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


class Interrupted(BaseException):
    pass
