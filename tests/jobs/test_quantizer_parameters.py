# ruff: noqa: F811 (the fixture `spark` is imported, and a parameter)
"""Each parameter of the quantizer's study acts: another value shows in files, tables or plans, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from tests.jobs.query_plans import count_queries, plans_since
from tests.jobs.test_quantizer_batch import HOUR, START_US, add, some_points, spark  # noqa: F401
from tests.jobs.test_quantizer_spark_settings import SPARK_SETTINGS

from pipeline_jobs.contract import BadConfigurationError, JobError, TrialConfig
from pipeline_jobs.quantizer import baseline, generated_points, iceberg
from pipeline_jobs.quantizer.batch import BatchResult, run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.rollup import TIME
from pipeline_jobs.quantizer.settings import Settings, read_settings
from pipeline_tuner.study import load_study

STUDY = load_study(Path(__file__).parents[2] / "include" / "configs" / "quantizer.yaml")
BASE = {
    "tasks": {"shape": "tasks"},
    "baseline": {"shape": "baseline", "read_partitions": 2, "write_partitions": 2},
}


@dataclass(frozen=True)
class Run:
    """What one small roll-up left."""

    spark: SparkSession
    target: str
    result: BatchResult
    plans: tuple[str, ...]
    stages: tuple[int, ...]
    """The number of tasks of each stage."""

    @property
    def files(self) -> list[str]:
        """The data files of the rollups."""
        rows = self.spark.sql(f"SELECT file_path FROM {self.target}.files").collect()
        return [row[0].removeprefix("file:") for row in rows]

    @property
    def properties(self) -> dict[str, str]:
        """The properties of the rollups' table."""
        return {row["key"]: row["value"] for row in self.spark.sql(f"SHOW TBLPROPERTIES {self.target}").collect()}

    def found(self, pattern: str) -> list[str]:
        """What of the plans a pattern matches."""
        return sorted(each for plan in self.plans for each in re.findall(pattern, plan))


