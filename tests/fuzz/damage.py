"""Damaged units, from a seed."""

import random
import resource
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from schemas.errors import BadUnitError
from tests.support.changes import ChangeDice
from tests.support.records import RecordDice
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import FLAG_KEY, HEADER, Level
from transport.hde.window import WindowReader, WindowWriter, pack_typed, unpack_typed

RAW_BYTES_MAX: Final = 1 << 20
SETTINGS: Final = FlowSettings(window_log=17, memory_bytes=1 << 20)
_FLOWS: Final = 20  # flows of one seed; each is damaged many times
_BOMB_BYTES: Final = 64 << 20
_RAW_BYTES: Final = 4  # place of the raw length among the header's fields

Sent = tuple[bytes, bytes]  # a unit and its raw bytes


@dataclass
class Report:
    """What became of the damaged units."""

    units: int = 0
    refused: int = 0
    right: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Count in what another process found."""
        self.units += other.units
        self.refused += other.refused
        self.right += other.right
        self.wrong += other.wrong


@lru_cache(maxsize=1)
def _first_peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def work(task: tuple[int, int]) -> tuple[Report, float]:
    """Run a seed and a count; returns the report, and what memory grew by in this process, MiB.

    The first seed of a process is not counted: it loads libraries.
    """
    report = Report()
    run(*task, report)
    first_kib = _first_peak_kib()
    return report, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first_kib) / 1024


def run(seed: int, count: int, report: Report) -> None:
    """Damage so many units of one seed."""
    dice = random.Random(seed)
    flows = [
        _flow(seed * _FLOWS + number, has_strangers=number % 3 == 0) for number in range(_FLOWS)
    ]
    for at in range(count):
        decoder = FlowDecoder(RAW_BYTES_MAX, SETTINGS)
        known, damaged, allowed = _case(dice, flows)
        for good, expected in known:
            assert decoder.decode(good) == expected
        _judge(decoder, damaged, allowed, f"seed {seed}, unit {at}", report)


def _flow(seed: int, *, has_strangers: bool) -> list[Sent]:
    """Return two units of our changes, or of strangers' records."""
    if has_strangers:
        records = RecordDice(seed, 2)
        encoder = FlowEncoder(SETTINGS, find_schema=records.schemas.get)
        return [(encoder.encode(raw), raw) for raw in records.units(2, records_max=12)]
    encoder = FlowEncoder(SETTINGS)
    raws = ChangeDice(seed, 4).units(2, changes_max=3)
    return [(encoder.encode(raw), raw) for raw in raws]


def _case(dice: random.Random, flows: list[list[Sent]]) -> tuple[list[Sent], bytes, list[bytes]]:
    """Return what the decoder has read, what it gets, and what may come out of that."""
    sent = dice.choice(flows)
    at = dice.randrange(2)
    unit, raw = sent[at]
    kind = dice.randrange(10)
    if kind < 5:
        inside, raw = _inside(dice, *sent[0])
        return [], inside, [raw]
    if kind == 5:
        other, other_raw = dice.choice(flows)[dice.randrange(2)]
        cut = dice.randrange(1, len(unit))
        return sent[:at], unit[:cut] + other[min(cut, len(other)) :], [raw, other_raw]
    if kind == 6:  # lost before, or here twice: only a key unit may begin anew
        return sent[: dice.choice((1 - at, at + 1))], unit, [raw]
    if kind == 7:
        return [], _too_long(dice, unit), [raw]
    return sent[:at], _damage(dice, unit), [raw]


def _too_long(dice: random.Random, unit: bytes) -> bytes:
    """Return a key unit that announces another length than it has, or unpacks to far more."""
    fields = list(HEADER.unpack_from(unit))
    fields[1] = FLAG_KEY
    if dice.random() < 0.5:
        fields[_RAW_BYTES] = dice.choice((0, 1, RAW_BYTES_MAX, RAW_BYTES_MAX + 1, 0xFFFFFFFF))
        return HEADER.pack(*fields) + unit[HEADER.size :]
    fields[0] = Level.WINDOW
    return HEADER.pack(*fields) + _bomb()


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    return WindowWriter(1, SETTINGS.window_log).write(bytes(_BOMB_BYTES))


def _judge(
    decoder: FlowDecoder, unit: bytes, allowed: list[bytes], name: str, report: Report
) -> None:
    report.units += 1
    try:
        result = decoder.decode(unit)
    except BadUnitError:
        report.refused += 1
    except Exception as error:  # noqa: BLE001 - what must never happen is what we look for
        report.wrong.append(f"{name}: {type(error).__name__} {error}")
    else:
        report.right += 1
        if result not in allowed:
            report.wrong.append(f"{name}: other bytes came out")


def _inside(dice: random.Random, unit: bytes, raw: bytes) -> tuple[bytes, bytes]:
    """Damage the sheet of a key unit, and pack it so that only the last hash can tell."""
    if unit[0] != Level.TYPED:
        return _damage(dice, unit), raw
    memory, content, beside = _sheet(unit)
    if dice.random() < 0.8:
        content = _damage(dice, content)
    else:
        beside = _damage(dice, beside)
    packed = pack_typed(WindowWriter(1, SETTINGS.window_log), [memory], content, beside)
    return unit[: HEADER.size] + packed, raw


@lru_cache(maxsize=_FLOWS)
def _sheet(unit: bytes) -> tuple[int, bytes, bytes]:
    """Return the memory that a key unit tells, and what went through the window and beside it."""
    window = WindowReader(SETTINGS.window_log)
    return unpack_typed(window, unit[HEADER.size :], RAW_BYTES_MAX, has_memory=True)


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
