"""Options of Spark's readers: declared, in any case, and refused where they would lose or change something."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.options import FORMATS, Source
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


@pytest.mark.parametrize("name", NEVER)
def test_what_loses_or_guesses_is_never_taken(name: str) -> None:
    with pytest.raises(BadConfigurationError, match=name):
        reader_options("csv", {name.upper(): "true"})
