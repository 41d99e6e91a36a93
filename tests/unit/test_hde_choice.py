"""The choice of a level: by cost, raw for what does not shrink, every one counted."""

import random
from collections import Counter

from transport.hde.choice import Choice, Why
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import Level, read_unit_header

RAW = b"abcdefgh" * 1_000

Costs = dict[Level, tuple[int, int]]  # encoded bytes of a unit, nanoseconds of CPU
Picks = Counter[tuple[Level, Why]]

COSTS: Costs = {Level.TYPED: (100, 200_000), Level.WINDOW: (400, 8_000)}


def measured(choice: Choice, costs: Costs = COSTS, units: int = 1, raw: bytes = RAW) -> Picks:
    """Let a choice pick, and tell it what its picks cost."""
    picks: Picks = Counter()
    for _ in range(units):
        level = choice.pick(raw)
        picks[level, choice.why] += 1
        encoded_bytes, encode_ns = costs[level]
        choice.learn(level, len(raw), encoded_bytes)
        choice.report(encode_ns)
    return picks


def test_bytes_are_dear_while_nobody_knows_the_rate() -> None:
    picks = measured(Choice(), units=100)

    assert picks == {(Level.TYPED, Why.DEAR): 93, (Level.WINDOW, Why.TRY): 7}


def test_a_backlog_is_not_tried_while_nobody_knows_the_rate() -> None:
    picks = measured(Choice(), units=100, raw=RAW * 40)

    assert picks == {(Level.TYPED, Why.DEAR): 100}


def test_the_slower_of_core_and_link_decides_and_tries_are_few() -> None:
    choice = Choice(rate_bytes_s=1e5)
    slow = measured(choice, units=1_000)
    choice.rate_bytes_s = 1e9
    fast = measured(choice, units=1_000)

    # 400 bytes take 4 ms at 100 kB/s, so 0.2 ms of CPU are well spent; at 1 GB/s they are not.
    assert slow[Level.TYPED, Why.COST] >= 990
    assert fast[Level.WINDOW, Why.COST] >= 990
    assert choice.counts.total() == 2_000


def test_tries_cost_a_hundredth_of_all_at_most() -> None:
    choice = Choice(rate_bytes_s=1e9)
    picks = measured(choice, units=100_000)
    tried = picks[Level.TYPED, Why.TRY] - 2
    spent_ns = sum(count * COSTS[level][1] for (level, _), count in picks.items())

    assert tried > 10
    assert tried * COSTS[Level.TYPED][1] <= 0.01 * spent_ns


def test_a_level_that_became_cheaper_is_found_by_its_tries() -> None:
    choice = Choice(rate_bytes_s=1e5)
    measured(choice, {Level.TYPED: (390, 200_000), Level.WINDOW: (400, 8_000)}, 1_000)
    better = {Level.TYPED: (390, 200_000), Level.WINDOW: (100, 8_000)}

    assert measured(choice, better, 6_000)[Level.WINDOW, Why.COST] > 1_000


def test_what_is_hardly_cheaper_does_not_take_over() -> None:
    choice = Choice(rate_bytes_s=1e5)
    even = {Level.TYPED: (400, 8_000), Level.WINDOW: (390, 8_000)}

    assert measured(choice, even, 1_000)[Level.WINDOW, Why.COST] == 0


def test_small_and_large_units_are_known_apart() -> None:
    choice = Choice(rate_bytes_s=1e6)
    dear = {Level.TYPED: (10, 900_000), Level.WINDOW: (40, 8_000)}
    measured(choice, dear, 100, RAW[:100])
    cheap = {Level.TYPED: (1_000, 900_000), Level.WINDOW: (4_000, 80_000)}
    large = measured(choice, cheap, 100, RAW * 10)

    assert large[Level.TYPED, Why.COST] > 90
    assert measured(choice, dear, 10, RAW[:100])[Level.WINDOW, Why.COST] > 8


def test_only_cpu_counts_while_the_core_is_what_is_short() -> None:
    choice = Choice(rate_bytes_s=1e5)
    measured(choice, units=10)

    assert measured(choice)[Level.TYPED, Why.COST] == 1
    choice.is_core_short = True
    assert measured(choice)[Level.WINDOW, Why.CORE] == 1
    choice.is_core_short = False
    assert measured(choice)[Level.TYPED, Why.COST] == 1


def test_a_bound_on_the_rate_makes_bytes_dear_whatever_is_short() -> None:
    choice = Choice(bound_bytes_s=1e5, rate_bytes_s=1e9)
    measured(choice, units=10)

    assert measured(choice)[Level.TYPED, Why.COST] == 1
    choice.is_core_short = True
    assert measured(choice)[Level.TYPED, Why.CORE] == 1


def test_a_baseline_that_was_encoded_with_the_first_unit_is_not_charged_to_it() -> None:
    choice = Choice(rate_bytes_s=1e5)
    choice.learn(choice.pick(RAW), len(RAW), 100, primed_bytes=99 * len(RAW))
    choice.report(100 * 200_000)

    assert measured(choice, units=100)[Level.TYPED, Why.COST] > 90


def test_a_level_that_no_unit_can_take_is_left_out_but_for_tries() -> None:
    encoder = FlowEncoder(FlowSettings(rate_bytes_s=1e5))
    for number in range(1_000):
        encoder.encode(b"no batch at all, number %d" % number * 10)
        encoder.choice.report(10_000)

    assert encoder.choice.counts[Why.COST] > 980


def test_off_sends_everything_raw() -> None:
    assert Choice(is_compressing=False).pick(RAW) is Level.RAW


def test_what_does_not_shrink_goes_raw_and_is_tried_again_more_and_more_rarely() -> None:
    choice, noise = Choice(), random.Random(1).randbytes(4_000)
    for _ in range(2):
        choice.learn(choice.pick(noise), len(noise), len(noise))

    picks = [choice.pick(noise) for _ in range(100)]
    assert set(picks) == {Level.RAW}
    for _ in range(64):
        level = choice.pick(RAW)
    assert level is Level.TYPED


def test_noise_grows_by_little_and_every_unit_is_counted() -> None:
    dice, encoder = random.Random(2), FlowEncoder(FlowSettings())
    decoder = FlowDecoder(1 << 20)
    raws = [dice.randbytes(50_000) for _ in range(20)]

    units = [encoder.encode(raw) for raw in raws]

    assert [decoder.decode(unit) for unit in units] == raws
    levels = Counter(read_unit_header(unit).codec for unit in units)
    assert levels == {Level.RAW: 18, Level.WINDOW: 2}
    total = sum(map(len, units))
    assert encoder.choice.counts == {Why.DEAR: 2, Why.UNSHRUNK: 18}
    assert total < 1.005 * sum(map(len, raws))
