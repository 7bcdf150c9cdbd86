"""The reference that a goal's decision is held against: what production runs with now, else the control. No I/O."""

from __future__ import annotations

from pipeline_tuner.expression import parsed
from pipeline_tuner.space import Configuration
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import Candidate


def admits(study: Study, goal: str, configuration: Configuration) -> bool:
    """Whether a configuration's own parameters satisfy the goal's constraints, whatever is measured.

    A constraint that can't be computed for it (a division by zero) is not satisfied.
    """
    rules = [parsed(text) for text in study.goals[goal].constraints]
    try:
        return all(rule.evaluate(configuration) for rule in rules if rule.names <= set(configuration))
    except ValueError:
        return False


def reference_of(study: Study, options: SweepOptions, goal: str) -> Candidate:
    """What production ran with for the goal when the sweep began; the control where the sweep does not know."""
    champion = options.champions.get(goal)
    return Candidate(champion.label, champion.configuration) if champion else study.control_candidate
