"""Checks of a whole study: names, goals, strategies and budgets that must fit each other; what is refused and what is
odd. No I/O.

They look at what is written as well as at what is valid, so that a part that is wrong hides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from pipeline_tuner.command_check import given_by_a_command, runner_problems
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.expression import Expression
from pipeline_tuner.goal_check import condition_problems, constraint_problem, goal_problem
from pipeline_tuner.jobs import description_of
from pipeline_tuner.jobs.description import GLUE, GLUE_ERRORS
from pipeline_tuner.operator_job import operator_problems
from pipeline_tuner.problems import Path, Problem, no_such, shown
from pipeline_tuner.space import Parameter, Space, unknown_names
from pipeline_tuner.study_parts import Goal, Runner, Workload

StrategyName = Literal["adaptive", "presets", "one_at_a_time", "grid", "sobol", "staged", "nightly"]
STRATEGIES = get_args(StrategyName)
"""The strategies that every study has; a study's own lists have other names."""
OTHER_SCHEDULES = ("@quarterly", "@once")
"""What Airflow takes beside cron."""

GLUE_RUNS = 4
"""Runs of a Glue job that the plugin allows at a time where `runner.options.concurrent_runs` does not say."""
NOT_GIVEN = "which neither runner.options.metrics nor anything else gives"


@dataclass(frozen=True)
class Parts:
    """A study as it is written, and what of it is valid by itself."""

    written: Mapping[str, Any]
    parameters: Mapping[str, Parameter]
    space: Space | None
    runner: Runner | None = None
    workload: Workload | None = None
    goals: Mapping[str, Goal] = field(default_factory=dict)

    def names(self, *path: str) -> tuple[str, ...]:
        """The keys that are written at a path."""
        found: Any = self.written
        for step in path:
            found = mapping(found).get(step)
        return tuple(map(str, mapping(found)))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The parameters' names, also of those that are wrong."""
        return self.names("space", "parameters")


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def misfits(parts: Parts) -> Iterator[Problem]:
    """Names that name nothing, and configurations outside of the space: no study of any time has them."""
    yield from _named_presets(parts)
    for name, partial in mapping(parts.written.get("presets")).items():
        yield from _configuration(parts, ("presets", name), partial)
    for name, entries in mapping(parts.written.get("strategies")).items():
        for place, entry in enumerate(
            entries if isinstance(entries, Sequence) and not isinstance(entries, str) else ()
        ):
            yield from _entry(parts, ("strategies", name, place), entry)
    for name, goal in mapping(parts.written.get("goals")).items():
        yield from _no_goals(parts, ("goals", name, "balance"), mapping(goal).get("balance"))
    yield from _no_goals(parts, ("nights", "goals"), mapping(parts.written.get("nights")).get("goals"))


def oddities(parts: Parts) -> Iterator[Problem]:
    """What a study that is written today must not have: settings without effect, metrics that nothing gives."""
    space = mapping(parts.written.get("space"))
    parameters = mapping(space.get("parameters"))
    for name, written in parameters.items():
        yield from _parameter(("space", "parameters", name), name, mapping(written))
    constraints = [text for text in _texts(space.get("constraints")) if _parsed(text)]
    conditions = {name: str(when) for name, one in parameters.items() if _parsed(when := mapping(one).get("when"))}
    for problem in unknown_names(constraints, conditions, parts.parameter_names):
        yield problem.below("space")
    for problem in condition_problems(conditions, parts.parameters):
        yield problem.below("space")
    yield from _workload(parts)
    yield from _stages(parts)
    yield from _claims(parts)
    yield from _balances(parts)
    yield from _schedule(parts.written.get("schedule"))
    yield from _preference(parts)
    yield from _prices(parts.written.get("prices"))
    if parts.runner is not None:
        yield from runner_problems(parts.runner, parts.parameters, parts.parameter_names)
        yield from operator_problems(parts.runner, parts.parameters, parts.workload)
    yield from _metrics(parts)
    yield from _computed(parts)
    yield from _concurrency(parts.runner)


def _named_presets(parts: Parts) -> Iterator[Problem]:
    presets = parts.names("presets")
    for key in ("control", "fallback") if presets else ():  # a study without presets is told of them, not of these
        name = parts.written.get(key)
        if isinstance(name, str) and name not in presets:
            yield Problem((key,), f"is {name!r}, must be a preset: {', '.join(presets)}")


