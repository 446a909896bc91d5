"""Passwords, rights and TLS: who is let in, what is refused, and what is never shown."""

from __future__ import annotations

import os
import ssl
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import redis

import redisext
from redisext import Counter, Map, Queue
from redisext.backend.redis import Connection
from redisext.errors import ConfigurationError, ConnectionFailed, PermissionDenied, RedisextError
from tests.backend.observe import Sockets, blocked, connections, in_child, open_sockets
from tests.certificates import Authority, Secured
from tests.servers import RedisServer, free_port, wait_until

SECRET = "p@ss:w/rd?#%ü-s3cret"


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    """A server that asks for a password."""
    with RedisServer(password=SECRET) as server:
        yield server


class TestPasswords:
    def test_the_right_one_opens(self, locked: RedisServer) -> None:
        class Here(Connection):
            MASTER = {"host": locked.host, "port": locked.port, "password": SECRET}

        with redisext.connect(locked.url) as db, redisext.connect(locked.socket_url) as unix:
            locked.call("FLUSHALL")
            assert Counter[int]("hits", db).incr() == 1
            assert Counter[int]("hits", unix).incr() == 2
            assert Counter[int]("hits", Here).incr() == 3

    @pytest.mark.parametrize("userinfo", ["", ":wr%40ng@", "nobody:wr%40ng@"], ids=["missing", "wrong", "user"])
    def test_a_wrong_or_missing_one_is_a_mistake_of_configuration(
        self, locked: RedisServer, userinfo: str, sockets: Sockets
    ) -> None:
        where = f"redis://{locked.host}:{locked.port}/0"
        with redisext.connect(where.replace("//", f"//{userinfo}")) as db:
            for _ in range(2):
                with pytest.raises(ConfigurationError, match=f"{where} refused the user or the password") as refused:
                    Counter[int]("hits", db).incr()
                assert isinstance(refused.value, ValueError)
                assert isinstance(refused.value.__cause__, redis.exceptions.AuthenticationError)
            assert open_sockets() == sockets

    def test_one_given_to_a_server_that_has_none_is_refused_too(self, server: RedisServer, url: str) -> None:
        with (
            redisext.connect(url.replace("//", "//:needless@")) as db,
            pytest.raises(ConfigurationError, match="refused the user or the password"),
        ):
            Counter[int]("hits", db).incr()

    def test_no_text_shows_one(self, locked: RedisServer, server: RedisServer) -> None:
        quoted = locked.url.partition("//:")[2].partition("@")[0]
        right, wrong = locked.url, locked.url.replace(quoted, f"{quoted}x")
        nowhere = f"redis://user:{quoted}@127.0.0.1:{free_port()}/0"
        no_rights = f"redis://:{quoted}@{server.host}:{server.port}/0"
        shown: list[str] = []
        for url in (right, wrong, nowhere, no_rights):
            with redisext.connect(url, replicas=[url]) as db:
                hits = Counter[int]("hits", db)
                client = hits.connect_to_master()
                everything = (db, db.primary, hits, hits.commands, client, client.pipeline(), client.connection_pool)
                shown += [*map(repr, everything), *map(str, everything)]
                for use in (hits.incr, hits.get, partial(Queue[int]("hits", db).push, 1)):
                    shown += texts_of(use)
        for malformed in (
            f"redis://:{SECRET}@localhost",
            f"redis://:{quoted}@localhost:port",
            f"redis://:{quoted}@localhost/db",
            f"redis://:{quoted}@localhost?no_such_option=1",
            f"redis://:{quoted}@[::1",
            f"redis:// :{quoted}",
            f"http://:{quoted}@localhost",
            f"memory://:{quoted}@name",
            f"unix://:{quoted}@host/path",
        ):
            shown += texts_of(partial(Counter[int], "hits", malformed))

        class Misspelt(Connection):
            MASTER = {"pasword": SECRET, "host": "localhost"}

        class Bad(Connection):
            MASTER = {"password": SECRET, "host": "localhost", "port": "x"}

        for wrong_class in (Misspelt, Bad):
            shown += texts_of(partial(Counter[int], "hits", wrong_class))
        assert len(shown) > 50
        told = "\n".join(shown)
        assert "s3cret" not in told
        assert SECRET not in told


def texts_of(use: Callable[[], object]) -> list[str]:
    """All that the error of *use*, if there is one, and its causes show."""
    try:
        use()
    except RedisextError as error:
        return [str(error), repr(error), *traceback.format_exception(error)]
    return []


