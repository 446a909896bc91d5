"""With `exactly_once`: what was asked is carried out once, and told as it went, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from random import Random
from typing import Any, Final, TypeAlias, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

import redisext
from redisext import (
    AsyncPriorityQueue,
    AsyncQueue,
    Counter,
    HashMap,
    Lock,
    Map,
    Pool,
    PriorityQueue,
    Queue,
    SortedSet,
    Stack,
)
from redisext.backend.connections import Connection
from redisext.backend.recorded import Records, carried_out
from redisext.batch import Pending
from redisext.command import Argument, Command, Op, Script, Steps, run
from redisext.dsn import Configuration
from redisext.errors import (
    BatchError,
    CommandRefused,
    Conflict,
    ConnectionFailed,
    OutcomeUnknown,
    PermissionDenied,
    RedisextError,
    WrongType,
)
from tests.backend import tasks
from tests.backend.observe import blocked, calls
from tests.backend.test_connections import interrupt_when
from tests.backend.test_deadline import SOON, Refusals, in_spite_of, results
from tests.blocks import Added, Block, Driver, add_all, no_steps
from tests.proxy import Fault, Kind, Proxy, every, forward, the_next
from tests.servers import RedisServer, Replicated, wait_until
from tests.threads import PATIENCE, start

MakesDrivers: TypeAlias = Callable[..., Driver]
Asked: TypeAlias = list[tuple[Command[object], object]]
"""Commands, each with what it gives."""

LOST: Final = Fault(Kind.DROP_REPLY)


@pytest.fixture
def once(proxy: Proxy, made: MakesDrivers) -> Driver:
    """One with time enough, through the proxy."""
    return made(proxy.url, exactly_once=True, deadline=PATIENCE)


@pytest.fixture
def kept() -> Iterator[RedisServer]:
    """A server that a test may kill, and that has what it had when it is started again."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def records(server: RedisServer) -> list[bytes]:
    return cast("list[bytes]", server.call("KEYS", "*:once:*"))


# --- One by one


def counter(url: str) -> Asked:
    hits = Counter[int]("hits", url).commands
    up: Asked = [(hits.incr(), number) for number in range(1, 151)]
    down: Asked = [(hits.decr(3), 150 - 3 * number) for number in range(1, 49)]
    return [*up, *down, (hits.set(7), None), (hits.reset(), 7)]


def a_map(url: str) -> Asked:
    whole, part = Map[int]("whole", url).commands, Map[float]("part", url).commands
    begin: Asked = [(whole.set(2**62), True), (part.set(0.25, expire=60), True)]
    up: Asked = [(whole.incr(3), 2**62 + 3 * number) for number in range(1, 100)]
    down: Asked = [(part.decr(0.5), 0.25 - number / 2) for number in range(1, 100)]
    return begin + up + down


def hash_map(url: str) -> Asked:
    stock = HashMap[str, int]("stock", url).commands
    new: Asked = [(stock.set(f"{number}", number), True) for number in range(50)]
    old: Asked = [(stock.set(f"{number}", number + 1), False) for number in range(50)]
    up: Asked = [(stock.incr("total", 2**55), number * 2**55) for number in range(1, 51)]
    taken: Asked = [(stock.pop(f"{number}"), number + 1) for number in range(50)]
    return new + old + up + taken


def pool(url: str) -> Asked:
    tags = Pool[int]("tags", url).commands
    numbers = range(60)
    return [
        *((tags.push(number), True) for number in numbers),
        *((tags.push(number), False) for number in numbers),
        *((tags.remove(number), True) for number in numbers),
        *((tags.remove(number), False) for number in range(20)),
    ]


def sorted_set(url: str) -> Asked:
    board = SortedSet[int]("board", url).commands
    return [
        *((board.add(number, number), True) for number in range(60)),
        *((board.add(number, number + 0.5), False) for number in range(60)),
        *((board.incr(7, 0.1), pytest.approx(7.5 + number / 10)) for number in range(1, 41)),
        *((board.rem(number), True) for number in range(20, 58)),
        (board.truncate(10), 12),
        (board.clean_by_score("-inf", "+inf"), True),
    ]


def queue(url: str) -> Asked:
    jobs = Queue[int]("jobs", url).commands
    return [
        *((jobs.push(number), number + 1) for number in range(100)),
        *((jobs.pop(), number) for number in range(98)),
        (jobs.pop_wait(5), 98),
        (jobs.delete(), True),
    ]


def stack(url: str) -> Asked:
    plates = Stack[int]("plates", url).commands
    return [
        *((plates.push(number), number + 1) for number in range(100)),
        *((plates.pop(), number) for number in range(99, 1, -1)),
        (plates.pop_wait(5), 1),
        (plates.pop(), 0),
    ]


def priority_queue(url: str) -> Asked:
    urgent = PriorityQueue[int]("urgent", url).commands
    return [
        *((urgent.push(number, -number), True) for number in range(100)),
        *((urgent.pop(), number) for number in range(99, 1, -1)),
        (urgent.pop_wait(5), 1),
        (urgent.pop(), 0),
    ]


def lock(url: str) -> Asked:
    nightly = Lock("nightly", url).commands
    each: Asked = [
        (nightly.acquire("mine", 60), True),
        (nightly.acquire("yours", 60), False),
        (nightly.release("yours"), -1),
        (nightly.release("mine"), 1),
    ]
    return each * 50


def keys(url: str) -> Asked:
    name = Map[str]("name", url).commands
    each: Asked = [
        (name.set("Ada"), True),
        (name.expire(60), True),
        (name.persist(), True),
        (name.rename("other"), True),
        (name.delete(), False),
    ]
    return each * 40


WORK: Final = (counter, a_map, hash_map, pool, sorted_set, queue, stack, priority_queue, lock, keys)
work = pytest.mark.parametrize("asked", WORK, ids=lambda one: one.__name__)

ALSO_FOR_RECORDS: Final = {"PEXPIRE", "SET", "UNLINK"}
"""What the server does for the records too, so that counting it tells nothing."""


def executions(asked: Asked) -> Tally[str]:
    """How often each command is to be carried out: those that are no script, a blocking one by that which takes."""
    names = (command.op.name.removeprefix("B") for command, _ in asked if command.op.script is None)
    return Tally(name for name in names if name not in ALSO_FOR_RECORDS)


def counted(server: RedisServer, number: int) -> bool:
    """Whether so many were."""
    hits = server.call("GET", "hits")
    return isinstance(hits, bytes) and int(hits) >= number


