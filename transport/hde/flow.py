"""One flow: units in order, each built on all before it, from one end to the other.

`FlowEncoder` and `FlowDecoder` are what a session knows of HDE: bytes in, bytes out. An epoch
begins with a key unit and ends by `reset`, which the session does when the peer could not decode
a unit.
"""

from collections.abc import Callable
from typing import Final

from schemas.errors import BadUnitError
from transport.hde.choice import Choice
from transport.hde.dictionary import Dictionaries, pack_dictionary, unpack_dictionary
from transport.hde.ladder import Ladder
from transport.hde.settings import FlowSettings
from transport.hde.typed.batch import Batch, read_batch
from transport.hde.typed.decoder import TypedDecoder
from transport.hde.typed.encoder import TypedEncoder
from transport.hde.typed.records import FindSchema, RecordCutter
from transport.hde.typed.templates import Templates
from transport.hde.unit import (
    EPOCH_MASK,
    FLAG_ANEW,
    FLAG_CARRIED,
    FLAG_KEY,
    Level,
    Named,
    UnitHeader,
    body_bytes_max,
    check_raw,
    check_raw_bytes,
    content_hash,
    pack_unit,
    read_unit_header,
)
from transport.hde.window import WindowReader, WindowWriter, pack_typed, unpack_typed

_SOON: Final = 256  # units; an epoch that ends so soon may have ended because of how it began
_REFUSED_MAX: Final = 3
_SAMPLED_UNITS: Final = 200
_MIB: Final = 1 << 20

Find = Callable[[int], bytes | None]


