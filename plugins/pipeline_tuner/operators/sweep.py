"""The operators of a sweep's tasks around its trials: check, prepare, plan, recommend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipeline_tuner import settings
from pipeline_tuner.connections import open_store
from pipeline_tuner.exceptions import InfrastructureError, NoRecommendationError, StudyError
from pipeline_tuner.monitoring.night_start import begin_night, champions, is_night, was_missed
from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.operators.failures import NothingMeasuredError, TaskRole
from pipeline_tuner.operators.interruption import ending_the_run_at_a_signal, skip_after_a_signal
from pipeline_tuner.operators.preflight import check_environment
from pipeline_tuner.operators.trials import known_sweep, right_to_measure, trial_arguments
from pipeline_tuner.runners import runner_for
from pipeline_tuner.store import Store, migrate
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult
from pipeline_tuner.unfilled import refuse_unfilled

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipeline_tuner.analysis.costs import CostSoFar
    from pipeline_tuner.search.strategy import SweepSoFar

MAX_PLAN = 1000
"""Airflow refuses to map over more than 1,024 items (core.max_map_length)."""
ALSO = "also"
"""The run's parameter that names the companions: studies that it sweeps beside the DAG's own."""


def sweep_id_of(study: str, context: Context) -> str:
    """The sweep of a study in a DAG run: equal for every attempt of every task of it."""
    run = context["dag_run"]
    name = settings.load_named_study(study).study
    code = hashlib.sha256(f"{run.dag_id} {run.run_id}".encode()).hexdigest()[:6]
    return f"{name}-{run.run_after:%Y%m%dT%H%M%S}-{code}"


class SweepOperator(BaseOperator):
    """Base of a sweep's own tasks.

    :param study: Name of the study, or the path of its file.
    :param results_conn_id: Airflow connection to the results database.
    :param is_companion: Whether the DAG is another study's, whose runs make a sweep of this one too.
    """

    role: ClassVar[TaskRole] = TaskRole.OTHER
    template_fields: Sequence[str] = ("study",)
    ui_color = "#e9e4f5"

    def __init__(
        self,
        *,
        study: str,
        results_conn_id: str = settings.RESULTS_CONN_ID,
        is_companion: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.study = study
        self.results_conn_id = results_conn_id
        self.is_companion = is_companion

    def open_store(self) -> Store:
        """The results database."""
        return open_store(self.results_conn_id)

    def sweep_id(self, context: Context) -> str:
        """The study's sweep of this DAG run."""
        return sweep_id_of(self.study, context)

    def skip_where_left_out(self, context: Context) -> None:
        """Raises AirflowSkipException for a companion that this run does not name; its nights are its own DAG's."""
        name = settings.load_named_study(self.study).study
        if self.is_companion and is_night(context):
            raise AirflowSkipException(f"this is a night of another study: {name} has nights of its own")
        if self.is_companion and name not in (context["params"].get(ALSO) or ()):
            raise AirflowSkipException(f"this run leaves {name} out: its parameter {ALSO!r} does not name it")

    def chosen(self, study: Study, context: Context) -> dict[str, Any]:
        """What this run's parameters say on the study's sweep; of another study's, what is meant for all."""
        given = {key: value for key, value in context["params"].items() if key != ALSO}
        if not self.is_companion:
            return given
        shared = {"seed"} | ({"strategy"} if given.get("strategy") in study.strategies else set())
        return {key: value for key, value in given.items() if key in shared}


