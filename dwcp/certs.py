"""A small authority for the certificates of regions: made, used, renewed, looked at.

It is meant for development and for federations without an authority of their own. A folder holds
`ca.pem` (what everybody trusts), `ca.key` (keep it away from the nodes), and for each region, or
node, `NAME.pem` and `NAME.key`. Keys are EC P-256, unencrypted, readable by their owner only.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.errors import ConfigError, WrongIdentityError
from schemas.ids import check_region
from transport.aio.tls import identity_uri, read_identity
from transport.session.events import CertifiedPeer

CA_DAYS: Final = 3_650
DAYS: Final = 90
BACKDATED: Final = timedelta(minutes=5)  # clocks differ between regions
_COMMON_NAME_MAX: Final = 64
_BOTH_ENDS: Final = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate on disk.

    Attributes:
        peer: Whom it names; None for an authority.
        days_left: Negative when it has expired.
    """

    path: Path
    subject: str
    peer: CertifiedPeer | None
    serial: str
    not_before: datetime
    not_after: datetime

    @property
    def days_left(self) -> float:
        """Days until it expires; negative afterwards."""
        return round((self.not_after - datetime.now(UTC)) / timedelta(days=1), 1)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "path": str(self.path),
            "subject": self.subject,
            "cluster": self.peer and self.peer.cluster_id,
            "region": self.peer and self.peer.region,
            "node": (self.peer and self.peer.node) or None,
            "serial": self.serial,
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "days_left": self.days_left,
        }


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

    def issue(self, region: str, node: str = "", days: int = DAYS) -> Issued:
        """Issue a certificate for a region, or for one node of it, over what there was.

        Raises:
            ConfigError: There is no authority, or a name cannot be one.
        """
        check_region("--region", region)
        authority, authority_key = self._open()
        if authority.not_valid_after_utc <= datetime.now(UTC):
            remedy = "it has expired: `dwcp certs rotate --authority`"
            raise ConfigError("--dir", str(self.folder), remedy)
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"{region}.{quote(node, safe='')}" if node else region
        until = min(_until(days), authority.not_valid_after_utc)
        public = authority_key.public_key()
        certificate = (
            _builder(_common_name(name), authority.subject, key, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_BOTH_ENDS), critical=False)
            .add_extension(
                _names(identity_uri(_cluster_of(authority), region, node)), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        path = self.folder / f"{name}.pem"
        self._write(self.folder / f"{name}.key", _key_pem(key), is_secret=True)
        self._write(path, _pem(certificate))
        return _describe(path, certificate)

    def rotate(self, region: str | None = None, days: int = DAYS) -> list[Issued]:
        """Issue anew, with new keys, what was issued: of one region, or all.

        Raises:
            ConfigError: There is no authority, or nothing of that region.
        """
        chosen = [
            one.peer for one in self.issued() if one.peer and region in (None, one.peer.region)
        ]
        if not chosen:
            raise ConfigError("--region", region, "nothing was issued for it: `dwcp certs issue`")
        return [self.issue(peer.region, peer.node, days) for peer in chosen]

    def rotate_authority(self, days: int = CA_DAYS) -> Issued:
        """Make a new authority beside the old one: `ca.pem` trusts both until `drop_old`.

        Raises:
            ConfigError: There is no authority.
        """
        old, _ = self._open()
        return self._make_authority(_cluster_of(old), days, self.ca_path.read_bytes())

    def drop_old(self) -> Issued:
        """Trust only the authority that issues.

        Raises:
            ConfigError: There is no authority.
        """
        in_use, _ = self._open()
        self._write(self.ca_path, _pem(in_use))
        return _describe(self.ca_path, in_use)

    def issued(self) -> list[Issued]:
        """Return all certificates in the folder, authorities first."""
        paths = sorted(self.folder.glob("*.pem"), key=lambda path: (path != self.ca_path, path))
        return [one for path in paths for one in describe(path)]

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
        name = _common_name(f"DWCP authority of {cluster}")
        certificate = (
            _builder(name, name, key, _until(days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(_names(f"dwcp://{quote(cluster, safe='')}"), critical=False)
            .sign(key, hashes.SHA256())
        )
        self._write(self.ca_path, _pem(certificate) + trusted)
        self._write(self.key_path, _key_pem(key), is_secret=True)
        return _describe(self.ca_path, certificate)

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


def describe(path: Path) -> Iterator[Issued]:
    """Yield the certificates of a PEM file.

    Raises:
        ConfigError: It is none.
    """
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError("path", str(path), f"give a PEM file ({error})") from error
    for certificate in certificates:
        yield _describe(path, certificate)


def _describe(path: Path, certificate: x509.Certificate) -> Issued:
    try:
        peer = read_identity(_uris(certificate))
    except WrongIdentityError:
        peer = None
    return Issued(
        path,
        certificate.subject.rfc4514_string(),
        peer,
        f"{certificate.serial_number:x}",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


def _cluster_of(authority: x509.Certificate) -> str:
    return unquote(_uris(authority)[0].removeprefix("dwcp://"))


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX])])


def _names(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])


def _until(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(datetime.now(UTC), until) - BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
