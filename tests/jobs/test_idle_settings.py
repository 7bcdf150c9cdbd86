"""Settings of Spark that would do nothing where a trial runs: each row of the table on each kind of master."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError, MeasurementWriter, TrialConfig
from pipeline_jobs.dedup import job as dedup
from pipeline_jobs.idle_settings import (
    ACTING,
    ALLOCATION,
    EVERYWHERE,
    SHUFFLE_SERVICE,
    SPECULATION,
    Acting,
    Platform,
    RunningEnvironment,
    platform_of,
    problems,
)
from pipeline_jobs.migration import job as migration
from pipeline_jobs.quantizer.settings import read_settings
from pipeline_jobs.session import JVM_SETTINGS, close_session, open_session, stop_jvm
from pipeline_jobs.setting_names import nearest, refuse_misspelt

MASTERS = {
    Platform.LOCAL: "local[2]",
    Platform.STANDALONE: "spark://far:7077",
    Platform.YARN: "yarn",
    Platform.KUBERNETES: "k8s://https://far:6443",
}
SWITCHES = {
    ALLOCATION: "true",
    SPECULATION: "true",
    SHUFFLE_SERVICE: "true",
    "spark.memory.offHeap.enabled": "true",
}
IN_CLUSTER_MODE = {"spark.submit.deployMode": "cluster"}
ROWS = pytest.mark.parametrize("row", ACTING, ids=lambda row: row.name)
Values = dict[str, Any]


def found(values: Values, platform: Platform = Platform.LOCAL, **around: Any) -> list[str]:
    """What is said of settings on a kind of master."""
    return problems(values, RunningEnvironment(MASTERS.get(platform, "jes"), platform=platform, **around))


def setting(row: Acting) -> str:
    """A setting that the row is about."""
    return f"{row.name}x" if row.name.endswith(".") else row.name


@ROWS
@pytest.mark.parametrize("platform", MASTERS)
def test_a_setting_acts_or_is_refused_with_the_reason(row: Acting, platform: Platform) -> None:
    values = {name: on for name, on in SWITCHES.items() if name == row.needs} | {setting(row): row.example}
    submitted = IN_CLUSTER_MODE if row.in_cluster_mode else None
    said = [
        each
        for each in found(values, platform, submitted=submitted)
        if each.startswith(f"{setting(row)} has no effect")
    ]
    assert bool(said) == (platform not in row.on), said
    assert all("\n" not in each and (each[-1].isalpha() or each[-1] in ")]") for each in said)


@ROWS
def test_where_it_acts_its_switch_must_be_on(row: Acting) -> None:
    for platform in row.on & MASTERS.keys() if row.needs else ():
        assert found({setting(row): row.example, row.needs: False}, platform)
        assert found({setting(row): row.example}, platform)
        assert not found({setting(row): row.example, row.needs: True}, platform)


@ROWS
@pytest.mark.parametrize("platform", MASTERS)
def test_sparks_own_default_claims_nothing(row: Acting, platform: Platform) -> None:
    if row.default:
        assert not found({setting(row): row.default}, platform)


@ROWS
def test_what_a_managed_service_does_is_its_own(row: Acting) -> None:
    assert not found({setting(row): row.example}, Platform.MANAGED)


@pytest.mark.parametrize(
    ("master", "platform"),
    [
        ("local", Platform.LOCAL), ("local[*]", Platform.LOCAL), ("local[2,4]", Platform.LOCAL),
        ("local-cluster[1,1,1024]", Platform.STANDALONE), ("spark://a:7077,b:7077", Platform.STANDALONE),
        ("yarn", Platform.YARN), ("k8s://https://a", Platform.KUBERNETES), ("jes", Platform.MANAGED),
    ],
)  # fmt: skip
def test_the_kind_of_a_master(master: str, platform: Platform) -> None:
    assert platform_of(master) is platform


@pytest.mark.parametrize("name", ["spark.driver.cores", "spark.driver.memoryOverhead"])
def test_a_driver_beside_airflow_is_given_nothing_by_the_cluster(name: str) -> None:
    assert found({name: "4"}, Platform.YARN)
    assert found({name: "4"}, Platform.YARN, submitted={"spark.submit.deployMode": "client"})
    assert not found({name: "4"}, Platform.YARN, submitted=IN_CLUSTER_MODE)


def test_a_standalone_master_takes_a_first_number_of_executors() -> None:
    assert found({"spark.executor.instances": 4}, Platform.STANDALONE)
    assert not found({"spark.executor.instances": 4, ALLOCATION: True}, Platform.STANDALONE)
    assert found({"spark.executor.instances": 4, ALLOCATION: True}, Platform.LOCAL)


def test_short_names_are_judged_as_what_they_mean() -> None:
    (said,) = found({"executor_memory": "4g"})
    assert said == "executor_memory has no effect with the master local[2]: everything runs in the driver's JVM"
    (twice,) = found({"shuffle_partitions": 4, "spark.sql.shuffle.partitions": 8})
    assert "are the same setting" in twice
    assert not found({"shuffle_partitions": 4, "spark.sql.shuffle.partitions": 4})


@pytest.mark.parametrize(
    ("values", "is_refused"),
    [
        ({"cores": 3, "master": "local[1]"}, True), ({"cores": 3, "master": "local"}, True),
        ({"cores": 3, "spark.master": "local[*]"}, True), ({"cores": 3, "master": "local[3,2]"}, False),
        ({"cores": 3, "master": ""}, False), ({"cores": 3}, False), ({"cores": 0, "master": "local[1]"}, False),
        ({"cores": 3, "master": "spark://far:7077"}, False), ({"cores": 3, "master": "local-cluster[1,1,1]"}, False),
    ],
)  # fmt: skip
def test_cores_beside_a_master_that_says_its_threads(values: Values, is_refused: bool) -> None:
    assert bool(found(values)) == is_refused


@pytest.mark.parametrize("name", JVM_SETTINGS)
def test_what_the_drivers_jvm_was_started_with_is_all_that_acts(name: str) -> None:
    value, other = ("2g", "3g") if name == "spark.driver.memory" else ("a", "b")
    value, other = ("-Xss1m", "-Xss2m") if name.endswith("JavaOptions") else (value, other)
    assert not found({name: value}, submitted={name: value})
    assert not found({name: value}, submitted=None)
    for submitted in ({name: other}, {}):
        (said,) = found({name: value}, submitted=submitted)
        assert f"--conf {name}={value}" in said


def test_the_same_memory_and_the_same_jars_in_other_words() -> None:
    assert not found({"driver_memory": "2048m"}, submitted={"spark.driver.memory": "2g"})
    assert not found({"driver_memory": "1g"}, submitted={})
    assert not found({"spark.jars": "/a/x.jar"}, submitted={"spark.jars": "file:///b/y.jar,file:///a/x.jar"})


def test_s3s_client_needs_something_to_read_there() -> None:
    values = {"spark.hadoop.fs.s3a.threads.max": 20}
    assert found(values, Platform.YARN, places=["s3://lake/a", "/s3a/b", ""])
    assert not found(values, Platform.YARN, places=["/a", "s3a://lake/b"])


def test_a_jvm_that_would_not_start() -> None:
    (flag,) = found({"spark.driver.extraJavaOptions": "-XX:+NoSuchFlag"})
    assert flag.startswith("Java does not start with spark.driver.extraJavaOptions:")
    (memory,) = found({"driver_memory": "4000g"})
    assert memory.startswith("the driver's memory is 4000 GiB, this machine has")
    assert not found({"driver_memory": "4000g"}, submitted={"spark.driver.memory": "4000g"})


REFUSED_BY_ALL: dict[str, Values] = {
    ALLOCATION: {ALLOCATION: True},
    "executor_memory": {"executor_memory": "4g"},
    "spark.hadoop.fs.s3a.threads.max": {"spark.hadoop.fs.s3a.threads.max": 7},
    "spark.cores.max": {"spark.cores.max": 7},
    "cores": {"cores": 3, "master": "local[1]"},
}
JOBS = {
    "dedup": lambda config, writer: dedup.run(config, writer),
    "migration": lambda config, writer: migration.run(config, writer),
    "quantizer": lambda config, _: read_settings(config),
}
"""The jobs whose configurations name settings of Spark; streaming_etl knows no such parameter."""


@pytest.mark.parametrize("name", REFUSED_BY_ALL)
@pytest.mark.parametrize("job", JOBS)
def test_every_job_refuses_before_it_does_anything(job: str, name: str) -> None:
    workload = {"table": "t"} if job == "migration" else {}
    config = TrialConfig(job, "t", REFUSED_BY_ALL[name], workload=workload)
    with pytest.raises(BadConfigurationError, match=f"^{name} .*has no effect") as refused:
        JOBS[job](config, MeasurementWriter(config, "nowhere"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["worker_type", "workers", "shuffle_to_s3", "auto_scaling"])
def test_a_size_of_glue_is_refused_elsewhere(name: str) -> None:
    config = TrialConfig("dedup", "t", {name: 2})
    with pytest.raises(BadConfigurationError, match=f"^{name} has no effect here: it sizes a run on AWS Glue"):
        dedup.run(config, MeasurementWriter(config, "nowhere"))


@pytest.mark.parametrize("name", ["shuffle_partitions", "adaptive", "spark.sql.adaptive.enabled", "spark.shuffle.x"])
def test_a_migration_has_no_shuffle_to_tune(name: str) -> None:
    config = TrialConfig("migration", "t", {name: 2}, workload={"table": "t"})
    with pytest.raises(BadConfigurationError, match=f"{name} has no effect: a migration shuffles nothing"):
        migration.run(config, MeasurementWriter(config, "nowhere"))


# Names that Spark doesn't know.


@pytest.fixture(scope="module")
def spark(spark_env: dict[str, str]) -> Iterator[SparkSession]:
    session = open_session("names", {"master": "local[1]"})
    yield session
    close_session(session)
    stop_jvm()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("spark.sql.shufle.partitions", "spark.sql.shuffle.partitions"),
        ("spark.memory.fractoin", "spark.memory.fraction"),
        ("spark.sql.adaptive.coalescePartition.enabled", "spark.sql.adaptive.coalescePartitions.enabled"),
        ("spark.driver.extraJavaOption", "spark.driver.extraJavaOptions"),
        ("spark.dynamicallocation.enabled", "spark.dynamicAllocation.enabled"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_is_meant(spark: SparkSession, name: str, meant: str) -> None:
    with pytest.raises(BadConfigurationError, match=f"^{name} is no setting of Spark [0-9.]+: did you mean {meant}"):
        refuse_misspelt(spark.sparkContext, [name])


def test_what_spark_knows_and_what_others_name_passes(spark: SparkSession) -> None:
    others = [
        "spark.sql.catalog.lake",
        "spark.myapp.fraction",
        "spark.hadoop.fs.s3a.threads.max",
        "spark.executorEnv.A",
    ]
    known = [setting(row) for row in ACTING if not row.name.endswith(".") and row.name in MASTERS]
    refuse_misspelt(spark.sparkContext, [*others, *known, *JVM_SETTINGS, "spark.memory.fraction", "spark.master"])
    assert nearest("spark.a.b", ["spark.a.bc.d"]) == ""


def test_a_session_of_a_misspelt_setting_does_not_stay(spark_env: dict[str, str]) -> None:
    with pytest.raises(BadConfigurationError, match=r"did you mean spark\.memory\.fraction"):
        open_session("names", {"master": "local[1]", "spark.memory.fractions": 0.5})
    session = open_session("names", {"master": "local[1]"})
    close_session(session)


def test_every_master_is_in_the_table() -> None:
    assert {*MASTERS, Platform.MANAGED} == EVERYWHERE
