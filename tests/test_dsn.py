"""DSNs and settings: what they mean, what is refused, and that no password ever shows."""

from __future__ import annotations

import pickle
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from redisext.backend.redis import Connection
from redisext.dsn import Configuration, from_mapping, parse
from redisext.errors import ConfigurationError, RedisextError

SERVER = Configuration(host="h")


def a_cluster(*hosts: tuple[str, int], **options: Any) -> Configuration:
    host, port = hosts[0]
    return Configuration(topology="cluster", host=host, port=port, hosts=hosts, **options)


GOOD = [
    ("redis://h", SERVER),
    ("redis://h/", SERVER),
    ("redis://h:7000", Configuration(host="h", port=7000)),
    ("redis://h:/2", Configuration(host="h", db=2)),
    ("redis://h:7000/2", Configuration(host="h", port=7000, db=2)),
    ("REDIS://H", SERVER),
    ("valkey://h", SERVER),
    ("rediss://h", Configuration(transport="tls", host="h")),
    ("valkeys://h:1/3", Configuration(transport="tls", host="h", port=1, db=3)),
    ("redis://user@h", Configuration(host="h", username="user")),
    ("redis://:secret@h", Configuration(host="h", password="secret")),
    ("redis://user:secret@h", Configuration(host="h", username="user", password="secret")),
    ("redis://u%40x:p%3A%2F%3F%23%40%25@h", Configuration(host="h", username="u@x", password="p:/?#@%")),
    ("redis://:%E2%98%83@h", Configuration(host="h", password="☃")),
    ("redis://:a+b@h", Configuration(host="h", password="a+b")),
    ("redis://[::1]:7000/1", Configuration(host="::1", port=7000, db=1)),
    ("redis://:secret@[fe80::1]", Configuration(host="fe80::1", password="secret")),
    ("unix:///run/redis.sock", Configuration(transport="unix", path="/run/redis.sock")),
    ("unix:///run/redis.sock?db=3", Configuration(transport="unix", path="/run/redis.sock", db=3)),
    ("unix://user:secret@/r%20s", Configuration(transport="unix", path="/r s", username="user", password="secret")),
    ("memory://", Configuration(transport="memory")),
    ("memory://name", Configuration(transport="memory", name="name")),
    ("memory://a%20name/", Configuration(transport="memory", name="a name")),
    ("memory://name?prefix=app%3A", Configuration(transport="memory", name="name", prefix="app:")),
    ("redis://h?prefix=", SERVER),
    ("redis://h?prefix=app%3A&socket_timeout=0.5", Configuration(host="h", prefix="app:", socket_timeout=0.5)),
    ("redis://h/1?socket_connect_timeout=2", Configuration(host="h", db=1, socket_connect_timeout=2.0)),
    ("redis://h?max_connections=7&client_name=me", Configuration(host="h", max_connections=7, client_name="me")),
    ("redis://h?deadline=20", Configuration(host="h", deadline=20.0)),
    ("redis://h?deadline=2", Configuration(host="h", deadline=2.0, socket_timeout=2.0, socket_connect_timeout=2.0)),
    ("redis://h?exactly_once=true", Configuration(host="h", deadline=10.0, exactly_once=True)),
    ("redis://h?exactly_once=1&deadline=20", Configuration(host="h", deadline=20.0, exactly_once=True)),
    ("redis://h?exactly_once=False", SERVER),
    ("redis://h?exactly_once=0", SERVER),
    ("memory://name?exactly_once=TRUE", Configuration(transport="memory", name="name", deadline=10, exactly_once=True)),
    (
        "redis://h?replicas=r1,r2:7000",
        Configuration(host="h", replicas=(Configuration(host="r1"), Configuration(host="r2", port=7000))),
    ),
    ("redis://h?replicas=[::1]:7000", Configuration(host="h", replicas=(Configuration(host="::1", port=7000),))),
    (
        "redis://h?replicas=rediss%3A%2F%2F:secret%40r/1",
        Configuration(host="h", replicas=(Configuration(transport="tls", host="r", db=1, password="secret"),)),
    ),
    ("redis://h\n", SERVER),
    ("redis+cluster://h1,h2", a_cluster(("h1", 6379), ("h2", 6379))),
    ("REDIS+CLUSTER://H1,H2/\n", a_cluster(("h1", 6379), ("h2", 6379))),
    ("redis+cluster://h1, h2", a_cluster(("h1", 6379), ("h2", 6379))),
    ("valkey+cluster://h:7000/0", a_cluster(("h", 7000))),
    ("rediss+cluster://h:1,h:2", a_cluster(("h", 1), ("h", 2), transport="tls")),
    ("valkeys+cluster://h", a_cluster(("h", 6379), transport="tls")),
    ("redis+cluster://[::1]:7000,[::2]", a_cluster(("::1", 7000), ("::2", 6379))),
    (
        "redis+cluster://u%40x:a%2Cb@h1,h2?prefix=app%3A&read_from_replicas=true&wait_replicas=1",
        a_cluster(
            *(("h1", 6379), ("h2", 6379)),
            username="u@x",
            password="a,b",
            prefix="app:",
            read_from_replicas=True,
            wait_replicas=1,
        ),
    ),
]

