"""Mutual TLS 1.3 between regions: who a peer is stands in its certificate.

A certificate of ours carries one URI `dwcp://<cluster>/region/<region>`, with `/node/<node>` behind
it where it is for one node only. Names of hosts are not looked at: regions move, addresses change.

Sessions are never resumed (no tickets): a resumed one would be as old as its first handshake and
outlive a change of authority. Replayed handshake bytes are nothing to TLS 1.3: the server's random
differs, so nobody without the keys can finish.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from cryptography import x509

from schemas.access_errors import (
    CertificateExpiredError,
    NoCertificateError,
    NotTlsError,
    TlsError,
    UntrustedCertificateError,
    WrongIdentityError,
)
from schemas.errors import ConfigError
from transport.aio.reloaded import Reloaded
from transport.session.events import CertifiedPeer

_SCHEME: Final = "dwcp://"
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h.
_TIME_CODES: Final = (9, 10)
_REASONS: Final[dict[str, type[TlsError]]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": NoCertificateError,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": NoCertificateError,
    "TLSV1_ALERT_UNKNOWN_CA": UntrustedCertificateError,
    "SSLV3_ALERT_BAD_CERTIFICATE": UntrustedCertificateError,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": UntrustedCertificateError,
    "TLSV1_ALERT_DECRYPT_ERROR": UntrustedCertificateError,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": CertificateExpiredError,
    "WRONG_VERSION_NUMBER": NotTlsError,
    "HTTP_REQUEST": NotTlsError,
    "HTTPS_PROXY_REQUEST": NotTlsError,
    "RECORD_LAYER_FAILURE": NotTlsError,
    "PACKET_LENGTH_TOO_LONG": NotTlsError,
    "UNEXPECTED_EOF_WHILE_READING": NotTlsError,
}
_HINTS: Final[dict[type[TlsError], str]] = {
    CertificateExpiredError: "renew it (`dwcp certs rotate`) and check both clocks",
    NoCertificateError: "the dialling side has to show one: give it link.tls",
    NotTlsError: "one side encrypts and the other does not: compare link.tls and link.plain",
    UntrustedCertificateError: "each side has to trust the authority that signed it (link.tls.ca)",
    TlsError: "the handshake failed",
}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the authorities that we trust, our certificate with its chain, our key."""

    ca: Path
    cert: Path
    key: Path


def identity_uri(cluster: str, region: str, node: str = "") -> str:
    """Return the URI that names a region, or one node of it, in a certificate."""
    uri = f"{_SCHEME}{quote(cluster, safe='')}/region/{region}"
    return f"{uri}/node/{quote(node, safe='')}" if node else uri


def read_identity(uris: list[str]) -> CertifiedPeer:
    """Return whom a certificate's URIs name.

    Raises:
        WrongIdentityError: None of them, or more than one, names a region.
    """
    found = [uri.removeprefix(_SCHEME).split("/") for uri in uris if uri.startswith(_SCHEME)]
    match found:
        case [[cluster, "region", region]]:
            return CertifiedPeer(unquote(cluster), region)
        case [[cluster, "region", region, "node", node]]:
            return CertifiedPeer(unquote(cluster), region, unquote(node))
    raise WrongIdentityError(f"a certificate of ours names one region, this one names {uris}")


def tls_error(error: Exception) -> TlsError:
    """Return our error for one of OpenSSL's."""
    reason = getattr(error, "reason", None) or ""
    kind = _REASONS.get(reason, TlsError)
    text = reason or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        is_time = error.verify_code in _TIME_CODES
        kind = CertificateExpiredError if is_time else UntrustedCertificateError
        text = error.verify_message
    return kind(f"{text}: {_HINTS[kind]}")


