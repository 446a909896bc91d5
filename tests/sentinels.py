"""A primary, its replicas, and the sentinels that watch over them: linked, failed over as often as wanted, ended.

    with Sentinels() as them, redisext.connect(them.url) as db:
        Counter[int]("hits", db).incr()
        them.fail_over("kill")
        Counter[int]("hits", db).incr()
        them.revive()

What makes it quick, and what makes it real:

* The servers keep what a sentinel tells them in a file, as services do. One that was killed as the primary comes back
  as one, with what it has saved if it does, and is one until the sentinels have told it otherwise.
* That they do when it has been wrong for four times as long as they wait between two greetings. From Redis 7.0 on they
  are told to greet each other five times a second. Before, that is every two seconds and cannot be changed, so there
  the server is told in their place as soon as it is waited for.
* A sentinel that hears of a new primary first asks it something after a second, or `down-after-milliseconds` if that is
  less, and takes it to be down if it has had no answer by then: so they are told to ask sooner, or to wait longer.
* The sentinels know each other and the replicas before the block begins: where they do not, they cannot agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias, cast
from urllib.parse import quote

import hiredis

from tests.servers import Certificate, Group, RedisServer, in_step, wait_until

How: TypeAlias = Literal["ask", "kill", "pause"]
"""In what way a primary ceases to be one: on demand, by SIGKILL, or by SIGSTOP until another one is primary."""

DOWN_AFTER_MS: Final = 500
DOWN_AFTER_MS_UNHURRIED: Final = 1500
FAILOVER_TIMEOUT_MS: Final = 2000
HURRY: Final = {
    "PUBLISH-PERIOD": 200,
    "PING-PERIOD": 250,  # a fifth of how old what is known of a replica may be that is to be primary: no less
    "INFO-PERIOD": 500,
    "ASK-PERIOD": 200,
    "TILT-PERIOD": 1000,  # for so long it does nothing when it had no processor for two seconds
}
"""In milliseconds."""


class Sentinels(Group):
    """The group of one service: `with Sentinels() as them: ...`.

    `arguments`, `password` and `certificate` are those of each server with data; the sentinels have a password of their
    own, and the same certificate. `found_at` tells for each server's port the one at which all others look for it, as
    that of a proxy.
    """

    def __init__(
        self,
        *arguments: str,
        replicas: int = 2,
        service: str = "main",
        password: str = "",
        sentinel_password: str = "",
        certificate: Certificate | None = None,
        found_at: Callable[[int], int] | None = None,
    ) -> None:
        self.service = service
        self.password = password
        if password:
            arguments = ("--masterauth", password, *arguments)
        self.servers = [
            RewritingServer("", *arguments, password=password, certificate=certificate) for _ in range(1 + replicas)
        ]
        self._found_at: dict[RedisServer, int] = {
            one: found_at(one.port) if found_at else one.port for one in self.servers
        }
        first, *others = self.servers
        for one in self.servers:
            one.arguments += ["--replica-announce-port", str(self._found_at[one])]
        for one in others:
            one.configure(f"replicaof {first.host} {self._found_at[first]}")
        self.sentinels = [
            Sentinel(service, first, self._found_at[first], password=sentinel_password, certificate=certificate)
            for _ in range(3)
        ]
        super().__init__([*self.servers, *self.sentinels])

    @property
    def url(self) -> str:
        first = self.servers[0]
        where = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return f"{first.scheme}+sentinel://{first.userinfo}{where}/{quote(self.service, safe='')}/0"

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Those of the sentinels."""
        return [(one.host, one.port) for one in self.sentinels]

    def primary(self) -> RedisServer:
        """The one that the sentinels name."""
        return self._named_by(self._awake()[0])

    def replicas(self) -> Sequence[RedisServer]:
        """All but the primary, be they up or not."""
        primary = self.primary()
        return [one for one in self.servers if one is not primary]

    def fail_over(self, how: How) -> RedisServer:
        """Wait until all sentinels name another primary, which comes back; the rest may not have followed it yet."""
        old = self.primary()
        match how:
            case "ask":
                wait_until(partial(self._ask_until, old), "the sentinels agree to fail over", 30, every=0.05)
            case "kill":
                old.kill()
            case "pause":
                old.pause()
        try:
            wait_until(partial(self._no_longer, old), f"another is primary than {old!r}", 30, every=0.02)
        finally:
            if how == "pause":
                old.resume()
        return self.primary()

    def revive(self) -> None:
        """Start all that were killed, and wait until they are what the sentinels want them to be."""
        for one in (*self.servers, *self.sentinels):
            if one.has_ended:
                one.start()
        self.settled()

    def settled(self) -> None:
        """Wait until there is one primary, all others have what it has, and all sentinels know it."""
        wait_until(self._is_settled, "the sentinels and servers have settled", 30, every=0.03)

    def _link(self) -> None:
        self.settled()

    def _ask_until(self, old: RedisServer) -> bool:
        """Ask until another is primary: what they have begun they may give up."""
        if self._named_by(self._awake()[0]) is not old:
            return True
        self._ask()
        return False

    def _ask(self) -> bool:
        try:
            return self._awake()[0].call("SENTINEL", "FAILOVER", self.service) == b"OK"
        except hiredis.ReplyError:  # it has not heard of a good replica yet; or one of before is under way still
            return False

    def _no_longer(self, old: RedisServer) -> bool:
        return all(self._named_by(one) is not old for one in self._awake())

    def _awake(self) -> list[Sentinel]:
        return [one for one in self.sentinels if one.is_awake]

    def _named_by(self, sentinel: RedisServer) -> RedisServer:
        named = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        _, port = cast("list[bytes]", named)  # as Redis documents it
        return next(one for one, found_at in self._found_at.items() if found_at == int(port))

    def _is_settled(self) -> bool:
        try:
            named = {self._named_by(one) for one in self.sentinels}
            primary = named.pop()
            others = [one for one in self.servers if one is not primary]
            if named:
                return False
            if not self.sentinels[0].is_quick:
                self._demote(others, primary)
            return in_step(primary, others) and all(self._knows(one, primary) for one in self.sentinels)
        except (OSError, hiredis.ReplyError):  # one has not begun to listen, or is loading
            return False

    def _demote(self, servers: Sequence[RedisServer], primary: RedisServer) -> None:
        """As the sentinels do, but at once."""
        for one in servers:
            if one.info("replication")["role"] == "master":
                one.call("REPLICAOF", primary.host, self._found_at[primary])
                one.call("CONFIG", "REWRITE")

    def _knows(self, sentinel: Sentinel, primary: RedisServer) -> bool:
        of_primary = _fields(sentinel.call("SENTINEL", "MASTER", self.service))
        listed = sentinel.call("SENTINEL", "REPLICAS", self.service)
        of_replicas = [_fields(one) for one in cast("list[object]", listed)]  # as Redis documents it
        return (
            of_primary["flags"] == "master"
            and of_primary["role-reported"] == "master"
            and of_primary["num-other-sentinels"] == str(len(self.sentinels) - 1)
            and len(of_replicas) == len(self.servers) - 1
            and all(one["flags"] == "slave" for one in of_replicas)
            and all(one["master-port"] == str(self._found_at[primary]) for one in of_replicas if sentinel.is_quick)
        )


