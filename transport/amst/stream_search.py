"""Finds the number of data streams while the link runs: a search that ends.

::

    settle ──► measure ──► one step: try more | try one fewer | hold
       ▲                        │                       │
       └──── keep or undo ◄─────┘        link changed, or time to look again

Rules, each paid for by a measurement:

- The first ten round trips after any change are not looked at: slow start and its burst are no
  steady state. Then two seconds in a row have to agree before anything is judged.
- More are tried only where they can help: the send buffers limit, or no queue stands in the path.
  A step up is kept if the goodput rose, and goes on if it rose by 15 %.
- Where loss lets streams fall behind what they have carried, the formula says how many keep it.
  For the same reason a step up that brought nothing yet is kept if so few could not keep it.
- A full path with many repetitions is tried with one stream fewer; one that is overrun is halved.
- Then it holds. A search that goes on for ever costs more than it finds.
- Seconds in which there was too little to send say nothing and are not judged.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from transport.amst.samples import LinkSample
from transport.amst.signs import (
    CHANGED_SAMPLES,
    decision,
    falls_behind,
    has_changed,
    is_full,
    is_nearly_full,
    is_overrun,
    why_more,
)
from transport.amst.stream_count import (
    LOSS_BLIND,
    Decision,
    PathEstimate,
    Reason,
    StreamLimits,
    start_count,
    streams_for_loss,
)

DECISIONS_MAX: Final = 256
_SETTLE_NS_MIN: Final = 2_000_000_000
_SETTLE_ROUND_TRIPS: Final = 10
_AGREE_SHARE: Final = 0.2
_MEASURED_MAX: Final = 8  # seconds that disagree: then their mean has to do
_GO_ON_GAIN: Final = 0.15
_KEEP_GAIN: Final = 0.05
_MORE_TIMES: Final = 1.25  # what the formula has to ask for, of what there is
_REPEATED_COST: Final = 0.02
_TRIM_SHARE: Final = 0.95
_RECENT: Final = 10
_LOOK_AGAIN_NS: Final = 10_000_000_000
_LOOK_AGAIN_AFTER_UNDO_NS: Final = 60_000_000_000
_LOOK_AGAIN_NS_MAX: Final = 600_000_000_000


@dataclass(frozen=True, slots=True)
class _Trial:
    """A step that is being tried, and what it has to beat; whether loss asks for it in any case."""

    before: int
    goodput: float
    repeated_share: float
    is_for_loss: bool


class StreamSearch:
    """Decides how many data streams a link wants.

    Args:
        now_ns: Of the caller's monotonic clock, as in all samples.
        limits: What is allowed.
        path: What is believed of the path, for the first count.
        congestion_control: Who steers the streams.

    Attributes:
        count: Data streams wanted now.
        decisions: The last decisions, oldest first.
    """

    def __init__(
        self,
        now_ns: int,
        limits: StreamLimits,
        path: PathEstimate | None = None,
        congestion_control: str = "",
    ) -> None:
        self._limits = limits
        self.count = start_count(limits, path, congestion_control)
        self.decisions: deque[Decision] = deque(
            [Decision(now_ns, 0, self.count, Reason.START)], DECISIONS_MAX
        )
        self._settled_ns = now_ns + _SETTLE_NS_MIN
        self._trial: _Trial | None = None
        self._held: float | None = None  # goodput to expect; None while measuring
        self._ceiling = limits.most
        self._look_again_ns = 0
        self._pause_ns = _LOOK_AGAIN_AFTER_UNDO_NS
        self._trim_again_ns = 0
        self._seen: deque[LinkSample] = deque(maxlen=_RECENT)
        self._repeated_shares: deque[float] = deque([0.0], _RECENT)

    @property
    def is_holding(self) -> bool:
        """Whether the search has ended for now."""
        return self._held is not None

    def set_limits(self, now_ns: int, limits: StreamLimits) -> None:
        """Take other limits while running; the count follows at once. The same change nothing."""
        if limits == self._limits:
            return
        self._limits, self._ceiling = limits, limits.most
        count = min(max(self.count, limits.least), limits.most)
        if count != self.count:
            self._change(now_ns, count, Reason.LIMITS)
            self._measure_anew()

    def restart(self, now_ns: int) -> None:
        """Begin a new session: with as many streams as the last one, measured anew."""
        self._note(now_ns, Reason.START)
        self._measure_anew()
        self._settled_ns = now_ns + _SETTLE_NS_MIN

    def observe(self, sample: LinkSample) -> int:
        """Take the last second into account; return how many data streams are wanted."""
        if not sample.is_app_limited:
            self._repeated_shares.append(sample.repeated_share)
        if sample.stream_count != self.count or sample.is_app_limited:
            self._settle(sample)
        elif sample.at_ns >= self._settled_ns:
            self._seen.append(sample)
            self._judge(sample)
        return self.count

    def _judge(self, sample: LinkSample) -> None:
        if self.count > self._limits.least and is_overrun(list(self._seen)):
            self._halve(sample)
        elif falls_behind(list(self._seen)) and (wanted := self._wanted_for_loss()):
            self._ceiling = self._limits.most
            self._change(sample.at_ns, wanted, Reason.TRY_LOSS)
            self._measure_anew()
        elif self._held is not None:
            self._look_after(sample, self._held)
        elif self._is_steady():
            self._finish_measuring(sample)

    def _wanted_for_loss(self) -> int:
        """Return how many streams loss leaves what was carried lately; 0 if hardly more than now.

        The median of ten seconds is of the path: a start's own overrun is over in one or two.
        """
        most = max(one.goodput_bytes_per_s for one in self._seen)
        last = self._seen[-1]
        path = PathEstimate(most, last.min_rtt_us * 1_000, median(self._repeated_shares))
        wanted = min(streams_for_loss(path, last.congestion_control), self._limits.most)
        return wanted if wanted >= _MORE_TIMES * self.count else 0

    def _halve(self, sample: LinkSample) -> None:
        self._ceiling = count = max(self._limits.least, self.count // 2)
        self._wait_before_more(sample.at_ns)
        self._change(sample.at_ns, count, Reason.OVERRUN)
        self._measure_anew()

    def _is_steady(self) -> bool:
        if len(self._seen) < 2:  # noqa: PLR2004 - judge twice
            return False
        before, last = (one.goodput_bytes_per_s for one in list(self._seen)[-2:])
        agree = abs(last - before) <= _AGREE_SHARE * max(last, before)
        return agree or len(self._seen) >= _MEASURED_MAX

    def _finish_measuring(self, sample: LinkSample) -> None:
        last = list(self._seen)[-2:]
        goodput = fmean(one.goodput_bytes_per_s for one in last)
        trial, self._trial = self._trial, None
        if trial is None:
            self._step_up_or_hold(sample, goodput)
        elif self.count > trial.before:
            self._finish_more(sample, trial, goodput)
        else:
            self._finish_fewer(sample, trial, goodput)

    def _finish_more(self, sample: LinkSample, trial: _Trial, goodput: float) -> None:
        gain = goodput / max(1.0, trial.goodput) - 1
        repeated = fmean(one.repeated_share for one in list(self._seen)[-2:])
        is_dear = repeated > trial.repeated_share + _REPEATED_COST
        is_vain = gain < _KEEP_GAIN and not trial.is_for_loss
        if is_vain or (is_dear and gain < _GO_ON_GAIN):
            self._ceiling = trial.before
            self._wait_before_more(sample.at_ns)
            self._change(sample.at_ns, trial.before, Reason.UNDO)
            self._hold(sample.at_ns, trial.goodput)
            return
        self._note(sample.at_ns, Reason.KEEP)
        if is_dear and self._is_trim_due(list(self._seen)[-2:], sample.at_ns):
            self._try(sample.at_ns, self.count - 1, Reason.TRIM)
        elif gain < _GO_ON_GAIN or is_dear or is_nearly_full(list(self._seen), gain):
            self._wait_before_more(sample.at_ns)
            self._hold(sample.at_ns, goodput)
        else:
            self._step_up_or_hold(sample, goodput)

    def _finish_fewer(self, sample: LinkSample, trial: _Trial, goodput: float) -> None:
        if goodput >= _TRIM_SHARE * trial.goodput:
            self._ceiling = self.count
            self._note(sample.at_ns, Reason.TRIMMED)
            self._hold(sample.at_ns, goodput)
        else:
            self._trim_again_ns = sample.at_ns + _LOOK_AGAIN_NS_MAX
            self._change(sample.at_ns, trial.before, Reason.UNTRIM)
            self._hold(sample.at_ns, trial.goodput)
        self._wait_before_more(sample.at_ns)

    def _step_up_or_hold(self, sample: LinkSample, goodput: float) -> None:
        last = list(self._seen)[-2:]
        if self.count >= min(self._limits.most, self._ceiling):
            is_most = self.count >= self._limits.most
            self._note(sample.at_ns, Reason.MOST if is_most else Reason.CEILING)
            self._hold(sample.at_ns, goodput)
        elif is_full(last):
            self._note(sample.at_ns, Reason.FULL)
            self._hold(sample.at_ns, goodput)
        else:
            self._try(sample.at_ns, min(2 * self.count, self._limits.most), why_more(last))

    def _look_after(self, sample: LinkSample, held: float) -> None:
        """Hold, unless the link is no longer what it was."""
        recent = list(self._seen)
        last = recent[-CHANGED_SAMPLES:]
        if len(last) == CHANGED_SAMPLES and has_changed(last, held):
            self._ceiling = self._limits.most
            self._note(sample.at_ns, Reason.CHANGED)
            self._measure_anew()
        elif len(last) == CHANGED_SAMPLES and self._is_trim_due(last, sample.at_ns):
            self._try(sample.at_ns, self.count - 1, Reason.TRIM)
        elif sample.at_ns >= self._look_again_ns and len(recent) == _RECENT:
            has_room = sum(is_full([one]) for one in recent) < _RECENT / 2
            if has_room and self.count < self._limits.most:
                self._ceiling = self._limits.most
                self._try(sample.at_ns, min(2 * self.count, self._limits.most), why_more(recent))

    def _is_trim_due(self, last: Sequence[LinkSample], now_ns: int) -> bool:
        return (
            self.count > self._limits.least
            and now_ns >= self._trim_again_ns
            and last[-1].congestion_control in LOSS_BLIND
            and fmean(one.repeated_share for one in last) > _REPEATED_COST
            and is_full(last)
        )

    def _try(self, now_ns: int, count: int, reason: Reason) -> None:
        last = list(self._seen)[-CHANGED_SAMPLES:]
        self._trial = _Trial(
            self.count,
            median(one.goodput_bytes_per_s for one in last),  # bbr's probes make single dips
            fmean(one.repeated_share for one in last),
            bool(self._wanted_for_loss()),
        )
        self._change(now_ns, count, reason)
        self._held = None

    def _hold(self, now_ns: int, goodput: float) -> None:
        self._held = goodput
        self._look_again_ns = max(self._look_again_ns, now_ns + _LOOK_AGAIN_NS)
        self._seen.clear()

    def _measure_anew(self) -> None:
        self._held = self._trial = None
        self._seen.clear()

    def _wait_before_more(self, now_ns: int) -> None:
        """Look again later each time that more turned out to be no better."""
        self._look_again_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LOOK_AGAIN_NS_MAX)

    def _settle(self, sample: LinkSample) -> None:
        wait_ns = max(_SETTLE_NS_MIN, _SETTLE_ROUND_TRIPS * sample.min_rtt_us * 1_000)
        self._settled_ns = sample.at_ns + wait_ns
        self._seen.clear()

    def _change(self, now_ns: int, count: int, reason: Reason) -> None:
        self._note(now_ns, reason, count)
        if self._seen:
            self._settle(self._seen[-1])
        self.count = count

    def _note(self, now_ns: int, reason: Reason, after: int | None = None) -> None:
        counts = (self.count, self.count if after is None else after)
        self.decisions.append(decision(now_ns, counts, reason, list(self._seen)[-2:]))
