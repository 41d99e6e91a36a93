"""Blobs: whole objects against the old copy that the peer holds. Pure.

=====  =======================================================================================
codec  how
=====  =======================================================================================
H2     the old copy as zstd prefix: for documents, and whatever shifted
HB     XOR of dirty 4 KiB pages, then zstd 1: for memory images and other things in place
=====  =======================================================================================

`encode_blob` chooses by looking, not by trying: equal bytes are named, pages that stayed in place
call for HB, text that moved for H2, and what does not shrink travels as it is. A wrong choice costs
bytes, never content: each unit names its codec, its base and the hash of its result.
"""

import sys
from typing import Final

import numpy as np

from schemas.errors import BadUnitError
from transport.hde.codec import Codec, RawCodec, SameCodec, decode_alone
from transport.hde.unit import NOTHING, Level, Named, pack_unit, read_unit_header

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAGE_BYTES: Final = 4_096
PAGE_LEVEL: Final = 1
PLAIN_LEVEL: Final = 3  # without an old copy
# A level's own hash table forgets an old copy larger than itself (10,854 bytes where 70 do, for a
# document of 191 KB at level 1), so it is sized by the copy. Above this size long-distance
# matching needs less memory and time.
LONG_BYTES: Final = 8 << 20
WINDOW_LOG_MAX: Final = 27
_HASH_LOG_RANGE: Final = range(14, 23)
_WINDOW_LOG_MIN: Final = 10
_PREFIX_BYTES_MIN: Final = 8  # zstd takes no shorter one
_PROBE_BYTES: Final = 65_536
_PROBE_RATIO: Final = 1.05
_NEEDLE_COUNT: Final = 8
_NEEDLE_BYTES: Final = 32
_SAMPLED_PAGES: Final = 64
_IN_PLACE_SHARE: Final = 0.5

_Option = zstd.CompressionParameter


class PrefixCodec:
    """H2: zstd with the old copy as prefix.

    Args:
        base: The old copy.
    """

    level = Level.PREFIX

    def __init__(self, base: Named = NOTHING) -> None:
        self._base, self.base = base
        has_prefix = len(base.content) >= _PREFIX_BYTES_MIN
        self._prefix = zstd.ZstdDict(base.content, is_raw=True) if has_prefix else None

    def encode(self, raw: bytes) -> bytes:
        """See `codec.Codec`; releases the GIL while zstd works."""
        prefix = self._prefix.as_prefix if self._prefix else None
        return zstd.compress(raw, options=self._options(len(raw)), zstd_dict=prefix)

    def decode(self, body: bytes, raw_bytes: int) -> bytes:
        """See `codec.Codec`."""
        return _inflated(body, raw_bytes, self._prefix)

    def _options(self, raw_bytes: int) -> dict[int, int]:
        sizes = len(self._base) + raw_bytes
        window_log = min(max(sizes.bit_length(), _WINDOW_LOG_MIN), WINDOW_LOG_MAX)
        options: dict[int, int] = {_Option.window_log: window_log}
        if not self._base:
            return options | {_Option.compression_level: PLAIN_LEVEL}
        options[_Option.compression_level] = 1
        if max(len(self._base), raw_bytes) > LONG_BYTES:
            return options | {_Option.enable_long_distance_matching: 1}
        wanted = len(self._base).bit_length() - 2
        hash_log = min(max(wanted, _HASH_LOG_RANGE.start), _HASH_LOG_RANGE.stop - 1)
        return options | {_Option.hash_log: hash_log}


class PagesCodec:
    """HB: dirty pages XOR the old ones.

    Layout, all of it in one zstd frame: one bit a page, 1 where it is dirty; the XOR of the dirty
    pages in order; what follows the last page that both copies have whole.

    Args:
        base: The old copy.
    """

    level = Level.PAGES

    def __init__(self, base: Named) -> None:
        self._base, self.base = base

    def encode(self, raw: bytes) -> bytes:
        """See `codec.Codec`."""
        count = self._page_count(len(raw))
        old, new = _pages(self._base, count), _pages(raw, count)
        dirty = (old != new).any(axis=1)
        at = np.flatnonzero(dirty)
        changed = old[at] ^ new[at]
        rest = raw[count * PAGE_BYTES :]
        return zstd.compress(np.packbits(dirty).tobytes() + changed.tobytes() + rest, PAGE_LEVEL)

    def decode(self, body: bytes, raw_bytes: int) -> bytes:
        """See `codec.Codec`."""
        count = self._page_count(raw_bytes)
        bitmap_bytes = (count + 7) // 8
        plain = _inflated(body, raw_bytes + bitmap_bytes, None, may_be_shorter=True)
        bits = np.frombuffer(plain[:bitmap_bytes], np.uint8)
        if len(bits) < bitmap_bytes:
            raise BadUnitError(f"{len(plain):,} bytes are no bitmap of {count:,} pages")
        at = np.flatnonzero(np.unpackbits(bits, count=count))
        rest_start = bitmap_bytes + len(at) * PAGE_BYTES
        rest = plain[rest_start:]
        if len(rest) != raw_bytes - count * PAGE_BYTES:
            raise BadUnitError(f"{len(at):,} dirty pages do not add up to {raw_bytes:,} bytes")
        pages = _pages(self._base, count).copy()
        pages[at] ^= _pages(plain[bitmap_bytes:rest_start], len(at))
        return pages.tobytes() + rest

    def _page_count(self, raw_bytes: int) -> int:
        """Return how many pages both copies have whole."""
        return min(len(self._base), raw_bytes) // PAGE_BYTES


