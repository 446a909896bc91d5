"""Failovers, one after the other, while all structures are in use: `python -m tests.faults.failovers --how kill`.

Each round begins with a group that has settled: a primary and its replica under three Sentinels, or a cluster of three
and three. Workers use the structures; in their midst a primary is killed, frozen, or asked to hand over, and another
takes its place. When they have gone on for a while, what they saw is judged by what the servers hold. Whatever was done
twice, lost, or cannot have been, is printed with the round's seed, and the exit code is 1.

What a primary acknowledges before a replica has it is lost with that primary. So the backends have each write confirmed
by the one replica that there is, and that takes over: what is acknowledged is there, then, whoever is primary.

A read is confirmed by nobody. An old primary that does not know yet that it is one tells what it knew, and what nobody
will ever have written; such answers are counted by themselves, as stale.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from random import Random
from statistics import median
from typing import Any, Final, TypeAlias

import redisext
from tests.clusters import Cluster
from tests.faults.__main__ import tell
from tests.faults.checker import Findings
from tests.faults.history import History, Outcome
from tests.faults.workload import PATIENCE, WORKLOADS, Hang, judge, run
from tests.proxy import Fault, Kind, Proxy, at_random
from tests.sentinels import How, Sentinels
from tests.servers import wait_until
from tests.threads import start

Group: TypeAlias = Sentinels | Cluster

OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": 1.0,
    "exactly_once": True,
    "deadline": 30.0,
    "wait_replicas": 1,
    "wait_timeout": 1.0,
}
"""What the backends under test are given."""


def _under_sentinels(proxied: Callable[[int], int]) -> Group:
    return Sentinels("--appendonly", "yes", replicas=1, found_at=proxied)


def _cluster(proxied: Callable[[int], int]) -> Group:
    cluster = Cluster("--appendonly", "yes")
    for node in cluster.nodes:
        cluster.announce(node, proxied(node.port))
    return cluster


GROUPS: Final[dict[str, Callable[[Callable[[int], int]], Group]]] = {"sentinel": _under_sentinels, "cluster": _cluster}
"""Each is made with what gives, for a server's port, the one of a proxy before it."""
STRUCK: Final = ("EVALSHA", "EVAL", "BLMOVE", "GET", "HGET", "MULTI", "EXEC", "WATCH", "WAIT")
"""What the network strikes: not what the servers and Sentinels say to each other."""

READS: Final = frozenset({"get"})
HOWS: Final[tuple[How, ...]] = ("kill", "pause", "ask")
FACES: Final = ("sync", "async", "mixed")


@dataclass
class Totals:
    """What some rounds came to."""

    rounds: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    reasons: Counter[tuple[Outcome, str]] = field(default_factory=Counter[tuple[Outcome, str]])
    findings: Findings = field(default_factory=Findings)
    stale: int = 0
    """Of how many keys somebody read what was not so any more, or never came to be."""
    gaps: list[float] = field(default_factory=list[float])
    faults: int = 0
    """Of the network."""

    def __str__(self) -> str:
        told = [f"{self.outcomes[outcome]:,} {outcome.value}" for outcome in Outcome]
        reasons = [f"{number:,} {why}" for (_, why), number in sorted(self.reasons.items(), key=lambda one: one[0][1])]
        found = {
            "duplicates": len(self.findings.duplicates),
            "losses": len(self.findings.losses),
            "wrong": len(self.findings.wrong),
            "not decided": len(self.findings.undecided),
            "stale": self.stale,
        }
        return (
            f"{self.rounds} failovers, {self.faults:,} faults of the network: "
            f"{self.outcomes.total():,} operations, {', '.join(told)}{_listed(reasons)}; "
            f"{', '.join(f'{number} {what}' for what, number in found.items())}; "
            f"longest gap {max(self.gaps):.1f} s, median {median(self.gaps):.1f} s"
        )


def proxied(stack: ExitStack, proxies: list[Proxy], port: int) -> int:
    """The port of one more proxy, which lasts as long as *stack*."""
    proxies.append(stack.enter_context(Proxy(port)))
    return proxies[-1].port


def _listed(reasons: Sequence[str]) -> str:
    return f" ({', '.join(reasons)})" if reasons else ""


