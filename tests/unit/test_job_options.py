"""The jobs' options: declared once, read with every problem at once, and the same in the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.dedup.generated_data import ensure_generated
from pipeline_jobs.dedup.options import Tuning, dedup_options, made_options
from pipeline_jobs.migration.options import Settings, Workload, read_settings, read_workload
from pipeline_jobs.option_tables import with_tables
from pipeline_jobs.options import option, read_options
from pipeline_jobs.quantizer import settings as quantizer
from pipeline_tuner.study_yaml import read_text, read_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for path in sorted((ROOT / "docs").glob("*.md")) if "<!-- options of " in path.read_text()]


@dataclass(frozen=True)
class Sample:
    table: str = option("a table")
    key: tuple[str, ...] = option("columns", default=())
    rows: int = option("rows", default=5, low=1, high=10)
    share: float = option("a part", default=0.5, low=0)
    fast: bool = option("whether", default=False)
    mode: str = option("how", default="merge", choices=("merge", "replace"))
    more: Mapping[str, str] = option("more", default={})


def test_options_are_read_as_they_are_declared():
    assert read_options(Sample, {"table": "t", "key": "id", "rows": None}, "option") == Sample("t", ("id",))
    assert read_options(Sample, {"table": "t", "key": ["a", "b"], "share": 2}, "option").key == ("a", "b")
    assert read_options(Sample, {"table": "t", "run": 5}, "option", beside=("run",)) == Sample("t")


def test_every_problem_is_in_the_one_line():
    wrong = {"tabel": "t", "rows": 11, "share": -1, "fast": "no", "mode": "append", "key": [1], "more": []}
    with pytest.raises(BadConfigurationError) as caught:
        read_options(Sample, wrong, "workload.options:")
    assert str(caught.value).split("; ") == [
        "workload.options: rows is 11, must be from 1 to 10",
        "share is -1, must be 0 or more",
        "fast is 'no', must be true or false",
        "mode is 'append', must be one of merge, replace",
        "key is [1], must be a text, or a list of texts",
        "more is [], must be a mapping: names with values",
        "table is missing",
        "tabel (did you mean table?): no such option",
        "there are table, key, rows, share, fast, mode, more",
    ]


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from(["table", "key", "rows", "share", "fast", "mode", "more", "x"]), values))
def test_no_value_is_an_error_of_python(given_options: dict[str, Any]):
    try:
        read = read_options(Sample, given_options, "option")
    except BadConfigurationError as error:
        words = str(error)
    else:
        words = f"option {read}"
    assert words.startswith("option ")


def config(job: str, workload: dict[str, Any], **configuration: Any) -> TrialConfig:
    return TrialConfig(job, "t", configuration, workload)


@pytest.mark.parametrize(
    ("read", "workload", "configuration", "words"),
    [
        (read_workload, {"tabel": "t"}, {}, r"workload\.options: table is missing; tabel \(did you mean table\?\)"),
        (read_workload, {"table": 5}, {}, "table is 5, must be text"),
        (read_workload, {"table": ""}, {}, "table is missing"),
        (read_workload, {"table": "t", "autocorrect": "no"}, {}, "autocorrect is 'no', must be true or false"),
        (
            read_settings,
            {},
            {"partitons": 4},
            r"configuration: partitons \(did you mean partitions\?\): no such option",
        ),
        (read_settings, {}, {"method": "odbc"}, "method is 'odbc', must be one of copy, jdbc"),
        (
            read_settings,
            {},
            {"partitions": -1, "cores": 1.5},
            "partitions is -1, must be 0 or more; cores is 1.5, must",
        ),
        (
            dedup_options,
            {"key": "id", "timestamp": "at", "key_": 1},
            {},
            r"workload option key_ \(did you mean key\?\)",
        ),
        (dedup_options, {"key": "id", "timestamp": "at"}, {"salt": 4}, r"parameter salt \(did you mean salts\?\)"),
        (dedup_options, {"key": "id", "timestamp": "at"}, {"salts": 0}, "parameter salts is 0, must be 1 or more"),
        (dedup_options, {"key": "id", "timestamp": "at", "target": "x"}, {}, "option target is 'x', must be a mapping"),
        (
            dedup_options,
            {"key": "id", "timestamp": "at", "target": {"kind": "file"}},
            {},
            "target: kind is 'file', must",
        ),
        (made_options, {"data": 5}, {}, "workload option data is 5, must be text"),
        (
            quantizer.read_workload,
            {"pionts": 5, "hours": 0},
            {},
            r"hours is 0, must be 1 or more; pionts \(did you mean",
        ),
        (
            quantizer.read_workload,
            {"resolutions_ms": [60000, "x"]},
            {},
            "resolutions_ms is .*, must be a list of whole",
        ),
        (quantizer.read_settings, {}, {"min_task": 5}, r"parameter min_task \(did you mean min_tasks\?\)"),
    ],
)
def test_each_job_refuses_what_it_does_not_know(read, workload, configuration, words):
    with pytest.raises(BadConfigurationError, match=words) as caught:
        read(TrialConfig("job", "t", configuration, workload))
    assert "\n" not in str(caught.value)


def test_a_generator_with_an_unknown_setting_is_refused(tmp_path):
    with pytest.raises(BadConfigurationError, match=r"generator: row \(did you mean rows\?\)"):
        ensure_generated({"row": 5}, 1.0, tmp_path)


def test_settings_of_spark_are_left_to_spark():
    spark = {"spark.memory.fraction": 0.5, "executor_memory": "1g", "driver_memory": "1g"}
    assert read_settings(config("migration", {}, **spark)) == Settings(driver_memory="1g")
    assert read_workload(config("migration", {"name": "x", "table": "t"})) == Workload("t")
    assert dedup_options(config("dedup", {"key": "id", "timestamp": "at"}, workers=4, **spark)).tuning == Tuning()


@pytest.mark.parametrize("job", ["migration", "dedup", "quantizer"])
def test_the_jobs_take_what_their_studies_give(job):
    study = read_yaml(read_text(ROOT / "include" / "configs" / f"{job}.yaml"), source=job).values
    options = {"name": study["workload"]["name"], **study["workload"]["options"]}
    readers = {
        "migration": (read_settings, read_workload),
        "dedup": (made_options,),
        "quantizer": (quantizer.read_workload,),
    }
    for preset in study["presets"].values():
        for read in readers[job]:
            read(TrialConfig(job, "t", preset, options))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_documentation_has_the_options_that_the_code_declares(page):
    text = page.read_text(encoding="utf-8")
    assert text == with_tables(text), f"PYTHONPATH=spark_jobs python -m pipeline_jobs.option_tables docs/{page.name}"


def test_every_job_is_documented():
    assert [page.stem for page in PAGES] == ["dedup", "migration", "quantizer", "streaming-etl"]
