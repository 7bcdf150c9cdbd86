"""A section of the written analysis that one job adds to those of all jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline_tuner.report.data import ReportData


@dataclass(frozen=True)
class Section:
    """`write` gives Markdown, or an empty text where there is nothing to say; `after` is the title it comes after."""

    title: str
    write: Callable[[ReportData], str]
    after: str
