"""The strategy `presets`, and a study's own lists of configurations (`strategies`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline_tuner.search.strategy import Strategy, SweepSoFar
from pipeline_tuner.space import Configuration
from pipeline_tuner.trial import Candidate


@dataclass(frozen=True)
class Presets(Strategy):
    """Every preset once. Two names for one configuration are both kept: a deliberate A/A test."""

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """All presets in the first round, in the study's order."""
        if sweep.round_number > 1:
            return ()
        return tuple(c for c in sweep.study.preset_candidates if c.label != sweep.control.label)[
            : max(sweep.room - 1, 0)
        ]


@dataclass(frozen=True)
class NamedList(Strategy):
    """The configurations of one of the study's `strategies`, as documented, repeats included."""

    name: str

    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """The whole list in the first round, also where the minutes are short: a part of an experiment says little."""
        if sweep.round_number > 1:
            return ()
        labels: dict[str, int] = {}
        found = []
        for entry in sweep.study.strategies[self.name]:
            candidate = _candidate(sweep, entry)
            label = candidate.label
            labels[label] = labels.get(label, 0) + 1
            found.append(candidate if labels[label] == 1 else replace(candidate, label=f"{label} #{labels[label]}"))
        return tuple(found)[: sweep.options.budget.trials - 1]


def _candidate(sweep: SweepSoFar, entry: Configuration | str) -> Candidate:
    if isinstance(entry, str):
        return sweep.study.preset(entry)
    configuration = sweep.study.space.checked(entry)
    return Candidate(sweep.label_of(configuration), configuration)
