"""What a goal's decision is held against: what production runs with now. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_tuner.expression import Expression
from pipeline_tuner.space import Configuration
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import Candidate


def admits(study: Study, goal: str, configuration: Configuration) -> bool:
    """Whether a configuration's own parameters satisfy the goal's constraints, whatever is measured."""
    rules = [Expression(text) for text in study.goals[goal].constraints]
    return all(rule.evaluate(configuration) for rule in rules if rule.names <= set(configuration))


def reference_of(study: Study, options: SweepOptions, goal: str, planned: Iterable[Candidate]) -> Candidate | None:
    """What production ran with for the goal when the sweep began; the control where the sweep does not know.

    Where neither is of the goal's kind, it is the first of the study's presets, then of the other `planned`
    configurations, that is: a goal about heavy batches is held against heavy batches. None where none is.
    """
    champion = options.champions.get(goal)
    now = [Candidate(champion.label, champion.configuration)] if champion else []
    among = {candidate.configuration_id: candidate for candidate in planned}
    presets = [preset for preset in study.preset_candidates if preset.configuration_id in among]
    others = sorted(among.values(), key=lambda candidate: candidate.label)
    members = (*now, study.control_candidate, *presets, *others)
    return next((member for member in members if admits(study, goal, member.configuration)), None)
