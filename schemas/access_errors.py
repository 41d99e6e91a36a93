"""Errors about getting in: over a link, over HTTP, and into Kafka.

::

    LogError
    └── KafkaAccessError             Kafka does not let us in, or not do it (not retryable)
    LinkError
    └── TlsError                     no encrypted connection came about (not retryable)
        ├── UntrustedCertificateError, CertificateExpiredError, NoCertificateError
        ├── WrongIdentityError       a good certificate of somebody else
        └── NotTlsError, UnexpectedTlsError
    DwcpError
    └── AccessDeniedError            a request over HTTP has not the right
        └── UnauthorizedError, ForbiddenError
"""

from typing import ClassVar

from schemas.errors import DwcpError, LinkError, LogError


class KafkaAccessError(LogError):
    """Kafka does not let us in, or not do that: names what is missing; an operator has to act."""

    is_retryable = False


class TlsError(LinkError):
    """No encrypted connection came about; an operator has to act."""

    is_retryable = False


class UntrustedCertificateError(TlsError):
    """A certificate that no authority of ours, or of the peer's, has signed."""


class CertificateExpiredError(TlsError):
    """A certificate is out of its time."""


class NoCertificateError(TlsError):
    """The dialling side showed no certificate."""


class WrongIdentityError(TlsError):
    """A good certificate, but of another region or federation than it has to be."""


class NotTlsError(TlsError):
    """We encrypt, the other side does not."""


class UnexpectedTlsError(TlsError):
    """The other side encrypts, we do not."""


class AccessDeniedError(DwcpError):
    """A request over HTTP has not the right; `status` is HTTP's."""

    status: ClassVar[int]


class UnauthorizedError(AccessDeniedError):
    """It shows neither a token nor a certificate that we know."""

    status = 401


class ForbiddenError(AccessDeniedError):
    """It shows one, which does not give this right."""

    status = 403
