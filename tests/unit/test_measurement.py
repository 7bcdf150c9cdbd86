"""A measurement is validated record, or a failed trial with a reason."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipeline_jobs.contract import JobError, MeasurementWriter, TrialConfig
from pipeline_tuner.exceptions import MeasurementError
from pipeline_tuner.measurement import read_measurement
from pipeline_tuner.trial import TrialPlan, TrialResult

NOW = datetime.now(UTC)
CONFIG = TrialConfig(job="migration", trial_id="t1", configuration={"partitions": 4}, warmups=1, repeats=2)


@pytest.fixture
def path(tmp_path):
    """A measurement as the job side writes it: the two halves of the contract meet here."""
    writer = MeasurementWriter(CONFIG, tmp_path / "m.json")
    for sample in writer.samples():
        sample.duration_s = 2.0 if sample.is_warmup else 1.0
        sample.metrics["rows_per_s"] = 10.0
    writer.check("row count", passed=True)
    writer.write()
    return tmp_path / "m.json"


def read(path, **changes):
    return read_measurement(path, **({"job": "migration", "trial_id": "t1", "not_before": NOW} | changes))


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_the_job_writes_the_tuner_reads(path):
    measurement = read(path)
    assert measurement.metrics == {"duration_s": 1.0, "rows_per_s": 10.0}
    assert len(measurement.samples) == 2


@pytest.mark.parametrize(
    ("work_s", "counted"),
    [(0.5, 4), (0.7, 3), (5.0, 1), (0.0, 100)],
    ids=["short", "just over", "long enough", "no duration given"],
)
def test_short_work_is_repeated_until_enough_of_it_was_measured(tmp_path, work_s, counted):
    config = TrialConfig(job="j", trial_id="t", configuration={}, warmups=2, repeats=1, min_work_s=2.0)
    writer = MeasurementWriter(config, tmp_path / "m.json")
    kinds = []
    for sample in writer.samples():
        kinds.append(sample.is_warmup)
        sample.duration_s = work_s
    assert kinds == [True, True] + [False] * counted
    assert len(writer.counted_samples) == counted


def test_memory_that_shrank_is_a_figure_and_no_reason_to_refuse_the_trial(path):
    change(path, metrics={"memory_growth_bytes_per_s": -2.5e6})
    assert read(path).metrics["memory_growth_bytes_per_s"] == -2.5e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"rows_per_s": float("nan")}}, "metrics.rows_per_s: is nan, must be a finite number"),
        ({"metrics": {"rows": "1_000"}}, "metrics.rows: is '1_000', must be a finite number"),
        ({"metrics": {"rows": True}}, "metrics.rows: is true, must be a finite number"),
        ({"samples": [{"duration_s": "5"}]}, "duration_s: is '5', must be a finite number"),
        ({"metrics": {"rows": -1.0}}, "negative: rows"),
        ({"samples": []}, "at least one sample"),
        ({"samples": [{"duration_s": 0}]}, "duration_s: Input should be greater than 0"),
        ({"contract": 2}, "contract: Input should be 1"),
        ({"status": "failed"}, "'failure' is missing"),
        ({"trial_id": "t2"}, "is of migration t2, not of this trial"),
        ({"job": "dedup"}, "is of dedup t1, not of this trial"),
        ({"ended_at": (NOW - timedelta(days=1)).isoformat()}, "ended_at is before started_at"),
        ({"started_at": "yesterday"}, "started_at"),
    ],
)
def test_an_absurd_or_foreign_measurement_is_refused(path, changes, message):
    change(path, **changes)
    with pytest.raises(MeasurementError, match=message):
        read(path)


def test_a_stale_measurement_is_refused(path):
    with pytest.raises(MeasurementError, match="is stale"):
        read(path, not_before=read(path).ended_at + timedelta(seconds=1))


def test_a_missing_or_cut_file_is_refused(path, tmp_path):
    with pytest.raises(MeasurementError, match="left no measurement"):
        read(tmp_path / "none.json")
    path.write_text(path.read_text()[:50])
    with pytest.raises(MeasurementError, match="not valid"):
        read(path)


def plan():
    return TrialPlan("t1", "s1", "search", 1, 1, 1, "fast", {"partitions": 4})


def test_a_failed_check_makes_a_failed_trial(path):
    change(path, checks=[{"name": "checksum", "passed": False, "detail": "3 rows differ"}])
    result = TrialResult.of(plan(), read(path))
    assert (result.status, result.failure, result.reason) == ("failed", "check_failed", "checksum: 3 rows differ")
    assert not result.metrics


def test_a_jobs_failure_keeps_its_reason(tmp_path):
    MeasurementWriter(CONFIG, tmp_path / "m.json").write_failure(JobError("the target is read-only"))
    result = TrialResult.of(plan(), read(tmp_path / "m.json"))
    assert (result.failure, result.reason, result.is_evidence) == ("error", "the target is read-only", True)


def test_plans_survive_xcom():
    assert TrialPlan.from_dict(json.loads(json.dumps(plan().to_dict()))) == plan()