def encode_blob(raw: Named, base: Named = NOTHING) -> bytes:
    """Encode an object against the copy that the peer holds.

    Nothing is hashed here: whoever holds an object needs its name anyway, and needs it once.

    Args:
        raw: The object.
        base: The peer's copy.

    Returns:
        One unit, at most 0.5 % larger than the object and its header.
    """
    return b"".join(encode_blob_parts(raw, base))


def encode_blob_parts(raw: Named, base: Named = NOTHING) -> tuple[bytes, bytes]:
    """Do as `encode_blob`, without a copy: header and body, to be sent one after the other."""
    codec = choose_codec(raw.content, base)
    body = codec.encode(raw.content)
    if len(body) > len(raw.content):
        codec, body = RawCodec(), raw.content
    return pack_unit((codec.level, 0, 0, 0), raw, b"", codec.base), body


def decode_blob(unit: bytes, raw_bytes_max: int, base: Named = NOTHING) -> Named:
    """Read what `encode_blob` made; the object comes with its name, which was checked.

    Args:
        unit: The unit.
        raw_bytes_max: Largest object accepted.
        base: The copy we hold.

    Raises:
        BadUnitError: It was made against another copy, is too large, or gives other bytes.
    """
    header = read_unit_header(unit)
    codec: Codec
    if header.codec == Level.RAW:
        codec = RawCodec()
    elif header.codec == Level.SAME:
        codec = SameCodec(base)
    elif header.codec == Level.PAGES:
        codec = PagesCodec(base)
    else:  # without a base named it stands alone, whatever we hold
        codec = PrefixCodec(base if header.base else NOTHING)
    return decode_alone(codec, unit, raw_bytes_max)


def choose_codec(raw: bytes, base: Named) -> Codec:
    """Look at an object and the old copy, a few samples of each, and name the codec."""
    old = base.content
    if old and raw == old:
        return SameCodec(base)
    if old and len(raw) > LONG_BYTES and _stayed_in_place(raw, old):
        return PagesCodec(base)
    if len(raw) <= 2 * _PROBE_BYTES or (old and _moved(raw, old)) or _shrinks(raw):
        return PrefixCodec(base)
    return RawCodec()


def _stayed_in_place(raw: bytes, base: bytes) -> bool:
    """Tell whether most of some sampled pages are where they were."""
    pages = min(len(raw), len(base)) // PAGE_BYTES
    starts = [pages * n // _SAMPLED_PAGES * PAGE_BYTES for n in range(_SAMPLED_PAGES)]
    same = sum(raw[at : at + PAGE_BYTES] == base[at : at + PAGE_BYTES] for at in starts)
    return same > _IN_PLACE_SHARE * _SAMPLED_PAGES


def _moved(raw: bytes, base: bytes) -> bool:
    """Tell whether any of some short samples stands near its place in the old copy."""
    for n in range(_NEEDLE_COUNT):
        at = len(raw) * n // _NEEDLE_COUNT
        near = base[max(0, at - _PROBE_BYTES) : at + _PROBE_BYTES]
        if raw[at : at + _NEEDLE_BYTES] in near:
            return True
    return False


def _shrinks(raw: bytes) -> bool:
    """Tell whether one of two samples gets smaller on its own."""
    for start in (len(raw) // 4, len(raw) * 3 // 4):
        probe = raw[start : start + _PROBE_BYTES]
        if len(zstd.compress(probe, PAGE_LEVEL)) * _PROBE_RATIO < len(probe):
            return True
    return False


def _pages(content: bytes, count: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint64]]":
    words = np.frombuffer(content, np.uint64, count * PAGE_BYTES // 8)
    return words.reshape(count, PAGE_BYTES // 8)


def _inflated(
    body: bytes, raw_bytes: int, prefix: zstd.ZstdDict | None, *, may_be_shorter: bool = False
) -> bytes:
    """Decompress one frame; never makes more than one byte more than was announced."""
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
    try:
        stream = zstd.ZstdDecompressor(
            zstd_dict=prefix.as_prefix if prefix else None, options=options
        )
        plain = stream.decompress(body, raw_bytes + 1)
    except zstd.ZstdError as error:
        raise BadUnitError(f"zstd: {error}") from error
    is_right = len(plain) <= raw_bytes if may_be_shorter else len(plain) == raw_bytes
    if not is_right or not stream.eof or stream.unused_data:
        raise BadUnitError(
            f"{len(body):,} bytes do not decode to {raw_bytes:,}: {len(plain):,} came, "
            f"{len(stream.unused_data):,} were left"
        )
    return plain
