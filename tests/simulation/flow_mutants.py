"""Bugs of typed level, dictionaries and baselines that `tests.simulation.flows` is known to find.

A bug that both ends share costs bytes only; these make them differ, or break what holds a flow
together.
"""

from typing import Final

from tests.simulation.planting import Mutant

_ENCODER: Final = "transport.hde.flow:FlowEncoder"
_DECODER: Final = "transport.hde.flow:FlowDecoder"
_TYPED: Final = "transport.hde.typed"
_MEMORY: Final = f"{_TYPED}.memory:Memory"

FLOWING: Final = (
    Mutant(  # found in the real code
        "baseline: taken for sent at a level that the first unit has not",
        f"{_ENCODER}.encode",
        "if picked is Level.TYPED and batch is None:",
        "if picked is None:",
    ),
    Mutant(
        "typed: the reading end forgets nothing",
        f"{_TYPED}.decoder:TypedDecoder.decode",
        "self.memory.end_unit()",
        "pass",
    ),
    Mutant(
        "typed: what is forgotten stays charged",
        f"{_MEMORY}._trim",
        "self.charged_bytes -= entity.charge",
        "pass",
    ),
    Mutant(
        "typed: a line is read as one step",
        f"{_TYPED}.numbers:NumberTable.read",
        "steps = groups.running(residuals, self._steps[groups.keys])",
        "steps = residuals",
    ),
    Mutant(
        "typed: minus zero is zero",
        f"{_TYPED}.numbers:fixed_codes",
        "(scaled != 0) | ~np.signbit(values)",
        "scaled == scaled",
    ),
    Mutant(
        "typed: an id loses its leading zeros",
        f"{_TYPED}.encoder:_Rows._write_id",
        'and (digits[0] != 48 or digits == b"0")',
        "",
    ),
    Mutant(
        "typed: a text with a zero in it is split there",
        f"{_TYPED}.sheet:_join",
        'joined.count(b"\\0") == len(texts) - 1',
        "joined is not None",
    ),
    Mutant(
        "records: what would not come back is cut",
        f"{_TYPED}.records:RecordCutter.cut",
        "cut.leaves) == body",
        "cut.leaves) != b'no'",
    ),
    Mutant(
        "what was decoded is not compared with its hash",
        "transport.hde.unit:check_raw",
        "or found.name != name",
        "or found.name < 0",
    ),
    Mutant(
        "a lost unit goes unnoticed",
        f"{_DECODER}.decode",
        "header.number != self._number",
        "header.number < 0",
    ),
    Mutant(
        "an epoch goes on behind a bad unit",
        f"{_DECODER}.decode",
        "epoch, self.epoch = self.epoch, -1",
        "epoch = self.epoch",
    ),
    Mutant(
        "dictionary: one that was refused is named again",
        f"{_ENCODER}.reset",
        "0 if newest in self._distrusted else newest",
        "newest",
    ),
    Mutant(
        "dictionary: what a unit carried is not held",
        f"{_DECODER}.decode",
        "self._dictionaries.hold(dictionary)",
        "pass",
    ),
    Mutant(
        "dictionary: one is held before its unit is known to be good",
        f"{_DECODER}.decode",
        "dictionary, body = unpack_dictionary(body)",
        "dictionary, body = unpack_dictionary(body); self._dictionaries.hold(dictionary)",
    ),
    Mutant(
        "dictionary: every unit carries it",
        f"{_ENCODER}._carry",
        "self._carried.add(name)",
        "pass",
    ),
    Mutant(
        "dictionary: it is carried where there is no room",
        f"{_ENCODER}._carry",
        "if len(packed) > room_bytes:",
        "if not packed:",
    ),
    Mutant(
        "dictionary: none ever goes",
        "transport.hde.dictionary:Dictionaries.hold",
        "while len(self._held) > _HELD_MAX:",
        "while not self._held:",
    ),
    Mutant(
        "a window that begins anew does so in silence",
        f"{_ENCODER}.encode",
        "FLAG_ANEW * is_anew if",
        "0 if",
    ),
    Mutant(
        "a window that begins anew does so at one end",
        f"{_DECODER}.decode",
        "header.flags & FLAG_ANEW:",
        "header.flags & FLAG_ANEW > FLAG_ANEW:",
    ),
    Mutant(
        "baseline: one that was refused is named again",
        f"{_ENCODER}.reset",
        'self._baseline, self._next_baseline = self._next_baseline, b""',
        "self._baseline = self._next_baseline",
    ),
    Mutant(
        "baseline: the reading end does not take it for received",
        f"{_DECODER}.decode",
        "if header.base:",
        "if header.base < 0:",
    ),
)
