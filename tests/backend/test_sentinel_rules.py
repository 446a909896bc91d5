"""What is believed of Sentinels that differ, refuse or are silent: the rules alone, without any server."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

import pytest
import redis

from redisext.backend import sentinel
from redisext.backend.exchange import Answer, Words
from redisext.backend.sentinel import Sentinel
from redisext.backend.topology import Ask, Nodes, Once
from redisext.command import run
from redisext.dsn import Configuration, parse
from redisext.errors import ConnectionFailed, PermissionDenied

Says: TypeAlias = Callable[[Words], Answer]


class Server:
    """A node that only has an address, and knows whether its connections were cut."""

    def __init__(self, where: Configuration) -> None:
        self.where = where
        self.was_cut = False
        self.was_ended = False

    def cut(self) -> None:
        self.was_cut = True

    def end(self) -> None:
        self.was_ended = True


def names(port: int, epoch: int) -> Says:
    """A Sentinel that names the primary at a port, in an epoch."""

    def say(words: Words) -> Answer:
        assert isinstance(words, tuple)
        if words[1] == "GET-MASTER-ADDR-BY-NAME":
            return [b"10.0.0.9", str(port).encode()]
        if words[1] == "MASTER":
            return [b"config-epoch", str(epoch).encode()]
        return [[b"ip", b"10.0.0.8", b"port", b"1", b"flags", b"slave", b"master-link-status", b"ok"]]

    return say


def refuses(_words: Words) -> Answer:
    return redis.exceptions.NoPermissionError("this user has no permissions to run the 'sentinel' command")


def go(route: Generator[Any, object, Any], sentinels: Sequence[Says | None]) -> Any:
    """What a route comes to, where the Sentinels say so (None: they do not answer) and all servers are primaries."""

    def answer(request: Ask[Server] | Once[Server]) -> object:
        if isinstance(request, Once):
            return go(request.route(), sentinels)
        if request.words == [("ROLE",)]:
            primary: Answer = [b"master", 0, []]
            return [primary]
        says = sentinels[int(request.node.where.host.rpartition(".")[2])]
        if says is None:
            silent = ConnectionFailed(f"{request.node.where} is silent")
            silent.retriable = True
            raise silent
        return [says(words) for words in request.words]

    return run(route, answer)


def a_group(options: str = "") -> Sentinel[Server]:
    return Sentinel(parse(f"redis+sentinel://10.0.0.0,10.0.0.1,10.0.0.2/main{options}"), Nodes(Server))


class TestEpochs:
    def test_the_newest_counts(self) -> None:
        group = a_group()
        primary = go(group.primary("GET", []), [names(1, 6), names(2, 7), names(1, 6)])
        assert primary.where.port == 2

    def test_a_few_that_were_left_behind_do_not_bring_back_what_was(self) -> None:
        group = a_group()
        new = go(group.primary("GET", []), [names(2, 7), names(2, 7), None])
        group.heard(new, broken())
        with pytest.raises(ConnectionFailed, match="the Sentinels that answer tell of what was before"):
            go(group.primary("GET", []), [None, None, names(1, 6)])
        assert not new.was_cut
        assert go(group.primary("GET", []), [None, names(2, 7), names(2, 7)]) is new

    def test_a_majority_that_begins_to_count_anew_is_believed(self) -> None:
        group = a_group()
        old = go(group.primary("GET", []), [names(2, 7), names(2, 7), names(2, 7)])
        group.heard(old, broken())
        assert go(group.primary("GET", []), [names(1, 0), names(1, 0), None]).where.port == 1
        assert old.was_cut

    def test_a_sentinel_that_does_not_tell_its_epoch_is_the_oldest(self) -> None:
        def shy(words: Words) -> Answer:
            assert isinstance(words, tuple)
            return names(1, 9)(words) if words[1] != "MASTER" else redis.exceptions.NoPermissionError("no")

        assert go(a_group().primary("GET", []), [shy, names(2, 1), names(2, 1)]).where.port == 2


def broken() -> ConnectionFailed:
    error = ConnectionFailed("it broke")
    error.retriable = True
    return error


class TestRefusals:
    def test_one_that_refuses_does_not_keep_from_asking_the_others(self) -> None:
        assert go(a_group().primary("GET", []), [refuses, names(2, 1), names(2, 1)]).where.port == 2

    def test_where_all_refuse_that_is_told(self) -> None:
        with pytest.raises(PermissionDenied, match=r"the user may not ask redis://10\.0\.0\.0:26379/0 who does what"):
            go(a_group().primary("GET", []), [refuses, refuses, refuses])


class TestReplicas:
    def test_they_are_known_without_a_primary_that_answers(self) -> None:
        group = a_group("?read_from_replicas=true")
        [replica] = go(group.replicas([]), [names(2, 7), names(2, 7), None])
        assert (replica.where.host, replica.where.port) == ("10.0.0.8", 1)

    def test_where_nobody_answers_any_more_what_was_told_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        group = a_group("?read_from_replicas=true")
        told = go(group.replicas([]), [names(2, 7), names(2, 7), None])
        monkeypatch.setattr(sentinel, "_REPLICAS_LAST", 0.0)
        assert group.known_replicas([]) is None
        assert go(group.replicas([]), [None, None, None]) == told

    def test_a_client_is_one_of_a_replica_if_there_is_one(self) -> None:
        group, alone = a_group("?read_from_replicas=true"), a_group()
        assert go(group.reader([]), [names(2, 7), names(2, 7), None]).where.port == 1
        assert go(alone.reader([]), [names(2, 7), names(2, 7), None]).where.port == 2

    def test_where_nobody_has_ever_told_that_is_an_error(self) -> None:
        with pytest.raises(ConnectionFailed, match="no Sentinel answers: "):
            go(a_group("?read_from_replicas=true").replicas([]), [None, None, None])


def test_what_is_named_after_the_end_is_ended() -> None:
    nodes = Nodes(Server)
    before = nodes.at(Configuration(host="before"))
    nodes.ended = True
    assert nodes.at(Configuration(host="before")) is before
    assert not before.was_ended
    assert nodes.at(Configuration(host="after")).was_ended