BAD = [
    ("", "begins with its scheme"),
    ("localhost", "begins with its scheme"),
    ("//h", "begins with its scheme"),
    ("h:6379", "unknown DSN scheme 'h'; known are redis, valkey, rediss, valkeys, unix, memory"),
    ("http://h", "unknown DSN scheme 'http'"),
    ("redis+elsewhere://h", "unknown DSN scheme 'redis+elsewhere'; known are redis, "),
    ("unix+cluster://h", "unknown DSN scheme 'unix+cluster'"),
    ("redis+sentinel://h", "names no service: redis+sentinel://host:port,host:port/service/db"),
    ("redis://h1,h2", "several hosts are those of Sentinels or of a cluster"),
    ("redis+cluster://", "names no host"),
    ("redis+cluster://,h", "names no host"),
    ("redis+cluster://h1,", "hosts are malformed"),
    ("redis+cluster://h1,,h2", "hosts are malformed"),
    ("redis+cluster://h1,[::1", "hosts are malformed"),
    ("redis+cluster://[::1,h2", "host is malformed: an IPv6 address stands in [brackets]"),
    ("redis+cluster://h1:x,h2", "port is no number from 1 to 65535"),
    ("redis+cluster://h1,h2:0", "port is no number from 1 to 65535"),
    ("redis+cluster://h/1", "a cluster has no other database than 0, and the DSN names 1"),
    ("redis+cluster://h/orders", "the database is a number"),
    ("redis+cluster://h/0/1", "the database is a number"),
    ("redis+cluster://h?replicas=r", "replicas: the cluster names them; say read_from_replicas=true"),
    ("redis+cluster://h?sentinel_password=x", "are for redis+sentinel://"),
    ("redis+cluster://h?wrong=1", "unknown option 'wrong'"),
    ("redis+cluster://h1,h2#x", "holds a '#'"),
    ("redis+cluster://u:a/b@h1,h2", "'/' is written %2F"),
    ("redis+cluster://:p1@h1:7000,:p1@h2:7001", "user and password stand once, before the first host"),
    ("redis://h?ssl_keyfile=" + __file__, "ssl_keyfile is the key of a certificate: ssl_certfile names that"),
    ("redis://h?replicas=memory://r", "a replica is a server by itself, not memory://r"),
    (
        "redis://h?replicas=redis%2Bsentinel://r/main",
        "a replica is a server by itself, not redis+sentinel://r:26379/main",
    ),
    ("redis://", "names no host: redis://host:port/db"),
    ("rediss:///0", "names no host: rediss://"),
    ("redis://:7000", "names no host"),
    ("redis://:secret@", "names no host"),
    ("redis://h:0", "port is no number from 1 to 65535"),
    ("redis://h:65536", "port is no number"),
    ("redis://h:x", "port is no number"),
    ("redis://h:-1", "port is no number"),
    ("redis://h:٣", "port is no number"),
    ("redis://h/x", "the database is a number, as in redis://host:port/0"),
    ("redis://h/1/2", "the database is a number"),
    ("redis://h/1.5", "the database is a number"),
    ("redis://h/٣", "the database is a number"),
    ("redis://h/-1", "the database is a number from 0 up, not -1"),
    ("redis://h/" + "9" * 5000, "the database is a number"),
    ("redis://h?db=1", "unknown option 'db'"),
    ("redis://h?retries=1", "unknown option 'retries'; known are replicas, read_from_replicas, "),
    ("redis://h?prefix", "options are malformed"),
    ("redis://h?prefix=a&&prefix=b", "options are malformed"),
    ("redis://h?prefix=a&prefix=b", "names option 'prefix' twice"),
    ("redis://h?socket_timeout=soon", "socket_timeout is a number of seconds above 0, not 'soon'"),
    ("redis://h?socket_timeout=0", "above 0"),
    ("redis://h?socket_timeout=-1", "above 0"),
    ("redis://h?socket_timeout=inf", "above 0"),
    ("redis://h?socket_connect_timeout=nan", "socket_connect_timeout is a number of seconds above 0"),
    ("redis://h?deadline=0", "deadline is a number of seconds above 0, not '0'"),
    ("redis://h?deadline=-1", "deadline is a number of seconds above 0, not '-1'"),
    ("redis://h?deadline=nan", "deadline is a number of seconds above 0, not 'nan'"),
    ("redis://h?deadline=soon", "deadline is a number of seconds above 0, not 'soon'"),
    ("redis://h?exactly_once=maybe", "exactly_once is true or false"),
    ("redis://h?exactly_once=", "exactly_once is true or false"),
    ("redis://h?max_connections=0", "max_connections is at least 1, not 0"),
    ("redis://h?max_connections=many", "max_connections is a whole number"),
    ("redis://h?max_connections=" + "9" * 5000, "max_connections is a whole number"),
    ("redis://h?ssl_ca_certs=/no/such/file", "ssl_ca_certs names no file: '/no/such/file'"),
    ("redis://h?replicas=", "names no host"),
    ("redis://h?replicas=r,", "names no host"),
    ("redis://h?replicas=r:x", "port is no number"),
    ("redis://h?replicas=[r", "host is malformed"),
    ("redis://h?replicas=r/3", "a replica is named by a DSN, or by host:port"),
    ("redis://h?replicas=http%3A%2F%2Fr", "unknown DSN scheme 'http'"),
    ("unix:///s?replicas=r", "host:port where the primary is too"),
    ("memory://a?replicas=r", "the embedded engine has no replicas"),
    ("redis://[::1", "host is malformed: an IPv6 address stands in [brackets]"),
    ("redis://h#1", "holds a '#': in a user or password it is written %23"),
    ("redis://h#", "holds a '#'"),
    ("redis://u:p#w@h", "holds a '#'"),
    ("redis://u:p/w@h", "'/' is written %2F, '?' %3F and '@' %40"),
    ("redis://u:p?w@h", "'/' is written %2F, '?' %3F and '@' %40"),
    ("redis://u:p[w@h", "'[' is written %5B"),
    ("redis://u:p\nw@h", "holds a tab or a line break"),
    ("redis://u:%FF@h", "percent-encoding is of something else than UTF-8"),
    ("unix://", "named by its absolute path"),
    ("unix://run/redis.sock", "named by its absolute path"),
    ("unix://:6379/run/redis.sock", "named by its absolute path"),
    ("unix:///s?db=x", "the database is a number"),
    ("memory://a/b", "an embedded store is named memory://name"),
    ("memory://a:1", "no user, port or path"),
    ("memory://u@a", "no user, port or path"),
    ("memory://:p@a", "no user, port or path"),
]


