"""The stages of a staged sweep: what each stage changed, and whether it paid. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tuner.analysis.evidence import Evidence, settled
from pipeline_tuner.analysis.interim_selection import search_selection
from pipeline_tuner.analysis.selection import select
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import Candidate, TrialResult


@dataclass(frozen=True)
class Step:
    """One stage: where it started, where it led, and the gain between the two."""

    stage: str
    before: Candidate
    after: Candidate
    """The same as `before` where nothing paid."""
    gain: Interval | None
    """Of `after` over `before` (above 1: better), block effects removed; None where it can't be told.

    It comes from the search itself, so it flatters: the sum of all steps is what the confirmation reports.
    """

    @property
    def paid(self) -> bool:
        """Whether the stage changed anything."""
        return self.after.label != self.before.label


def first_round(stage: int, stages: int, rounds: int) -> int:
    """The round (from 1) in which a stage (from 0) begins; several share one where there are fewer rounds."""
    return stage * rounds // stages + 1


def steps(study: Study, options: SweepOptions, results: Sequence[TrialResult]) -> tuple[Step, ...]:
    """The steps of the stages that have ended or that have results, in order.

    A stage keeps the leader of the primary goal where the configuration that it started from is shown worse, or,
    before the noise is known, where it looks worse by the indifference zone.
    """
    search = [r for r in results if r.plan.phase == "search"]
    last = max((r.plan.round for r in search), default=0)
    found: list[Step] = []
    base = study.control_candidate
    for number, stage in enumerate(study.stages):
        start = first_round(number, len(study.stages), options.budget.rounds)
        end = first_round(number + 1, len(study.stages), options.budget.rounds) - 1
        if start > last:
            break
        after = _kept(study, options, base, [r for r in search if r.plan.round <= max(end, start)])
        found.append(Step(stage, base, after, _gain(study, options, results, base, after)))
        base = after
    return tuple(found)


def _kept(study: Study, options: SweepOptions, base: Candidate, results: Sequence[TrialResult]) -> Candidate:
    selection = search_selection(study, options, options.primary_goal, results)
    standings = {standing.label: standing for standing in selection.standings}
    if selection.best is None or selection.best == base.label:
        return base
    if base.label in standings:
        standing = standings[base.label]
        noise_is_known = standing.to_best is not None
        if standing.is_tied if noise_is_known else standing.worse_by <= options.budget.indifference:
            return base
    configurations = {r.plan.label: r.plan.configuration for r in results}
    return Candidate(selection.best, configurations[selection.best])


def _gain(
    study: Study, options: SweepOptions, results: Sequence[TrialResult], before: Candidate, after: Candidate
) -> Interval | None:
    evidence = Evidence(study, options, options.primary_goal, settled(results))
    if before.label not in evidence.namesakes or after.label not in evidence.namesakes:
        return None
    reference = evidence.namesakes[before.label]
    selection = select(evidence.observations("search"), control=reference, confidence=options.budget.confidence)
    standings = {standing.label: standing for standing in selection.standings}
    found = standings.get(evidence.namesakes[after.label])
    return found.to_control if found else None
