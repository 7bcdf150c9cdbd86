"""A run of a tuned task: its configuration laid over its arguments, the run stored, its XCom. Lets no error through."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from pipeline_tuner import settings
from pipeline_tuner.argument_forms import form_problem
from pipeline_tuner.argument_paths import check_places, lay_over, written_values
from pipeline_tuner.connections import open_store
from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError, OutdatedSchemaError, StudyError
from pipeline_tuner.measurement import FailureKind, returned_metrics
from pipeline_tuner.operator_job import Observations, observations_of
from pipeline_tuner.problems import did_you_mean
from pipeline_tuner.production import AS_WRITTEN, Choice, Source, fallback_choice, production_choice
from pipeline_tuner.runners.tuned_task_metrics import Seen, Watch
from pipeline_tuner.space import Parameter, Scalar, configuration_id
from pipeline_tuner.store import Store, migrate
from pipeline_tuner.study import Study
from pipeline_tuner.study_places import other_settings, study_places

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as TaskInstance

    from pipeline_tuner.tuned_task import TunedTask

log = logging.getLogger(__name__)

XCOM_KEY = "pipeline_tuner"
"""The task's XCom that says what it ran with. A task that was deferred finds its own there when it goes on."""
PATIENCE_S = 10.0
"""How long a statement may keep the task waiting. The results database is not worth more of its time."""
RESTART_S = 5.0
"""How long a beginning run waits for a results database that refuses connections: one that is just starting."""
END_S = 10.0
"""The same for a run that has ended, whose database was there when it began."""
T = TypeVar("T")


@dataclass(frozen=True)
class BegunRun:
    """A run that has begun: what its row says, kept over a deferral in XCom."""

    study: str
    choice: Choice
    places: Mapping[str, str]
    """Parameter to argument; empty where the arguments are as written."""
    started_at: datetime
    try_number: int

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, for XCom."""
        choice = {**asdict(self.choice), "configuration": dict(self.choice.configuration)}
        return {
            "study": self.study,
            **choice,
            "source": self.choice.source.value,
            "sets": dict(self.places),
            "started_at": self.started_at.isoformat(),
            "try_number": self.try_number,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BegunRun:
        """The inverse of `to_dict`."""
        named = {name: values[name] for name in ("label", "configuration", "reason", "goal", "problems")}
        choice = Choice(source=Source(values["source"]), **named)
        started_at = datetime.fromisoformat(values["started_at"])
        return cls(values["study"], choice, values["sets"], started_at, values["try_number"])


@dataclass(frozen=True)
class Ongoing:
    """A run that this process has now."""

    run: BegunRun
    watch: Watch
    has_store: bool
    """Whether the results database was there when this process began with it."""


_ongoing: dict[str, Ongoing] = {}
"""Runs of this process that have not ended, by the identity of their row."""


def begin_run(tuned: TunedTask, context: Context) -> None:
    """Choose a configuration, put it into the operator's arguments, and note that the run begins.

    A task that goes on after a deferral gets what it began with, and is not noted again.
    """
    operator, ti = context["task"], context["ti"]
    kept = _kept(ti)
    if kept is not None:
        lay_over(operator, kept.places, kept.choice.configuration if kept.places else {})
        _watch(tuned, kept, operator, ti, is_new=False, has_store=True)
        return
    run, store = _chosen_run(tuned, operator, context)
    if run.places:
        log.info("Running with %s (%s: %s): %s", run.choice.label, run.choice.source, run.choice.reason, _settings(run))
    if store is not None:
        with store:
            _note(store, ti, lambda: store.start_production_run(row_id(ti), _row(run, ti)))
    ti.xcom_push(key=XCOM_KEY, value=run.to_dict())
    _watch(tuned, run, operator, ti, is_new=True, has_store=store is not None)


def end_run(
    tuned: TunedTask,
    ti: TaskInstance,
    result: object = None,
    *,
    status: str = "measured",
    failure: FailureKind | None = None,
    reason: str = "",
) -> None:
    """Note how a run ended: with its duration in seconds and the metrics that the task returned."""
    ongoing = _ongoing.pop(row_id(ti), None)
    if ongoing is None:
        return
    values = {**_row(ongoing.run, ti), "status": status, "failure": failure, "reason": reason}
    with closing(ongoing.watch):
        if status == "measured":
            values |= _measured(ongoing, result)
    try:
        _record(tuned, ti, values, END_S if ongoing.has_store else 0.0)
    except InfrastructureError as error:
        log.warning("Run %s is not noted: %s", row_id(ti), error)


def _record(tuned: TunedTask, ti: TaskInstance, values: Mapping[str, Any], patience_s: float) -> None:
    """Note a run's end."""

    def record() -> None:
        with _store(tuned) as store:
            _with_tables(store, lambda: store.record_production_run(row_id(ti), values))

    _patiently(record, patience_s)


