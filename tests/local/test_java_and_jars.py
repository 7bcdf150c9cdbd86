"""Java where the machine has none, and Spark's jars as local files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local import jars
from pipeline_tuner.local.java import QUICKLY_COMPILED, java_home, major_version
from pipeline_tuner.local.paths import Layout, keep_secret

SPARK = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
print("sum", spark.range(10).groupBy().sum("id").first()[0], spark.version)
spark.stop()
"""


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PATH with the few programs that Spark's scripts need, and no Java anywhere."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "sh", "dirname", "basename", "uname", "ps", "env", "readlink", "cat", "rm", "ls", "id"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.mark.usefixtures("no_java")
def test_spark_runs_on_the_java_that_came_with_pip(tmp_path):
    home = java_home(Layout(tmp_path))
    assert tmp_path in home.parents
    assert major_version(home) == 21
    environment = {
        **os.environ,
        "JAVA_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_SUBMIT_OPTS": QUICKLY_COMPILED,
    }
    done = subprocess.run([sys.executable, "-c", SPARK], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert "sum 45 4.1" in done.stdout, done.stderr[-2000:]


@pytest.mark.usefixtures("no_java")
def test_a_java_that_spark_cannot_use_is_passed_over(tmp_path, monkeypatch):
    old = tmp_path / "old" / "bin" / "java"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    assert major_version(old.parents[1]) == 11
    assert major_version(java_home(Layout(tmp_path))) == 21


def test_jars_are_there_once_and_for_all(layout):
    (driver,) = (path for path in jars.fetch(layout, "postgresql") if "postgresql" in path.name)
    before = driver.stat().st_mtime_ns
    assert driver in jars.fetch(layout, "postgresql")
    assert driver.stat().st_mtime_ns == before


def test_a_jar_that_cannot_be_had_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(jars.GROUPS, "nowhere", ["org.example.nowhere:nothing:0.0.1"])
    with pytest.raises(InfrastructureError, match="nothing"):
        jars.fetch(Layout(tmp_path), "nowhere")
    assert jars.present(Layout(tmp_path)) == []


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "secrets" / "one"
    first = keep_secret(path)
    assert keep_secret(path) == first
    assert len(first) >= 43
    assert path.stat().st_mode & 0o077 == 0
