"""The deduplication's configurations as its advice sees them: medians of what each was measured at."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tuner.trial import TrialResult

BYTES = "shuffle_write_bytes"


@dataclass(frozen=True)
class Measured:
    """A configuration's medians, and the details of its last trial."""

    label: str
    configuration: Mapping[str, Any]
    metrics: Mapping[str, float]
    details: Mapping[str, Any]

    @property
    def strategy(self) -> str:
        """The strategy that ran: what `auto` chose, too."""
        return str(self.details.get("strategy", self.configuration.get("strategy", "")))

    @property
    def bytes(self) -> float:
        """Bytes written to shuffles."""
        return self.metrics[BYTES]

    @property
    def shuffled(self) -> str:
        """The bytes in words."""
        return megabytes(self.bytes)


def measured_configurations(results: Sequence[TrialResult]) -> list[Measured]:
    """Every configuration that was measured on the whole workload, in the order of its first trial."""
    found: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "measured" and result.plan.fraction == 1.0 and BYTES in result.metrics:
            found.setdefault(result.plan.label, []).append(result)
    return [_median(label, trials) for label, trials in found.items()]


def _median(label: str, trials: list[TrialResult]) -> Measured:
    names = set.intersection(*(set(trial.metrics) for trial in trials))
    metrics = {name: statistics.median(trial.metrics[name] for trial in trials) for name in names}
    last = trials[-1].measurement
    return Measured(label, trials[-1].plan.configuration, metrics, last.details if last else {})


def megabytes(size: float) -> str:
    """Bytes as megabytes, or gigabytes where they are many."""
    return f"{size / 1e9:.2f} GB" if size >= 1e10 else f"{size / 1e6:.1f} MB"


def bullets(sentences: Iterable[str]) -> str:
    """A Markdown list; empty sentences are left out."""
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)
