"""Promotion and roll-back of the champion: what production should run with after a sweep. Only on confirmed
evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline_tuner.recommendation import DecisionStatus, Interval, Recommendation
from pipeline_tuner.space import Configuration, configuration_id
from pipeline_tuner.wording import gain_words


@dataclass(frozen=True)
class ProductionChange:
    """What to do with production's configuration for one goal, and why, in a sentence."""

    action: Literal["keep", "promote", "roll_back"]
    reason: str


def decide(
    recommendation: Recommendation,
    champion: Configuration | None,
    *,
    champion_gain: Interval | None = None,
) -> ProductionChange:
    """Promote on a confirmed gain, roll back on a confirmed loss, keep otherwise.

    `champion` is what production runs now (None: the control). `champion_gain` is the champion against the
    control in this sweep's fresh blocks, where it took part. A challenger that ties with the champion doesn't
    replace it; one whose confirmed gain overlaps the champion's doesn't either.
    """
    if champion is not None and champion_gain is not None and champion_gain.high < 1.0:
        return ProductionChange("roll_back", f"production is confirmed at {gain_words(champion_gain)}, a loss")
    if not recommendation.status.is_change or recommendation.configuration is None:
        return ProductionChange("keep", f"no better configuration for {recommendation.goal}: production stays as it is")
    if champion is not None and configuration_id(recommendation.configuration) == configuration_id(champion):
        return ProductionChange("keep", f"production already runs {recommendation.label}")
    gain = recommendation.gain
    if gain is None or gain.low <= 1.0:
        outcome = f"is confirmed only at {gain_words(gain)}" if gain else "was not confirmed"
        return ProductionChange("keep", f"{recommendation.label} {outcome}")
    tied = _tied_with(recommendation, champion)
    if tied:
        return ProductionChange("keep", f"{recommendation.label} ties with production ({tied})")
    if champion_gain is not None and gain.low <= champion_gain.high:
        words = f"{recommendation.label} is not shown to beat production ({gain_words(champion_gain)})"
        return ProductionChange("keep", words)
    return ProductionChange("promote", f"{recommendation.label} is confirmed at {gain_words(gain)}")


def _tied_with(recommendation: Recommendation, champion: Configuration | None) -> str | None:
    if champion is None or recommendation.status is not DecisionStatus.TIED:
        return None
    identity = configuration_id(champion)
    tied = (label for label in recommendation.ties if label in recommendation.evidence)
    same = (t for t in tied if configuration_id(recommendation.evidence[t].configuration) == identity)
    return next(same, None)
