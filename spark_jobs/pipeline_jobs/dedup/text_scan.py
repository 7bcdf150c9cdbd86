"""The parser that reads text files once more: every byte belongs to a record, and every value is exact.

Spark's readers pass over what they don't understand: a second object in a line, a value's further digits, a quote that
isn't closed. These scanners don't: what isn't CSV by RFC 4180 or JSON by RFC 8259 is a problem, and so is a value that
is not exactly one of its column's type. They run in Spark's tasks.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StructType

from pipeline_jobs.dedup.exact_text import (
    Literal,
    NameCaseError,
    NotAsWrittenError,
    NoValueError,
    is_text_of,
    json_check,
)

if TYPE_CHECKING:
    import pyarrow as pa

FIX = "fix the record"
IN_BOTH = (
    "the files of the source have the column {0}, and so have their folders, whose value would be taken: set "
    "source.options.recursiveFileLookup true, or rename the folders"
)
OVER_LINES = ". JSON whose records take several lines needs source.options.multiLine true"
BLANKS = "".join(map(chr, range(33)))
"""What Spark takes for nothing, where lines are records: a tab between values, too."""
NO_FIELD_LIMIT = 2**31 - 1
OUR_NULL = "\x01"
"""The text that stands for NULL in CSV where the study names none: a value of this text would be lost."""
UNPACK_IT = "unpack it, or pack it as .gz, .bz2 or .zst"
PACKED: Mapping[bytes, tuple[str, str]] = {
    b"\x1f\x8b\x08": ("packed by gzip", "give its name the ending .gz"),
    b"BZh91AY&SY": ("packed by bzip2", "give its name the ending .bz2"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "give its name the ending .zst"),
    b"PK\x03\x04": ("a zip archive", UNPACK_IT),
    b"\xfd7zXZ\x00": ("packed by xz", UNPACK_IT),
    b"\x04\x22\x4d\x18": ("packed by lz4", UNPACK_IT),
    b"\xff\x06\x00\x00sNaPpY": ("packed by snappy", UNPACK_IT),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK_IT),
    b"PAR1": ("Parquet", "set source.format parquet"),
    b"Obj\x01": ("Avro", "write it as Parquet"),
    b"ORC": ("ORC", "write it as Parquet"),
}
"""How files begin that are no text, in words that follow "is", and what to do."""
UNSPLIT = ("utf-16", "utf-32")
"""Encodings, by the beginning of Python's name, in which the byte of a line's end is a part of other characters too."""


@dataclass(frozen=True)
class TextFormat:
    """How text files are to be read."""

    columns: StructType
    """Those of the files, partition folders left out."""
    is_declared: bool
    """Whether the study gives the schema."""
    encoding: str = "UTF-8"
    is_multi_line: bool = False
    has_header: bool = False
    separator: str = ","
    quote: str = '"'
    escape: str = '"'
    comment: str = ""
    null: str = OUR_NULL
    is_stripped: bool = False
    folders: frozenset[str] = frozenset()
    """Columns that partition folders give."""
    formatted: frozenset[str] = frozenset()
    """Types for which the study gives a format of its own."""

    @cached_property
    def keeps_text(self) -> bool:
        """Whether Spark keeps a value that is no text, in a column of texts, as it is written."""
        return codecs.lookup(self.encoding).name == "utf-8"

    @cached_property
    def is_whole(self) -> bool:
        """Whether a file must be decoded in one piece."""
        return codecs.lookup(self.encoding).name.startswith(UNSPLIT)


class ProblemError(Exception):
    """What is wrong with a file, in words that follow "the file NAME"."""


class WholeError(ProblemError):
    """What is wrong with all files, in a sentence of its own."""


@dataclass(frozen=True)
class Line:
    """A line of a file, or all of it."""

    file: str
    content: bytes


def scan_json(lines: Iterable[Line], how: TextFormat) -> int:
    """How many records the lines have. Raises ProblemError, told by `in_file` which file."""
    check = json_check(how.columns, "", formatted=how.formatted, keeps_text=how.keeps_text)
    assert check is not None
    count = 0
    for line in lines:
        with in_file(line.file):
            _refuse_packed(line.content)
            text = decoded(line.content, how).removeprefix("\ufeff").strip()
            if text:
                count += _check_root(_parsed(text, how), check, how.folders)
    return count


def _check_root(root: Any, check: Callable[[Any], None], folders: frozenset[str]) -> int:
    """An object is a record, and a list is as many as it has."""
    records = root if isinstance(root, list) else [root]
    for record in records:
        if type(record) is not dict:
            raise ProblemError(f"has a record that is no object: {FIX}")
        if folders and not folders.isdisjoint(record):
            raise WholeError(IN_BOTH.format(", ".join(sorted(folders & record.keys()))))
        try:
            check(record)
        except NoValueError as error:
            raise ProblemError(f"has {error.words}: {_remedy(error)}") from None
    return len(records)


def _remedy(error: NoValueError) -> str:
    if isinstance(error, NameCaseError):
        return "write the schema's names as the file has them"
    if isinstance(error, NotAsWrittenError):
        return "write the file as UTF-8, or give source.schema with its type"
    return f"{FIX}, or give source.schema with a type for {error.column} that holds it, such as STRING"


def _parsed(text: str, how: TextFormat) -> Any:
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            several = "several JSON objects" if how.is_multi_line else "several JSON objects in a line"
            once = "a list of them, or without multiLine" if how.is_multi_line else "one object per line"
            raise ProblemError(f"has {several}, of which only the first would be read: write {once}") from None
        hint = "" if how.is_multi_line else OVER_LINES
        raise ProblemError(f"has a record that can't be read: {_excerpt(text)}; {FIX}{hint}") from None
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"has a record that can't be read ({error}): {FIX}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProblemError(f"has a record that names a column twice ({', '.join(name for name, _ in pairs)}): {FIX}")
    return found


DECODER = json.JSONDecoder(parse_float=Literal, object_pairs_hook=_without_repeats)


def scan_csv(lines: Iterable[Line], how: TextFormat) -> int:
    """How many records the files have; their lines come in order, each with its line end but for the newline."""
    csv.field_size_limit(NO_FIELD_LIMIT)
    count = 0
    for file, contents in _by_file(lines):
        with in_file(file):
            count += _CsvFile(contents, how).records()
    return count


def _by_file(lines: Iterable[Line]) -> Iterator[tuple[str, Iterator[bytes]]]:
    for file, group in groupby(lines, key=lambda line: line.file):
        yield file, (line.content for line in group)


class _CsvFile:
    """One file's records, and what they end with."""

    def __init__(self, contents: Iterator[bytes], how: TextFormat) -> None:
        self._how = how
        self._contents = contents
        self._last = ""
        self._is_first_crlf = False
        self._lines = 0
        checks = [is_text_of(part.dataType, formatted=how.formatted) for part in how.columns]
        self._checks = [(number, check) for number, check in enumerate(checks) if check is not None]

    def records(self) -> int:
        """How many there are, without the header. Raises ProblemError."""
        how, count, begun = self._how, 0, 0
        ends: set[bool] = set()
        is_crlf = False
        try:
            for record in self._reader():
                lines, begun = self._lines - begun, self._lines
                if not record:
                    continue
                if not how.is_multi_line and len(record) > 1 and not self._last.strip(BLANKS):
                    raise ProblemError("has a record of blanks alone: set source.options.multiLine true")
                # The last record of a file need not end with anything: it counts only where it does.
                ends |= {is_crlf} if count else set()
                is_crlf = self._last.endswith("\r\n")
                if lines > 1 and not how.is_multi_line:
                    raise ProblemError("has a value over several lines: set source.options.multiLine true")
                if count == 0 and how.has_header:
                    self._check_header(record)
                else:
                    self._check(record, is_first=count == 0)
                count += 1
        except csv.Error as error:
            if "\r" in self._last.removesuffix("\n").removesuffix("\r"):
                raise ProblemError("has \\r within a line: end lines with \\n, and put other \\r in quotes") from None
            raise ProblemError(f"has a record that can't be read ({error}): {_excerpt(self._last)}; {FIX}") from None
        if (ends | ({True} if is_crlf else set())) >= {True, False}:
            raise ProblemError("has lines that end with \\r\\n and others that end with \\n: write them alike")
        if is_crlf and not self._is_first_crlf:
            # Spark takes the first line break that it sees for the end of all lines.
            raise ProblemError("has \\n in quotes before the first \\r\\n that ends a line: end lines with \\n")
        return max(0, count - 1) if how.has_header else count

    def _reader(self) -> Iterator[list[str]]:
        how = self._how
        doubled = how.escape == how.quote
        return csv.reader(
            self._text_lines(),
            delimiter=how.separator,
            quotechar=how.quote,
            doublequote=doubled,
            escapechar=None if doubled else how.escape,
            skipinitialspace=how.is_stripped,
            strict=True,
        )

    def _text_lines(self) -> Iterator[str]:
        """Lines with their ends. One that begins with the comment's character is left out, as Spark does."""
        for text in self._decoded():
            self._lines += 1
            self._last = text
            self._is_first_crlf = self._is_first_crlf if self._lines > 1 else text.endswith("\r\n")
            if not (self._how.comment and text.startswith(self._how.comment)):
                yield text

    def _decoded(self) -> Iterator[str]:
        for number, content in enumerate(self._contents):
            if number == 0:
                _refuse_packed(content)
            text = decoded(content, self._how)
            if "\0" in text:
                raise ProblemError(f"has a character NUL: {FIX}")
            if self._how.is_whole:
                yield from io.StringIO(text, newline="\n")
            else:
                yield (text.removeprefix("\ufeff") if number == 0 else text) + "\n"

    def _check_header(self, header: list[str]) -> None:
        wanted, folders = self._how.columns.names, self._how.folders
        names = [name.strip() for name in header] if self._how.is_stripped else header
        if len({name.lower() for name in names}) != len(names) or "" in names:
            raise ProblemError(f"has a column without a name, or two of one name ({', '.join(names)}): name each once")
        if folders and not folders.isdisjoint(names):
            raise WholeError(IN_BOTH.format(", ".join(sorted(folders & set(names)))))
        if [name.lower() for name in names] != [name.lower() for name in wanted]:
            where = "source.schema has" if self._how.is_declared else "another file has"
            remedy = "give the schema in the file's order" if self._how.is_declared else "give the files one header"
            raise ProblemError(f"has the columns {', '.join(names)}, {where} {', '.join(wanted)}: {remedy}")

    def _check(self, record: list[str], *, is_first: bool) -> None:
        columns = self._how.columns
        if len(record) != len(columns):
            raise ProblemError(
                f"has a record of {len(record)} values for {len(columns)} columns: {_excerpt(self._last)}; {FIX}"
            )
        if is_first and [each.lower() for each in record] == [name.lower() for name in columns.names]:
            raise ProblemError("has a record with the names of the columns: set source.options.header true")
        if self._how.null == OUR_NULL and OUR_NULL in record:
            raise ProblemError(f"has a value that is the character 1 alone: {FIX}, or set source.options.nullValue")
        for number, is_exact in self._checks:
            text = record[number].strip() if self._how.is_stripped else record[number]
            if text and text != self._how.null and not is_exact(text):
                part = columns[number]
                raise ProblemError(
                    f"has a record with {text[:60]!r} in column {part.name}, which is not exactly "
                    f"{part.dataType.simpleString().upper()}: {FIX}, or declare {part.name} STRING in source.schema"
                )


