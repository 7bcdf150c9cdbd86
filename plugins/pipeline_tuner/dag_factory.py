"""The DAGs of a study: `tuning_dag` measures and recommends, `production_dag` runs with what is recommended; schedule,
retries, form.

Parsing a DAG reads the study and nothing else; the same study gives the same DAG each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, TaskGroup, TriggerRule, chain
from croniter import croniter

from pipeline_tuner import settings
from pipeline_tuner.dag_docs import production_doc, tuning_doc
from pipeline_tuner.monitoring.retention import RetentionOperator
from pipeline_tuner.operators.assets import changed_alias
from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.operators.failures import report_failure
from pipeline_tuner.operators.operator_class import operator_for
from pipeline_tuner.operators.sweep import (
    ALSO,
    AnsweredOperator,
    CheckOperator,
    PlanOperator,
    PrepareOperator,
    RecommendOperator,
)
from pipeline_tuner.study import Study
from pipeline_tuner.sweep_form import SEARCH, FieldKind, FormField, form_of

START = datetime(2025, 1, 1, tzinfo=UTC)
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=5), "retry_exponential_backoff": True}
"""For what is around a trial (a database unavailable); a failed trial is a result and is not retried."""


def tuning_dag(
    study: str,
    *,
    companions: Sequence[str] = (),
    dag_id: str | None = None,
    start_date: datetime | None = None,
    catchup: bool = False,
) -> DAG:
    """The DAG of a study's sweeps, `tune_<study>`: check, prepare, rounds of plan and trials, confirm, recommend.

    A scheduled run is a night (docs/nightly.md), any other run a whole sweep.

    :param study: Name of a study in the studies' folder, or the path of a study file.
    :param companions: Studies of which each run makes a sweep too, afterwards, with their own budgets. The form's
        field `also` leaves some out; a named strategy and the seed are handed on to those that have it.
    :param dag_id: Another name for the DAG.
    :param start_date: From when on there are nights; by default from when the DAG is switched on.
    :param catchup: Whether Airflow makes up for missed nights; they then measure today's machine under an old date.
    """
    known = settings.load_named_study(study)
    others = {name: settings.load_named_study(name) for name in companions}
    with DAG(
        dag_id or f"tune_{known.study}",
        description=f"Measure configurations of {known.study} and recommend one for each goal",
        doc_md=tuning_doc(known),
        schedule=_nights(known),
        start_date=start_date,
        catchup=catchup,
        max_active_runs=1,
        default_args={"owner": known.owner, "on_failure_callback": report_failure, **RETRIES},
        params=sweep_params(known) | also_param([other.study for other in others.values()]),
        tags=["pipeline-tuner", "tuning", known.job, *known.tags],
    ) as dag:
        _, answer = _sweep_tasks(study, known)
        if others:
            _companion_tasks(answer, others)
    return dag


def production_dag(
    study: str,
    *,
    goal: str,
    dag_id: str | None = None,
    schedule: Any = None,
    fallback: str | None = None,
    **operator_arguments: Any,
) -> DAG:
    """The DAG of a study's job in production, `run_<study>`: one task with the recommended configuration.

    :param study: Name of a study, or the path of its file.
    :param goal: Goal whose recommendation is followed.
    :param schedule: Airflow schedule; none by default.
    :param fallback: Preset for when nothing valid is recommended; the study's own by default.
    """
    known = settings.load_named_study(study)
    with DAG(
        dag_id or f"run_{known.study}",
        description=f"Run {known.study} with the configuration that is best for {goal}",
        doc_md=production_doc(known, goal),
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args={"owner": known.owner, "on_failure_callback": report_failure},
        tags=["pipeline-tuner", "production", known.job, *known.tags],
    ) as dag:
        operator_for(known.job)(
            task_id="run",
            study=study,
            configuration=f"recommended:{goal}",
            fallback=fallback,
            **operator_arguments,
        )
    return dag


def sweep_params(study: Study) -> dict[str, Param]:
    """The trigger form: the study's budget and choices, each with a valid default.

    What is searched stands in no section: Airflow shows such fields first, under its own title, and opens that section
    alone.
    """
    return {field.name: _param(field) for field in form_of(study)}


def _param(field: FormField) -> Param:
    """A field as Airflow's trigger form takes it: JSON Schema."""
    schema: dict[str, Any] = {"title": field.title, "description": field.help}
    if field.section != SEARCH:
        schema["section"] = field.section
    if field.kind is FieldKind.CHOICE:
        return Param(field.default, type="string", enum=list(field.choices), **schema)
    if field.kind is FieldKind.CHOICES:
        names = list(field.choices)
        items = {"type": "string", "enum": names}
        return Param(list(field.default), type="array", items=items, examples=names, minItems=1, **schema)
    low = "exclusiveMinimum" if field.excludes_low else "minimum"
    bounds: dict[str, Any] = {
        name: value for name, value in ((low, field.low), ("maximum", field.high)) if value is not None
    }
    kind = str(field.kind)
    return Param(field.default, type=[kind, "null"] if field.is_optional else kind, **bounds, **schema)


