"""Passwords, rights and TLS under asyncio: who is let in, what is refused, and what is never shown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from redisext import AsyncCounter, AsyncHashMap, AsyncMap, AsyncQueue
from redisext.errors import ConfigurationError, ConnectionFailed, PermissionDenied
from tests.backend.observe import Sockets, connections, open_sockets
from tests.backend.tasks import connect, kill, run, until
from tests.backend.test_security import SECRET, texts_of
from tests.certificates import Authority, Secured
from tests.servers import RedisServer, free_port


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    """A server that asks for a password."""
    with RedisServer(password=SECRET) as server:
        yield server


class TestPasswords:
    def test_the_right_one_opens(self, locked: RedisServer) -> None:
        async def main() -> None:
            locked.call("FLUSHALL")
            async with connect(locked.url) as db, connect(locked.socket_url) as unix:
                assert await AsyncCounter[int]("hits", db).incr() == 1
                assert await AsyncCounter[int]("hits", unix).incr() == 2

        run(main)

    def test_a_wrong_or_missing_one_is_a_mistake_of_configuration_and_no_text_shows_one(
        self, locked: RedisServer, url: str, sockets: Sockets
    ) -> None:
        quoted = locked.url.partition("//:")[2].partition("@")[0]
        where = f"redis://{locked.host}:{locked.port}/0"
        shown: list[str] = []

        async def use_all(url: str) -> None:
            async with connect(url, replicas=[url]) as db:
                hits = AsyncCounter[int]("hits", db)
                client = hits.connect_to_master()
                everything = (db, db.primary, hits, hits.commands, client, client.pipeline(), client.connection_pool)
                shown.extend(map(repr, everything))
                shown.extend(map(str, everything))
                for use in (hits.incr, hits.get, AsyncQueue[int]("hits", db).pop_wait, db.client.ping):
                    await use()

        def fail(url: str) -> None:
            run(partial(use_all, url))

        for userinfo in ("", f":{quoted}x@", f"nobody:{quoted}@"):
            wrong = where.replace("//", f"//{userinfo}")
            with pytest.raises(ConfigurationError, match=f"{where} refused the user or the password"):
                fail(wrong)
            shown += texts_of(partial(fail, wrong))
        for refused in (f"redis://u:{quoted}@127.0.0.1:{free_port()}/0", url.replace("//", f"//:{quoted}@")):
            shown += texts_of(partial(fail, refused))
        assert len(shown) > 80
        assert "s3cret" not in "\n".join(shown)
        assert open_sockets() == sockets

    def test_what_a_user_may_not_do_is_named(self, server: RedisServer, url: str) -> None:
        server.call("ACL", "SETUSER", "reader", "on", ">secret", "~open:*", "+@read", "+@connection")

        async def main() -> None:
            async with connect(url.replace("//", "//reader:secret@")) as db:
                assert await AsyncCounter[int]("open:hits", db).get() is None
                with pytest.raises(PermissionDenied, match=r"may not run INCRBY on key 'open:hits'"):
                    await AsyncCounter[int]("open:hits", db).incr()
                with pytest.raises(PermissionDenied, match=r"may not run GET on key 'hits'"):
                    await AsyncCounter[int]("hits", db).get()
                with pytest.raises(PermissionDenied, match=r"may not run set a field unless it is there"):
                    await AsyncHashMap[str, int]("open:stock", db).setdefault("apples", 1)

        try:
            run(main)
        finally:
            server.call("ACL", "DELUSER", "reader")


@pytest.fixture(scope="module")
def secured(needs_tls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server that speaks TLS, and is vouched for by its address."""
    secured = Secured(tmp_path_factory.mktemp("tls"), "127.0.0.1")
    with secured:
        yield secured


class TestTLS:
    def test_it_works_as_in_plain_text(self, secured: Secured, name: str) -> None:
        secured.call("FLUSHALL")

        async def main() -> None:
            before = open_sockets()
            async with connect(secured.url, ssl_ca_certs=str(secured.authority), client_name=name) as db:
                hits, jobs, big = AsyncCounter[int]("hits", db), AsyncQueue[int]("jobs", db), AsyncMap[bytes]("big", db)
                assert repr(db) == f"<AsyncRedisBackend {secured.url}>"
                payload = os.urandom(3_000_000)
                for turn in range(1, 6):
                    waiting = asyncio.create_task(jobs.pop_wait(10))
                    counted = await asyncio.gather(*(hits.incr() for _ in range(100)))
                    assert counted == list(range(100 * turn - 99, 100 * turn + 1))
                    assert await big.set(payload)
                    assert await big.get() == payload
                    await jobs.push(turn)
                    assert await waiting == turn
                    kill(secured, name)
                assert await db.client.ping()
            await until(lambda: connections(secured, name) == [], "the server has seen them end")
            assert open_sockets() == before

        run(main)

    def test_only_the_authority_that_is_named_is_trusted(
        self, secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sockets: Sockets
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(secured.authority))
        stranger = Authority(tmp_path).file

        async def main() -> None:
            async with connect(secured.url) as db:
                await AsyncCounter[int]("hits", db).incr()
            async with connect(secured.url, ssl_ca_certs=str(stranger)) as db:
                for use in (AsyncCounter[int]("hits", db).incr, db.client.ping):
                    with pytest.raises((ConnectionFailed, redis.exceptions.ConnectionError), match="certificate"):
                        await use()
                with pytest.raises(ConnectionFailed, match=f"^the certificate of {secured.url} was refused: "):
                    await AsyncQueue[int]("jobs", db).pop_wait()

        run(main)
        assert open_sockets() == sockets

    def test_a_certificate_for_another_host_is_refused(self, secured: Secured, tmp_path: Path) -> None:
        other = Secured(tmp_path, "redis.example", "127.0.0.2")

        async def main() -> None:
            async with connect(other.url, ssl_ca_certs=str(other.authority)) as db:
                with pytest.raises(ConnectionFailed, match=r"not valid for '127\.0\.0\.1'"):
                    await AsyncCounter[int]("hits", db).incr()

        with other:
            run(main)