class TestRights:
    @pytest.fixture
    def limited(self, server: RedisServer, url: str) -> Iterator[str]:
        """A user who may read, and only keys that begin with "open:"."""
        server.call("ACL", "SETUSER", "reader", "on", ">secret", "~open:*", "+@read", "+@connection")
        yield url.replace("//", "//reader:secret@")
        server.call("ACL", "DELUSER", "reader")

    def test_a_command_that_the_user_may_not_run_is_named(self, limited: str) -> None:
        with (
            redisext.connect(limited) as db,
            pytest.raises(PermissionDenied, match=r"may not run INCRBY on key 'open:hits': .*'incrby'") as denied,
        ):
            Counter[int]("open:hits", db).incr()
        assert isinstance(denied.value, PermissionError)
        assert isinstance(denied.value.__cause__, redis.exceptions.NoPermissionError)

    def test_a_key_that_the_user_may_not_touch_is_named(self, limited: str) -> None:
        with redisext.connect(limited) as db:
            assert Counter[int]("open:hits", db).get() is None
            with pytest.raises(PermissionDenied, match="may not run GET on key 'hits'"):
                Counter[int]("hits", db).get()

    def test_a_script_that_the_user_may_not_run_is_named(self, limited: str) -> None:
        with (
            redisext.connect(limited) as db,
            pytest.raises(PermissionDenied, match="may not run rename if it exists on key 'open:hits'"),
        ):
            Counter[int]("open:hits", db).rename("open:visits")

    def test_a_database_that_the_user_may_not_enter_is_refused(self, server: RedisServer, url: str) -> None:
        server.call("ACL", "SETUSER", "walled", "on", ">secret", "~*", "+@all", "-select")
        try:
            with (
                redisext.connect(f"redis://walled:secret@{server.host}:{server.port}/2") as db,
                pytest.raises(PermissionDenied, match=r"refused the user: .*select"),
            ):
                Counter[int]("hits", db).get()
        finally:
            server.call("ACL", "DELUSER", "walled")


@pytest.fixture(scope="module")
def secured(needs_tls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One that is vouched for by its address."""
    secured = Secured(tmp_path_factory.mktemp("tls"), "127.0.0.1")
    with secured:
        yield secured


@pytest.mark.usefixtures("needs_tls")
class TestTLS:
    @pytest.fixture
    def stranger(self, tmp_path: Path) -> Path:
        """An authority that vouched for nobody here."""
        return Authority(tmp_path).file

    @pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
    def test_the_authority_is_named_by_its_file(self, secured: Secured, scheme: str) -> None:
        secured.call("FLUSHALL")
        url = secured.url.replace("rediss", scheme)
        with redisext.connect(url, ssl_ca_certs=str(secured.authority)) as db:
            hits = Counter[int]("hits", db)
            assert hits.incr() == 1
            assert repr(db) == f"<RedisBackend {secured.url}>"
        with redisext.connect(f"{url}?ssl_ca_certs={secured.authority}") as db:
            assert Counter[int]("hits", db).incr() == 2

    def test_the_systems_authorities_serve_where_none_is_named(
        self, secured: Secured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(secured.authority))
        secured.call("FLUSHALL")
        with redisext.connect(secured.url) as db:
            assert Counter[int]("hits", db).incr() == 1

    def test_one_that_is_named_is_the_only_one_trusted(
        self, secured: Secured, stranger: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(secured.authority))
        with (
            redisext.connect(secured.url, ssl_ca_certs=str(stranger)) as db,
            pytest.raises(ConnectionFailed, match="certificate"),
        ):
            Counter[int]("hits", db).incr()

    def test_an_unknown_authority_is_refused(self, secured: Secured, stranger: Path, sockets: Sockets) -> None:
        for authorities in (None, str(stranger)):
            with redisext.connect(secured.url, ssl_ca_certs=authorities) as db:
                with pytest.raises(ConnectionFailed) as refused:
                    Counter[int]("hits", db).incr()
                told = str(refused.value)
                assert told.startswith(f"the certificate of {secured.url} was refused: ")
                assert told.endswith("ssl_ca_certs names a file of the authorities to trust")
                assert open_sockets() == sockets

    def test_a_certificate_for_another_host_is_refused(self, tmp_path: Path) -> None:
        other = Secured(tmp_path, "redis.example", "127.0.0.2")
        with (
            other,
            redisext.connect(other.url, ssl_ca_certs=str(other.authority)) as db,
            pytest.raises(ConnectionFailed, match=r"not valid for '127\.0\.0\.1'"),
        ):
            Counter[int]("hits", db).incr()

    def test_a_command_that_waits_and_the_notice_of_idle_ends_are_the_same(self, secured: Secured, name: str) -> None:
        secured.call("FLUSHALL")
        with (
            redisext.connect(secured.url, ssl_ca_certs=str(secured.authority), client_name=name) as db,
            ThreadPoolExecutor(1) as threads,
        ):
            jobs, big = Queue[str]("jobs", db), Map[bytes]("big", db)
            waiting = threads.submit(jobs.pop_wait, 10)
            wait_until(lambda: blocked(secured) == 1, "the command waits")
            jobs.push("sweep")
            assert waiting.result(10) == "sweep"
            payload = os.urandom(1_000_000)
            assert big.set(payload)
            assert big.get() == payload
            for one in connections(secured, name):
                secured.call("CLIENT", "KILL", "ID", one)
            wait_until(lambda: connections(secured, name) == [], "all are closed")
            assert jobs.push("mop") == 1

    def test_a_fork_leaves_the_parents_session_intact(self, secured: Secured) -> None:
        secured.call("FLUSHALL")
        with redisext.connect(secured.url, ssl_ca_certs=str(secured.authority)) as db:
            hits = Counter[int]("hits", db)
            assert hits.incr() == 1
            assert in_child(lambda: (hits.incr(), db.close())) == "(2, None)"
            assert hits.incr() == 3

    def test_speaking_plainly_to_it_fails_clearly(self, secured: Secured) -> None:
        with (
            redisext.connect(secured.url.replace("rediss", "redis")) as db,
            pytest.raises(ConnectionFailed, match=f"cannot reach redis://127.0.0.1:{secured.port}/0: "),
        ):
            Counter[int]("hits", db).incr()