def brief(text: object) -> str:
    return repr(text)[:60]


@pytest.mark.parametrize(("text", "configuration"), GOOD, ids=brief)
def test_a_dsn_says_where_the_data_lives(text: str, configuration: Configuration) -> None:
    assert parse(text) == configuration


@pytest.mark.parametrize(("text", "why"), BAD, ids=brief)
def test_what_is_wrong_with_a_dsn_is_named(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(why)) as caught:
        parse(text)
    assert isinstance(caught.value, ValueError)


def test_every_option_that_is_known_stands_in_the_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse("redis://h?wrong=1")
    places = {"transport", "host", "port", "path", "name", "db", "username", "password", "reuse"}
    places |= {"topology", "hosts", "service", "readonly"}
    named = str(caught.value).partition("known are ")[2].split(", ")
    assert {*named} == {one.name for one in fields(Configuration)} - places


class TestOptions:
    def test_given_options_win_and_none_leaves_them(self) -> None:
        written = parse("redis://h?prefix=a&max_connections=3")
        assert written.with_options({"prefix": "b", "max_connections": None}).prefix == "b"
        assert written.with_options({"prefix": None}) == written

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [
            ("prefix", b"a", "prefix is text, not bytes"),
            ("client_name", 5, "client_name is text, not int"),
            ("socket_timeout", "soon", "socket_timeout is a number of seconds above 0"),
            ("socket_timeout", [1], "socket_timeout is a number of seconds above 0"),
            ("deadline", 0, "deadline is a number of seconds above 0, not 0"),
            ("deadline", -1.5, "deadline is a number of seconds above 0, not -1.5"),
            ("deadline", float("nan"), "deadline is a number of seconds above 0, not nan"),
            ("deadline", "soon", "deadline is a number of seconds above 0, not 'soon'"),
            ("exactly_once", 1, "exactly_once is true or false"),
            ("exactly_once", "maybe", "exactly_once is true or false"),
            ("max_connections", True, "max_connections is a whole number"),
            ("max_connections", 1.5, "max_connections is a whole number"),
            ("ssl_ca_certs", Path("x"), "ssl_ca_certs is text"),
            ("replicas", 5, "replicas are a list of DSNs or host:port"),
            ("replicas", [5], "a replica is named by a DSN"),
            ("replicas", [None], "a replica is named by a DSN"),
            ("replicas", ["u:secret@r"], "a replica is named by a DSN"),
            ("replicas", ["r?prefix=x"], "a replica is named by a DSN"),
            ("wrong", 1, "unknown option 'wrong'"),
        ],
        ids=brief,
    )
    def test_each_is_checked(self, name: str, value: object, why: str) -> None:
        with pytest.raises(ConfigurationError, match=re.escape(why)):
            SERVER.with_options({name: value})

    def test_a_file_of_authorities_must_be_there(self, tmp_path: Path) -> None:
        authorities = tmp_path / "ca.pem"
        authorities.touch()
        options = quote(str(authorities))
        assert parse(f"rediss://h?ssl_ca_certs={options}").ssl_ca_certs == str(authorities)

    def test_a_replica_named_by_its_address_takes_all_else_from_the_primary(self) -> None:
        """The order of the options is of no matter."""
        written = parse("rediss://user:secret@h:1/2?replicas=r:7000&socket_timeout=0.5&prefix=a")
        [replica] = written.replicas
        assert (replica.host, replica.port, replica.transport) == ("r", 7000, "tls")
        assert (replica.username, replica.password, replica.db) == ("user", "secret", 2)
        assert (replica.socket_timeout, replica.prefix) == (0.5, "a")
        [replica] = parse("redis://h?replicas=r&exactly_once=true&deadline=2").replicas
        assert (replica.deadline, replica.exactly_once, replica.socket_timeout) == (2, True, 2)
        assert written.with_options({"replicas": ["r:7000"]}) == written

    def test_a_replica_can_be_of_another_kind(self) -> None:
        other = Configuration(transport="unix", path="/s")
        assert SERVER.with_options({"replicas": ["unix:///s", other]}).replicas == (other, other)

    def test_equal_configurations_can_share_connections(self) -> None:
        assert len({parse("redis://:a@h/0"), parse("valkey://:a@H:6379"), parse("redis://:b@h")}) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:secret@h:7000/2?prefix=a", "redis://h:7000/2"),
        ("valkeys://:secret@h", "rediss://h:6379/0"),
        ("redis://:secret@[::1]/1", "redis://[::1]:6379/1"),
        ("unix://:secret@/run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
        ("memory://name", "memory://name"),
        ("valkeys+cluster://user:secret@h1:7000,[::1]?prefix=a", "rediss+cluster://h1:7000,[::1]:6379"),
    ],
    ids=brief,
)
def test_as_text_it_is_a_dsn_without_user_password_and_options(text: str, shown: str) -> None:
    configuration = parse(text)
    assert str(configuration) == shown
    assert parse(shown).host == configuration.host


