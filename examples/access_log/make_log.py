"""Make access.log: one day on a website that does not exist.

The log is generated; nothing in it was ever recorded. Visitors, pages and errors are drawn at random, from the same
seed each time, so this program writes the same file each time, byte for byte:

    python -m examples.access_log.make_log

The addresses are from the ranges set aside for documentation (RFC 5737 and RFC 3849); the host is example.com.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import fsum
from pathlib import Path
from random import Random
from typing import TypeVar

T = TypeVar("T")

LOG = Path(__file__).with_name("access.log")
MIDNIGHT = datetime(2025, 5, 13, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3600, 86400
OUTAGE = range(14 * HOUR + 7 * MINUTE, 14 * HOUR + 19 * MINUTE)
SESSIONS_BY_HOUR = (9, 6, 4, 3, 4, 7, 13, 24, 38, 49, 54, 52, 45, 50, 56, 55, 51, 45, 39, 36, 38, 35, 26, 16)

TOPICS = (
    *("queues", "counters", "locks", "hashes", "sets", "ranking", "batches", "asyncio", "replicas", "clusters"),
    *("testing", "types", "expiry", "errors"),
)
PAGES = (
    *("/", "/docs/", "/docs/install", "/pricing", "/blog/", "/docs/tutorial", "/api/search", "/login", "/download"),
    *(f"/docs/{topic}" for topic in TOPICS),
    *("/api/session", "/changelog", "/about", "/account", "/api/orders", "/checkout", "/contact", "/jobs"),
    *(f"/blog/{topic}" for topic in TOPICS[:9]),
    *("/privacy", "/terms", "/team", "/press"),
)
ASSETS = ("/static/site.css", "/static/site.js")
MOVED = ("/docs", "/blog", "/install")
GONE = ("/favicon.ico", "/docs/stack", "/blog/2024", "/forum")
PROBES = ("/.env", "/wp-login.php", "/xmlrpc.php", "/.git/config", "/admin.php", "/backup.zip")
SIZES = {path: 2_400 + 7_919 * n % 31_000 for n, path in enumerate((*PAGES, *ASSETS, "/feed.xml", "/health"))}

ADDRESSES = (
    *(f"{network}.{host}" for network in ("192.0.2", "198.51.100", "203.0.113") for host in range(1, 255)),
    *(f"2001:db8:{network:x}::{host:x}" for network in range(1, 16) for host in range(1, 10)),
)
BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:138.0) Gecko/20100101 Firefox/138.0",
    "Mozilla/5.0 (Windows NT 10.0; rv:138.0) Gecko/20100101 Firefox/138.0",
    "Mozilla/5.0 (Android 15; Mobile; rv:138.0) Gecko/138.0 Firefox/138.0",
    "Mozilla/5.0 (Macintosh; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36",
)
MALFORMED = (  # TLS on the wrong port, a silent client, a full disk, two writers at once, a stray message, a crash
    rb'192.0.2.77 - - [13/May/2025:02:41:07 +0000] "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" 400 226 "-" "-"',
    b'198.51.100.9 - - [13/May/2025:05:10:55 +0000] "-" 408 - "-" "-"',
    b'203.0.113.140 - - [13/May/2025:08:30:12 +0000] "GET /docs/lo',
    b'192.0.2.18 - - [13/May/2025:10:58:31 +0000] "GET / HT192.0.2.201 - - [13/May/2025:10:58:31 +0000] "GET /blog/',
    b"worker 2913 on caf\xe9.example.com exited on signal 9",
    b"\0" * 48,
    b"",
)


class Day:
    """The requests of one day. Visitors come one after another here; `lines` has them in the order of time."""

    def __init__(self, seed: int = 2025_05_13) -> None:
        self.draw = Random(seed)  # noqa: S311  # to be repeated, not to be secret
        self.requests: list[tuple[int, str]] = []
        self.people()
        self.robots()

    def lines(self) -> Iterator[bytes]:
        """The log, with the malformed lines strewn over it."""
        gap = len(self.requests) // len(MALFORMED)
        for n, (_, line) in enumerate(sorted(self.requests, key=lambda request: request[0])):
            yield line.encode() + b"\n"
            if n % gap == gap // 2:
                yield MALFORMED[n // gap] + b"\n"

    def people(self) -> None:
        """Sessions of a few pages. Some visitors come again and again, most of them once or twice."""
        visitors = sorted(ADDRESSES, key=lambda _: self.draw.random())[:400]
        agents = [self.pick(BROWSERS, (8, 7, 6, 5, 1)) for _ in visitors]
        cached: set[tuple[int, str]] = set()
        for _ in range(830):
            who = self.pick(range(len(visitors)), [1 / (rank + 12) for rank in range(len(visitors))])
            second = self.pick(range(24), SESSIONS_BY_HOUR) * HOUR + self.below(HOUR)
            referer = "https://search.example.com/" if self.draw.random() < 0.2 else "-"
            while True:
                page = self.page()
                self.request(second, visitors[who], page, agents[who], referer=referer)
                for asset in ASSETS:
                    if (who, asset) not in cached or self.draw.random() < 0.15:
                        again = (who, asset) in cached
                        self.request(second + 1, visitors[who], asset, agents[who], unchanged=again)
                        cached.add((who, asset))
                if self.draw.random() < 0.3:
                    break
                referer = f"https://example.com{page}" if self.draw.random() < 0.15 else "-"
                second += 3 + self.below(2 * MINUTE)

    def page(self) -> str:
        """A page that somebody asks for; now and then one that is not there, or no longer."""
        kind = self.draw.random()
        if kind < 0.03:
            return self.pick(MOVED)
        if kind < 0.06:
            return self.pick(GONE)
        return self.pick(PAGES, [1 / (rank + 2) for rank in range(len(PAGES))])

    def robots(self) -> None:
        for second in range(0, DAY, 5 * MINUTE):
            self.request(second, "192.0.2.10", "/health", "uptime/1.4", method="HEAD")
        for n, reader in enumerate(("feedreader/3.2", "planet/2.0", "newsbox/0.9.1", "feedreader/3.1")):
            for second in range(self.below(HOUR), DAY, HOUR):
                self.request(second, f"203.0.113.{200 + n}", "/feed.xml", reader, unchanged=self.draw.random() < 0.9)
        for start in (3 * HOUR, 19 * HOUR):
            for n, path in enumerate(("/robots.txt", *PAGES, *MOVED)):
                self.request(start + 20 * n, "2001:db8:b07::1", path, "examplebot/2.1 (+https://example.com/bot)")
        for start in (self.below(DAY) for _ in range(6)):
            for n, path in enumerate(PROBES):
                self.request(start + n // 3, "198.51.100.66", path, "python-requests/2.32.3")

    def request(
        self,
        second: int,
        visitor: str,
        path: str,
        agent: str,
        *,
        method: str = "GET",
        referer: str = "-",
        unchanged: bool = False,
    ) -> None:
        if second in OUTAGE and path not in ASSETS and self.draw.random() < 0.9:
            status, size = self.pick(((500, 532), (503, 311)), (5, 2))
        elif path in MOVED:
            status, size = 301, 178
        elif path not in SIZES:
            status, size = 404, 1_245
        elif unchanged:
            status, size = 304, 0
        elif path.startswith("/api/") and self.draw.random() < 0.02:
            status, size = 500, 532
        else:
            status, size = 200, SIZES[path] + (0 if path in ASSETS else self.below(900))
        stamp = f"{MIDNIGHT + timedelta(seconds=second):%d/%b/%Y:%H:%M:%S %z}"
        sent = size if size and method != "HEAD" else "-"
        line = f'{visitor} - - [{stamp}] "{method} {path} HTTP/1.1" {status} {sent} "{referer}" "{agent}"'
        if second < DAY:
            self.requests.append((second, line))

    # Of Random's methods, `random` alone gives the same numbers in every version of Python.

    def below(self, limit: int) -> int:
        return int(self.draw.random() * limit)

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        left = self.draw.random() * (fsum(weights) if weights else len(options))
        for option, weight in zip(options, weights or [1] * len(options), strict=True):
            left -= weight
            if left < 0:
                return option
        return options[-1]


def make_log() -> bytes:
    """The whole log."""
    return b"".join(Day().lines())


if __name__ == "__main__":
    LOG.write_bytes(make_log())
