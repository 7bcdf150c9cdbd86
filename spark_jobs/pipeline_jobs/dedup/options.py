"""What "the latest record of each key" means for a workload, and how to get it: declared, checked, no Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from pipeline_jobs.contract import BadConfigurationError, TrialConfig
from pipeline_jobs.known_names import refuse_unknown

FORMATS = ("parquet", "json", "csv", "jdbc", "iceberg")
STRATEGIES = ("auto", "window", "max_by", "salted", "semi_join", "seed")
TARGETS = ("postgresql", "parquet", "redshift", "none")
LISTS = ("key", "tie_breakers")
OTHER_OPTIONS = ("source", "target", "name", "data", "folder", "generator")
"""Workload options that are not part of the rule."""
LOSING_MODES = ("DROPMALFORMED", "PERMISSIVE")
"""Modes of Spark's readers that lose records or values without a word."""


@dataclass(frozen=True)
class Source:
    """Where the records are. `path` is a file or folder, or the name of a JDBC or Iceberg table."""

    format: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Spark's reader options, such as `header` for CSV."""
    schema: str = ""
    """A schema in SQL (`id BIGINT, changed TIMESTAMP`); JSON and CSV without one are read twice to find it."""

    def __post_init__(self) -> None:
        _one_of("source.format", self.format, FORMATS)
        mode = str(next((value for name, value in self.options.items() if name.lower() == "mode"), "FAILFAST"))
        if mode.upper() in LOSING_MODES:
            raise BadConfigurationError(
                f"source.options.mode is {mode}, which loses records without counting them: leave it out"
            )


@dataclass(frozen=True)
class Target:
    """Where the latest records go. `merge` keeps what a run doesn't touch, `replace` leaves this run's result only.

    `redshift` stages Parquet with the delete markers in `path`; RedshiftMergeOperator merges that.
    """

    kind: str = "none"
    table: str = ""
    path: str = ""
    mode: str = "merge"
    bookmark: str = ""
    """The job's name in the bookmark table; makes the run incremental."""
    look_back_s: float = 0.0
    """How far behind the bookmark to read again, for records that come late (s, or units of a numeric timestamp)."""
    scratch: bool = False
    """A trial's target: emptied before each repeat and removed at the end."""

    def __post_init__(self) -> None:
        _one_of("target.kind", self.kind, TARGETS)
        _one_of("target.mode", self.mode, ("merge", "replace"))
        needed = {"postgresql": "table", "parquet": "path", "redshift": "path"}.get(self.kind)
        if needed and not getattr(self, needed):
            raise BadConfigurationError(f"workload option target.{needed} is missing: a {self.kind} target needs it")
        if self.bookmark and (self.kind != "postgresql" or self.mode != "merge"):
            raise BadConfigurationError("target.bookmark needs a postgresql target in mode 'merge'")
        if self.look_back_s < 0:
            raise BadConfigurationError(f"target.look_back_s is {self.look_back_s}, must not be negative")


@dataclass(frozen=True)
class Rule:
    """The total order that decides: `timestamp`, then each tie-breaker, then the other columns' values.

    The larger value wins; NULL is smaller than anything, so a record without a timestamp is the oldest.
    """

    key: tuple[str, ...]
    timestamp: str
    tie_breakers: tuple[str, ...] = ()
    deleted_when: str = ""
    """SQL over a record: where the latest record of a key matches, the key is deleted."""
    null_keys: str = "drop"
    """Records with a NULL in the key: `drop` them (counted), `group` as SQL does, or `fail`."""
    null_timestamps: str = "oldest"
    """Records without a timestamp: `oldest`, `drop` them (counted), or `fail`."""

    def __post_init__(self) -> None:
        if not self.key or not self.timestamp:
            raise BadConfigurationError("workload options 'key' (a list of columns) and 'timestamp' are needed")
        _one_of("null_keys", self.null_keys, ("drop", "group", "fail"))
        _one_of("null_timestamps", self.null_timestamps, ("oldest", "drop", "fail"))
        repeated = {name for name in self.declared if (*self.key, *self.declared).count(name) > 1}
        if repeated:
            raise BadConfigurationError(f"column {', '.join(sorted(repeated))} is named twice in key and order")

    @property
    def declared(self) -> tuple[str, ...]:
        """The columns of the declared order, most significant first."""
        return (self.timestamp, *self.tie_breakers)


@dataclass(frozen=True)
class Tuning:
    """The knobs of a trial that are not Spark's own settings."""

    strategy: str = "auto"
    group_limit: bool = True
    """Whether each task drops what can't be the latest before the shuffle (Spark 3.5 and later)."""
    window_partitions: int = 75
    """Partitions that the seed's shape makes before its window."""
    salts: int = 16
    """Parts that `salted` splits each key into for its first phase."""
    write_partitions: int = 0
    """Partitions (and so connections) that write; 0 leaves what the shuffle made."""
    counts: str = "observe"
    """`observe` counts in passing, `count` runs extra jobs as the seed's job did, `none` counts nothing."""

    def __post_init__(self) -> None:
        _one_of("strategy", self.strategy, STRATEGIES)
        _one_of("counts", self.counts, ("observe", "count", "none"))
        for name in ("window_partitions", "salts"):
            if getattr(self, name) < 1:
                raise BadConfigurationError(f"{name} is {getattr(self, name)}, must be 1 or more")


@dataclass(frozen=True)
class DedupOptions:
    """A trial's workload and knobs, read and checked."""

    rule: Rule
    target: Target
    tuning: Tuning
    source: Source | None
    """None for the workloads that the job makes itself (`generated`, `flights`)."""


def dedup_options(config: TrialConfig) -> DedupOptions:
    """The options in a trial's configuration. Raises BadConfigurationError naming option and value."""
    workload = dict(config.workload)
    refuse_unknown(workload, (*_names(Rule), *OTHER_OPTIONS), "workload option")
    source, target = workload.get("source"), workload.get("target", {})
    return DedupOptions(
        rule=_built(Rule, {name: workload[name] for name in _names(Rule) if name in workload}, "workload option "),
        target=_built(Target, target, "workload option target."),
        tuning=_built(Tuning, _knobs(config.configuration), "parameter "),
        source=_built(Source, source, "workload option source.") if source else None,
    )


def _knobs(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {name: configuration[name] for name in _names(Tuning) if configuration.get(name) is not None}


def _names(kind: type) -> list[str]:
    return [part.name for part in fields(kind)]


def _built(kind: Any, values: Mapping[str, Any], what: str) -> Any:
    refuse_unknown(values, _names(kind), what.strip())
    missing = {part.name for part in fields(kind) if part.default is MISSING and part.default_factory is MISSING}
    missing -= set(values)
    if missing:
        raise BadConfigurationError(f"{what}{', '.join(sorted(missing))} is missing")
    return kind(**{name: _columns(value) if name in LISTS else value for name, value in values.items()})


def _columns(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadConfigurationError(f"{name} is {value!r}, must be one of {', '.join(known)}")
