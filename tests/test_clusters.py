"""The harness itself: what the other tests take for granted about a cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hiredis
import pytest

from tests.certificates import Authority
from tests.clusters import Cluster
from tests.proxy import Proxy
from tests.sentinels import How
from tests.servers import RedisServer, exchange


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    """An empty one."""
    shared.flush()
    return shared


def another_than(node: RedisServer, cluster: Cluster) -> RedisServer:
    return next(one for one in cluster.primaries() if one is not node)


def asking(node: RedisServer, *words: str) -> object:
    with socket.create_connection((node.host, node.port), timeout=10) as connection:
        exchange(connection, "ASKING")
        return exchange(connection, *words)


class TestLinked:
    def test_all_slots_are_served_by_primaries_that_have_a_replica_each(self, cluster: Cluster) -> None:
        primaries = cluster.primaries()
        replicas = [cluster.replica_of(one) for one in primaries]
        assert len(primaries) == 3
        assert {*primaries, *replicas} == set(cluster.nodes)
        for one in cluster.nodes:
            told = one.call("CLUSTER", "INFO")
            assert isinstance(told, bytes)
            assert b"cluster_state:ok" in told
            assert b"cluster_slots_ok:16384" in told

    @pytest.mark.parametrize("key", ["hits", "{hits}:today", "hits{}", "{", "a{b}{c}", "{{x}}", "ключ"])
    def test_it_knows_which_node_takes_a_key(self, cluster: Cluster, key: str) -> None:
        node = cluster.node_of(key)
        assert node.call("CLUSTER", "KEYSLOT", key) == cluster.slot(key)
        assert node.call("SET", key, "value") == b"OK"
        with pytest.raises(hiredis.ReplyError, match=f"MOVED {cluster.slot(key)} 127.0.0.1:{node.port}"):
            another_than(node, cluster).call("GET", key)

    def test_flush_forgets_all_keys(self, cluster: Cluster) -> None:
        for key in map(str, range(20)):
            cluster.node_of(key).call("SET", key, "value")
        cluster.flush()
        assert [one.call("DBSIZE") for one in cluster.primaries()] == [0, 0, 0]

    def test_the_url_names_all_nodes(self, cluster: Cluster) -> None:
        where = ",".join(f"127.0.0.1:{one.port}" for one in cluster.nodes)
        assert cluster.url == f"redis+cluster://{where}"

    def test_a_password_is_asked_for_and_clients_may_be_sent_through_proxies(self) -> None:
        cluster = Cluster(password="s3cret", full_coverage=False)
        with ExitStack() as stack:
            proxies = {one: stack.enter_context(Proxy(one.port)) for one in cluster.nodes}
            for node, proxy in proxies.items():
                cluster.announce(node, proxy.port)
            stack.enter_context(cluster)
            assert cluster.addresses == [(proxy.host, proxy.port) for proxy in proxies.values()]
            assert cluster.url.startswith(f"redis+cluster://:s3cret@127.0.0.1:{proxies[cluster.nodes[0]].port},")
            slot = cluster.slot("hits")
            node = cluster.node_of("hits")
            other = another_than(node, cluster)
            with pytest.raises(hiredis.ReplyError, match=f"MOVED {slot} 127.0.0.1:{proxies[node].port}"):
                other.call("GET", "hits")
            node.call("SET", "hits", "1")
            cluster.move_slot(slot, other)
            assert other.call("GET", "hits") == b"1"
            cluster.settled()
            cluster.fail_over(other, "kill")
            cluster.revive()
            assert cluster.node_of("hits").call("GET", "hits") == b"1"
            node.password = ""
            with pytest.raises(hiredis.ReplyError, match="NOAUTH"):
                node.call("PING")

    def test_all_may_speak_tls_alone(self, needs_tls: None, tmp_path: Path) -> None:
        with Cluster(certificate=Authority(tmp_path).vouch(mutual=True)) as cluster:
            assert cluster.url.startswith("rediss+cluster://127.0.0.1:")
            node = cluster.node_of("hits")
            node.call("SET", "hits", "1")
            cluster.settled()
            new = cluster.fail_over(node, "ask")
            cluster.settled()
            cluster.move_slot(cluster.slot("hits"), another_than(new, cluster))
            assert cluster.node_of("hits").call("GET", "hits") == b"1"


class TestFailover:
    @pytest.mark.parametrize("how", ["ask", "kill", "pause"])
    def test_its_replica_is_primary_and_the_old_one_becomes_its_replica(self, cluster: Cluster, how: How) -> None:
        old = cluster.node_of("hits")
        replica = cluster.replica_of(old)
        old.call("SET", "hits", "1")
        cluster.settled()
        assert cluster.fail_over(old, how) is replica
        assert cluster.node_of("hits") is replica
        cluster.revive()
        assert cluster.replica_of(replica) is old
        assert replica.call("GET", "hits") == b"1"


class TestMoving:
    def test_a_slot_moves_with_its_keys(self, cluster: Cluster) -> None:
        keys = [f"{{hits}}:{number}" for number in range(1_500)]
        old = cluster.node_of("hits")
        new = another_than(old, cluster)
        for key in keys:
            old.call("SET", key, "value")
        cluster.move_slot(cluster.slot("hits"), new)
        cluster.settled()
        assert cluster.node_of("hits") is new
        assert new.call("DBSIZE") == len(keys)
        with pytest.raises(hiredis.ReplyError, match=f"MOVED {cluster.slot('hits')} 127.0.0.1:{new.port}"):
            old.call("GET", keys[0])

    def test_a_slot_on_its_way_answers_at_both_ends(self, cluster: Cluster) -> None:
        slot = cluster.slot("hits")
        old = cluster.node_of("hits")
        new = another_than(old, cluster)
        for key in ("{hits}:moved", "{hits}:left"):
            old.call("SET", key, "value")
        with cluster.migrating(slot, new) as migration:
            migration.move("{hits}:moved")
            assert migration.keys() == [b"{hits}:left"]
            assert old.call("GET", "{hits}:left") == b"value"
            assert asking(new, "GET", "{hits}:moved") == b"value"
            with pytest.raises(hiredis.ReplyError, match=f"ASK {slot} 127.0.0.1:{new.port}"):
                old.call("GET", "{hits}:moved")
            with pytest.raises(hiredis.ReplyError, match=f"MOVED {slot} 127.0.0.1:{old.port}"):
                new.call("GET", "{hits}:moved")
            both = ("MGET", "{hits}:moved", "{hits}:left")
            with pytest.raises(hiredis.ReplyError, match="TRYAGAIN"):
                asking(new, *both)
            with pytest.raises(hiredis.ReplyError, match=r"TRYAGAIN|ASK"):  # the latter before Redis 7.0
                old.call(*both)
            assert cluster.node_of("hits") is old
        assert cluster.node_of("hits") is new
        assert new.call(*both) == [b"value", b"value"]

    def test_an_error_on_the_way_leaves_no_slot_there(self, cluster: Cluster) -> None:
        new = another_than(cluster.node_of("hits"), cluster)
        with pytest.raises(ZeroDivisionError), cluster.migrating(cluster.slot("hits"), new):
            raise ZeroDivisionError
        assert cluster.node_of("hits") is new
