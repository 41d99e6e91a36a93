"""Every error DWCP raises, drawn as a tree.

::

    DwcpError                        is_retryable = False, is_definite = True
    ├── ConfigError                  the operator wrote something we refuse to run with
    ├── KafkaServerError             a broker of ours could not be had
    │   ├── JavaNotFoundError, JarDownloadError, DiskSpaceError
    │   └── PortInUseError, BrokerStartError, BrokerDiedError
    ├── TopicMismatchError           a topic exists, but not as it has to be
    ├── LogError                     Kafka did not do what was asked: retryable
    │   ├── LogUnavailableError      definite: nothing happened
    │   ├── OutcomeUnknownError      may or may not have happened
    │   ├── WriterFencedError        another node writes in our place now (not retryable)
    │   ├── KafkaAccessError         it does not let us; in `schemas.access_errors`
    │   ├── OffsetOutOfRangeError    that part of the log is gone (not retryable)
    │   └── RecordTooLargeError      over the topic's limit (not retryable)
    ├── LogTroubleError              a log is not what it was: its partition stops, a human decides
    │   └── in `schemas.log_trouble`: LogTruncated, RetentionOverrun, TopicRecreated
    ├── PartitionNotHeldError        another node holds it, or it is on its way: retryable
    ├── EventError                   bytes that are no event of ours; ends as a dead letter
    │   ├── MalformedEventError, UnknownSchemaError, WrongEventTypeError
    │   ├── WrongPartitionError, WrongRegionError, ClockAheadError, MissingOriginError
    │   └── UnknownBaseError         a chained patch whose base is not held
    ├── InvalidChangeError           a producer asked for a change that cannot be
    ├── ProtocolError                bytes that the link's protocol forbids
    │   ├── BadFrameError, FrameTooLargeError, ChecksumError
    │   ├── UnexpectedMessageError, MalformedMessageError, CreditExceededError
    │   ├── UnknownSessionError      a data connection of no session here
    │   └── BadUnitError             an encoded unit did not give its bytes back
    ├── LinkError                    the network or the peer failed us: retryable
    │   ├── PeerSilentError, LinkClosedError, PeerNotReadingError, CrowdedOutError
    │   ├── TooManyConnectionsError  sessions or data streams
    │   ├── PeerRefusedError         the peer said no, and why (not retryable)
    │   └── TlsError                 no encrypted connection; in `schemas.access_errors`
    ├── NodeError                    the node's HTTP face answered with an error
    └── AccessDeniedError            a request over HTTP; in `schemas.access_errors`

`is_retryable` says whether the same call may succeed later; `is_definite` whether it is certain
that nothing happened. Foreign exceptions are mapped at the adapter that met them.
"""

from typing import ClassVar


class DwcpError(Exception):
    """Root of all errors of ours; its class name without `Error` is the reason in dead letters."""

    is_retryable: ClassVar[bool] = False
    is_definite: ClassVar[bool] = True

    @property
    def reason(self) -> str:
        """Name this kind of error in one word, for metrics, dead letters and JSON."""
        return type(self).__name__.removesuffix("Error")


class ConfigError(DwcpError):
    """A setting that we refuse to run with: names the field, the value and the remedy."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field} = {value!r}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy


class KafkaServerError(DwcpError):
    """A broker of ours could not be started or went away."""


class JavaNotFoundError(KafkaServerError):
    """No Java 17 or newer was found."""


class JarDownloadError(KafkaServerError):
    """Kafka's jars could not be fetched or did not verify."""


class DiskSpaceError(KafkaServerError):
    """Too little room for a broker's data or the jars."""


class PortInUseError(KafkaServerError):
    """Another process listens where the broker should."""


class BrokerStartError(KafkaServerError):
    """The broker did not answer in time or ended during its start."""


class BrokerDiedError(KafkaServerError):
    """A running broker ended without being asked to."""


class TopicMismatchError(DwcpError):
    """A topic exists with settings that DWCP cannot work with."""


