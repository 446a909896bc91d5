"""What the tests of backends share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any, Protocol

import pytest

import redisext
from redisext import Backend
from tests.backend.observe import Sockets, open_sockets
from tests.blocks import DRIVERS, AsyncDriver, Driver, SyncDriver
from tests.faces import Bridge, Loop
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


class Opened(Protocol):
    """Connects to a DSN."""

    def __call__(self, url: str, **options: Any) -> Backend: ...


def open_on(loop: Loop | None, url: str, **options: Any) -> Backend:
    """A backend, or in a *loop* one for asyncio behind a bridge: any thread may use either."""
    return redisext.connect(url, **options) if loop is None else Bridge(loop, redisext.aconnect(url, **options))


@pytest.fixture(params=["sync", "asyncio"], scope="module")
def loop_or_none(request: pytest.FixtureRequest) -> Loop | None:
    """Where the backends of a test are: in no event loop, and in one."""
    return None if request.param == "sync" else request.getfixturevalue("loop")


@pytest.fixture
def opened(loop_or_none: Loop | None) -> Iterator[Opened]:
    """Opens a backend of either kind, which is closed after the test."""
    with ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(open_on(loop_or_none, url, **options))
