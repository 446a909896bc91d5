"""The same as `must_pass` for batches and transactions, of both faces."""

# No expression here may come out as Any.
# mypy: disallow-any-expr, disallow-any-decorated

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, assert_type

import redisext
from redisext import (
    NOTHING,
    AsyncBackend,
    AsyncBatch,
    AsyncCounter,
    AsyncHashMap,
    AsyncLock,
    AsyncMap,
    AsyncQueue,
    AsyncTransaction,
    Backend,
    Batch,
    BatchError,
    Counter,
    HashMap,
    Lock,
    Map,
    Nothing,
    Pending,
    Pool,
    PriorityQueue,
    Queue,
    SortedSet,
    Stack,
    Transaction,
    WrongType,
)
from redisext.batch import Watchable
from redisext.command import Command
from tests.typing.must_pass import EVENT, Event

R = TypeVar("R")


# --- Batches


def batch(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    with db.batch() as batch:
        assert_type(batch, Batch)
        size = batch.add(jobs.commands.push(EVENT))
        seen = batch.add(Counter[float]("litres", db).commands.incr(0.5))
        event = batch.add(jobs.commands.pop())
        none = batch.add(jobs.commands.pop(default=NOTHING))
        one = batch.add(jobs.commands.pop(EVENT))
        everything = batch.add(jobs.commands.items())

    assert_type(size, Pending[int])
    assert_type(size.result(), int)
    assert_type(size.done, bool)
    assert_type(size.error, Exception | None)
    assert_type(size.command, Command[int])
    assert_type(seen, Pending[float])
    assert_type(seen.result(), float)
    assert_type(event, Pending[Event | None])
    assert_type(event.result(), Event | None)
    assert_type(none, Pending[Event | Nothing])
    assert_type(none.result(), Event | Nothing)
    assert_type(one, Pending[Event])
    assert_type(one.result().name, str)
    assert_type(everything.result(), list[Event])

    taken = event.result()
    if taken is not None:
        assert_type(taken, Event)


def batch_of_every_structure(db: Backend) -> None:
    with db.batch() as batch:
        assert_type(batch.add(Stack[str]("plates", db).commands.pop()), Pending[str | None])
        assert_type(batch.add(PriorityQueue[Event]("tasks", db).commands.push(EVENT, 1)), Pending[bool])
        assert_type(batch.add(Map[Event]("latest", db).commands.get()), Pending[Event | None])
        assert_type(batch.add(Map[int]("best", db).commands.incr()), Pending[int])
        assert_type(batch.add(Counter[int]("visitors", db).commands.set(7)), Pending[None])
        assert_type(batch.add(HashMap[str, Event]("events", db).commands.all()), Pending[dict[str, Event]])
        assert_type(batch.add(HashMap[str, int]("stock", db).commands.incr("apples")), Pending[int])
        assert_type(batch.add(Pool[str]("tokens", db).commands.members()), Pending[list[str]])
        scores = SortedSet[str]("scores", db).commands
        assert_type(batch.add(scores.members_with_scores()), Pending[list[tuple[float, str]]])
        assert_type(batch.add(Lock("nightly", db).commands.locked()), Pending[bool])
        assert_type(batch.add(Queue[Event]("jobs", db).commands.expire(60)), Pending[bool])


def results(pending: Iterable[Pending[R]]) -> list[R]:
    return [one.result() for one in pending]


def all_at_once(db: Backend, commands: Iterable[Command[R]]) -> list[R]:
    with db.batch() as batch:
        pending = [batch.add(command) for command in commands]
    return results(pending)


def put_off(batch: Batch | Transaction, jobs: Queue[Event]) -> Pending[int]:
    return batch.add(jobs.commands.push(EVENT))


def batch_in_functions(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    counters = [Counter[int](name, db) for name in ("a", "b", "c")]
    assert_type(all_at_once(db, [one.commands.incr() for one in counters]), list[int])
    with db.batch() as batch:
        pending = {name: batch.add(Counter[int](name, db).commands.get(0)) for name in ("a", "b")}
        assert_type(put_off(batch, jobs), Pending[int])
        # As a result is only read, what gives more special results will do.
        events: list[Pending[Event | None]] = [batch.add(jobs.commands.pop(EVENT)), batch.add(jobs.commands.pop())]
    assert_type({name: one.result() for name, one in pending.items()}, dict[str, int])
    assert_type(results(events), list[Event | None])


def batch_errors(db: Backend) -> None:
    Counter[int]("number", db).incr()
    jobs = Queue[Event]("number", db)
    try:
        with db.batch() as batch:
            batch.add(jobs.commands.push(EVENT))
    except BatchError as error:
        assert_type(error.commands, tuple[Command[object], ...])
        assert_type(error.exceptions, tuple[Exception | ExceptionGroup[Exception], ...])
        assert_type(error.message, str)
        for command, reason in zip(error.commands, error.exceptions, strict=True):
            assert_type(command, Command[object])
            assert_type(reason, Exception | ExceptionGroup[Exception])

    try:
        with db.batch() as batch:
            batch.add(jobs.commands.push(EVENT))
    except* WrongType as group:
        assert_type(group, ExceptionGroup[WrongType])
        assert_type(group.exceptions, tuple[WrongType | ExceptionGroup[WrongType], ...])


# --- Transactions


def transaction(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    with db.transaction() as tx:
        assert_type(tx, Transaction)
        size = tx.add(jobs.commands.push(EVENT))
        event = tx.add(jobs.commands.pop())
        assert_type(put_off(tx, jobs), Pending[int])
    assert_type(size, Pending[int])
    assert_type(event.result(), Event | None)


def transact(db: Backend) -> None:
    jobs = Queue[Event]("jobs", db)
    stock = HashMap[str, int]("stock", db)

    def sell(tx: Transaction) -> int:
        left = tx.read(stock.commands.get("left", 0))
        assert_type(left, int)
        assert_type(tx.read(jobs.commands.peek()), Event | None)
        tx.add(stock.commands.incr("left", -1))
        return left

    def take(tx: Transaction) -> Pending[Event | None]:
        return tx.add(jobs.commands.pop())

    def forget(tx: Transaction) -> None:
        tx.add(jobs.commands.delete())

    assert_type(db.transact(sell, watch=[stock]), int)
    assert_type(db.transact(sell, watch=[stock, jobs, "key", b"key", 5]), int)
    assert_type(db.transact(sell, watch=(), attempts=3), int)
    assert_type(db.transact(take, watch=[jobs]), Pending[Event | None])
    assert_type(db.transact(take, watch=[jobs]).result(), Event | None)
    assert_type(db.transact(lambda tx: tx.read(jobs.commands.size()), watch=[jobs]), int)
    assert_type(db.transact(lambda tx: tx.add(jobs.commands.push(EVENT)), watch=[jobs]), Pending[int])
    db.transact(forget, watch={"key"})

    watched: list[Watchable] = [stock, "key"]
    assert_type(db.transact(sell, watch=watched), int)
    queues = {name: Queue[Event](name, db) for name in ("a", "b")}
    assert_type(db.transact(sell, watch=queues.values()), int)
    structures = (stock, jobs, Map[int]("best", db), Lock("nightly", db))
    assert_type(db.transact(sell, watch=structures), int)


def on_what_connect_gives(db: Backend) -> None:
    """It is a backend of one class or of another; each has these."""
    with redisext.connect("memory://typing-connected") as own:
        jobs = Queue[Event]("jobs", own)
        with own.batch() as batch:
            size = batch.add(jobs.commands.push(EVENT))
        assert_type(size.result(), int)
        with own.transaction() as tx:
            event = tx.add(jobs.commands.pop())
        assert_type(event.result(), Event | None)
        read = own.transact(lambda tx: tx.read(jobs.commands.size()), watch=[jobs])
        assert_type(read, int)  # E: ty=type-assertion-failure
        with own.primary.batch() as batch:
            batch.add(jobs.commands.size())


# --- The same under asyncio


async def async_batch(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    async with adb.batch() as batch:
        assert_type(batch, AsyncBatch)
        size = batch.add(jobs.commands.push(EVENT))
        seen = batch.add(AsyncCounter[int]("visitors", adb).commands.incr())
        event = batch.add(jobs.commands.pop())
        assert_type(batch.add(AsyncMap[Event]("latest", adb).commands.get()), Pending[Event | None])
        assert_type(batch.add(AsyncHashMap[str, Event]("events", adb).commands.all()), Pending[dict[str, Event]])
        assert_type(batch.add(AsyncLock("nightly", adb).commands.locked()), Pending[bool])

    assert_type(size, Pending[int])
    assert_type(size.result(), int)
    assert_type(seen.result(), int)
    assert_type(event, Pending[Event | None])
    assert_type(event.result(), Event | None)


async def async_batch_errors(adb: AsyncBackend) -> None:
    await AsyncCounter[int]("number", adb).incr()
    jobs = AsyncQueue[Event]("number", adb)
    try:
        async with adb.batch() as batch:
            batch.add(jobs.commands.push(EVENT))
    except BatchError as error:
        assert_type(error.commands, tuple[Command[object], ...])
    try:
        async with adb.batch() as batch:
            batch.add(jobs.commands.push(EVENT))
    except* WrongType as group:
        assert_type(group, ExceptionGroup[WrongType])


async def async_transaction(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    async with adb.transaction() as tx:
        assert_type(tx, AsyncTransaction)
        size = tx.add(jobs.commands.push(EVENT))
        event = tx.add(jobs.commands.pop())
    assert_type(size, Pending[int])
    assert_type(event.result(), Event | None)


async def async_transact(adb: AsyncBackend) -> None:
    jobs = AsyncQueue[Event]("jobs", adb)
    stock = AsyncHashMap[str, int]("stock", adb)

    async def sell(tx: AsyncTransaction) -> int:
        left = await tx.read(stock.commands.get("left", 0))
        assert_type(left, int)
        assert_type(await tx.read(jobs.commands.peek()), Event | None)
        tx.add(stock.commands.incr("left", -1))
        return left

    async def take(tx: AsyncTransaction) -> Pending[Event | None]:
        return tx.add(jobs.commands.pop())

    assert_type(await adb.transact(sell, watch=[stock]), int)
    assert_type(await adb.transact(sell, watch=[stock, jobs, "key", b"key", 5], attempts=3), int)
    assert_type(await adb.transact(take, watch=[jobs]), Pending[Event | None])
    assert_type((await adb.transact(take, watch=[jobs])).result(), Event | None)
    assert_type(await adb.transact(lambda tx: tx.read(jobs.commands.size()), watch=[jobs]), int)


async def on_what_aconnect_gives(adb: AsyncBackend) -> None:
    async with redisext.aconnect("memory://typing-connected-async") as own:
        jobs = AsyncQueue[Event]("jobs", own)
        async with own.batch() as batch:
            size = batch.add(jobs.commands.push(EVENT))
        assert_type(size.result(), int)
        async with own.transaction() as tx:
            event = tx.add(jobs.commands.pop())
        assert_type(event.result(), Event | None)
        read = await own.transact(lambda tx: tx.read(jobs.commands.size()), watch=[jobs])
        assert_type(read, int)  # E: ty=type-assertion-failure


def one_thing_can_be_watched_by_itself(db: Backend) -> None:
    words = Queue[str]("words", db)
    assert_type(db.transact(lambda tx: tx.read(words.commands.size()), watch=words), int)
    assert_type(db.transact(lambda tx: tx.read(words.commands.size()), watch="words"), int)
