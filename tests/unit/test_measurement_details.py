"""Details of a measurement as any job may leave them: what is understood is shown, and nothing else stops a report."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_report import DETAILS, sweep, whole, written

from pipeline_tuner.charts import style
from pipeline_tuner.measurement_details import Details, records_in
from pipeline_tuner.web.trial_evidence import rates_of, spans_of

NAMES = ("steps", "stages", "partitions", "slow_partitions", "throughput", "iceberg", "sample", "bottleneck")
PARTS = ("name", "number", "tasks", "duration_s", "median_task_s", "max_task_s", "start_s", "written", "time_s", "rows")
NOTHING = Details.of({})
ODD = [
    {"steps": "read"},
    {"steps": {"read": "slowly", "write": None, "check": -1.0, "merge": math.nan}},
    {"stages": "nonsense"},
    {"stages": [1, None, {"tasks": 3}, {"name": "a", "duration_s": "long"}]},
    {"stages": {"name": "a"}},
    {"partitions": [{"number": 1}, {"duration_s": True}, 7]},
    {"partitions": "abc", "slow_partitions": 5},
    {"throughput": [1, 2]},
    {"throughput": {"time_s": "x", "rows": None}},
    {"iceberg": ["files"]},
    {"iceberg": {"files": "many", "bytes": {}}},
    {"sample": {"points": [1], "windows": {"a": 1}}},
    {"sample": {"org": "o", "metric": "m", "start": "s", "points": [[0, 1]], "windows": {"week": [[1, 2, 3, 4]]}}},
    {"bottleneck": None},
]


@pytest.mark.parametrize("details", ODD, ids=str)
def test_what_is_not_as_described_is_left_out(details):
    assert replace(Details.of(details), slow_partitions=None) == NOTHING


def test_the_analysis_is_written_whatever_a_job_leaves(tmp_path, monkeypatch):
    """Each trial leaves something odd: before, the first of them ended the analysis."""
    monkeypatch.setattr(style, "save", lambda folder, name, chart: folder / f"{name}.svg")
    left = zip(sweep(), cycle(ODD), strict=False)
    results = [replace(r, measurement=r.measurement.model_copy(update={"details": odd})) for r, odd in left]
    assert "What to run" in whole(written(tmp_path, results))


def test_one_odd_entry_leaves_the_others():
    stages = [*DETAILS["stages"], {"name": "odd", "tasks": "many"}, "x"]
    found = Details.of(
        DETAILS | {"stages": stages, "partitions": [{"duration_s": 1}, None, {"id": 4, "duration_s": 2}]}
    )
    assert [stage.name for stage in found.stages] == ["append", "collect at /home/somebody/job.py:7"]
    assert [(part.name, part.duration_s) for part in found.partitions] == [("0", 1.0), ("4", 2.0)]
    assert found.steps == DETAILS["steps"]
    assert found.sample is not None


def test_partitions_that_took_no_time_are_no_reason_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "save", lambda folder, name, chart: folder / f"{name}.svg")
    details = {"partitions": [{"number": n, "duration_s": 0.0, "start_s": 0.0} for n in range(4)]}
    results = [replace(r, measurement=r.measurement.model_copy(update={"details": details})) for r in sweep()]
    assert "Partitions" in whole(written(tmp_path, results))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(PARTS), below, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING))
def test_any_json_is_understood_or_left_out(details):
    found = Details.of(details)
    assert all(math.isfinite(seconds) for seconds in found.steps.values())
    assert len(found.partitions) <= len(records_in(details.get("partitions")))
    rates_of(details)
    spans_of(details)
