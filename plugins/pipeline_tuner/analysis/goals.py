"""The value of a goal for each trial, its direction and unit, and whether the goal's constraints hold.

A goal's expression may name, in this order of precedence, a metric of the trial, `startup_s` and `teardown_s`, a
value of its workload fingerprint, an option of the study's workload and `fraction`, a parameter of the configuration
(its default where it is inactive) and a price of the study.

A balanced goal is the geometric mean of the ratios of its parts to the control of the same block. The
geometric mean is the only mean of ratios that doesn't depend on the reference or on units (Fleming and
Wallace, 1986), and, other than the knee of a Pareto front, it doesn't move when one more configuration is
measured. Because the reference cancels within a block, the *score* leaves the control out.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tuner.analysis.intervals import probability_above
from pipeline_tuner.exceptions import PipelineTunerError
from pipeline_tuner.expression import parsed
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.study import Goal, Study
from pipeline_tuner.trial import TrialResult

UNDECIDED = 0.5


class GoalError(PipelineTunerError, ValueError):
    """A goal can't be computed for a trial: the message names the goal and what is missing."""


def known_values(study: Study, result: TrialResult) -> dict[str, Any]:
    """Every value that a goal's expression may name for this trial."""
    known = _declared(study) | dict(result.plan.configuration)
    known |= _scalars(study.workload.options) | {"fraction": result.plan.fraction}
    if result.measurement is not None:
        known |= _scalars(result.measurement.workload)
        known |= {"startup_s": result.measurement.startup_s, "teardown_s": result.measurement.teardown_s}
    return known | dict(result.metrics)


def production_score(
    study: Study, goal_name: str, configuration: Mapping[str, Any], metrics: Mapping[str, float]
) -> float:
    """The score of a production run with this configuration. Raises GoalError as `goal_value`."""
    known = _declared(study) | dict(configuration) | _scalars(study.workload.options) | {"fraction": 1.0}
    return _score(study, goal_name, known | dict(metrics), "a production run")


def _declared(study: Study) -> dict[str, Any]:
    defaults = {name: parameter.default for name, parameter in study.space.parameters.items()}
    return {**study.prices, **defaults}


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, int | float | str)}


def larger_is_better(study: Study, goal_name: str) -> bool:
    """Whether a larger value of the goal is better. A balanced goal is a gain, so larger is better."""
    return _goal(study, goal_name).minimize is None


def goal_unit(study: Study, goal_name: str) -> str:
    """The unit of the goal's value; a balanced goal is a multiple of the control."""
    goal = _goal(study, goal_name)
    return goal.unit or ("x control" if goal.balance else "")


def goal_value(study: Study, goal_name: str, result: TrialResult) -> float:
    """The goal's value for one trial, in the goal's unit and above 0; the score for a balanced goal.

    Raises GoalError where a metric is missing or the value can't be compared.
    """
    known, trial = known_values(study, result), f"trial {result.plan.trial_id}"
    if _goal(study, goal_name).expression is None:
        return math.exp(_score(study, goal_name, known, trial))
    return _value(study, goal_name, known, trial)


def goal_score(study: Study, goal_name: str, result: TrialResult) -> float:
    """The trial's value as a log in which larger is better: what selection and search compare.

    Differences of scores within a block are logs of gains. Raises GoalError as `goal_value`.
    """
    return _score(study, goal_name, known_values(study, result), f"trial {result.plan.trial_id}")


def _score(study: Study, goal_name: str, known: Mapping[str, Any], run: str) -> float:
    goal = _goal(study, goal_name)
    if goal.balance:
        return math.fsum(_score(study, part, known, run) for part in goal.balance) / len(goal.balance)
    sign = 1.0 if larger_is_better(study, goal_name) else -1.0
    return sign * math.log(_value(study, goal_name, known, run))


