"""The savings of each tuned task, on the study's page."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.goals import GoalError, goal_score, known_values
from pipeline_tuner.analysis.savings import Savings, TaskRun, savings
from pipeline_tuner.expression import Expression
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.study import Study
from pipeline_tuner.trial import TrialPlan, TrialResult
from pipeline_tuner.web.in_production import known_definition
from pipeline_tuner.web.rendering import page_reads

NO_EVIDENCE = ("lost", "infrastructure")


@dataclass(frozen=True)
class TaskSavings:
    """One tuned task, and what its runs say for the goal that it follows."""

    task: str
    """DAG and task, as `nightly.load`."""
    goal: str
    amount_of: str
    """What the amount is an amount of, in the words of the goal's expression; empty where the goal has none."""
    savings: Savings


def task_savings(study: str, dag_ids: Collection[str]) -> list[TaskSavings]:
    """The study's tuned tasks in DAGs that may be read; none where nobody can say what the study's goals are."""
    definition = known_definition(study)
    if definition is None:
        return []
    by_task: dict[str, list[Row]] = {}
    for row in page_reads().tuned_runs(study, dag_ids):
        by_task.setdefault(f"{row['dag_id']}.{row['task_id']}", []).append(row)
    found = [_of_task(definition, task, rows) for task, rows in by_task.items()]
    return [one for one in found if one is not None]


def _of_task(study: Study, task: str, rows: Sequence[Row]) -> TaskSavings | None:
    goal = rows[-1]["goal"] or next(iter(study.goals))
    if goal not in study.goals:
        return None
    spent = spent_by(study.goals[goal].minimize)
    found = savings([_run(study, goal, spent, row) for row in rows])
    return TaskSavings(task, goal, spent.text if spent else "", found) if found else None


def spent_by(minimize: str | None) -> Expression | None:
    """What a goal's runs spend over all their work: `task_s` of `task_s / rows`. None where nothing is minimised."""
    if minimize is None:
        return None
    tree = ast.parse(minimize.strip(), mode="eval").body
    is_quotient = isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div)
    return Expression(ast.unparse(tree.left) if is_quotient else minimize.strip())  # type: ignore[attr-defined]


def _run(study: Study, goal: str, spent: Expression | None, row: Row) -> TaskRun:
    has_failed = row["status"] == "failed" and row["failure"] not in NO_EVIDENCE
    plan = TrialPlan(row["production_run_id"], "", "search", 0, 0, 0, row["label"], row["configuration"])
    result = TrialResult(plan, "measured", metrics=row["metrics"])
    score, amount = None, None
    if row["status"] == "measured":
        try:
            score = goal_score(study, goal, result)
            amount = float(spent.evaluate(known_values(study, result))) if spent is not None else None
        except (GoalError, ValueError, TypeError):
            pass  # an older run may lack a metric that the goal is about
    return TaskRun(row["label"], row["configuration_id"], score, amount, has_failed)
