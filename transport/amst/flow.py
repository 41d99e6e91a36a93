"""One flow of the sending half, as its scheduler sees it."""

from dataclasses import dataclass, field

from transport.amst.piece import Piece


@dataclass(slots=True)
class OutgoingFlow:
    """What a scheduler knows of one flow.

    Attributes:
        window_bytes: What the receiver may have to keep until its turn comes.
        next_sequence: Of the next frame; of an object, its size.
        base: All before was passed on by the receiver.
        unreported_count: Frames submitted and not reported.
        unreported_bytes: Bytes taken by a data stream and not reported.
        early: Sizes of frames that were reported out of turn, which the receiver keeps.
        out: Frames taken at least once and not reported.
    """

    window_bytes: int
    is_object: bool = False
    next_sequence: int = 0
    base: int = 0
    unreported_count: int = 0
    unreported_bytes: int = 0
    early_bytes: int = 0
    early: dict[int, int] = field(default_factory=dict)
    out: dict[int, Piece] = field(default_factory=dict)

    @property
    def kept_bytes(self) -> int:
        """What the receiver may have to keep until its turn comes."""
        return self.unreported_bytes + self.early_bytes

    def move_base(self, before: int) -> None:
        """Take the peer's word that all before a sequence was passed on."""
        self.base = max(self.base, before)
        for sequence in [sequence for sequence in self.early if sequence < self.base]:
            self.early_bytes -= self.early.pop(sequence)
