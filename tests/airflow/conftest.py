"""A study of a small real job, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

JOB = Path(__file__).parent / "jobs" / "compress.py"

COMPRESS: dict[str, Any] = {
    "study": "compress",
    "job": "compress",
    "runner": {
        "kind": "process",
        "command": ["python", str(JOB), "--config", "{config}", "--measurement", "{measurement}"],
    },
    "workload": {"name": "text"},
    "space": {
        "parameters": {
            "level": {"type": "integer", "low": 1, "high": 9, "default": 1},
            "mode": {"type": "choice", "values": ["good"], "default": "good"},
        }
    },
    "presets": {"fast": {"level": 1}, "small": {"level": 9}},
    "control": "fast",
    "goals": {"size": {"minimize": "bytes", "unit": "bytes"}},
    "budget": {"trials": 40, "blocks": 3, "rounds": 2, "confirm_blocks": 2, "warmups": 0, "trial_timeout_s": 60},
}

MODES = ["good", "wrong", "crash", "exit", "silent", "heap", "killed", "killed_once", "hang", "foreign", "stale"]
MODES += ["negative", "no_samples", "nan"]


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
        study["space"]["parameters"]["mode"]["values"] = MODES
        (studies / f"{study['study']}.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
        return study["study"]

    return write
