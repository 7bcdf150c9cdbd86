"""Studies for the tests of this folder, in a folder that the plugin reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from compress_study import COMPRESS
from sqlalchemy import text
from tests.temporary_postgres import temporary_postgres

from pipeline_tuner.local.postgres import PostgresServer
from pipeline_tuner.store import Store
from pipeline_tuner.trial import TrialResult


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of one test file alone, which may kill it."""
    with temporary_postgres() as server:
        yield server


@pytest.fixture
def results_of(results: str) -> Callable[[str], list[TrialResult]]:
    """A function that returns the results of the only sweep of a study."""

    def read(study: str) -> list[TrialResult]:
        with Store(results) as store, store.transaction() as connection:
            query = text("SELECT sweep_id FROM pipeline_tuner.sweep WHERE study = :study")
            sweep_id = connection.execute(query, {"study": study}).scalar_one()
            return list(store.results(sweep_id))

    return read


@pytest.fixture
def production_runs(results: str) -> Callable[[str], Sequence[Any]]:
    """A function that returns the rows of production runs, sorted by the columns that are given."""

    def read(order: str) -> Sequence[Any]:
        with Store(results) as store, store.transaction() as connection:
            return connection.exec_driver_sql(f"SELECT * FROM pipeline_tuner.production_run ORDER BY {order}").all()

    return read


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