def _patiently(call: Callable[[], T], patience_s: float) -> T:
    """What a call gives, again for a while where the results database is just being started anew."""
    again = Retrying(
        retry=retry_if_exception_type(InfrastructureError),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(patience_s),
        reraise=True,
    )
    return again(call)


def _measured(ongoing: Ongoing, result: object) -> dict[str, Any]:
    """What the row of a task that succeeded says: metrics, or that its output is wrong."""
    duration_s = (datetime.now(UTC) - ongoing.run.started_at).total_seconds()
    seen = _seen(ongoing, result)
    if seen.failed_check:
        log.warning("The output of this run is wrong: %s", seen.failed_check)
        return {"status": "failed", "failure": "check_failed", "reason": seen.failed_check}
    return {"metrics": {**seen.metrics, **returned_metrics(result), "duration_s": duration_s}}


def _seen(ongoing: Ongoing, result: object) -> Seen:
    try:
        return ongoing.watch.seen(ongoing.run.started_at, result)
    except Exception as error:
        # Whatever is wrong with a metric: that the task succeeded is noted.
        log.warning("Pipeline Tuner can't look at this run: %s: %s", type(error).__name__, error)
        return Seen({})


def _watch(
    tuned: TunedTask, run: BegunRun, operator: object, ti: TaskInstance, *, is_new: bool, has_store: bool
) -> None:
    earlier = _ongoing.pop(row_id(ti), None)
    if earlier is not None:
        earlier.watch.close()
    watch = Watch.begin(operator, _observations(tuned), from_its_start=is_new)
    _ongoing[row_id(ti)] = Ongoing(run, watch, has_store)


def _observations(tuned: TunedTask) -> Observations:
    """What is looked at when the run has ended: what the keyword names, and the study's patterns of the task's log.

    A study's statements are about its trials' own data.
    """
    try:
        known = settings.load_named_study(tuned.study).runner.options.get("metrics")
    except StudyError:
        known = None  # there is none yet, or the run's beginning has said what is wrong with it
    try:
        patterns = {name: one for name, one in (known or {}).items() if isinstance(one, str)}
        wanted = {"metrics": {**patterns, **(tuned.metrics or {})}, "checks": dict(tuned.checks or {})}
        return observations_of(wanted, "tuned")
    except StudyError as error:
        log.warning("Nothing is looked at after this run: %s", " ".join(str(error).split()))
        return Observations()


def row_id(ti: TaskInstance) -> str:
    """The identity of one try of a task instance in table `production_run`."""
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{_map_index(ti)}/{ti.try_number}"


def _chosen_run(tuned: TunedTask, operator: object, context: Context) -> tuple[BegunRun, Store | None]:
    """The run as it begins, its configuration put in, and the results database unless that is unavailable."""
    started_at = datetime.now(UTC)
    study, places, problem = _prepared(tuned, operator)
    store = None
    try:
        store = _store(tuned)
        if problem is not None:
            raise problem
        known = store
        choice = _patiently(lambda: _put_in(tuned, study, operator, places, known, context), RESTART_S)
    except InfrastructureError as error:
        store, choice = None, _fallback(tuned, study, operator, places, error)
    except (StudyError, ConfigurationError) as error:
        choice = _fallback(tuned, study, operator, places, error)
    name = study.study if study else _plain_name(tuned.study)
    placed = places if _is_put_in(choice) else {}
    return BegunRun(name, _named(choice, study), placed, started_at, context["ti"].try_number), store


