"""Measures blobs: what `encode_blob` makes of a pair, and what others would.

Rivals: the whole object by zstd; zstd's own `--patch-from` defaults; the old copy as a raw
dictionary of `zstandard`; XOR over all bytes. Every result is decoded and compared.

The old copy's name is known: its holder named it once. The new object's is hashed within
`encode_mb_s` and `encode_cpu_s`, and is known in `named_mb_s` and `named_cpu_s`.
"""

import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import zstandard

from dwcp.hde.bench import LIBRARIES
from dwcp.hde.blobs import Pair
from dwcp.machine import machine
from schemas.errors import BadUnitError
from transport.hde.blob import choose_codec, decode_blob, encode_blob_parts
from transport.hde.unit import NOTHING, Level, Named, read_unit_header

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SEND_BYTES: Final = 1 << 20
_WINDOW_LOG: Final = 27
_SMALL_BYTES: Final = 8 << 20
_SMALL_TURNS: Final = 10  # of what takes a millisecond, a few turns say little

Turn = Callable[[bytes], bytes]
Parts = tuple[bytes, ...]  # sent one after the other, as a socket takes them


class Method(NamedTuple):
    """One way to encode a pair's new copy, and back."""

    name: str
    is_rival: bool
    encode: Callable[[bytes], Parts]
    decode: Turn


