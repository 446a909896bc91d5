"""TLS with certificates on both sides, and users with rights, on each topology: who is let in, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from cryptography.hazmat.primitives import serialization

from redisext import (
    ConfigurationError,
    ConnectionFailed,
    Counter,
    HashMap,
    PermissionDenied,
    Queue,
    RedisextError,
)
from tests.backend.conftest import Opened
from tests.backend.observe import Sockets, open_sockets
from tests.backend.test_security import texts_of
from tests.certificates import Authority
from tests.clusters import Cluster
from tests.sentinels import Sentinels
from tests.servers import Certificate, RedisServer, Replicated

Group: TypeAlias = Replicated | Sentinels | Cluster

PASSWORD: Final = "d@ta-s3cret"


@pytest.fixture(scope="module")
def authority(needs_tls: None, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    """What clients must show, and servers do."""
    return authority.vouch(mutual=True)


@pytest.fixture(scope="module", params=["server", "sentinel", "cluster"])
def group(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Group]:
    group: Group
    match request.param:
        case "server":
            group = Replicated(certificate=certificate, password=PASSWORD)
        case "sentinel":
            group = Sentinels(certificate=certificate, password=PASSWORD, replicas=1)
        case _:
            group = Cluster(certificate=certificate, password=PASSWORD)
    with group:
        yield group


def url_of(group: Group) -> str:
    return group.primary.url if isinstance(group, Replicated) else group.url


def servers_of(group: Group) -> list[RedisServer]:
    """Those with data."""
    match group:
        case Replicated():
            return [group.primary, *group.replicas]
        case Sentinels():
            return [*group.servers]
        case Cluster():
            return group.nodes


def reading(group: Group) -> dict[str, Any]:
    """The options that have replicas answer reads."""
    if isinstance(group, Replicated):
        return {"replicas": [f"{one.host}:{one.port}" for one in group.replicas]}
    return {"read_from_replicas": True}


def flush(group: Group) -> None:
    match group:
        case Replicated():
            group.primary.call("FLUSHALL")
        case Sentinels():
            group.primary().call("FLUSHALL")
        case Cluster():
            group.flush()


def showing(certificate: Certificate) -> dict[str, str]:
    """The options for this certificate."""
    return {
        "ssl_ca_certs": str(certificate.authority),
        "ssl_certfile": str(certificate.file),
        "ssl_keyfile": str(certificate.key),
    }


class TestCertificates:
    def test_with_one_all_is_as_in_plain_text(
        self, group: Group, certificate: Certificate, opened: Opened, sockets: Sockets
    ) -> None:
        flush(group)
        db = opened(url_of(group), **showing(certificate), **reading(group), wait_replicas=1, wait_timeout=30)
        hits, jobs = Counter[int]("hits", db), Queue[str]("jobs", db)
        for number in range(1, 6):
            assert hits.incr() == number
            assert hits.get() == number
        jobs.push("sweep", "mop")
        assert (jobs.pop_wait(30), jobs.pop(), jobs.pop_wait(0.01)) == ("sweep", "mop", None)
        with db.batch() as batch:
            several = [batch.add(Counter[int](f"hits {number}", db).commands.incr()) for number in range(20)]
        with db.transaction() as tx:
            counted = tx.add(hits.commands.incr())
        assert [one.result() for one in several] == [1] * 20
        assert counted.result() == 6
        assert db.transact(lambda tx: tx.read(hits.commands.get()), watch=[hits]) == 6
        HashMap[str, int]("stock", db).update({str(number): number for number in range(3_000)})
        assert len(dict(HashMap[str, int]("stock", db))) == 3_000
        db.close()
        assert open_sockets() == sockets

    def test_the_dsn_can_name_it(self, group: Group, certificate: Certificate, opened: Opened) -> None:
        options = "&".join(f"{name}={value}" for name, value in showing(certificate).items())
        assert Counter[int]("visits", opened(f"{url_of(group)}?{options}")).incr() > 0

    def test_with_none_it_says_which_options_name_one(
        self, group: Group, certificate: Certificate, opened: Opened, sockets: Sockets
    ) -> None:
        db = opened(url_of(group), ssl_ca_certs=str(certificate.authority), deadline=5)
        for use in (Counter[int]("hits", db).incr, Queue[str]("jobs", db).pop_wait):
            with pytest.raises(ConfigurationError, match="asks for a client's certificate: ssl_certfile and"):
                use()
        assert open_sockets() == sockets

    @pytest.mark.parametrize("expired", [False, True], ids=["stranger's", "expired"])
    def test_one_that_is_refused_is_a_mistake_of_configuration(
        self, group: Group, authority: Authority, tmp_path: Path, opened: Opened, expired: bool
    ) -> None:
        refused = (authority if expired else Authority(tmp_path)).vouch("client", expired=expired)
        options = {**showing(refused), "ssl_ca_certs": str(authority.file)}
        db = opened(url_of(group), **options, deadline=5)
        with pytest.raises(ConfigurationError, match=f"refuses the certificate of ssl_certfile '{refused.file}'"):
            Counter[int]("hits", db).incr()

    def test_a_server_that_a_stranger_vouches_for_is_refused(
        self, group: Group, certificate: Certificate, tmp_path: Path, opened: Opened, sockets: Sockets
    ) -> None:
        options = {**showing(certificate), "ssl_ca_certs": str(Authority(tmp_path).file)}
        with pytest.raises(ConnectionFailed) as refused:
            Counter[int]("hits", opened(url_of(group), **options, deadline=5)).incr()
        assert str(refused.value).startswith("the certificate of ")
        assert "ssl_ca_certs names a file of the authorities to trust" in str(refused.value)
        assert not refused.value.retriable
        assert open_sockets() == sockets

    def test_a_host_by_another_name_is_refused_or_it_is_not_looked_at(
        self, group: Group, certificate: Certificate, opened: Opened
    ) -> None:
        """The certificates are for an address."""
        url = url_of(group).replace("127.0.0.1", "localhost")
        with pytest.raises(ConnectionFailed, match="or say ssl_check_hostname=false") as refused:
            Counter[int]("hits", opened(url, **showing(certificate), deadline=5)).incr()
        assert "name the host as its certificate does" in str(refused.value)
        lenient = opened(f"{url}?ssl_check_hostname=false", **showing(certificate))
        assert Counter[int]("visits", lenient).incr() > 0

    def test_files_that_are_none_are_named_and_not_shown(
        self, group: Group, certificate: Certificate, tmp_path: Path, opened: Opened
    ) -> None:
        key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)
        encrypted = tmp_path / "encrypted.pem"
        encrypted.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"key-s3cret"),
            )
        )
        text = tmp_path / "text.pem"
        text.write_text("file-s3cret")
        others = Authority(tmp_path).vouch("client").key
        right = showing(certificate)
        shown: list[str] = []
        for wrong, complaint in (
            ({"ssl_keyfile": str(encrypted)}, "the key is encrypted, and nobody is there to be asked"),
            ({"ssl_keyfile": str(text)}, "are no certificate and its key"),
            ({"ssl_certfile": str(text)}, "are no certificate and its key"),
            ({"ssl_keyfile": str(others)}, "are no certificate and its key"),
            ({"ssl_ca_certs": str(text)}, "is no file of certificates"),
        ):
            db = opened(url_of(group), **{**right, **wrong}, **reading(group), deadline=5)
            for use in (
                Counter[int]("hits", db).incr,
                Counter[int]("hits", db).get,
                partial(Queue[str]("jobs", db).pop_wait, 5),
            ):
                with pytest.raises(ConfigurationError, match=complaint) as refused:
                    use()
                [file] = wrong.values()
                assert repr(file) in str(refused.value)
                shown += texts_of(use)
        secrets = ["s3cret", *certificate.key.read_text().splitlines()[1:-1], *others.read_text().splitlines()[1:-1]]
        told = "\n".join(shown)
        assert len(shown) > 30
        assert not any(secret in told for secret in secrets)


class TestUsers:
    """With a password, and without some right."""

    @pytest.fixture
    def user(self, group: Group, request: pytest.FixtureRequest) -> Iterator[str]:
        """The DSN of one that may not do what the test's parameter says."""
        for one in servers_of(group):
            one.call("ACL", "SETUSER", "clerk", "reset", "on", ">clerk's-s3cret", "~*", "&*", "+@all", request.param)
        yield url_of(group).replace(":d%40ta-s3cret@", "clerk:clerk%27s-s3cret@")
        for one in servers_of(group):
            one.call("ACL", "DELUSER", "clerk")

    @pytest.mark.parametrize("user", ["-incrby"], indirect=True)
    def test_a_command_that_one_may_not_run_is_named(
        self, group: Group, certificate: Certificate, user: str, opened: Opened
    ) -> None:
        db = opened(user, **showing(certificate), **reading(group))
        assert Queue[str]("letters", db).push("to Ada") > 0
        assert Counter[int]("nothing", db).get() is None
        with pytest.raises(PermissionDenied, match="may not run INCRBY on key 'hits'"):
            Counter[int]("hits", db).incr()
        with pytest.raises(RedisextError) as denied, db.batch() as batch:
            batch.add(Counter[int]("hits", db).commands.incr())
        assert "s3cret" not in str(denied.value)

    @pytest.mark.parametrize("user", ["-role"], indirect=True)
    def test_who_may_not_ask_for_roles_is_served_all_the_same(
        self, group: Group, certificate: Certificate, user: str, opened: Opened
    ) -> None:
        db = opened(user, **showing(certificate), **reading(group))
        assert Counter[int]("visits", db).incr() > 0
        assert Counter[int]("nothing", db).get() is None

    @pytest.mark.parametrize("user", ["-cluster"], indirect=True)
    def test_who_may_not_ask_a_cluster_for_its_slots_is_told(
        self, group: Group, certificate: Certificate, user: str, opened: Opened
    ) -> None:
        hits = Counter[int]("visits", opened(user, **showing(certificate), deadline=5))
        if not isinstance(group, Cluster):
            assert hits.incr() > 0
            return
        with pytest.raises(PermissionDenied, match=r"the user may not ask rediss://.* who does what: ") as denied:
            hits.incr()
        assert "s3cret" not in str(denied.value)

    @pytest.mark.parametrize("user", ["+ping"], indirect=True)
    def test_a_wrong_password_is_a_mistake_of_configuration(
        self, group: Group, certificate: Certificate, user: str, opened: Opened
    ) -> None:
        db = opened(user.replace("clerk%27s", "thief%27s"), **showing(certificate), **reading(group), deadline=5)
        for use in (Counter[int]("hits", db).incr, Counter[int]("hits", db).get):
            with pytest.raises(ConfigurationError, match="refused the user or the password") as refused:
                use()
            assert "s3cret" not in "\n".join([str(refused.value), repr(db), *texts_of(use)])