# --- Passwords

MARKER = "Marker7"
"""It stands in every password here, and must stand in nothing that is shown."""

NASTY = "#/@?:[]%&=+;,\\ \"'<>{}|^`~!$*()\t\n\r\x00☃é０"
"""What a DSN gives a meaning to, or what has none in a URL."""

PIECES = st.text(st.sampled_from(NASTY + "ab1"), max_size=6)
PASSWORDS = st.tuples(PIECES, st.just(MARKER), PIECES).map("".join)
SHAPES = st.sampled_from(
    [
        "redis://:{}@localhost:6379/0",
        "redis://user:{}@localhost",
        "rediss://user:{}@[::1]:6379/0",
        "redis://user:{}@localhost:port/0",
        "redis://user:{}@localhost:99999/0",
        "redis://user:{}@localhost:6379/zero",
        "redis://user:{}@localhost/0?socket_timeout=soon",
        "redis://user:{}@localhost/0?wrong=1",
        "redis://user:{}@/0",
        "redis://user:{}@[::1",
        "redis://localhost?replicas=redis://:{}@replica:6379",
        "redis://localhost?replicas=user:{}@replica",
        "unix://user:{}@/run/redis.sock?db=x",
        "unix://user:{}@run/redis.sock",
        "memory://user:{}@name",
        "redis+sentinel://user:{}@localhost/0",
        "redis+cluster://user:{}@localhost,localhost:7000",
        "redis+cluster://user:{}@localhost,localhost:port",
        "redis+cluster://user:{}@localhost/7",
        "redis:user:{}@localhost",
        "redis//user:{}@localhost",
    ]
)


