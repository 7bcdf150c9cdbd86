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


SHAPES = """
from typing import NamedTuple

class Point(NamedTuple):
    at: int
"""
MOVER = """
from pipeline_jobs.compiled import compiled
from toys.shapes import Point

@compiled
def ahead(point):
    return point.at + 1

def walk(times):
    return ahead(Point(times))

walk.stats = ahead.stats
"""


def test_what_was_kept_with_a_type_whose_module_has_another_name_now_is_made_anew(toys: Path) -> None:
    """The index of what is kept names the types of arguments: an old one could not even be read after a renaming."""
    (toys / "shapes.py").write_text(SHAPES)
    (toys / "top.py").write_text(MOVER)
    assert walked(toys.parent) == (4, 0)
    assert walked(toys.parent) == (4, 1)
    (toys / "shapes.py").rename(toys / "forms.py")
    (toys / "top.py").write_text(MOVER.replace("toys.shapes", "toys.forms"))
    assert walked(toys.parent) == (4, 0)
    assert walked(toys.parent) == (4, 1)
    assert len([path for path in (toys / "__pycache__").iterdir() if path.is_dir()]) == 1, "the old one is removed"