class TestOneByOne:
    @work
    def test_each_of_200_is_carried_out_once_and_told_as_it_went(
        self, proxy: Proxy, server: RedisServer, once: Driver, asked: Callable[[str], Asked]
    ) -> None:
        asking = asked(once.url)
        assert len(asking) == 200
        wanted = executions(asking)
        before = {name: calls(server, name) for name in wanted}
        proxy.arm(LOST, every(4))
        told = [once.execute(command) for command, _ in asking]
        assert told == [result for _, result in asking]
        assert {name: calls(server, name) - before[name] for name in wanted} == wanted
        assert proxy.injected[Kind.DROP_REPLY] >= 50

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(Kind.DROP_COMMAND),
            Fault(Kind.CUT_COMMAND, keep=9),
            Fault(Kind.CUT_REPLY),
            Fault(Kind.HALF_CLOSE_COMMAND),
            Fault(Kind.HALF_CLOSE_REPLY),
            Fault(Kind.GARBAGE_REPLY),
        ],
        ids=lambda fault: fault.kind.name.lower(),
    )
    def test_so_it_is_however_the_connection_breaks(self, proxy: Proxy, once: Driver, fault: Fault) -> None:
        asking = queue(once.url)
        proxy.arm(fault, every(4))
        assert [once.execute(command) for command, _ in asking] == [result for _, result in asking]
        assert proxy.injected[fault.kind] >= 50

    def test_what_is_taken_at_random_is_taken_once(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        server.call("SADD", "tags", *range(100))
        server.call("HSET", "stock", *chain.from_iterable((number, number) for number in range(100)))
        tags, stock = Pool[int]("tags", once.url).commands, HashMap[int, int]("stock", once.url).commands
        proxy.arm(LOST, every(4))
        assert {once.execute(tags.pop()) for _ in range(100)} == {*range(100)}
        assert {once.execute(stock.popitem()) for _ in range(100)} == {(number, number) for number in range(100)}
        assert (once.execute(tags.pop()), once.execute(stock.popitem())) == (None, None)

    def test_nobody_is_told_that_another_was_faster_who_was_not(
        self, proxy: Proxy, server: RedisServer, once: Driver
    ) -> None:
        """The second sending finds what the first has done, and is not taken in by it."""
        url = once.url
        called: list[int | None] = []

        def one_more(old: int | None) -> int:
            called.append(old)
            return (old or 0) + 1

        for number in range(20):
            proxy.arm(LOST, every(2))
            assert once.execute(Lock(f"lock-{number}", url).commands.acquire("token", 60)) is True
            assert once.execute(Pool[int]("tags", url).commands.push(number)) is True
            assert once.execute(HashMap[int, int]("stock", url).commands.set(number, 1)) is True
            assert once.execute(HashMap[int, int]("stock", url).commands.setdefault(-number - 1, 7)) == 7
            assert once.execute(SortedSet[int]("board", url).commands.add(number, 1)) is True
            assert run(Map[int]("best", url).commands.update(one_more), once.execute) == number + 1
            assert (
                run(HashMap[str, int]("stock2", url).commands.update_value("a", one_more), once.execute) == number + 1
            )
            assert run(Lock(f"waited-{number}", url).commands.acquire_wait("token", 60, 5), once.execute) is True
            proxy.disarm()
        assert called == [number or None for number in range(20) for _ in range(2)]
        assert server.call("GET", "best") == b"20"

    def test_scripts_that_the_server_forgets_in_the_midst(
        self, proxy: Proxy, server: RedisServer, once: Driver
    ) -> None:
        hits = Counter[int]("hits", once.url).commands
        proxy.arm(LOST, every(4))
        told: list[int] = []
        for _ in range(40):
            server.call("SCRIPT", "FLUSH")
            told += [once.execute(hits.incr()) for _ in range(3)]
        assert told == [*range(1, 121)]

    def test_a_server_that_is_restarted_in_the_midst(self, kept: RedisServer, made: MakesDrivers) -> None:
        with Proxy(kept.port) as proxy:
            driver = made(proxy.url, exactly_once=True, deadline=PATIENCE)
            hits = Counter[int]("hits", driver.url).commands
            proxy.arm(LOST, every(20))
            asking = start(lambda: [driver.execute(hits.incr()) for _ in range(300)])
            for limit in (50, 100, 150):
                wait_until(partial(counted, kept, limit), "so many were counted")
                assert not asking.done()
                kept.kill()
                kept.start()
            assert asking.result(PATIENCE) == [*range(1, 301)]

    def test_several_tasks_at_a_time(self, proxy: Proxy, server: RedisServer) -> None:
        async def main() -> None:
            async with tasks.connect(proxy.url, exactly_once=True, deadline=PATIENCE) as db:
                jobs = AsyncQueue[int]("jobs", db)
                proxy.arm(LOST, every(4))
                sizes = await asyncio.gather(*(jobs.push(number) for number in range(200)))
                assert sorted(sizes) == [*range(1, 201)]
                taken = await asyncio.gather(*(jobs.pop() for _ in range(200)))
                assert sorted(one for one in taken if one is not None) == [*range(200)]
                assert await jobs.size() == 0

        tasks.run(main)

    def test_several_threads_at_a_time(self, proxy: Proxy, server: RedisServer) -> None:
        with redisext.connect(proxy.url, exactly_once=True, deadline=PATIENCE) as db:
            hits = Counter[int]("hits", db)
            proxy.arm(LOST, every(4))
            counting = [start(lambda: [hits.incr() for _ in range(50)]) for _ in range(8)]
            counted = [one for each in counting for one in each.result(PATIENCE)]
            assert sorted(counted) == [*range(1, 401)]

    def test_it_may_stand_in_the_dsn(self, proxy: Proxy, made: MakesDrivers) -> None:
        driver = made(f"{proxy.url}?exactly_once=true")
        assert driver.db.deadline == 10
        proxy.arm(LOST, every(2))
        hits = Counter[int]("hits", proxy.url).commands
        assert [driver.execute(hits.incr()) for _ in range(10)] == [*range(1, 11)]

    @pytest.mark.parametrize("option", [{"exactly_once": True}, {"exactly_once": True, "deadline": 3}])
    def test_on_the_embedded_engine_nothing_is_lost_anyway(
        self, name: str, made: MakesDrivers, option: dict[str, Any]
    ) -> None:
        url = f"memory://{name}"
        driver = made(url, **option)
        for asked in WORK:
            asking = asked(url)
            assert [driver.execute(command) for command, _ in asking] == [result for _, result in asking]
        pending = driver.fill("transaction", add_all([Counter[int]("hits", url).commands.incr()]))
        assert [one.result() for one in pending] == [1]


# --- Replies


def raw(name: str, key: str, *args: Argument) -> Command[object]:
    return Command(Op(name), (key.encode(),), args, lambda reply: reply)


def script(source: str, *args: Argument, key: str = "script") -> Command[object]:
    return Command(Op("my script", script=Script(source)), (key.encode(),), args, lambda reply: reply)


REPLIES: Final[dict[str, Callable[[], list[Command[object]]]]] = {
    "integers beyond 2**53": lambda: [
        raw("INCRBY", "n", 2**53),
        raw("INCRBY", "n", 1),
        raw("INCRBY", "n", 2**63 - 2 - 2**53),
        raw("HINCRBY", "h", "f", 2**53 + 1),
        raw("HINCRBY", "h", "f", -(2**62)),
        raw("INCRBY", "negative", -(2**63)),
        raw("INCRBY", "n", -(2**63)),
    ],
    "nil": lambda: [raw("GETDEL", "none"), raw("RPOP", "none"), raw("SPOP", "none"), raw("SET", "none", "x", "XX")],
    "statuses": lambda: [raw("SET", "s", "x"), raw("RENAME", "s", "s"), script("return redis.status_reply('FINE')")],
    "bytes": lambda: [
        raw("SET", "b", b"\xff\x00\r\n\xfe"),
        raw("GETDEL", "b"),
        raw("SET", "b", b""),
        raw("GETDEL", "b"),
        raw("LPUSH", "bytes", b"\x00", b"", b"\xff" * 70_000),
        raw("RPOP", "bytes"),
        raw("RPOP", "bytes"),
        raw("RPOP", "bytes"),
    ],
    "arrays": lambda: [
        raw("ZADD", "z", 1, b"\xff", 2.5, "b"),
        raw("ZPOPMIN", "z"),
        raw("ZPOPMIN", "z", 5),
        raw("ZPOPMIN", "z"),
        raw("LPUSH", "l", 1, 2, 3),
        raw("LPOP", "l", 2),
        raw("SADD", "set", "a"),
        raw("SPOP", "set", 5),
        raw("SPOP", "set", 5),
        script("return {1, {2, false, 'x', {}}, redis.status_reply('FINE')}"),
        script("return {}"),
    ],
    "floats": lambda: [
        raw("INCRBYFLOAT", "f", "0.1"),
        raw("INCRBYFLOAT", "f", "0.2"),
        raw("HINCRBYFLOAT", "hf", "f", "1e100"),
        raw("ZINCRBY", "zf", "0.1", "m"),
        raw("ZINCRBY", "zf", "inf", "m"),
    ],
    "false and true": lambda: [
        raw("SADD", "t", "a"),
        raw("SADD", "t", "a"),
        raw("PERSIST", "t"),
        raw("PEXPIRE", "t", 60_000),
        raw("PERSIST", "t"),
        raw("SET", "l", "x", "NX"),
        raw("SET", "l", "y", "NX"),
        raw("UNLINK", "l"),
        raw("UNLINK", "l"),
        script("return true"),
        script("return false"),
        script("return nil"),
        script("return 3.7"),
        script("return -1"),
    ],
    "errors": lambda: [
        raw("SET", "e", "x"),
        raw("INCRBY", "e", 1),
        raw("LPUSH", "e", 1),
        raw("INCRBY", "max", 2**63 - 1),
        raw("INCRBY", "max", 1),
        raw("NOSUCH", "e", "a secret value"),
        raw("PEXPIRE", "e", "soon"),
        raw("SADD", "e"),
        script("return redis.error_reply('MINE it is so')"),
        script("return redis.call('INCRBY', KEYS[1], 'x')"),
        script("return redis.call('LPUSH', KEYS[1], 'x')", key="e"),
        raw("GETDEL", "e"),
    ],
}


def told(driver: Driver, command: Command[object]) -> object:
    """What it gives; of an error, its kind."""
    try:
        return driver.execute(command)
    except RedisextError as error:
        return type(error)


class TestReplies:
    @pytest.mark.parametrize("commands", REPLIES.values(), ids=REPLIES.keys())
    def test_each_is_what_it_is_without(
        self,
        proxy: Proxy,
        server: RedisServer,
        once: Driver,
        made: MakesDrivers,
        commands: Callable[[], list[Command[object]]],
    ) -> None:
        """Whether it was read at once, or from the record."""
        plain = made(proxy.url)
        as_ever = [told(plain, command) for command in commands()]
        server.call("FLUSHALL")
        assert [told(once, command) for command in commands()] == as_ever
        server.call("FLUSHALL")
        second: list[object] = []
        for command in commands():
            proxy.arm(LOST, the_next(), "EVALSHA")
            second.append(told(once, command))
            proxy.disarm()
        assert second == as_ever
        assert proxy.injected[Kind.DROP_REPLY] == len(as_ever)

    def test_the_errors_among_them_are_those_of_the_server(self, once: Driver) -> None:
        kinds = [told(once, command) for command in REPLIES["errors"]()]
        assert kinds == [b"OK", CommandRefused, WrongType, 2**63 - 1, *[CommandRefused] * 6, WrongType, b"x"]
        for command, reason in (
            (raw("INCRBY", "max", 1), r"INCRBY on key 'max': increment or decrement would overflow"),
            (raw("NOSUCH", "e", "a secret value"), r"NOSUCH on key 'e': .*[Uu]nknown"),
            (script("return redis.error_reply('MINE it is so')"), r"my script on key 'script': MINE it is so"),
            (script("error('it broke')"), r"my script on key 'script': .*it broke"),
        ):
            with pytest.raises(CommandRefused, match="^the server refused " + reason) as refused:
                once.execute(command)
            assert not {"secret", "recorded"} & {*re.findall(r"\w+", str(refused.value))}

    @pytest.mark.parametrize("lost", [False, True])
    def test_many_items_in_one_call(self, proxy: Proxy, server: RedisServer, once: Driver, lost: bool) -> None:
        url, number = once.url, 20_000
        if lost:
            proxy.arm(LOST, every(3))
        jobs, tags = Queue[int]("jobs", url).commands, Pool[int]("tags", url).commands
        stock = HashMap[int, int]("stock", url).commands
        assert once.execute(jobs.push(*range(number))) == number
        assert once.execute(jobs.push(-1)) == number + 1
        assert once.execute(jobs.items()) == [-1, *range(number - 1, -1, -1)]
        once.execute(tags.push_all(range(number)))
        assert once.execute(tags.size()) == number
        once.execute(tags.remove_all(range(0, number, 2)))
        assert sorted(once.execute(tags.members())) == [*range(1, number, 2)]
        once.execute(tags.toggle(range(number)))
        assert sorted(once.execute(tags.members())) == [*range(0, number, 2)]
        once.execute(tags.keep(range(number // 2)))
        assert once.execute(tags.size()) == number // 4
        once.execute(stock.update((one, -one) for one in range(number)))
        assert once.execute(stock.all()) == {one: -one for one in range(number)}
        many = range(number)
        assert once.execute(raw("SADD", "raw", *many)) == number
        assert once.execute(raw("SREM", "raw", *many)) == number
        assert once.execute(raw("HSET", "stock", *chain(many, many))) == 0
        assert server.call("HGET", "stock", "6") == b"7"


# --- Blocks


class TestBatches:
    def test_each_of_its_commands_is_carried_out_once(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        jobs, hits = Queue[int]("jobs", once.url).commands, Counter[int]("hits", once.url).commands
        proxy.arm(LOST, every(97))
        commands: list[Command[object]] = []
        for number in range(400):
            commands += [jobs.push(number), hits.incr(), hits.get()]
        pending = once.fill("batch", add_all(commands))
        assert [one.result() for one in pending[::3]] == [*range(1, 401)]
        assert [one.result() for one in pending[1::3]] == [*range(1, 401)]
        seen = [one.result() for one in pending[2::3]]
        assert all(isinstance(one, int) and number <= one <= 400 for number, one in enumerate(seen, 1))
        pending = once.fill("batch", add_all([jobs.pop()] * 400))
        assert [one.result() for one in pending] == [*range(400)]
        assert server.call("GET", "hits") == b"400"
        assert proxy.injected[Kind.DROP_REPLY] > 10

    def test_of_one_that_fails_the_others_have_their_results(
        self, proxy: Proxy, server: RedisServer, once: Driver
    ) -> None:
        """What is read again may see what came after it in the batch."""
        server.call("SET", "jobs", "x")
        jobs, hits = Queue[int]("jobs", once.url).commands, Counter[int]("hits", once.url).commands
        proxy.arm(LOST, every(3))
        added = Added(hits.incr(), jobs.push(1), hits.incr(), jobs.size(), hits.get(), hits.set(9))
        with pytest.raises(
            BatchError, match=r"^2 of 6 commands of the batch failed: LPUSH on key 'jobs' \(Wrong"
        ) as it:
            once.fill("batch", added)
        *told, seen, nothing = results(added)
        assert (told, nothing) == ([1, WrongType, 2, WrongType], None)
        assert seen in (2, 9)
        assert it.value.commands == (added.commands[1], added.commands[3])
        assert server.call("GET", "hits") == b"9"

    def test_what_is_given_up_is_unknown_if_it_was_sent(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers
    ) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        hits = Counter[int]("hits", driver.url).commands
        driver.execute(hits.get())
        proxy.arm(LOST, every(1))
        added = Added(hits.incr(), hits.get())
        with pytest.raises(BatchError, match=r"^2 of 2"):
            driver.fill("batch", added)
        assert results(added) == [OutcomeUnknown, ConnectionFailed]
        unknown = added.pending[0].error
        assert isinstance(unknown, OutcomeUnknown)
        assert unknown.command is added.commands[0]
        assert server.call("GET", "hits") == b"1"

    def test_what_was_never_sent_is_not_unknown(self, proxy: Proxy, made: MakesDrivers) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        hits = Counter[int]("hits", driver.url).commands
        for kind in ("batch", "transaction"):
            added = Added(hits.incr(), hits.get(), Lock("nightly", driver.url).commands.extend("token", 5))
            with proxy.refusing():
                proxy.break_all()
                with pytest.raises(BatchError, match=r"^3 of 3 .*cannot reach"):
                    driver.fill(kind, added)
            assert results(added) == [ConnectionFailed] * 3

    def test_with_replicas(self, replicated: Replicated, made: MakesDrivers) -> None:
        """They answer what only reads, and the primary the rest."""
        primary = replicated.primary
        primary.call("FLUSHALL")
        with Proxy(primary.port) as proxy, Proxy(replicated.replicas[0].port) as replica:
            driver = made(proxy.url, replicas=[replica.url], exactly_once=True, deadline=PATIENCE)
            hits, none = Counter[int]("hits", driver.url).commands, Counter[int]("none", driver.url).commands
            for one in (proxy, replica):
                one.arm(LOST, every(3))
            for number in range(10):
                added = Added(hits.incr(), none.get(), hits.incr())
                driver.fill("batch", added)
                assert results(added) == [number * 4 + 1, None, number * 4 + 2]
                added = Added(hits.incr(), hits.get(), hits.incr())
                driver.fill("batch", added, primary=True)
                assert results(added)[::2] == [number * 4 + 3, number * 4 + 4]
            assert driver.execute(none.exists()) is False
            assert proxy.injected[Kind.DROP_REPLY] > 10
            assert replica.injected[Kind.DROP_REPLY] > 3


class TestTransactions:
    def test_each_is_carried_out_once(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        hits, jobs = Counter[int]("hits", once.url).commands, Queue[int]("jobs", once.url).commands
        proxy.arm(LOST, every(7))
        for number in range(1, 101):
            pending = once.fill("transaction", add_all([hits.incr(), jobs.push(number), hits.get()]))
            assert [one.result() for one in pending] == [number, number, number]
        assert server.call("GET", "hits") == b"100"
        assert proxy.injected[Kind.DROP_REPLY] > 50

    def test_one_whose_commands_fail_is_told_so(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        server.call("SET", "jobs", "x")
        hits, jobs = Counter[int]("hits", once.url).commands, Queue[int]("jobs", once.url).commands
        proxy.arm(LOST, the_next(), "EXEC")
        added = Added(hits.incr(), jobs.push(1), hits.get())
        with pytest.raises(BatchError, match=r"^1 of 3 .*LPUSH on key 'jobs'$"):
            once.fill("transaction", added)
        assert results(added) == [1, WrongType, 1]

    def test_one_that_arrives_after_its_second_sending_does_nothing(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers
    ) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=PATIENCE, socket_timeout=0.3)
        hits = Counter[int]("hits", driver.url).commands
        driver.fill("transaction", add_all([hits.incr()]))
        before = calls(server, "exec")
        proxy.arm(Fault(Kind.DELAY_COMMAND, seconds=1), the_next(), "EXEC")
        [pending] = driver.fill("transaction", add_all([hits.incr()]))
        assert pending.result() == 2
        wait_until(lambda: calls(server, "exec") == before + 2, "the first has arrived too")
        assert server.call("GET", "hits") == b"2"

    def test_one_that_was_given_up_is_unknown(self, proxy: Proxy, server: RedisServer, made: MakesDrivers) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        hits = Counter[int]("hits", driver.url).commands
        proxy.arm(LOST, every(1), "EXEC")
        added = Added(hits.incr(), hits.get())
        with pytest.raises(BatchError):
            driver.fill("transaction", added)
        assert results(added) == [OutcomeUnknown, ConnectionFailed]
        assert server.call("GET", "hits") == b"1"


class TestTransact:
    def bump(self, hits: Counter[int], called: list[Block]) -> Callable[[Block], Steps[int]]:
        def fn(tx: Block) -> Steps[int]:
            called.append(tx)
            seen = yield from hits.commands.get(0)
            tx.add(hits.commands.set(seen + 1))
            return seen

        return fn

    def test_each_is_carried_out_once(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        hits, called = Counter[int]("hits", once.url), list[Block]()
        proxy.arm(LOST, every(7))
        assert [once.transact(self.bump(hits, called), watch=[hits]) for _ in range(100)] == [*range(100)]
        assert server.call("GET", "hits") == b"100"
        assert len(called) > 100
        assert proxy.injected[Kind.DROP_REPLY] > 50

    def test_its_function_is_not_called_again_when_it_was_carried_out(
        self, proxy: Proxy, server: RedisServer, once: Driver
    ) -> None:
        """Only its outcome was lost, and is asked for."""
        hits, other, called = Counter[int]("hits", once.url), Counter[int]("other", once.url), list[Block]()
        pending: list[Any] = []

        def fn(tx: Block) -> Steps[None]:
            called.append(tx)
            pending[:] = [tx.add(hits.commands.incr()), tx.add(hits.commands.get()), tx.add(other.commands.incr(5))]
            return (yield from no_steps(None))

        proxy.arm(LOST, the_next(), "EXEC")
        once.transact(fn, watch=[hits])
        assert [one.result() for one in pending] == [1, 1, 5]
        assert len(called) == 1
        assert proxy.injected[Kind.DROP_REPLY] == 1
        assert (server.call("GET", "hits"), server.call("GET", "other")) == (b"1", b"5")

    def test_one_that_arrives_after_it_was_given_up_does_nothing(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers
    ) -> None:
        """Its records keep it from being carried out, as nothing that it watches has changed."""
        driver = made(proxy.url, exactly_once=True, deadline=PATIENCE, socket_timeout=0.3)
        hits, called = Counter[int]("hits", driver.url), list[Block]()
        driver.transact(self.bump(hits, called), watch=["watched"])
        before = calls(server, "exec")
        proxy.arm(Fault(Kind.DELAY_COMMAND, seconds=1), the_next(), "EXEC")

        def fn(tx: Block) -> Steps[None]:
            called.append(tx)
            tx.add(hits.commands.incr())
            tx.add(hits.commands.incr())
            return (yield from no_steps(None))

        driver.transact(fn, watch=["watched"])
        assert server.call("GET", "hits") == b"3"
        wait_until(lambda: calls(server, "exec") == before + 2, "the first has arrived too")
        assert server.call("GET", "hits") == b"3"
        assert len(called) == 3

    def test_one_that_only_reads(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        hits, called = Counter[int]("hits", once.url), list[Block]()

        def fn(tx: Block) -> Steps[None]:
            called.append(tx)
            tx.add(hits.commands.get())
            return (yield from no_steps(None))

        proxy.arm(LOST, the_next(), "EXEC")
        once.transact(fn, watch=[hits])
        assert len(called) == 2

    def test_it_is_unknown_when_nobody_can_tell(self, proxy: Proxy, server: RedisServer, made: MakesDrivers) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        hits, called = Counter[int]("hits", driver.url), list[Block]()
        proxy.arm(LOST, every(1), "EXEC")
        proxy.arm(LOST, every(1), "EVALSHA")
        with pytest.raises(BatchError) as failed:
            driver.transact(self.bump(hits, called), watch=[hits])
        assert [type(one) for one in failed.value.exceptions] == [OutcomeUnknown]
        assert len(called) == 1
        assert server.call("GET", "hits") == b"1"

    def test_a_conflict_is_one(self, server: RedisServer, once: Driver) -> None:
        hits = Counter[int]("hits", once.url)

        def fn(tx: Block) -> Steps[None]:
            server.call("INCR", "hits")
            tx.add(hits.commands.incr())
            return (yield from no_steps(None))

        with pytest.raises(Conflict, match="in each of 3 attempts"):
            once.transact(fn, watch=[hits], attempts=3)
        assert server.call("GET", "hits") == b"3"


# --- Records


class TestRecords:
    def test_they_do_not_pile_up(self, server: RedisServer, once: Driver) -> None:
        """One whose reply has come is deleted by the command that comes next."""
        server.call("SET", "name", "x")
        hits, jobs = Counter[int]("hits", once.url).commands, Queue[int]("jobs", once.url).commands
        for _ in range(50):
            once.execute(hits.incr())
            once.execute(jobs.push(1))
            with pytest.raises(WrongType):
                once.execute(Queue[int]("name", once.url).commands.push(1))
        once.fill("batch", add_all([hits.incr()] * 5))
        once.fill("transaction", add_all([hits.incr()] * 5))
        assert 1 <= len(records(server)) <= 10

    @pytest.mark.parametrize(("deadline", "longest"), [(1, 60_000), (100, 400_000)])
    def test_each_expires(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers, deadline: float, longest: int
    ) -> None:
        """After a minute at least, and four deadlines; so does what keeps one from being carried out."""
        driver = made(proxy.url, exactly_once=True, deadline=deadline, socket_timeout=0.3)
        hits = Counter[int]("hits", driver.url)
        driver.execute(hits.commands.incr())
        proxy.arm(LOST, every(2))
        driver.execute(hits.commands.incr())
        driver.execute(hits.commands.incr())
        proxy.disarm()
        proxy.arm(Fault(Kind.DROP_COMMAND), the_next(), "EXEC")

        def fn(tx: Block) -> Steps[None]:
            tx.add(hits.commands.incr())
            return (yield from no_steps(None))

        driver.transact(fn, watch=[hits])
        found = records(server)
        assert len(found) >= 3
        lifetimes = [server.call("PTTL", record) for record in found]
        assert all(isinstance(one, int) and longest - PATIENCE * 1000 < one <= longest for one in lifetimes)

    def test_a_command_that_arrives_after_its_second_sending_does_nothing(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers
    ) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=PATIENCE, socket_timeout=0.3)
        hits = Counter[int]("hits", driver.url).commands
        driver.execute(hits.incr())
        before = calls(server, "evalsha")
        proxy.arm(Fault(Kind.DELAY_COMMAND, seconds=1), the_next(), "EVALSHA")
        assert driver.execute(hits.incr()) == 2
        # The record of what was sent twice is not deleted by those that come next.
        assert [driver.execute(hits.incr()) for _ in range(5)] == [3, 4, 5, 6, 7]
        wait_until(lambda: calls(server, "evalsha") == before + 7, "the first has arrived too")
        assert server.call("GET", "hits") == b"7"

    def test_what_was_given_up_is_unknown(self, proxy: Proxy, server: RedisServer, made: MakesDrivers) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        incr = Counter[int]("hits", driver.url).commands.incr()
        driver.execute(incr)
        proxy.arm(LOST, every(1))
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown, match=r"broke after INCRBY on key 'hits' was sent") as unknown:
            driver.execute(incr)
        assert time.monotonic() - begun < PATIENCE
        assert unknown.value.command is incr
        assert not unknown.value.retriable
        assert isinstance(unknown.value.__cause__, ConnectionFailed)
        assert server.call("GET", "hits") == b"2"
        proxy.disarm()
        assert driver.execute(incr) == 3

    def test_what_was_sent_and_then_could_not_be_is_unknown_too(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers
    ) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        hits = Counter[int]("hits", driver.url).commands
        driver.execute(hits.incr())
        refusing = proxy.refusing()

        def no_more(data: bytes) -> None:
            refusing.__enter__()

        proxy.on_reply = no_more
        with pytest.raises(OutcomeUnknown):
            driver.execute(hits.incr())
        refusing.__exit__(None, None, None)
        assert server.call("GET", "hits") == b"2"

    def test_what_was_never_sent_is_not(self, proxy: Proxy, server: RedisServer, made: MakesDrivers) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        hits = Counter[int]("hits", driver.url).commands
        with proxy.refusing(), pytest.raises(ConnectionFailed, match=r"^cannot reach") as failed:
            driver.execute(hits.incr())
        assert type(failed.value) is ConnectionFailed
        assert server.call("EXISTS", "hits") == 0

    @given(
        prefix=st.sampled_from(["", "app:", "{app}:", "ünï:", "}", "}{a}"]),
        key=st.sampled_from(["jobs", "{a}b", "b{a}", "{}", "}{"]) | st.text("{}:a", min_size=1, max_size=8),
    )
    def test_each_is_in_the_slot_of_its_key(self, prefix: str, key: str) -> None:
        """And so a cluster carries both out together."""
        whole = (prefix + key).encode()
        record = Records(Configuration(prefix=prefix)).record(whole)
        assert key_slot(record) == key_slot(whole)
        assert b":once:" in record
        assert record.startswith(prefix.encode())

    def test_no_two_are_alike(self) -> None:
        these = Records(Configuration())
        assert len({these.record(b"jobs") for _ in range(1000)}) == 1000

    def test_they_begin_with_the_prefix(self, own_server: RedisServer, made: MakesDrivers) -> None:
        """A user who may touch no other keys needs no more for them."""
        own_server.call("ACL", "SETUSER", "limited", "on", ">s3cret", "~app:*", "+@all")
        driver = made(
            own_server.url.replace("//", "//limited:s3cret@"), prefix="app:", exactly_once=True, deadline=PATIENCE
        )
        hits = Counter[int]("hits", own_server.url).commands
        prefixed = Command(hits.incr().op, (b"app:hits",), (1,), lambda reply: reply, driver.db.location)
        assert driver.execute(prefixed) == 1
        assert [one.result() for one in driver.fill("transaction", add_all([prefixed]))] == [2]
        assert all(one.startswith(b"app:") for one in records(own_server))


class TestRefusals:
    def test_one_without_memory_loses_nothing(self, own_server: RedisServer, made: MakesDrivers) -> None:
        driver = made(own_server.url, exactly_once=True, deadline=PATIENCE)
        jobs, hits = Queue[str]("jobs", driver.url).commands, Counter[int]("hits", driver.url).commands
        driver.execute(jobs.push("sweep", "mop", "dust", "polish"))
        own_server.call("CONFIG", "SET", "maxmemory", "1")
        for command in (jobs.push("wax"), hits.incr()):
            with pytest.raises(CommandRefused, match=r"on key '(jobs|hits)': .*maxmemory") as refused:
                driver.execute(command)
            assert not refused.value.retriable
        added = Added(jobs.pop(), hits.incr())
        with pytest.raises(BatchError):
            driver.fill("batch", added)
        assert results(added) == ["sweep", CommandRefused]
        added = Added(jobs.pop(), hits.incr())
        with pytest.raises(BatchError):
            driver.fill("transaction", added)
        assert results(added) == [CommandRefused, CommandRefused]
        # It can be emptied all the same.
        assert [driver.execute(one) for one in (jobs.pop(), jobs.pop_wait(5), jobs.delete())] == ["mop", "dust", True]
        own_server.call("CONFIG", "SET", "maxmemory", "0")
        assert driver.execute(hits.incr()) == 1

    def test_what_was_done_before_the_memory_was_used_up_is_told(
        self, own_server: RedisServer, made: MakesDrivers
    ) -> None:
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url, exactly_once=True, deadline=PATIENCE)
            jobs = Queue[str]("jobs", driver.url).commands
            driver.execute(jobs.push("sweep"))

            def use_it_up(data: bytes) -> None:
                own_server.call("CONFIG", "SET", "maxmemory", "1")
                proxy.on_reply = forward

            proxy.on_reply = use_it_up
            assert driver.execute(jobs.push("mop")) == 2
            proxy.arm(LOST, the_next())
            assert driver.execute(jobs.pop()) == "sweep"
            proxy.arm(LOST, the_next())
            with pytest.raises(OutcomeUnknown):  # that there was no memory the first time too, nobody has told
                driver.execute(jobs.push("dust"))
            assert driver.execute(jobs.items()) == ["mop"]

    RIGHTS: Final = (
        (
            ("+@all", "~*", "-evalsha", "-eval"),
            r"evalsha.*; exactly_once runs it by EVALSHA and EVAL, with SET, ",
        ),
        (("+@all", "~*", "-set"), r"; exactly_once runs it by EVALSHA and EVAL, with SET, GET and UNLINK on "),
        (("+@all", "~hits"), r".*key.*; exactly_once runs it by EVALSHA and EVAL, .* on keys beside it$"),
    )

    @pytest.mark.parametrize(("rights", "named"), RIGHTS, ids=["evalsha", "set", "keys beside"])
    def test_a_right_that_is_missing_is_named_at_the_first_command(
        self, own_server: RedisServer, made: MakesDrivers, rights: tuple[str, ...], named: str
    ) -> None:
        own_server.call("ACL", "SETUSER", "limited", "on", ">s3cret", *rights)
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url.replace("//", "//limited:s3cret@"), exactly_once=True, deadline=PATIENCE)
            hits = Counter[int]("hits", driver.db.location).commands
            assert driver.execute(hits.get()) is None
            proxy.on_reply = refusals = Refusals()
            with pytest.raises(PermissionDenied, match=r"^the user may not run INCRBY on key 'hits': .*" + named) as it:
                driver.execute(hits.incr())
            seen = [line for line in refusals.seen if not line.startswith(b"-NOSCRIPT")]
            assert len(seen) == 1
            assert "s3cret" not in f"{it.value!r}"
            for kind in ("batch", "transaction"):
                added = Added(hits.get(), hits.incr())
                with pytest.raises(BatchError):
                    driver.fill(kind, added)
                assert isinstance(added.pending[1].error, PermissionDenied)
            assert own_server.call("EXISTS", "hits") == 0

    def test_what_is_refused_for_now_is_carried_out_once_later(
        self, own_server: RedisServer, made: MakesDrivers
    ) -> None:
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url, exactly_once=True, deadline=PATIENCE)
            hits = Counter[int]("hits", driver.url).commands
            own_server.call("REPLICAOF", "127.0.0.1", 1)
            proxy.on_reply = refusals = Refusals()
            asking = start(lambda: [driver.execute(hits.incr()) for _ in range(3)])
            wait_until(lambda: len([line for line in refusals.seen if b"NOSCRIPT" not in line]) >= 3, "it was retried")
            own_server.call("REPLICAOF", "NO", "ONE")
            assert asking.result(PATIENCE) == [1, 2, 3]

    @pytest.mark.parametrize("transact", [False, True], ids=["transaction", "transact"])
    def test_so_is_a_transaction_as_a_whole(self, own_server: RedisServer, made: MakesDrivers, transact: bool) -> None:
        """What it has read meanwhile is read again."""
        with Proxy(own_server.port) as proxy:
            driver = made(proxy.url, exactly_once=True, deadline=PATIENCE)
            hits = Counter[int]("hits", driver.url)
            pending: list[Pending[object]] = []

            def fn(tx: Block) -> Steps[None]:
                pending[:] = add_all([hits.commands.get(), hits.commands.incr(), hits.commands.get()])(tx)
                return (yield from no_steps(None))

            def fill() -> None:
                if transact:
                    driver.transact(fn, watch=[hits])
                else:
                    driver.fill("transaction", lambda tx: run(fn(tx), driver.execute))

            own_server.call("SET", "hits", "5")
            own_server.call("REPLICAOF", "127.0.0.1", 1)
            proxy.on_reply = refusals = Refusals()
            filling = start(fill)
            wait_until(lambda: len([line for line in refusals.seen if b"NOSCRIPT" not in line]) >= 3, "it was retried")
            own_server.call("REPLICAOF", "NO", "ONE")
            filling.result(PATIENCE)
            assert [one.result() for one in pending] == [5, 6, 6]

    def test_a_server_that_is_away(self, kept: RedisServer, made: MakesDrivers) -> None:
        driver = made(kept.url, exactly_once=True, deadline=PATIENCE)
        hits = Counter[int]("hits", driver.url).commands
        driver.execute(hits.incr())
        kept.kill()
        assert in_spite_of(kept, lambda: driver.execute(hits.incr())).result(PATIENCE) == 2
        kept.kill()
        filling = in_spite_of(kept, lambda: driver.fill("transaction", add_all([hits.incr(), hits.get()])))
        assert [one.result() for one in filling.result(PATIENCE)] == [3, 3]
        kept.kill()
        filling = in_spite_of(kept, lambda: driver.fill("batch", add_all([hits.incr(), hits.get()])))
        assert [one.result() for one in filling.result(PATIENCE)] == [4, 4]


# --- Waiting


def looked(server: RedisServer, times: int) -> bool:
    """Whether somebody has asked for what is urgent so many times."""
    return calls(server, "zpopmin") >= times


class TestWaiting:
    def test_what_waits_takes_nothing_by_itself(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        """It moves the first to where it is, and so the order stays."""
        jobs, plates = Queue[str]("jobs", once.url).commands, Stack[str]("jobs", once.url).commands
        before = {name: calls(server, name) for name in ("brpop", "blpop")}
        for commands, first, rest in ((jobs, "a", ["c", "b"]), (plates, "c", ["b", "a"])):
            server.call("DEL", "jobs")
            waiting = start(partial(once.execute, commands.pop_wait(PATIENCE)))
            wait_until(lambda: blocked(server) == 1, "it waits")
            server.call("LPUSH", "jobs", "a", "b", "c")
            assert waiting.result(PATIENCE) == first
            assert once.execute(jobs.items()) == rest
        assert {name: calls(server, name) for name in before} == before

    def test_it_gives_up_in_time(self, once: Driver) -> None:
        for commands in (
            Queue[str]("none", once.url).commands,
            Stack[str]("none", once.url).commands,
            PriorityQueue[str]("none", once.url).commands,
        ):
            begun = time.monotonic()
            assert once.execute(commands.pop_wait(0.3)) is None
            assert once.execute(commands.pop_wait(0.001, default="nothing")) == "nothing"
            assert once.execute(commands.pop_wait(0)) is None
            assert 0.25 < time.monotonic() - begun < PATIENCE

    def test_an_empty_item_is_one(self, server: RedisServer, once: Driver) -> None:
        server.call("LPUSH", "jobs", "")
        server.call("ZADD", "urgent", 0, "")
        assert once.execute(Queue[bytes]("jobs", once.url).commands.pop_wait(5)) == b""
        assert once.execute(PriorityQueue[bytes]("urgent", once.url).commands.pop_wait(5)) == b""

    def test_the_urgent_are_looked_for_now_and_then(self, server: RedisServer, once: Driver) -> None:
        urgent = PriorityQueue[str]("urgent", once.url).commands
        for timeout in (PATIENCE, None):
            enough = calls(server, "zpopmin") + 3
            waiting = start(partial(once.execute, urgent.pop_wait(timeout)))
            wait_until(partial(looked, server, enough), "it was looked for")
            assert not waiting.done()
            server.call("ZADD", "urgent", 2, "later", 1, "now")
            assert waiting.result(PATIENCE) == "now"
            server.call("DEL", "urgent")

    def test_replies_that_are_lost(self, proxy: Proxy, server: RedisServer, once: Driver) -> None:
        jobs, plates = Queue[int]("jobs", once.url).commands, Stack[int]("plates", once.url).commands
        urgent = PriorityQueue[int]("urgent", once.url).commands
        proxy.arm(LOST, every(3))
        for number in range(30):
            for command in (jobs.push(number), plates.push(number), urgent.push(number, 0)):
                once.execute(command)
            for commands in (jobs, plates, urgent):
                assert once.execute(commands.pop_wait(PATIENCE)) == number
        assert [server.call("EXISTS", key) for key in ("jobs", "plates", "urgent")] == [0, 0, 0]

    @pytest.mark.parametrize("kind", [Queue, Stack, PriorityQueue])
    def test_a_server_that_is_restarted_meanwhile(
        self, kept: RedisServer, made: MakesDrivers, kind: type[Queue[bytes] | Stack[bytes] | PriorityQueue[bytes]]
    ) -> None:
        driver = made(kept.url, exactly_once=True, deadline=PATIENCE)
        urgent = kind is PriorityQueue
        waits = (lambda: calls(kept, "zpopmin") >= 2) if urgent else (lambda: blocked(kept) == 1)
        waiting = start(lambda: driver.execute(kind("jobs", driver.url).commands.pop_wait(PATIENCE)))
        for _ in range(2):
            wait_until(waits, "it waits")
            kept.kill()
            kept.start()
        wait_until(waits, "it waits again")
        kept.call(*(("ZADD", "jobs", 1, "sweep") if urgent else ("LPUSH", "jobs", "sweep")))
        assert waiting.result(PATIENCE) == b"sweep"

    def test_several_who_wait_are_given_each_its_own(self, proxy: Proxy, server: RedisServer) -> None:
        proxy.arm(LOST, every(5))
        with redisext.connect(proxy.url, exactly_once=True, deadline=PATIENCE) as db:
            jobs = Queue[int]("jobs", db)
            waiting = [start(lambda: jobs.pop_wait(PATIENCE)) for _ in range(8)]
            wait_until(lambda: blocked(server) == 8, "all wait")
            for number in range(8):
                jobs.push(number)
            assert {one.result(PATIENCE) for one in waiting} == {*range(8)}
            assert jobs.size() == 0

    def test_the_key_holds_another_structure(self, server: RedisServer, once: Driver) -> None:
        server.call("SET", "jobs", "x")
        for commands in (Queue[str]("jobs", once.url).commands, PriorityQueue[str]("jobs", once.url).commands):
            with pytest.raises(WrongType, match="key 'jobs' holds a string"):
                once.execute(commands.pop_wait(5))

    def test_it_is_unknown_when_the_reply_to_what_took_is_lost_for_good(
        self, proxy: Proxy, server: RedisServer, made: MakesDrivers
    ) -> None:
        driver = made(proxy.url, exactly_once=True, deadline=SOON)
        server.call("LPUSH", "jobs", "sweep")
        proxy.arm(LOST, every(1))
        with pytest.raises(OutcomeUnknown, match=r"after RPOP on key 'jobs' was sent"):
            driver.execute(Queue[str]("jobs", driver.url).commands.pop_wait(0.1))


class TestCutShort:
    """What an interrupt or a cancellation cuts into puts back what it took, and takes nothing later."""

    @pytest.mark.parametrize("wait", [False, True])
    @pytest.mark.parametrize("kind", [AsyncQueue, AsyncPriorityQueue])
    def test_tasks_that_are_cancelled_at_any_time(
        self, server: RedisServer, url: str, kind: type[AsyncQueue[int] | AsyncPriorityQueue[int]], wait: bool
    ) -> None:
        random = Random(5)

        async def main() -> None:
            async with tasks.connect(url, exactly_once=True, deadline=PATIENCE) as db:
                jobs = kind.of(int)("jobs", db)
                taken = 0
                for number in range(200):
                    add = jobs.push(number) if isinstance(jobs, AsyncQueue) else jobs.push(number, 0)
                    if not wait:
                        await add
                    taking = asyncio.create_task(jobs.pop_wait(PATIENCE) if wait else jobs.pop())
                    if wait:
                        await asyncio.sleep(random.random() * 0.002)
                        await add
                    await asyncio.sleep(random.random() * 0.001)
                    taking.cancel()
                    try:
                        assert await taking == number
                        taken += 1
                    except asyncio.CancelledError:
                        assert await jobs.pop() == number
                    assert await jobs.size() == 0
                assert 0 < taken < 200

        tasks.run(main)

    def test_a_task_whose_command_arrives_later(self, proxy: Proxy, server: RedisServer) -> None:
        """It then does nothing."""

        async def main() -> None:
            async with tasks.connect(proxy.url, exactly_once=True, deadline=PATIENCE, socket_timeout=0.2) as db:
                jobs = AsyncQueue[str]("jobs", db)
                await jobs.push("sweep")
                await jobs.pop()
                await jobs.push("mop")
                before = calls(server, "evalsha")
                proxy.arm(Fault(Kind.DELAY_COMMAND, seconds=1), the_next(), "EVALSHA")
                taking = asyncio.create_task(jobs.pop())
                await tasks.until(lambda: proxy.injected[Kind.DELAY_COMMAND] == 1, "it is on its way")
                taking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await taking
                assert proxy.connections >= 2
                # It, what puts back behind it, and the same on another connection.
                await tasks.until(lambda: calls(server, "evalsha") >= before + 3, "it has arrived")
                assert await jobs.items() == ["mop"]

        tasks.run(main)

    def test_a_task_that_cannot_tell_anybody_ends_all_the_same(self, proxy: Proxy) -> None:
        async def main() -> None:
            async with tasks.connect(proxy.url, exactly_once=True, deadline=SOON) as db:
                jobs = AsyncQueue[str]("jobs", db)
                await jobs.size()
                with proxy.refusing():
                    proxy.break_all()
                    taking = asyncio.create_task(jobs.pop())
                    await tasks.turns(3)
                    taking.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await taking

        tasks.run(main)

    INTERRUPTED: Final[tuple[tuple[str, Callable[[str], Command[object]], tuple[str, ...]], ...]] = (
        ("RPOP", lambda url: Queue[str]("jobs", url).commands.pop(), ("LRANGE", "jobs", "0", "-1")),
        ("BRPOP", lambda url: Queue[str]("jobs", url).commands.pop_wait(9), ("LRANGE", "jobs", "0", "-1")),
        ("LPOP", lambda url: Stack[str]("jobs", url).commands.pop(), ("LRANGE", "jobs", "0", "-1")),
        ("BLPOP", lambda url: Stack[str]("jobs", url).commands.pop_wait(9), ("LRANGE", "jobs", "0", "-1")),
        ("ZPOPMIN", lambda url: PriorityQueue[str]("urgent", url).commands.pop(), ("ZRANGE", "urgent", "0", "-1")),
        (
            "BZPOPMIN",
            lambda url: PriorityQueue[str]("urgent", url).commands.pop_wait(9),
            ("ZRANGE", "urgent", "0", "-1"),
        ),
        ("SPOP", lambda url: Pool[str]("tags", url).commands.pop(), ("SMEMBERS", "tags")),
    )

    @pytest.mark.parametrize("step", ["send", "read"])
    @pytest.mark.parametrize("full", [True, False], ids=["full", "empty"])
    @pytest.mark.parametrize(("name", "take", "look"), INTERRUPTED, ids=[name for name, _, _ in INTERRUPTED])
    def test_a_thread_that_is_interrupted(
        self,
        server: RedisServer,
        url: str,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
        full: bool,
        name: str,
        take: Callable[[str], Command[object]],
        look: tuple[str, ...],
    ) -> None:
        """After the command was sent, or after its reply was read."""
        if full:
            server.call("RPUSH", "jobs", "a", "b", "")
            server.call("ZADD", "urgent", "0.1", "", 2, "b")
            server.call("SADD", "tags", "")
        before = server.call(*look)
        original = getattr(Connection, step)
        interrupts = [KeyboardInterrupt()]

        def interrupted(connection: Connection, *packed: bytes) -> object:
            result = original(connection, *packed)
            if interrupts:
                raise interrupts.pop()
            return result

        with redisext.connect(url, exactly_once=True, deadline=PATIENCE) as db:
            db.execute(Counter[int]("warm", db).commands.get())
            command = take(url)
            with monkeypatch.context() as patch:
                patch.setattr(Connection, step, interrupted)
                with pytest.raises(KeyboardInterrupt):
                    db.execute(command)
            assert server.call(*look) == before
            if full:
                assert db.execute(command) is not None

    def test_one_that_is_interrupted_while_it_waits(self, server: RedisServer, url: str) -> None:
        with redisext.connect(url, exactly_once=True, deadline=PATIENCE) as db:
            jobs = Queue[str]("jobs", db)
            for _ in range(2):
                interrupt = threading.Thread(target=interrupt_when, args=(lambda: blocked(server) == 1,))
                interrupt.start()
                with pytest.raises(KeyboardInterrupt):
                    jobs.pop_wait()
                interrupt.join()
                wait_until(lambda: blocked(server) == 0, "the server has given it up")
                jobs.push("sweep")
                assert jobs.items() == ["sweep"]
                assert jobs.pop_wait(5) == "sweep"

    def test_what_counts_is_not_undone(self, server: RedisServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        read = Connection.read

        def interrupted(connection: Connection) -> object:
            read(connection)
            raise KeyboardInterrupt

        with redisext.connect(url, exactly_once=True, deadline=PATIENCE) as db:
            hits = Counter[int]("hits", db)
            hits.incr()
            with monkeypatch.context() as patch:
                patch.setattr(Connection, "read", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    hits.incr()
            assert hits.incr() == 3

    def test_steps_that_nobody_goes_on_with_do_nothing_more(self) -> None:
        steps = carried_out(Records(Configuration()), Queue[str]("jobs", "memory://steps").commands.pop())
        next(steps)
        steps.close()
        with pytest.raises(StopIteration):
            next(steps)