def _nights(study: Study) -> Any:
    """The schedule of a study's nights. A DAG that is switched on at noon waits for the night that comes."""
    if study.schedule is None or not croniter.is_valid(study.schedule):
        return study.schedule
    return CronTriggerTimetable(study.schedule, timezone="UTC", run_immediately=timedelta(0))


def also_param(studies: Sequence[str]) -> dict[str, Param]:
    """The form's field for the studies that a run sweeps too; none where there are no such studies."""
    if not studies:
        return {}
    names = list(studies)
    return {
        ALSO: Param(
            names,
            type=["array", "null"],
            items={"type": "string", "enum": names},
            examples=names,
            title="Then also",
            description="Studies that this run sweeps afterwards, each with its own budget.",
        )
    }


def _companion_tasks(before: RecommendOperator, others: Mapping[str, Study]) -> None:
    """A group of tasks per companion, one after the other; the last task has failed where an answer is missing."""
    answers = [before]
    for name, study in others.items():
        with TaskGroup(study.study, tooltip=study.description):
            check, answer = _sweep_tasks(name, study, is_companion=True)
        answers[-1] >> check
        answers.append(answer)
    answers >> AnsweredOperator(task_id="answered", trigger_rule=TriggerRule.NONE_FAILED)


def _sweep_tasks(name: str, study: Study, *, is_companion: bool = False) -> tuple[CheckOperator, RecommendOperator]:
    """The tasks of one sweep; returns the first and the last."""
    rule = TriggerRule.ALL_DONE if is_companion else TriggerRule.ALL_SUCCESS
    check = CheckOperator(task_id="check", study=name, is_companion=is_companion, trigger_rule=rule)
    prepare = PrepareOperator(task_id="prepare", study=name, pool=_pool(study))
    chain(check, prepare)
    # Beside the sweep, not after it: whatever becomes of the sweep decides the run's state alone.
    check >> RetentionOperator(task_id="retention", study=name)
    before: Any = prepare
    for number in range(1, study.budget.rounds + 1):
        suffix = "" if number == 1 else f"_{number}"
        rule = TriggerRule.ALL_SUCCESS if number == 1 else TriggerRule.ALL_DONE
        plan = PlanOperator(task_id=f"plan{suffix}", study=name, round_number=number, trigger_rule=rule)
        before >> plan
        before = _trials(f"trial{suffix}", name, study, plan)
    # ALL_DONE: failed trials never stop a sweep. What was not planned at all is skipped by the plan itself.
    plan = PlanOperator(task_id="plan_confirm", study=name, round_number=None, trigger_rule=TriggerRule.ALL_DONE)
    before >> plan
    recommend = RecommendOperator(
        task_id="recommend",
        study=name,
        is_companion=is_companion,
        trigger_rule=TriggerRule.ALL_DONE,
        outlets=[changed_alias(study.study)],
    )
    _trials("confirm", name, study, plan) >> recommend
    return check, recommend


def _trials(task_id: str, name: str, study: Study, plan: PlanOperator) -> Any:
    """The mapped trials of one plan, each under its label: one at a time, or as many as the study says."""
    operator: type[JobOperator] = operator_for(study.job)
    return operator.partial(
        task_id=task_id,
        study=name,
        pool=_pool(study),
        max_active_tis_per_dag=_instances(study),
        map_index_template="{{ task.trial_label }}",
    ).expand_kwargs(plan.output)


def _instances(study: Study) -> int:
    """Trials' tasks at a time. As many again as may run wait for their end, so that the next block starts together."""
    concurrent = study.runner.concurrent
    return 1 if concurrent == 1 else 2 * concurrent


def _pool(study: Study) -> str:
    return settings.POOL if study.runner.concurrent == 1 else settings.ISOLATED_POOL
