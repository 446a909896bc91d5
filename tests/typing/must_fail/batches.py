"""What is no command for a batch, and results taken for something else."""

# ruff: noqa: F841  # names stand there for their types alone
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnusedExpression=false, reportUnusedVariable=false

from __future__ import annotations

from pydantic import BaseModel

import redisext
from redisext import (
    AsyncQueue,
    AsyncTransaction,
    BatchError,
    HashMap,
    Lock,
    Map,
    Pending,
    Queue,
    Transaction,
)


class Event(BaseModel):
    name: str


EVENT = Event(name="signup")

db = redisext.connect("memory://must-fail")
adb = redisext.aconnect("memory://must-fail")
jobs = Queue[Event]("jobs", db)
ajobs = AsyncQueue[Event]("jobs", adb)
latest = Map[Event]("latest", db)
events = HashMap[str, Event]("events", db)


def changed(event: Event | None) -> Event:
    return event or EVENT


with db.batch() as batch:
    batch.add(latest.commands.update(changed))  # E: argument
    batch.add(events.commands.update_value("a", changed))  # E: argument
    batch.add(Lock("nightly", db).commands.acquire_wait("token", 30, 5))  # E: argument
    batch.add(jobs.push(EVENT))  # E: argument
    batch.add(ajobs.push(EVENT))  # E: argument
    batch.add(jobs.commands.push)  # E: argument
    batch.add("PING")  # E: argument
    batch.add()  # E: missing-argument
    batch.add(jobs.commands.push(EVENT), jobs.commands.pop())  # E: unwanted-argument
    batch.read(jobs.commands.size())  # E: attribute
    batch.push(EVENT)  # E: attribute
    size = batch.add(jobs.commands.push(EVENT))
    event = batch.add(jobs.commands.pop())

# --- Results

name: str = size.result()  # E: assignment
number: int = size  # E: assignment
text: Pending[str] = size  # E: assignment
found: Pending[Event] = event  # E: assignment
size + 1  # E: operator
size.result().name  # E: attribute
event.name  # E: attribute
event.result().name  # E: none
size.wait()  # E: attribute

# --- Blocks of the other face

with adb.batch() as of_asyncio:  # E: context-manager
    pass
with adb.transaction() as transaction_of_asyncio:  # E: context-manager
    pass


async def with_async() -> None:
    async with db.batch() as batch:  # E: context-manager
        batch.add(ajobs.commands.size())
    async with adb.batch() as abatch:
        abatch.add(await ajobs.push(EVENT))  # E: argument
        abatch.add(ajobs.pop())  # E: argument
        await abatch.add(ajobs.commands.pop())  # E: not-awaitable


# --- Transactions


def sell(tx: Transaction) -> int:
    return tx.read(jobs.commands.size())


async def sell_under_asyncio(tx: AsyncTransaction) -> int:
    return await tx.read(jobs.commands.size())


async def sell_half_way(tx: Transaction) -> int:
    return tx.read(jobs.commands.size())


def none_at_all() -> int:
    return 5


refused = db.transact(sell_under_asyncio, watch=[jobs])  # E: argument
db.transact(sell_half_way, watch=[jobs])  # E: not-awaited
db.transact(sell)  # E: missing-argument
db.transact(sell, watch=[jobs], tries=5)  # E: unwanted-argument ty=unknown-argument pyrefly=unexpected-keyword
db.transact(sell, watch=[5.5])  # E: argument mypy=list-item
db.transact(sell, watch=[EVENT])  # E: argument mypy=list-item
db.transact(sell, watch=[None])  # E: argument mypy=list-item
db.transact(sell, watch=5.5)  # E: argument
db.transact(sell, watch=EVENT)  # E: argument
db.transact(sell, watch=[jobs.commands])  # E: argument mypy=list-item
db.transact(sell, watch=[jobs], attempts="5")  # E: argument
db.transact(none_at_all, watch=[jobs])  # E: argument
sold: str = db.transact(sell, watch=[jobs])  # E: assignment
with db.transaction() as tx:
    tx.read(jobs.pop())  # E: argument
    tx.add(latest.commands.update(changed))  # E: argument
    left: str = tx.read(jobs.commands.size())  # E: assignment


async def transact() -> None:
    await adb.transact(sell, watch=[jobs])  # E: argument
    await adb.transact(sell_half_way, watch=[jobs])  # E: argument
    await db.transact(sell, watch=[jobs])  # E: not-awaitable
    await adb.transact(sell_under_asyncio, watch=[5.5])  # E: argument mypy=list-item
    sold: str = await adb.transact(sell_under_asyncio, watch=[jobs])  # E: assignment mypy=arg-type
    adb.transact(sell_under_asyncio, watch=[jobs]) + 1  # E: operator


# --- Errors

try:
    jobs.pop()
except* BatchError:  # E: pyright=reportGeneralTypeIssues pyrefly=invalid-inheritance
    pass

try:
    jobs.pop()
except BatchError as error:
    error.commands[0].name  # E: attribute
    error.pending  # E: attribute
