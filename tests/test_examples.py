"""What a reader copies to start works on every kind of backend, and counts exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

import redisext
from examples.access_log.__main__ import LOG, main
from examples.access_log.make_log import make_log
from examples.access_log.model import parse
from examples.access_log.report import TOP
from examples.access_log.traffic import Traffic
from tests.servers import RedisServer, wait_until


@pytest.fixture(params=["embedded", "redis"])
def variant(request: pytest.FixtureRequest) -> str:
    """The example chooses its own faces."""
    return str(request.param)


@pytest.fixture
def traffic(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    """An empty store, in which the example is about to count."""
    monkeypatch.setenv("REDISEXT_URL", store_url)
    with redisext.connect(store_url, prefix="demo:") as db:
        yield Traffic(db)


@pytest.fixture
def short_log(tmp_path: Path) -> Path:
    """The log's first 500 lines."""
    short = tmp_path / "short.log"
    short.write_bytes(b"".join(LOG.read_bytes().splitlines(keepends=True)[:500]))
    return short


@contextmanager
def started(log: Path, server: RedisServer) -> Generator[subprocess.Popen[str]]:
    """The example, as its reader runs it; if it still runs when the block ends, it is killed."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "examples.access_log", str(log)],
        env={**os.environ, "REDISEXT_URL": server.url, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as run:  # which waits for it to end, and closes the pipes
        try:
            yield run
        finally:
            run.kill()


@pytest.mark.usefixtures("unmeasured")
def test_what_it_counts_is_what_plain_python_counts(traffic: Traffic, capsys: pytest.CaptureFixture[str]) -> None:
    hours, statuses = Counter[int](), Counter[int]()
    paths, visitors, path_bytes, path_errors = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    alerts: set[tuple[str, str, int]] = set()
    malformed: set[int] = set()
    lines = LOG.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        quoted = line.decode("latin-1").split('"')
        if len(quoted) != 7 or len(quoted[1].split()) != 3:
            malformed.add(number)
            continue
        visitor, time = quoted[0].split()[0], quoted[0].split()[3]
        path = quoted[1].split()[1]
        status, size = map(int, quoted[2].replace("-", "0").split())
        hours[int(time[13:15])] += 1
        statuses[status] += 1
        paths[path] += 1
        visitors[visitor] += 1
        path_bytes[path] += size
        if status >= 500:
            path_errors[path] += 1
        if status >= 400:
            alerts.add((time[13:18], path, status))

    assert main([]) == 0

    assert traffic.hits.get() == len(lines) - len(malformed)
    assert traffic.bytes.get() == path_bytes.total()
    assert traffic.errors.get() == path_errors.total()
    assert set(traffic.malformed) == malformed
    assert dict(traffic.hours) == hours
    assert dict(traffic.statuses) == statuses
    assert {path: hits for hits, path in traffic.paths.members(with_scores=True)} == paths
    assert dict(traffic.path_bytes) == path_bytes
    assert dict(traffic.path_errors) == path_errors
    assert set(traffic.visitors) == set(visitors)
    assert {visitor: hits for hits, visitor in traffic.busiest.members(with_scores=True)} == visitors
    left = {(f"{alert.minute:%H:%M}", alert.path, alert.status) for alert in traffic.alerts.items()}
    assert left < alerts
    assert len(traffic.alerts) == len(alerts) - TOP
    assert len(traffic.events) == 0
    assert capsys.readouterr().out.endswith(f"\nExact: all counts agree with the {len(lines):,} lines read.\n")


RUBBISH = [
    b"",
    b"\n",
    b"\xff\0\n\r\nGET / HTTP/1.1\n",
    b'192.0.2.1 - - [31/Feb/2025:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"',
]


@pytest.mark.parametrize("content", RUBBISH)
def test_a_log_of_nothing_but_rubbish_is_reported(
    content: bytes, traffic: Traffic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "rubbish.log"
    log.write_bytes(content)
    assert main([str(log)]) == 0
    assert traffic.hits.get() is None
    assert len(traffic.malformed) == len(content.splitlines())
    assert "Exact" in capsys.readouterr().out


def test_a_second_run_starts_afresh(traffic: Traffic, short_log: Path) -> None:
    assert main([str(short_log)]) == main([str(short_log)]) == 0
    assert traffic.hits.get(0) + len(traffic.malformed) == 500


def test_it_leaves_what_is_not_its_own(traffic: Traffic, store_url: str) -> None:
    with redisext.connect(store_url) as db:
        other = redisext.Counter[int]("hits", db)
        other.incr()
        main([os.devnull])
        assert other.get() == 1


@pytest.mark.parametrize("wrong", ["no-such.log", "."])
def test_a_file_that_cannot_be_read_is_named(wrong: str, traffic: Traffic) -> None:
    message = main([wrong])
    assert isinstance(message, str)
    assert wrong in message
    assert not traffic.lock.locked()


def test_two_imports_at_a_time_take_turns(server: RedisServer, short_log: Path) -> None:
    with started(short_log, server) as one, started(short_log, server) as other:
        for run in (one, other):
            out, err = run.communicate(timeout=60)
            assert (run.returncode, err) == (0, "")
            assert "Exact" in out


def test_ctrl_c_ends_it_cleanly(server: RedisServer, tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_bytes(LOG.read_bytes() * 20)
    with redisext.connect(server.url, prefix="demo:") as db:
        traffic = Traffic(db)
        traffic.expire(0)
        with started(log, server) as run:
            wait_until(lambda: traffic.hits.get(0) > 0, "something is counted")
            run.send_signal(signal.SIGINT)
            _, err = run.communicate(timeout=10)
        assert (run.returncode, err) == (130, "Interrupted.\n")
        assert not traffic.lock.locked()
        assert traffic.hits.ttl() > 0


def test_the_generator_reproduces_the_log() -> None:
    assert make_log() == LOG.read_bytes()


def test_the_log_names_nobody() -> None:
    """Its addresses are of the ranges that are set aside for documentation."""
    ranges = [ip_network(one) for one in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
    events = filter(None, map(parse, LOG.read_text(errors="replace").splitlines()))
    addresses = {ip_address(event.visitor) for event in events}
    assert addresses
    assert all(any(address in one for one in ranges) for address in addresses)