class LinkTls:
    """Contexts for both sides of a link, read anew when their files change; sessions go on.

    Args:
        files: The PEM files.
        cluster: Our federation.
        region: Our region.

    Raises:
        ConfigError: They cannot be used: which, and the remedy.
    """

    def __init__(self, files: TlsFiles, cluster: str, region: str) -> None:
        self._files = files
        self._cluster = cluster
        self._region = region
        self._loaded = Reloaded("link.tls", (files.ca, files.cert, files.key), self._load)

    def client_context(self) -> ssl.SSLContext:
        """Return what we dial with."""
        return self._loaded.get().client

    def server_context(self) -> ssl.SSLContext:
        """Return what we answer with."""
        return self._loaded.get().server

    def dialled(self, connection: ssl.SSLSocket | ssl.SSLObject, region: str) -> CertifiedPeer:
        """Return who answered.

        Raises:
            WrongIdentityError: Not the region that we meant.
        """
        peer = self.accepted(connection)
        if peer.region != region:
            raise WrongIdentityError(
                f"the certificate there is of {peer.region!r}, we want {region!r}: mend the address"
            )
        return peer

    def accepted(self, connection: ssl.SSLSocket | ssl.SSLObject) -> CertifiedPeer:
        """Return who called; whether it says so itself is the handshake's to check.

        Raises:
            WrongIdentityError: A certificate of another federation, or of nobody.
        """
        found: Any = connection.getpeercert() or {}
        peer = read_identity(
            [name for kind, name in found.get("subjectAltName", ()) if kind == "URI"]
        )
        if peer.cluster_id != self._cluster:
            raise WrongIdentityError(
                f"the certificate is of federation {peer.cluster_id!r}, this is {self._cluster!r}"
            )
        return peer

    def to_json(self) -> dict[str, Any]:
        """Return what an operator wants to know of our certificate."""
        loaded = self._loaded.get()
        left_s = (loaded.expires - datetime.now(UTC)).total_seconds()
        return {
            "serial": f"{loaded.serial:x}",
            "expires": loaded.expires.isoformat(),
            "expires_in_s": round(left_s),
            "reloads": self._loaded.reloads,
            "error": self._loaded.error,
        }

    def _load(self) -> "_Loaded":
        files = self._files
        own = _read("link.tls.cert", files.cert, x509.load_pem_x509_certificate)
        peer = _identity_of(own, files.cert)
        if (peer.cluster_id, peer.region) != (self._cluster, self._region):
            raise ConfigError(
                "link.tls.cert",
                str(files.cert),
                f"it is of {identity_uri(*peer)}, this is "
                f"{identity_uri(self._cluster, self._region)}: issue one by `dwcp certs issue`",
            )
        _read("link.tls.key", files.key, bytes)
        _read("link.tls.ca", files.ca, x509.load_pem_x509_certificates)
        client, server = _context(files, _CLIENT), _context(files, _SERVER)
        return _Loaded(client, server, own.not_valid_after_utc, own.serial_number)


@dataclass(frozen=True, slots=True)
class _Loaded:
    client: ssl.SSLContext
    server: ssl.SSLContext
    expires: datetime
    serial: int


_CLIENT: Final = ssl.PROTOCOL_TLS_CLIENT
_SERVER: Final = ssl.PROTOCOL_TLS_SERVER


def _read(field: str, path: Path, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(field, str(path), f"give a readable PEM file ({error})") from error


def _identity_of(certificate: x509.Certificate, path: Path) -> CertifiedPeer:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return read_identity(names.get_values_for_type(x509.UniformResourceIdentifier))
    except (x509.ExtensionNotFound, WrongIdentityError) as error:
        remedy = f"it names no region: issue one by `dwcp certs issue` ({error})"
        raise ConfigError("link.tls.cert", str(path), remedy) from error


def _context(files: TlsFiles, protocol: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the region's URI is checked instead
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if protocol is _SERVER:
        context.num_tickets = 0
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.cert, files.key, password=_refuse_password)
    except (OSError, ValueError) as error:
        remedy = f"certificate and key have to belong together, the key unencrypted ({error})"
        raise ConfigError("link.tls.key", str(files.key), remedy) from error
    return context


def _refuse_password() -> str:
    # Without this OpenSSL would ask on the terminal, and the node would hang.
    raise ValueError("the key is encrypted")
