"""What a link can carry, from what it did: also while it carries less than it could."""

from typing import Final

from transport.amst.samples import LinkSample

_US_PER_S: Final = 1_000_000
_RISE: Final = 1.25  # a sample: what was seen at its limit is believed for some seconds
_REMEMBERED: Final = 0.5
_BBR_WINDOW_GAIN: Final = 2  # its window is twice what the path holds (Cardwell et al., 2016)
_BUSY_SHARE_MIN: Final = 0.01


class AvailableRate:
    """Estimates a link's rate, one sample after the other.

    A link at its limit carries what it can: that is measured. One that waits for work shows only a
    lower bound, what the congestion window of a stream lets out in a round trip; where the kernel
    tells none, what went out in the time that streams did not wait. The bound raises the estimate,
    by a quarter a sample once the limit was seen, and never lowers it.

    Attributes:
        bytes_per_s: The estimate; 0 before the first sample.
    """

    def __init__(self) -> None:
        self.bytes_per_s = 0.0
        self._was_full = False

    def observe(self, sample: LinkSample) -> None:
        """Learn from a sample; one in which nothing arrived tells of a cut, not of a rate."""
        if not sample.goodput_bytes_per_s:
            return
        if _is_full(sample):
            weight = _REMEMBERED if self._was_full else 0.0
            goodput = sample.goodput_bytes_per_s
            self.bytes_per_s = weight * self.bytes_per_s + (1 - weight) * goodput
            self._was_full = True
            return
        bound = max(sample.goodput_bytes_per_s, _able(sample))
        if self._was_full and self.bytes_per_s:
            bound = min(bound, _RISE * self.bytes_per_s)
        self.bytes_per_s = max(self.bytes_per_s, bound)


def _is_full(sample: LinkSample) -> bool:
    """Tell whether the link was at its limit.

    Where cores are short streams have no time to wait for work, so something has to wait for them.
    """
    return not sample.is_app_limited and sample.queue_bytes + sample.unsent_bytes > 0


def _able(sample: LinkSample) -> float:
    """Return bytes a second that a link which waits for work could carry at least."""
    if sample.rtt_us:
        # Streams that are seldom busy at once found out about the same path: they do not add up.
        window_bytes = sample.congestion_window_bytes / max(1, sample.stream_count)
        gain = _BBR_WINDOW_GAIN if sample.congestion_control == "bbr" else 1
        return window_bytes / gain * _US_PER_S / sample.rtt_us
    return sample.goodput_bytes_per_s / max(_BUSY_SHARE_MIN, 1 - sample.starved_share)
