"""`<fill in: ...>`: places in a study that a person has to fill in, written by `advise --study`. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.problems import Path, Problem
from pipeline_tuner.study import Study

MARK = re.compile(r"<fill in: ([^<>]+)>")


def to_fill_in(what: str) -> str:
    """The text that stands for something unknown: `<fill in: the application's jar>`."""
    return f"<fill in: {what.replace('<', '(').replace('>', ')')}>"


def unfilled(study: Study) -> tuple[Problem, ...]:
    """The places of a study that are still to be filled in."""
    marks = _marks(study.model_dump(mode="json"), ())
    return tuple(Problem(path, f"is still to be filled in: {what}") for path, what in marks)


def refuse_unfilled(study: Study) -> None:
    """Raises StudyError with every place that is still to be filled in."""
    gaps = unfilled(study)
    if gaps:
        raise StudyError("\n".join(f"study {study.study}: {gap}" for gap in gaps))


def _marks(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield from ((path, match[1]) for match in MARK.finditer(value))
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _marks(part, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from _marks(part, (*path, place))
