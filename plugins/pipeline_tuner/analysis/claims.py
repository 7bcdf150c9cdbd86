"""Claims against measurements: which trials a claim is compared with, and its verdict on each. The rules:
`verdicts.py`.

Advice ("this rather than that", "by 48%", "equal within 5%") is judged from pairs of configurations that differ in
nothing but what the advice names, in the same blocks. Where only pairs exist that differ in more, it is not separable:
the mistake that the advice may rest on isn't repeated. `verdicts` says how an interval becomes a verdict.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tuner.analysis.block_fit import BlockFit, Observation
from pipeline_tuner.analysis.claim_lists import common_context, judging_list, matches, settings
from pipeline_tuner.analysis.goals import goal_score, known_values, larger_is_better
from pipeline_tuner.analysis.intervals import exponential, log_interval, mean_interval, t_quantile
from pipeline_tuner.analysis.verdicts import Verdict, VerdictKind, measured_gain, ratio_verdict, value_verdict
from pipeline_tuner.claim import Claim, Range
from pipeline_tuner.expression import parsed
from pipeline_tuner.measurement import MAY_BE_NEGATIVE, is_usable
from pipeline_tuner.metric_names import metric_unit
from pipeline_tuner.recommendation import MIN_BLOCKS, Interval
from pipeline_tuner.space import configuration_id
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import TrialResult
from pipeline_tuner.wording import listed

MIN_DF = 5
"""Degrees of freedom from which the noise of all trials may stand in for that of a pair."""
PAIR_NOISE = 2.0
"""In too few blocks to tell, a pair is taken to be so much noisier than the usual: configurations differ in that."""


@dataclass(frozen=True)
class _Context:
    """One setting of the parameters that the advice doesn't name, and the log gains in it by block."""

    words: str
    by_block: Mapping[tuple[str, int, int], float]


def check_claims(study: Study, options: SweepOptions, results: Sequence[TrialResult]) -> tuple[Verdict, ...]:
    """A verdict on each of the study's claims, in their order."""
    measured = [r for r in results if r.status == "measured" and r.plan.fraction == 1.0]
    return tuple(_verdict(study, options, claim, measured) for claim in study.claims)


def _verdict(study: Study, options: SweepOptions, claim: Claim, measured: list[TrialResult]) -> Verdict:
    if claim.is_advice:
        return _advice(study, options, claim, measured)
    if claim.metric is not None and claim.value is not None:
        return _value(study, options, claim, measured)
    return Verdict(claim, VerdictKind.NOT_COMPARABLE, claim.note or "it names nothing that could be measured")


def _advice(study: Study, options: SweepOptions, claim: Claim, measured: list[TrialResult]) -> Verdict:
    better = [r for r in measured if matches(study.space, r.plan.configuration, claim.better)]
    worse = [r for r in measured if matches(study.space, r.plan.configuration, claim.worse)]
    if not better or not worse:
        missing = claim.worse if better else claim.better
        return Verdict(claim, VerdictKind.NOT_COMPARABLE, f"no trial had {settings(missing)}{_where(study, claim)}")
    named = set(claim.better) | set(claim.worse)
    contexts = _paired_scores(study, options, claim, better, worse, named)
    if not contexts:
        others = _other_differences(better, worse, named)
        reason = f"where both were measured, {listed(others)} differed too{_where(study, claim)}"
        return Verdict(claim, VerdictKind.NOT_SEPARABLE, reason)
    against = _contradiction(options, contexts)
    if against:
        return Verdict(claim, VerdictKind.NOT_SEPARABLE, against)
    gain = _gain(_by_block(contexts), _noise(study, options, claim, measured), options.budget.confidence)
    return ratio_verdict(claim, gain, options.budget.indifference)


def _contradiction(options: SweepOptions, contexts: Sequence[_Context]) -> str:
    """Why the advice holds in one setting and not in another; empty where the settings agree."""
    gains = {c.words: log_interval(list(c.by_block.values()), options.budget.confidence) for c in contexts}
    helped = [f"{measured_gain(g)} with {words}" for words, g in gains.items() if g.n >= MIN_BLOCKS and g.low > 1]
    hurt = [f"{measured_gain(g)} with {words}" for words, g in gains.items() if g.n >= MIN_BLOCKS and g.high < 1]
    return f"it depends on the rest: {helped[0]}, but {hurt[0]}" if helped and hurt else ""


def _by_block(contexts: Sequence[_Context]) -> list[float]:
    """By block, the mean log gain over the settings."""
    blocks = defaultdict(list)
    for context in contexts:
        for place, gain in context.by_block.items():
            blocks[place].append(gain)
    return [math.fsum(found) / len(found) for found in blocks.values()]


