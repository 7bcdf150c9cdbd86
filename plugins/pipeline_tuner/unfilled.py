"""`<fill in: ...>`: places in a study that a person has to fill in, written by `advise --study`. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipeline_tuner.problems import Path, key_of
from pipeline_tuner.study import Study

MARK = re.compile(r"<fill in: ([^<>]+)>")


def to_fill_in(what: str) -> str:
    """The text that stands for something unknown: `<fill in: the application's jar>`."""
    return f"<fill in: {what.replace('<', '(').replace('>', ')')}>"


def unfilled(study: Study) -> tuple[tuple[str, str], ...]:
    """Keys of the study's runner and workload with what is to be filled in there."""
    parts = {"runner": study.runner.model_dump(), "workload": study.workload.model_dump()}
    return tuple((key_of(path), what) for path, what in _marks(parts, ()))


def _marks(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield from ((path, match[1]) for match in MARK.finditer(value))
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _marks(part, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from _marks(part, (*path, place))
