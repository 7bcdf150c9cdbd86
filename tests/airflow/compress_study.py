"""A study of a small real job, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

JOB = Path(__file__).parent / "jobs" / "compress.py"

MODES = [
    "good",
    "wrong",
    "crash",
    "exit",
    "silent",
    "heap",
    "jvm_away",
    "killed",
    "killed_once",
    "hang_once",
    "hang",
    "foreign",
    "stale",
]
MODES += ["negative", "no_samples", "nan"]

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
            "mode": {"type": "categorical", "values": MODES, "default": "good"},
        }
    },
    "presets": {"fast": {"level": 1}, "small": {"level": 9}},
    "control": "fast",
    "goals": {"size": {"minimize": "bytes", "unit": "bytes"}},
    "strategy": "presets",
    "budget": {"trials": 40, "blocks": 3, "rounds": 2, "confirm_blocks": 2, "warmups": 0, "trial_timeout_s": 600},
}