def _prepared(tuned: TunedTask, operator: object) -> tuple[Study | None, dict[str, str], Exception | None]:
    """The task's study, where its parameters go, and what is wrong with either."""
    study, places = None, dict(tuned.sets or {})
    try:
        study = _study(tuned)
        if study is not None:
            places = study_places(study, places, operator)
        else:
            _check_forms(places)
        check_places(operator, places, study.space.parameters if study else places)
    except (StudyError, ConfigurationError) as error:
        return study, places, error
    return study, places, None


def _check_forms(places: Mapping[str, str]) -> None:
    """Raises ConfigurationError for a text around a value that has not its parameter's name in it."""
    problem = next(filter(None, (form_problem(name, path) for name, path in places.items())), None)
    if problem:
        raise ConfigurationError(problem)


def _put_in(
    tuned: TunedTask,
    study: Study | None,
    operator: object,
    places: Mapping[str, str],
    store: Store,
    context: Context,
) -> Choice:
    """The configuration of this run, which is in the operator's arguments then."""
    choice, limit = _choice(tuned, study, operator, places, store), None
    if tuned.explore and study is not None:
        # Imported here: it brings numpy and scipy, which no other task should pay for.
        from pipeline_tuner.operators.tuned_exploration import Exploration, explored

        found = explored(Exploration(tuned.explore), study, choice, store, context)
        choice, limit = found.choice, found.limit
    lay_over(operator, places, choice.configuration if _is_put_in(choice) else {})
    if not _is_put_in(choice):
        log.info("Running with the arguments as written: %s", choice.reason)
    elif study is not None:
        for name, (own, measured) in other_settings(study, operator).items():
            log.warning("This task has %s=%s; what it follows was measured with %s", name, own, measured)
    _end_after(operator, limit)
    return choice


def _is_put_in(choice: Choice) -> bool:
    """Whether a choice is not just what is written. What was written once may have been promoted under that label."""
    return choice.label != AS_WRITTEN or choice.source is Source.PROMOTED


def _end_after(operator: Any, limit: timedelta | None) -> None:
    """Have Airflow end the run after `limit`, unless it does so earlier anyway."""
    if limit is not None and (operator.execution_timeout is None or operator.execution_timeout > limit):
        operator.execution_timeout = limit


def _study(tuned: TunedTask) -> Study | None:
    """The task's study; None where it has none yet and says by itself what can be set. Raises StudyError."""
    file = settings.study_file(tuned.study)
    if file.exists():
        return settings.load_named_study(tuned.study)
    meant = did_you_mean(file.stem, (one.stem for one in file.parent.glob("*.y*ml")))
    if tuned.sets is None:
        end = f"; {meant}" if meant else ""
        raise StudyError(f"there is no study {tuned.study!r}, its file {file} can't be read{end}")
    if meant:
        log.warning("There is no study %r yet, so runs are recorded alone; %s", tuned.study, meant)
    return None


def _choice(tuned: TunedTask, study: Study | None, operator: object, places: Mapping[str, str], store: Store) -> Choice:
    """What production runs with for the goal. Where nothing valid is known it is what stands in the DAG."""
    if study is None:
        reason = f"there is no study {tuned.study} yet, so nothing is recommended"
        return Choice(AS_WRITTEN, written_values(operator, places), Source.GIVEN, reason, tuned.goal)
    goal = tuned.goal or next(iter(study.goals))
    if goal not in study.goals:
        raise ConfigurationError(f"study {study.study} has no goal {goal!r}; there are {', '.join(study.goals)}")
    found, seen = _with_tables(store, lambda: (store.production(study.study, goal), store.last_seen(study.study)))
    choice = production_choice(study, goal, found, seen, datetime.now(UTC), tuned.fallback)
    if choice.source is Source.FALLBACK and tuned.fallback is None:
        written = _typed(study, written_values(operator, places))
        return Choice(AS_WRITTEN, written, Source.FALLBACK, choice.reason, goal, choice.reason)
    return choice