def _configuration(parts: Parts, path: Path, partial: Any) -> Iterator[Problem]:
    found = []
    for name, value in mapping(partial if parts.parameter_names else None).items():
        if name not in parts.parameter_names:
            found.append(Problem((*path, name), f"no such parameter; {no_such(name, parts.parameter_names)}"))
        elif name in parts.parameters and (words := parts.parameters[name].problem(value)):
            found.append(Problem((*path, name), words))
    yield from found
    if isinstance(partial, Mapping) and not found and parts.space is not None:
        try:
            parts.space.checked(partial)
        except ConfigurationError as error:
            yield Problem(path, str(error))


def _entry(parts: Parts, path: Path, entry: Any) -> Iterator[Problem]:
    presets = parts.names("presets")
    if isinstance(entry, str) and presets and entry not in presets:
        yield Problem(path, f"{entry!r} is no preset; {no_such(entry, presets)}")
    yield from _configuration(parts, path, entry)


def _no_goals(parts: Parts, path: Path, names: Any) -> Iterator[Problem]:
    for name in _texts(names):
        if name not in parts.names("goals"):
            yield Problem(path, f"{name} is no goal of this study; {no_such(name, parts.names('goals'))}")


def _parameter(path: Path, name: str, written: Mapping[str, Any]) -> Iterator[Problem]:
    if not name or name != name.strip() or set(name) & set("{}\n\0"):
        yield Problem(path, f"{name!r} is no name for a parameter")
    kind, values = written.get("type"), written.get("values") or ()
    useless = ("low", "high", "log") if kind == "categorical" else ("low", "high") if values else ()
    for key in useless:
        if written.get(key):
            reason = "of a categorical parameter" if kind == "categorical" else "beside 'values'"
            yield Problem((*path, key), f"has no meaning {reason}: leave it out")
    if kind == "integer":
        for key in ("low", "high"):
            bound = written.get(key)
            if isinstance(bound, float) and not bound.is_integer():
                yield Problem((*path, key), f"is {bound}, must be a whole number")
    for key in ("values", "tried"):
        yield from _repeated((*path, key), written.get(key))


def _repeated(path: Path, values: Any) -> Iterator[Problem]:
    seen: list[Any] = []
    for place, value in enumerate(values if isinstance(values, list | tuple) else ()):
        if value in seen:
            first = seen[seen.index(value)]
            yield Problem(
                (*path, place),
                f"{shown(value)} is there twice"
                if type(first) is type(value)
                else f"{shown(value)} can't be told from {shown(first)}",
            )
        seen.append(value)


def _workload(parts: Parts) -> Iterator[Problem]:
    for name, fraction in (parts.workload.sizes if parts.workload else {}).items():
        if not 0 < fraction <= 1:
            yield Problem(("workload", "sizes", name), f"is {fraction:g}, must be a fraction above 0 and up to 1")


def _stages(parts: Parts) -> Iterator[Problem]:
    stages = mapping(parts.written.get("stages"))
    for stage, names in stages.items():
        for place, name in enumerate(_texts(names)):
            if name not in parts.parameter_names:
                yield Problem(
                    ("stages", stage, place), f"{name} is no parameter; {no_such(name, parts.parameter_names)}"
                )
    if parts.written.get("strategy") == "staged" and not stages:
        yield Problem(("strategy",), "is 'staged', which goes through 'stages': they are missing")
    for name, entries in mapping(parts.written.get("strategies")).items():
        if entries in ([], ()):
            yield Problem(("strategies", name), "must not be empty: name presets, or give parameters")
        if name in STRATEGIES:
            yield Problem(("strategies", name), "is the name of a strategy that every study has: choose another")


def _claims(parts: Parts) -> Iterator[Problem]:
    claims = parts.written.get("claims")
    for place, claim in enumerate(claims if isinstance(claims, list | tuple) else ()):
        for key in ("better", "worse"):
            yield from _configuration(parts, ("claims", place, key), mapping(claim).get(key))


def _balances(parts: Parts) -> Iterator[Problem]:
    for name, goal in parts.goals.items():
        for part in goal.balance:
            if part in parts.goals and parts.goals[part].balance:
                yield Problem(("goals", name, "balance"), f"{part} is a balance itself: name the goals that it weighs")


def _schedule(schedule: Any) -> Iterator[Problem]:
    if not isinstance(schedule, str) or schedule in OTHER_SCHEDULES:
        return
    try:
        croniter(schedule, datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime)
    except CroniterBadDateError:
        yield Problem(("schedule",), f"is {schedule!r}, which is never")
    except (CroniterError, ValueError):
        yield Problem(("schedule",), f"is {schedule!r}, must be a cron expression of five fields such as '0 1 * * *'")