class Runner:
    """Rolls up the same points by any configuration, each once."""

    def __init__(self, spark: SparkSession, source: str) -> None:
        self.spark, self.source = spark, source
        self._known: dict[str, Run] = {}

    def __call__(self, configuration: dict[str, Any]) -> Run:
        """The run of a configuration; the same one for the same configuration."""
        key = repr(sorted(configuration.items()))
        if key not in self._known:
            self._known[key] = self._run(configuration, f"{self.source}_rollups_{len(self._known)}")
        return self._known[key]

    def _run(self, configuration: dict[str, Any], target: str) -> Run:
        settings = read_settings(TrialConfig("quantizer", "t", configuration))
        batch = settings.batch(self.source, target, START_US, START_US + 3 * HOUR, (60_000, 300_000, 3_600_000))
        group, first = f"parameters {target}", count_queries(self.spark)
        self.spark.sparkContext.setJobGroup(group, "parameters")
        result = self._roll_up(settings, batch)
        return Run(self.spark, target, result, plans_since(self.spark, first), self._stages(group))

    def _roll_up(self, settings: Settings, batch: Batch) -> BatchResult:
        if settings.shape == "baseline":
            baseline.create_tables(self.spark, batch, settings.table_properties)
            return baseline.run_baseline(self.spark, batch, settings)
        iceberg.create_rollups(self.spark, batch.target, settings.table_properties)
        return run_batch(self.spark, batch)

    def _stages(self, group: str) -> tuple[int, ...]:
        tracker = self.spark.sparkContext.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in sorted(tracker.getJobIdsForGroup(group))]
        stages = [tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
        return tuple(stage.numTasks for stage in stages if stage is not None)


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Runs over some points and one whose value only one engine rolls up."""
    generated_points.create_source(spark, "lake.parameters.raw")
    folder = tmp_path_factory.mktemp("parameters")
    add(spark, "lake.parameters.raw", some_points(50, 1200), folder)
    return Runner(spark, "lake.parameters.raw")


@pytest.fixture(scope="module")
def run_huge(spark: SparkSession, run: Runner, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The same over one point of a value above 2^63."""
    generated_points.create_source(spark, "lake.parameters.huge")
    names = {"org_id": ["a"], "metric_name": ["m"]}
    point = pa.table(names | {"wall_timestamp": pa.array([START_US + 5]).cast(TIME), "value": [1e30]})
    add(spark, "lake.parameters.huge", point, tmp_path_factory.mktemp("huge"))
    return Runner(spark, "lake.parameters.huge")


@dataclass(frozen=True)
class Tuned:
    """A value beside the base's, and where the difference shows."""

    value: Any
    seen: Callable[[Run], object]
    shapes: tuple[str, ...] = ("tasks", "baseline")


def codecs(run: Run) -> set[str]:
    return {pq.read_metadata(path).row_group(0).column(0).compression for path in run.files}


def property_of(name: str) -> Callable[[Run], object]:
    return lambda run: run.properties.get(name)


def plan(pattern: str) -> Callable[[Run], object]:
    return lambda run: run.found(pattern)


def sorts(run: Run) -> list[str]:
    """The orders that the plans sort by."""
    return [re.sub(r"#\d+L?", "", each) for each in run.found(r"\) Sort[^\n]*\n[^\n]*\nArguments: (\[[^\]]*\])")]


TASKS, BASELINE = ("tasks",), ("baseline",)
PARAMETERS = {
    "rows_per_task": Tuned(100, lambda run: run.result.tasks, TASKS),
    "min_tasks": Tuned(4, lambda run: run.result.tasks, TASKS),
    "chunk_ms": Tuned(600_000, lambda run: run.result.tasks, TASKS),
    "compression": Tuned("gzip", codecs),
    "target_file_bytes": Tuned(3000, lambda run: len(run.files), TASKS),
    "delete_after_commit": Tuned(False, property_of("write.metadata.delete-after-commit.enabled")),
    "previous_versions": Tuned(7, property_of("write.metadata.previous-versions-max")),
    "format_version": Tuned(
        3, lambda run: iceberg.iceberg(run.spark).TableUtil.formatVersion(iceberg.load(run.spark, run.target))
    ),
    "cache_input": Tuned(False, plan("InMemoryTableScan"), BASELINE),
    "read_partitions": Tuned(3, plan(r"hashpartitioning\(org_id#\d+, (\d)\), REPARTITION"), BASELINE),
    "repartition_series": Tuned(False, plan("REPARTITION_BY_COL"), BASELINE),
    "count_partials": Tuned(False, lambda run: len(run.plans), BASELINE),
    "write_partitions": Tuned(3, plan(r"resolution_ms#\d+L?, (\d)\), REPARTITION"), BASELINE),
    "sort_metrics": Tuned(False, sorts, BASELINE),
    "storage_level": Tuned("DISK_ONLY", plan(r"StorageLevel\([^)]*\)"), BASELINE),
    "fanout": Tuned(False, sorts, BASELINE),
    "distribution": Tuned("range", plan(r"rangepartitioning\("), BASELINE),
    "split_bytes": Tuned(1 << 20, lambda run: sum(run.stages), BASELINE),
    "write_format": Tuned("orc", lambda run: {path.rpartition(".")[2] for path in run.files}, BASELINE),
}
REFUSED = {
    "broadcast_partials": True,
    "storage_level": "MEMORY_AND_DISK_SER",
    "write_format": "data",
    "spark.shuffle.service.index.cache.size": "2048",
    "spark.shuffle.registration.timeout": "120000",
    "spark.driver.extraJavaOptions": "-XX:+UseG1GC -XX:+UnlockDiagnosticVMOptions -XX:+G1SummarizeConcMark",
}
ELSEWHERE: dict[str, set[str]] = {"target_file_bytes": set()}
"""Where a parameter doesn't act; it acts on the baseline, too, but in steps of a thousand rows."""
OF_THEIR_OWN = ("shape", "engine")


def test_every_parameter_of_the_study_is_among_these_tests() -> None:
    assert set(STUDY.space.parameters) == {*PARAMETERS, *REFUSED, *SPARK_SETTINGS, *OF_THEIR_OWN}


@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name, tuned in PARAMETERS.items() for shape in tuned.shapes]
)
def test_another_value_shows(run: Runner, name: str, shape: str) -> None:
    tuned = PARAMETERS[name]
    base, other = run(BASE[shape]), run(BASE[shape] | {name: tuned.value})
    assert tuned.seen(base) != tuned.seen(other), tuned.seen(base)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_asked_for_only_where_it_acts_and_refused_elsewhere(name: str) -> None:
    when = STUDY.space.parameters[name].when or " ".join(BASE)
    elsewhere = ELSEWHERE.get(name, set(BASE) - set(PARAMETERS[name].shapes))
    for shape in elsewhere:
        assert shape not in when
        with pytest.raises(BadConfigurationError, match=f"{name} has no effect on the shape {shape}"):
            read_settings(TrialConfig("quantizer", "t", {"shape": shape, name: PARAMETERS[name].value}))


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_what_cannot_act_is_refused(spark_env: dict[str, str], name: str, value: Any) -> None:
    parameter = STUDY.space.parameters[name]
    assert value in (parameter.values or (True, False))
    read_settings(TrialConfig("quantizer", "t", {"shape": "baseline", name: parameter.default}))
    with pytest.raises(BadConfigurationError):
        read_settings(TrialConfig("quantizer", "t", {"shape": "baseline", name: value}))


def test_engines_and_shapes_differ(run: Runner, run_huge: Runner) -> None:
    assert run_huge({"shape": "tasks"}).result.counts.points == 1
    for engine in ("duckdb", "polars"):
        with pytest.raises(JobError, match=engine) as caught:
            run_huge({"shape": "tasks", "engine": engine})
        assert "\n" not in str(caught.value)
    assert "sketch" not in run.spark.table(run(BASE["baseline"]).target).columns
    assert "sketch" in run.spark.table(run(BASE["tasks"]).target).columns


@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip", "lz4", "uncompressed"])
def test_every_codec_is_written_and_read(run: Runner, codec: str) -> None:
    other = run({"shape": "tasks", "compression": codec})
    assert run.spark.table(other.target).agg({"sum": "max"}).first() is not None


def test_a_table_of_a_later_format_version_stays_at_it(spark: SparkSession) -> None:
    spark.sql("CREATE NAMESPACE IF NOT EXISTS lake.parameters")
    iceberg.create_rollups(spark, "lake.parameters.later", {"format-version": "3"})
    iceberg.create_rollups(spark, "lake.parameters.later", {"format-version": "2"})
    assert iceberg.iceberg(spark).TableUtil.formatVersion(iceberg.load(spark, "lake.parameters.later")) == 3