class CheckOperator(SweepOperator):
    """Check that the sweep can run here, bring the results' schema up to date, and open the sweep."""

    role = TaskRole.CHECK

    def execute(self, context: Context) -> dict[str, Any]:
        """Returns the sweep's options. Raises AirflowFailException for what a retry won't fix."""
        self.skip_where_left_out(context)
        run = context["dag_run"]
        with self.open_store() as store:
            migrate(store.engine)
            study, options = self._options(store, context)
            user = getattr(run, "triggering_user_name", None)
            self._warn_of_few_trials(study, options)
            store.start_sweep(study, options, dag_id=run.dag_id, run_id=run.run_id, triggered_by=user)
            try:
                refuse_unfilled(study)
                check_environment(study)
            except StudyError as error:
                store.end_sweep(options.sweep_id, "failed", str(error))
                raise AirflowFailException(str(error)) from None
            except InfrastructureError as error:
                store.end_sweep(options.sweep_id, "failed", str(error))
                raise
        return options.model_dump(mode="json")

    def _warn_of_few_trials(self, study: Study, options: SweepOptions) -> None:
        from pipeline_tuner.search.rounds import least_trials

        trials, least = options.budget.trials, least_trials(study, options)
        if trials < least:
            self.log.warning(
                "A budget of %d trials is too small to confirm a change: strategy %s takes at least %d. "
                "What it finds is a first look",
                trials, options.strategy, least,
            )  # fmt: skip

    def _options(self, store: Store, context: Context) -> tuple[Study, SweepOptions]:
        """The study with a night's options for a scheduled run, with those of the form for any other.

        Both hold what production runs with now: the reference of the decisions.
        """
        try:
            study = settings.load_named_study(self.study)
            if is_night(context):
                return study, begin_night(store, study, self.sweep_id(context), context)
            options = sweep_options(study, self.sweep_id(context), self.chosen(study, context))
            known = {goal: champion for goal, champion in champions(store, study).items() if goal in options.goals}
            return study, options.model_copy(update={"champions": known})
        except StudyError as error:
            raise AirflowFailException(str(error)) from None


class PrepareOperator(JobOperator):
    """Run the control once before anything counts: it makes or finds the workload and shows that the job works.

    The run also says what data and which machine the sweep is about. Parameters as in JobOperator.
    """

    ui_color = SweepOperator.ui_color

    def __init__(self, *, study: str, **kwargs: Any) -> None:
        super().__init__(study=study, configuration={}, **kwargs)

    @property
    def role(self) -> TaskRole:
        """The run before the trials."""
        return TaskRole.PREPARE

    def execute(self, context: Context) -> dict[str, Any]:
        """Returns workload and environment. Raises AirflowFailException where the job does not work at all."""
        with ending_the_run_at_a_signal(context):
            return self._tried_out(context)

    def _tried_out(self, context: Context) -> dict[str, Any]:
        sweep_id = sweep_id_of(self.study, context)
        with open_store(self.results_conn_id) as store:
            sweep = known_sweep(store, sweep_id)
            with right_to_measure(store, sweep.study_definition):
                result = self.run_planned(_first_run(sweep), sweep)
            _record_cost(store, sweep, result)
            if result.status == "failed":
                self._judge(store, sweep, result)
                return {}
            return _record_environment(store, sweep_id, result)

    def _judge(self, store: Store, sweep: SweepRecord, result: TrialResult) -> None:
        """A control that the machine can't bear is a finding; a job that doesn't work ends the sweep."""
        reason = f"the control {sweep.study_definition.control!r} failed ({result.failure}): {result.reason}"
        self.log.warning("Tried out before the sweep, %s", reason)
        if result.failure in ("out_of_memory", "timeout", "bad_configuration"):
            return
        store.end_sweep(sweep.sweep_id, "failed", reason)
        if result.failure == "infrastructure":
            raise InfrastructureError(reason)
        raise AirflowFailException(f"Nothing was measured: {reason}")


