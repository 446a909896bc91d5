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
  are told to greet each other five times a second; before, it is every two seconds, and cannot be changed.
* The sentinels know each other and the replicas before the block begins: where they do not, they cannot agree.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final, Literal, TypeAlias, cast
from urllib.parse import quote

import hiredis

from tests.servers import Certificate, Group, RedisServer, in_step, wait_until

How: TypeAlias = Literal["ask", "kill", "pause"]
"""In what way a primary ceases to be one: on demand, by SIGKILL, or by SIGSTOP until another one is primary."""

DOWN_AFTER_MS: Final = 500
FAILOVER_TIMEOUT_MS: Final = 2000
HURRY: Final = {"PUBLISH-PERIOD": 200, "INFO-PERIOD": 500, "ASK-PERIOD": 200, "TILT-PERIOD": 1000}
"""In milliseconds. The last is for how long one does nothing when it had no processor for two seconds."""


class Sentinels(Group):
    """The group of one service: `with Sentinels() as them: ...`.

    `arguments`, `password` and `certificate` are those of each server with data; the sentinels have a password of their
    own, and the same certificate.
    """

    def __init__(
        self,
        *arguments: str,
        replicas: int = 2,
        service: str = "main",
        password: str = "",
        sentinel_password: str = "",
        certificate: Certificate | None = None,
    ) -> None:
        self.service = service
        self.password = password
        if password:
            arguments = ("--masterauth", password, *arguments)
        first = RewritingServer("", *arguments, password=password, certificate=certificate)
        follow = f"replicaof {first.host} {first.port}\n"
        self.servers: list[RedisServer] = [
            first,
            *(RewritingServer(follow, *arguments, password=password, certificate=certificate) for _ in range(replicas)),
        ]
        self.sentinels: list[RedisServer] = [
            Sentinel(service, first, password=sentinel_password, certificate=certificate) for _ in range(3)
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
        return self._named_by(next(one for one in self.sentinels if one.is_awake))

    def replicas(self) -> list[RedisServer]:
        """All but the primary, be they up or not."""
        primary = self.primary()
        return [one for one in self.servers if one is not primary]

    def fail_over(self, how: How) -> RedisServer:
        """Wait until all sentinels name another primary, which comes back; the rest may not have followed it yet."""
        old = self.primary()
        match how:
            case "ask":
                wait_until(self._ask, "the sentinels agree to fail over", 30, every=0.05)
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

    def _ask(self) -> bool:
        try:
            return self.sentinels[0].call("SENTINEL", "FAILOVER", self.service) == b"OK"
        except hiredis.ReplyError:  # it has not heard of a good replica yet; or one of before is under way still
            return False

    def _no_longer(self, old: RedisServer) -> bool:
        return all(self._named_by(one) is not old for one in self.sentinels if one.is_awake)

    def _named_by(self, sentinel: RedisServer) -> RedisServer:
        named = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        _, port = cast("list[bytes]", named)  # as Redis documents it
        return next(one for one in self.servers if one.port == int(port))

    def _is_settled(self) -> bool:
        try:
            named = {self._named_by(one) for one in self.sentinels}
            primary = named.pop()
            others = [one for one in self.servers if one is not primary]
            return not named and in_step(primary, others) and all(self._knows(one, primary) for one in self.sentinels)
        except (OSError, hiredis.ReplyError):  # one has not begun to listen, or is loading
            return False

    def _knows(self, sentinel: RedisServer, primary: RedisServer) -> bool:
        of_primary = _fields(sentinel.call("SENTINEL", "MASTER", self.service))
        listed = sentinel.call("SENTINEL", "REPLICAS", self.service)
        of_replicas = [_fields(one) for one in cast("list[object]", listed)]  # as Redis documents it
        return (
            of_primary["flags"] == "master"
            and of_primary["role-reported"] == "master"
            and of_primary["num-other-sentinels"] == str(len(self.sentinels) - 1)
            and len(of_replicas) == len(self.servers) - 1
            and all(
                (one["flags"], one["role-reported"], one["master-port"]) == ("slave", "slave", str(primary.port))
                for one in of_replicas
            )
        )


class RewritingServer(RedisServer):
    """One that has a configuration file, and writes into it what it is told."""

    def __init__(
        self, configuration: str, *arguments: str, password: str = "", certificate: Certificate | None = None
    ) -> None:
        super().__init__(*arguments, password=password, certificate=certificate)
        file = self._folder / "redis.conf"
        file.write_text(configuration)
        self.arguments.insert(0, str(file))


class Sentinel(RewritingServer):
    """One of three."""

    def __init__(self, service: str, primary: RedisServer, *, password: str, certificate: Certificate | None) -> None:
        settings = [
            f"monitor {service} {primary.host} {primary.port} 2",
            f"down-after-milliseconds {service} {DOWN_AFTER_MS}",
            f"failover-timeout {service} {FAILOVER_TIMEOUT_MS}",
            f"parallel-syncs {service} 10",
        ]
        if primary.password:
            settings.append(f"auth-pass {service} {primary.password}")
        configuration = "".join(f"sentinel {one}\n" for one in settings)
        super().__init__(configuration, "--sentinel", password=password, certificate=certificate)

    def start(self) -> None:
        super().start()
        with suppress(hiredis.ReplyError):  # before Redis 7.0 it cannot be told
            self.call("SENTINEL", "DEBUG", *(word for setting in HURRY.items() for word in setting))


def _fields(reply: object) -> dict[str, str]:
    """What a sentinel says of one server: a list of names and values."""
    texts = [one.decode() for one in cast("list[bytes]", reply)]  # as Redis documents it
    return dict(zip(texts[::2], texts[1::2], strict=True))
