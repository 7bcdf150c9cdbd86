"""1,000 generated text sources through the scanners alone: what is exact is taken and counted, the rest refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from dedup_case_files import write
from dedup_generated import Case, Outcome, cases
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from pipeline_jobs.dedup.text_scan import Line, ProblemError, TextFormat, scan_csv, scan_json

TYPES: dict[str, DataType] = {
    "STRING": StringType(),
    "TINYINT": ByteType(),
    "SMALLINT": ShortType(),
    "INT": IntegerType(),
    "BIGINT": LongType(),
    "DECIMAL(10,2)": DecimalType(10, 2),
    "DECIMAL(38,18)": DecimalType(38, 18),
    "DOUBLE": DoubleType(),
    "FLOAT": FloatType(),
    "BOOLEAN": BooleanType(),
    "DATE": DateType(),
    "TIMESTAMP": TimestampType(),
    "TIMESTAMP_NTZ": TimestampNTZType(),
    "BINARY": BinaryType(),
    "ARRAY<BIGINT>": ArrayType(LongType()),
    "STRUCT<a: TIMESTAMP, b: STRING>": StructType([StructField("a", TimestampType()), StructField("b", StringType())]),
}


def scanned(case: Case, folder: Path) -> int:
    """How many records the scanner finds. Raises ProblemError."""
    columns = StructType([StructField(column.name, TYPES[column.kind.name]) for column in case.columns])
    how = TextFormat(
        columns,
        is_declared=True,
        encoding="UTF-16" if case.encoding == "utf-16" else "UTF-8",
        is_multi_line=case.is_multi_line or (case.format == "csv" and not case.is_marked),
        has_header=case.format == "csv",
    )
    scan = scan_csv if case.format == "csv" else scan_json
    return scan(_lines(case, how, folder), how)


def _lines(case: Case, how: TextFormat, folder: Path) -> Iterator[Line]:
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if how.is_whole or (case.format == "json" and case.is_multi_line):
            yield Line(path.name, content)
        else:
            content = content.removeprefix(b"\xef\xbb\xbf")
            yield from (Line(path.name, line) for line in content.removesuffix(b"\n").split(b"\n"))


def test_texts_are_counted_or_refused(tmp_path: Path) -> None:
    counted: Counter[Outcome] = Counter()
    for case in cases(0, 2000):
        if case.format not in ("csv", "json"):
            continue
        folder = tmp_path / str(case.seed)
        folder.mkdir()
        write(case, folder)
        may_be = Outcome.EXACT if case.may_be is Outcome.EITHER else case.may_be
        if may_be is Outcome.EXACT:
            assert scanned(case, folder) == len(case.rows), case
        else:
            with pytest.raises(ProblemError):
                pytest.fail(f"{case}: {scanned(case, folder)} records taken, and one has no exact place")
        counted[may_be] += 1
    assert counted[Outcome.EXACT] > 500
    assert counted[Outcome.REFUSED] > 250
