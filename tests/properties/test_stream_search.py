"""Whatever a link reports, the search keeps to its limits and can say why."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from transport.aio.tcp_info import parse_tcp_info
from transport.amst.samples import LinkSample
from transport.amst.stream_count import PathEstimate, Reason, StreamLimits, start_count
from transport.amst.stream_search import DECISIONS_MAX, StreamSearch

SHARE = st.floats(0, 1)
SECOND = st.fixed_dictionaries(
    {
        "goodput_bytes_per_s": st.floats(0, 1e10),
        "repeated_share": SHARE,
        "rtt_us": st.integers(0, 5_000_000),
        "min_rtt_us": st.integers(0, 1_000_000),
        "send_buffer_limited_share": SHARE,
        "receive_window_limited_share": SHARE,
        "starved_share": SHARE,
        "congestion_control": st.sampled_from(["", "bbr", "cubic", "reno"]),
        "lag": st.integers(0, 2),  # streams that are not open yet
    }
)
LIMITS = st.tuples(st.integers(1, 16), st.integers(1, 16)).map(
    lambda pair: StreamLimits(min(pair), max(pair))
)
PATH = st.builds(
    PathEstimate,
    rate_bytes_per_s=st.floats(0, 1e11),
    rtt_ns=st.integers(0, 10_000_000_000),
    loss_share=SHARE,
)


def a_sample(second: int, count: int, drawn: dict[str, Any]) -> LinkSample:
    fields = {name: value for name, value in drawn.items() if name != "lag"}
    return LinkSample(
        at_ns=second * 1_000_000_000,
        duration_ns=1_000_000_000,
        stream_count=max(0, count - drawn["lag"]),
        congestion_window_bytes=0,
        unsent_bytes=0,
        queue_bytes=0,
        **fields,
    )


@given(limits=LIMITS, seconds=st.lists(SECOND, max_size=60))
def test_the_count_keeps_to_its_limits_and_every_change_is_a_decision(
    limits: StreamLimits, seconds: list[dict[str, Any]]
) -> None:
    search = StreamSearch(0, limits)
    counts = [search.count]
    for second, drawn in enumerate(seconds, 1):
        counts.append(search.observe(a_sample(second, search.count, drawn)))
    chain = list(search.decisions)

    assert all(limits.least <= count <= limits.most for count in counts)
    assert all(early.after == late.before for early, late in pairwise(chain))
    assert chain[-1].after == search.count
    assert sum(a != b for a, b in pairwise(counts)) == sum(d.before != d.after for d in chain[1:])
    assert len(chain) <= DECISIONS_MAX


@given(seconds=st.lists(SECOND, max_size=40))
def test_seconds_with_too_little_to_send_decide_nothing(seconds: list[dict[str, Any]]) -> None:
    search = StreamSearch(0, StreamLimits(most=16))
    for second, drawn in enumerate(seconds, 1):
        search.observe(a_sample(second, search.count, drawn | {"starved_share": 0.5}))

    assert [decision.reason for decision in search.decisions] == [Reason.START]


@given(limits=LIMITS, path=PATH, control=st.sampled_from(["bbr", "cubic"]))
def test_whatever_is_believed_of_a_path_the_start_keeps_to_the_limits(
    limits: StreamLimits, path: PathEstimate, control: str
) -> None:
    assert limits.least <= start_count(limits, path, control) <= limits.most


@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_as_far_as_they_go(content: bytes) -> None:
    reading = parse_tcp_info(content)

    assert min(reading.acked_bytes, reading.sent_bytes, reading.rtt_us, reading.busy_us) >= 0
