"""Machine code that is kept is never older than any file that it is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = """
from pipeline_jobs.compiled import compiled
from toys.base import step
from toys.constants import START

@compiled
def walk(times):
    at = START
    for _ in range(times):
        at = step(at)
    return at
"""
BASE = """
from pipeline_jobs.compiled import compiled

@compiled
def step(at):
    return at + 1
"""


def walked(folder: Path) -> tuple[int, int]:
    """What `walk(3)` gives in a process of its own, and how many compiled forms it took from the cache."""
    program = "from toys.top import walk; print(walk(3), sum(walk.stats.cache_hits.values()))"
    paths = os.pathsep.join([str(folder), str(ROOT / "spark_jobs")])
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    value, hits = map(int, done.stdout.split())
    return value, hits


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    folder = tmp_path / "toys"
    folder.mkdir()
    files = {"__init__.py": "", "top.py": TOP, "base.py": BASE, "constants.py": "START = 10\n"}
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_change_of_any_file_that_it_is_made_of_is_seen(toys: Path) -> None:
    """With numba's own stamp the old code of `step` and the old START would go on running: 13 and 13."""
    assert walked(toys.parent) == (13, 0)
    assert walked(toys.parent) == (13, 1), "unchanged, it comes from the cache"
    (toys / "base.py").write_text(BASE.replace("at + 1", "at + 2"))
    assert walked(toys.parent) == (16, 0)
    (toys / "constants.py").write_text("START = 20\n")
    assert walked(toys.parent) == (26, 0)
