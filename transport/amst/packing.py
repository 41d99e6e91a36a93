"""Many small messages in one unit: joined per flush, since each unit costs as much as a hundred.

======  =====  =====================================================================
offset  bytes  meaning
======  =====  =====================================================================
0       4      number of messages, n; big-endian
4       4 n    length of each
..      ..     the messages, one after the other
======  =====  =====================================================================
"""

import itertools
import struct
from collections.abc import Sequence
from typing import Final

from schemas.errors import MalformedMessageError

_COUNT: Final = struct.Struct("!I")


def pack(messages: Sequence[bytes]) -> bytes:
    """Return one unit for all messages, in order."""
    count = len(messages)
    head = struct.pack(f"!{count + 1}I", count, *map(len, messages))
    return b"".join((head, *messages))


def unpack(unit: bytes) -> list[bytes]:
    """Return the messages of a unit.

    Raises:
        MalformedMessageError: The unit is not what `pack` makes.
    """
    size = len(unit)
    count = _COUNT.unpack_from(unit)[0] if size >= _COUNT.size else size
    start = _COUNT.size * (count + 1)
    if start > size:
        raise MalformedMessageError(f"{size:,} bytes are no unit of {count:,} messages")
    ends = list(itertools.accumulate(struct.unpack_from(f"!{count}I", unit, 4), initial=start))
    if ends[-1] != size:
        raise MalformedMessageError(f"{count:,} messages end at {ends[-1]:,}, the unit at {size:,}")
    return [unit[one:other] for one, other in itertools.pairwise(ends)]
