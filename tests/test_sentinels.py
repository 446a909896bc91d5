"""The harness itself: what the other tests take for granted about sentinels and those that they watch over."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import hiredis
import pytest

from tests.certificates import Authority
from tests.sentinels import How, Sentinels
from tests.servers import RedisServer, ServerFailed, wait_until


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with Sentinels(service="things") as sentinels:
        yield sentinels


def has_value(server: RedisServer) -> bool:
    return server.call("GET", "key") == b"value"


class TestLinked:
    def test_the_sentinels_name_the_primary_and_know_the_others(self, sentinels: Sentinels) -> None:
        primary = sentinels.primary()
        assert primary.info("replication")["connected_slaves"] == "2"
        assert {primary, *sentinels.replicas()} == set(sentinels.servers)
        for one in sentinels.sentinels:
            named = one.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "things")
            assert named == [b"127.0.0.1", str(primary.port).encode()]
            assert one.call("SENTINEL", "CKQUORUM", "things") == (
                b"OK 3 usable Sentinels. Quorum and failover authorization can be reached"
            )

    def test_the_replicas_repeat_what_the_primary_stores(self, sentinels: Sentinels) -> None:
        sentinels.primary().call("SET", "key", "value")
        for one in sentinels.replicas():
            wait_until(partial(has_value, one), "the replica has it")

    def test_the_url_names_the_sentinels_and_the_service(self, sentinels: Sentinels) -> None:
        one, two, three = (port for _, port in sentinels.addresses)
        assert sentinels.url == f"redis+sentinel://127.0.0.1:{one},127.0.0.1:{two},127.0.0.1:{three}/things/0"

    def test_passwords_are_asked_for_and_arguments_reach_the_servers_with_data(self) -> None:
        arguments = ("--min-replicas-to-write", "1")
        with Sentinels(*arguments, replicas=1, password="s3cret", sentinel_password="other") as them:
            assert them.url.startswith("redis+sentinel://:s3cret@127.0.0.1:")
            assert them.primary().call("SET", "key", "value") == b"OK"
            assert them.primary().call("CONFIG", "GET", "min-replicas-to-write") == [b"min-replicas-to-write", b"1"]
            them.fail_over("ask")
            for server in (them.servers[0], them.sentinels[0]):
                server.password = ""
                with pytest.raises(hiredis.ReplyError, match="NOAUTH"):
                    server.call("PING")

    def test_all_may_speak_tls_alone(self, needs_tls: None, tmp_path: Path) -> None:
        with Sentinels(replicas=1, certificate=Authority(tmp_path).vouch(mutual=True)) as them:
            assert them.url.startswith("rediss+sentinel://127.0.0.1:")
            assert them.fail_over("kill") is them.servers[1]

    def test_what_cannot_start_says_why(self) -> None:
        with pytest.raises(ServerFailed, match="no-such-option"), Sentinels("--no-such-option"):
            pytest.fail("it started")


class TestFailover:
    @pytest.mark.parametrize("how", ["ask", "kill", "pause"])
    def test_another_is_primary_and_the_old_one_becomes_its_replica(self, sentinels: Sentinels, how: How) -> None:
        old = sentinels.primary()
        new = sentinels.fail_over(how)
        assert new in {*sentinels.servers} - {old}
        new.call("SET", "key", "value")
        sentinels.revive()
        assert sentinels.primary() is new
        assert old in sentinels.replicas()
        for one in sentinels.replicas():
            assert one.info("replication")["master_port"] == str(new.port)
            assert has_value(one)

    def test_a_sentinel_that_was_killed_comes_back(self, sentinels: Sentinels) -> None:
        gone = sentinels.sentinels[0]
        gone.kill()
        new = sentinels.fail_over("ask")
        sentinels.revive()
        assert gone.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "things") == [b"127.0.0.1", str(new.port).encode()]
