"""What samples of a link are signs of; the numbers are measured, see docs/link-bench.md."""

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from transport.amst.samples import LinkSample
from transport.amst.stream_count import LOSS_BLIND, Decision, Reason

_QUEUE_RTT_RATIO: Final = 1.25  # an empty path shows 1.00 to 1.06, a full one 1.2 to 2
_WINDOW_SHARE: Final = 0.2
_FULL_BUFFER_SHARE: Final = 0.15
_CHANGED_SHARE: Final = 0.3
_NOTHING_LIMITS: Final = 0.01
_ADDS_UP_GAIN: Final = 0.8
_SOME_QUEUE_RTT_RATIO: Final = 1.1
_OVERRUN_REPEATED: Final = 0.05
_OVERRUN_RTT_RATIO: Final = 1.8
_NO_LOSS: Final = 0.000_5
_FALLEN_SHARE: Final = 0.9
CHANGED_SAMPLES: Final = 3


def is_full(samples: Sequence[LinkSample]) -> bool:
    """Tell whether the path carries all it can: a queue stands in it, and nothing else limits.

    A stream that is limited by its send buffer may make a short queue now and then. One bbr stream
    makes none, but what no buffer, no window and no loss limits, and has bytes to send, the path
    alone limits.
    """
    if _is_path_limited(samples[-1]):  # before it, a stream that began may have repeated much
        return True
    has_queue = fmean(one.rtt_ratio for one in samples) > _QUEUE_RTT_RATIO
    buffered = fmean(one.send_buffer_limited_share for one in samples)
    return has_queue and buffered < _FULL_BUFFER_SHARE


def _is_path_limited(sample: LinkSample) -> bool:
    return (
        sample.congestion_control in LOSS_BLIND
        and sample.unsent_bytes > 0
        and sample.repeated_share < _NO_LOSS
        and sample.send_buffer_limited_share < _NOTHING_LIMITS
        and sample.receive_window_limited_share < _NOTHING_LIMITS
    )


def is_nearly_full(samples: Sequence[LinkSample], gain: float) -> bool:
    """Tell whether twice the streams brought less than twice the goodput, and a queue.

    Streams that loss does not slow add up as long as the path has room.
    """
    last = samples[-2:]
    return (
        last[-1].congestion_control in LOSS_BLIND
        and gain < _ADDS_UP_GAIN
        and fmean(one.rtt_ratio for one in last) > _SOME_QUEUE_RTT_RATIO
    )


def is_overrun(samples: Sequence[LinkSample]) -> bool:
    """Tell whether the streams send far more than the path carries, in both of two seconds."""
    last = samples[-2:]
    return (
        len(last) == 2  # noqa: PLR2004 - judge twice
        and all(one.repeated_share > _OVERRUN_REPEATED for one in last)
        and all(one.rtt_ratio > _OVERRUN_RTT_RATIO for one in last)
    )


def why_more(samples: Sequence[LinkSample]) -> Reason:
    """Say what makes more streams worth a try."""
    buffered = fmean(one.send_buffer_limited_share for one in samples)
    return Reason.TRY_WINDOW if buffered > _WINDOW_SHARE else Reason.TRY_ROOM


def falls_behind(samples: Sequence[LinkSample]) -> bool:
    """Tell whether less and less is carried though no queue stands: for loss, if it is seen."""
    last = samples[-CHANGED_SAMPLES:]
    most = max(one.goodput_bytes_per_s for one in samples)
    return (
        len(last) == CHANGED_SAMPLES
        and max(one.goodput_bytes_per_s for one in last[1:]) < _FALLEN_SHARE * most
        and not is_full(last)
    )


def has_changed(samples: Sequence[LinkSample], goodput_bytes_per_s: float) -> bool:
    """Tell whether all samples are far from the goodput that was held, on the same side."""
    ratios = [one.goodput_bytes_per_s / max(1.0, goodput_bytes_per_s) for one in samples]
    return max(ratios) < 1 - _CHANGED_SHARE or min(ratios) > 1 + _CHANGED_SHARE


def decision(
    at_ns: int, counts: tuple[int, int], reason: Reason, samples: Sequence[LinkSample]
) -> Decision:
    """Return a decision with what it was made on; `counts` are before and after."""
    if not samples:
        return Decision(at_ns, *counts, reason)
    return Decision(
        at_ns,
        *counts,
        reason,
        fmean(one.goodput_bytes_per_s for one in samples),
        fmean(one.repeated_share for one in samples),
        fmean(one.rtt_ratio for one in samples),
    )
