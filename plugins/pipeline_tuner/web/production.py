"""What production runs with now for each goal, and why, as a production run's own rule says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pipeline_tuner import settings
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.production import Choice, production_choice
from pipeline_tuner.study import Study, stored_study
from pipeline_tuner.web.rendering import page_reads


def in_production(study: str, goals: Iterable[str]) -> dict[tuple[str, str], Choice]:
    """What a production run of the study would use for each goal, were it to start now; empty for an unknown study."""
    definition = _definition(study)
    if definition is None:
        return {}
    seen, now = page_reads().last_seen(study), datetime.now(UTC)
    known = {goal: page_reads().production(study, goal) for goal in goals}
    return {(study, goal): production_choice(definition, goal, found, seen, now) for goal, found in known.items()}


def _definition(study: str) -> Study | None:
    """The study as production reads it; as its newest sweep had it where this server has no such file."""
    try:
        return settings.load_named_study(study)
    except StudyError:
        stored = (page_reads().newest_sweep(study) or {}).get("study_definition")
        return stored_study(stored) if stored else None
