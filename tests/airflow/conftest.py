"""Studies for the tests of this folder, in a folder that the plugin reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compress_study import COMPRESS

from pipeline_tuner.local.postgres import PostgresServer


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of one test file alone, which may kill it."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-postgres-"))
    folder.chmod(0o755)
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of studies that the plugin reads, with folders for reports beside it."""
    folder = tmp_path / "studies"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__STUDIES_FOLDER", str(folder))
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__REPORTS_FOLDER", str(tmp_path / "reports"))
    return folder


@pytest.fixture
def compress(studies: Path) -> Callable[..., str]:
    """A function that writes the study `compress` with changes to its top-level keys, and returns its name."""

    def write(**changes: Any) -> str:
        study = {**COMPRESS, **changes}
        (studies / f"{study['study']}.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        return study["study"]

    return write
