"""What the tests of backends share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import count

import pytest

from tests.backend.observe import Sockets, open_sockets
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
