"""The project installs as a package: its entry points load from a wheel, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOAD = """
from importlib.metadata import distribution
entry_points = distribution("airflow-pipeline-tuner").entry_points
for entry in entry_points:
    print(entry.group, entry.load().__module__)
(provider,) = entry_points.select(group="apache_airflow_provider")
print(provider.load()()["package-name"])
from pipeline_tuner import settings
print(settings.studies_folder().exists(), settings.jobs_folder().exists())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the built wheel was installed into, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--target"]
    subprocess.run([*install, str(folder / "site"), str(wheel)], check=True, capture_output=True)
    return folder / "site"


def test_entry_points_load_from_the_wheel(installed: Path, airflow_env: Path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", LOAD], env=environment, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "airflow.plugins pipeline_tuner_plugin",
        "apache_airflow_provider pipeline_tuner.provider",
        "airflow-pipeline-tuner",
        "True True",
    ]


def test_the_wheel_brings_jobs_studies_and_migrations_but_no_tests(installed: Path):
    # The wheel's own list: importing the package above leaves compiled files beside it.
    (record,) = installed.glob("airflow_pipeline_tuner-*.dist-info/RECORD")
    files = {line.split(",")[0] for line in record.read_text(encoding="utf-8").splitlines()}
    assert "pipeline_tuner/_spark_jobs/pipeline_jobs/contract.py" in files
    assert any(name.startswith("pipeline_tuner/store/migrations/versions/") for name in files)
    assert not any("tests" in Path(name).parts or "__pycache__" in name for name in files)


def test_pyspark_is_one_version():
    """Two packages share pyspark's files: different versions would mix silently."""
    from importlib.metadata import version

    import pyspark

    assert version("pyspark") == version("pyspark-client") == pyspark.__version__
