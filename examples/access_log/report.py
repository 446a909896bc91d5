"""The report: everything in it is read from Redis."""

import sys
from collections.abc import Iterator, Sequence

from examples.access_log.traffic import Traffic
from redisext import SortedSet

TOP = 10
BAR = 40
WIDTH = 76
BLOCK = "█" if sys.stdout.encoding.lower().startswith("utf") else "#"


def report(traffic: Traffic) -> Iterator[str]:
    """The lines of the report."""
    hits, malformed = traffic.hits.get(0), traffic.malformed.all()
    yield f"Requests   {hits:>10,}"
    yield f"Visitors   {len(traffic.visitors):>10,}"
    yield f"Errors     {traffic.errors.get(0):>10,}"
    yield f"Megabytes  {traffic.bytes.get(0) / 1e6:>10,.1f}"
    yield f"Malformed  {len(malformed):>10,}"

    yield from chart("Top paths", top(traffic.paths))
    yield from chart("Top visitors", top(traffic.busiest))

    statuses = traffic.statuses.all()
    of_class = [sum(n for status, n in statuses.items() if status // 100 == digit) for digit in range(6)]
    yield from chart("Status", [(f"{digit}xx", of_class[digit]) for digit in range(2, 6)])
    hours = traffic.hours.all()
    yield from chart("Hour", [(f"{hour:02}:00", hours.get(hour, 0)) for hour in range(24)])

    yield f"\n{'Failing paths':<24}{'errors':>8}{'of':>8}{'kilobytes':>11}"
    failing = sorted(traffic.path_errors.all().items(), key=lambda row: (-row[1], row[0]))[:TOP]
    sizes = traffic.path_bytes.get_many(path for path, _ in failing)
    for path, errors in failing:
        yield f"  {path:<22}{errors:>8,}{traffic.paths.score(path):>8,.0f}{sizes[path] / 1e3:>11,.1f}"

    yield f"\nAlerts, the first {TOP} of {len(traffic.alerts):,}"
    for _ in range(TOP):
        if alert := traffic.alerts.pop():
            yield f"  {alert.minute:%H:%M}  {alert.status}  {alert.path}"

    yield "\nMalformed lines"
    for number, line in sorted(malformed.items()):
        text = ascii(line)
        yield f"  {number:>6,}  {text if len(text) <= WIDTH else text[:WIDTH] + '...'}"

    yield "\nIn Redis, for another hour"
    for counter in traffic.counters:
        yield stored(counter.commands.key, type(counter), f"{counter.get(0):,}")
    for collection in traffic.collections:
        if collection:
            yield stored(collection.commands.key, type(collection), f"{len(collection):,} elements")


def stored(key: bytes, kind: type, size: str) -> str:
    """What lives under a key."""
    return f"  {key.decode():<20}{kind.__name__:<22}{size:>18}"


def top(ranking: SortedSet[str]) -> list[tuple[str, float]]:
    """Those with the highest scores."""
    return [(member, score) for score, member in ranking.members(with_scores=True, limit=TOP)]


def chart(title: str, rows: Sequence[tuple[str, float]]) -> Iterator[str]:
    """A name, a number and a bar in each row."""
    yield f"\n{title}"
    width = max((len(name) for name, _ in rows), default=0)
    most = max((number for _, number in rows), default=0) or 1
    for name, number in rows:
        yield f"  {name:<{width}}{number:>8,.0f}  {BLOCK * round(BAR * number / most)}".rstrip()