class RewritingServer(RedisServer):
    """One that has a configuration file, and writes into it what it is told."""

    def __init__(
        self, configuration: str, *arguments: str, password: str = "", certificate: Certificate | None = None
    ) -> None:
        super().__init__(*arguments, password=password, certificate=certificate)
        self._file = self._folder / "redis.conf"
        self.configure(configuration)
        self.arguments.insert(0, str(self._file))

    def configure(self, configuration: str) -> None:
        """Before it is started: what stands in its file."""
        self._file.write_text(f"{configuration}\n")


class Sentinel(RewritingServer):
    """One of three."""

    def __init__(
        self,
        service: str,
        primary: RedisServer,
        port: int | None = None,
        *,
        password: str,
        certificate: Certificate | None,
    ) -> None:
        settings = [
            f"monitor {service} {primary.host} {port or primary.port} 2",
            f"down-after-milliseconds {service} {DOWN_AFTER_MS}",
            f"failover-timeout {service} {FAILOVER_TIMEOUT_MS}",
            f"parallel-syncs {service} 10",
        ]
        if primary.password:
            settings.append(f"auth-pass {service} {primary.password}")
        configuration = "".join(f"sentinel {one}\n" for one in settings)
        super().__init__(configuration, "--sentinel", password=password, certificate=certificate)
        self._service = service

    def start(self) -> None:
        super().start()
        if self.is_quick:
            self.call("SENTINEL", "DEBUG", *(word for setting in HURRY.items() for word in setting))
        else:
            self.call("SENTINEL", "SET", self._service, "down-after-milliseconds", DOWN_AFTER_MS_UNHURRIED)

    @property
    def is_quick(self) -> bool:
        return self.version >= (7,)


def _fields(reply: object) -> dict[str, str]:
    """What a sentinel says of one server: a list of names and values."""
    texts = [one.decode() for one in cast("list[bytes]", reply)]  # as Redis documents it
    return dict(zip(texts[::2], texts[1::2], strict=True))
