"""Numbers, times and hex digits inside short texts.

`17`, `"1916880"`, `12.50`, `"128Ki"` and `"2021-07-07T11:32:20Z"` are all an *affix* around one
number. Two texts of one affix differ by a number only, and a text is rebuilt from both exactly:
whatever would not be (leading zeros, a 30th of February) has no affix.
"""

import binascii
import itertools
import re
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

from schemas.errors import BadUnitError

TEXT_BYTES_MAX: Final = 96
VALUE_MAX: Final = 1 << 60
# Possessive: what cannot match is given up at once.
_NUMBER: Final = re.compile(rb"([^0-9]*+)(0|[1-9][0-9]{0,17}+)(?:\.([0-9]{1,6}+))?+([^0-9.]*+)")
_TIME: Final = re.compile(
    rb"([^0-9]*+)([0-9]{4}-[0-9]{2}-[0-9]{2})([T ])([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])"
    rb"(?:\.([0-9]{3}|[0-9]{6}))?([^0-9.]*+)"
)
_TIMES_MAX: Final = 4_096  # many entities tell the same second
_HEX: Final = re.compile(
    rb"(.{0,48}?)((?:[0-9a-f]{2}){8,32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})([^0-9a-f]*)"
)
_UUID_DASHES: Final = (8, 13, 18, 23)
_CLOCK_MASK: Final = (1 << 48) - 1  # whatever time a record claims, its number fits a long
_DAY_S: Final = 86_400
_EPOCH_DAYS: Final = date(1970, 1, 1).toordinal()


class Affix(NamedTuple):
    """What stands around a number; `time` is the separator of a time of day, or empty."""

    before: bytes
    decimals: int
    after: bytes
    time: bytes


class HexFrame(NamedTuple):
    """What stands around hex digits; a size of 0 is a UUID with its dashes."""

    before: bytes
    size_bytes: int
    after: bytes


UUID_FRAME: Final = HexFrame(b"", 0, b"")
TRACE_FRAME: Final = HexFrame(b"", 16, b"")


def read_number(text: bytes) -> tuple[Affix, int] | None:
    """Split a text into affix and number, or return None where there is none.

    A time's number counts its smallest digit since 1970.
    """
    if len(text) > TEXT_BYTES_MAX:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return _read_time(text)
    before, whole, part, after = match.groups()
    decimals = 0 if part is None else len(part)
    value = int(whole + part) if part else int(whole)
    return (Affix(before, decimals, after, b""), value) if value < VALUE_MAX else None


@lru_cache(maxsize=_TIMES_MAX)
def _read_time(text: bytes) -> tuple[Affix, int] | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    before, day, separator, hours, minutes, seconds, part, after = match.groups()
    days = _days(day)
    if days is None:
        return None
    value = days * _DAY_S + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    if part is None:
        return Affix(before, 0, after, separator), value
    return Affix(before, len(part), after, separator), value * 10 ** len(part) + int(part)


@lru_cache(maxsize=512)
def _days(day: bytes) -> int | None:
    try:
        return date.fromisoformat(day.decode()).toordinal() - _EPOCH_DAYS
    except ValueError:
        return None


@lru_cache(maxsize=512)
def _day(days: int) -> bytes:
    return date.fromordinal(days + _EPOCH_DAYS).isoformat().encode()


def write_number(affix: Affix, value: int) -> bytes:
    """Undo `read_number`.

    Raises:
        BadUnitError: There is no such time.
    """
    before, decimals, after, time = affix
    if time:
        return _write_time(affix, value)
    if not decimals:
        return b"%b%d%b" % (before, value, after)
    whole, part = divmod(value, 10**decimals)
    return b"%b%d.%0*d%b" % (before, whole, decimals, part, after)


@lru_cache(maxsize=_TIMES_MAX)
def _write_time(affix: Affix, value: int) -> bytes:
    seconds, part = divmod(value, 10**affix.decimals)
    days, second = divmod(seconds, _DAY_S)
    try:
        day = _day(days)
    except (ValueError, OverflowError) as error:
        raise BadUnitError(f"a time {value:,} s after 1970") from error
    clock = (second // 3600, second // 60 % 60, second % 60)
    text = b"%b%b%b%02d:%02d:%02d" % (affix.before, day, affix.time, *clock)
    if affix.decimals:
        text += b".%0*d" % (affix.decimals, part)
    return text + affix.after


def clock_of(affix: Affix, time_ms: int) -> int:
    """Return what the number would be if the text told `time_ms`; 0 for what is no time."""
    if not affix.time:
        return 0
    clock: int = (time_ms & _CLOCK_MASK) * 10**affix.decimals // 1000
    return clock


def read_hex(text: bytes) -> tuple[HexFrame, bytes] | None:
    """Split a text into what frames its hex digits, and the bytes that they stand for."""
    if len(text) > TEXT_BYTES_MAX + TEXT_BYTES_MAX:
        return None
    match = _HEX.fullmatch(text)
    if match is None:
        return None
    before, digits, after = match.groups()
    is_uuid = b"-" in digits
    content = binascii.unhexlify(digits.replace(b"-", b"") if is_uuid else digits)
    return HexFrame(before, 0 if is_uuid else len(content), after), content


def write_hex(frame: HexFrame, content: bytes) -> bytes:
    """Undo `read_hex`."""
    digits = binascii.hexlify(content)
    if not frame.size_bytes:
        places = (0, *(at - n for n, at in enumerate(_UUID_DASHES)), len(digits))
        digits = b"-".join(digits[a:b] for a, b in itertools.pairwise(places))
    return b"".join((frame.before, digits, frame.after))