def all_text_of(error: BaseException) -> str:
    """All that is shown of an error, by whatever shows it, and of those that came before it."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    shown = ["".join(traceback.format_exception(error)), *map(str, chain), *map(repr, chain)]
    return "\n".join(shown)


def assert_hidden(configuration: Configuration) -> None:
    for one in (configuration, *configuration.replicas):
        assert MARKER.lower() not in f"{one} {one!r} {[one]} {one.with_options({'prefix': 'a'})!r}".lower()


@given(SHAPES, PASSWORDS)
@example("redis://user:{}@localhost:6379/0", f"{MARKER}#1")
@example("redis://user:{}@localhost:6379/0", f"1/{MARKER}")
@example("redis://user:{}@localhost:6379/0", f"1?{MARKER}=1")
@example("redis://user:{}@localhost:6379/0", f"1?{MARKER}=1&{MARKER}=2")
@example("redis://user:{}@localhost:6379/0", f"{MARKER}@x")
@example("redis://user:{}@localhost:6379/0", f"[{MARKER}]")
@example("redis://user:{}@localhost:6379/0", f"℀{MARKER}")
def test_a_password_that_is_not_escaped_is_taken_as_it_is_or_refused_and_never_shown(shape: str, password: str) -> None:
    try:
        configuration = parse(shape.format(password))
    except ConfigurationError as error:
        event("refused")
        assert MARKER.lower() not in all_text_of(error).lower()  # noqa: PT017  # it need not be raised
    else:
        event("taken")
        assert_hidden(configuration)


@given(PASSWORDS)
def test_a_password_that_is_not_escaped_is_never_changed(password: str) -> None:
    assume("%" not in password)  # it escapes
    try:
        configuration = parse(f"redis://:{password}@localhost/0")
    except ConfigurationError:
        event("refused")
    else:
        assert configuration.password == password
        assert configuration.host == "localhost"


@given(st.text(min_size=1), PASSWORDS)
def test_every_password_can_be_escaped(username: str, password: str) -> None:
    configuration = parse(f"redis://{quote(username, safe='')}:{quote(password, safe='')}@localhost:7000/3")
    assert (configuration.username, configuration.password) == (username, password)
    assert (configuration.host, configuration.port, configuration.db) == ("localhost", 7000, 3)
    assert_hidden(configuration)


@given(PASSWORDS, st.sampled_from(["host", "port", "db", "socket_timeout", "wrong", "replicas"]))
def test_a_password_among_settings_is_never_shown(password: str, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_mapping({"password": password, "username": "user"} | {name: [1.5]})
    assert MARKER not in all_text_of(caught.value)
    assert_hidden(from_mapping({"password": password}))


def test_what_may_be_a_password_in_the_wrong_place_is_not_repeated() -> None:
    for text in (f"redis://h/{MARKER}", f"redis://h?max_connections={MARKER}", f"redis://{MARKER}:{MARKER}"):
        with pytest.raises(ConfigurationError) as caught:
            parse(text)
        assert MARKER not in all_text_of(caught.value)


def test_the_user_is_not_shown_either() -> None:
    assert "somebody" not in repr(parse("redis://somebody:secret@h"))


def test_two_passwords_are_two_configurations() -> None:
    """It is only hidden, not left out."""
    configuration = parse("redis://:secret@h")
    assert configuration != parse("redis://:other@h")
    assert pickle.loads(pickle.dumps(configuration)) == configuration


# --- Settings


class TestSettings:
    def test_they_say_where_the_data_lives(self) -> None:
        assert from_mapping({}) == Configuration()
        settings = {"host": "10.0.0.1", "port": 7000, "db": 2, "username": "user", "password": "secret"}
        assert from_mapping(settings) == Configuration(
            host="10.0.0.1", port=7000, db=2, username="user", password="secret"
        )

    def test_numbers_may_be_text_as_in_the_environment(self) -> None:
        assert from_mapping({"port": "7000", "db": "2"}) == Configuration(port=7000, db=2)

    def test_options_stand_beside_them(self) -> None:
        assert from_mapping({"socket_timeout": "0.5", "prefix": "a"}) == Configuration(socket_timeout=0.5, prefix="a")

    def test_none_is_no_user_and_no_password(self) -> None:
        assert from_mapping({"username": None, "password": None}) == Configuration()

    @pytest.mark.parametrize(
        ("settings", "why"),
        [
            ({"hots": "h"}, "unknown connection setting 'hots'; known are client_name, db, deadline, exactly_once"),
            ({"ssl": True}, "unknown connection setting 'ssl'"),
            ({"host": None}, "host is text, not NoneType"),
            ({"port": 0}, "port 0 is not from 1 to 65535"),
            ({"port": 65536}, "port 65536 is not from 1 to 65535"),
            ({"port": "x"}, "port is a whole number"),
            ({"port": None}, "port is a whole number"),
            ({"port": True}, "port is a whole number"),
            ({"db": "x"}, "the database is a number"),
            ({"db": -1}, "the database is a number from 0 up, not -1"),
            ({"password": b"secret"}, "password is text, not bytes"),
            ({"username": 5}, "username is text, not int"),
        ],
        ids=brief,
    )
    def test_each_is_checked(self, settings: Mapping[str, object], why: str) -> None:
        with pytest.raises(ConfigurationError, match=re.escape(why)):
            from_mapping(settings)


class TestConnectionClasses:
    def test_a_class_without_a_slave_reads_from_its_master(self) -> None:
        class Production(Connection):
            MASTER: ClassVar = {"host": "10.0.0.1", "port": "7000", "db": 1}

        assert Production.configuration() == Configuration(host="10.0.0.1", port=7000, db=1)

    def test_a_slave_is_a_replica(self) -> None:
        class Production(Connection):
            MASTER: ClassVar = {"host": "10.0.0.1"}
            SLAVE: ClassVar = {"host": "10.0.0.2", "db": 1}

        assert Production.configuration() == Configuration(
            host="10.0.0.1", replicas=(Configuration(host="10.0.0.2", db=1),)
        )

    def test_a_dsn_serves_too(self) -> None:
        class Production(Connection):
            MASTER = "rediss://:secret@10.0.0.1/1"
            SLAVE = "redis://10.0.0.2"

        assert Production.configuration() == Configuration(
            transport="tls", host="10.0.0.1", db=1, password="secret", replicas=(Configuration(host="10.0.0.2"),)
        )

    def test_a_class_that_names_nothing_says_so(self) -> None:
        class Nowhere(Connection):
            pass

        with pytest.raises(ConfigurationError, match=r"Nowhere\.MASTER is not set"):
            Nowhere.configuration()

    @pytest.mark.parametrize(
        "call", [Connection.configuration, Connection.connect_to_master, Connection.connect_to_slave]
    )
    def test_it_is_checked_when_it_is_used(self, call: Callable[[], object]) -> None:
        with pytest.raises(RedisextError):
            call()
