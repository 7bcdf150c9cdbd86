"""Spark's settings among the quantizer's parameters: where they show in a session, and where they are refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession
from tests.patience import PATIENCE_S

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.quantizer.settings import ONLY_CACHED, read_settings
from pipeline_jobs.session import close_session, is_local, open_session, stop_jvm

ROOT = Path(__file__).parents[2]
SPARK_SETTINGS: dict[str, Any] = {
    "cores": 1,
    "driver_memory": "3g",
    "shuffle_partitions": 5,
    "adaptive": False,
    "spark.sql.adaptive.coalescePartitions.enabled": False,
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    "spark.kryoserializer.buffer.max": "128m",
    "spark.memory.fraction": 0.7,
    "spark.memory.storageFraction": 0.3,
    "spark.shuffle.file.buffer": "1m",
    "spark.shuffle.unsafe.file.output.buffer": "5m",
    "spark.sql.inMemoryColumnarStorage.compressed": False,
    "spark.sql.inMemoryColumnarStorage.batchSize": 20000,
    "spark.cleaner.periodicGC.interval": "30s",
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
}
SCRIPT = """
import json, sys
from pipeline_jobs.contract import TrialConfig
from pipeline_jobs.quantizer.settings import ONLY_CACHED, read_settings
from pipeline_jobs.session import effective_master
read_settings(TrialConfig("quantizer", "t", json.loads(sys.argv[1]), workload={"warehouse": "s3a://lake/warehouse"}))
print("accepted on", effective_master({}))
"""


def seen(spark: SparkSession, name: str) -> object:
    """Where a setting shows in a running session."""
    runtime = spark.sparkContext._jvm.java.lang.Runtime.getRuntime()
    collectors = spark.sparkContext._jvm.java.lang.management.ManagementFactory.getGarbageCollectorMXBeans()
    special = {
        "cores": lambda: spark.sparkContext.defaultParallelism,
        "driver_memory": lambda: round(runtime.maxMemory() / 2**30),
        "shuffle_partitions": lambda: spark.conf.get("spark.sql.shuffle.partitions"),
        "adaptive": lambda: spark.conf.get("spark.sql.adaptive.enabled"),
        "spark.serializer": lambda: spark._jsc.sc().env().serializer().getClass().getName(),
        "spark.driver.extraJavaOptions": lambda: [str(each.getName()) for each in collectors],
    }
    if name in special:
        return special[name]()
    if name.startswith("spark.sql."):
        return spark.conf.get(name)
    return spark.sparkContext.getConf().get(name)


@pytest.fixture(scope="module")
def shown(spark_env: dict[str, str]) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """What shows in a session with the study's values and in one with others."""
    defaults = {name: each["default"] for name, each in parameters().items() if name in SPARK_SETTINGS}
    both = []
    for configuration in (defaults, SPARK_SETTINGS):
        session = open_session("settings", configuration)
        both.append({name: seen(session, name) for name in SPARK_SETTINGS})
        close_session(session)
    yield both[0], both[1]
    stop_jvm()


def parameters() -> dict[str, dict[str, Any]]:
    """The study's parameters as its file has them."""
    text = (ROOT / "include" / "configs" / "quantizer.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["space"]["parameters"]


@pytest.mark.parametrize("name", SPARK_SETTINGS)
def test_another_value_shows_in_the_session(shown: tuple[dict[str, object], dict[str, object]], name: str) -> None:
    usual, other = shown
    assert usual[name] != other[name]


def recipe() -> dict[str, Any]:
    """The documented settings of a cluster, the smallest of each."""
    text = (ROOT / "docs" / "quantizer.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return {name: each["values"][0] for name, each in yaml.safe_load(block[1]).items()} | {"driver_memory": "1g"}


def test_the_documented_settings_of_a_cluster_are_accepted_where_the_connection_names_its_master(
    spark_env: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "check.py"
    script.write_text(SCRIPT, encoding="utf-8")
    submit = [str(Path(spark_env["SPARK_HOME"]) / "bin" / "spark-submit"), "--master", "yarn"]
    environment = {**spark_env, "PYSPARK_PYTHON": sys.executable, "YARN_CONF_DIR": str(tmp_path)}
    done = subprocess.run(
        [*submit, str(script), json.dumps(recipe())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "accepted on yarn" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("name", [name for name in recipe() if "executor" in name or name.endswith("memoryOverhead")])
def test_settings_of_executors_are_refused_on_a_local_master(name: str) -> None:
    with pytest.raises(BadConfigurationError, match=r"no effect with the master local\[2\]"):
        read_settings(TrialConfig("quantizer", "t", {name: recipe()[name]}))


def test_the_short_name_of_executors_memory_is_refused_too() -> None:
    with pytest.raises(BadConfigurationError, match="executor_memory has no effect with the master local"):
        read_settings(TrialConfig("quantizer", "t", {"executor_memory": "4g", "master": "local[4]"}))


@pytest.mark.parametrize("name", [name for name in recipe() if "s3a" in name])
@pytest.mark.parametrize("warehouse", ["", "/tmp/lake", "s3://lake"])
def test_settings_of_s3_are_refused_without_a_warehouse_there(name: str, warehouse: str) -> None:
    with pytest.raises(BadConfigurationError, match="reads and writes at s3a://"):
        read_settings(TrialConfig("quantizer", "t", {name: 500}, workload={"warehouse": warehouse}))


@pytest.mark.parametrize("name", ONLY_CACHED)
@pytest.mark.parametrize("values", [{"shape": "tasks"}, {"shape": "baseline", "cache_input": False}])
def test_settings_of_cached_columns_are_refused_where_nothing_is_cached(name: str, values: dict[str, Any]) -> None:
    """A claim on them was measured without a cache: both sides were the same."""
    when = parameters()[name]["when"]
    assert when == "shape == 'baseline' and cache_input"
    read_settings(TrialConfig("quantizer", "t", {**values, name: ONLY_CACHED[name]}))
    read_settings(TrialConfig("quantizer", "t", {"shape": "baseline", "cache_input": True, name: SPARK_SETTINGS[name]}))
    with pytest.raises(BadConfigurationError, match=f"{name} has no effect without cached input"):
        read_settings(TrialConfig("quantizer", "t", {**values, name: SPARK_SETTINGS[name]}))


def test_executors_of_a_local_cluster_are_executors() -> None:
    read_settings(TrialConfig("quantizer", "t", {"master": "local-cluster[1,1,1024]", "executor_memory": "1g"}))
    assert [is_local(each) for each in ("local", "local[*]", "local[2,3]", "local-cluster[1,1,1]", "yarn")] == [
        True, True, True, False, False,
    ]  # fmt: skip
