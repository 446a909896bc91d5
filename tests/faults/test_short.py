"""The short form of `python -m tests.faults`: each structure, on each face, under each fault for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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
    faulty.call("FLUSHALL")
    history, enough = History(), threading.Event()
    with Proxy(faulty.port) as proxy:
        running = start(partial(run, face, [workload], proxy.url, history, seed=SEED, enough=enough.is_set, **OPTIONS))

        def go_on() -> None:
            goal = history.acknowledged + CALLS
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
        findings = judge([workload], history, db)
    assert findings.none, f"seed {SEED}\n{findings}"
    assert all(proxy.injected[kind] for kind in OF_THE_NETWORK)
    assert history.outcomes[Outcome.UNKNOWN]
