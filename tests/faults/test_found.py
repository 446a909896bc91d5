"""What long runs have found in transactions, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

import redisext
from redisext import Counter, Queue
from redisext.backend.abc import Backend
from redisext.batch import Pending, Transaction
from redisext.errors import BatchError, OutcomeUnknown, WrongType
from tests.faults import processes
from tests.faults.processes import FaultyServer
from tests.proxy import Fault, Kind, Proxy, forward, the_next
from tests.servers import wait_until
from tests.threads import PATIENCE, start


@pytest.fixture(scope="module")
def own() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server


@pytest.fixture
def faulty(own: FaultyServer) -> Iterator[FaultyServer]:
    own.call("FLUSHALL")
    yield own
    own.call("CONFIG", "SET", "maxmemory", "0")


@pytest.fixture
def proxy(faulty: FaultyServer) -> Iterator[Proxy]:
    with Proxy(faulty.port) as proxy:
        yield proxy


@pytest.fixture
def db(proxy: Proxy) -> Iterator[Backend]:
    with redisext.connect(proxy.url, exactly_once=True) as db:
        yield db


def then_full(proxy: Proxy, server: FaultyServer, reply: bytes) -> None:
    """Lose the first reply that holds this; by then no memory is left."""

    def on_reply(data: bytes) -> bytes | None:
        if reply not in data:
            return data
        proxy.on_reply = forward
        server.call("CONFIG", "SET", "maxmemory", "1")
        return None

    proxy.on_reply = on_reply


def transaction(db: Backend) -> None:
    with db.transaction() as tx:
        tx.add(Counter[int]("hits", db).commands.incr())


def transact(db: Backend) -> None:
    def fill(tx: Transaction) -> Pending[int]:
        return tx.add(Counter[int]("hits", db).commands.incr())

    db.transact(fill, watch="hits")


@pytest.mark.parametrize("carry_out", [transaction, transact])
def test_one_that_was_carried_out_is_not_said_to_have_failed_for_want_of_memory(
    faulty: FaultyServer, proxy: Proxy, db: Backend, carry_out: Callable[[Backend], None]
) -> None:
    Counter[int]("hits", db).set(41)
    then_full(proxy, faulty, b"42\r\n")
    with pytest.raises(BatchError) as refused:
        carry_out(db)
    assert [type(error) for error in refused.value.exceptions] == [OutcomeUnknown]
    assert Counter[int]("hits", db).get() == 42


def test_one_of_which_a_part_has_failed_is_not_made_again(proxy: Proxy, db: Backend) -> None:
    Counter[int]("jobs", db).set(1)

    def fill(tx: Transaction) -> None:
        tx.add(Queue[str]("jobs", db).commands.push("sweep"))
        tx.add(Counter[int]("hits", db).commands.incr())

    proxy.arm(Fault(Kind.DROP_REPLY), the_next(), "EXEC")
    with pytest.raises(BatchError) as failed:
        db.transact(fill, watch="hits")
    assert [type(error) for error in failed.value.exceptions] == [WrongType]
    assert proxy.injected[Kind.DROP_REPLY] == 1
    assert Counter[int]("hits", db).get() == 1


def test_one_that_reads_too_is_tried_again_as_a_whole(faulty: FaultyServer, db: Backend) -> None:
    hits = Counter[int]("hits", db)
    hits.set(1)
    with processes.read_only(faulty):
        refused = faulty.info("stats")["total_error_replies"]
        trying = start(partial(_read_and_count, hits, db))
        wait_until(lambda: faulty.info("stats")["total_error_replies"] != refused, "it was refused")
    assert trying.result(PATIENCE) == (1, 2)


def _read_and_count(hits: Counter[int], db: Backend) -> tuple[int | None, int]:
    with db.transaction() as tx:
        read, counted = tx.add(hits.commands.get()), tx.add(hits.commands.incr())
    return read.result(), counted.result()
