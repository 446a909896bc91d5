"""What the tests share: a real server, and one store for each backend they must hold on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from itertools import count
from types import ModuleType
from typing import Final, Protocol, cast

import hypothesis
import pytest

import redisext
from redisext.backend.abc import Backend
from tests import faces
from tests.clusters import Cluster
from tests.sentinels import Sentinels
from tests.servers import (
    Capability,
    RedisServer,
    Replicated,
    ServerNotFound,
    find_redis_server,
    wait_until,
)

# `ci` looks for new examples in every run; `print_blob` shows how to repeat one that failed.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.register_profile("thorough", hypothesis.settings.get_profile("ci"), max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

SERVERS_USED = pytest.StashKey[set[str]]()
NAMES = count()

CONFIRMED: Final = "wait_replicas=1&wait_timeout=10"
UNDER_ASYNCIO: Final = "-async"
STORES: Final = ("embedded", "redis", "replicated", "sentinel", "cluster")
ALL_VARIANTS: Final = (*STORES, *(f"{store}{UNDER_ASYNCIO}" for store in STORES))
MOST_VARIANTS: Final = tuple(one for one in ALL_VARIANTS if one not in ("sentinel", "replicated-async", "cluster"))
VARIANTS: Final = ALL_VARIANTS if os.environ.get("TOPOLOGIES") == "all" else MOST_VARIANTS
"""Which of them a run of the tests leaves out, that is not told otherwise, another face or another store stands for."""


def pytest_configure(config: pytest.Config) -> None:
    """Have all processes that share the tests (pytest-xdist) name them alike, and each heed Ctrl-C.

    Some names show a set, whose order is that of Python's hashes. These differ from run to run, as they always do.
    """
    config.stash[SERVERS_USED] = set()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a script runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):
        os.environ.setdefault("PYTHONHASHSEED", str(random.randrange(1, 2**32)))


def pytest_sessionstart() -> None:
    """Find a server before anything runs: without one half of the tests would say nothing."""
    try:
        find_redis_server()
    except ServerNotFound as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header() -> str:
    return f"server: {find_redis_server()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the server that was used, and what it cannot do."""
    if used := config.stash[SERVERS_USED]:
        terminalreporter.section("server")
        for server in sorted(used):
            terminalreporter.line(server)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process that shares the tests with others, tell the one that reports."""
    told: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        used = session.config.stash[SERVERS_USED]
        told["servers used"] = sorted(used)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """In the one that reports, hear of it: `node` is pytest-xdist's, and of one that crashed there is nothing."""
    config: pytest.Config = getattr(node, "config")  # noqa: B009  # it need not be installed, so has no type here
    told: dict[str, list[str]] = getattr(node, "workeroutput", {})
    config.stash[SERVERS_USED].update(told.get("servers used", []))


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Iterator[RedisServer]:
    """The server that tests share; a test that kills or configures one starts its own."""
    with RedisServer() as server:
        version = ".".join(map(str, server.version))
        lacks = [str(one) for one in Capability if one not in server.capabilities]
        pytestconfig.stash[SERVERS_USED].add(
            f"{server.binary}, version {version}"
            + (f"; it cannot do, so nothing tested it: {', '.join(lacks)}" if lacks else "")
        )
        yield server


@pytest.fixture(scope="session")
def needs_tls(server: RedisServer) -> None:
    if Capability.TLS not in server.capabilities:
        pytest.skip("this server speaks no TLS")


@pytest.fixture(scope="session")
def replicated() -> Iterator[Replicated]:
    """The primary and replica that tests share."""
    with Replicated() as servers:
        yield servers


@pytest.fixture(scope="session")
def sentinels() -> Iterator[Sentinels]:
    """The group under sentinels that tests share; who has it fail over starts another."""
    with Sentinels(replicas=1) as group:
        yield group


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that tests share; who moves a slot, or has a node fail, starts another."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pairs(cluster: Cluster) -> list[tuple[RedisServer, RedisServer]]:
    """Its primaries, each with its replica."""
    return [(one, cluster.replica_of(one)) for one in cluster.primaries()]


def _is_empty(server: RedisServer) -> bool:
    return server.call("DBSIZE") == 0


@pytest.fixture(scope="session")
def loop() -> Iterator[faces.Loop]:
    """The event loop, in a thread, of all tests that are run on the faces under asyncio."""
    with contextlib.closing(faces.Loop()) as loop:
        yield loop


@pytest.fixture(scope="session")
def stand_ins(loop: faces.Loop) -> dict[object, type]:
    """What stands in for each structure in those tests."""
    return faces.stand_ins(loop)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on, and on which face of the structures; a module that leaves some out has its own."""
    return str(request.param)


@pytest.fixture(autouse=True)
def face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the variants under asyncio, the structures that the test's module names are the faces there."""
    if "variant" in request.fixturenames and request.getfixturevalue("variant").endswith(UNDER_ASYNCIO):
        module = cast("ModuleType", request.module)  # pyright: ignore[reportUnknownMemberType]  # pytest says nothing
        faces.replace(monkeypatch, module, request.getfixturevalue("stand_ins"))


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """For a test that computes much in code not ours: that takes 2.5 times as long where coverage is measured.

    What its thread reaches, and each thread that it starts, is then not counted: another test must reach it too.
    """
    tracer, tracer_of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    yield
    threading.settrace(tracer_of_threads)
    sys.settrace(tracer)


@pytest.fixture
def store_url(request: pytest.FixtureRequest, variant: str) -> str:
    """An empty store on each kind of backend that the contract holds on.

    What is written on a primary with a replica, or in a cluster, is read from a replica. It has it by then, as each
    write waits for that.
    """
    match variant.removesuffix(UNDER_ASYNCIO):
        case "embedded":
            return f"memory://test-{next(NAMES)}"
        case "redis":
            server: RedisServer = request.getfixturevalue("server")
            server.call("FLUSHALL")
            return server.url
        case "replicated":
            replicated: Replicated = request.getfixturevalue("replicated")
            replicated.primary.call("FLUSHALL")
            wait_until(partial(_is_empty, replicated.replicas[0]), "the replica is empty")
            replicas = ",".join(f"{one.host}:{one.port}" for one in replicated.replicas)
            return f"{replicated.primary.url}?replicas={replicas}&{CONFIRMED}"
        case "sentinel":
            sentinels: Sentinels = request.getfixturevalue("sentinels")
            sentinels.primary().call("FLUSHALL")
            return sentinels.url
        case _:
            cluster: Cluster = request.getfixturevalue("cluster")
            for primary, replica in request.getfixturevalue("pairs"):
                primary.call("FLUSHALL")
                wait_until(partial(_is_empty, replica), "its replica is empty")
            return f"{cluster.url}?read_from_replicas=true&{CONFIRMED}"


class Connect(Protocol):
    """Connects to the test's store, with options of its own."""

    def __call__(self, *, prefix: str = ..., socket_timeout: float = ...) -> Backend: ...


@pytest.fixture
def connect(request: pytest.FixtureRequest, variant: str, store_url: str) -> Connect:
    """Under asyncio, the backend is one there behind a bridge."""
    if not variant.endswith(UNDER_ASYNCIO):
        return partial(redisext.connect, store_url)
    loop: faces.Loop = request.getfixturevalue("loop")

    def connect(*, prefix: str | None = None, socket_timeout: float | None = None) -> Backend:
        return faces.Bridge(loop, redisext.aconnect(store_url, prefix=prefix, socket_timeout=socket_timeout))

    return connect


@pytest.fixture
def db(connect: Connect) -> Iterator[Backend]:
    """A backend on an empty store."""
    with connect() as db:
        yield db
