"""The source of a `mongodump` file (BSON): documents read in place, cut at document ends.

Compressed files and archives are unpacked first; offsets are then those of the unpacked documents.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl import kernel
from pipeline_jobs.streaming_etl.packed_dumps import DamagedFileError, unpacked
from pipeline_jobs.streaming_etl.progress import Range
from pipeline_jobs.streaming_etl.records import Documents, Piece
from pipeline_jobs.streaming_etl.settings import BatchSize

PIECE_BYTES = 4 * 1024 * 1024
OTHER_FORMATS = {
    b"{": "it is JSON, import it with mongoimport and read the collection",
    b"[": "it is JSON, import it with mongoimport --jsonArray and read the collection",
}
"""What people have instead of a BSON file, by its first bytes. A document may begin with these as well: they are looked
at only where there is no document."""


class FilePiece(Piece):
    """Documents of a file. A position is the offset after a document, a place the offset where it begins."""

    def __init__(self, records: Documents) -> None:
        super().__init__(records)
        self._documents = records

    def position(self, number: int) -> str:
        """The offset after the document."""
        return str(int(self._documents.stops[number]))

    def place(self, number: int) -> str:
        """The offset of the document."""
        return f"offset {int(self._documents.starts[number])}"


class FileRange:
    """The documents of a file from `first` up to `last` (offsets), in order."""

    def __init__(self, path: Path, data: np.ndarray, first: int, last: int) -> None:
        self._path, self._data, self._first, self._last = path, data, first, last

    def pieces(self, batch_size: BatchSize) -> Iterator[FilePiece]:
        """Pieces of at most a batch. Raises DamagedFileError, after all that comes before, at broken framing."""
        at = self._first
        while at < self._last:
            starts, stops = np.empty(batch_size.current, np.int64), np.empty(batch_size.current, np.int64)
            count, after = kernel.split(self._data, at, self._last, len(starts), PIECE_BYTES, starts, stops)
            found = count if count >= 0 else -1 - count
            if found:
                yield FilePiece(Documents(self._data, starts[:found], stops[:found]))
            if count < 0 or after == at:
                if after == 0 and (advice := self._other_format()):
                    raise BadConfigurationError(f"the source {self._path} is no BSON file: {advice}")
                left = self._last - after
                raise DamagedFileError(
                    f"{self._path}: at byte {after} there is no whole document, {left} bytes are left: all before it "
                    "is loaded. The file is cut off or damaged: take the dump again, or cut it there"
                )
            at = after

    def _other_format(self) -> str:
        beginning = self._data[:8].tobytes()
        return next((advice for first, advice in OTHER_FORMATS.items() if beginning.startswith(first)), "")


class BsonFile:
    """A file of BSON documents."""

    is_endless = False

    def __init__(self, path: str | Path, collection: str = "") -> None:
        self._path, self._collection = Path(path), collection
        found = unpacked(self._path, _mapped(self._path), collection)
        self._data, self.is_archive = found.data, found.is_archive

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere the file is opened anew."""
        return BsonFile, (self._path, self._collection)

    @property
    def name(self) -> str:
        """What tells this file from another: name, size, time of change, and the collection of an archive."""
        found = _stat(self._path)
        part = f"{self._collection} of the " if self.is_archive else ""
        return f"{part}file {self._path.name} of {found.st_size} bytes, changed {found.st_mtime_ns}"

    def ranges(self, count: int) -> tuple[Range, ...]:
        """About equal parts, cut at document ends."""
        size = len(self._data)
        cuts = [0, *_document_ends(self._data, [size * n // count for n in range(1, count)]), size]
        pairs = dict.fromkeys(pairwise(cuts))
        return tuple(Range(n, str(first), str(last)) for n, (first, last) in enumerate(pairs))

    def open(self, part: Range, position: str | None) -> FileRange:
        """A range's documents, those after `position` where one is given."""
        return FileRange(self._path, self._data, int(position or part.first or 0), int(part.last or len(self._data)))


def _document_ends(data: np.ndarray, wanted: list[int]) -> list[int]:
    """The first document end at or after each wanted offset, from a walk over the lengths."""
    found, at = [], 0
    starts, stops = np.empty(65536, np.int64), np.empty(65536, np.int64)
    while wanted and at < len(data):
        count, after = kernel.split(data, at, len(data), len(starts), len(data), starts, stops)
        ends = stops[: max(count, 0)]
        while wanted and len(ends) and ends[-1] >= wanted[0]:
            found.append(int(ends[np.searchsorted(ends, wanted[0])]))
            wanted = wanted[1:]
        if count < 0 or after == at:
            break
        at = after
    return sorted(set(found))


def _mapped(path: Path) -> np.ndarray:
    if _stat(path).st_size == 0:
        return np.empty(0, np.uint8)
    try:
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        raise BadConfigurationError(f"the source {path} can't be read: {error.strerror}") from None


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise BadConfigurationError(f"the source {path} can't be read: {error.strerror}") from None
