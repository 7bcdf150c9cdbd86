"""The scanners of text files: what is exactly a value, and what is said of what isn't. No Spark here."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
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
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from pipeline_jobs.dedup.exact_text import NoValueError, is_text_of, json_check
from pipeline_jobs.dedup.text_scan import Line, ProblemError, TextFormat, scan_csv, scan_json

COLUMNS = StructType([StructField("id", StringType()), StructField("at", LongType()), StructField("t", StringType())])
JSON = TextFormat(COLUMNS, is_declared=True)
CSV = TextFormat(COLUMNS, is_declared=True, is_multi_line=True)


def lines(text: str | bytes, file: str = "x", end: bytes = b"\n") -> Iterator[Line]:
    """A file's lines as Spark's reader of texts gives them."""
    content = text if isinstance(text, bytes) else text.encode()
    return (Line(file, part) for part in content.removesuffix(end).split(end))


TEXTS: list[tuple[DataType, list[str], list[str]]] = [
    (ByteType(), ["0", "-128", "127", "+5", "007"], ["128", "200", "-129", "1.0", "x", " 1", "\u0661"]),
    (IntegerType(), ["2147483647"], ["2147483648", "1e3"]),
    (LongType(), ["9223372036854775807"], ["9223372036854775808", "9" * 50]),
    (
        DoubleType(),
        ["0.1", "1e-7", "-0", "NaN", "Infinity", "0.30000000000000004", "0.10000000000000001", "9007199254740992"],
        ["9007199254740993", "1e400", "1e-400", "1,5", "1.2345678901234567890", "1d", "0x1p3", "nan", "1_0"],
    ),
    (FloatType(),
     ["0.1", "16777216", "3.4028235e38", "0.10000000149011612", "1.1754943508222875e-38"],
     ["16777217", "1e39", "0.123456789012", "0.1000000014901161"]),
    (
        DecimalType(5, 2),
        ["123.45", "-999.99", "1.2", "1.230", "1e2", "0", "0.00", "0e9"],
        ["1.234", "1000", "1,5", "1,000.00", "1e3", "1e-3", ""],
    ),
    (DecimalType(38, 10), ["1234567890123456789012345678.0123456789"], ["12345678901234567890123456789"]),
    (BooleanType(), ["true", "FALSE"], ["1", "yes", "t"]),
    (DateType(), ["2024-02-29", "0001-01-01", "9999-12-31"],
     ["2023-02-29", "20240101", "2024", "2024-01", "2024-1-1", "2024-01-01T10:00", "01.02.2024",
      "12024-01-01", "0000-01-01"]),
    (
        TimestampType(),
        ["2024-01-01T10:00:00.000001Z", "2024-01-01 10:00:00+02:00", "2024-01-01", "2024-01-01T10:00:00.123456000Z",
         "2024-01-01 10:00", "2024-01-01T23:59:59+14:00", "2024-01-01T00:00:00-18:00"],
        ["2024-01-01T10:00:00.0000001Z", "10:00", "2024-01-01T", "1700000000", "2024",
         "2024-01-01 10:00:00 Europe/Berlin",
         "2024-02-30 10:00:00", "2024-01-01T24:00:00Z", "2016-12-31T23:59:60Z", "2024-01-01T10:60:00Z",
         "2024-01-01T10:00:00+18:01", "2024-01-01T10:00:00+19:00"],
    ),
    (TimestampNTZType(), ["2024-01-01T10:00:00.000001"], ["2024-01-01T10:00:00Z", "2024-01-01T10:00:00+02:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "right", "wrong"), TEXTS, ids=lambda each: getattr(each, "simpleString", str)()[:20])
def test_a_text_is_exactly_a_value_or_none(kind: DataType, right: list[str], wrong: list[str]) -> None:
    is_exact = is_text_of(kind)
    assert is_exact is not None
    assert [text for text in right if not is_exact(text)] == []
    assert [text for text in wrong if is_exact(text)] == []


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (ByteType(), "127", "200"),
        (LongType(), "5", '"5"'),
        (LongType(), "5", "5.0"),
        (LongType(), "5", "true"),
        (DoubleType(), "0.1", "9007199254740993"),
        (DoubleType(), "NaN", '"x"'),
        (DecimalType(4, 2), "12.30", "12.345"),
        (BooleanType(), "true", '"true"'),
        (DateType(), '"2024-01-01"', "19000"),
        (TimestampType(), '"2024-01-01T00:00:00Z"', "1700000000"),
        (BinaryType(), '"AP8="', '"A"'),
        (ArrayType(LongType()), "[1, null]", '[1, "2"]'),
        (MapType(StringType(), DateType()), '{"a": "2024-01-01"}', '{"a": "2024-1-1"}'),
        (StructType([StructField("a", ByteType())]), '{"a": 1}', '{"a": 200}'),
        (StructType([StructField("a", ByteType())]), '{"b": 1}', '{"A": 1}'),
        (StringType(), '"\\ud83d\\ude00"', '"\\ud800"'),
        (StringType(), '{"\\ud83d\\ude00": ["a"]}', '{"\\ud800": 1}'),
        (StringType(), '"\\\\ud800"', '{"a": [{"b": "\\udc00"}]}'),
        (MapType(StringType(), LongType()), '{"\\ud83d\\ude00": 1}', '{"\\ud800": 1}'),
        (ArrayType(StringType()), '["\\ud83d\\ude00"]', '["a", "\\ud800"]'),
    ],
)
def test_a_value_of_json_is_exactly_one_of_its_type(kind: DataType, right: str, wrong: str) -> None:
    how = TextFormat(StructType([StructField("x", kind)]), is_declared=True)
    assert scan_json(lines(f'{{"x": {right}}}\n{{"x": null}}\n{{}}'), how) == 3
    with pytest.raises(ProblemError, match=r"the file x has .*: .*"):
        scan_json(lines(f'{{"x": {wrong}}}'), how)


def test_every_object_of_a_line_is_looked_for() -> None:
    good = '{"id": "}{", "at": 1}'
    assert scan_json(lines("\n".join([good] * 3000) + "\n\n"), JSON) == 3000
    with pytest.raises(ProblemError, match="has several JSON objects in a line, of which only the first"):
        scan_json(lines("\n".join([good] * 3000 + [good + good])), JSON)
    with pytest.raises(ProblemError, match="several JSON objects in a line"):
        scan_json(lines(good + " 5"), JSON)
    assert scan_json(lines(f"[{good}, {good}]\n{good}"), JSON) == 3


def test_names_in_another_case_are_found_in_every_line_and_depth() -> None:
    good = '{"id": "a", "at": 1}'
    with pytest.raises(ProblemError, match=r"has ID where source\.schema has id: write the schema's names"):
        scan_json(lines("\n".join([good] * 3000 + ['{"ID": "a", "at": 1}'])), JSON)
    deep = StructType([StructField("p", ArrayType(StructType([StructField("qty", LongType())])))])
    with pytest.raises(ProblemError, match=r"p\.Qty where source\.schema has p\.qty"):
        scan_json(lines('{"p": [{"qty": 1}, {"Qty": 2}]}'), replace(JSON, columns=deep))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "a record that can't be read: 'not json'; fix the record. JSON whose records take several lines"),
        ("{'id': 'a'}", "can't be read"),
        ('{"id": "a", "id": "b"}', "names a column twice"),
        ("5", "a record that is no object"),
        ('[{"id": "a"}, null]', "a record that is no object"),
        ('{"id": "a"', "can't be read"),
        (b'{"id": "caf\xe9"}', r"is not UTF-8: write it as UTF-8, or set source\.options\.encoding"),
    ],
)
def test_what_is_no_json_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        scan_json(lines(text), JSON)


def test_json_over_several_lines_is_one_value_a_file() -> None:
    whole = replace(JSON, is_multi_line=True)
    text = json.dumps([{"id": "a", "at": 1}] * 3, indent=1)
    assert scan_json([Line("x", text.encode())], whole) == 3
    assert scan_json([Line("x", "\ufeff{}".encode())], whole) == 1
    with pytest.raises(ProblemError, match="several JSON objects, of which only the first would be read"):
        scan_json([Line("x", b'{"id": "a"}\n{"id": "b"}')], whole)


def test_bytes_in_a_named_encoding_are_read() -> None:
    assert scan_json(lines('{"id": "caf\xe9"}'.encode("latin-1")), replace(JSON, encoding="ISO-8859-1")) == 1
    utf16 = replace(CSV, encoding="UTF-16")
    assert scan_csv([Line("x", 'a,1,"x\ny"\nb,2,\n'.encode("utf-16"))], utf16) == 2


def test_records_of_csv_are_counted_by_the_standard() -> None:
    assert scan_csv(lines('a,1,"two\nlines, ""quoted"""\n\nb,2,\n'), CSV) == 2
    headed = replace(CSV, has_header=True)
    assert scan_csv(lines("\ufeffid,at,t\na,1,x\n"), headed) == 1
    assert scan_csv([*lines("ID,at,t\na,1,x", "x"), *lines("id,at,t\r\nb,2,y\r\nc,3,z", "y")], headed) == 3
    assert scan_csv(lines("id,at,t"), headed) == 0
    assert scan_csv(lines("#no, record\na,1,x"), replace(CSV, comment="#")) == 1
    assert scan_csv(lines("a; 1;x"), replace(CSV, separator=";", is_stripped=True)) == 1
    assert scan_csv(lines(r'a,1,"x \" y"'), replace(CSV, escape="\\")) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a,1,"x\nb,2,y\n', r"can't be read \(unexpected end of data\)"),
        ('a,1,"x"y', "can't be read"),
        ("a,1,x\rb,2,y\r", r"has \\r within a line: end lines with \\n"),
        ("a,1", "a record of 2 values for 3 columns"),
        ("a,1,x,y", "a record of 4 values for 3 columns"),
        ("a,one,x", "'one' in column at, which is not exactly BIGINT: .* declare at STRING in source.schema"),
        ("a,1,x\r\nb,2,y\nc,3,z", r"lines that end with \\r\\n and others"),
        ("a,1,x\nb,2,y\nc,3,z\r\n", r"lines that end with \\r\\n and others"),
        ('a,1,"x\ny"\r\nb,2,z\r\n', r"has \\n in quotes before the first \\r\\n that ends a line"),
        ("id,at,t\na,1,x", "set source.options.header true"),
        ("a,1,\x01", "the character 1 alone"),
        ("a,1,\0", "a character NUL"),
        (b"a,1,caf\xe9", "is not UTF-8"),
    ],
)
def test_what_is_no_csv_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        scan_csv(lines(text), CSV)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,t,at", r"has the columns id, t, at, source\.schema has id, at, t: give the schema in the file's order"),
        ("id,at", "has the columns id, at, source.schema has"),
        (",at,t", "a column without a name"),
        ("id,at,AT", "two of one name"),
    ],
)
def test_a_header_that_is_not_the_schemas_is_refused(header: str, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        scan_csv(lines(f"{header}\n"), replace(CSV, has_header=True))


def test_a_value_over_lines_needs_the_option() -> None:
    with pytest.raises(ProblemError, match=r"set source\.options\.multiLine true"):
        scan_csv(lines('a,1,"x\ny"'), replace(CSV, is_multi_line=False))


def test_a_format_of_ones_own_is_not_held_against_the_standard() -> None:
    kind = StructType([StructField("day", DateType())])
    how = TextFormat(kind, is_declared=True, formatted=frozenset({"date"}))
    assert scan_csv(lines("31.12.2024"), how) == 1
    assert scan_json(lines('{"day": "31.12.2024"}'), how) == 1
    check = json_check(kind, "")
    assert check is not None
    with pytest.raises(NoValueError):
        check({"day": "31.12.2024"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"a,1,x\n"), "is packed by gzip and no text: give its name the ending .gz"),
        (bz2.compress(b"a,1,x\n"), "is packed by bzip2 and no text: give its name the ending .bz2"),
        (lzma.compress(b"a,1,x\n"), "is packed by xz and no text: unpack it"),
        (b"PK\x03\x04\x14\0\0\0", "is a zip archive and no text: unpack it"),
        (b"PAR1\x15\0", "is Parquet and no text: set source.format parquet"),
    ],
)
def test_a_packed_file_without_its_ending_is_known(content: bytes, words: str) -> None:
    """It was "not UTF-8: set encoding", which made garbage of it."""
    for how, scan in ((CSV, scan_csv), (JSON, scan_json)):
        with pytest.raises(ProblemError, match=re.escape(words)):
            scan(lines(content), replace(how, encoding="ISO-8859-1"))


def test_a_record_of_blanks_needs_the_option_that_keeps_it() -> None:
    tabs = replace(CSV, separator="\t")
    assert scan_csv(lines("a\t1\tx\n\t\t\n"), tabs) == 2
    with pytest.raises(ProblemError, match=r"has a record of blanks alone: set source\.options\.multiLine true"):
        scan_csv(lines("a\t1\tx\n\t\t\n"), replace(tabs, is_multi_line=False))


@pytest.mark.parametrize("value", ["1.10", '{"a": 1}', "[1]"])
def test_what_spark_would_write_anew_is_refused_where_it_does(value: str) -> None:
    """In UTF-8 a number or an object in a column of texts stays as it is written; elsewhere 1.10 became 1.1."""
    text = f'{{"id": "a", "at": 1, "t": {value}}}'
    assert scan_json(lines(text), JSON) == 1
    with pytest.raises(ProblemError, match="STRING keeps in UTF-8 only: write the file as UTF-8, or give"):
        scan_json(lines(text), replace(JSON, encoding="ISO-8859-1"))
