"""One long run under mixed faults: `python -m tests.faults --minutes 20 --seed 7`.

It goes in rounds of some seconds. In each, a seed of its own says on which face, which structures are used, what the
network does to their commands and replies, and what becomes of the server. Then what was seen is judged by what the
server holds. Whatever was done twice, lost, or cannot have been, is printed with the round's seed, and the exit code is
1: `--seed THAT --rounds 1` runs the same round again (how threads and packets interleave differs from run to run).
"""

from __future__ import annotations

import argparse
import inspect
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

import redisext
from tests.faults import processes
from tests.faults.checker import Findings
from tests.faults.history import History, Outcome
from tests.faults.processes import FaultyServer, settle
from tests.faults.workload import PATIENCE, WORKLOADS, Hang, judge, run
from tests.proxy import Fault, Kind, Proxy, at_random
from tests.servers import RedisServer, paused, wait_until
from tests.threads import start

SECONDS = 4.0
"""How long a round is."""

SOCKET_TIMEOUT: Final = 1.0

AT_ONCE: Final[dict[str, Callable[[FaultyServer], None]]] = {
    "server killed": processes.crash,
    "server restarted": processes.restart,
    "connections killed": processes.kill_connections,
    "server paused": processes.pause,
    "writes paused": partial(processes.pause, writes_only=True),
}
FOR_A_TIME: Final[dict[str, Callable[[FaultyServer], AbstractContextManager[None]]]] = {
    "server down": processes.down,
    "server frozen": paused,
    "server loading": processes.loading,
    "server read-only": processes.read_only,
    "server out of memory": processes.full,
    "server busy": processes.busy,
    "idle connections closed": processes.closing_the_idle,
}
HANDED_OVER: Final = "server replaced"
REFUSED: Final = Kind.REFUSE.value


@dataclass
class Totals:
    """What all rounds came to."""

    rounds: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    reasons: Counter[tuple[Outcome, str]] = field(default_factory=Counter[tuple[Outcome, str]])
    faults: Counter[str] = field(default_factory=Counter[str])
    findings: Findings = field(default_factory=Findings)
    longest_gap: float = 0.0
    hangs: int = 0
    seeds: list[int] = field(default_factory=list[int])
    """Of the rounds in which something was wrong."""

    def __str__(self) -> str:
        told = self.outcomes
        lines = [
            ("rounds", self.rounds),
            ("operations tried", told.total()),
            *(line for outcome in Outcome for line in self._of(outcome)),
            ("faults injected", self.faults.total()),
            *((f"  {name}", number) for name, number in sorted(self.faults.items())),
            ("duplicates", len(self.findings.duplicates)),
            ("losses", len(self.findings.losses)),
            ("otherwise wrong", len(self.findings.wrong)),
            ("not decided", len(self.findings.undecided)),
            ("hangs", self.hangs),
        ]
        table = "\n".join(f"{name:<32}{number:>10,}" for name, number in lines)
        return f"{table}\n{'longest gap':<32}{self.longest_gap:>10.3f} s"

    def _of(self, outcome: Outcome) -> list[tuple[str, int]]:
        reasons = sorted((why, number) for (its, why), number in self.reasons.items() if its is outcome)
        return [(f"  {outcome.value}", self.outcomes[outcome]), *((f"    {why}", number) for why, number in reasons)]


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    options: dict[str, Any] = {"socket_timeout": SOCKET_TIMEOUT}
    if asked.deadline is not None:
        options["deadline"] = asked.deadline
    if asked.exactly_once:
        options["exactly_once"] = True
    unknown = options.keys() - inspect.signature(redisext.connect).parameters.keys()
    if unknown:
        tell(f"redisext.connect takes no {', '.join(sorted(unknown))}")
        return 2
    tell(f"seed {asked.seed}")
    faces: list[str] = ["sync", "async", "mixed"] if asked.face == "all" else [asked.face]
    totals = Totals()
    until = time.monotonic() + asked.minutes * 60
    with FaultyServer() as server, RedisServer(replica_of=server) as replica:
        while totals.rounds < asked.rounds if asked.rounds else time.monotonic() < until:
            seed: int = asked.seed + totals.rounds
            face = faces[seed % len(faces)]
            findings = play(totals, server, replica, seed=seed, face=face, options=options)
            tell(
                f"round {totals.rounds:>4}  seed {seed}  {face:<5}  {totals.outcomes[Outcome.ACKNOWLEDGED]:>9,} "
                f"acknowledged  {totals.faults.total():>7,} faults  {'ok' if findings.none else 'WRONG'}"
            )
            if not findings.none:
                totals.seeds.append(seed)
                tell(str(findings))
    tell(f"\n{totals}\n")
    if not totals.seeds:
        tell(f"nothing twice, nothing lost, nothing silent (seed {asked.seed})")
        return 0
    again = [f"--seed {totals.seeds[0]} --rounds 1", f"--face {asked.face}"]
    again += ["--exactly-once"] * asked.exactly_once
    again += [] if asked.deadline is None else [f"--deadline {asked.deadline}"]
    tell(f"wrong in the rounds of the seeds {', '.join(map(str, totals.seeds))}; the first again:")
    tell(f"python -m tests.faults {' '.join(again)}")
    return 1


