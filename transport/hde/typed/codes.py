"""How one changed field is written, and what that needs.

======== ===================================================================
code     what travels
======== ===================================================================
SAME     nothing: the value that the entity had
NUMBER   the number in the text, against a guess; affix as before
REPEAT   nothing: the text of the field before it
HEX      the bytes of the hex digits; frame as before
TEXT     the text, through the window
KNOWN    the number of a text that travelled lately
LONG     an Avro long, against a guess
FIXED2   a double as hundredths, against a guess
FIXED6   a double as millionths, against a guess
LOOSE    8 bytes: a double, or a very long long
NULL, TRUE, FALSE  nothing
MOVED    how far away the leaf stood in the document before
======== ===================================================================
"""

from typing import Final

(
    SAME,
    NUMBER,
    REPEAT,
    HEX,
    TEXT,
    KNOWN,
    LONG,
    FIXED2,
    FIXED6,
    LOOSE,
    NULL,
    TRUE,
    FALSE,
    MOVED,
) = range(14)

CODE_COUNT: Final = 14
FLAGS: Final = {NULL: None, TRUE: True, FALSE: False}
HAS_NUMBER: Final = frozenset((NUMBER, KNOWN, LONG, FIXED2, FIXED6, MOVED))
MOVES_CONTEXT: Final = 0  # one for all moves: lists move as a whole
MOVED_BYTES_MIN: Final = 7  # shorter leaves are alike by chance
FIXED_UNITS: Final = {FIXED2: 100, FIXED6: 1_000_000}
LONG_MAX: Final = 1 << 60
VALUE_MAX: Final = 1 << 61
DOUBLE_MAX: Final = 1 << 52  # whole numbers up to it are exact

# What a frame says of the contents, ids and traces of its changes.
NO_CONTENT, DOCUMENT, PATCH, PLAIN_DOCUMENT, RECORD_LEAVES = range(5)
ID_NUMBER, ID_TEXT, ID_UUID, NO_ID = range(4)
NO_TRACE, TRACE_TEXT, TRACE_HEX = range(3)
# What stands in place of the number of something that travels for the first time.
NEW: Final = -1
NO_VALUE, OPAQUE, ONE_CHANGE, BATCH, RECORD = range(5)
NO_KEY, KEY_IS_ENTITY, OTHER_KEY = range(3)


def number_context(code: int, context: int) -> int:
    """Return the context of a cell's number: some codes have one beside that of the field."""
    if code == MOVED:
        return MOVES_CONTEXT
    return context + 1 if code in (KNOWN, FIXED6) else context
