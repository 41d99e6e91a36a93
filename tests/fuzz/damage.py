"""Damaged units, from a seed."""

import random
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import BadUnitError
from tests.support.changes import ChangeDice
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import HEADER, Level
from transport.hde.window import WindowReader, WindowWriter, pack_typed, unpack_typed

RAW_BYTES_MAX: Final = 1 << 20
SETTINGS: Final = FlowSettings(window_log=17, memory_bytes=1 << 20)
_FLOWS: Final = 20  # flows of one seed; each is damaged many times


@dataclass
class Report:
    """What became of the damaged units."""

    units: int = 0
    refused: int = 0
    right: int = 0
    wrong: list[str] = field(default_factory=list)


def run(seed: int, count: int, report: Report) -> None:
    """Damage so many units of one seed."""
    dice = random.Random(seed)
    flows = []
    for number in range(_FLOWS):
        encoder = FlowEncoder(SETTINGS)
        raws = list(ChangeDice(seed * _FLOWS + number, 4).units(2, changes_max=3))
        flows.append([(encoder.encode(raw), raw) for raw in raws])
    for at in range(count):
        sent = flows[dice.randrange(_FLOWS)]
        known = dice.randrange(2)
        unit, raw = sent[known]
        if dice.random() < 0.5:
            damaged = _damage(dice, unit)
        else:
            known = 0
            damaged, raw = _inside(dice, *sent[0])
        decoder = FlowDecoder(RAW_BYTES_MAX, SETTINGS)
        for good, expected in sent[:known]:
            assert decoder.decode(good) == expected
        _judge(decoder, damaged, raw, f"seed {seed}, unit {at}", report)


def _judge(decoder: FlowDecoder, unit: bytes, raw: bytes, name: str, report: Report) -> None:
    report.units += 1
    try:
        result = decoder.decode(unit)
    except BadUnitError:
        report.refused += 1
    except Exception as error:  # noqa: BLE001 - what must never happen is what we look for
        report.wrong.append(f"{name}: {type(error).__name__} {error}")
    else:
        report.right += 1
        if result != raw:
            report.wrong.append(f"{name}: other bytes came out")


def _inside(dice: random.Random, unit: bytes, raw: bytes) -> tuple[bytes, bytes]:
    """Damage the sheet of a key unit, and pack it so that only the last hash can tell."""
    body = unit[HEADER.size :]
    if unit[0] != Level.TYPED:
        return _damage(dice, unit), raw
    memory, content, beside = unpack_typed(
        WindowReader(SETTINGS.window_log), body, RAW_BYTES_MAX, has_memory=True
    )
    if dice.random() < 0.8:
        content = _damage(dice, content)
    else:
        beside = _damage(dice, beside)
    packed = pack_typed(WindowWriter(1, SETTINGS.window_log), [memory], content, beside)
    return unit[: HEADER.size] + packed, raw


def _damage(dice: random.Random, content: bytes) -> bytes:
    """Flip, set, cut, repeat or insert."""
    data = bytearray(content or b"\0")
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        place = dice.randrange(len(data)) if data else 0
        kind = dice.randrange(6)
        if not data or kind == 0:
            data += dice.randbytes(dice.randrange(1, 9))
        elif kind <= 2:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 3:
            data[place] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        elif kind == 4:
            del data[place : place + dice.randrange(1, 9)]
        else:
            start = dice.randrange(len(data))
            data[place:place] = data[start : start + dice.randrange(1, 17)]
    return bytes(data)
