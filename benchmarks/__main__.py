"""How fast Redisext is beside the clients that people would use instead, on one server, in one run.

    make bench                                # or: python -m benchmarks [--rounds N] [--json FILE]

These machines are shared, so that an absolute time means nothing. Each case is a pair: the same work done by another
client and by Redisext, one right after the other, round after round. What is shown is the median over the rounds of how
many times as long the one took as the other, with the quartiles; CPU time of this process stands beside wall time.

The others are given ready-made bytes, and give bytes; Redisext encodes and decodes a pydantic model of four fields.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import batches, single, tasks
from benchmarks.pair import Pair
from tests.servers import RedisServer, find_redis_server


@dataclass
class Row:
    """One pair, measured: `wall` and `cpu` are Redisext's time by the other's, as quartiles."""

    work: str
    beside: str
    wall: tuple[float, float, float]
    cpu: tuple[float, float, float]
    wanted: str


async def measure(pair: Pair, rounds: int) -> Row:
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(2):  # connections, caches
        await pair.theirs()
        await pair.ours()
    for number in range(rounds):
        # Who comes first changes, so that neither always finds the other's leavings.
        first, second = (pair.theirs, pair.ours) if number % 2 else (pair.ours, pair.theirs)
        one, other = await timed(first), await timed(second)
        theirs, ours = (one, other) if number % 2 else (other, one)
        wall.append(ours[0] / theirs[0])
        cpu.append(ours[1] / theirs[1])
    return Row(pair.work, pair.beside, quartiles(wall), quartiles(cpu), pair.wanted)


async def timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


async def run(url: str, rounds: int) -> list[Row]:
    rows: list[Row] = []
    for module in (single, tasks, batches):
        async with module.pairs(url) as pairs:
            for pair in pairs:
                rows.append(await measure(pair, rounds))
                show(rows[-1])
    return rows


def show(row: Row) -> None:
    low, middle, high = row.wall
    print(
        f"{row.work:<44}{row.beside:<30}{middle:>6.2f}  ({low:.2f} to {high:.2f}){row.cpu[1]:>8.2f}   "
        f"{1 / middle:>5.1f} x   {row.wanted}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare the speed with other clients.")
    parser.add_argument("--rounds", type=int, default=41, help="how often each pair is measured (41)")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    print(f"server: {find_redis_server()}; Python {sys.version.split()[0]}\n")
    print(f"{'':<74}{'time, by that of the other client':<31}{'speed':<10}wanted")
    print(f"{'work':<44}{'beside':<30}{'wall':>6}  {'(quartiles)':<14}{'CPU':>8}")
    with RedisServer() as server:
        rows = asyncio.run(run(server.url, options.rounds))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
