"""A smaller copy of the dedup study for tests that sweep it, and what its trials came to."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from pipeline_tuner.store import Store

CONFIGS = Path(__file__).parents[2] / "include" / "configs"
ROWS = 4000


@pytest.fixture
def study(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, spark_env: dict[str, str]) -> Any:
    """A function that writes a smaller copy of the study and returns its path."""
    monkeypatch.setenv("AIRFLOW_CONN_DEDUP_TARGET", database)
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[2]"}')
    monkeypatch.setenv("AIRFLOW__PIPELINE_TUNER__REPORTS_FOLDER", str(tmp_path / "reports"))

    def write(presets: dict[str, Any], *, changes: dict[str, Any] | None = None, **runner: Any) -> str:
        document = yaml.safe_load((CONFIGS / "dedup.yaml").read_text())
        document["presets"] = presets
        document["control"] = document["fallback"] = next(iter(presets))
        document["runner"] |= runner
        document["workload"] |= {"sizes": {"full": 1.0}, "default_size": "full"}
        document["workload"]["options"] |= {
            "generator": {"rows": ROWS, "duplicates": 5},
            "folder": str(tmp_path / "data"),
        }
        document["strategy"] = "presets"
        document["budget"] |= {"blocks": 1, "confirm_blocks": 0, "rounds": 1, "trial_timeout_s": 600}
        document["budget"] |= {"warmups": 1, "min_work_s": 0, "minutes": None}
        for part, values in (changes or {}).items():
            document[part] = {**document[part], **values} if isinstance(values, dict) else values
        path = tmp_path / "dedup.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return str(path)

    return write


def results_of(results: str) -> dict[str, Any]:
    with closing(psycopg2.connect(results)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT sweep_id FROM pipeline_tuner.trial")
        ((sweep_id,),) = cursor.fetchall()
    with Store(results) as store:
        return {result.plan.label: result for result in store.results(sweep_id)}
