"""The account of a flow is what its units' headers say."""

from transport.hde.account import FlowAccount
from transport.hde.blob import encode_blob
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import Named


def test_every_unit_is_counted_by_its_level() -> None:
    encoder, account = FlowEncoder(FlowSettings()), FlowAccount()
    raws = [b"abc" * 100, b"abc" * 101, b"abc" * 102]
    units = [encoder.encode(raw) for raw in raws[:2]]
    encoder.reset()
    units.append(encoder.encode(raws[2]))
    for unit in units:
        account.note(unit)
    found = account.to_json()

    assert found["key_units"] == 2
    assert found["delta_units"] == 1
    assert sum(one["units"] for one in found["levels"].values()) == 3
    assert sum(one["raw_bytes"] for one in found["levels"].values()) == sum(map(len, raws))
    assert sum(one["encoded_bytes"] for one in found["levels"].values()) == sum(map(len, units))
    assert FlowDecoder(1_000).decode(units[0]) == raws[0]


def test_another_zstd_level_empties_the_window_and_nothing_else() -> None:
    encoder, decoder = FlowEncoder(FlowSettings(level=9)), FlowDecoder(1_000)
    account, raws = FlowAccount(), [b"abc" * 100, b"abc" * 101, b"abc" * 102]
    for number, raw in enumerate(raws):
        if number:
            encoder.choice.ladder.level = 6
        unit = encoder.encode(raw)
        account.note(unit)
        assert decoder.decode(unit) == raw

    assert account.window_restarts == 1
    assert account.key_units == 1


def test_raw_units_and_units_with_a_base_are_told_apart() -> None:
    account = FlowAccount()
    account.note(FlowEncoder(FlowSettings(level=0)).encode(b"x"))
    old = b"0123456789" * 20
    account.note(encode_blob(Named.of(old + b"!"), Named.of(old)))
    found = account.to_json()

    assert set(found["levels"]) == {"raw", "H2"}
    assert found["baseline_refreshes"] == 1
    assert found["dictionary_hits"] == 0