def _fallback(
    tuned: TunedTask, study: Study | None, operator: object, places: Mapping[str, str], error: Exception
) -> Choice:
    """What runs where a recommendation can't be followed: the task's own fallback, else what is written."""
    reason = " ".join(str(error).split())
    if study is not None and tuned.fallback is not None and isinstance(error, InfrastructureError):
        try:
            choice = fallback_choice(study, tuned.goal or next(iter(study.goals)), reason, tuned.fallback)
            lay_over(operator, places, choice.configuration)
        except ConfigurationError as second:
            reason = f"{reason}; {second}"
        else:
            log.warning("Running with preset %s: %s", choice.label, reason)
            return choice
    log.warning("Running with the arguments as written: %s", reason)
    written = written_values(operator, places)
    configuration = _typed(study, written) if study else written
    return Choice(AS_WRITTEN, configuration, Source.FALLBACK, reason, tuned.goal, reason)


def _named(choice: Choice, study: Study | None) -> Choice:
    """What is written, under the name of the preset that it is, if any; another choice as it is."""
    if _is_put_in(choice):
        return choice
    presets = study.preset_candidates if study else ()
    same = (preset.label for preset in presets if preset.configuration == choice.configuration)
    return replace(choice, label=next(same, AS_WRITTEN))


def _typed(study: Study, written: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Values as the study's parameters have them: an operator's argument may be the text of a number."""
    known = study.space.parameters
    return {name: _as_parameter(known[name], value) if name in known else value for name, value in written.items()}


def _as_parameter(parameter: Parameter, value: Scalar) -> Scalar:
    if not isinstance(value, str) or parameter.problem(value) is None:
        return value
    for kind in (int, float):
        try:
            if parameter.problem(kind(value)) is None:
                return kind(value)
        except ValueError:
            continue
    words = {"true": True, "false": False}
    return words.get(value.lower(), value) if parameter.is_switch else value


def _kept(ti: TaskInstance) -> BegunRun | None:
    """The run as this try began it before it was deferred; None for one that begins now."""
    if not _may_go_on(ti):
        return None
    found = ti.xcom_pull(task_ids=ti.task_id, key=XCOM_KEY, map_indexes=_map_index(ti))
    if not isinstance(found, Mapping) or found.get("try_number") != ti.try_number:
        return None
    return BegunRun.from_dict(found)


def _may_go_on(ti: TaskInstance) -> bool:
    """Whether this try was deferred or rescheduled. Only then is there an XCom; Airflow logs a lack as an error."""
    told = getattr(ti, "_ti_context_from_server", None)
    return told is None or bool(told.next_method or told.task_reschedule_count)


def _map_index(ti: TaskInstance) -> int:
    return -1 if ti.map_index is None else ti.map_index


def _store(tuned: TunedTask) -> Store:
    return open_store(tuned.results_conn_id or settings.RESULTS_CONN_ID, statement_timeout_s=PATIENCE_S)


def _with_tables(store: Store, ask: Callable[[], T]) -> T:
    """What the database answers, its tables made or brought up to date first where it has to be."""
    try:
        return ask()
    except OutdatedSchemaError:
        migrate(store.engine)
        return ask()


def _note(store: Store, ti: TaskInstance, write: Callable[[], None]) -> None:
    try:
        _patiently(lambda: _with_tables(store, write), RESTART_S)
    except InfrastructureError as error:
        log.warning("Run %s is not noted: %s", row_id(ti), error)


def _row(run: BegunRun, ti: TaskInstance) -> dict[str, Any]:
    choice = run.choice
    return {
        "study": run.study,
        "goal": choice.goal,
        "source": choice.source.value,
        "source_reason": choice.reason,
        "label": choice.label,
        "configuration_id": configuration_id(choice.configuration),
        "configuration": dict(choice.configuration),
        "status": "running",
        "failure": None,
        "reason": "",
        "metrics": {},
        "measurement": None,
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": _map_index(ti),
        "try_number": ti.try_number,
        "started_at": run.started_at,
    }


def _settings(run: BegunRun) -> str:
    return " ".join(f"{name}={value}" for name, value in run.choice.configuration.items())


def _plain_name(study: str) -> str:
    return study.rsplit("/", 1)[-1].removesuffix(".yaml").removesuffix(".yml")
