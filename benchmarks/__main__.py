"""How fast Redisext is beside what people would use instead, on one server, in one run.

    make bench                                # or: python -m benchmarks --help

These machines are shared, so that an absolute time means nothing. A case is the same work done by one client and by
another, one right after the other, round after round; all cases take turns. What is shown is the median, over the
rounds, of how many times as long the one took as the other, with the quartiles; CPU time stands beside wall time.

The other in all cases, the control, is redis-py on ready-made bytes. Neighbours, whose dependencies clash, have
processes in environments of their own, and the control, in this one's, is measured anew beside each of them.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import environments, plot, report
from benchmarks.environments import ROOT, Environment
from benchmarks.operations import OPERATIONS, TASKS, THREADS, How, Operation
from benchmarks.results import Figure, Results, Row, quartiles
from benchmarks.targets import IMPORTS, MEMORY
from tests.servers import RedisServer

CONTROLS: Final = {False: "redis-py", True: "redis.asyncio"}
MANY: Final = 1_000_000


@dataclass
class Case:
    """One operation on one payload, by all clients that can."""

    number: int
    payload: str
    size: int
    sizes: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Of each environment, how much each client is given."""

    samples: dict[tuple[str, str], list[tuple[float, float, float]]] = field(default_factory=lambda: defaultdict(list))
    """Of each client in each environment: wall time, CPU time, both by the control's; and wall time."""

    @property
    def operation(self) -> Operation:
        return OPERATIONS[self.number]

    @property
    def control(self) -> str:
        return CONTROLS[self.operation.how.awaits]


class Bench:
    def __init__(self, here: Environment, others: list[Environment], results: Results, *, quick: bool) -> None:
        self.here = here
        self.others = others
        self.results = results
        self.quick = quick

    def prepare(self, only: str) -> list[Case]:
        """The cases, each with the clients that have shown that they do the work."""
        cases: list[Case] = []
        for number, operation in enumerate(OPERATIONS):
            if only not in operation.title:
                continue
            for payload in operation.payloads:
                size = operation.size // 10 if self.quick and operation.size >= 10_000 else operation.size
                case = Case(number, payload, size)
                for environment in (self.here, *self.others):
                    tell(f"preparing {operation.title} ({payload}), {environment.name}")
                    made = environment.ask("prepare", number=number, payload=payload, size=size)
                    if environment is self.here and case.control in made["failed"]:
                        raise environments.Broken(f"{case.control} itself: {made['failed'][case.control]}")
                    case.sizes[environment.name] = made["sizes"]
                    for client, why in made["failed"].items():
                        self.results.not_run[f"{client}, {operation.title} ({payload})"] = why
                cases.append(case)
        return cases

    def measure(self, case: Case, number: int) -> None:
        """A round of a case. Who comes first changes, so that nobody always finds the others' leavings."""
        backwards = bool(number % 2)
        case_name = {"number": case.number, "payload": case.payload, "backwards": backwards}
        times = self.here.ask("round", **case_name, only=[])
        self.keep(case, self.here, times, times[case.control])
        for other in self.others:
            if not case.sizes[other.name]:
                continue
            if backwards:
                times = other.ask("round", **case_name, only=[])
            control = self.here.ask("round", **case_name, only=[case.control])
            if not backwards:
                times = other.ask("round", **case_name, only=[])
            self.keep(case, other, times, control[case.control])

    def keep(self, case: Case, environment: Environment, times: dict[str, list[float]], control: list[float]) -> None:
        for client, (wall, cpu) in times.items():
            whole = case.size / case.sizes[environment.name][client] if case.size else 1
            sample = wall * whole / control[0], cpu * whole / control[1], wall * whole
            case.samples[environment.name, client].append(sample)

    def rows(self, case: Case) -> list[Row]:
        """The control once; of the others' environments, all but their own control."""
        at_once = {How.IN_THREADS: THREADS, How.IN_TASKS: TASKS}.get(case.operation.how, 1)
        times = 1 if case.operation.how in {How.LOAD, How.ITERATE} else case.operation.times * at_once
        rows: list[Row] = []
        for (environment, client), samples in case.samples.items():
            title = client
            if environment != self.here.name and client == case.control:
                title = f"{client} {self.results.redis_py[environment]}, in {environment}"
            wall, cpu, seconds = (list(values) for values in zip(*samples, strict=True))
            rows.append(
                Row(
                    operation=case.operation.title,
                    payload=case.payload,
                    client=title,
                    environment=environment,
                    wall=wall,
                    cpu=cpu,
                    microseconds=quartiles(seconds)[1] / (times * (case.size or 1)) * 1e6,
                    share=case.sizes[environment][client] / case.size if case.size else 1,
                )
            )
        return rows

    def fresh(self, rounds: int) -> list[Figure]:
        """Imports and first commands, each in a process of its own; all clients take turns."""
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        packaged = [
            (environment, client, about)
            for environment in (self.here, *self.others)
            for client, about in environment.clients.items()
            if about["package"] and (environment is self.here or client not in self.here.clients)
        ]
        for number in range(-1, rounds):  # once before, so that all is compiled
            random.shuffle(packaged)
            for environment, client, about in packaged:
                tell(f"first import and commands, {number + 1} of {rounds}: {client}")
                found: dict[str, float] = {}
                if about["imported alone"]:
                    for what, model in IMPORTS.items():
                        took = environment.fresh("imports", about["package"], model)
                        found |= {what: took["wall"], f"{what}, CPU": took["CPU"]}
                for what, wall in environment.fresh("start", about["module"], about["class"]).items():
                    found[f"first command: {what}"] = wall
                for what, value in found.items():
                    if number >= 0:
                        values[what, client].append(value)
        return [
            Figure(what=what, client=client, unit="ms", values=found)
            for (what, client), found in sorted(values.items())
        ]

    def memory(self) -> list[Figure]:
        """What it takes to go through a million, for clients that do so in a minute."""
        figures: list[Figure] = []
        for environment in (self.here, *self.others):
            for client, about in environment.clients.items():
                if environment is not self.here and client in self.here.clients:
                    continue
                load = self.results.row("bulk load 100,000: queue", "model", client)
                iterate = self.results.row("iterate 100,000: queue", "model", client)
                if not load or not iterate or load.share * iterate.share < 1 or client == "Redisext, embedded":
                    continue
                tell(f"memory: {client}")
                where = about["module"], about["class"]
                environment.fresh("fill", f"{MANY}", *where)
                found = environment.fresh("memory", f"{MANY}", *where)
                figures.append(Figure(what=MEMORY, client=client, unit="MB", values=[found["megabytes"]]))
        return figures


