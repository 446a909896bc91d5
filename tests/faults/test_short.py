"""The short form of `python -m tests.faults`: each structure, on each face, under each fault for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import pytest

import redisext
from tests.faults.history import History, Outcome
from tests.faults.processes import FaultyServer, crash, restart, settle
from tests.faults.workload import WORKLOADS, Workload, judge, run
from tests.proxy import Fault, Kind, Proxy, every
from tests.servers import wait_until
from tests.threads import PATIENCE, start

SEED: Final = 2026

CALLS: Final = 50
"""How many are acknowledged under each fault."""

OPTIONS: Final[dict[str, Any]] = {"socket_timeout": 2}
"""What the backends under test are given."""

OF_THE_NETWORK: Final = (Kind.DROP_COMMAND, Kind.DROP_REPLY, Kind.CUT_REPLY, Kind.DELAY_REPLY)
OF_THE_SERVER: Final[tuple[Callable[[FaultyServer], None], ...]] = (crash, restart)


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize("workload", [made() for made in WORKLOADS], ids=lambda one: one.name)
def test_nothing_is_done_twice_nothing_is_lost_and_nobody_is_misled(
    faulty: FaultyServer, workload: Workload, face: str
) -> None:
    history = under_faults(faulty, [workload], face, CALLS)
    assert history.outcomes[Outcome.UNKNOWN]


@pytest.mark.parametrize("face", ["sync", "async", "mixed"])
@pytest.mark.parametrize("options", [{"deadline": 5}, {"exactly_once": True}], ids=["deadline", "exactly once"])
def test_the_same_where_it_is_tried_again(faulty: FaultyServer, options: dict[str, Any], face: str) -> None:
    history = under_faults(faulty, [made() for made in WORKLOADS], face, CALLS * 6, **options)
    assert bool(history.outcomes[Outcome.UNKNOWN]) is ("exactly_once" not in options)
    # All faults were over in time. What a transaction reads that is not tried again is not read either.
    failed = {reason for outcome, reason in history.reasons if outcome is Outcome.FAILED}
    assert failed <= ({"Cancelled"} if "exactly_once" in options else {"ConnectionFailed"})


def under_faults(faulty: FaultyServer, workloads: Sequence[Workload], face: str, calls: int, **options: Any) -> History:
    """What workers saw who made so many calls under each fault, of which nothing was wrong."""
    faulty.call("FLUSHALL")
    history, enough = History(), threading.Event()
    options = {**OPTIONS, **options}
    with Proxy(faulty.port) as proxy:
        running = start(partial(run, face, workloads, proxy.url, history, seed=SEED, enough=enough.is_set, **options))

        def go_on() -> None:
            goal = history.acknowledged + calls
            wait_until(lambda: history.acknowledged >= goal or running.done(), "they go on", PATIENCE)

        for kind in OF_THE_NETWORK:
            proxy.arm(Fault(kind), every(12))
            go_on()
            proxy.disarm()
        for happen in OF_THE_SERVER:
            happen(faulty)
            go_on()
        enough.set()
        running.result(PATIENCE)
    settle(faulty)

    with redisext.connect(faulty.url) as db:
        findings = judge(workloads, history, db)
    assert findings.none, f"seed {SEED}\n{findings}"
    assert all(proxy.injected[kind] for kind in OF_THE_NETWORK)
    return history
