"""The harness itself: what the other tests take for granted about their servers."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import hiredis
import pytest

from tests import servers
from tests.certificates import Authority
from tests.servers import (
    Capability,
    Certificate,
    RedisServer,
    Replicated,
    ServerFailed,
    ServerNotFound,
    exchange,
    find_redis_server,
    free_port,
    wait_until,
)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """One that a test may kill."""
    with RedisServer() as server:
        yield server


def is_listening(server: RedisServer) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((server.host, server.port)) == 0


def has_value(server: RedisServer) -> bool:
    return server.call("GET", "key") == b"value"


class TestRunning:
    def test_it_answers_on_its_own_port_and_socket(self, own_server: RedisServer) -> None:
        assert own_server.port != 6379
        assert own_server.url == f"redis://127.0.0.1:{own_server.port}/0"
        assert own_server.call("ECHO", "hello") == b"hello"
        assert Path(urlsplit(own_server.socket_url).path).is_socket()

    def test_it_starts_empty_and_saves_nothing(self, own_server: RedisServer) -> None:
        assert own_server.call("DBSIZE") == 0
        assert own_server.call("CONFIG", "GET", "save") == [b"save", b""]
        assert own_server.call("CONFIG", "GET", "appendonly") == [b"appendonly", b"no"]

    def test_the_drivers_own_client_reaches_it(self, own_server: RedisServer) -> None:
        with own_server.client() as client:
            client.set("key", "value")
        assert own_server.call("GET", "key") == b"value"

    def test_a_password_is_asked_for_and_part_of_the_url(self) -> None:
        with RedisServer(password="s3:cr@t/") as server:
            assert server.url == f"redis://:s3%3Acr%40t%2F@127.0.0.1:{server.port}/0"
            assert server.call("PING") == b"PONG"
            server.password = ""
            with pytest.raises(hiredis.ReplyError, match="NOAUTH"):
                server.call("PING")

    def test_arguments_reach_the_server(self) -> None:
        with RedisServer("--maxclients", "77") as server:
            assert server.call("CONFIG", "GET", "maxclients") == [b"maxclients", b"77"]

    def test_it_tells_its_version_and_what_it_can_do(self, own_server: RedisServer) -> None:
        assert own_server.version >= (6, 2)
        assert (Capability.FUNCTIONS in own_server.capabilities) == (own_server.version >= (7,))


class TestEnding:
    def test_stop_ends_the_process(self, own_server: RedisServer) -> None:
        own_server.stop()
        assert not is_listening(own_server)
        own_server.stop()

    def test_leaving_the_block_by_an_error_ends_it_too(self) -> None:
        server = RedisServer()
        with pytest.raises(ZeroDivisionError), server:
            raise ZeroDivisionError
        assert not is_listening(server)

    def test_a_paused_one_ends_too(self, own_server: RedisServer) -> None:
        own_server.pause()
        assert not own_server.is_awake
        own_server.stop()
        assert own_server.has_ended
        assert not is_listening(own_server)

    def test_the_interpreters_end_ends_all_that_are_left(self) -> None:
        program = (
            "from tests.servers import RedisServer\n"
            "servers = [RedisServer(), RedisServer()]\n"
            "for server in servers:\n"
            "    server.start()\n"
            "    print(server.port)\n"
            "servers[0].pause()\n"
            "raise ZeroDivisionError\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "ZeroDivisionError" in done.stderr
        for port in done.stdout.split():
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(port))) != 0

    def test_forgetting_it_ends_it_and_removes_its_folder(self) -> None:
        server = RedisServer()
        server.start()
        port, folder = server.port, Path(urlsplit(server.socket_url).path).parent
        del server
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        assert not folder.exists()

    def test_after_a_kill_it_starts_again_in_the_same_place(self, own_server: RedisServer) -> None:
        place = own_server.url, own_server.socket_url
        own_server.call("SET", "key", "value")
        own_server.kill()
        assert not is_listening(own_server)
        own_server.start()
        assert (own_server.url, own_server.socket_url) == place
        assert own_server.call("GET", "key") is None

    def test_restart_gives_an_empty_one(self, own_server: RedisServer) -> None:
        own_server.call("SET", "key", "value")
        own_server.restart()
        assert own_server.call("DBSIZE") == 0

    def test_one_that_cannot_start_says_why(self) -> None:
        with pytest.raises(ServerFailed, match="no-such-option"), RedisServer("--no-such-option"):
            pytest.fail("it started")


class TestPausing:
    def test_what_it_got_meanwhile_it_carries_out_later(self, own_server: RedisServer) -> None:
        own_server.pause()
        with socket.create_connection((own_server.host, own_server.port), timeout=0.1) as connection:
            with pytest.raises(TimeoutError):
                exchange(connection, "SET", "key", "value")
            own_server.resume()
            wait_until(partial(has_value, own_server), "it was carried out")


@pytest.mark.usefixtures("needs_tls")
class TestCertificates:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    def test_it_speaks_tls_alone(self, authority: Authority) -> None:
        with RedisServer(certificate=authority.vouch(), password="secret") as server:
            assert server.url == f"rediss://:secret@127.0.0.1:{server.port}/0"
            assert server.call("PING") == b"PONG"
            assert ask_in_tls(server, authority, "AUTH", "secret") == b"OK"
            with (
                socket.create_connection((server.host, server.port), timeout=10) as connection,
                pytest.raises(ConnectionError),
            ):
                exchange(connection, "PING")

    @pytest.mark.parametrize(
        ("name", "expired", "reason"),
        [("127.0.0.1", True, "has expired"), ("redis.example", False, "IP address mismatch")],
    )
    def test_clients_refuse_a_wrong_one(self, authority: Authority, name: str, expired: bool, reason: str) -> None:
        with (
            RedisServer(certificate=authority.vouch(name, expired=expired)) as server,
            pytest.raises(ssl.SSLCertVerificationError, match=reason),
        ):
            ask_in_tls(server, authority, "PING")

    def test_a_mutual_one_demands_one_of_the_client(self, authority: Authority) -> None:
        with RedisServer(certificate=authority.vouch(mutual=True)) as server:
            assert ask_in_tls(server, authority, "PING", shown=authority.vouch("client.example")) == b"PONG"
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask_in_tls(server, authority, "PING")

    def test_replicas_are_linked_in_tls_too(self, authority: Authority) -> None:
        with Replicated(certificate=authority.vouch(mutual=True)) as servers:
            servers.primary.call("SET", "key", "value")
            wait_until(partial(has_value, servers.replicas[0]), "the replica has it")


def ask_in_tls(server: RedisServer, authority: Authority, *words: str, shown: Certificate | None = None) -> object:
    context = ssl.create_default_context(cafile=authority.file)
    if shown is not None:
        context.load_cert_chain(shown.file, shown.key)
    with (
        socket.create_connection((server.host, server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=server.host) as connection,
    ):
        return exchange(connection, *words)


class TestGroups:
    def test_where_one_cannot_start_the_others_end(self) -> None:
        servers = Replicated(replicas=1)
        servers.replicas[0].arguments.append("--no-such-option")
        with pytest.raises(ServerFailed, match="no-such-option"), servers:
            pytest.fail("it started")
        assert servers.primary.has_ended
        assert not is_listening(servers.primary)

    def test_all_end_be_they_killed_or_paused(self) -> None:
        with Replicated(replicas=2) as servers:
            servers.primary.kill()
            servers.replicas[0].pause()
        assert [is_listening(one) for one in (servers.primary, *servers.replicas)] == [False] * 3

    def test_no_port_is_given_twice(self) -> None:
        ports = [free_port(and_above=10_000) for _ in range(100)]
        assert len({*ports, *(port + 10_000 for port in ports), *(free_port() for _ in range(100))}) == 300


@pytest.mark.parametrize("password", ["", "secret"], ids=["open", "password"])
def test_replicas_repeat_what_the_primary_stores(password: str) -> None:
    with Replicated(replicas=2, password=password) as servers:
        servers.primary.call("SET", "key", "value")
        for replica in servers.replicas:
            wait_until(partial(has_value, replica), "the replica has it")
            assert replica.call("GET", "key") == b"value"
            with pytest.raises(hiredis.ReplyError, match="READONLY"):
                replica.call("SET", "key", "other")


class TestFinding:
    def test_the_environment_names_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        named = tmp_path / "my-redis"
        named.symlink_to(find_redis_server())
        monkeypatch.setenv("REDIS_SERVER", str(named))
        assert find_redis_server() == named

    def test_a_wrong_name_in_the_environment_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_SERVER", "/no/such/redis-server")
        with pytest.raises(ServerNotFound, match="REDIS_SERVER is '/no/such/redis-server'"):
            RedisServer()

    def test_where_there_is_none_the_error_tells_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REDIS_SERVER", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setattr(servers, "CACHE", tmp_path / "cache")
        with pytest.raises(ServerNotFound, match="set REDIS_SERVER"):
            find_redis_server()
        assert list((tmp_path / "cache").iterdir()) == []
