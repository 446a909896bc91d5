"""What the tests share: a real server, and one store for each backend they must hold on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import hypothesis
import pytest

import redisext
from redisext.backend.abc import Backend
from tests.servers import (
    Capability,
    RedisServer,
    Replicated,
    ServerNotFound,
    find_redis_server,
)

# `ci` looks for new examples in every run; `print_blob` shows how to repeat one that failed.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.register_profile("thorough", hypothesis.settings.get_profile("ci"), max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

SERVER_USED = pytest.StashKey[str]()
NAMES = count()


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
    if SERVER_USED in config.stash:
        terminalreporter.section("server")
        terminalreporter.line(config.stash[SERVER_USED])


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Iterator[RedisServer]:
    """The server that tests share; a test that kills or configures one starts its own."""
    with RedisServer() as server:
        version = ".".join(map(str, server.version))
        lacks = [str(one) for one in Capability if one not in server.capabilities]
        pytestconfig.stash[SERVER_USED] = f"{server.binary}, version {version}" + (
            f"; it cannot do, so nothing tested it: {', '.join(lacks)}" if lacks else ""
        )
        yield server


@pytest.fixture(scope="session")
def replicated() -> Iterator[Replicated]:
    """The primary and replica that tests share."""
    with Replicated() as servers:
        yield servers


@pytest.fixture(params=["embedded", "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty store on each kind of backend that the contract holds on."""
    if request.param == "embedded":
        return f"memory://test-{next(NAMES)}"
    server: RedisServer = request.getfixturevalue("server")
    server.call("FLUSHALL")
    return server.url


@pytest.fixture
def db(store_url: str) -> Iterator[Backend]:
    """A backend on an empty store."""
    with redisext.connect(store_url) as db:
        yield db
