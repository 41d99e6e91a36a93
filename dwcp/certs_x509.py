"""X.509 for `dwcp.certs`: what is written into a certificate, and what is read from one."""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.access_errors import WrongIdentityError
from schemas.errors import ConfigError
from transport.aio.tls import read_identity
from transport.session.events import CertifiedPeer

BOTH_ENDS: Final = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
BACKDATED: Final = timedelta(minutes=5)  # clocks differ between regions
_COMMON_NAME_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate on disk.

    Attributes:
        peer: Whom it names; None for an authority.
        uris: All that its names say: a region, or a client's rights.
        hosts: Names and addresses of its web server.
        days_left: Negative when it has expired.
    """

    path: Path
    subject: str
    peer: CertifiedPeer | None
    serial: str
    not_before: datetime
    not_after: datetime
    uris: tuple[str, ...]
    hosts: tuple[str, ...]

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
            "uris": list(self.uris),
            "hosts": list(self.hosts),
            "serial": self.serial,
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "days_left": self.days_left,
        }


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
        yield described(path, certificate)


def described(path: Path, certificate: x509.Certificate) -> Issued:
    """Return what a certificate at a path says."""
    uris, hosts = _uris(certificate), _hosts(certificate)
    try:
        peer = read_identity(uris)
    except WrongIdentityError:
        peer = None
    return Issued(
        path,
        certificate.subject.rfc4514_string(),
        peer,
        f"{certificate.serial_number:x}",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        tuple(uris),
        tuple(hosts),
    )


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _uris(certificate: x509.Certificate) -> list[str]:
    names = _alternatives(certificate)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def _hosts(certificate: x509.Certificate) -> list[str]:
    names = _alternatives(certificate)
    if names is None:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return names.get_values_for_type(x509.DNSName) + [str(address) for address in addresses]


def cluster_of(authority: x509.Certificate) -> str:
    """Return the federation of an authority of ours."""
    return unquote(_uris(authority)[0].removeprefix("dwcp://"))


def common_name(name: str) -> x509.Name:
    """Return a subject; for people, nobody decides by it."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX])])


def names(uris: Sequence[str], hosts: Sequence[str] = ()) -> x509.SubjectAlternativeName:
    """Return the alternative names: URIs decide, hosts are for HTTPS."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    return x509.SubjectAlternativeName([*names, *map(_host_name, hosts)])


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass  # a name, then
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise ConfigError("--host", host, f"give a name or an address ({error})") from error


def until(days: int) -> datetime:
    """Return when a certificate of so many days ends."""
    return datetime.now(UTC) + timedelta(days=days)


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
) -> x509.CertificateBuilder:
    """Begin a certificate: what all of ours have in common."""
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


def usage(*, is_authority: bool) -> x509.KeyUsage:
    """Return what the key may do."""
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


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as PEM, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
