"""The details of a measurement that analysis and page show by name: steps, stages, partitions, throughput, a table's
values, a sample. No I/O.

Any job may leave them, in whatever shape: what isn't as docs/contract.md describes it is left out, entry by entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline_tuner.space import Real

PARTITION_NAMES = ("name", "number", "partition", "id")
"""What a job may call its partitions by; without any it is their place, from 0."""

Amount = Annotated[Real, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[Real, Field(allow_inf_nan=False)]
MaybeAmount = Annotated[Amount, BeforeValidator(lambda value: 0.0 if value is None else value)]
Text = Annotated[str, BeforeValidator(str)]
Milliseconds = Annotated[str, Field(pattern=r"^[1-9]\d{0,15}$")]
T = TypeVar("T")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StageTimes(_Entry):
    """A stage of Spark in one trial."""

    name: Text
    tasks: MaybeAmount = 0.0
    duration_s: MaybeAmount = 0.0
    median_task_s: MaybeAmount = 0.0
    max_task_s: MaybeAmount = 0.0
    shuffle_write_bytes: MaybeAmount = 0.0
    spill_bytes: MaybeAmount = 0.0
    gc_s: MaybeAmount = 0.0

    @property
    def skew(self) -> float:
        """The slowest task's time over the median's; 1 where there is none."""
        return self.max_task_s / self.median_task_s if self.median_task_s else 1.0


class Partition(_Entry):
    """A part of the data in one trial: its name, and how long it took, in s."""

    name: Text
    duration_s: Amount
    start_s: Number | None = None
    """Seconds since the work began."""
    written: Amount | None = None
    """Rows."""
    state: str | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the job says that it did not pass."""
        return self.state not in (None, "PASS")


class SeriesSample(_Entry):
    """One series of the quantizer's result: raw points, and the windows made of them."""

    org: Text
    metric: Text
    start: Text
    points: tuple[tuple[Number, Number], ...] = Field(min_length=1)
    """Seconds since `start`, and the value."""
    windows: dict[Milliseconds, tuple[tuple[Number, Number, Number, Number], ...]] = Field(min_length=1)
    """By resolution in ms: end in seconds, mean, lowest and highest."""


@dataclass(frozen=True)
class Details:
    """What one measurement says beside its metrics."""

    steps: Mapping[str, float]
    """Seconds of the job's own steps, by name."""
    stages: tuple[StageTimes, ...]
    partitions: tuple[Partition, ...]
    slow_partitions: tuple[str, ...] | None
    """Names; None where the job doesn't look for them."""
    landed: tuple[tuple[float, float], ...]
    """Seconds since the work began, and the rows that had landed by then."""
    throughput_unknown: str
    """Why the job can't say when its rows landed; empty where it can."""
    table_values: Mapping[str, float]
    """What Iceberg's metadata says of the table after the run."""
    sample: SeriesSample | None
    bottleneck: str

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Details:
        """The details of a measurement, as far as they are understood."""
        throughput = _mapping(details.get("throughput"))
        slow = details.get("slow_partitions")
        return cls(
            steps=_amounts(details.get("steps")),
            stages=tuple(_fitting(_STAGE, records_in(details.get("stages")))),
            partitions=tuple(_fitting(_PARTITION, _named(details.get("partitions")))),
            slow_partitions=tuple(map(str, slow)) if isinstance(slow, list | tuple) else None,
            landed=_landed(throughput),
            throughput_unknown=str(throughput.get("unknown", "")),
            table_values=_amounts(details.get("iceberg")),
            sample=next(_fitting(_SAMPLE, [_mapping(details.get("sample"))]), None),
            bottleneck=str(details.get("bottleneck") or ""),
        )

    @property
    def rates(self) -> tuple[tuple[float, float], ...]:
        """What landed around a moment: seconds since the work began, and rows per second."""
        steps = pairwise(self.landed)
        return tuple(((a[0] + b[0]) / 2, (b[1] - a[1]) / (b[0] - a[0])) for a, b in steps if b[0] > a[0])


def records_in(value: object) -> list[Mapping[str, Any]]:
    """The entries of a list that are records; none where it is no list."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []


def _named(value: object) -> Iterator[dict[str, Any]]:
    """Partitions with the name that the job calls them by. What is no record counts for the places."""
    for place, entry in enumerate(value if isinstance(value, list | tuple) else ()):
        if isinstance(entry, Mapping):
            yield {**entry, "name": next((entry[key] for key in PARTITION_NAMES if key in entry), place)}


def _landed(throughput: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    times, rows = (_numbers(throughput.get(name)) for name in ("time_s", "rows"))
    return tuple(zip(times, rows, strict=False))


def _numbers(values: object) -> list[float]:
    return list(_fitting(_NUMBER, values if isinstance(values, list | tuple) else ()))


def _amounts(value: object) -> dict[str, float]:
    entries = _mapping(value).items()
    return {str(name): found for name, entry in entries for found in _fitting(_AMOUNT, [entry])}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fitting(kind: TypeAdapter[T], entries: Iterable[object]) -> Iterator[T]:
    for entry in entries:
        try:
            yield kind.validate_python(entry)
        except ValidationError:
            continue


_STAGE, _PARTITION, _SAMPLE = TypeAdapter(StageTimes), TypeAdapter(Partition), TypeAdapter(SeriesSample)
_NUMBER: TypeAdapter[float] = TypeAdapter(Number)
_AMOUNT: TypeAdapter[float] = TypeAdapter(Amount)
