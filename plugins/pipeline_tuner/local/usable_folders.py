"""Folders of this machine that can be written and from which programs can run (not mounted noexec)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

JAVAS_TEMPORARY = Path("/tmp")
"""Java's temporary folder on Linux, whatever TMPDIR says: Spark unpacks its native libraries there."""


def runs_programs(folder: Path) -> bool:
    """False where the file system of a folder is mounted `noexec`: no program and no native library runs from there."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def first_that_runs_programs(folders: Iterable[Path]) -> Path | None:
    """The first of some folders that is there, can be written and runs programs."""
    usable = (folder for folder in folders if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK))
    return next((folder for folder in usable if runs_programs(folder)), None)


def java_variables(local: Path, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables with which Java works here: its temporary folder runs programs, and it reads every file name."""
    options = variables.get("JAVA_TOOL_OPTIONS", "")
    if not runs_programs(JAVAS_TEMPORARY) and "-Djava.io.tmpdir" not in options:
        folder = local / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        options = f'{options} -Djava.io.tmpdir="{folder}"'.strip()
    own = {"JAVA_TOOL_OPTIONS": options} if options else {}
    return {**own, **_readable_names(variables)}


def _readable_names(variables: Mapping[str, str]) -> dict[str, str]:
    """In the locale C a Java opens no file whose path has a letter beyond ASCII."""
    chosen = next(filter(None, map(variables.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    return {"LC_ALL": "C.UTF-8"} if chosen in ("C", "POSIX") else {}


def writable_home(variables: Mapping[str, str] = os.environ) -> bool:
    """True where programs may keep their caches in HOME."""
    home = Path(variables.get("HOME") or "/nonexistent")
    return home.is_dir() and os.access(home, os.W_OK | os.X_OK)
