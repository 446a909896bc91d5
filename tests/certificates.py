"""Authorities that vouch for servers, and for clients: `RedisServer(certificate=Authority(folder).vouch())`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import trustme

from tests.servers import Certificate, RedisServer


class Authority:
    """Its own certificate, and those that it gives, are files in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self._numbers = count(1)
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def vouch(self, *names: str, expired: bool = False, mutual: bool = False) -> Certificate:
        """For a server, or a client, by these names: that of the servers here where there is none."""
        now = datetime.now(UTC)
        issued = self._authority.issue_cert(
            *(names or ["127.0.0.1"]),
            not_before=now - timedelta(days=2),
            not_after=now + timedelta(days=-1 if expired else 1),
        )
        number = next(self._numbers)
        file, key = self._folder / f"certificate-{number}.pem", self._folder / f"key-{number}.pem"
        issued.cert_chain_pems[0].write_to_path(file)
        issued.private_key_pem.write_to_path(key)
        return Certificate(file, key, self.file, mutual)


class Secured(RedisServer):
    """A server that speaks TLS, and has an authority of its own that vouches for it by these *names*."""

    def __init__(self, folder: Path, *names: str) -> None:
        certificate = Authority(folder).vouch(*names)
        super().__init__(certificate=certificate)
        self.authority = certificate.authority