def _prices(prices: Any) -> Iterator[Problem]:
    for name, price in mapping(prices).items():
        if isinstance(price, int | float) and price < 0:
            yield Problem(("prices", name), f"is {price:g}, must not be below 0")


def _preference(parts: Parts) -> Iterator[Problem]:
    known = {*parts.parameter_names, *parts.names("prices")}
    yield from _unknown(("prefer",), parts.written.get("prefer"), known, "is no parameter and no price")


def _concurrency(runner: Runner | None) -> Iterator[Problem]:
    """Trials side by side where they would disturb each other."""
    if runner is None or runner.concurrent == 1:
        return
    path = ("runner", "concurrent")
    if runner.kind not in ("glue", "operator"):
        yield Problem(path, f"is {runner.concurrent}: trials of kind {runner.kind} share a machine, leave it out")
    if runner.options.get("before"):
        yield Problem(path, f"is {runner.concurrent}: trials side by side would share what options.before prepares")
    allowed = runner.options.get("concurrent_runs", GLUE_RUNS)
    if runner.kind == "glue" and isinstance(allowed, int) and allowed < runner.concurrent:
        words = f"is {allowed}, and concurrent is {runner.concurrent}: Glue must allow as many runs of the job"
        yield Problem(("runner", "options", "concurrent_runs"), words)


def _metrics(parts: Parts) -> Iterator[Problem]:
    """Goals and claims over metrics that nothing gives, where all that the job gives is known."""
    given = _given(parts)
    if given is None:
        return
    names, missing = given
    known = {*names, *parts.names("workload", "options"), "fraction", *parts.parameter_names, *parts.names("prices")}
    for path, text in _over_metrics(parts):
        yield from _unknown(path, text, known | _kinds_of_errors(parts.runner, text), missing)
    priced = parts.goals.get("cost")
    if mapping(parts.written.get("budget")).get("cost") and "cost" not in names and (not priced or not priced.minimize):
        words = (
            "caps what trials cost, which nothing says: it needs a metric `cost`, or a goal `cost` that is minimised"
        )
        yield Problem(("budget", "cost"), words)


def _computed(parts: Parts) -> Iterator[Problem]:
    """What goals and their constraints come to."""
    given = _given(parts)
    fixed = {*parts.parameter_names, *parts.names("prices")} - set(given[0] if given else ())
    for name, goal in parts.goals.items():
        for key, text in (("maximize", goal.maximize), ("minimize", goal.minimize)):
            yield from goal_problem(("goals", name, key), text, parts.parameters, fixed)
        for place, text in enumerate(goal.constraints):
            yield from constraint_problem(("goals", name, "constraints", place), text, parts.parameters)


def _kinds_of_errors(runner: Runner | None, text: Any) -> set[str]:
    """The metrics in an expression that count the errors of one kind, which CloudWatch has under names of AWS's."""
    expression = _parsed(text) if runner is not None and runner.kind == "glue" else None
    return {name for name in expression.names if name.startswith(GLUE_ERRORS)} if expression else set()


def _over_metrics(parts: Parts) -> Iterator[tuple[Path, Any]]:
    """Every expression over metrics, with its place."""
    for name, goal in parts.goals.items():
        yield ("goals", name, "maximize"), goal.maximize
        yield ("goals", name, "minimize"), goal.minimize
        for place, text in enumerate(goal.constraints):
            yield ("goals", name, "constraints", place), text
    claims = parts.written.get("claims")
    for place, claim in enumerate(claims if isinstance(claims, list | tuple) else ()):
        yield ("claims", place, "metric"), mapping(claim).get("metric")


def _given(parts: Parts) -> tuple[tuple[str, ...], str] | None:
    """The metrics that a trial has, with the words for others; None for a program that says itself what it measured."""
    if parts.runner is None:
        return None
    job = parts.written.get("job")
    timed, described = given_by_a_command(parts.runner), description_of(job if isinstance(job, str) else "")
    if timed is not None:
        return timed, NOT_GIVEN
    if described is None or parts.runner.kind == "operator" or parts.runner.command or "script" in parts.runner.options:
        return None
    names = (*described.metrics, *described.workload, *(GLUE if parts.runner.kind == "glue" else ()))
    return names, f"which the job {job} does not give"


def _unknown(path: Path, text: Any, known: Collection[str], words: str) -> Iterator[Problem]:
    expression = _parsed(text)
    for name in sorted(expression.names - set(known)) if expression else ():
        yield Problem(path, f"uses {name}, {words}; {no_such(name, sorted(known))}")


def _parsed(text: Any) -> Expression | None:
    try:
        return Expression(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list | tuple) else []