def tell(line: str) -> None:
    """Say it, and at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def play(
    totals: Totals,
    server: FaultyServer,
    replica: RedisServer,
    *,
    seed: int,
    face: str,
    options: dict[str, Any],
) -> Findings:
    """One round, added to the totals; what was wrong with it."""
    random = Random(f"round {seed}")
    server.call("FLUSHALL")
    workloads = [made() for made in random.sample(WORKLOADS, 4)]
    history, over = History(), threading.Event()
    findings = Findings()
    with Proxy(server.port) as proxy:
        for kind in random.sample([one for one in Kind if one is not Kind.REFUSE], 4):
            wait = random.choice([0.01, 0.05, 0.2, SOCKET_TIMEOUT * 1.3])
            fault = Fault(kind, keep=random.randrange(12), seconds=wait)
            proxy.arm(fault, at_random(random, random.choice([0.002, 0.01, 0.03])))
        play_on = partial(run, face, workloads, proxy.url, history, seed=seed, enough=over.is_set, workers=3, **options)
        running = start(play_on)
        try:
            totals.faults += _harm(server, replica, proxy, Random(f"harm {seed}"), time.monotonic() + SECONDS)
        except BaseException:
            over.set()
            raise
        proxy.disarm()
        try:
            # What was at fault is over, so they must go on.
            goal = history.acknowledged + 20
            wait_until(lambda: history.acknowledged >= goal or running.done(), "they go on", PATIENCE)
            over.set()
            running.result(2 * PATIENCE)
        except (Hang, TimeoutError) as error:
            over.set()
            totals.hangs += 1
            findings.wrong.append(f"a hang: {error}")
        totals.faults += Counter({kind.value: number for kind, number in proxy.injected.items()})
    settle_all(server, replica)
    with redisext.connect(server.url) as db:
        findings.add(judge(workloads, history, db))
    totals.rounds += 1
    totals.outcomes += history.outcomes
    totals.reasons += history.reasons
    totals.longest_gap = max(totals.longest_gap, history.longest_gap())
    totals.findings.add(findings)
    return findings


def settle_all(server: FaultyServer, replica: RedisServer) -> None:
    """Wait until nothing is on its way any more, and the replica has come back."""
    settle(server)
    wait_until(lambda: replica.info("replication").get("master_link_status") == "up", "the replica is back", PATIENCE)


def _harm(server: FaultyServer, replica: RedisServer, proxy: Proxy, random: Random, until: float) -> Counter[str]:
    """Have things happen to the server until then, one at a time."""
    happened = Counter[str]()
    usual = random.random() < 0.2  # in some rounds only the network fails
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, random.uniform(0.1, 0.6)))
        if usual:
            continue
        name = random.choice([*AT_ONCE, *FOR_A_TIME, HANDED_OVER, REFUSED])
        if name in AT_ONCE:
            AT_ONCE[name](server)
        else:
            with _for_a_time(name, server, replica, proxy):
                time.sleep(random.choice([0.02, 0.1, 0.4, SOCKET_TIMEOUT * 1.2]))
        if name != REFUSED:  # which the proxy counts
            happened[name] += 1
    return happened


def _for_a_time(name: str, server: FaultyServer, replica: RedisServer, proxy: Proxy) -> AbstractContextManager[None]:
    if name == REFUSED:
        return proxy.refusing()
    if name == HANDED_OVER:
        return processes.handed_over(server, replica)
    return FOR_A_TIME[name](server)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1, help="how long to go on (1)")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds, whatever time they take")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the first round (the clock's)")
    parser.add_argument("--face", choices=["sync", "async", "mixed", "all"], default="all", help="in turn")
    parser.add_argument("--deadline", type=float, help="seconds for which the backends retry, if they can")
    parser.add_argument("--exactly-once", action="store_true", help="have the backends carry out everything once")
    return parser


if __name__ == "__main__":
    sys.exit(main())
