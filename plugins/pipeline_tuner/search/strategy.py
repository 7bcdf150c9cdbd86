"""The base of every strategy (`Strategy`), what it sees of a sweep (`SweepSoFar`), and how many trials the budget
leaves. No I/O.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline_tuner.analysis.costs import cost_so_far
from pipeline_tuner.analysis.earlier_sweeps import not_again
from pipeline_tuner.analysis.fidelity import agreement, screening_fraction
from pipeline_tuner.analysis.interim_selection import search_trials
from pipeline_tuner.analysis.selection import Selection
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.search.memory_constraint import MemoryConstraint
from pipeline_tuner.search.work_length import START_WORK_S, WorkLength, work_length
from pipeline_tuner.space import Configuration, configuration_id, difference
from pipeline_tuner.study import Study
from pipeline_tuner.sweep import SweepOptions
from pipeline_tuner.trial import Candidate, TrialResult

READABLE_LABEL = 48
READABLE_AGAINST_PRESET = 72
UNLIMITED = 1_000_000
MAX_ATTEMPTS = 2
"""A trial that the infrastructure lost is tried this often."""


@dataclass(frozen=True)
class SweepSoFar:
    """A sweep just before one of its rounds: everything is read off the results of the rounds before."""

    study: Study
    options: SweepOptions
    earlier: tuple[TrialResult, ...]
    round_number: int
    history: tuple[TrialResult, ...] = ()
    """Trials of earlier sweeps of the same study, data and machine, newest first."""
    related: tuple[TrialResult, ...] = ()
    """The same of other data (another size, data that have changed), newest first: a weaker prior."""
    reserved: int = 0
    """The trials that the confirmation needs, as far as that is known."""

    @classmethod
    def before(
        cls,
        study: Study,
        options: SweepOptions,
        results: Iterable[TrialResult],
        round_number: int,
        history: Iterable[TrialResult] = (),
        related: Iterable[TrialResult] = (),
    ) -> SweepSoFar:
        """Only the search phase of this sweep and earlier rounds count, so that planning a round again repeats it."""
        earlier = tuple(
            r
            for r in results
            if r.plan.sweep_id == options.sweep_id and r.plan.phase == "search" and r.plan.round < round_number
        )
        return cls(study, options, earlier, round_number, tuple(history), tuple(related))

    @cached_property
    def candidates(self) -> dict[str, Candidate]:
        """Every candidate planned so far, by label."""
        return {r.plan.label: Candidate(r.plan.label, r.plan.configuration) for r in self.earlier}

    @cached_property
    def seen(self) -> frozenset[str]:
        """The identities of all configurations planned so far."""
        return frozenset(candidate.configuration_id for candidate in self.candidates.values())

    def twins(self, label: str) -> list[Candidate]:
        """The candidates with the label's configuration: more than one in a deliberate A/A test."""
        identity = self.candidates[label].configuration_id
        return [candidate for candidate in self.candidates.values() if candidate.configuration_id == identity]

    def planned_as(self, candidate: Candidate) -> Candidate:
        """The candidate that a configuration was planned as in this sweep; itself where it was not."""
        same = (c for c in self.candidates.values() if c.configuration_id == candidate.configuration_id)
        return next(same, candidate)

    @property
    def control(self) -> Candidate:
        """The configuration repeated in every block."""
        return self.study.control_candidate

    @cached_property
    def retries(self) -> tuple[str, ...]:
        """Labels that the infrastructure lost before there was any evidence on them, and that may be tried again."""
        with_evidence = {r.plan.label for r in self.earlier if r.is_evidence}
        attempts: dict[str, int] = {}
        for r in self.earlier:
            attempts[r.plan.label] = attempts.get(r.plan.label, 0) + 1
        return tuple(label for label, n in attempts.items() if label not in with_evidence and n < MAX_ATTEMPTS)

    @cached_property
    def failed(self) -> frozenset[str]:
        """Labels with a failure that is evidence: they are not asked again."""
        return frozenset(r.plan.label for r in self.earlier if r.status == "failed" and r.is_evidence)

    @property
    def failed_configurations(self) -> frozenset[str]:
        """The identities of the configurations of `failed`."""
        return frozenset(self.candidates[label].configuration_id for label in self.failed)

    @cached_property
    def fraction(self) -> float:
        """The part of the workload to explore on: all of it, unless a smaller one is seen to rank as the whole does."""
        part = screening_fraction(self.study, self.options)
        if part == 1.0 or self.round_number == 1:
            return part
        check = agreement(self.study, self.options, self.earlier)
        return part if check is not None and check.holds else 1.0

    @cached_property
    def work_length(self) -> WorkLength | None:
        """What this and earlier sweeps say about the work that a trial should measure."""
        return work_length([*self.earlier, *self.history])

    @property
    def min_work_s(self) -> float:
        """Work that a trial measures at least, in s: the study's, else what its trials so far make worth while."""
        declared = self.options.budget.min_work_s
        if declared is not None:
            return declared
        return START_WORK_S if self.work_length is None else self.work_length.seconds

    @cached_property
    def not_again(self) -> tuple[Candidate, ...]:
        """The presets that this sweep leaves out for what earlier ones showed."""
        return not_again(self.study, self.options, self.history)

    def in_full(self, label: str) -> bool:
        """Whether a candidate has evidence on the whole workload."""
        return any(r.plan.label == label and r.plan.fraction == 1.0 and r.is_evidence for r in self.earlier)

    @cached_property
    def memory(self) -> MemoryConstraint:
        """What trials that ran out of memory, in this sweep, rule out."""
        return MemoryConstraint.of(self.study.space, self.earlier)

    @property
    def rounds_left(self) -> int:
        """This round and those after it."""
        return self.options.budget.rounds - self.round_number + 1

    @cached_property
    def room(self) -> int:
        """The trials that this and later rounds may still plan, by the budget of trials, minutes and cost."""
        in_time = min(
            trials_in_time(self.options, self.earlier, self.history, side_by_side=self.study.runner.concurrent),
            trials_for_cost(self.study, self.options, self.earlier, self.history),
        )
        # Of the whole budget: what is kept back must not shrink with every round.
        spent = len(self.earlier)
        whole = min(self.options.budget.trials, spent + in_time)
        return max(0, search_trials(self.options, whole, self.reserved, spent) - spent)

    def generator(self, *salt: int) -> np.random.Generator:
        """Random numbers that depend on the sweep and the round only, so that a retry plans the same."""
        sweep = zlib.crc32(self.options.sweep_id.encode())
        return np.random.default_rng([self.options.seed & 0xFFFFFFFF, sweep, self.round_number, *salt])

    def fits(self, configuration: Configuration) -> bool:
        """Whether the study, which may have changed since, still allows a configuration as it is."""
        try:
            return dict(self.study.space.checked(configuration)) == dict(configuration)
        except ConfigurationError:
            return False

    def fresh(self, configurations: Iterable[Configuration], count: int) -> tuple[Candidate, ...]:
        """The first `count` configurations not seen before that have memory enough, labelled by what they change."""
        found: list[Candidate] = []
        known = set(self.seen) | {self.control.configuration_id}
        for configuration in configurations:
            if len(found) == count:
                break
            identity = configuration_id(configuration)
            if identity not in known and not self.memory.forbids(configuration):
                known.add(identity)
                found.append(Candidate(self.label_of(configuration), configuration))
        return tuple(found)

    def label_of(self, configuration: Configuration) -> str:
        """A preset's name, or what changes against the control; where that is long, against the nearest preset.

        `copy_8`, `partitions=8`, or `copy_8 with partitions=16`; the identity where both are long.
        """
        identity = configuration_id(configuration)
        presets = self.study.preset_candidates
        for preset in presets:
            if preset.configuration_id == identity:
                return preset.label
        changes = difference(configuration, self.control.configuration)
        if len(changes) <= READABLE_LABEL:
            return changes
        nearest = min(presets, key=lambda preset: _distance(configuration, preset.configuration))
        label = f"{nearest.label} with {difference(configuration, nearest.configuration)}"
        return label if len(label) <= READABLE_AGAINST_PRESET else f"c{identity}"


