"""The short form of `python -m tests.faults.failovers`: one failover of each kind, and the network fails too."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import pytest

from tests.faults.failovers import FACES, GROUPS, HOWS, Totals, play, proxied
from tests.faults.history import Outcome
from tests.proxy import Proxy
from tests.sentinels import How

SEED = 2026


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", GROUPS)
def test_nothing_is_done_twice_or_lost_while_another_takes_over(kind: str, how: How) -> None:
    totals, proxies = Totals(), list[Proxy]()
    with ExitStack() as stack:
        group = GROUPS[kind](partial(proxied, stack, proxies))
        stack.enter_context(group)
        for number, face in enumerate(FACES):
            findings = play(totals, group, how, seed=SEED + number, face=face, proxies=proxies)
            assert findings.none, f"seed {SEED + number}, {face}\n{findings}"
    assert totals.faults
    assert totals.outcomes[Outcome.ACKNOWLEDGED] > 600 * len(FACES)
    # The deadline is long enough for all that is tried again; what was cancelled was put back.
    assert {reason for _, reason in totals.reasons} <= {"Cancelled"}