class FlowEncoder:
    """The sending end of one flow; not to be used by two threads at once.

    Args:
        settings: Limits.
        dictionaries: Of the node; none of its own makes a flow that uses none.
        baseline: Raw bytes of a unit that both ends hold and take for sent, or nothing; used in
            the first epoch only, for a peer that refused that may not hold it.
        find_schema: Returns the Avro schema of a fingerprint (8 bytes), None if it is not known:
            with it strangers' records are typed too. The reading end needs no schemas.

    Attributes:
        epoch: Number of the epoch, modulo 65,536.
        choice: Chooses the level, and counts; tell it how long `encode` took.
        forgotten: Entities that the typed level had to forget so far.
    """

    def __init__(
        self,
        settings: FlowSettings | None = None,
        dictionaries: Dictionaries | None = None,
        baseline: bytes = b"",
        find_schema: FindSchema | None = None,
    ) -> None:
        self._settings = settings or FlowSettings()
        self._baseline, self._next_baseline = b"", baseline
        self._dictionaries = dictionaries or Dictionaries(0)
        self._distrusted: set[int] = set()
        self._carried: set[int] = set()
        self._refused = 0
        self._number = 0
        one = self._settings
        ladder = Ladder(max(one.level, 1), 1 << one.window_log)
        self.choice = Choice(one.level > 0, one.is_typed, one.rate_bytes_s, ladder)
        self.epoch = -1
        self.forgotten = 0
        self._templates = Templates()
        self._cutter = None if find_schema is None else RecordCutter(find_schema)
        self.reset()

    def reset(self) -> None:
        """Begin a new epoch: the next unit is a key unit."""
        if 0 < self._number <= _SOON:
            self._learn_refusal()
        else:
            self._refused = 0
        self.epoch = (self.epoch + 1) & EPOCH_MASK
        self._number = 0
        newest = self._dictionaries.newest
        self._named = 0 if newest in self._distrusted else newest
        dictionary = self._dictionaries.get(self._named) or b""
        level = self.choice.ladder.level
        self._window = WindowWriter(level, self._settings.window_log, dictionary)
        self._typed: TypedEncoder | None = None
        self._baseline, self._next_baseline = self._next_baseline, b""

    def _learn_refusal(self) -> None:
        """Leave out what the peer may have refused, so that no flow is stuck for ever."""
        if self._named:
            self._distrusted.add(self._named)
            self._carried.discard(self._named)
        self._refused += 1
        if self._refused >= _REFUSED_MAX:
            self.choice.is_typed = False

    @property
    def memory_in_use(self) -> tuple[int, int]:
        """Return how many entities the typed level remembers, and what they are charged, bytes."""
        if self._typed is None:
            return 0, 0
        memory = self._typed.memory
        return len(memory.entities), memory.charged_bytes

    def encode(self, raw: bytes) -> bytes:
        """Encode one unit; heavy, and zstd releases the GIL while it works."""
        picked = self.choice.pick(raw)
        is_anew = self._window.turn(self.choice.ladder.level)
        batch = None
        if picked is Level.TYPED:
            batch = read_batch(raw, self._templates, self._cutter)
        if picked is Level.TYPED and batch is None:
            picked = Level.WINDOW
        baseline_bytes = len(self._baseline)
        base = self._prime(picked) if self._baseline and not self._number else 0
        primed_bytes = baseline_bytes - len(self._baseline)
        level, body = self._body(picked, raw, batch)
        if level is not picked:
            base = 0  # it grew: a new epoch has begun, without the baseline
        flags = FLAG_ANEW * is_anew if self._number else FLAG_KEY
        named = 0 if self._number else self._named
        carried = self._carry(len(raw) - len(body))
        if carried:
            flags |= FLAG_CARRIED
        place = (level, flags, self.epoch, self._number)
        unit = pack_unit(place, Named.of(raw), carried + body, base, named)
        self._number += 1
        self.choice.learn(level, len(raw), len(unit), primed_bytes)
        return unit

    def _prime(self, level: Level) -> int:
        """Take the baseline for sent; returns its name, 0 if it could not be."""
        baseline, self._baseline = self._baseline, b""
        if level is Level.RAW or self.unsent(level, baseline) is None:
            self.reset()
            return 0
        return content_hash(baseline)

    def unsent(self, level: Level, baseline: bytes) -> bytes | None:
        """Return the body of a baseline, which both ends make; None if it is no batch."""
        if level is not Level.TYPED:
            return self._window.write(baseline)
        # Without schemas, for the peer, which makes it too, has none.
        batch = read_batch(baseline, self._templates)
        return None if batch is None else self._typed_body(batch, len(baseline))

    def _carry(self, room_bytes: int) -> bytes:
        """Return the newest dictionary, if the peer lacks it and there is room for it."""
        name = self._dictionaries.newest
        dictionary = self._dictionaries.get(name)
        if name in self._carried or name == self._named or dictionary is None:
            return b""
        packed = pack_dictionary(dictionary)
        if len(packed) > room_bytes:
            return b""
        self._carried.add(name)
        self._distrusted.discard(name)
        return packed

    def _body(self, level: Level, raw: bytes, batch: Batch | None) -> tuple[Level, bytes]:
        if batch is not None:
            typed = self._typed_body(batch, len(raw))
            if typed is not None:
                return level, typed
            level = Level.WINDOW
        if level is Level.WINDOW:
            self._sample(raw)
            return level, self._window.write(raw)
        return Level.RAW, raw

    def _typed_body(self, batch: Batch, raw_bytes: int) -> bytes | None:
        """Return a typed body; None for what would grow."""
        numbers: list[int] = []
        if self._typed is None:
            memory_mib = max(1, self._settings.memory_bytes // _MIB)
            self._typed = TypedEncoder(memory_mib * _MIB)
            numbers.append(memory_mib)
        content, beside, forgotten = self._typed.encode(batch)
        self.forgotten += forgotten
        self._sample(content)
        body = pack_typed(self._window, numbers, content, beside)
        if len(body) > body_bytes_max(raw_bytes):
            self.reset()  # what both ends remember is no longer alike
            return None
        return body

    def _sample(self, content: bytes) -> None:
        """Sample what the beginning of an epoch says: that is what a dictionary is for."""
        if self._number < _SAMPLED_UNITS:
            self._dictionaries.sample(content)


class FlowDecoder:
    """The receiving end of one flow.

    Args:
        raw_bytes_max: Largest unit accepted.
        settings: Limits.
        dictionaries: Of the node; those that units carry are held there.
        find: Returns a baseline by its `content_hash`, None if it is not held.

    Attributes:
        epoch: Number of the epoch that can be decoded now, -1 for none.
    """

    def __init__(
        self,
        raw_bytes_max: int,
        settings: FlowSettings | None = None,
        dictionaries: Dictionaries | None = None,
        find: Find = lambda _: None,
    ) -> None:
        self._find = find
        self._raw_bytes_max = raw_bytes_max
        self._settings = settings or FlowSettings()
        self._dictionaries = dictionaries or Dictionaries(0)
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
            self._window = WindowReader(self._settings.window_log, self._dictionary(header))
            self._typed: TypedDecoder | None = None
            self._number = 0
            if header.base:
                self._prime(header)
        elif header.epoch != epoch:
            self.epoch = epoch
            raise BadUnitError(f"a unit of epoch {header.epoch} without its key unit")
        if header.number != self._number:
            raise BadUnitError(f"unit {header.number} came where unit {self._number} belongs")
        body, dictionary = unit[header.body_start :], b""
        if header.flags & FLAG_ANEW:
            self._window.begin()
        if header.flags & FLAG_CARRIED:
            dictionary, body = unpack_dictionary(body)
        raw, _ = check_raw(header, self._content(header, body))
        if dictionary:
            self._dictionaries.hold(dictionary)
        self.epoch = header.epoch
        self._number += 1
        return raw

    def _prime(self, header: UnitHeader) -> None:
        """Take a baseline for received: make the body that was not sent, and read it."""
        baseline = self._find(header.base)
        if baseline is None:
            raise BadUnitError(f"baseline {header.base:016x} is not held here")
        held = Dictionaries(0)
        if header.dictionary:
            held.newest = held.hold(self._dictionary(header))
        body = FlowEncoder(self._settings, held).unsent(Level(header.codec), baseline)
        if body is None:
            raise BadUnitError(f"baseline {header.base:016x} is no batch")
        self._content(header._replace(raw_bytes=len(baseline)), body)

    def _dictionary(self, header: UnitHeader) -> bytes:
        if not header.dictionary:
            return b""
        dictionary = self._dictionaries.get(header.dictionary)
        if dictionary is None:
            raise BadUnitError(f"dictionary {header.dictionary:016x} is not held here")
        return dictionary

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
