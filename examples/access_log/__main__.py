"""Count a web server's access log in Redis, with several threads.

One thread reads the log and pushes its events into a queue; others take them out and count them. They could as well be
programs on different machines: all that they share lives in Redis, at $REDISEXT_URL. Without that, an engine inside
this process takes the server's place.
"""

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

import redisext
from examples.access_log.model import Event, parse
from examples.access_log.recount import recount
from examples.access_log.report import report
from examples.access_log.traffic import Traffic

LOG = Path(__file__).with_name("access.log")
CHUNK = 250
WORKERS = 2
PREFIX = "demo:"
HOUR = 3600


def read(log: Path, traffic: Traffic, stop: threading.Event) -> int:
    """Push the log's events, a chunk at a time, and keep its malformed lines; how many lines were read."""
    number = 0
    with log.open(encoding="utf-8", errors="backslashreplace") as file:
        lines = (line.rstrip("\n") for line in file)
        while not stop.is_set() and (chunk := list(islice(lines, CHUNK))):
            events: list[Event] = []
            for line in chunk:
                number += 1
                event = parse(line)
                if event is None:
                    traffic.malformed[number] = line
                else:
                    events.append(event)
            traffic.events.push(*events)
    return number


def work(traffic: Traffic, reader: Future[int], stop: threading.Event) -> int:
    """Count events until all are read and the queue is empty; how many were counted here."""
    counted = 0
    while not stop.is_set() and (not reader.done() or traffic.events):
        event = traffic.events.pop_wait(timeout=0.1)
        if event is not None:
            traffic.count(event)
            counted += 1
    return counted


def ingest(log: Path, traffic: Traffic) -> int:
    """Read and count at the same time; how many lines were read."""
    stop = threading.Event()
    with ThreadPoolExecutor() as threads:
        try:
            reader = threads.submit(read, log, traffic, stop)
            workers = [threads.submit(work, traffic, reader, stop) for _ in range(WORKERS)]
            while wait([reader, *workers], timeout=0.1).not_done:
                if not traffic.lock.extend():
                    raise redisext.LockNotOwned("another import has taken over")
                progress(f"{traffic.hits.get(0):,} counted, {len(traffic.events):,} waiting")
        finally:
            stop.set()  # Ctrl-C ends the threads too
            progress("")
    counted = " + ".join(f"{worker.result():,}" for worker in workers)
    print(f"Read {reader.result():,} lines of {log.name}; the workers counted {counted} requests.\n")
    return reader.result()


def progress(text: str) -> None:
    """Show *text* in place of the one before, on a terminal."""
    if sys.stdout.isatty():
        print(f"\r{text:<60}\r", end="", flush=True)


def main(arguments: Sequence[str] | None = None) -> int | str:
    parser = argparse.ArgumentParser(prog="python -m examples.access_log", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=LOG, help="a log in Combined Log Format")
    log: Path = parser.parse_args(arguments).file
    try:
        url = os.environ.get("REDISEXT_URL") or "memory://"
        with redisext.connect(url, prefix=PREFIX) as db:
            print(f"Counting {log.name} in {db}")
            return run(log, Traffic(db), url)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130  # as shells have it
    except (OSError, redisext.RedisextError) as error:
        return str(error)


def run(log: Path, traffic: Traffic, url: str) -> int | str:
    """Import *log*, report, and see whether all was counted."""
    if traffic.lock.locked():
        print("Waiting for another import to end.")
    with traffic.lock:
        traffic.expire(0)
        try:
            lines = ingest(log, traffic)
            wrong = traffic.disagreements(lines)
            for line in report(traffic):
                print(line)
            tasks, hits = asyncio.run(recount(url, PREFIX))
            print(f"\nAsked again under asyncio, by {tasks:,} tasks at once: {hits:,} hits.")
            if hits != traffic.hits.get(0):
                wrong.append(f"hits asked under asyncio: {hits:,}, not {traffic.hits.get(0):,}")
        finally:
            traffic.expire(HOUR)
    if wrong:
        return "\n".join(("\nThe counts do not agree:", *wrong))
    print(f"\nExact: all counts agree with the {lines:,} lines read.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
