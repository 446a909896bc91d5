"""What the tests of backends share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from tests.backend.observe import Sockets, open_sockets
from tests.blocks import DRIVERS, AsyncDriver, Driver, SyncDriver
from tests.proxy import Proxy
from tests.servers import RedisServer

NAMES = count()


@pytest.fixture
def url(server: RedisServer) -> str:
    """The shared server, empty."""
    server.call("FLUSHALL")
    return server.url


@pytest.fixture
def name() -> str:
    """A `client_name` that no other test uses."""
    return f"backend-test-{next(NAMES)}"


@pytest.fixture
def sockets() -> Sockets:
    """Those that were open before the test, when all that other tests forgot was collected."""
    gc.collect()
    return open_sockets()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """One that a test may kill or configure."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A proxy before the shared server, which is empty."""
    server.call("FLUSHALL")
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(params=list(DRIVERS))
def kind_of_driver(request: pytest.FixtureRequest) -> type[SyncDriver | AsyncDriver]:
    return DRIVERS[request.param]


@pytest.fixture
def made(kind_of_driver: type[SyncDriver | AsyncDriver]) -> Iterator[Callable[..., Driver]]:
    """Makes a driver of a backend, which is closed after the test."""
    drivers: list[Driver] = []

    def make(url: str, **options: Any) -> Driver:
        drivers.append(kind_of_driver(url, **options))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.end()