def _noise(study: Study, options: SweepOptions, claim: Claim, measured: Sequence[TrialResult]) -> BlockFit:
    """What one run varies by, from all trials: few blocks of two configurations can't say it themselves."""
    blocks = {place: number for number, place in enumerate(dict.fromkeys(_place(r) for r in measured))}
    scored = ((r, _score(study, options, claim, r)) for r in measured)
    return BlockFit.of(
        [
            Observation(configuration_id(r.plan.configuration), blocks[_place(r)], math.exp(-score))
            for r, score in scored
            if score is not None
        ]
    )


def _gain(differences: list[float], noise: BlockFit, confidence: float) -> Interval:
    """The mean gain; in fewer than three blocks its interval is by PAIR_NOISE and the noise of all trials, if known."""
    if len(differences) >= MIN_BLOCKS or noise.df < MIN_DF:
        return log_interval(differences, confidence)
    center, n = math.fsum(differences) / len(differences), len(differences)
    half = PAIR_NOISE * t_quantile(confidence, noise.df) * math.sqrt(2 * noise.variance / n)
    return exponential(Interval(center, center - half, center + half, confidence, n))


def _paired_scores(
    study: Study,
    options: SweepOptions,
    claim: Claim,
    better: Sequence[TrialResult],
    worse: Sequence[TrialResult],
    named: set[str],
) -> list[_Context]:
    """The pairs in one block that differ in the named parameters only, by the setting of all others."""
    contexts: dict[str, dict[tuple[str, int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in better:
        for other in worse:
            if _place(one) != _place(other):
                continue
            rest = common_context(one.plan.configuration, other.plan.configuration, named)
            mine, theirs = _score(study, options, claim, one), _score(study, options, claim, other)
            if rest is not None and mine is not None and theirs is not None:
                contexts[settings(rest) or "nothing else"][_place(one)].append(mine - theirs)
    return [
        _Context(words, {place: math.fsum(found) / len(found) for place, found in blocks.items()})
        for words, blocks in contexts.items()
    ]


def _place(result: TrialResult) -> tuple[str, int, int]:
    return result.plan.phase, result.plan.round, result.plan.block


def _other_differences(better: Sequence[TrialResult], worse: Sequence[TrialResult], named: set[str]) -> list[str]:
    """The parameters, beyond those named, in which the closest pair differs; the blocks where none does."""
    pairs = [
        sorted(
            name
            for name in one.plan.configuration
            if name not in named
            and one.plan.configuration[name] != other.plan.configuration.get(name, one.plan.configuration[name])
        )
        for one in better
        for other in worse
    ]
    return min(pairs, key=len) or ["the block (they never ran side by side)"]


def _score(study: Study, options: SweepOptions, claim: Claim, result: TrialResult) -> float | None:
    """The claim's metric (the primary goal without one) as a log in which larger is better."""
    try:
        if claim.metric is None:
            return goal_score(study, options.primary_goal, result)
        value = _metric_value(study, claim.metric, result)
    except ValueError:
        return None
    return None if value is None else (1.0 if _is_gain(study, claim.metric) else -1.0) * math.log(value)


def _is_gain(study: Study, metric: str) -> bool:
    """Whether a larger metric is better: as a goal of the study says, else by its unit."""
    for name, goal in study.goals.items():
        if metric in (goal.maximize, goal.minimize):
            return larger_is_better(study, name)
    return metric_unit(metric).endswith("/s") and metric not in MAY_BE_NEGATIVE


def _metric_value(study: Study, metric: str, result: TrialResult) -> float | None:
    value = parsed(metric).evaluate(known_values(study, result))
    return float(value) if isinstance(value, int | float) and is_usable(value) else None


def _value(study: Study, options: SweepOptions, claim: Claim, measured: list[TrialResult]) -> Verdict:
    metric, claimed = claim.metric or "", claim.value or Range(0, 0)
    values: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for result in measured:
        if matches(study.space, result.plan.configuration, claim.better):
            try:
                values[_place(result)] += filter(_is_number, [parsed(metric).evaluate(known_values(study, result))])
            except ValueError as error:
                return Verdict(claim, VerdictKind.NOT_COMPARABLE, f"{error}, which was not measured")
    blocks = [found for found in values.values() if found]
    if not blocks:
        reason = f"{metric} was not measured"
        if claim.better:
            reason = f"no trial had {settings(claim.better)}{_where(study, claim)}"
        return Verdict(claim, VerdictKind.NOT_COMPARABLE, "; ".join(filter(None, [claim.note, reason])))
    return value_verdict(claim, claimed, _typical(blocks, options.budget.confidence), options.budget.indifference)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _typical(blocks: Sequence[Sequence[float]], confidence: float) -> Interval:
    """The value over the blocks: trials of one block had the same machine. By ratios, unless a value is 0."""
    if all(value > 0 for block in blocks for value in block):
        return log_interval([math.fsum(map(math.log, block)) / len(block) for block in blocks], confidence)
    return mean_interval([math.fsum(block) / len(block) for block in blocks], confidence)


def _where(study: Study, claim: Claim) -> str:
    """The study's list whose configurations settle the claim, in words."""
    name = judging_list(study, claim)
    return f": the strategy {name} measures it" if name else ""
