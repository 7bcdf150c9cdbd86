"""The runner of `kind: operator`: any Airflow operator as a job, run inside the trial's task and timed from outside.

Templates are rendered with the trial's context, connections and logs are the task's, `on_kill` ends it. What an
operator waits for by deferring is waited for here.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from airflow.sdk import BaseOperator, get_current_context
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowTaskTimeout, TaskDeferred
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_random_exponential

from pipeline_tuner.argument_paths import check_places, lay_over
from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError, StudyError
from pipeline_tuner.measurement import CONTRACT_VERSION, Measurement, returned_metrics, validated
from pipeline_tuner.operator_job import Observations, Statement, observations_of
from pipeline_tuner.program_output import memory_sign, plain_text
from pipeline_tuner.runners.aws_calls import is_busy
from pipeline_tuner.runners.base import Runner, TrialFailedError, TrialRun, out_of_memory
from pipeline_tuner.runners.captured_log import cause_words, error_words, written_down
from pipeline_tuner.runners.metric_statements import hook_of, number, value_of
from pipeline_tuner.runners.tuned_task_metrics import engine_metrics, used_s
from pipeline_tuner.runners.unchanged_program import compiled_pattern, machine, metric_pattern
from pipeline_tuner.space import Configuration
from pipeline_tuner.study import Study

MAX_PATIENCE_S = 7200.0
"""How long a trial waits for room to run in."""


@dataclass(frozen=True)
class TunerContext:
    """What templates in an operator's arguments find under `tuner`."""

    configuration: Mapping[str, Any]
    fraction: float
    trial_id: str


@dataclass(frozen=True)
class Ending:
    """How an operator ended: what it returned, or the error; when, and what this machine spent."""

    started_at: datetime
    ended_at: datetime
    duration_s: float
    core_seconds: float
    """Processor time of this process and of the programs that it started and waited for."""
    result: Any = None
    error: BaseException | None = None


