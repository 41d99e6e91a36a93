"""One flow: units in order, each built on all before it, from one end to the other.

`FlowEncoder` and `FlowDecoder` are what a session knows of HDE: bytes in, bytes out. An epoch
begins with a key unit and ends by `reset`, which the session does when the peer could not decode
a unit.
"""

from dataclasses import dataclass

from schemas.errors import BadUnitError
from transport.hde.unit import (
    EPOCH_MASK,
    FLAG_KEY,
    Level,
    UnitHeader,
    check_raw,
    check_raw_bytes,
    pack_unit,
    read_unit_header,
)
from transport.hde.window import LEVEL, WINDOW_LOG, WindowReader, WindowWriter


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Limits of a flow; the decoding end's have to be no smaller.

    Attributes:
        level: zstd level; 0 sends raw.
        window_log: Window size as a power of two.
    """

    level: int = LEVEL
    window_log: int = WINDOW_LOG


class FlowEncoder:
    """The sending end of one flow; not to be used by two threads at once.

    Args:
        settings: Limits.

    Attributes:
        epoch: Number of the epoch, modulo 65,536.
    """

    def __init__(self, settings: FlowSettings | None = None) -> None:
        self._settings = settings or FlowSettings()
        self.epoch = -1
        self.reset()

    def reset(self) -> None:
        """Begin a new epoch: the next unit is a key unit."""
        self.epoch = (self.epoch + 1) & EPOCH_MASK
        self._number = 0
        self._window = WindowWriter(max(self._settings.level, 1), self._settings.window_log)

    def encode(self, raw: bytes) -> bytes:
        """Encode one unit; releases the GIL while zstd works."""
        flags = 0 if self._number else FLAG_KEY
        codec, body = Level.RAW, raw
        if self._settings.level:
            codec, body = Level.WINDOW, self._window.write(raw)
        unit = pack_unit((codec, flags, self.epoch, self._number), raw, body)
        self._number += 1
        return unit


class FlowDecoder:
    """The receiving end of one flow.

    Args:
        raw_bytes_max: Largest unit accepted.
        settings: Limits.

    Attributes:
        epoch: Number of the epoch that can be decoded now, -1 for none.
    """

    def __init__(self, raw_bytes_max: int, settings: FlowSettings | None = None) -> None:
        self._raw_bytes_max = raw_bytes_max
        self._settings = settings or FlowSettings()
        self.epoch = -1

    def decode(self, unit: bytes) -> bytes:
        """Decode one unit.

        Raises:
            BadUnitError: It names another epoch or place, is not what was encoded, or is too
                large; no later unit of this epoch can be decoded.
        """
        header = read_unit_header(unit)
        epoch, self.epoch = self.epoch, -1  # until it is known to be good
        check_raw_bytes(header, self._raw_bytes_max)
        if header.is_key:
            self._window = WindowReader(self._settings.window_log)
            self._number = 0
        elif header.epoch != epoch:
            self.epoch = epoch
            raise BadUnitError(f"a unit of epoch {header.epoch} without its key unit")
        if header.number != self._number:
            raise BadUnitError(f"unit {header.number} came where unit {self._number} belongs")
        raw = check_raw(header, self._content(header, unit[header.body_start :]))
        self.epoch = header.epoch
        self._number += 1
        return raw

    def _content(self, header: UnitHeader, body: bytes) -> bytes:
        if header.codec == Level.RAW:
            return body
        if header.codec != Level.WINDOW:
            raise BadUnitError(f"codec {header.codec} is not known here")
        return self._window.read(body, header.raw_bytes)