class LogError(DwcpError):
    """Kafka did not do what was asked."""

    is_retryable = True


class LogUnavailableError(LogError):
    """No broker answered; nothing was written."""


class OutcomeUnknownError(LogError):
    """A write was sent and its answer never came: it may stand in the log or not."""

    is_definite = False


class WriterFencedError(LogError):
    """Another writer of the same name was opened: this one never writes again."""

    is_retryable = False
    is_definite = False


class OffsetOutOfRangeError(LogError):
    """The offsets asked for are no longer, or not yet, in the log."""

    is_retryable = False


class RecordTooLargeError(LogError):
    """A record is larger than its topic takes."""

    is_retryable = False


class PartitionNotHeldError(DwcpError):
    """Another node of the region holds the partition, or nobody does yet."""

    is_retryable = True


class EventError(DwcpError):
    """Bytes in a topic that are no event of ours."""


class MalformedEventError(EventError):
    """The bytes do not decode by the schema they name."""


class UnknownSchemaError(EventError):
    """The bytes name a schema fingerprint nobody registered."""


class WrongEventTypeError(EventError):
    """A known event, but not one that this topic carries."""


class WrongPartitionError(EventError):
    """The entity's key belongs to another partition (murmur2, Java's default)."""


class WrongRegionError(EventError):
    """The change names another region than the one whose log it stands in."""


class ClockAheadError(EventError):
    """The hybrid timestamp is further ahead of the append time than allowed."""


class UnknownBaseError(EventError):
    """A patch against a version that its producer did not write last: no document follows."""

    def __init__(self, producer: str, entity_id: str, base_version: int) -> None:
        self.producer, self.entity_id = producer, entity_id
        last = f"version {base_version} of {entity_id!r} is not what {producer!r} wrote last"
        super().__init__(f"a patch whose base is not held: {last}; send the whole document")


class MissingOriginError(EventError):
    """A record in a replica topic without readable origin headers."""


class InvalidChangeError(DwcpError):
    """A change that cannot be: names the field, the value and the remedy."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        shown = repr(value)
        super().__init__(f"{field} = {shown[:200]}: {remedy}")
        self.field = field
        self.remedy = remedy


class ProtocolError(DwcpError):
    """Bytes on the link that the protocol forbids: the session ends."""


class BadFrameError(ProtocolError):
    """The header is not one of ours."""


class FrameTooLargeError(ProtocolError):
    """The header announces more than the limit."""


class ChecksumError(ProtocolError):
    """The payload is not what its sender hashed."""


class UnexpectedMessageError(ProtocolError):
    """A message that this state of the session does not allow."""


class UnknownSessionError(ProtocolError):
    """A data connection of a session that is not here, or not any more."""


class MalformedMessageError(ProtocolError):
    """A control message that does not decode."""


class CreditExceededError(ProtocolError):
    """The peer sent more than it was granted."""


class BadUnitError(ProtocolError):
    """An encoded unit did not give back the bytes that were promised; a key frame mends it."""


class LinkError(DwcpError):
    """The network or the peer failed us."""

    is_retryable = True


class PeerSilentError(LinkError):
    """Nothing came from the peer for longer than the time-out."""


class TooManyConnectionsError(LinkError):
    """As many sessions or data streams as we take are open."""


class LinkClosedError(LinkError):
    """The connection ended."""


class PeerNotReadingError(LinkError):
    """The peer takes nothing, and more waits for it than is allowed."""


class CrowdedOutError(LinkError):
    """Too many connections have not said yet who they are: the oldest of the busiest address go."""


class PeerRefusedError(LinkError):
    """The peer refused the session: `reason_code` says which rule."""

    is_retryable = False

    def __init__(self, reason_code: str, text: str) -> None:
        super().__init__(f"{reason_code}: {text}")
        self.reason_code = reason_code


class NodeError(DwcpError):
    """The node's HTTP face could not be reached or answered with an error."""
