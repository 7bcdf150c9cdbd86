"""The middle part of the written analysis: what the measurements mean, and what to try next."""

from __future__ import annotations

from pipeline_tuner.report.findings import findings
from pipeline_tuner.report.markdown import escaped
from pipeline_tuner.report.story import Story


def key_findings(story: Story) -> str:
    """To be filled."""
    return ""


def works_and_limits(story: Story) -> str:
    """Findings on the subject of the analysis, each with the figures behind it."""
    if story.subject is None:
        return ""
    found = findings(story.facts(story.subject))
    works = [f"- {escaped(finding.text)}" for finding in found if finding.kind == "works"]
    limits = [f"- {escaped(finding.text)}" for finding in found if finding.kind == "limits"]
    parts = [f"Of {escaped(story.subject.label)}, each with the figures behind it."]
    parts += ["What works:\n\n" + "\n".join(works)] if works else []
    parts += ["What limits:\n\n" + "\n".join(limits)] if limits else ["Nothing that was measured limits it."]
    return "\n\n".join(parts)


def what_matters(story: Story) -> str:
    """Effects."""
    return ""


def scaling(story: Story) -> str:
    """Scaling."""
    return ""


def trade_offs(story: Story) -> str:
    """Pareto."""
    return ""


def next_to_try(story: Story) -> str:
    """Next."""
    return ""


def claims(story: Story) -> str:
    """Claims."""
    return ""
