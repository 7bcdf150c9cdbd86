"""Which of several equally good configurations to take: what the study prefers, else the smallest change."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.expression import Expression
from pipeline_tuner.space import Configuration
from pipeline_tuner.study import Study
from pipeline_tuner.trial import Candidate


def by_preference(study: Study, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, the most preferred first; equally preferred ones keep their order.

    The study's `prefer` expression decides (smaller is preferred), then the distance to the control.
    Raises StudyError where `prefer` names something that is no parameter or price.
    """
    return tuple(sorted(candidates, key=lambda c: (_preference(study, c), distance(study, c.configuration))))


def _preference(study: Study, candidate: Candidate) -> float:
    if study.prefer is None:
        return 0.0
    defaults = {name: parameter.default for name, parameter in study.space.parameters.items()}
    try:
        return float(Expression(study.prefer).evaluate({**study.prices, **defaults, **candidate.configuration}))
    except (ValueError, TypeError) as error:
        raise StudyError(f"{study.study}: prefer: {error}; it may use parameters and prices") from None


def distance(study: Study, configuration: Configuration) -> float:
    """How much a configuration changes against the control: changed parameters, plus how far the ordered ones move."""
    control = study.control_candidate.configuration
    total = 0.0
    for name, parameter in study.space.parameters.items():
        mine, theirs = configuration.get(name), control.get(name)
        if mine != theirs:
            both = mine is not None and theirs is not None and parameter.is_ordered
            total += 1.0 + (abs(parameter.position(mine) - parameter.position(theirs)) if both else 1.0)  # type: ignore[arg-type]
    return total
