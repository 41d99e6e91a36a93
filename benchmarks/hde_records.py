"""A stranger's records: an Avro container of readings, from a seed.

    python -m benchmarks.hde_records readings.avro [--devices N] [--records N] [--seed N]
    dwcp hde bench --input readings.avro --key device.id --batch 100

Each device tells its history, in turn with some jitter: counters that grow, temperatures that
drift, a state that seldom changes, an alarm that seldom is there, times, labels, a check sum.
"""

import argparse
import random
from collections.abc import Iterator
from typing import Any, Final

import fastavro
from fastavro.schema import parse_schema

_START_MS: Final = 1_767_225_600_000
_EVERY_MS: Final = 10_000
_STATES: Final = ("IDLE", "BUSY", "DRAINING", "FAULTY")
_FIRMWARE: Final = ("4.1.0", "4.1.2", "4.2.0-rc1")


def _long_of(logical: str) -> dict[str, str]:
    return {"type": "long", "logicalType": logical}


def _record(name: str, **fields: Any) -> dict[str, Any]:
    pairs = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": pairs}


SCHEMA: Final = _record(
    "example.Reading",
    device=_record(
        "example.Device",
        id="string",
        serial={"type": "string", "logicalType": "uuid"},
        site={"type": "enum", "name": "example.Site", "symbols": ["FRA", "IAD", "SIN"]},
        labels={"type": "map", "values": "string"},
    ),
    sequence="long",
    at=_long_of("timestamp-millis"),
    booted=_long_of("timestamp-micros"),
    state={"type": "enum", "name": "example.State", "symbols": list(_STATES)},
    firmware="string",
    temperature="double",
    humidity=["null", "double"],
    power="float",
    is_calibrated="boolean",
    cores={
        "type": "array",
        "items": _record("example.Core", load="double", ticks="long", throttled="int"),
    },
    alarm=["null", _record("example.Alarm", code="int", since="long", text="string")],
    check={"type": "fixed", "name": "example.Check", "size": 8},
)


class _Device:
    """One device and its history."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self._dice = dice
        digits = f"{dice.getrandbits(128):032x}"
        self._device = {
            "id": f"device-{number:05d}",
            "serial": f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}",
            "site": dice.choice(("FRA", "IAD", "SIN")),
            "labels": {"rack": f"r{number // 40}", "slot": str(number % 40), "tier": "edge"},
        }
        self._sequence = dice.randrange(1_000)
        self._booted_us = _START_MS * 1_000 - dice.randrange(10**12)
        self._state = "IDLE"
        self._firmware = dice.choice(_FIRMWARE)
        self._temperature = dice.randrange(3_000, 6_000)
        self._humidity = dice.randrange(200, 700)
        self._ticks = [dice.randrange(10**9) for _ in range(dice.choice((2, 4)))]
        self._alarm: dict[str, Any] | None = None

    def read(self, at_ms: int) -> dict[str, Any]:
        """Return the next record."""
        dice = self._dice
        self._sequence += 1
        self._temperature += dice.randrange(-20, 21)
        self._humidity += dice.randrange(-2, 3)
        if dice.random() < 0.03:  # noqa: PLR2004 - chances are made up
            self._state = dice.choice(_STATES)
        if dice.random() < 0.01:  # noqa: PLR2004
            is_new = self._alarm is None
            alarm = {"code": dice.randrange(900), "since": at_ms, "text": "fan speed is low"}
            self._alarm = alarm if is_new else None
        loads = [dice.randrange(1_000) for _ in self._ticks]
        self._ticks = [ticks + load * 1_000 for ticks, load in zip(self._ticks, loads, strict=True)]
        return {
            "device": self._device,
            "sequence": self._sequence,
            "at": at_ms,
            "booted": self._booted_us,
            "state": self._state,
            "firmware": self._firmware,
            "temperature": self._temperature / 100,
            "humidity": None if self._state == "FAULTY" else self._humidity / 10,
            "power": dice.randrange(80, 120) / 4,
            "is_calibrated": True,
            "cores": [
                {"load": load / 1_000, "ticks": ticks, "throttled": 0}
                for load, ticks in zip(loads, self._ticks, strict=True)
            ],
            "alarm": self._alarm,
            "check": dice.randbytes(8),
        }


def records(device_count: int, record_count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield so many records."""
    dice = random.Random(seed)
    devices = [_Device(number, dice) for number in range(device_count)]
    for at in range(record_count):
        at_ms = _START_MS + at * _EVERY_MS // device_count + dice.randrange(2_000)
        yield devices[at % device_count].read(at_ms)


def main() -> None:
    """Write a container."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("path")
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    made = records(options.devices, options.records, options.seed)
    with open(options.path, "wb") as file:  # noqa: PTH123 - a path as it was given
        # The marker that parts the blocks is random otherwise, and the hash of the file with it.
        fastavro.writer(file, parse_schema(SCHEMA), made, sync_marker=bytes(16))
    print(f"{options.records:,} records of {options.devices:,} devices in {options.path}")


if __name__ == "__main__":
    main()