def fail_over(group: Group, how: How, random: Random) -> None:
    """Have another one become primary."""
    if isinstance(group, Sentinels):
        group.fail_over(how)
    else:
        group.fail_over(random.choice(group.primaries()), how)


def flush(group: Group) -> None:
    """Forget all keys."""
    for one in [group.primary()] if isinstance(group, Sentinels) else group.primaries():
        one.call("FLUSHALL")


def play(
    totals: Totals,
    group: Group,
    how: How,
    *,
    seed: int,
    face: str,
    workers: int = 2,
    proxies: Sequence[Proxy] = (),
    **options: Any,
) -> Findings:
    """One failover, added to the totals; what was wrong with it. The network fails too, where there are *proxies*."""
    random = Random(f"failover {seed}")
    group.settled()
    flush(group)
    before = sum(proxy.injected.total() for proxy in proxies)
    for kind in random.sample([one for one in Kind if one is not Kind.REFUSE], 3):
        fault = Fault(kind, keep=random.randrange(12), seconds=random.choice([0.01, 0.1]))
        for proxy in proxies:
            proxy.arm(fault, at_random(random, 0.005), *STRUCK)
    workloads = [made() for made in random.sample(WORKLOADS, 6)]
    history, over = History(), threading.Event()
    findings = Findings()
    options = {**OPTIONS, **options}
    running = start(
        partial(run, face, workloads, group.url, history, seed=seed, enough=over.is_set, workers=workers, **options)
    )

    def go_on(calls: int) -> None:
        goal = history.acknowledged + calls
        wait_until(lambda: history.acknowledged >= goal or running.done(), "they go on", PATIENCE)

    try:
        go_on(300)
        time.sleep(random.uniform(0, 0.3))
        fail_over(group, how, random)
        if how == "kill":
            group.revive()  # as its own replica, the new primary has nobody who could confirm anything
        go_on(300)
        over.set()
        running.result(2 * PATIENCE)
    except (Hang, TimeoutError) as error:
        findings.wrong.append(f"a hang: {error}")
    finally:
        over.set()
        for proxy in proxies:
            proxy.disarm()
    group.settled()
    with redisext.connect(group.url, deadline=10) as db:
        writes = History(one for one in history.records if one.operation not in READS)
        writes.unexpected = history.unexpected
        found = judge(workloads, writes, db)
        findings.add(found)
        totals.stale += len(judge(workloads, history, db).wrong) - len(found.wrong)
    totals.rounds += 1
    totals.outcomes += history.outcomes
    totals.reasons += history.reasons
    totals.gaps.append(history.longest_gap())
    totals.faults += sum(proxy.injected.total() for proxy in proxies) - before
    totals.findings.add(findings)
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    wrong = False
    for kind in asked.of:
        for how in asked.how:
            totals = Totals()
            with ExitStack() as stack:
                proxies: list[Proxy] = []
                group = GROUPS[kind](partial(proxied, stack, proxies))
                stack.enter_context(group)
                for number in range(asked.times):
                    seed, face = asked.seed + number, asked.face[number % len(asked.face)]
                    begun = time.monotonic()
                    findings = play(
                        totals,
                        group,
                        how,
                        seed=seed,
                        face=face,
                        workers=asked.workers,
                        proxies=proxies if asked.network else (),
                    )
                    tell(
                        f"{kind} {how} {number + 1:>3}  seed {seed}  {face:<5}  gap {totals.gaps[-1]:5.2f} s  "
                        f"{time.monotonic() - begun:5.1f} s  {'ok' if findings.none else 'WRONG'}"
                    )
                    if not findings.none:
                        wrong = True
                        tell(str(findings))
            tell(f"{kind}, {how}: {totals}\n")
    return int(wrong)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.failovers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--of", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="what fails over (all)")
    parser.add_argument("--how", nargs="+", choices=HOWS, default=list(HOWS), help="what befalls the primary (all)")
    parser.add_argument("--times", type=int, default=20, help="how many failovers of each (20)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the first (the clock's)")
    parser.add_argument("--face", nargs="+", choices=FACES, default=list(FACES), help="in turn")
    parser.add_argument("--network", action="store_true", help="have the network fail too, meanwhile")
    parser.add_argument("--workers", type=int, default=2, help="for each workload (2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
