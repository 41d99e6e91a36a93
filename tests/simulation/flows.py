"""One flow of HDE under fire: units damaged, lost and repeated, dictionaries and baselines missing.

No session and no clock: what a session does about a refused unit, a new epoch some units later, is
done here. Both ends are the real ones, and what they remember is compared.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from connectors.log import LogRecord, RecordRange
from schemas.changes import set_field
from schemas.errors import BadUnitError
from schemas.registry import encode_event
from streams.replication import encode_batch
from tests.simulation.violation import Violation, broken_promise
from tests.support.changes import ChangeDice
from tests.support.records import RecordDice
from transport.hde.dictionary import Dictionaries
from transport.hde.flow import FlowDecoder, FlowEncoder
from transport.hde.settings import FlowSettings
from transport.hde.unit import (
    FLAG_CARRIED,
    Level,
    UnitHeader,
    content_hash,
    read_unit_header,
    unit_bytes_max,
)

RAW_BYTES_MAX: Final = 1 << 22
UNITS: Final = 40
REFUSED_EPOCHS_MAX: Final = 4  # a dictionary, a baseline, both ends' bad luck, and one more
DICTIONARIES_HELD_MAX: Final = 8
ACTS: Final = ("damage", "lose", "repeat", "train", "forget_dictionaries")


@dataclass(slots=True)
class FlowReport:
    """What became of one schedule; `check` names the broken promise, empty when none was."""

    seed: int
    steps: int = 0
    check: str = ""
    what: str = ""
    faults: list[str] = field(default_factory=list)
    levels: Counter[Level] = field(default_factory=Counter)
    forgotten: int = 0


class Flow:
    """Both ends of a flow, and what is done to the units between them.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.report = FlowReport(seed)
        self.dice = dice = Random(f"{seed} flow")
        self._is_large = dice.random() < 0.08  # more entities than the memory takes
        self._settings = FlowSettings(
            level=dice.choice((0, 1, 3, 3)) or self._is_large,
            window_log=17,
            is_typed=dice.random() < 0.8 or self._is_large,
            memory_bytes=1 << 20,
        )
        self._changes = ChangeDice(seed, dice.choice((4, 40)))
        self._strangers = Random(f"{seed} strangers")
        self._stranger_share = self._strangers.choice((0, 0, 0.3, 0.8))
        self._records = RecordDice(seed, 4)
        self._levels = Random(f"{seed} zstd levels")
        self._ticks = 0
        self._refused_epochs = 0
        self._ours, self._theirs = Dictionaries(0), Dictionaries(0)
        baseline = self._raw() if dice.random() < 0.5 else b""
        self._baselines = {content_hash(baseline): baseline} if dice.random() < 0.5 else {}
        if dice.random() < 0.4:
            self.train()
        if dice.random() < 0.5:
            self._theirs.hold(self._ours.get(self._ours.newest) or b"none")
        find_schema = self._records.schemas.get
        self._encoder = FlowEncoder(self._settings, self._ours, baseline, find_schema)
        self._decoder = self._reader(RAW_BYTES_MAX, self._theirs)
        self._weights = [dice.choice((0, 0, 1, 3)) for _ in ACTS]
        # A flow leaves the typed level out after its third refusal: some have fewer.
        self._fault_share = dice.choice((0.04, 0.04, 0.3))
        self._next: tuple[int, int] | None = (0, 0)  # epoch and number that can be read
        # A damaged unit may give the right bytes, and leave a window that reads no other.
        self._is_tainted = False
        self._due_units = 0  # until the sender learns that a unit was refused
        self._carried: set[int] = set()  # in this epoch

    def run(self) -> None:
        """Send units under fire, then some in peace.

        Raises:
            Violation: A promise was broken.
        """
        for number in range(UNITS):
            self.report.steps += 1
            act = ""
            is_fire = number < UNITS * 3 // 4 and any(self._weights)
            if is_fire and self.dice.random() < self._fault_share:
                (act,) = self.dice.choices(ACTS, self._weights)
                self.report.faults.append(act)
            if act in ("train", "forget_dictionaries"):
                getattr(self, act)()
            self._send(act)
        self.report.forgotten = self._encoder.forgotten

    def train(self) -> None:
        """Have a new dictionary: zstd takes any bytes for one."""
        said = b"".join(self._raw() for _ in range(3))[:3_000]
        self._ours.newest = self._ours.hold(said + self.dice.randbytes(8))
        # This one may be refused, too.
        self._refused_epochs = max(0, self._refused_epochs - 1)

    def forget_dictionaries(self) -> None:
        """Let the peer lose its dictionaries, as a restart does."""
        self._theirs = Dictionaries(0)
        self._decoder._dictionaries = self._theirs

    def _raw(self) -> bytes:
        if self._is_large:
            return self._counters([self.dice.randrange(4_000) for _ in range(100)])
        if self._strangers.random() < self._stranger_share:
            return self._records.unit(20)
        if self.dice.random() < 0.3:
            return self._counters(range(5))
        return self._changes.unit(self.dice.choice((1, 6, 6, 20)))

    def _counters(self, numbers: Iterable[int]) -> bytes:
        """Make a unit of patches whose numbers grow evenly, as no dice would have it."""
        self._ticks += 1
        changes = [
            self._changes.change()
            | {"entity_id": f"counter {at}", "operation": "patch", "document": None}
            | {"deltas": [set_field("/n", 1_000_003 * at * self._ticks)]}
            for at in numbers
        ]
        value = encode_event("StateBatch", {"producer": "p", "changes": changes})
        record = LogRecord(0, 1_700_000_000_000 + self._ticks, None, value, ())
        return encode_batch([RecordRange(0, 0, 1, [record])], RAW_BYTES_MAX)

    def _reader(self, raw_bytes_max: int, held: Dictionaries) -> FlowDecoder:
        return FlowDecoder(raw_bytes_max, self._settings, held, self._baselines.get)

    def _send(self, act: str) -> None:
        if self._next is None:
            if not self._due_units:
                self._encoder.reset()
                self._carried.clear()
                self._next = self._encoder.epoch, 0
            self._due_units -= 1
        raw = self._raw() if self.dice.random() < 0.9 else self.dice.randbytes(2_000)
        if self._encoder._number and self._levels.random() < 0.1:
            self._encoder.choice.ladder.level = self._levels.choice((1, 3, 6))
        unit = self._encoder.encode(raw)
        header = read_unit_header(unit)
        self.report.levels[Level(header.codec)] += 1
        self._check_sent(header, raw, unit)
        if act == "lose":
            if self._next is not None:
                self._refuse()
            self._next = None
            return
        is_damaged = act == "damage" or (
            header.flags & FLAG_CARRIED and act == "" and self.dice.random() < self._fault_share
        )
        for _ in range(2 if act == "repeat" else 1):
            self._deliver(header, raw, self._damaged(unit) if is_damaged else unit, unit)

    def _check_sent(self, header: UnitHeader, raw: bytes, unit: bytes) -> None:
        if len(unit) > unit_bytes_max(len(raw)):
            raise Violation("no unit grows beyond its bound", f"{len(unit)} of {len(raw)} bytes")
        if header.flags & FLAG_CARRIED:
            if self._ours.newest in self._carried:
                raise Violation("a dictionary travels once in an epoch", header)
            self._carried.add(self._ours.newest)
        if raw and header.is_key:
            small = self._reader(len(raw) - 1, self._theirs)
            if _decoded(small.decode, unit) is not None:
                raise Violation("nothing above the limit is read", header)

    def _deliver(self, header: UnitHeader, raw: bytes, unit: bytes, sent: bytes) -> None:
        """Let the reading end read, and compare with what it has to do."""
        place = header.epoch, header.number
        is_damaged = unit is not sent
        is_next = place == self._next and not self._is_tainted
        must = not is_damaged and (self._holds(header) if header.is_key else is_next)
        before = self._theirs.held()
        result = _decoded(self._decoder.decode, unit)
        if result is None:
            if must:
                raise Violation("an honest unit is read", header)
            if self._theirs.held() != before:
                raise Violation("a refused unit leaves nothing behind", header)
            self._count_refusal(header, is_damaged=is_damaged)
            return
        if result != raw:
            raise Violation("never other bytes", header)
        if not must and not is_damaged and not self._is_tainted:
            raise Violation("units are read once, in order", f"{header}, not {self._next}")
        self._next = header.epoch, header.number + 1
        self._refused_epochs = 0
        self._is_tainted = is_damaged or (self._is_tainted and not header.is_key)
        self._check_held(header, is_damaged=is_damaged)

    def _count_refusal(self, header: UnitHeader, *, is_damaged: bool) -> None:
        if header.is_key and not is_damaged:
            self._refused_epochs += 1
        if self._refused_epochs > REFUSED_EPOCHS_MAX:
            raise Violation("an epoch that is refused is followed by one that is read", header)
        if self._next is not None:
            self._refuse()
        self._next = None

    def _refuse(self) -> None:
        self._due_units = self.dice.choice((0, 0, 1, 3))

    def _holds(self, header: UnitHeader) -> bool:
        return (not header.base or header.base in self._baselines) and (
            not header.dictionary or header.dictionary in self._theirs.held()
        )

    def _check_held(self, header: UnitHeader, *, is_damaged: bool) -> None:
        is_carried = header.flags & FLAG_CARRIED and not is_damaged
        if is_carried and self._ours.newest not in self._theirs.held():
            raise Violation("a dictionary that was taken is held", header)
        for held in (self._ours, self._theirs):
            if len(held.held()) > DICTIONARIES_HELD_MAX:
                raise Violation("a node holds few dictionaries", len(held.held()))
        if header.codec == Level.TYPED and not self._is_tainted:
            self._check_memory(self._encoder._typed, self._decoder._typed)

    def _check_memory(self, *ends: Any) -> None:
        ours, theirs = (end.memory for end in ends)
        if ours.entities.keys() != theirs.entities.keys():
            raise Violation("both ends remember the same", "other entities")
        for memory in (ours, theirs):
            charged = sum(entity.charge for entity in memory.entities.values())
            if not charged == memory.charged_bytes <= memory.budget_bytes:
                detail = f"{charged}, said {memory.charged_bytes}, of {memory.budget_bytes} bytes"
                raise Violation("what is remembered is charged, and bounded", detail)

    def _damaged(self, unit: bytes) -> bytes:
        data = bytearray(unit)
        for _ in range(self.dice.choice((1, 1, 3))):
            place = self.dice.randrange(len(data))
            if self.dice.random() < 0.3:
                del data[place:]
                break
            data[place] ^= 1 << self.dice.randrange(8)
        return bytes(data)


def _decoded(decode: Callable[[bytes], bytes], unit: bytes) -> bytes | None:
    try:
        return decode(unit)
    except BadUnitError:
        return None


def run_flow(seed: int) -> FlowReport:
    """Run one schedule and say what came of it."""
    flow = Flow(seed)
    flow.report.check, flow.report.what = broken_promise(flow.run)
    return flow.report
