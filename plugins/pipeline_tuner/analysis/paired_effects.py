"""What one parameter is worth from pairs of configurations that differ in it alone, measured in the same blocks.

It needs no model, so it also holds where parameters act together; it says nothing beyond the settings around it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.effect_design import Run
from pipeline_tuner.analysis.intervals import log_interval
from pipeline_tuner.recommendation import MIN_BLOCKS, Interval
from pipeline_tuner.space import Configuration, Scalar, configuration_id


@dataclass(frozen=True)
class Contrast:
    """One parameter changed from `worse` to `better`, all else as in `around`."""

    parameter: str
    worse: Scalar
    better: Scalar
    gain: Interval
    around: Configuration


def contrasts_around(runs: Sequence[Run], center: Configuration, *, confidence: float = 0.95) -> tuple[Contrast, ...]:
    """For each parameter, the step to or from the center that changes the score most, the largest gain first.

    Only steps that are shown (their interval leaves 1 out); the intervals hold together for all steps looked at.
    """
    scores = _by_configuration(runs)
    mine = scores.get(configuration_id(center))
    if mine is None:
        return ()
    others = {configuration_id(run.configuration): run.configuration for run in runs}.values()
    neighbours = [(name, other) for other in others if (name := _only_change(center, other))]
    share = 1 - (1 - confidence) / max(len(neighbours), 1)
    best: dict[str, Contrast] = {}
    for name, other in neighbours:
        step = _contrast(name, center, other, mine, scores[configuration_id(other)], share)
        if step is not None and (name not in best or step.gain.value > best[name].gain.value):
            best[name] = step
    return tuple(sorted(best.values(), key=lambda step: -step.gain.value))


def _contrast(
    name: str,
    center: Configuration,
    other: Configuration,
    mine: dict[object, float],
    theirs: dict[object, float],
    confidence: float,
) -> Contrast | None:
    logs = [mine[block] - theirs[block] for block in mine.keys() & theirs.keys()]
    if len(logs) < MIN_BLOCKS:
        return None
    center_wins = math.fsum(logs) > 0
    gain = log_interval([value if center_wins else -value for value in logs], confidence)
    better, worse = (center, other) if center_wins else (other, center)
    return Contrast(name, worse[name], better[name], gain, center) if gain.low > 1 else None


def _by_configuration(runs: Sequence[Run]) -> dict[str, dict[object, float]]:
    found: dict[str, dict[object, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        found[configuration_id(run.configuration)][run.block].append(run.score)
    return {
        identity: {block: math.fsum(scores) / len(scores) for block, scores in blocks.items()}
        for identity, blocks in found.items()
    }


def _only_change(center: Configuration, other: Configuration) -> str | None:
    """The one parameter in which two configurations differ; None where it is none or several."""
    if center.keys() != other.keys():
        return None
    changed = [name for name in center if center[name] != other[name]]
    return changed[0] if len(changed) == 1 else None
