"""HDE level H1: dictionaries trained on what flows carry, held by hash.

A flow's window is empty at its start and after a reset. With a dictionary it begins with what such
flows usually say: keys, shapes and names. The writing end samples what it sends; a job of the
shell trains; the flow carries the result to the peer inside a unit that has room for it; and the
key unit of the next epoch names it. A peer that does not hold it refuses that unit, and the next
epoch does without.

Nothing here does I/O or reads a clock; one thread at a time may train while flows go on.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import zstandard

from schemas.errors import BadUnitError
from transport.hde.unit import content_hash

DICTIONARY_BYTES: Final = 102_400
DICTIONARY_BYTES_MAX: Final = 262_144
_HELD_MAX: Final = 8
_SAMPLE_BYTES: Final = 2_048
_SAMPLES_MIN: Final = 1_000
_UNIT_SAMPLES_MAX: Final = 16
_TESTED: Final = 100
_DRIFT: Final = 0.8  # a ratio below this part of that at training is worth a new one
_LEVEL: Final = 3


class Dictionaries:
    """What one node holds, for all its flows.

    Args:
        size_bytes: Largest dictionary that is trained; 0 trains none.

    Attributes:
        newest: Name of the one that was trained last, 0 for none.
        ratio: How well the newest shrank what it was trained on.
        trained_count: How often one was trained; `kept_count` how often the old one still did.
    """

    def __init__(self, size_bytes: int = DICTIONARY_BYTES) -> None:
        self.newest = 0
        self.ratio = 0.0
        self.trained_count = 0
        self.kept_count = 0
        self._size_bytes = size_bytes
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._samples: list[bytes] = []

    def get(self, name: int) -> bytes | None:
        """Return a dictionary by its hash."""
        return self._held.get(name)

    def held(self) -> dict[int, bytes]:
        """Return what is held by name, the oldest first."""
        return dict(self._held)

    def hold(self, dictionary: bytes) -> int:
        """Hold a dictionary and return its name; the oldest goes when there are too many.

        Raises:
            BadUnitError: It is empty, or larger than any that we would train.
        """
        if not 0 < len(dictionary) <= DICTIONARY_BYTES_MAX:
            raise BadUnitError(f"a dictionary of {len(dictionary):,} bytes")
        name = content_hash(dictionary)
        self._held[name] = dictionary
        while len(self._held) > _HELD_MAX:
            self._held.popitem(last=False)
        return name

    def restore(self, dictionary: bytes, ratio: float) -> None:
        """Hold again what was held before a restart.

        Args:
            dictionary: The content.
            ratio: What was noted of it when it was trained here; 0: a peer sent it.

        Raises:
            BadUnitError: As `hold`.
        """
        name = self.hold(dictionary)
        if ratio and self._size_bytes and not self.trained_count:
            self.newest, self.ratio = name, ratio

    def sample(self, content: bytes) -> None:
        """Keep pieces of what goes through a window, until there are enough to train on."""
        if not self._size_bytes or self.is_due:
            return
        step = max(_SAMPLE_BYTES, len(content) // _UNIT_SAMPLES_MAX)
        for start in range(0, len(content), step):
            self._samples.append(content[start : start + _SAMPLE_BYTES])

    @property
    def is_due(self) -> bool:
        """Tell whether `train` has something to do."""
        return len(self._samples) >= _SAMPLES_MIN

    def train(self) -> int | None:
        """Train on the samples so far, if the newest no longer does well; heavy.

        Returns:
            The name of a new dictionary; None if the old one will do, or none could be made.
        """
        samples, self._samples = self._samples, []
        newest = self._held.get(self.newest)
        if newest is not None and _ratio(newest, samples[:_TESTED]) >= _DRIFT * self.ratio:
            self.kept_count += 1
            return None
        dictionary = train_dictionary(samples, self._size_bytes)
        if dictionary is None:
            return None
        self.ratio = _ratio(dictionary, samples[:_TESTED])
        self.newest = self.hold(dictionary)
        self.trained_count += 1
        return self.newest


def train_dictionary(samples: Sequence[bytes], size_bytes: int) -> bytes | None:
    """Train a dictionary; None if the samples are too few or too much alike."""
    try:
        return zstandard.train_dictionary(size_bytes, list(samples), level=_LEVEL).as_bytes()
    except zstandard.ZstdError:
        return None


def pack_dictionary(dictionary: bytes) -> bytes:
    """Return a dictionary as a unit carries it."""
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(dictionary)
    return len(packed).to_bytes(4, "big") + packed


def unpack_dictionary(body: bytes) -> tuple[bytes, bytes]:
    """Split a body into the dictionary that it carries, and the rest.

    Raises:
        BadUnitError: It carries none, or one that is too large.
    """
    end = 4 + int.from_bytes(body[:4], "big")
    if len(body) < end:
        raise BadUnitError("a unit ends inside its dictionary")
    limits = zstandard.ZstdDecompressor(max_window_size=1 << 20)
    try:
        frame = zstandard.get_frame_parameters(body[4:end])
        if not 0 < frame.content_size <= DICTIONARY_BYTES_MAX:
            raise BadUnitError(f"a dictionary of {frame.content_size:,} bytes")
        return limits.decompress(body[4:end]), body[end:]
    except zstandard.ZstdError as error:
        raise BadUnitError(f"a dictionary that is none: {error}") from error


def _ratio(dictionary: bytes, samples: Sequence[bytes]) -> float:
    trained = zstandard.ZstdCompressionDict(dictionary)
    compressor = zstandard.ZstdCompressor(level=1, dict_data=trained)
    packed = sum(len(compressor.compress(sample)) for sample in samples)
    return sum(map(len, samples)) / max(1, packed)
