"""The choice of a level: by cost, raw for what does not shrink, every one counted."""

import random

from transport.hde.choice import Choice
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import Level

RAW = b"abcdefgh" * 1_000


def measured(choice: Choice, level: Level, encoded_bytes: int, encode_ns: int) -> None:
    choice.learn(level, len(RAW), encoded_bytes)
    choice.report(encode_ns)


def test_bytes_are_dear_while_nobody_knows_the_rate() -> None:
    choice = Choice()
    measured(choice, Level.WINDOW, 400, 1_000)
    measured(choice, Level.TYPED, 300, 1_000_000)

    assert choice.pick(RAW) is Level.TYPED


def test_the_slower_of_core_and_link_decides() -> None:
    choice = Choice()
    measured(choice, Level.WINDOW, 400, 8_000)
    measured(choice, Level.TYPED, 100, 200_000)
    picks = {}
    for rate_bytes_s in (1e5, 1e9):
        choice.rate_bytes_s = rate_bytes_s
        picks[rate_bytes_s] = [choice.pick(RAW) for _ in range(60)]

    # 400 bytes take 4 ms at 100 kB/s, so 0.2 ms of CPU are well spent; at 1 GB/s they are not.
    assert picks[1e5].count(Level.TYPED) == 59
    assert picks[1e9].count(Level.WINDOW) == 60


def test_only_cpu_counts_while_the_core_is_what_is_short() -> None:
    choice = Choice()
    measured(choice, Level.WINDOW, 400, 8_000)
    measured(choice, Level.TYPED, 100, 200_000)

    assert choice.pick(RAW) is Level.TYPED
    choice.is_core_short = True
    assert choice.pick(RAW) is Level.WINDOW
    choice.is_core_short = False
    assert choice.pick(RAW) is Level.TYPED


def test_the_level_not_used_is_measured_anew_now_and_then() -> None:
    choice = Choice(rate_bytes_s=1e9)
    measured(choice, Level.WINDOW, 400, 8_000)
    measured(choice, Level.TYPED, 100, 200_000)

    picks = [choice.pick(RAW) for _ in range(256)]

    assert picks.count(Level.TYPED) == 2


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
    costs = encoder.choice.costs
    assert costs[Level.RAW].units == 18
    assert costs[Level.WINDOW].units == 2
    total = sum(map(len, units))
    assert sum(cost.encoded_bytes for cost in costs.values()) == total
    assert total < 1.005 * sum(map(len, raws))
