"""Champion and challenger: what production should run with after a sweep. It changes only on confirmed evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline_tuner.recommendation import DecisionStatus, Interval, Recommendation
from pipeline_tuner.space import Configuration, configuration_id
from pipeline_tuner.wording import gain_words


@dataclass(frozen=True)
class Decision:
    """What to do with production's configuration for one goal, and why, in a sentence."""

    action: Literal["keep", "promote", "roll_back"]
    reason: str


def decide(
    recommendation: Recommendation,
    champion: Configuration | None,
    *,
    champion_gain: Interval | None = None,
) -> Decision:
    """Promote on a confirmed gain, roll back on a confirmed loss, keep otherwise.

    `champion` is what production runs now (None: the control). `champion_gain` is the champion against the
    control in this sweep's fresh blocks, where it took part. A challenger that ties with the champion doesn't
    replace it; one whose confirmed gain overlaps the champion's doesn't either.
    """
    if champion is not None and champion_gain is not None and champion_gain.high < 1.0:
        return Decision("roll_back", f"production is confirmed at {gain_words(champion_gain)}, a loss")
    if not recommendation.status.changes_production or recommendation.configuration is None:
        return Decision("keep", f"no better configuration for {recommendation.goal}: production stays as it is")
    if champion is not None and configuration_id(recommendation.configuration) == configuration_id(champion):
        return Decision("keep", f"production already runs {recommendation.label}")
    gain = recommendation.gain
    if gain is None or gain.low <= 1.0:
        said = f"is confirmed only at {gain_words(gain)}" if gain else "was not confirmed"
        return Decision("keep", f"{recommendation.label} {said}")
    tied = _tied_with(recommendation, champion)
    if tied:
        return Decision("keep", f"{recommendation.label} ties with production ({tied})")
    if champion_gain is not None and gain.low <= champion_gain.high:
        return Decision("keep", f"{recommendation.label} is not shown to beat production ({gain_words(champion_gain)})")
    return Decision("promote", f"{recommendation.label} is confirmed at {gain_words(gain)}")


def _tied_with(recommendation: Recommendation, champion: Configuration | None) -> str | None:
    if champion is None or recommendation.status is not DecisionStatus.TIED:
        return None
    identity = configuration_id(champion)
    for label in recommendation.ties:
        found = recommendation.evidence.get(label, {}).get("configuration")
        if found is not None and configuration_id(found) == identity:
            return label
    return None
