"""aiokafka's errors as ours."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Final

from aiokafka import errors

from schemas.access_errors import KafkaAccessError
from schemas.errors import (
    DwcpError,
    LogError,
    LogUnavailableError,
    OffsetOutOfRangeError,
    OutcomeUnknownError,
    RecordTooLargeError,
)

# The broker's word that a batch was not written.
_REFUSALS: Final = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidTimestampError,
    errors.OutOfOrderSequenceNumber,
    errors.PolicyViolationError,
    errors.TopicAuthorizationFailedError,
)

# First match wins; what is not listed and not a KafkaError is a bug of ours and passes through.
_MAPPING: Final = (
    (errors.MessageSizeTooLargeError, RecordTooLargeError),
    (errors.RecordListTooLargeError, RecordTooLargeError),
    (errors.TopicAuthorizationFailedError, KafkaAccessError),
    (errors.GroupAuthorizationFailedError, KafkaAccessError),
    (errors.ClusterAuthorizationFailedError, KafkaAccessError),
    (errors.TransactionalIdAuthorizationFailed, KafkaAccessError),
    (errors.SaslAuthenticationFailed, KafkaAccessError),
    (errors.AuthenticationFailedError, KafkaAccessError),
    (errors.UnsupportedSaslMechanismError, KafkaAccessError),
    (errors.IllegalSaslStateError, KafkaAccessError),
    (ssl.SSLError, KafkaAccessError),
    (errors.OffsetOutOfRangeError, OffsetOutOfRangeError),
    (errors.NoOffsetForPartitionError, OffsetOutOfRangeError),
    (errors.KafkaConnectionError, LogUnavailableError),
    (errors.KafkaTimeoutError, LogUnavailableError),
    (errors.NodeNotReadyError, LogUnavailableError),
    (errors.ProducerClosed, LogUnavailableError),
    (errors.RequestTimedOutError, LogUnavailableError),
    (errors.UnknownTopicOrPartitionError, LogUnavailableError),
    (errors.KafkaError, LogError),
    (OSError, LogUnavailableError),
    (TimeoutError, LogUnavailableError),
)


def is_refusal(error: BaseException) -> bool:
    """Tell whether an error is the broker's word that a batch was not written."""
    return isinstance(error, _REFUSALS)


def our_error(doing: str, error: BaseException, *, is_definite: bool = True) -> BaseException:
    """Return our error for one of aiokafka's; others are returned as they are."""
    kinds = (ours for theirs, ours in _MAPPING if isinstance(error, theirs))
    kind = next(kinds, None)
    if kind is None:
        return error
    if not is_definite:
        kind = OutcomeUnknownError
    return kind(f"{doing}: {type(error).__name__} {error}")


@contextlib.contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Turn aiokafka's errors into ours; for what writes no records.

    aiokafka suppresses cancellations here and there, also those of whoever waits for it: a
    cancellation that came meanwhile and was not heard is raised at the end. And it lets out
    cancellations of tasks of its own, which would end whoever waits without a word: one that nobody
    asked for is `LogUnavailableError`.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except DwcpError:
        raise
    except asyncio.CancelledError as error:
        if task is not None and not task.cancelling():
            raise LogUnavailableError(f"{doing}: aiokafka gave up") from error
        raise
    except (errors.KafkaError, OSError, TimeoutError) as error:
        raise our_error(doing, error) from error
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
