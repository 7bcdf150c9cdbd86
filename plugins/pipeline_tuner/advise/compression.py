"""Decompression of event logs, piece by piece: plain, zstd, gzip, and Java's framings of lz4 and snappy.

Spark writes lz4 and snappy by LZ4BlockOutputStream and SnappyOutputStream, whose framings are Java's own. The blocks
inside are the ordinary ones, which Arrow reads; so no further library is needed.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

PIECE_BYTES = 1 << 20
ZSTD_PIECE_BYTES = 1 << 18
MAX_BLOCK_BYTES = 64 << 20
"""The writers' blocks have 32 KiB to 32 MiB; a header that says more is damaged."""
SKIPPABLE = b"\x2a\x4d\x18"
"""After a byte from 0x50 to 0x5f: a frame of zstd without content, which parallel compressors begin with."""
LZ4_MAGIC, SNAPPY_MAGIC = b"LZ4Block", b"\x82SNAPPY\x00"


class Compression(StrEnum):
    """How a log file is compressed, told from its first bytes rather than from its name."""

    PLAIN = "plain"
    ZSTD = "zstd"
    GZIP = "gzip"
    LZ4 = "lz4"
    SNAPPY = "snappy"
    LZF = "lzf"


MAGIC = (
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"\x1f\x8b", Compression.GZIP),
    (LZ4_MAGIC, Compression.LZ4),
    (SNAPPY_MAGIC, Compression.SNAPPY),
    (b"ZV\x00", Compression.LZF),
    (b"ZV\x01", Compression.LZF),
)


@dataclass
class LogBytes:
    """A log file's bytes. Iterate once; `damage` says afterwards why it ended early, None where it ended well."""

    path: Path
    damage: str | None = None
    position: int = 0
    """Bytes of the file (compressed as it is) that were read so far."""

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            read = READERS[compression_of(self.path)]
            yield from read(self, file)

    def take(self, file: BinaryIO, count: int) -> bytes:
        """The next `count` bytes, fewer at the end of the file."""
        piece = file.read(count)
        self.position += len(piece)
        return piece

    def end_early(self, why: str) -> None:
        """Note why the bytes end here."""
        self.damage = why


def compression_of(path: Path) -> Compression:
    """How a file is compressed. Raises OSError where it can't be read."""
    with path.open("rb") as file:
        start = file.read(8)
    if start[1:4] == SKIPPABLE and start[0] >> 4 == 5:
        return Compression.ZSTD
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), Compression.PLAIN)


def _plain(log: LogBytes, file: BinaryIO) -> Iterator[bytes]:
    while piece := log.take(file, PIECE_BYTES):
        yield piece


def _gzip(log: LogBytes, file: BinaryIO) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=31)
    while rest := log.take(file, PIECE_BYTES):
        while rest:
            try:
                # Bounded: a megabyte of zeros may stand for a gigabyte.
                yield stream.decompress(rest, PIECE_BYTES)
            except zlib.error as error:
                return log.end_early(f"damaged gzip data: {error}")
            rest = stream.unconsumed_tail or stream.unused_data
            if stream.eof and rest:
                stream = zlib.decompressobj(wbits=31)
    if not stream.eof:
        yield stream.flush()
        log.end_early("its gzip stream is cut off")
    return None


def _zstd(log: LogBytes, file: BinaryIO) -> Iterator[bytes]:
    """Frame after frame. Arrow loses the piece that a cut frame ends in, so that one is read again, byte by byte."""
    passed, failure = 0, ""
    stream = _zstd_stream(file)
    try:
        while piece := stream.read(ZSTD_PIECE_BYTES):
            passed += len(piece)
            log.position = file.tell()
            yield piece
    except OSError as error:
        failure = str(error)
    if failure:
        file.seek(0)
        yield from _last_bytes(_zstd_stream(file), passed)
        log.end_early("its zstd frame is cut off" if "runcated" in failure else f"damaged zstd data: {failure}")


def _last_bytes(stream: Any, passed: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while passed:
            passed -= len(stream.read(min(passed, PIECE_BYTES)))
        while piece := stream.read(1):
            yield piece


def _zstd_stream(file: BinaryIO) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(KeptOpen(file), mode="r"), "zstd")


class KeptOpen:
    """A file that its reader doesn't close."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, count: int = -1) -> bytes:
        """The next bytes."""
        return self._file.read(count)

    def close(self) -> None:
        """Leave it open."""


def _lz4(log: LogBytes, file: BinaryIO) -> Iterator[bytes]:
    raw = _block_decoder("lz4_raw")
    while header := log.take(file, 21):
        if len(header) < 21:
            return log.end_early("its lz4 block is cut off")
        token, packed, size = struct.unpack_from("<BII", header, 8)
        if not header.startswith(LZ4_MAGIC) or max(packed, size) > MAX_BLOCK_BYTES:
            return log.end_early("damaged lz4 data: no block where one must be")
        block = log.take(file, packed)
        if len(block) < packed:
            return log.end_early("its lz4 block is cut off")
        if size:  # a block of no bytes ends a stream, and another stream may follow
            piece = block if token & 0xF0 == 0x10 else raw(block, size)
            if piece is None:
                return log.end_early("damaged lz4 data")
            yield piece
    return None


def _snappy(log: LogBytes, file: BinaryIO) -> Iterator[bytes]:
    raw = _block_decoder("snappy")
    while header := log.take(file, 4):
        if SNAPPY_MAGIC.startswith(header):  # magic of 8 bytes, two versions of 4
            log.take(file, 12)
            continue
        packed = int.from_bytes(header, "big")
        if len(header) == 4 and packed > MAX_BLOCK_BYTES:
            return log.end_early("damaged snappy data: no block where one must be")
        block = log.take(file, packed)
        if len(header) < 4 or len(block) < packed:
            return log.end_early("its snappy block is cut off")
        piece = raw(block, _varint(block))
        if piece is None:
            return log.end_early("damaged snappy data")
        yield piece
    return None


def _block_decoder(name: str) -> Callable[[bytes, int], bytes | None]:
    import pyarrow

    codec = pyarrow.Codec(name)

    def decode(block: bytes, size: int) -> bytes | None:
        try:
            return codec.decompress(block, decompressed_size=size, asbytes=True) if size <= MAX_BLOCK_BYTES else None
        except (OSError, ValueError):
            return None

    return decode


def _varint(block: bytes) -> int:
    """The length that a snappy block begins with."""
    value = 0
    for place, byte in enumerate(block[:5]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    return value


def _lzf(log: LogBytes, file: BinaryIO) -> Iterator[bytes]:
    log.end_early("lzf compression is not read; write it with spark.eventLog.compression.codec=zstd")
    return iter(())


READERS: dict[Compression, Callable[[LogBytes, BinaryIO], Iterator[bytes]]] = {
    Compression.PLAIN: _plain,
    Compression.ZSTD: _zstd,
    Compression.GZIP: _gzip,
    Compression.LZ4: _lz4,
    Compression.SNAPPY: _snappy,
    Compression.LZF: _lzf,
}
