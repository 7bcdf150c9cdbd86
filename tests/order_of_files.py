"""The order in which the processes of `make test` take the test files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

WAITING, COMPUTING = ("environments", "browser", "airflow"), ("jobs",)
"""Folders of tests by what they do most of the time; those first that need nothing which another file makes."""


def woven(files: Sequence[Path]) -> list[Path]:
    """The files, those that wait beside those that compute.

    Half of them wait for Airflow, a browser or downloads, and half compute in a JVM: each kind alone would leave the
    processors idle for a third of the run, and have three JVMs on two of them for another. The quick ones come last,
    so that the processes end together.
    """
    waiting, computing = _within(WAITING, files), _within(COMPUTING, files)
    parts = [(place / len(waiting), file) for place, file in enumerate(waiting)]
    parts += [((place + 0.5) / len(computing), file) for place, file in enumerate(computing)]
    first = [file for _, file in sorted(parts)]
    return first + [file for file in files if file not in first]


def _within(folders: Iterable[str], files: Sequence[Path]) -> list[Path]:
    return [file for folder in folders for file in files if file.parent.name == folder]