class OperatorRunner(Runner):
    """Runs the operator of `runner.operator`, once per trial, in this process. Raises StudyError for wrong options."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.observations: Observations = observations_of(study.runner.options)
        patterns = [(name, text) for name, text in self.observations.metrics.items() if isinstance(text, str)]
        self._patterns = [metric_pattern(name, text) for name, text in patterns]
        self._checks = {
            name: compiled_pattern(f"checks.{name}", text)
            for name, text in self.observations.checks.items()
            if isinstance(text, str)
        }
        self._operator: BaseOperator | None = None
        self._ending: Ending | None = None
        self._is_running = False
        self._context: Any = None

    def operator_for(self, configuration: Configuration, task_id: str = "trial") -> BaseOperator:
        """The operator as the study has it, nothing rendered or laid over yet.

        Raises StudyError where it can't be made, ConfigurationError where a parameter would not act.
        """
        runner = self._study.runner
        operator_class = _operator_class(runner.operator or "")
        arguments = copy.deepcopy(runner.arguments)
        if isinstance(arguments.get("python_callable"), str):
            arguments["python_callable"] = _imported("arguments.python_callable", arguments["python_callable"])
        try:
            operator = operator_class(task_id=task_id, **arguments)
        except (AirflowException, TypeError, ValueError) as error:
            raise StudyError(f"runner.arguments: {operator_class.__name__} can't be made with them: {error}") from None
        _check_templates(operator, runner.arguments)
        check_places(operator, self._sets, [name for name in configuration if name in self._sets])
        if getattr(operator, "durable", False):
            # It would take the result of an earlier try for its own: a trial is measured or it isn't.
            operator.durable = False
        return operator

    @property
    def _sets(self) -> dict[str, str]:
        return {name: p.sets for name, p in self._study.space.parameters.items() if p.sets}

    def start(self, run: TrialRun) -> None:
        """Make the operator, render its templates, lay the configuration over it, and run what goes before."""
        self._run = run
        try:
            context = get_current_context()
        except RuntimeError:
            raise InfrastructureError("an operator is run by Airflow only: there is no task here") from None
        operator = self.operator_for(run.configuration, context["ti"].task_id)
        tuner = TunerContext(run.configuration, run.fraction, run.trial_id)
        self._context = {**context, "task": operator, "tuner": tuner}
        try:
            operator.render_template_fields(self._context, context["dag"].get_template_env())
            placed = {name: value for name, value in run.configuration.items() if name in self._sets}
            lay_over(operator, self._sets, placed)
        except ConfigurationError as error:
            raise TrialFailedError("bad_configuration", str(error)) from None
        for statement in self.observations.before:
            hook_of(statement.conn_id).run(statement.sql, autocommit=True)
        self._operator = operator

    def wait(self, timeout_s: float) -> int:
        """Run the operator to its end. Raises TimeoutError where that takes longer than it may."""
        operator = self._operator
        if operator is None:
            raise RuntimeError("the operator was not started")
        with written_down(self._run.output.path), _as_the_task(operator):
            self._is_running = True
            try:
                self._ending = self._ended(operator, timeout_s)
            except AirflowTaskTimeout:
                operator.on_kill()
                raise TimeoutError from None
            finally:
                self._is_running = False
        return 0 if self._ending.error is None else 1

    def _ended(self, operator: BaseOperator, timeout_s: float) -> Ending:
        """How the operator ends; it is run again where there was no room for it, which is in no trial's time."""

        def attempt() -> Ending:
            with _alarm(timeout_s):
                return _timed(functools.partial(_executed, operator, self._context))

        again = Retrying(
            retry=retry_if_result(lambda ending: ending.error is not None and is_busy(ending.error)),
            wait=wait_random_exponential(multiplier=1, max=60),
            stop=stop_after_delay(min(timeout_s, MAX_PATIENCE_S)),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        return again(attempt)

    def collect(self, exit_code: int) -> Measurement:
        """What was observed. An operator that raised, or skipped itself, failed."""
        ending = self._ending
        if ending is None:
            raise RuntimeError("the operator did not run")
        text = plain_text(self._run.output.text())
        if ending.error is not None:
            raise self._failure(ending.error, text)
        values = {pattern.metric: pattern.value_in(text) for pattern in self._patterns}
        asked = {name: s for name, s in self.observations.metrics.items() if isinstance(s, Statement)}
        values |= {name: number(name, value_of(f"metrics.{name}", one)) for name, one in asked.items()}
        values |= {"duration_s": ending.duration_s, "core_seconds": ending.core_seconds}
        engine = engine_metrics(self._operator, ending.result, ending.started_at, ending.ended_at)
        document = {
            "contract": CONTRACT_VERSION,
            "job": self._run.job,
            "trial_id": self._run.trial_id,
            "status": "measured",
            "started_at": ending.started_at,
            "ended_at": ending.ended_at,
            "samples": [{"duration_s": ending.duration_s}],
            "metrics": {**engine, **returned_metrics(ending.result), **values},
            "checks": self._checked(text),
            # Without the host: the work may be anywhere, and any worker may take the task.
            "environment": {name: value for name, value in machine().items() if name != "host"},
        }
        return validated(document)

    def cancel(self) -> None:
        """End what the operator has started, as Airflow does when a task is killed."""
        if self._is_running and self._operator is not None:
            self._is_running = False
            self._operator.on_kill()

    def _failure(self, error: BaseException, text: str) -> Exception:
        if isinstance(error, AirflowNotFoundException) or is_busy(error):
            return InfrastructureError(str(error))
        sign = memory_sign(f"{text}\n{error}")
        if sign is not None or isinstance(error, MemoryError):
            return TrialFailedError("out_of_memory", f"{out_of_memory(self._run.configuration)} ({sign or error!r})")
        if "Timeout" in type(error).__name__:
            return TrialFailedError("timeout", error_words(error))
        return TrialFailedError("error", _reason(error, text))

    def _checked(self, text: str) -> list[dict[str, Any]]:
        checks = [
            {"name": name, "passed": bool(pattern.search(text)), "detail": f"looked for {pattern.pattern!r} in the log"}
            for name, pattern in self._checks.items()
        ]
        asked = [(name, one) for name, one in self.observations.checks.items() if isinstance(one, Statement)]
        for name, statement in asked:
            value = value_of(f"checks.{name}", statement)
            checks.append({"name": name, "passed": bool(value), "detail": f"{statement.sql} gave {value!r}"})
        return checks


def _imported(key: str, dotted: str) -> Any:
    """What a dotted name stands for. Raises StudyError."""
    module, _, name = dotted.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise StudyError(f"runner.{key}: {dotted} can't be imported: {error}") from None


def _operator_class(dotted: str) -> type[BaseOperator]:
    """The operator's class. Raises StudyError."""
    found = _imported("operator", dotted)
    if not isinstance(found, type) or not issubclass(found, BaseOperator):
        raise StudyError(f"runner.operator: {dotted} is no Airflow operator")
    return found


def _check_templates(operator: BaseOperator, arguments: Mapping[str, Any]) -> None:
    """Raises StudyError for a template of the trial's in an argument that the operator does not render."""
    for name, value in arguments.items():
        if "tuner." in str(value) and "{{" in str(value) and name not in operator.template_fields:
            raise StudyError(
                f"runner.arguments.{name}: {type(operator).__name__} renders no templates there; use 'sets'"
            )


@contextlib.contextmanager
def _as_the_task(operator: BaseOperator) -> Iterator[None]:
    """The operator is the one that Airflow runs: it does not warn that it is called from another."""
    token = ExecutorSafeguard.tracker.set(operator)
    try:
        yield
    finally:
        ExecutorSafeguard.tracker.reset(token)


@contextlib.contextmanager
def _alarm(timeout_s: float) -> Iterator[None]:
    """Raise AirflowTaskTimeout after so many seconds, as Airflow does; only the main thread can be told."""
    if timeout_s == float("inf") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: Any) -> None:
        raise AirflowTaskTimeout

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _timed(call: Callable[[], Any]) -> Ending:
    """How a call ends, its errors included; not those that end the task itself."""
    started_at, began, used = datetime.now(UTC), time.monotonic(), used_s()
    result, error = None, None
    try:
        result = call()
    except Exception as raised:
        error = raised
    duration_s = time.monotonic() - began
    return Ending(started_at, datetime.now(UTC), duration_s, max(used_s() - used, 0.0), result, error)


def _executed(operator: BaseOperator, context: Any) -> Any:
    """What the operator returns, after every deferral that it asks for."""
    call = functools.partial(operator.execute, context)
    while True:
        try:
            return call()
        except TaskDeferred as deferred:
            event = asyncio.run(_first_event(deferred))
            kwargs = {**(deferred.kwargs or {}), **({} if event is None else {"event": event.payload})}
            call = functools.partial(operator.resume_execution, deferred.method_name, kwargs, context)


async def _first_event(deferred: TaskDeferred) -> Any:
    """The event that a trigger waits for, at most as long as the operator allows."""
    allowed = deferred.timeout.total_seconds() if deferred.timeout is not None else None
    try:
        return await asyncio.wait_for(anext(deferred.trigger.run(), None), allowed)
    finally:
        await deferred.trigger.cleanup()


def _reason(error: BaseException, text: str) -> str:
    """Why an operator failed. One that only says that its command did, by Airflow's own exception, hides the cause."""
    cause = cause_words(text) if type(error) is AirflowException else None
    return f"{cause}\n\n{error_words(error)}" if cause else error_words(error)