def decoded(content: bytes, how: TextFormat) -> str:
    """The text of a line. Raises ProblemError for bytes that are none in the file's encoding."""
    try:
        text = content.decode(how.encoding)
    except UnicodeDecodeError:
        name = how.encoding
        raise ProblemError(
            f"is not {name}: write it as {name}, or set source.options.encoding (ISO-8859-1, ...)"
        ) from None
    return text.removeprefix("\ufeff") if how.is_whole or how.is_multi_line else text


def _refuse_packed(content: bytes) -> None:
    """Raises ProblemError where a file begins as no text does: it is packed, and its name doesn't say so."""
    for begin, (name, remedy) in PACKED.items():
        if content.startswith(begin):
            raise ProblemError(f"is {name} and no text: {remedy}")


def _excerpt(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


class in_file:
    """Puts the file's name before a problem."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ProblemError) and not isinstance(error, WholeError):
            raise ProblemError(f"the file {self._file} {error}") from None


UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".deflate": zlib.decompress,
}
"""How a file is read in one piece, by the ending of its name, as Spark goes by it; lines come unpacked already."""


def unpacked(line: Line) -> Line:
    """A whole file's content. Raises ProblemError where it is damaged."""
    unpack = UNPACK.get(PurePosixPath(line.file).suffix)
    if unpack is None:
        return line
    try:
        return Line(line.file, unpack(line.content))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ProblemError(f"the file {line.file} can't be unpacked ({error}): write it anew") from None


def scanner(how: TextFormat, format: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for Spark's tasks: one row with the partition's number of records, or its first problem."""
    scan = {"json": scan_json, "csv": scan_csv}[format]

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow

        lines = (
            Line(file, content)
            for batch in batches
            for content, file in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
        )
        records, problem = 0, None
        is_whole = how.is_whole or (format == "json" and how.is_multi_line)
        try:
            records = scan(map(unpacked, lines) if is_whole else lines, how)
        except ProblemError as error:
            problem = str(error)
        columns = [pyarrow.array([records], pyarrow.int64()), pyarrow.array([problem], pyarrow.string())]
        yield pyarrow.RecordBatch.from_arrays(columns, ["records", "problem"])

    return run
