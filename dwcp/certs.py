"""A small authority for the certificates of regions: made, used, renewed, looked at.

It is meant for development and for federations without an authority of their own. A folder holds
`ca.pem` (what everybody trusts), `ca.key` (keep it away from the nodes), and for each region, or
node, `NAME.pem` and `NAME.key`. Keys are EC P-256, unencrypted, readable by their owner only.
"""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dwcp import certs_x509
from dwcp.certs_x509 import Issued
from schemas.errors import ConfigError
from schemas.ids import check_region
from streams.web.access import Right, client_uri
from transport.aio.tls import identity_uri

CA_DAYS: Final = 3_650
DAYS: Final = 90
_CLIENT_FILE: Final = "client-"


class Authority:
    """An authority in a folder.

    Args:
        folder: Where it is, or is to be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_path = folder / "ca.pem"
        self.key_path = folder / "ca.key"

    def init(self, cluster: str, days: int = CA_DAYS) -> Issued:
        """Make it.

        Raises:
            ConfigError: There is one already, or the folder cannot be written.
        """
        if self.ca_path.exists() or self.key_path.exists():
            remedy = "an authority is there: issue by it, or choose another folder"
            raise ConfigError("--dir", str(self.folder), remedy)
        return self._make_authority(cluster, days, trusted=b"")

    def issue(
        self, region: str, node: str = "", *, days: int = DAYS, hosts: Sequence[str] = ()
    ) -> Issued:
        """Issue a certificate for a region, or for one node of it, over what there was.

        Args:
            region: Whose.
            node: Of this node only; empty: of any.
            days: How long it is good.
            hosts: Names and addresses at which its web server is asked, if it is to have one.

        Raises:
            ConfigError: There is no authority, or a name cannot be one.
        """
        check_region("--region", region)
        name = f"{region}.{quote(node, safe='')}" if node else region
        uri = identity_uri(self._cluster(), region, node)
        return self._issue(name, [uri], hosts, days)

    def issue_client(self, name: str, rights: Iterable[Right], *, days: int = DAYS) -> Issued:
        """Issue a certificate for a client of the web server; see `issue`."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
            raise ConfigError("--client", name, "1 to 40 letters, digits, '_' and '-'")
        cluster = self._cluster()
        uris = [client_uri(cluster, name, right) for right in rights]
        return self._issue(f"{_CLIENT_FILE}{name}", uris, (), days)

    def rotate(self, region: str | None = None, days: int = DAYS) -> list[Issued]:
        """Issue anew, with new keys, what was issued: of one region, or all.

        Raises:
            ConfigError: There is no authority, or nothing of that region.
        """
        chosen = [
            one
            for one in self.issued()
            if one.path != self.ca_path and region in (None, one.peer and one.peer.region)
        ]
        if not chosen:
            raise ConfigError("--region", region, "nothing was issued for it: `dwcp certs issue`")
        return [self._issue(one.path.stem, one.uris, one.hosts, days) for one in chosen]

    def rotate_authority(self, days: int = CA_DAYS) -> Issued:
        """Make a new authority beside the old one: `ca.pem` trusts both until `drop_old`.

        Raises:
            ConfigError: There is no authority.
        """
        old, _ = self._open()
        return self._make_authority(certs_x509.cluster_of(old), days, self.ca_path.read_bytes())

    def drop_old(self) -> Issued:
        """Trust only the authority that issues.

        Raises:
            ConfigError: There is no authority.
        """
        in_use, _ = self._open()
        self._write(self.ca_path, certs_x509.pem(in_use))
        return certs_x509.described(self.ca_path, in_use)

    def issued(self) -> list[Issued]:
        """Return all certificates in the folder, authorities first."""
        paths = sorted(self.folder.glob("*.pem"), key=lambda path: (path != self.ca_path, path))
        return [one for path in paths for one in certs_x509.describe(path)]

    def _cluster(self) -> str:
        return certs_x509.cluster_of(self._open()[0])

    def _issue(self, name: str, uris: Sequence[str], hosts: Sequence[str], days: int) -> Issued:
        authority, authority_key = self._open()
        if authority.not_valid_after_utc <= datetime.now(UTC):
            remedy = "it has expired: `dwcp certs rotate --authority`"
            raise ConfigError("--dir", str(self.folder), remedy)
        key = ec.generate_private_key(ec.SECP256R1())
        until = min(certs_x509.until(days), authority.not_valid_after_utc)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        certificate = (
            certs_x509.builder(certs_x509.common_name(name), authority.subject, key, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(certs_x509.usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(certs_x509.BOTH_ENDS), critical=False)
            .add_extension(certs_x509.names(uris, hosts), critical=False)
            .add_extension(issuer, critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        path = self.folder / f"{name}.pem"
        self._write(self.folder / f"{name}.key", certs_x509.key_pem(key), is_secret=True)
        self._write(path, certs_x509.pem(certificate))
        return certs_x509.described(path, certificate)

    def _open(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Return the one that has the key: after a crash in a rotation still the old one."""
        try:
            trusted = x509.load_pem_x509_certificates(self.ca_path.read_bytes())
            key = serialization.load_pem_private_key(self.key_path.read_bytes(), password=None)
            public = key.public_key()
            certificate = next(one for one in trusted if one.public_key() == public)
        except FileNotFoundError as error:
            remedy = "there is no authority: make one by `dwcp certs init`"
            raise ConfigError("--dir", str(self.folder), remedy) from error
        except (OSError, ValueError, TypeError, StopIteration) as error:
            remedy = f"ca.pem and ca.key are not of one authority ({error!r})"
            raise ConfigError("--dir", str(self.folder), remedy) from error
        assert isinstance(key, ec.EllipticCurvePrivateKey), "an authority of ours has such a key"
        return certificate, key

    def _make_authority(self, cluster: str, days: int, trusted: bytes) -> Issued:
        """Make one and trust it beside those of `trusted`, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = certs_x509.common_name(f"DWCP authority of {cluster}")
        certificate = (
            certs_x509.builder(name, name, key, certs_x509.until(days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(certs_x509.usage(is_authority=True), critical=True)
            .add_extension(certs_x509.names([f"dwcp://{quote(cluster, safe='')}"]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self._write(self.ca_path, certs_x509.pem(certificate) + trusted)
        self._write(self.key_path, certs_x509.key_pem(key), is_secret=True)
        return certs_x509.described(self.ca_path, certificate)

    def _write(self, path: Path, content: bytes, *, is_secret: bool = False) -> None:
        """Write beside and move: a node that reads at this moment sees the old or the new."""
        part = path.with_name(f".{path.name}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            mode = 0o600 if is_secret else 0o644
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            part.replace(path)
        except OSError as error:
            raise ConfigError("--dir", str(self.folder), f"give a folder ({error})") from error