def _value(study: Study, goal_name: str, known: Mapping[str, Any], run: str) -> float:
    """The value of a goal with an expression; `run` names the run in messages."""
    expression = _goal(study, goal_name).expression
    if expression is None:
        raise GoalError(f"goal {goal_name} has no expression: it balances others")
    try:
        value = expression.evaluate(known)
    except ValueError as error:
        place = f"of {run}" if expression.names <= set(known) else f"which {run} does not have"
        raise GoalError(f"goal {goal_name}: {error}, {place}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_usable(value):
        raise GoalError(f"goal {goal_name}: {expression.text!r} is {value!r}, it must be a number above 0")
    return float(value)


@dataclass(frozen=True)
class Scores:
    """A goal's scores by trial id, and why the other trials have none."""

    goal: str
    by_trial: Mapping[str, float]
    problems: Mapping[str, str]


def goal_scores(study: Study, goal_name: str, results: Iterable[TrialResult]) -> Scores:
    """The scores of the measured trials; trials without one are told with the reason."""
    scores: dict[str, float] = {}
    problems: dict[str, str] = {}
    for result in results:
        if result.status == "measured":
            try:
                scores[result.plan.trial_id] = goal_score(study, goal_name, result)
            except GoalError as error:
                problems[result.plan.trial_id] = str(error)
    return Scores(goal_name, scores, problems)


@dataclass(frozen=True)
class ConstraintCheck:
    """One constraint of a goal, held against the trials of one configuration.

    `confidence` is how sure it is that a typical run keeps it: by Student's t on the distance to the bound
    (as a ratio where both sides are above 0), by a sign test where the constraint has no such distance.
    """

    text: str
    kept: int
    trials: int
    confidence: float

    def holds(self, wanted: float) -> bool:
        """Whether the constraint is shown to hold with the wanted confidence."""
        return self.trials > 0 and self.confidence >= wanted

    def __str__(self) -> str:
        return f"{self.text}: kept in {self.kept} of {self.trials} trials, confidence {self.confidence:.2f}"


def check_constraints(study: Study, goal_name: str, results: Sequence[TrialResult]) -> tuple[ConstraintCheck, ...]:
    """The goal's constraints (and those of the goals that it balances) against one configuration's trials.

    Raises GoalError naming what a constraint needs and a trial does not have.
    """
    measured = [result for result in results if result.status == "measured"]
    return tuple(_check(study, text, measured) for text in _constraints(study, goal_name))


def _constraints(study: Study, goal_name: str) -> tuple[str, ...]:
    goal = _goal(study, goal_name)
    inherited = (text for part in goal.balance for text in _constraints(study, part))
    whole = dict.fromkeys((*goal.constraints, *inherited))
    return tuple(part for text in whole for part in _conjuncts(text))


def _conjuncts(text: str) -> list[str]:
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [ast.unparse(part) for part in node.values]
    return [text]


def _check(study: Study, text: str, measured: Sequence[TrialResult]) -> ConstraintCheck:
    values = [known_values(study, result) for result in measured]
    try:
        kept = sum(bool(parsed(text).evaluate(known)) for known in values)
        if values and parsed(text).names <= set(study.space.parameters):
            # Nothing measured stands in it: the configuration keeps it or does not, in every run.
            return ConstraintCheck(text, kept, len(values), 1.0 if kept == len(values) else 0.0)
        margins = [_margin(text, known) for known in values]
    except ValueError as error:
        is_known = all(parsed(text).names <= set(known) for known in values)
        raise GoalError(f"constraint {error}{'' if is_known else ', which a trial does not have'}") from None
    distances = [margin for margin in margins if margin is not None]
    if len(distances) == len(values):
        return ConstraintCheck(text, kept, len(values), probability_above(distances))
    return ConstraintCheck(text, kept, len(values), _most_runs_keep_it(kept, len(values)))


def _margin(text: str, known: Mapping[str, Any]) -> float | None:
    """How far inside the bound a trial is: above 0 where it keeps `left < right`; None without such a form."""
    node = ast.parse(text, mode="eval").body
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return None
    if not isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        return None
    left = parsed(ast.unparse(node.left)).evaluate(known)
    right = parsed(ast.unparse(node.comparators[0])).evaluate(known)
    smaller, larger = (left, right) if isinstance(node.ops[0], ast.Lt | ast.LtE) else (right, left)
    if not isinstance(smaller, int | float) or not isinstance(larger, int | float):
        return None
    touching = isinstance(node.ops[0], ast.LtE | ast.GtE) and smaller == larger
    if touching:
        return 1e-9
    return math.log(larger / smaller) if smaller > 0 and larger > 0 else larger - smaller


def _most_runs_keep_it(kept: int, trials: int) -> float:
    """1 - p of the sign test against "half of the runs or fewer keep it"."""
    if trials == 0:
        return UNDECIDED
    return 1.0 - sum(math.comb(trials, k) for k in range(kept, trials + 1)) / 2.0**trials


def _goal(study: Study, goal_name: str) -> Goal:
    if goal_name not in study.goals:
        raise GoalError(f"goal {goal_name!r} does not exist; study {study.study} has {', '.join(study.goals)}")
    return study.goals[goal_name]
