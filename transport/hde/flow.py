"""One flow: units in order, each built on all before it, from one end to the other.

`FlowEncoder` and `FlowDecoder` are what a session knows of HDE: bytes in, bytes out. An epoch
begins with a key unit and ends by `reset`, which the session does when the peer could not decode
a unit.
"""

from dataclasses import dataclass
from typing import Final

from schemas.errors import BadUnitError
from transport.hde.choice import Choice
from transport.hde.typed.batch import read_batch
from transport.hde.typed.decoder import TypedDecoder
from transport.hde.typed.encoder import TypedEncoder
from transport.hde.typed.templates import Templates
from transport.hde.unit import (
    EPOCH_MASK,
    FLAG_KEY,
    Level,
    UnitHeader,
    body_bytes_max,
    check_raw,
    check_raw_bytes,
    pack_unit,
    read_unit_header,
)
from transport.hde.window import (
    LEVEL,
    WINDOW_LOG,
    WindowReader,
    WindowWriter,
    pack_typed,
    unpack_typed,
)

MEMORY_BYTES: Final = 100_000_000
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Limits of a flow; those of the decoding end have to be no smaller.

    Attributes:
        level: zstd level; 0 sends raw.
        window_log: Window size as a power of two.
        is_typed: Use the typed level where it pays.
        memory_bytes: What the typed level may remember, on each end.
    """

    level: int = LEVEL
    window_log: int = WINDOW_LOG
    is_typed: bool = True
    memory_bytes: int = MEMORY_BYTES


class FlowEncoder:
    """The sending end of one flow; not to be used by two threads at once.

    Args:
        settings: Limits.

    Attributes:
        epoch: Number of the epoch, modulo 65,536.
        choice: Chooses the level, and counts; tell it how long `encode` took.
        forgotten: Entities that the typed level had to forget so far.
    """

    def __init__(self, settings: FlowSettings | None = None) -> None:
        self._settings = settings or FlowSettings()
        self.choice = Choice(self._settings.level > 0, self._settings.is_typed)
        self.epoch = -1
        self.forgotten = 0
        self._templates = Templates()
        self.reset()

    def reset(self) -> None:
        """Begin a new epoch: the next unit is a key unit."""
        self.epoch = (self.epoch + 1) & EPOCH_MASK
        self._number = 0
        self._window = WindowWriter(max(self._settings.level, 1), self._settings.window_log)
        self._typed: TypedEncoder | None = None

    def encode(self, raw: bytes) -> bytes:
        """Encode one unit; heavy, and zstd releases the GIL while it works."""
        level, body = self._body(self.choice.pick(raw), raw)
        flags = 0 if self._number else FLAG_KEY
        unit = pack_unit((level, flags, self.epoch, self._number), raw, body)
        self._number += 1
        self.choice.learn(level, len(raw), len(unit))
        return unit

    def _body(self, level: Level, raw: bytes) -> tuple[Level, bytes]:
        if level is Level.TYPED:
            typed = self._typed_body(raw)
            if typed is not None:
                return level, typed
            level = Level.WINDOW
        if level is Level.WINDOW:
            return level, self._window.write(raw)
        return Level.RAW, raw

    def _typed_body(self, raw: bytes) -> bytes | None:
        """Return a typed body; None for what is no batch, or would grow."""
        batch = read_batch(raw, self._templates)
        if batch is None:
            return None
        numbers: list[int] = []
        if self._typed is None:
            memory_mib = max(1, self._settings.memory_bytes // _MIB)
            self._typed = TypedEncoder(memory_mib * _MIB)
            numbers.append(memory_mib)
        content, beside, forgotten = self._typed.encode(batch)
        self.forgotten += forgotten
        body = pack_typed(self._window, numbers, content, beside)
        if len(body) > body_bytes_max(len(raw)):
            self.reset()  # what both ends remember is no longer alike
            return None
        return body


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
            self._typed: TypedDecoder | None = None
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
        if header.codec == Level.WINDOW:
            return self._window.read(body, header.raw_bytes)
        if header.codec != Level.TYPED:
            raise BadUnitError(f"codec {header.codec} is not known here")
        parts = unpack_typed(self._window, body, header.raw_bytes, has_memory=not self._typed)
        memory_mib, content, beside = parts
        if self._typed is None:
            if not 0 < memory_mib * _MIB <= max(self._settings.memory_bytes, _MIB):
                raise BadUnitError(f"the flow wants to remember {memory_mib:,} MiB")
            self._typed = TypedDecoder(memory_mib * _MIB)
        return self._typed.decode(content, beside, header.raw_bytes)
