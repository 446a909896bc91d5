"""What a user may rely on in the key under every structure: expiry, its name, whether it is there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, cast

import pytest

from redisext import (
    ArgumentError,
    Backend,
    ConfigurationError,
    Counter,
    CrossSlot,
    Expire,
    HashMap,
    Key,
    Lock,
    Map,
    Pool,
    PriorityQueue,
    Queue,
    SortedSet,
    Stack,
)
from redisext.model import Model
from tests.conftest import Connect
from tests.servers import wait_until
from tests.watching import Watched, keys, send

NEW = "{key}new"
"""Another name, which a cluster has in the slot of "key"."""

# Of any structure: what commands it has does not matter here.
AnyModel: TypeAlias = Model[Any]


class Kind(NamedTuple):
    """A structure, and the command that puts something into it."""

    named: Callable[[], Callable[[str | bytes | int | None, Backend], AnyModel]]
    """The class, named when the test runs, and so on the face that it runs on."""
    filling: tuple[str, ...]

    def make(self, key: str | bytes | int | None, db: Backend) -> AnyModel:
        return self.named()(key, db)

    def fill(self, model: AnyModel) -> None:
        command, *args = self.filling
        send(model.backend, command, model.commands.key, *args)


KINDS = {
    "counter": Kind(lambda: Counter[int], ("SET", "1")),
    "map": Kind(lambda: Map[str], ("SET", "a")),
    "hash map": Kind(lambda: HashMap[str, int], ("HSET", "a", "1")),
    "pool": Kind(lambda: Pool[str], ("SADD", "a")),
    "sorted set": Kind(lambda: SortedSet[str], ("ZADD", "1", "a")),
    "queue": Kind(lambda: Queue[str], ("LPUSH", "a")),
    "priority queue": Kind(lambda: PriorityQueue[str], ("ZADD", "1", "a")),
    "stack": Kind(lambda: Stack[str], ("LPUSH", "a")),
    "lock": Kind(lambda: Lock, ("SET", "token")),
    "any": Kind(lambda: Model, ("SET", "a")),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def empty(kind: Kind, db: Backend) -> AnyModel:
    return kind.make("key", db)


@pytest.fixture
def full(kind: Kind, empty: AnyModel) -> AnyModel:
    kind.fill(empty)
    return empty


@pytest.fixture
def word(db: Backend) -> Map[str]:
    word = Map[str]("key", db)
    word.set("a")
    return word


class TestExistence:
    def test_a_key_is_there_when_it_holds_something(self, kind: Kind, empty: AnyModel) -> None:
        assert empty.exists() is False
        kind.fill(empty)
        assert empty.exists() is True

    def test_asking_about_a_key_does_not_make_it(self, empty: AnyModel, db: Backend) -> None:
        assert empty.exists() is False
        assert empty.ttl() == -2
        assert empty.persist() is False
        assert empty.expire(10) is False
        assert empty.rename("{key}other") is False
        assert keys(db) == []


class TestExpiry:
    def test_a_key_does_not_expire_unless_told_to(self, full: AnyModel) -> None:
        assert full.ttl() == -1

    def test_it_expires_after_the_seconds_given(self, full: AnyModel) -> None:
        assert full.expire(60) is True
        assert full.ttl() == 60
        assert full.expire(10) is True
        assert full.ttl() == 10

    def test_seconds_have_fractions(self, full: AnyModel, db: Backend) -> None:
        assert full.expire(0.05) is True
        assert full.exists() is True
        wait_until(lambda: not full.exists(), "it expires")
        assert full.ttl() == -2
        assert keys(db) == []

    @pytest.mark.parametrize("seconds", [1e-9, 0.0004], ids=str)
    def test_the_shortest_time_is_not_none_at_all(self, word: Map[str], seconds: float) -> None:
        assert word.commands.expire(seconds).args == (1,)
        assert word.expire(seconds) is True
        wait_until(lambda: not word.exists(), "it expires")

    def test_no_seconds_delete_it_at_once(self, full: AnyModel, db: Backend) -> None:
        assert full.expire(0) is True
        assert keys(db) == []

    def test_persist_takes_the_expiry_away(self, full: AnyModel) -> None:
        assert full.persist() is False
        full.expire(60)
        assert full.persist() is True
        assert full.ttl() == -1
        assert full.persist() is False

    @pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf, "60", True], ids=repr)
    def test_what_is_no_time_is_refused_and_nothing_changes(self, word: Map[str], seconds: object) -> None:
        with pytest.raises(ArgumentError, match="seconds"):
            word.expire(cast("float", seconds))
        assert word.ttl() == -1

    @pytest.mark.parametrize("seconds", [1e17, 10**400], ids=lambda seconds: f"{math.log10(seconds):.0f} digits")
    def test_a_time_beyond_all_measure_is_refused_and_nothing_changes(self, word: Map[str], seconds: float) -> None:
        with pytest.raises(ArgumentError, match="seconds is a number of seconds from 0 up, not 1"):
            word.expire(seconds)
        assert word.ttl() == -1

    def test_without_a_time_and_without_one_on_the_class_it_is_refused(self, full: AnyModel) -> None:
        with pytest.raises(ConfigurationError, match="set EXPIRE on"):
            full.expire()
        assert full.ttl() == -1


class TestExpiryOfTheClass:
    def test_it_is_taken_when_no_time_is_given(self, db: Backend) -> None:
        class Session(Map[str]):
            EXPIRE = 60

        session = Session("session", db)
        session.set("a")
        assert session.ttl() == -1
        assert session.expire() is True
        assert session.ttl() == 60
        assert session.expire(10) is True
        assert session.ttl() == 10

    def test_it_is_inherited(self, db: Backend) -> None:
        class Session(Map[str]):
            EXPIRE = 0.02

        class Login(Session):
            KEY = "login"

        login = Login(connection=db)
        login.set("a")
        login.expire()
        wait_until(lambda: not login.exists(), "it expires")

    def test_the_mixins_of_the_original_change_nothing(self, db: Backend) -> None:
        class Visits(Counter[int], Expire, Key):
            EXPIRE = 60

        class Names(Key, Expire, Pool[str]):
            EXPIRE = 30

        visits, names = Visits("visits", db), Names("names", db)
        visits.incr()
        names.push("a")
        assert visits.expire() is True
        assert names.expire() is True
        assert (visits.ttl(), names.ttl()) == (60, 30)
        assert names.rename("{names}others") is True
        assert keys(db) == [b"visits", b"{names}others"]

    def test_a_mixin_does_not_hide_the_expiry_of_a_base(self, db: Backend) -> None:
        class Session(Map[str]):
            EXPIRE = 60

        class Login(Expire, Session):
            pass

        login = Login("login", db)
        login.set("a")
        assert login.expire() is True
        assert login.ttl() == 60


class TestRename:
    def test_the_key_gets_another_name(self, kind: Kind, full: AnyModel) -> None:
        assert full.rename(NEW) is True
        assert keys(full.backend) == [NEW.encode()]
        assert kind.make(NEW, full.backend).exists()
        assert not full.exists()
        assert full.key == "key"

    def test_the_expiry_goes_along(self, kind: Kind, full: AnyModel) -> None:
        full.expire(60)
        full.rename(NEW)
        assert kind.make(NEW, full.backend).ttl() == 60

    def test_what_has_that_name_is_replaced(self, full: AnyModel, db: Backend) -> None:
        held = send(db, "TYPE", "key")
        send(db, "SET", NEW, "old")
        send(db, "EXPIRE", NEW, 60)
        assert full.rename(NEW) is True
        assert keys(db) == [NEW.encode()]
        assert send(db, "TYPE", NEW) == held
        assert send(db, "TTL", NEW) == -1

    def test_where_there_is_no_key_nothing_is_replaced(self, empty: AnyModel, db: Backend) -> None:
        send(db, "SET", NEW, "old")
        assert empty.rename(NEW) is False
        assert send(db, "GET", NEW) == b"old"

    def test_its_own_name_is_a_name(self, full: AnyModel) -> None:
        assert full.rename("key") is True
        assert full.exists()

    @pytest.mark.parametrize(
        ("name", "stored"),
        [("ž", b"\xc5\xbe"), (b"\xff\x00", b"\xff\x00"), (5, b"5"), (0, b"0"), (" ", b" ")],
        ids=repr,
    )
    def test_a_name_is_text_bytes_or_a_number(
        self, word: Map[str], db: Backend, name: str | bytes | int, stored: bytes, variant: str
    ) -> None:
        if variant.startswith("cluster"):  # where it is in another slot
            with pytest.raises(CrossSlot, match=r"rename if it exists works on keys that are in different slots"):
                word.rename(name)
            assert keys(db) == [b"key"]
            return
        assert word.rename(name) is True
        assert keys(db) == [stored]
        assert Map[str](name, db).remove() is True

    @pytest.mark.parametrize("name", ["", b"", None, 1.5, True, ["a"], "\ud800"], ids=repr)
    def test_any_other_name_is_refused_and_nothing_is_renamed(self, word: Map[str], name: object) -> None:
        with pytest.raises(ArgumentError, match="key"):
            word.rename(cast("str", name))
        assert keys(word.backend) == [b"key"]


class TestNames:
    @pytest.mark.parametrize("name", [1.5, True, ["a"], "\ud800"], ids=repr)
    def test_a_key_is_text_bytes_or_a_number(self, db: Backend, name: object) -> None:
        with pytest.raises(ArgumentError, match="key"):
            Map[str](cast("str", name), db)

    def test_without_a_key_there_is_no_model(self, kind: Kind, db: Backend) -> None:
        for name in ("", b"", None):
            with pytest.raises(ConfigurationError, match="has no key"):
                kind.make(name, db)

    def test_the_backends_prefix_stands_before_every_name(self, kind: Kind, connect: Connect) -> None:
        with connect(prefix="app:") as db:
            model = kind.make("{one}:key", db)
            kind.fill(model)
            assert keys(db) == [b"app:{one}:key"]
            assert model.exists() is True
            assert model.rename("{one}:new") is True
            assert keys(db) == [b"app:{one}:new"]


class TestCommands:
    def test_each_operation_sends_the_one_command_that_describes_it(self, kind: Kind, db: Backend) -> None:
        seen = Watched(db)
        model = kind.make("key", seen)
        assert seen.sent_by(lambda: model.expire(5)) == [model.commands.expire(5)]
        assert seen.sent_by(model.ttl) == [model.commands.ttl()]
        assert seen.sent_by(model.persist) == [model.commands.persist()]
        assert seen.sent_by(lambda: model.rename(NEW)) == [model.commands.rename(NEW)]
        assert seen.sent_by(model.exists) == [model.commands.exists()]


def test_an_expired_key_is_gone_for_every_operation(db: Backend) -> None:
    jobs, names, scores = Queue[str]("jobs", db), Pool[str]("names", db), HashMap[str, int]("scores", db)
    jobs.push("a")
    names.push("a")
    scores["a"] = 1
    for expires in (jobs.expire, names.expire, scores.expire):
        expires(0.02)
    time.sleep(0.03)
    assert jobs.pop() is None
    assert list(names) == []
    assert scores == {}
    assert jobs.push("a") == 1
    assert jobs.ttl() == -1
