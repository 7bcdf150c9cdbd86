"""The names of the files of a written analysis."""

from __future__ import annotations

from pathlib import Path

ANALYSIS, DETAILS = "analysis.md", "analysis-details.md"


def details_of(analysis: Path) -> Path:
    """The details beside a written analysis."""
    return analysis.with_name(DETAILS)
