"""Options of Spark's readers: declared, in any case, and refused where they would lose or change something."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.options import FORMATS, Source, Target
from pipeline_jobs.dedup.reader_options import NEVER, READERS, reader_options


def test_every_format_has_its_options() -> None:
    assert set(READERS) == set(FORMATS)


def test_options_are_taken_in_any_case_and_as_text() -> None:
    given = {"HEADER": True, "Sep": ";", "multiline": "false", "mode": "failfast", "inferSchema": False}
    assert reader_options("csv", given) == {"header": "true", "sep": ";", "multiLine": "false"}
    assert reader_options("jdbc", {"fetchSize": "1000"}) == {"fetchsize": "1000"}


@pytest.mark.parametrize(
    ("format", "given", "words"),
    [
        ("csv", {"headers": "true"}, r"headers \(did you mean header\?\)"),
        ("csv", {"header": "yes"}, "header is 'yes', must be true or false"),
        ("csv", {"sep": "||"}, r"sep is '\|\|', must be one character"),
        ("csv", {"timestampFormat": "yyyy-MM-dd HH:mm:ss.SSSSSSSSS"}, "keeps 6 digits of a second"),
        ("json", {"header": "true"}, "header.*no such option; there are multiLine"),
        ("json", {"allowSingleQuotes": "true"}, "allowSingleQuotes.*no such option"),
        ("json", {"samplingRatio": 0.1}, "samplingratio 0.1 guesses types from a part"),
        ("csv", {"inferSchema": "true"}, "the code 007 becomes the number 7: give source.schema"),
        ("csv", {"enforceSchema": "true"}, "reads columns by position"),
        ("parquet", {"mergeschma": "true"}, r"did you mean mergeSchema\?"),
        ("parquet", {"int96RebaseMode": "x"}, "must be one of EXCEPTION, CORRECTED, LEGACY"),
        ("jdbc", {"customSchema": "n INT"}, "customSchema.*no such option"),
        ("iceberg", {"snapshotid": 5}, r"did you mean snapshot-id\?"),
        ("csv", {"heder": 1, "mode": "PERMISSIVE", "sep": ""}, r"mode PERMISSIVE loses records.*sep is ''.*heder"),
    ],
)
def test_what_is_wrong_comes_in_one_line(format: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadConfigurationError, match=words) as refused:
        Source(format, "x", given)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "pattern", "words"),
    [
        ("dateFormat", "yyyy-mm-dd", "doesn't say year, month and day"),
        ("dateFormat", "MM/yyyy", "doesn't say year, month and day"),
        ("dateFormat", "yyyy-MM[-dd]", "doesn't say year, month and day"),
        ("dateFormat", "yyyy-MM-DD", "D counts the days of a year"),
        ("dateFormat", "YYYY-MM-dd", "Spark knows no Y"),
        ("dateFormat", "dd/MM/yyyy HH:mm", "time of day a DATE would lose"),
        ("timestampFormat", "yyyy-MM-dd hh:mm:ss", "hh is an hour of a half day"),
        ("timestampFormat", "HH:mm:ss", "doesn't say year, month and day"),
        ("timestampFormat", "yyyy-MM-dd HH:ss", "s without minutes"),
        ("timestampFormat", "yyyy-MM-dd HH:mm z", "z is the name of several zones"),
        ("timestampNTZFormat", "yyyy-MM-dd HH:mmXXX", "zone a TIMESTAMP_NTZ would lose"),
    ],
)
def test_a_pattern_that_says_less_than_a_value_has_is_refused(option: str, pattern: str, words: str) -> None:
    """Spark fills in what a pattern leaves out: 2024-05-06 by yyyy-mm-dd was 6 January."""
    for format in ("csv", "json"):
        with pytest.raises(BadConfigurationError, match=words) as refused:
            Source(format, "x", {option: pattern})
        assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "pattern"),
    [
        ("dateFormat", "dd.MM.yy"),
        ("dateFormat", "yyyyDDD"),
        ("dateFormat", "d MMM yyyy"),
        ("dateFormat", ""),
        ("timestampFormat", "yyyy-MM-dd'T'HH:mm[:ss[.SSSSSS]][XXX]"),
        ("timestampFormat", "MM/dd/yyyy hh:mm a"),
        ("timestampFormat", "yyyy-MM-dd HH 'hours' VV"),
        ("timestampNTZFormat", "yyyyMMddHHmmss"),
    ],
)
def test_a_pattern_that_says_all_is_taken(option: str, pattern: str) -> None:
    assert reader_options("csv", {option: pattern}) == {option: pattern}


@pytest.mark.parametrize("name", NEVER)
def test_what_loses_or_guesses_is_never_taken(name: str) -> None:
    with pytest.raises(BadConfigurationError, match=name):
        reader_options("csv", {name.upper(): "true"})


@pytest.mark.parametrize(
    "given", [{"table": "t" * 64}, {"table": f"app.{'t' * 64}"}, {"table": "t", "work_schema": "s" * 64}]
)
def test_a_target_whose_name_postgresql_would_cut_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(BadConfigurationError, match="of 64 bytes: PostgreSQL's names have 63 at most"):
        Target("postgresql", **given)
    Target("postgresql", **{name: value.replace("tt", "t", 1).replace("ss", "s", 1) for name, value in given.items()})


@pytest.mark.parametrize("path", ["t" * 64, f'app."{"t" * 64}"'])
def test_a_source_whose_name_postgresql_would_cut_is_refused(path: str) -> None:
    with pytest.raises(BadConfigurationError, match=r"source\.path is 't.* of 64 bytes"):
        Source("jdbc", path)
    Source("jdbc", f"(SELECT * FROM {'t' * 63}) AS {path}")
    Source("parquet", path)
