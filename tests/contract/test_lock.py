"""What a user may rely on in a `Lock`: one holder at a time, and nobody else releases it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TypeVar, cast

import pytest

from redisext import ArgumentError, Backend, ConfigurationError, ConnectionFailed, Lock, LockNotOwned, WrongType
from redisext.command import Command
from tests.conftest import Connect
from tests.servers import wait_until
from tests.threads import AT_ONCE, PATIENCE, at_once, start
from tests.watching import Watched, keys, send, waiting

R = TypeVar("R")


@pytest.fixture
def lock(db: Backend) -> Lock:
    return Lock("lock", db)


@pytest.fixture
def other(db: Backend) -> Lock:
    """The same lock, as somebody else sees it."""
    return Lock("lock", db)


TICK = 0.002
"""How exactly (seconds) a server keeps time."""


class TestHolding:
    def test_one_holds_it_at_a_time(self, lock: Lock, other: Lock) -> None:
        assert lock.acquire() is True
        assert other.acquire() is False
        assert lock.release() is True
        assert other.acquire() is True

    def test_a_block_holds_it(self, lock: Lock, other: Lock, db: Backend) -> None:
        with lock as held:
            assert held is lock
            assert lock.locked() is True
            assert other.acquire() is False
        assert lock.locked() is False
        assert keys(db) == []

    def test_a_block_that_fails_releases_it(self, lock: Lock) -> None:
        with pytest.raises(ZeroDivisionError), lock:
            raise ZeroDivisionError
        assert lock.locked() is False

    def test_everybody_sees_whether_it_is_held(self, lock: Lock, other: Lock) -> None:
        assert other.locked() is False
        lock.acquire()
        assert other.locked() is True

    def test_releasing_what_nobody_holds_is_no_error(self, lock: Lock) -> None:
        assert lock.release() is False
        lock.acquire()
        assert lock.release() is True
        assert lock.release() is False

    def test_only_the_holder_releases_it(self, lock: Lock, other: Lock) -> None:
        lock.acquire()
        with pytest.raises(LockNotOwned, match=r"'lock' is held by another.*never acquired"):
            other.release()
        assert lock.locked() is True
        assert lock.release() is True

    def test_its_holder_does_not_get_it_twice(self, lock: Lock) -> None:
        lock.acquire()
        assert lock.acquire() is False
        assert lock.release() is True

    def test_the_token_is_new_for_each_hold_and_stored_under_the_key(self, lock: Lock, db: Backend) -> None:
        tokens: set[str | None] = {lock.token}
        assert tokens == {None}
        for _ in range(3):
            lock.acquire()
            assert lock.token is not None
            assert send(db, "GET", "lock") == lock.token.encode()
            tokens.add(lock.token)
            lock.release()
            assert lock.token is None
        assert len(tokens) == 4

    def test_who_does_not_get_it_has_no_token(self, lock: Lock, other: Lock) -> None:
        lock.acquire()
        token = lock.token
        other.acquire()
        assert other.token is None
        lock.acquire()
        assert lock.token == token

    def test_a_release_that_did_not_arrive_can_be_repeated(self, db: Backend) -> None:
        class Broken(Watched):
            def execute(self, command: Command[R]) -> R:
                if len(self.commands) == 1:
                    self.commands.append(command)
                    raise ConnectionFailed
                return super().execute(command)

        lock = Lock("lock", Broken(db))
        lock.acquire()
        token = lock.token
        with pytest.raises(ConnectionFailed):
            lock.release()
        assert lock.token == token
        assert lock.release() is True
        assert keys(db) == []

    def test_it_can_be_broken_by_anybody(self, lock: Lock, other: Lock) -> None:
        assert other.remove() is False
        lock.acquire()
        assert other.remove() is True
        assert lock.locked() is False
        assert lock.release() is False


class TestExpiry:
    def test_without_one_it_is_held_until_it_is_released(self, lock: Lock) -> None:
        lock.acquire()
        assert lock.ttl() == -1

    def test_it_is_free_again_when_it_expires(self, lock: Lock, other: Lock) -> None:
        assert lock.acquire(0.05) is True
        assert other.acquire() is False
        wait_until(lambda: other.acquire(60), "it is free")
        assert other.ttl() == 60

    def test_it_can_stand_on_the_class(self, db: Backend) -> None:
        class Nightly(Lock):
            KEY = "nightly"
            EXPIRE = 60

        nightly = Nightly(connection=db)
        with nightly:
            assert nightly.ttl() == 60
        nightly.acquire(10)
        assert nightly.ttl() == 10
        assert nightly.extend() is True
        assert nightly.ttl() == 60
        nightly.release()
        nightly.acquire(wait=1)
        assert nightly.ttl() == 60

    def test_who_held_it_when_it_expired_has_nothing_to_release(self, lock: Lock, other: Lock) -> None:
        lock.acquire(0.02)
        wait_until(lambda: not lock.locked(), "it expires")
        assert lock.release() is False
        lock.acquire(0.02)
        wait_until(other.acquire, "it is free")
        with pytest.raises(LockNotOwned, match=r"'lock' is held by another.*it expired"):
            lock.release()
        assert other.release() is True

    def test_its_holder_extends_it(self, lock: Lock) -> None:
        lock.acquire(10)
        assert lock.extend(60) is True
        assert lock.ttl() == 60
        assert lock.extend(0.02) is True
        wait_until(lambda: not lock.locked(), "it expires")
        assert lock.extend(60) is False
        assert lock.locked() is False

    def test_one_without_an_end_gets_one_by_being_extended(self, lock: Lock) -> None:
        lock.acquire()
        assert lock.extend(60) is True
        assert lock.ttl() == 60

    def test_nobody_else_extends_it(self, lock: Lock, other: Lock) -> None:
        assert other.extend(60) is False
        lock.acquire(10)
        assert other.extend(60) is False
        assert lock.ttl() == 10

    def test_without_a_time_and_without_one_on_the_class_it_is_not_extended(self, lock: Lock) -> None:
        lock.acquire()
        with pytest.raises(ConfigurationError, match=r"set EXPIRE on (Async)?Lock"):
            lock.extend()
        assert lock.ttl() == -1

    @pytest.mark.parametrize("expiration", [0, 0.0, -1, math.nan, math.inf, "60", True], ids=repr)
    def test_what_is_no_time_is_refused_and_nothing_is_sent(self, db: Backend, expiration: object) -> None:
        seen = Watched(db)
        lock = Lock("lock", seen)
        seconds = cast("float", expiration)
        calls: list[tuple[str, Callable[[], object]]] = [
            ("expiration", lambda: lock.acquire(seconds)),
            ("expiration", lambda: lock.acquire(seconds, wait=1)),
            ("seconds", lambda: lock.extend(seconds)),
        ]
        for name, call in calls:
            with pytest.raises(ArgumentError, match=name):
                call()
        assert seen.commands == []

    @pytest.mark.parametrize("expiration", [1e-9, 0.0004], ids=str)
    def test_the_shortest_time_is_not_for_ever(self, lock: Lock, expiration: float) -> None:
        assert lock.acquire(expiration) is True
        wait_until(lambda: not lock.locked(), "it expires")


class TestLosingIt:
    """A hold that ends before its block does."""

    def test_the_block_says_so_when_it_ends(self, lock: Lock) -> None:
        with pytest.raises(LockNotOwned, match=r"'lock' was lost before its block ended.*it expired"), lock:
            send(lock.backend, "DEL", "lock")

    def test_the_block_says_so_and_leaves_the_next_holder_alone(self, lock: Lock, other: Lock) -> None:
        def take_over() -> None:
            with lock:
                other.remove()
                other.acquire()

        with pytest.raises(LockNotOwned, match=r"'lock' is held by another.*it expired"):
            take_over()
        assert other.release() is True

    def test_an_error_of_the_block_itself_goes_first_with_a_note(self, lock: Lock) -> None:
        def lose_and_fail() -> None:
            with lock:
                lock.remove()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError) as caught:
            lose_and_fail()
        [note] = caught.value.__notes__
        assert "'lock' was lost" in note

    def test_a_block_that_released_it_itself_is_told(self, lock: Lock) -> None:
        with pytest.raises(LockNotOwned, match=r"'lock' was lost.*has released it"), lock:
            lock.release()


class TestWaiting:
    def test_a_free_lock_is_taken_at_once(self, lock: Lock, db: Backend) -> None:
        begun = time.monotonic()
        assert lock.acquire(wait=10) is True
        assert time.monotonic() - begun < AT_ONCE
        assert keys(db) == [b"lock"]
        assert lock.release() is True

    @pytest.mark.parametrize("wait", [10, 10.5, math.inf, 1e300], ids=str)
    def test_a_release_ends_the_wait(self, lock: Lock, other: Lock, db: Backend, wait: float) -> None:
        lock.acquire()
        acquired = start(lambda: other.acquire(wait=wait))
        wait_until(lambda: waiting(db) == 1, "it waits")
        begun = time.monotonic()
        lock.release()
        assert acquired.result(PATIENCE) is True
        assert time.monotonic() - begun < AT_ONCE
        assert send(db, "GET", "lock") == (other.token or "").encode()
        assert keys(db) == [b"lock"]

    @pytest.mark.parametrize("wait", [0.01, 0.3], ids=str)
    def test_it_ends_without_the_lock_when_the_time_is_over(
        self, lock: Lock, other: Lock, db: Backend, wait: float
    ) -> None:
        lock.acquire()
        begun = time.monotonic()
        assert other.acquire(wait=wait) is False
        assert wait - TICK <= time.monotonic() - begun < wait + AT_ONCE
        assert other.token is None
        assert keys(db) == [b"lock"]

    def test_no_time_is_no_wait(self, lock: Lock, other: Lock, db: Backend) -> None:
        assert lock.acquire(wait=0) is True
        begun = time.monotonic()
        assert other.acquire(wait=0) is False
        assert time.monotonic() - begun < AT_ONCE
        assert keys(db) == [b"lock"]

    def test_a_holder_that_died_is_waited_for_until_its_hold_expires(self, lock: Lock, other: Lock) -> None:
        begun = time.monotonic()
        lock.acquire(0.5)
        assert other.acquire(60, wait=10) is True
        assert 0.4 < time.monotonic() - begun < 0.5 + AT_ONCE
        assert other.ttl() == 60

    def test_a_wait_that_ends_with_the_hold_gets_the_lock(self, lock: Lock, other: Lock) -> None:
        """A hold with less than a millisecond left is not taken for one without an end."""
        for number in range(50):
            lock.acquire(0.004)
            time.sleep(0.0025 + number * 0.00005)
            begun = time.monotonic()
            assert other.acquire(wait=1) is True
            assert time.monotonic() - begun < AT_ONCE
            other.release()

    def test_a_hold_that_is_extended_is_waited_for(self, lock: Lock, other: Lock, db: Backend) -> None:
        lock.acquire(0.1)
        acquired = start(lambda: other.acquire(wait=10))
        wait_until(lambda: waiting(db) == 1, "it waits")
        lock.extend(60)
        time.sleep(0.2)
        assert not acquired.done()
        lock.release()
        assert acquired.result(PATIENCE) is True

    def test_who_came_first_gets_it_first(self, lock: Lock, db: Backend) -> None:
        lock.acquire()
        order: list[int] = []

        def hold(number: int) -> None:
            with Lock("lock", db):
                order.append(number)

        holds: list[Future[None]] = []
        for number in range(5):
            holds.append(start(partial(hold, number)))
            wait_until(lambda: waiting(db) == len(holds), "it waits too")
        lock.release()
        for one in holds:
            one.result(PATIENCE)
        assert order == list(range(5))
        assert keys(db) == []

    def test_a_release_wakes_one_of_those_who_wait(self, lock: Lock, db: Backend) -> None:
        """So what is sent grows with how many wait, not with the square of it."""
        lock.acquire()
        backends = [Watched(db) for _ in range(16)]

        def hold(backend: Backend) -> None:
            with Lock("lock", backend):
                pass

        holds = [start(partial(hold, backend)) for backend in backends]
        wait_until(lambda: waiting(db) == len(holds), "all wait")
        lock.release()
        for one in holds:
            one.result(PATIENCE)
        sent = [len(backend.commands) for backend in backends]
        assert sum(sent) <= 5 * len(sent), sent
        assert keys(db) == []

    def test_a_dead_waiter_holds_up_nobody_and_leaves_nothing(self, lock: Lock, other: Lock, db: Backend) -> None:
        lock.acquire()
        steps = other.commands.acquire_wait("token of the dead", None, 0.1)
        first = next(steps)
        assert isinstance(first, Command)
        db.execute(first)
        assert len(keys(db)) == 2
        lock.release()
        assert lock.acquire() is True
        assert lock.release() is True
        wait_until(lambda: keys(db) == [], "what it left expires")
        # Or the generator, collected with the test, would want to say that it waits no more.
        steps.throw(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            next(steps)

    def test_a_waiter_that_was_awake_when_it_was_woken_leaves_nothing(
        self, lock: Lock, other: Lock, db: Backend
    ) -> None:
        """It blocks once, and meanwhile the lock is released twice."""
        lock.acquire()
        steps = other.commands.acquire_wait("token", None, 10)
        enter = next(steps)
        assert isinstance(enter, Command)
        steps.send(db.execute(enter))
        lock.release()
        send(db, "DEL", "{lock}:wake")  # what came to it, instead of this test
        lock.acquire()
        lock.release()
        enter_again = steps.send(None)
        assert isinstance(enter_again, Command)
        with pytest.raises(StopIteration, match="True"):
            steps.send(db.execute(enter_again))
        assert db.execute(other.commands.release("token")) == 1
        assert keys(db) == []

    def test_a_waiter_that_is_interrupted_leaves_nothing(self, lock: Lock, db: Backend) -> None:
        class Interrupted(Watched):
            def execute(self, command: Command[R]) -> R:
                if command.op.blocks:
                    raise KeyboardInterrupt
                return super().execute(command)

        lock.acquire()
        with pytest.raises(KeyboardInterrupt):
            Lock("lock", Interrupted(db)).acquire(wait=10)
        assert keys(db) == [b"lock"]

    @pytest.mark.parametrize("wait", [None, 0, 10], ids=str)
    @pytest.mark.parametrize("error", [ConnectionFailed, KeyboardInterrupt])
    def test_what_was_acquired_without_a_reply_is_given_up(
        self, db: Backend, error: type[BaseException], wait: float | None
    ) -> None:
        """Nobody would know the token, and so nobody could release it."""

        class LosesReplies(Watched):
            def execute(self, command: Command[R]) -> R:
                result = super().execute(command)
                if len(self.commands) == 1:
                    raise error
                return result

        lock = Lock("lock", LosesReplies(db))
        with pytest.raises(error):
            lock.acquire(wait=wait)
        assert lock.token is None
        assert keys(db) == []

    @pytest.mark.parametrize("wait", [None, 10], ids=str)
    def test_what_another_holds_is_not_given_up_for_want_of_a_reply(
        self, lock: Lock, db: Backend, wait: float | None
    ) -> None:
        class LosesReplies(Watched):
            def execute(self, command: Command[R]) -> R:
                super().execute(command)
                raise ConnectionFailed

        lock.acquire()
        with pytest.raises(ConnectionFailed):
            Lock("lock", LosesReplies(db)).acquire(wait=wait)
        assert keys(db) == [b"lock"]
        assert lock.release() is True

    def test_what_went_wrong_first_is_what_is_raised(self, lock: Lock, db: Backend) -> None:
        class Breaks(Watched):
            def execute(self, command: Command[R]) -> R:
                if command.op.blocks:
                    raise KeyboardInterrupt
                if len(self.commands) == 1:
                    raise ConnectionFailed
                return super().execute(command)

        lock.acquire()
        with pytest.raises(KeyboardInterrupt):
            Lock("lock", Breaks(db)).acquire(wait=10)

    def test_steps_that_nobody_carries_out_any_more_end_in_peace(self, lock: Lock) -> None:
        """As those of a program that ends while it waits: there is nobody whom they could ask for anything."""
        steps = lock.commands.acquire_wait("token", None, 10)
        next(steps)
        steps.close()

    @pytest.mark.parametrize("name", ["{lock}", "lock:waiters", "{lock", "lock}"])
    def test_a_lock_of_another_name_is_another_lock(self, lock: Lock, db: Backend, name: str) -> None:
        neighbour, waits_for_it = Lock(name, db), Lock(name, db)
        lock.acquire()
        assert neighbour.acquire() is True
        acquired = start(lambda: waits_for_it.acquire(wait=10))
        wait_until(lambda: waiting(db) == 1, "it waits")
        lock.release()
        time.sleep(0.02)
        assert not acquired.done()
        neighbour.release()
        assert acquired.result(PATIENCE) is True
        assert lock.locked() is False
        assert waits_for_it.release() is True
        wait_until(lambda: keys(db) == [], "nothing is left")

    @pytest.mark.parametrize("wait", [-1, -0.001, math.nan, "1", True], ids=repr)
    def test_what_is_no_time_is_refused_and_nothing_is_sent(self, db: Backend, wait: object) -> None:
        seen = Watched(db)
        with pytest.raises(ArgumentError, match="wait"):
            Lock("lock", seen).acquire(wait=cast("float", wait))
        assert seen.commands == []

    @pytest.fixture
    def impatient(self, connect: Connect) -> Iterator[Backend]:
        with connect(socket_timeout=0.3) as db:
            yield db

    def test_it_is_not_cut_short_by_the_socket_timeout(self, impatient: Backend) -> None:
        lock, other = Lock("lock", impatient), Lock("lock", impatient)
        lock.acquire()
        acquired = start(lambda: other.acquire(wait=1.5))
        time.sleep(0.8)
        lock.release()
        assert acquired.result(PATIENCE) is True


class TestExclusion:
    """What is done while holding it is done by one thread at a time."""

    THREADS = 8
    TIMES = 15

    def test_each_thread_has_its_own_object(self, db: Backend) -> None:
        assert self.count([Lock("lock", db) for _ in range(self.THREADS)]) == self.THREADS * self.TIMES
        assert keys(db) == []

    def test_all_threads_share_one_object(self, db: Backend) -> None:
        lock = Lock("lock", db)
        assert self.count([lock] * self.THREADS) == self.THREADS * self.TIMES
        assert lock.token is None
        assert keys(db) == []

    def test_the_holds_expire(self, db: Backend) -> None:
        class Expiring(Lock):
            EXPIRE = 30

        assert self.count([Expiring("lock", db) for _ in range(self.THREADS)]) == self.THREADS * self.TIMES

    def count(self, locks: list[Lock]) -> int:
        counted = 0

        def hold(lock: Lock) -> None:
            nonlocal counted
            for _ in range(self.TIMES):
                with lock:
                    before = counted
                    time.sleep(0)
                    counted = before + 1

        at_once([partial(hold, lock) for lock in locks])
        return counted


OPERATIONS: dict[str, Callable[[Lock], object]] = {
    "acquire and wait": lambda lock: lock.acquire(wait=10),
    "with": lambda lock: lock.__enter__(),
    "release": lambda lock: lock.release(),
    "extend": lambda lock: lock.extend(10),
}


class TestAnotherStructureUnderItsKey:
    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_it_is_named_and_left_alone(self, lock: Lock, db: Backend, operation: Callable[[Lock], object]) -> None:
        send(db, "LPUSH", "lock", "1")
        with pytest.raises(WrongType, match=r"'lock' holds a list.* works on a string"):
            operation(lock)
        assert send(db, "LRANGE", "lock", 0, -1) == [b"1"]
        assert keys(db) == [b"lock"]

    def test_it_is_not_acquired(self, lock: Lock, db: Backend) -> None:
        send(db, "LPUSH", "lock", "1")
        assert lock.acquire() is False
        assert send(db, "LRANGE", "lock", 0, -1) == [b"1"]


class TestCommands:
    def test_reading_makes_no_key(self, lock: Lock, db: Backend) -> None:
        assert lock.locked() is False
        assert lock.release() is False
        assert lock.extend(10) is False
        assert lock.remove() is False
        assert keys(db) == []

    def test_each_operation_sends_the_one_command_that_describes_it(self, db: Backend) -> None:
        seen = Watched(db)
        lock = Lock("lock", seen)
        commands = lock.commands
        [acquire] = seen.sent_by(lambda: lock.acquire(60))
        token = lock.token or ""
        assert acquire == commands.acquire(token, 60)
        assert seen.sent_by(lock.locked) == [commands.locked()]
        assert seen.sent_by(lambda: lock.extend(10)) == [commands.extend(token, 10)]
        assert seen.sent_by(lock.release) == [commands.release(token)]
        assert seen.sent_by(lock.remove) == [commands.delete()]

    def test_a_lock_that_is_free_is_waited_for_in_one_command(self, db: Backend) -> None:
        seen = Watched(db)
        assert len(seen.sent_by(lambda: Lock("lock", seen).acquire(wait=10))) == 1
