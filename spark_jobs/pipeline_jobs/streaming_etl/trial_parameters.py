"""A trial's parameters, given to the parts of the job: what has no effect there is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.streaming_etl.memory import MemoryWork
from pipeline_jobs.streaming_etl.settings import Settings, check_choice, check_flag
from pipeline_jobs.unknown_names import refuse_unknown

ADAPTIVE = ("target_records_per_s", "min_batch_size", "max_batch_size")
TABLES_ONLY = ("pool_size",)
FOREIGN_KEYS = ("during", "after")


@dataclass(frozen=True)
class TargetChoices:
    """How rows are written. Raises BadConfigurationError for values that don't exist."""

    foreign_keys: str = "during"
    async_commit: bool = False

    def __post_init__(self) -> None:
        check_choice("foreign_keys", self.foreign_keys, FOREIGN_KEYS)
        check_flag("async_commit", self.async_commit)


def read_tables(configuration: Mapping[str, Any]) -> tuple[Settings, TargetChoices]:
    """The parameters of a load into tables. Raises BadConfigurationError."""
    choices, engine = _names(TargetChoices), _names(Settings)
    refuse_unknown(configuration, (*engine, *choices), "parameter")
    _refuse_idle(configuration)
    return _built(Settings, configuration, engine), _built(TargetChoices, configuration, choices)


def read_memory(configuration: Mapping[str, Any]) -> tuple[Settings, MemoryWork]:
    """The parameters of a run in memory. Raises BadConfigurationError."""
    work, engine = _names(MemoryWork), [name for name in _names(Settings) if name not in TABLES_ONLY]
    refuse_unknown(configuration, (*engine, *work), "parameter")
    _refuse_idle(configuration)
    found = _built(MemoryWork, configuration, work)
    if "transform_concurrency" in configuration and found.transform != "network":
        raise BadConfigurationError(
            f"transform_concurrency has no effect on the transform {found.transform!r}: leave it out, or use 'network'"
        )
    return _built(Settings, configuration, engine), found


def _refuse_idle(configuration: Mapping[str, Any]) -> None:
    idle = [name for name in ADAPTIVE if name in configuration]
    if idle and not configuration.get("adaptive"):
        raise BadConfigurationError(f"{idle[0]} has no effect without adaptive: leave it out, or set adaptive to true")


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _built(kind: Any, configuration: Mapping[str, Any], names: Sequence[str]) -> Any:
    return kind(**{name: configuration[name] for name in names if name in configuration})