def run(rounds: int, only: str, *, quick: bool) -> Results:
    began = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        here = environments.here(server)
        stack.callback(here.close)
        others, missing = environments.neighbours(server)
        for other in others:
            stack.callback(other.close)
        results = Results(
            python=platform.python_version(),
            server=f"Redis {'.'.join(map(str, server.version))}",
            redis_py={one.name: one.about["redis-py"] for one in (here, *others)},
            rounds=rounds,
            whole=not (only or quick),
            note=" Quick: a tenth of what the titles say." if quick else "",
            clients={name: about["about"] for one in (here, *others) for name, about in one.clients.items()},
            not_run=missing,
        )
        bench = Bench(here, others, results, quick=quick)
        cases = bench.prepare(only)
        for number in range(rounds):
            for case in cases:
                if number % case.operation.every == 0:
                    tell(f"round {number + 1} of {rounds}: {case.operation.title} ({case.payload})")
                    bench.measure(case, number)
        for environment in (here, *others):
            for client, why in environment.ask("end").items():
                results.not_run[f"{client}, at the end"] = why
        results.rows = [row for case in cases for row in bench.rows(case)]
        if any(only in what for what in (*IMPORTS, "first command")):
            results.figures += bench.fresh(max(rounds // 3, 3))
        if only in MEMORY and not quick:
            results.figures += bench.memory()
        results.seconds = time.monotonic() - began
    tell("")
    return results


def tell(what: str) -> None:
    """What is being done, on a line that the next one takes the place of."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare the speed with other clients.")
    parser.add_argument("--rounds", type=int, default=15, help="how often each case is measured (15)")
    parser.add_argument("--only", default="", metavar="PATTERN", help="operations whose titles have this in them")
    parser.add_argument("--quick", action="store_true", help="three rounds, a tenth of what is large, no memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a file for the figures")
    parser.add_argument("--again", type=Path, metavar="FILE", help="measure nothing: show the figures in this file")
    parser.add_argument("--docs", action="store_true", help="renew the tables and the plot in docs/")
    options = parser.parse_args()
    if options.again:
        results = Results.model_validate_json(options.again.read_text())
    else:
        results = run(3 if options.quick else options.rounds, options.only, quick=options.quick)
    print("\n".join(report.text(results)))
    if options.json:
        options.json.write_text(results.model_dump_json() + "\n")
    if options.docs:
        report.renew(ROOT / "docs" / "performance.md", results)
        plot.draw(results, ROOT / "docs" / "performance.svg")


if __name__ == "__main__":
    main()