class PlanOperator(SweepOperator):
    """Plan the trials of one round of a sweep; an empty plan skips the round.

    :param round_number: Round, from 1; None plans the confirmation.
    """

    role = TaskRole.PLAN

    def __init__(self, *, round_number: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.round_number = round_number

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Returns the arguments of the round's mapped trials. Raises AirflowFailException for an empty first plan."""
        skip_after_a_signal(context)
        sweep_id = self.sweep_id(context)
        with self.open_store() as store:
            sweep = store.sweep(sweep_id)
            if sweep is None or (self.round_number != 1 and not store.results(sweep_id)):
                raise AirflowSkipException("the sweep was not planned: see the earlier tasks")
            try:
                plans = self._plan(store, sweep)
            except AirflowFailException as error:
                if self.round_number == 1:
                    store.end_sweep(sweep_id, "failed", str(error))
                raise
            phase, number = self._place(sweep)
            store.plan_trials(sweep_id, sweep.study, plans, phase=phase, round=number)
        self._log_plans(plans)
        return [trial_arguments(plan) for plan in plans]

    def _plan(self, store: Store, sweep: SweepRecord) -> tuple[TrialPlan, ...]:
        # Imported here: search brings numpy and scipy, which no DAG parse should pay for.
        from threadpoolctl import threadpool_limits

        from pipeline_tuner.analysis.costs import cost_so_far, within_cap
        from pipeline_tuner.search.rounds import plan_confirmation, plan_round
        from pipeline_tuner.search.strategy import SweepSoFar

        study, options = sweep.study_definition, sweep.options
        results, history = store.results(sweep.sweep_id), store.history_of(sweep)
        try:
            with threadpool_limits(limits=1, user_api="blas"):
                before = SweepSoFar.before(study, options, results, self._place(sweep)[1], history)
                self._log_not_again(before)
                cost = cost_so_far(study, options, before.earlier, history)
                if self.round_number is None:
                    return within_cap(plan_confirmation(study, options, results, history), cost)
                related = store.related_history_of(sweep)
                planned = plan_round(study, options, results, self.round_number, history, related=related)
                plans = within_cap(planned, cost)
                if plans:
                    self._log_work_length(before)
        except StudyError as error:
            raise AirflowFailException(str(error)) from None
        if self.round_number == 1:
            _check_first_plan(plans, cost)
        if len(plans) > MAX_PLAN:
            raise AirflowFailException(
                f"The plan has {len(plans)} trials in one round, Airflow maps {MAX_PLAN} at most"
            )
        return plans

    def _place(self, sweep: SweepRecord) -> tuple[str, int]:
        if self.round_number is None:
            return "confirm", sweep.options.budget.rounds + 1
        return "search", self.round_number

    def _log_work_length(self, sweep: SweepSoFar) -> None:
        """What was chosen, and from what."""
        length = sweep.work_length
        if sweep.options.budget.min_work_s is not None or length is None:
            return
        between = "unknown yet" if length.between is None else f"{length.between:.1%}"
        self.log.info(
            "Trials measure at least %.2f s of work: a trial costs %.1f s besides, a repeat takes %.2f s; "
            "standard deviation of repeats %.1f%%, between trials %s",
            length.seconds, length.overhead_s, length.repeat_s, 100 * length.within, between,
        )  # fmt: skip

    def _log_not_again(self, sweep: SweepSoFar) -> None:
        if self.round_number == 1 and sweep.not_again:
            names = ", ".join(candidate.label for candidate in sweep.not_again)
            self.log.info("Not measured again: %s. Earlier sweeps showed them far behind for every goal", names)

    def _log_plans(self, plans: Sequence[TrialPlan]) -> None:
        for plan in plans:
            self.log.info("Block %d, place %d: %s %s", plan.block, plan.position, plan.label, dict(plan.configuration))
        self.log.info("%d trials planned", len(plans))


class RecommendOperator(SweepOperator):
    """Turn the sweep's results into recommendations: in the results database, XCom and the written analysis."""

    role = TaskRole.RECOMMEND

    def execute(self, context: Context) -> dict[str, Any]:
        """Returns counts and the recommendation of each goal. Raises AirflowFailException where there is none."""
        from pipeline_tuner.monitoring.night_end import conclude_night, end_tuning_night
        from pipeline_tuner.operators.sweep_end import conclude

        self.skip_where_left_out(context)
        sweep_id = self.sweep_id(context)
        if was_missed(context):
            raise AirflowSkipException("This night was missed: see task 'check'")
        with self.open_store() as store:
            sweep = store.sweep(sweep_id)
            if sweep is None:
                raise NothingMeasuredError("Nothing was measured: the sweep did not start, see task 'check'")
            self._end_kept_processes(sweep)
            store.fail_lost_trials(sweep_id)
            results = store.results(sweep_id)
            if not results:
                raise NothingMeasuredError(f"Nothing was measured: {_end_unplanned(store, sweep)}")
            try:
                if sweep.options.is_night:
                    return conclude_night(store, sweep, results, context)
                outcome = conclude(store, sweep, results, context)
                end_tuning_night(store, sweep, results, context)
                return outcome
            except NoRecommendationError as error:
                store.end_sweep(sweep_id, "failed", str(error))
                raise AirflowFailException(f"Nothing can be recommended: {error}") from None

    def _end_kept_processes(self, sweep: SweepRecord) -> None:
        try:
            runner_for(sweep.study_definition, sweep_id=sweep.sweep_id).end_of_sweep()
        except (InfrastructureError, StudyError) as error:
            self.log.warning("Processes kept for the trials may go on until they are idle: %s", error)


def _check_first_plan(plans: Sequence[TrialPlan], cost: CostSoFar | None) -> None:
    """Raises AirflowFailException for a first round that compares nothing."""
    if cost is not None and len(plans) < 2:
        raise AirflowFailException(
            f"Nothing is started: at most {cost.cap:.4g} (budget.cost) may be spent, {cost.spent:.4g} are, and a "
            f"trial costs about {cost.usual:.4g}: what is left pays for no comparison. Allow more, or measure a "
            "smaller size"
        )
    if not plans:
        raise AirflowFailException("The plan is empty: give the sweep more trials or minutes")


class AnsweredOperator(EmptyOperator):
    """The end of a run with companions: it has failed where one of their answers is missing."""

    role: ClassVar[TaskRole] = TaskRole.ANSWERED


def _end_unplanned(store: Store, sweep: SweepRecord) -> str:
    """End a sweep without a single trial; returns why there is none: what the task that failed said of itself."""
    reason = sweep.reason or "task prepare or plan ended before there was a trial: its log says why"
    store.end_sweep(sweep.sweep_id, "failed", reason)
    return reason


def _first_run(sweep: SweepRecord) -> TrialPlan:
    control = sweep.study_definition.control_candidate
    return TrialPlan(
        f"{sweep.sweep_id}.prepare", sweep.sweep_id, "search", 0, 0, 0, control.label, control.configuration, True
    )


def _record_cost(store: Store, sweep: SweepRecord, result: TrialResult) -> None:
    """Keep what the run before the trials cost, where a cap needs it."""
    if sweep.options.budget.cost is None:
        return
    from pipeline_tuner.analysis.costs import trial_cost  # numpy comes with it, which no DAG parse should pay for

    cost = trial_cost(sweep.study_definition, result)
    store.record_options(sweep.sweep_id, sweep.options.model_copy(update={"prepared_cost": cost}))


def _record_environment(store: Store, sweep_id: str, result: TrialResult) -> dict[str, Any]:
    if result.measurement is None:
        return {}
    workload, environment = result.measurement.workload, result.measurement.environment
    store.record_workload(sweep_id, workload, _fingerprint(workload))
    store.record_environment(sweep_id, environment, _fingerprint(environment))
    return {"workload": dict(workload), "environment": dict(environment)}


def _fingerprint(record: Mapping[str, Any]) -> str | None:
    """The job's own fingerprint, else a hash of the whole record; None for an empty one."""
    if not record:
        return None
    own = record.get("fingerprint")
    return (
        str(own) if own else hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:16]
    )
