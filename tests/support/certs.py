"""Certificates for tests: good ones, and each way to be bad."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from dwcp import certs_x509
from dwcp.certs import Authority
from transport.aio.tls import LinkTls, TlsFiles

CLUSTER: Final = "test"


class Certificates:
    """Authorities in a folder of the test, and what nodes load of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "ours")
        self.authority.init(CLUSTER)

    def stranger(self, name: str = "strangers", cluster: str = CLUSTER) -> Authority:
        """Return another authority, made if need be."""
        authority = Authority(self.folder / name)
        if not authority.ca_path.exists():
            authority.init(cluster)
        return authority

    def files(self, region: str, authority: Authority | None = None) -> TlsFiles:
        """Issue a certificate; what is trusted is ours in any case."""
        issuer = authority or self.authority
        path = issuer.issue(region).path
        return TlsFiles(self.authority.ca_path, path, path.with_suffix(".key"))

    def tls(self, region: str, authority: Authority | None = None) -> LinkTls:
        """Return a region's encryption."""
        return LinkTls(self.files(region, authority), CLUSTER, region)


def expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is issued from now on have expired yesterday."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    monkeypatch.setattr(certs_x509, "until", lambda _: yesterday)
