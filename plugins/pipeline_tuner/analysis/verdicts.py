"""The verdicts on claims (`VerdictKind`) and their rules, from the interval of what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pipeline_tuner.claim import Claim, Range
from pipeline_tuner.metric_names import metric_unit
from pipeline_tuner.recommendation import ROUNDING, Interval
from pipeline_tuner.wording import counted, interval_words, number, percent, ratio, with_unit


class VerdictKind(StrEnum):
    """What the measurements say on a claim: a judgement is wrong in at most 1 - confidence of all sweeps."""

    CONFIRMED = "confirmed"
    """The whole interval is as claimed."""
    REFUTED = "refuted"
    """The whole interval is on the other side: not better, or not equal."""
    SMALLER = "smaller than claimed"
    """The whole interval lies below what is claimed."""
    LARGER = "larger than claimed"
    """The whole interval lies above what is claimed."""
    NOT_SEPARABLE = "not separable here"
    """The interval holds values that are as claimed and values that are not, or more than what is named differed."""
    NOT_COMPARABLE = "not comparable"
    """It was not measured, or on something that can't be compared."""

    @property
    def is_judgement(self) -> bool:
        """Whether the measurements were enough to say something on the claim."""
        return self not in (VerdictKind.NOT_SEPARABLE, VerdictKind.NOT_COMPARABLE)


@dataclass(frozen=True)
class Verdict:
    """What the measurements say on a claim. `interval` is the measured ratio (advice) or value."""

    claim: Claim
    verdict: VerdictKind
    reason: str
    interval: Interval | None = None


def ratio_verdict(claim: Claim, gain: Interval, indifference: float) -> Verdict:
    """The verdict on advice from the measured ratio, above 1 where `better` is better."""
    measured = measured_gain(gain)
    if not claim.comparable:
        return Verdict(claim, VerdictKind.NOT_COMPARABLE, f"{claim.note}; here {measured}", gain)
    if not math.isfinite(gain.high):
        return Verdict(claim, VerdictKind.NOT_SEPARABLE, f"only {counted(gain.n, 'block')} held both", gain)
    if claim.equal_within is not None:
        kind, why = _equality(gain, claim.equal_within)
    elif claim.ratio is not None:
        kind, why = _size(gain, claim.ratio, indifference)
    else:
        kind, why = _direction(gain, indifference)
    return Verdict(claim, kind, f"{measured}{why}", gain)


def value_verdict(claim: Claim, claimed: Range, found: Interval, indifference: float) -> Verdict:
    """The verdict on a value from its measured interval; `claimed` is in the unit of the metric."""
    unit = metric_unit(claim.metric or "")
    measured = f"measured {interval_words(found, unit)} in {counted(found.n, 'block')}"
    if not claim.comparable:
        return Verdict(claim, VerdictKind.NOT_COMPARABLE, f"{claim.note}; here {measured}", found)
    words = _value_words(claimed, unit)
    if not found.is_enough:
        return Verdict(claim, VerdictKind.NOT_SEPARABLE, f"{measured}, too few to hold {words} against", found)
    kind = _place(found, claimed.widened(indifference))
    return Verdict(claim, kind, f"{measured}, claimed {words}", found)


def measured_gain(gain: Interval) -> str:
    """A measured ratio in words: `measured 1.48x (1.40 to 1.56) in 3 blocks`."""
    bounds = f" ({_bound(gain.low)} to {_bound(gain.high)})" if math.isfinite(gain.high) else ""
    return f"measured {ratio(gain.value)}{bounds} in {counted(gain.n, 'block')}"


def _equality(gain: Interval, within: float) -> tuple[VerdictKind, str]:
    kind = _place(gain, Range(1 / (1 + within), 1 + within))
    if kind in (VerdictKind.SMALLER, VerdictKind.LARGER):
        return VerdictKind.REFUTED, f": they differ by more than {percent(within)}"
    return kind, _uncertain(kind, f"{percent(within)} or less of difference")


def _size(gain: Interval, claimed: Range, indifference: float) -> tuple[VerdictKind, str]:
    words = f", claimed {_ratio_words(claimed)}"
    is_as_said = claimed.low <= gain.low and gain.high <= claimed.high
    if claimed.low >= 1 and gain.high <= 1 + ROUNDING and not is_as_said:
        return VerdictKind.REFUTED, f"{words}: it is not better"
    kind = _place(gain, claimed.widened(indifference))
    return kind, f"{words}{_uncertain(kind, 'that')}"


def _direction(gain: Interval, indifference: float) -> tuple[VerdictKind, str]:
    zone = 1 + indifference
    matters = "" if gain.high >= zone or gain.low <= 1 / zone else percent(indifference)
    if gain.low > 1 + ROUNDING:
        return VerdictKind.CONFIRMED, f", less than the {matters} that matter here" if matters else ""
    if gain.high <= 1 + ROUNDING:
        return VerdictKind.REFUTED, ""
    return VerdictKind.NOT_SEPARABLE, f": no difference of {matters} or more" if matters else ": too uncertain to tell"


def _place(found: Interval, claimed: Range) -> VerdictKind:
    """Where an interval lies; rounding in the last digits decides nothing."""
    low, high = claimed.low * (1 - ROUNDING), claimed.high * (1 + ROUNDING)
    if found.high < low:
        return VerdictKind.SMALLER
    if found.low > high:
        return VerdictKind.LARGER
    is_within = low <= found.low and found.high <= high
    return VerdictKind.CONFIRMED if is_within else VerdictKind.NOT_SEPARABLE


def _uncertain(kind: VerdictKind, what: str) -> str:
    return f": too uncertain to tell from {what}" if kind is VerdictKind.NOT_SEPARABLE else ""


def _bound(value: float) -> str:
    return ratio(value).removesuffix("x")


def _ratio_words(claimed: Range) -> str:
    if claimed.is_number:
        return ratio(claimed.low)
    if math.isinf(claimed.high):
        return f"{ratio(claimed.low)} or more"
    return f"{_bound(claimed.low)} to {ratio(claimed.high)}" if claimed.low else f"{ratio(claimed.high)} or less"


def _value_words(claimed: Range, unit: str) -> str:
    if claimed.is_number:
        return with_unit(claimed.low, unit)
    if math.isinf(claimed.high):
        return f"{with_unit(claimed.low, unit)} or more"
    if unit in ("s", "bytes"):
        return f"{with_unit(claimed.low, unit)} to {with_unit(claimed.high, unit)}"
    return f"{number(claimed.low)} to {with_unit(claimed.high, unit)}"
