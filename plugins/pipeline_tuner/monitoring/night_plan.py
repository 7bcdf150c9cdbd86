"""What a night measures: the production configuration, the control, a few challengers; fresh blocks only after a
change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, zip_longest

from pipeline_tuner.analysis.earlier_sweeps import earlier_gains
from pipeline_tuner.analysis.selection import Selection
from pipeline_tuner.search.strategy import Strategy, SweepSoFar
from pipeline_tuner.trial import Candidate, TrialResult

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Nightly(Strategy):
    """Champions first, then challengers, all in the first round."""

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """The champions of the night's goals and as many challengers as the study's nights ask for."""
        if sweep.round_number > 1:
            return ()
        production = _distinct(sweep, champions(sweep).values())
        whole = _distinct(sweep, (*production, *challengers(sweep)))
        # Short of time there are fewer challengers, so that production keeps the blocks that an answer takes.
        affordable = max(len(production), sweep.room // sweep.options.budget.blocks - 1)
        return whole[: max(0, min(affordable, sweep.room - 1))]

    def finals(
        self, sweep: SweepSoFar, selections: Mapping[str, Selection], picks: Mapping[str, str | None]
    ) -> list[str]:
        """Champion and pick of each goal for which the first blocks point at alerts; nothing on a quiet night."""
        labels: list[str] = []
        known = champions(sweep)
        for goal, selection in selections.items():
            champion = sweep.planned_as(known[goal]).label if goal in known else sweep.control.label
            if _points_at_change(selection, champion):
                labels += [champion, picks[goal] or champion]
        return list(dict.fromkeys(label for label in labels if label != sweep.control.label))


def _distinct(sweep: SweepSoFar, members: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each configuration once, without the control's."""
    found: dict[str, Candidate] = {}
    for candidate in members:
        if candidate.configuration_id != sweep.control.configuration_id:
            found.setdefault(candidate.configuration_id, candidate)
    return tuple(found.values())


def champions(sweep: SweepSoFar) -> dict[str, Candidate]:
    """What production ran with by goal, under labels that stand for nothing else in this night."""
    taken = {preset.label: preset.configuration_id for preset in sweep.study.preset_candidates}
    found: dict[str, Candidate] = {}
    for goal, champion in sweep.options.champions.items():
        candidate = Candidate(champion.label, champion.configuration)
        if taken.setdefault(champion.label, candidate.configuration_id) != candidate.configuration_id:
            candidate = Candidate(sweep.label_of(champion.configuration), champion.configuration)
        found[goal] = candidate
    return found


def challengers(sweep: SweepSoFar) -> tuple[Candidate, ...]:
    """The best known and the longest not looked at, in turn; whatever failed in an earlier sweep stays out."""
    pool = {c.configuration_id: c for c in _known(sweep)}
    gains = earlier_gains(sweep.study, sweep.options.primary_goal, sweep.history)
    best = sorted((i for i in pool if i in gains), key=lambda identity: -gains[identity].value)
    seen = dict.fromkeys(pool, LONG_AGO)
    for result in sweep.history:
        identity = _candidate(result).configuration_id
        if identity in seen and result.measurement is not None:
            seen[identity] = max(seen[identity], result.measurement.ended_at)
    oldest = sorted(pool, key=lambda identity: seen[identity])
    order = dict.fromkeys(identity for identity in chain(*zip_longest(best, oldest)) if identity)
    return tuple(pool[identity] for identity in order)[: sweep.study.nights.challengers]


def _known(sweep: SweepSoFar) -> Iterator[Candidate]:
    """Every preset, then every configuration of earlier sweeps, that can be measured against production."""
    failed = {_candidate(r).configuration_id for r in sweep.history if r.status == "failed" and r.is_evidence}
    out = failed | {sweep.control.configuration_id} | {c.configuration_id for c in champions(sweep).values()}
    presets = sweep.study.preset_candidates
    names = {candidate.label for candidate in (*presets, *champions(sweep).values())}
    earlier = (
        candidate
        if candidate.label not in names
        else Candidate(sweep.label_of(candidate.configuration), candidate.configuration)
        for candidate in map(_candidate, sweep.history)
    )
    yield from (c for c in chain(earlier, presets) if c.configuration_id not in out and sweep.fits(c.configuration))


def _candidate(result: TrialResult) -> Candidate:
    return Candidate(result.plan.label, result.plan.configuration)


def _points_at_change(selection: Selection, champion: str) -> bool:
    standing = next((s for s in selection.standings if s.label == champion), None)
    if standing is None:
        return selection.status != "undecided"
    lost = standing.to_control is not None and standing.to_control.high < 1.0
    return lost or (selection.status != "undecided" and champion not in selection.ties)
