"""The validity of a recommendation: the data sizes, machine and versions that it holds for, and when it expires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_tuner.measurement import Measurement
from pipeline_tuner.trial import TrialResult

SIZE_REACH = 2.0
"""A number of the workload may leave its measured range by this factor: beyond, the ranking is a guess."""
MACHINE = ("cpu_model", "cores", "memory_bytes", "host")
VERSIONS = ("spark", "java", "python")
SAME_MEMORY = 0.05


@dataclass(frozen=True)
class Envelope:
    """What was measured. Sizes and shapes as ranges, everything else as the values that were seen."""

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    machine: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    versions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    measured_at: str = ""
    """The last trial's end, as ISO 8601."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, for the database."""
        groups = {"ranges": self.ranges, "machine": self.machine, "versions": self.versions}
        listed = {key: {name: list(seen) for name, seen in group.items()} for key, group in groups.items()}
        return {**listed, "measured_at": self.measured_at}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Envelope:
        """The inverse of `to_dict`."""
        known = {
            key: {k: tuple(v) for k, v in values.get(key, {}).items()} for key in ("ranges", "machine", "versions")
        }
        return cls(**known, measured_at=values.get("measured_at", ""))

    def problems(self, workload: Mapping[str, Any], environment: Mapping[str, Any]) -> tuple[str, ...]:
        """Why the recommendation doesn't hold for this workload and machine, in words; empty where it does.

        Numbers that either side doesn't know are no problem: they can't be judged.
        """
        sizes = (_size_problem(name, bounds, workload.get(name)) for name, bounds in self.ranges.items())
        machine = (_machine_problem(name, seen, environment.get(name)) for name, seen in self.machine.items())
        now = _versions(environment)
        versions = (_version_problem(name, seen, now.get(name)) for name, seen in self.versions.items())
        return tuple(problem for problem in (*sizes, *machine, *versions) if problem)

    def problems_of(self, measurement: Measurement) -> tuple[str, ...]:
        """`problems` of the data and the machine that a production run measured."""
        return self.problems(measurement.workload, measurement.environment)


def measured_envelope(results: Sequence[TrialResult]) -> Envelope:
    """The envelope of a sweep's measured trials on the whole workload."""
    whole = [r for r in results if r.status == "measured" and r.plan.fraction == 1.0]
    records = [r.measurement for r in whole if r.measurement is not None]
    workloads = [record.workload for record in records]
    names = {name for workload in workloads for name, value in workload.items() if _is_number(value)}
    ranges = {name: _range([w[name] for w in workloads if _is_number(w.get(name))]) for name in sorted(names)}
    environments = [record.environment for record in records]
    machine = {name: seen for name in MACHINE if (seen := _seen(environments, name))}
    known = [_versions(environment) for environment in environments]
    versions = {name: _seen(known, name) for name in sorted({name for found in known for name in found})}
    return Envelope(ranges, machine, versions, max((r.ended_at.isoformat() for r in records), default=""))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _range(values: Sequence[float]) -> tuple[float, float]:
    return float(min(values)), float(max(values))


def _seen(records: Sequence[Mapping[str, Any]], name: str) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(record[name] for record in records if record.get(name) is not None))


def _versions(environment: Mapping[str, Any]) -> dict[str, str]:
    """Versions by name, down to what can change behaviour: major and minor."""
    libraries = environment.get("libraries")
    known = {name: environment[name] for name in VERSIONS if name in environment}
    known |= dict(libraries) if isinstance(libraries, Mapping) else {}
    return {name: ".".join(str(version).split(".")[:2]) for name, version in known.items()}


def _size_problem(name: str, bounds: tuple[float, float], value: Any) -> str | None:
    if not _is_number(value):
        return None
    low, high = sorted((bounds[0] / SIZE_REACH, bounds[1] * SIZE_REACH))
    if low <= value <= high:
        return None
    return f"{name} is {value:,g}, measured from {bounds[0]:,g} to {bounds[1]:,g} (trusted from {low:,g} to {high:,g})"


def _machine_problem(name: str, seen: tuple[Any, ...], value: Any) -> str | None:
    if value is None or value in seen:
        return None
    if name == "memory_bytes" and any(abs(value - known) <= SAME_MEMORY * known for known in seen):
        return None
    return f"{name} is {value}, measured on {', '.join(map(str, seen))}"


def _version_problem(name: str, seen: tuple[Any, ...], value: str | None) -> str | None:
    return None if value is None or value in seen else f"{name} is {value}, measured with {', '.join(map(str, seen))}"
