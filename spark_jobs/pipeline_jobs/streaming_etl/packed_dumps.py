"""The source of packed dumps (`mongodump --gzip` and `--archive`): unpacked whole before anything is loaded.

An archive holds blocks of several collections by turns: a document that names the collection, its documents, and four
bytes of ones. The last block of a collection is empty and has the CRC-64 of all its documents. The format is that of
MongoDB's database tools.
"""

from __future__ import annotations

import errno
import gzip
import mmap
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import bson
import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, JobError
from pipeline_jobs.streaming_etl import kernel

GZIP, ARCHIVE = b"\x1f\x8b", b"\x6d\xe2\x99\x81"
BLOCK_END = b"\xff\xff\xff\xff"
DOCUMENTS_AT_ONCE = 65536
MAX_DOCUMENT = 48 * 1024 * 1024


class DamagedFileError(JobError):
    """The file's framing is broken: where one document ends and the next begins can't be told."""


@dataclass(frozen=True)
class Unpacked:
    """The documents of a dump side by side, and whether they come from an archive of several collections."""

    data: np.ndarray
    is_archive: bool = False


def unpacked(path: Path, data: np.ndarray, collection: str) -> Unpacked:
    """The documents of a file's bytes; of an archive those of the collection (`name` or `database.name`).

    Raises DamagedFileError where a compressed file or an archive is not whole, BadConfigurationError where an archive
    doesn't have the collection, InfrastructureError where there is no room to unpack it.
    """
    if data[:2].tobytes() == GZIP and not _begins_with_document(data):
        data = _without_gzip(path)
    if data[:4].tobytes() == ARCHIVE:
        return Unpacked(_of_archive(path, data, collection), is_archive=True)
    return Unpacked(data)


def _begins_with_document(data: np.ndarray) -> bool:
    """A document of 35,615 bytes begins like a compressed file."""
    size = int(data[:4].view("<i4")[0]) if len(data) >= 4 else 0
    if not 5 <= size <= min(len(data), MAX_DOCUMENT):
        return False
    try:
        bson.decode(data[:size].tobytes())
    except bson.errors.BSONError:
        return False
    return True


def _without_gzip(path: Path) -> np.ndarray:
    try:
        with tempfile.TemporaryFile() as plain:
            with gzip.open(path, "rb") as packed:
                shutil.copyfileobj(packed, plain, 1024 * 1024)
            return _kept(plain)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFileError(
            f"{path} is cut off or damaged ({error}), nothing is loaded: take the dump again"
        ) from error
    except OSError as error:
        raise _no_room(path, error) from error


def _kept(file: IO[bytes]) -> np.ndarray:
    """What was written to a file, which is gone when nobody reads it any more."""
    file.flush()
    if not file.tell():
        return np.empty(0, np.uint8)
    return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def _no_room(path: Path, error: OSError) -> JobError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InfrastructureError(
            f"{path} can't be unpacked in {tempfile.gettempdir()}: {error.strerror}. Set TMPDIR to a larger folder"
        )
    return BadConfigurationError(f"the source {path} can't be read: {error}")


@dataclass(frozen=True)
class Block:
    """A part of an archive: its collection, its documents' place, and at the collection's end their CRC-64."""

    database: str
    collection: str
    first: int
    last: int
    crc: int | None


def _of_archive(path: Path, data: np.ndarray, wanted: str) -> np.ndarray:
    blocks = list(_blocks(path, data))
    names = sorted({f"{b.database}.{b.collection}" for b in blocks})
    found = [name for name in names if wanted in (name, name.partition(".")[2])]
    if len(found) != 1:
        problem = "is not in it" if not found else "is in it more than once: name the database, too"
        raise BadConfigurationError(
            f"{path}: the collection {wanted!r} {problem}; there are {', '.join(names) or 'none'}. "
            "workload.options.collection or the mapping names it"
        )
    mine = [block for block in blocks if f"{block.database}.{block.collection}" == found[0]]
    return _joined(path, data, found[0], mine)


def _joined(path: Path, data: np.ndarray, name: str, blocks: list[Block]) -> np.ndarray:
    crc = np.uint64(0)
    try:
        with tempfile.TemporaryFile() as plain:
            for block in blocks:
                part = data[block.first : block.last]
                crc = np.uint64(crc64(part, crc, CRC_TABLE))
                plain.write(part.data)
            documents = _kept(plain)
    except OSError as error:
        raise _no_room(path, error) from error
    ends = [block.crc for block in blocks if block.crc is not None]
    if not ends:
        raise DamagedFileError(f"{path} ends before {name} does, nothing is loaded: take the dump again")
    if ends[-1] != int(crc):
        raise DamagedFileError(f"{path}: the checksum of {name} is wrong, nothing is loaded: take the dump again")
    return documents


def _blocks(path: Path, data: np.ndarray) -> Iterator[Block]:
    """The blocks after the archive's head. Raises DamagedFileError where the framing is broken."""
    at = _after_documents(path, data, len(ARCHIVE))
    while at < len(data):
        head_ends = at + (
            int.from_bytes(data[at : at + 4].tobytes(), "little", signed=True) if at + 4 <= len(data) else 0
        )
        if not at + 5 <= head_ends <= len(data):
            raise _broken(path, at)
        try:
            head: dict[str, Any] = bson.decode(data[at:head_ends].tobytes())
        except bson.errors.BSONError:
            raise _broken(path, at) from None
        after = _after_documents(path, data, head_ends)
        crc = int(head.get("CRC", 0)) & 0xFFFFFFFFFFFFFFFF if head.get("EOF") else None
        yield Block(str(head.get("db", "")), str(head.get("collection", "")), head_ends, after - 4, crc)
        at = after


def _after_documents(path: Path, data: np.ndarray, at: int) -> int:
    """Where the next block begins after documents and the four bytes that end them."""
    starts, stops = np.empty(DOCUMENTS_AT_ONCE, np.int64), np.empty(DOCUMENTS_AT_ONCE, np.int64)
    while True:
        count, after = kernel.split(data, at, len(data), DOCUMENTS_AT_ONCE, len(data), starts, stops)
        if count < 0 and data[after : after + 4].tobytes() == BLOCK_END:
            return int(after) + 4
        if count <= 0:
            raise _broken(path, int(after))
        at = int(after)


def _broken(path: Path, at: int) -> DamagedFileError:
    return DamagedFileError(
        f"{path}: at byte {at} of the archive there is no whole document, nothing is loaded: take the dump again"
    )


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint64)
    for _ in range(8):
        table = np.where(
            table & np.uint64(1), table >> np.uint64(1) ^ np.uint64(0xC96C5795D7870F42), table >> np.uint64(1)
        )
    return table


CRC_TABLE = _crc_table()


@compiled
def crc64(data: np.ndarray, before: np.uint64, table: np.ndarray) -> np.uint64:
    """CRC-64 of ECMA-182, reflected, of bytes that follow those of `before` (0 for none)."""
    value = ~before
    for n in range(len(data)):
        value = table[(value ^ np.uint64(data[n])) & np.uint64(255)] ^ (value >> np.uint64(8))
    return ~value
