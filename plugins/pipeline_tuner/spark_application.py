"""`runner.options` of a study for a Spark application that can't be changed, checked. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from pipeline_tuner.command import Command
from pipeline_tuner.problems import Problem
from pipeline_tuner.space import Frozen

METRICS = (
    *(
        "application_s",
        "startup_before_tasks_s",
        "no_task_s",
        "task_s",
        "allocated_core_seconds",
        "allocated_gb_seconds",
    ),
    *("input_bytes", "input_rows", "output_bytes", "output_rows", "shuffle_read_bytes", "shuffle_write_bytes"),
    *("spill_bytes", "gc_s", "executor_cpu_s", "tasks", "failed_tasks", "executors_lost"),
)
"""What the event log of a trial gives, beside what every command that is timed from outside has."""


class ApplicationOptions(Frozen):
    """`runner.options` of kind `spark_submit` with an application. `{name}` in a text is a parameter's value."""

    application: str
    """Path or URI of the jar or program; a relative path starts at the project's folder."""
    java_class: str | None = None
    arguments: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    """The arguments, or those of each of the workload's sizes."""
    conf: dict[str, str | int | float | bool] = {}
    master: str | None = None
    """In place of the connection's, to have cores as a parameter: `local[{cores}]`."""
    jars: str | None = None
    py_files: str | None = None
    packages: str | None = None
    files: str | None = None
    name: str | None = None
    metrics: dict[str, str] = {}
    """Further metrics: regular expressions over what the program prints, one group around the number."""
    checks: dict[str, str] = {}
    """What the program must print for its output to count as right: regular expressions."""

    @property
    def argument_lists(self) -> tuple[tuple[str, ...], ...]:
        """The arguments of each size."""
        return tuple(self.arguments.values()) if isinstance(self.arguments, dict) else (self.arguments,)

    @property
    def filled(self) -> Command:
        """All texts that parameters' values are put into."""
        settings = (str(value) for value in self.conf.values())
        return Command((*settings, *(text for each in self.argument_lists for text in each), self.master or ""))


def is_application(options: Mapping[str, Any]) -> bool:
    """Whether a runner's options are those of an application that can't be changed."""
    return "application" in options


def parsed_options(options: Mapping[str, Any]) -> ApplicationOptions | tuple[Problem, ...]:
    """The options, or what is wrong with them."""
    try:
        return ApplicationOptions.model_validate(dict(options))
    except ValidationError as error:
        return tuple(_problems(error))


def _problems(error: ValidationError) -> Iterator[Problem]:
    """A problem for each option that is wrong, in words of the study."""
    seen = set()
    for one in error.errors(include_url=False):
        option = str(one["loc"][0])
        if option in seen:
            continue
        seen.add(option)
        known = ", ".join(ApplicationOptions.model_fields)
        words = f"no such option with an application; there are {known}" if one["type"] == "extra_forbidden" else ""
        yield Problem(("options", option), words or WANTED.get(option, "must be a text, in quotes"))


WANTED = {
    "arguments": "must be a list of texts, or such a list for each of the workload's sizes",
    "conf": "must be a mapping: Spark's settings with their values",
    "metrics": "must be a mapping: names with regular expressions",
    "checks": "must be a mapping: names with regular expressions",
}