def run_blob_bench(
    pairs: Iterable[Pair], *, repeats: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Measure all pairs.

    Raises:
        BadUnitError: A codec gave other bytes back.
    """
    rows = []
    for pair in pairs:
        progress(pair.name)
        own, *rivals = (_row(pair, method, repeats) for method in _methods(pair))
        own |= _named(pair, repeats)
        if not pair.old:
            own |= _sending(pair, own)
        rows += [own, *rivals]
    return {"machine": machine(*LIBRARIES), "repeats": repeats, "rows": rows}


def _methods(pair: Pair) -> Iterator[Method]:
    old, base = pair.old, _base(pair)
    yield Method(
        "blob",
        is_rival=False,
        encode=lambda new: encode_blob_parts(Named.of(new), base),
        decode=lambda unit: decode_blob(unit, 1 << 31, base).content,
    )
    yield _rival("zstd-1 whole", _whole(1).compress, _unwhole)
    if not old:
        return
    yield _rival("zstd-3 whole", _whole(3).compress, _unwhole)
    for level in (1, 3):
        yield _rival(f"zstd-{level} patch-from", _prefix(old, level), _unprefix(old))
    yield _rival("zstd-3 raw dictionary", _raw_dictionary(old), _undictionary(old))
    yield _rival("XOR of all, zstd-3", _xor(old), _unxor(old, len(pair.new)))


def _base(pair: Pair) -> Named:
    return Named.of(pair.old) if pair.old else NOTHING


def _rival(name: str, encode: Turn, decode: Turn) -> Method:
    return Method(name, is_rival=True, encode=lambda new: (encode(new),), decode=decode)


def _row(pair: Pair, method: Method, repeats: int) -> dict[str, Any]:
    encode_s, decode_s, cpu_s = [], [], []
    for _ in range(_turns(pair, repeats)):
        began, cpu_began = time.perf_counter(), time.thread_time()
        parts = method.encode(pair.new)
        turned, cpu_turned = time.perf_counter(), time.thread_time()
        encoded = b"".join(parts)
        restarted = time.perf_counter()
        decoded = method.decode(encoded)
        ended = time.perf_counter()
        if decoded != pair.new:
            raise BadUnitError(f"{method.name} gave other bytes back for {pair.name}")
        encode_s.append(turned - began)
        cpu_s.append(cpu_turned - cpu_began)
        decode_s.append(ended - restarted)
    level = method.name
    if not method.is_rival:
        level = {Level.PREFIX: "H2", Level.PAGES: "HB", Level.RAW: "raw", Level.SAME: "H0"}[
            Level(read_unit_header(encoded).codec)
        ]
    return {
        "name": pair.name,
        "level": level,
        "rival": method.is_rival,
        "raw_bytes": len(pair.new),
        "old_bytes": len(pair.old),
        "encoded_bytes": len(encoded),
        "ratio": round(len(pair.new) / len(encoded), 4),
        "encode_mb_s": _mb_s(pair, statistics.median(encode_s)),
        "encode_mb_s_range": [_mb_s(pair, max(encode_s)), _mb_s(pair, min(encode_s))],
        "decode_mb_s": _mb_s(pair, statistics.median(decode_s)),
        "encode_cpu_s": round(min(cpu_s), 5),
    }


def _turns(pair: Pair, repeats: int) -> int:
    return repeats * (_SMALL_TURNS if len(pair.new) <= _SMALL_BYTES else 1)


def _named(pair: Pair, repeats: int) -> dict[str, Any]:
    """Measure encoding of an object whose name is known."""
    named, base = Named.of(pair.new), _base(pair)
    encode_s, cpu_s = [], []
    for _ in range(_turns(pair, repeats)):
        began, cpu_began = time.perf_counter(), time.thread_time()
        encode_blob_parts(named, base)
        encode_s.append(time.perf_counter() - began)
        cpu_s.append(time.thread_time() - cpu_began)
    return {
        "named_mb_s": _mb_s(pair, statistics.median(encode_s)),
        "named_mb_s_range": [_mb_s(pair, max(encode_s)), _mb_s(pair, min(encode_s))],
        "named_cpu_s": round(min(cpu_s), 6),
    }


def _mb_s(pair: Pair, seconds: float) -> float:
    return round(len(pair.new) / seconds / 1e6, 1)


def _sending(pair: Pair, row: dict[str, Any]) -> dict[str, Any]:
    """Compare the CPU of finding out that nothing helps with that of sending over loopback TCP."""
    began = time.thread_time()
    choose_codec(pair.new, _base(pair))
    choose_s = time.thread_time() - began
    send_s = min(_send_cpu_s(pair.new) for _ in range(3))
    return {
        "choose_cpu_s": round(choose_s, 6),
        "send_cpu_s": round(send_s, 6),
        "choose_of_sending": round(choose_s / send_s, 4),
        "encode_of_sending": round(row["encode_cpu_s"] / send_s, 4),
        "named_of_sending": round(row["named_cpu_s"] / send_s, 4),
    }


def _send_cpu_s(content: bytes) -> float:
    """Return the CPU seconds of the sending thread alone."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        sender = socket.create_connection(door.getsockname())
        receiver, _ = door.accept()
    with sender, receiver:
        reader = threading.Thread(target=_drain, args=(receiver, len(content)))
        reader.start()
        view = memoryview(content)
        began = time.thread_time()
        for start in range(0, len(content), SEND_BYTES):
            sender.sendall(view[start : start + SEND_BYTES])
        used_s = time.thread_time() - began
        reader.join()
    return used_s


def _drain(receiver: socket.socket, left: int) -> None:
    buffer = bytearray(SEND_BYTES)
    while left > 0:
        got = receiver.recv_into(buffer)
        if not got:
            return
        left -= got


def _whole(level: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=level)


def _unwhole(encoded: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(encoded)


def _prefix(old: bytes, level: int) -> Turn:
    # As `zstd --patch-from` does: a window over both, everything else the level's.
    window_log = min(max((2 * len(old)).bit_length(), 10), _WINDOW_LOG)
    option = zstd.CompressionParameter
    options: dict[int, int] = {option.compression_level: level, option.window_log: window_log}
    return lambda new: zstd.compress(new, options=options, zstd_dict=_as_prefix(old))


def _unprefix(old: bytes) -> Turn:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return lambda data: zstd.decompress(data, zstd_dict=_as_prefix(old), options=options)


def _as_prefix(old: bytes) -> Any:
    return zstd.ZstdDict(old, is_raw=True).as_prefix


def _raw_dictionary(old: bytes) -> Turn:
    return lambda new: zstandard.ZstdCompressor(level=3, dict_data=_dictionary(old)).compress(new)


def _undictionary(old: bytes) -> Turn:
    def decode(data: bytes) -> bytes:
        limits = zstandard.ZstdDecompressor(
            dict_data=_dictionary(old), max_window_size=1 << _WINDOW_LOG
        )
        return limits.decompress(data)

    return decode


def _dictionary(old: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _xor(old: bytes) -> Turn:
    compress = _whole(3).compress

    def encode(new: bytes) -> bytes:
        shared = min(len(old), len(new))
        mixed = np.frombuffer(old, np.uint8, shared) ^ np.frombuffer(new, np.uint8, shared)
        return compress(mixed.tobytes() + new[shared:])

    return encode


def _unxor(old: bytes, new_bytes: int) -> Turn:
    def decode(data: bytes) -> bytes:
        mixed = _unwhole(data)
        shared = min(len(old), new_bytes)
        plain = np.frombuffer(old, np.uint8, shared) ^ np.frombuffer(mixed, np.uint8, shared)
        return plain.tobytes() + mixed[shared:]

    return decode
