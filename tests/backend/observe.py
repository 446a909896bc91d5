"""What can be seen of a backend from outside: its sockets here, and its connections and commands on the server."""

from __future__ import annotations

import os
import re
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.servers import RedisServer

ROOT = Path(__file__).parent.parent.parent


Sockets: TypeAlias = frozenset[tuple[int, int]]
"""Each by its descriptor and its inode, which tells a new one on an old descriptor."""


def open_sockets() -> Sockets:
    """The sockets that this process has open."""
    found: set[tuple[int, int]] = set()
    for entry in Path("/dev/fd").iterdir():  # on Linux, this is /proc/self/fd
        descriptor = int(entry.name)
        try:
            status = os.fstat(descriptor)
        except OSError:  # that of the listing itself
            continue
        if stat.S_ISSOCK(status.st_mode):
            found.add((descriptor, status.st_ino))
    return frozenset(found)


def connections(server: RedisServer, name: str) -> list[str]:
    """The ids of the connections whose `client_name` is *name*."""
    listed = server.call("CLIENT", "LIST")
    assert isinstance(listed, bytes)
    return re.findall(rf"^id=(\d+) .* name={name} ", listed.decode(), re.MULTILINE)


def blocked(server: RedisServer) -> int:
    """How many connections wait in a blocking command."""
    return int(server.info("clients")["blocked_clients"])


def calls(server: RedisServer, command: str) -> int:
    """How often *command* was carried out since the server started."""
    line = server.info("commandstats").get(f"cmdstat_{command.lower()}", "calls=0")
    return int(line.partition(",")[0].removeprefix("calls="))


def run_python(
    source: str | Path, *arguments: str, flags: tuple[str, ...] = ("-X", "dev", "-W", "error"), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, in development mode, with warnings as errors."""
    program = [str(source)] if isinstance(source, Path) else ["-c", source]
    inherited = {name: value for name, value in os.environ.items() if name != "REDISEXT_URL"}
    return subprocess.run(
        [sys.executable, *flags, *program, *arguments],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


forking_threads = pytest.mark.filterwarnings(r"ignore:This process .* is multi-threaded:DeprecationWarning")
"""For tests that fork while there are threads: of which Python warns, as much can go wrong there."""


def in_child(work: Callable[[], object], timeout: float = 30) -> str:
    """What *work* gives in a forked child, as text; an error there, or no end of it, is one here."""
    receiving, sending = os.pipe()
    # Coverage's tracer has a lock, which another thread may hold at that instant: the child would wait for it for ever.
    tracer = sys.gettrace()
    sys.settrace(None)
    child = os.fork()
    if child == 0:
        try:
            told = str(work())
        except BaseException as error:  # noqa: BLE001  # whatever it is, the parent hears of it
            told = f"{type(error).__name__}: {error}"
        os.write(sending, told.encode())
        os._exit(0)
    sys.settrace(tracer)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        answered, _, _ = select.select([pipe], [], [], timeout)
        if not answered:
            os.kill(child, signal.SIGKILL)
        told = pipe.read().decode()
    os.waitpid(child, 0)
    assert answered, f"the child gave no answer within {timeout} s"
    return told