def _distance(configuration: Configuration, other: Configuration) -> int:
    """The parameters in which two configurations differ, those that only one of them has among them."""
    return sum(configuration.get(name) != other.get(name) for name in {*configuration, *other})


def trials_for_cost(
    study: Study, options: SweepOptions, results: Sequence[TrialResult], history: Sequence[TrialResult] = ()
) -> int:
    """How many more usual trials the budget of cost pays for. Raises StudyError as `cost_so_far`."""
    cost = cost_so_far(study, options, results, history)
    return cost.trials if cost else UNLIMITED


def trials_in_time(
    options: SweepOptions,
    results: Sequence[TrialResult],
    history: Sequence[TrialResult] = (),
    *,
    side_by_side: int = 1,
) -> int:
    """How many more trials of the usual length the budget of minutes allows, so many of them side by side.

    Before the first is measured, earlier sweeps tell the usual length; without them there is no limit yet.
    """
    if options.budget.minutes is None:
        return UNLIMITED
    lengths = _seconds(options, results)
    spent_s, usual = sum(lengths), lengths or _seconds(options, history)
    usual_s = sum(usual) / max(len(usual), 1)
    left_s = options.budget.minutes * 60 * side_by_side - spent_s
    return UNLIMITED if usual_s == 0 else math.floor(max(left_s, 0) / usual_s)


def _seconds(options: SweepOptions, results: Sequence[TrialResult]) -> list[float]:
    """What each trial took; one that was ended without a measurement took all the time that it may."""
    measured = [r.measurement for r in results if r.measurement is not None]
    timeouts = sum(r.failure == "timeout" and r.measurement is None for r in results)
    return [(m.ended_at - m.started_at).total_seconds() for m in measured] + timeouts * [options.budget.trial_timeout_s]


class Strategy(ABC):
    """Which configurations to try next. It keeps nothing: all it knows stands in the sweep's results."""

    @abstractmethod
    def propose(self, sweep: SweepSoFar) -> tuple[Candidate, ...]:
        """This round's candidates beside the control: new ones, and any earlier one that they are to be compared with.

        Nothing when the strategy has no more to try: the round then repeats what is not yet told apart.
        """

    def finalists(self, sweep: SweepSoFar) -> tuple[str, ...]:
        """The labels that the repeats choose among; none to leave it to `analysis.estimates.finalists`."""
        return ()

    def finals(
        self, sweep: SweepSoFar, selections: Mapping[str, Selection], picks: Mapping[str, str | None]
    ) -> list[str]:
        """The labels that the confirmation measures beside the control: each goal's pick, unless it is the control."""
        return list(dict.fromkeys(pick for pick in picks.values() if pick not in (None, sweep.control.label)))
