"""Who gets what, as far as that is decided without a word to any server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Sequence
from typing import Any, cast

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from redisext.backend.cluster import Cluster
from redisext.backend.topology import (
    Ask,
    CallMany,
    Nodes,
    Once,
    Trial,
    _Health,  # pyright: ignore[reportPrivateUsage]  # it is tested by itself
    _Reading,  # pyright: ignore[reportPrivateUsage]  # as below
)
from redisext.command import Command, Op, Reply, Wait
from redisext.dsn import Configuration, parse
from redisext.errors import ArgumentError, ConfigurationError, ConnectionFailed, CrossSlot, PermissionDenied
from redisext.pending import Pending
from redisext.reply import as_it_is
from redisext.slots import SLOTS, slot


class Server:
    """A node that only has an address, and knows whether its connections were cut."""

    def __init__(self, where: Configuration) -> None:
        self.where = where
        self.was_cut = False

    def cut(self) -> None:
        self.was_cut = True

    def end(self) -> None:
        self.was_cut = True

    def __repr__(self) -> str:
        return f"{self.where.host}:{self.where.port}{' readonly' if self.where.readonly else ''}"


def said(route: Generator[Any, object, Server | tuple[Server, ...]], answers: dict[str, object]) -> object:
    """What a route comes to, if each server answers so, or raises it; one that is not named is not there."""
    try:
        request = next(route)
        while True:
            try:
                one = cast("Once[Server]", request)  # it yields nothing else
                asked(one.route(), answers)
            except Exception as error:  # noqa: BLE001  # the route decides what becomes of it
                request = route.throw(error)
            else:
                request = route.send(None)
    except StopIteration as stop:
        return stop.value


def asked(route: Generator[Any, object, None], answers: dict[str, object]) -> None:
    try:
        request = next(route)
        while True:
            ask = cast("Ask[Server]", request)  # as above
            assert ask.words == [("CLUSTER", "SLOTS")]
            answer = answers.get(str(ask.node), ConnectionFailed(f"{ask.node} is not there"))
            if isinstance(answer, (ConnectionFailed, PermissionDenied)):
                answer.retriable = isinstance(answer, ConnectionFailed)
                request = route.throw(answer)
            else:
                request = route.send([answer])
    except StopIteration:
        return


def a_cluster(dsn: str = "redis+cluster://seed,other") -> Cluster[Server]:
    cluster = Cluster(parse(dsn), Nodes(Server))
    cluster._turn = itertools.count()  # pyright: ignore[reportPrivateUsage]  # else one of them begins, by chance
    return cluster


def shard(first: int, last: int, *nodes: tuple[bytes | None, bytes | int | None]) -> Reply:
    rest: list[Reply] = [[host, port, b"id", []] for host, port in nodes]
    return [first, last, *rest]


def primary_of(cluster: Cluster[Server], key: bytes, answers: dict[str, object]) -> str:
    return str(said(cluster.primary("GET", [key]), answers))


class TestSlots:
    @given(st.binary())
    def test_a_key_is_in_the_slot_in_which_others_take_it_to_be(self, key: bytes) -> None:
        assert slot(key) == key_slot(key)
        assert 0 <= slot(key) < SLOTS

    @given(st.lists(st.sampled_from([b"{", b"}", b"a", b"\n", b"\xff"])).map(b"".join))
    def test_so_it_is_with_braces_of_all_sorts(self, key: bytes) -> None:
        assert slot(key) == key_slot(key)

    @given(st.binary(min_size=1).filter(lambda tag: b"}" not in tag), st.binary(), st.binary())
    def test_a_hash_tag_decides_whatever_stands_around_it(self, tag: bytes, before: bytes, after: bytes) -> None:
        before = before.replace(b"{", b"")
        assert slot(before + b"{" + tag + b"}" + after) == slot(b"{" + tag + b"}")


class TestWhoHasWhat:
    HALVES: Reply = [shard(0, 8_000, (b"a", 1), (b"ra", 1)), shard(8_001, SLOTS - 1, (b"b", 1), (b"rb", 1))]

    def test_any_node_tells(self) -> None:
        cluster = a_cluster()
        answers: dict[str, object] = {"other:6379": self.HALVES}
        assert slot(b"jobs") > 8_000
        assert primary_of(cluster, b"jobs", answers) == "b:1"
        assert slot(b"hits") < 8_000
        assert primary_of(cluster, b"hits", {}) == "a:1"

    def test_replicas_are_learned_if_they_are_to_answer(self) -> None:
        for option, replicas in (("true", "(rb:1 readonly,)"), ("false", "()")):
            cluster = a_cluster(f"redis+cluster://seed?read_from_replicas={option}")
            assert str(said(cluster.replicas([b"jobs"]), {"seed:6379": self.HALVES})) == replicas

    def test_one_range_may_be_of_one_slot_and_a_node_may_have_many(self) -> None:
        number = slot(b"jobs")
        answer: Reply = [
            shard(0, number - 1, (b"a", 1)),
            shard(number, number, (b"b", 1)),
            shard(number + 1, SLOTS - 1, (b"a", 1)),
        ]
        cluster = a_cluster()
        assert primary_of(cluster, b"jobs", {"seed:6379": answer}) == "b:1"
        assert primary_of(cluster, b"hits", {}) == "a:1"

    @pytest.mark.parametrize("host", [None, b""])
    def test_a_node_that_does_not_know_its_own_name_is_where_it_was_asked(self, host: bytes | None) -> None:
        cluster = a_cluster("redis+cluster://seed?read_from_replicas=true")
        answer: Reply = [shard(0, SLOTS - 1, (host, 7000), (b"r", 1))]
        assert primary_of(cluster, b"jobs", {"seed:6379": answer}) == "seed:7000"
        assert str(said(cluster.replicas([b"jobs"]), {})) == "(r:1 readonly,)"

    @pytest.mark.parametrize(
        "nodes", [[(b"?", 7000)], [], [(b"?", 7000), (b"r", 1)], [(b"a", b"7000")], [(b"a", None)]], ids=repr
    )
    def test_a_slot_whose_primary_is_not_named_is_nobodys(
        self, nodes: list[tuple[bytes | None, bytes | int | None]]
    ) -> None:
        """A command goes to any node then, which says what is wrong."""
        cluster = a_cluster("redis+cluster://seed?read_from_replicas=true")
        answer: Reply = [shard(0, 8_000, (b"a", 1), (b"?", 1), (b"r", 1)), shard(8_001, SLOTS - 1, *nodes)]
        assert primary_of(cluster, b"jobs", {"seed:6379": answer}) == "a:1"
        assert said(cluster.replicas([b"jobs"]), {}) == ()
        assert str(said(cluster.replicas([b"hits"]), {})) == "(r:1 readonly,)"
        assert cluster.known_primary([b"jobs"]) is None
        assert cluster.known_replicas([b"jobs"]) is None

    @pytest.mark.parametrize("answer", [[], None, b"OK", [5], [[]], [[1]], [[0, 5]], [[b"0", 5, [b"a", 1]]]], ids=repr)
    def test_a_node_that_knows_of_nobody_is_asked_itself(self, answer: Reply) -> None:
        cluster = a_cluster()
        assert primary_of(cluster, b"jobs", {"seed:6379": answer}) == "seed:6379"

    def test_nobody_is_known_before_somebody_was_asked(self) -> None:
        cluster = a_cluster()
        assert cluster.known_primary([b"jobs"]) is None
        primary_of(cluster, b"jobs", {"seed:6379": self.HALVES})
        assert str(cluster.known_primary([b"jobs"])) == "b:1"
        assert cluster.known_replicas([b"jobs"]) == ()
        assert cluster.known_primary([b"jobs", b"{jobs}:done"]) is None

    def test_where_none_answers_the_seeds_are_named(self) -> None:
        with pytest.raises(
            ConnectionFailed, match=r"redis\+cluster://seed:6379,other:6379 .*(seed|other):6379 is not there"
        ):
            primary_of(a_cluster(), b"jobs", {})

    def test_who_must_not_ask_does_not_go_on_asking(self) -> None:
        answers: dict[str, object] = dict.fromkeys(("seed:6379", "other:6379"), PermissionDenied("no"))
        with pytest.raises(PermissionDenied):
            primary_of(a_cluster(), b"jobs", answers)

    def test_a_server_by_itself_is_no_cluster(self) -> None:
        refusal = redis.exceptions.ResponseError("ERR This instance has cluster support disabled")
        with pytest.raises(ConfigurationError, match=r"seed:6379/0 is not in a cluster: name it redis://seed:6379/0$"):
            primary_of(a_cluster(), b"jobs", {"seed:6379": refusal})

    def test_connections_to_who_is_no_primary_any_more_are_cut(self) -> None:
        cluster = a_cluster()
        primary_of(cluster, b"jobs", {"seed:6379": self.HALVES})
        a, b = (cluster.known_primary([key]) for key in (b"hits", b"jobs"))
        assert a is not None
        assert b is not None
        cluster.heard(b, _retriable())
        assert primary_of(cluster, b"jobs", {"a:1": [shard(0, SLOTS - 1, (b"a", 1))]}) == "a:1"
        assert (a.was_cut, b.was_cut) == (False, True)

    def test_who_did_not_answer_is_asked_last(self) -> None:
        cluster = a_cluster()
        primary_of(cluster, b"jobs", {"other:6379": self.HALVES})
        a = cluster.known_primary([b"hits"])
        assert a is not None
        cluster.heard(a, _retriable())
        other: Reply = [shard(0, SLOTS - 1, (b"c", 1))]
        assert primary_of(cluster, b"jobs", {"a:1": self.HALVES, "b:1": other, "seed:6379": self.HALVES}) == "c:1"

    def test_keys_of_several_slots_are_told_apart_before_anybody_is_asked(self) -> None:
        with pytest.raises(CrossSlot, match=r"^RENAME .*\('jobs', 'done'\).*'\{jobs\}:a' and '\{jobs\}:b'$"):
            next(a_cluster().primary("RENAME", [b"jobs", b"done"]))
        with pytest.raises(ArgumentError, match="a transaction in a cluster watches a key at least"):
            next(a_cluster().primary("a transaction", []))


def _retriable() -> ConnectionFailed:
    error = ConnectionFailed("it does not answer")
    error.retriable = True
    return error


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


REPLICAS = tuple(Server(Configuration(host=host)) for host in "abc")


class TestReplicasInTurn:
    def order(self, health: _Health[Server], replicas: Sequence[Server] = REPLICAS) -> str:
        return "".join(one.where.host for one in health.in_turn(tuple(replicas)))

    def test_each_is_first_once(self) -> None:
        health = _Health[Server](0)
        assert [self.order(health) for _ in range(4)] == ["abc", "bca", "cab", "abc"]
        assert self.order(health, ()) == ""

    def test_one_that_fails_is_left_alone_for_longer_each_time(self, clock: Clock) -> None:
        health = _Health[Server](0)
        a, *_ = REPLICAS
        for rest in (0.5, 1, 2, 4, 8, 15, 15):
            health.failed(a)
            clock.now += rest * 0.99
            assert "a" not in self.order(health)
            clock.now += rest * 0.02
            assert "a" in self.order(health)
        health.answered(a)
        health.failed(a)
        clock.now += 0.51
        assert "a" in self.order(health)

    def test_where_all_are_down_the_first_to_have_failed_is_tried_first(self, clock: Clock) -> None:
        health = _Health[Server](0)
        for one in (REPLICAS[1], REPLICAS[2], REPLICAS[0]):
            health.failed(one)
            clock.now += 0.1
        assert self.order(health) == self.order(health) == "bca"

    def test_how_they_are_is_looked_at_once_in_a_while(self, clock: Clock) -> None:
        health = _Health[Server](0)
        a, *_ = REPLICAS
        assert health.any_of(REPLICAS) is None
        assert [health.is_due(one) for one in (*REPLICAS, *REPLICAS)] == [True] * 3 + [False] * 3
        assert [str(health.any_of(REPLICAS)) for _ in range(4)] == ["a:6379", "b:6379", "c:6379", "a:6379"]
        clock.now += 1
        assert health.any_of(REPLICAS) is None
        assert health.is_due(a)
        health.failed(a)
        assert health.is_due(a)
        assert health.any_of((a,)) is None


class TestReplicasThatFail:
    def test_one_fails_once_however_many_commands_of_a_batch_it_was_to_carry_out(self, clock: Clock) -> None:
        cluster = a_cluster()
        reading = _Reading[Server]()
        a, *_ = REPLICAS
        for _ in range(10):
            assert cluster._pass_on(a, _retriable(), reading)  # pyright: ignore[reportPrivateUsage]
        clock.now += 0.51
        assert cluster._health.in_turn((a, REPLICAS[1]))[0] is a  # pyright: ignore[reportPrivateUsage]

    def test_what_is_no_fault_of_its_own_is_not_passed_on(self) -> None:
        reading = _Reading[Server]()
        assert not a_cluster()._pass_on(REPLICAS[0], PermissionDenied("no"), reading)  # pyright: ignore[reportPrivateUsage]
        assert reading.tried == set()


class TestTrial:
    def test_what_is_sent_on_and_on_ends(self) -> None:
        trial = Trial[Server](Configuration())
        for _ in range(15):
            assert list(trial.begin_turn()) == []
            assert not trial.over
        assert list(trial.begin_turn()) == []
        assert trial.over

    @pytest.mark.parametrize("where", ["redis://h?socket_timeout=3", "redis://h?socket_timeout=3&deadline=30"])
    def test_what_is_waited_for_ends_with_the_timeout(self, clock: Clock, where: str) -> None:
        """A deadline is for several attempts."""
        trial = Trial[Server](parse(where))
        trial.waits = True
        for _ in range(100):
            assert not trial.over
            [wait] = trial.begin_turn()
            assert isinstance(wait, Wait)
            assert 0 <= wait.seconds <= 0.1
        clock.now += 3
        assert trial.over


def test_what_a_later_one_has_overtaken_on_the_move_is_not_sent_on() -> None:
    """The first is sent elsewhere, the second on the same key was carried out: sent now, the first would undo it."""
    cluster = a_cluster()
    primary_of(cluster, b"jobs", {"seed:6379": [shard(0, SLOTS - 1, (b"a", 1))]})
    first, second = (Pending(Command(Op("SET"), (b"jobs",), (), as_it_is)) for _ in range(2))
    route = cluster.call_many([first, second], from_replicas=False)
    request = next(route)
    assert isinstance(request, CallMany)
    moved = ConfigurationError("it is not here")
    moved.__cause__ = redis.exceptions.MovedError(f"{slot(b'jobs')} b:1")
    first.fail(moved)
    second.settle(b"OK")
    with pytest.raises(StopIteration):
        route.send([None])
    assert second.result() == b"OK"
    assert not first.retriable
    with pytest.raises(ConnectionFailed, match="the slot of key 'jobs' is being moved to another node of the cluster"):
        first.result()
