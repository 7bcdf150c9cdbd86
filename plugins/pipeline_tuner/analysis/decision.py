"""The decision for one goal: best, tied, better, keep or undecided, with gain, regret bound and confidence. No I/O.

The search decides *which* configuration (`selection.py`); the fresh blocks alone say *how good* it is, because the data
that chose a configuration flatter it. A decision changes what runs only where they confirm it. benchmarks/decisions.py
measures how often that is wrong, on made-up sweeps whose truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline_tuner.analysis.block_fit import BlockFit, Observation
from pipeline_tuner.analysis.selection import (
    DEFAULT_CAP,
    Selection,
    after,
    as_good,
    confirmed_gain,
    gains_over,
    regret_bound,
    select,
)
from pipeline_tuner.recommendation import MIN_BLOCKS, DecisionStatus, Interval

MIN_EXACT_BLOCKS = 2
"""Enough blocks of a metric that never varies."""


def _first(labels: Sequence[str]) -> str:
    return labels[0]


@dataclass(frozen=True)
class Decision:
    """One goal's decision. A configuration has one label here, whatever its names are."""

    search: Sequence[Observation]
    confirmation: Sequence[Observation]
    """Of the fresh blocks: numbered by themselves."""
    finalists: Sequence[str]
    """What may be picked."""
    control: str | None
    reference: str | None
    """What runs now; None where it was not measured."""
    is_control_comparable: bool = True
    is_reference_excluded: bool = False
    """Whether the reference can't serve the goal: then no ratio to it is needed to leave it."""
    may_keep: bool = True
    """Whether the reference is in the running, and not alone."""
    prefer: Callable[[Sequence[str]], str] = _first
    """Picks one of several that are equally good."""
    indifference: float = 0.05
    confidence: float = 0.95
    cap: int = DEFAULT_CAP
    """As in `select`."""

    @cached_property
    def selection(self) -> Selection:
        """What the search says about the finalists."""
        return select(
            self.search,
            control=self.control,
            candidates=self.finalists,
            indifference=self.indifference,
            confidence=self.confidence,
            cap=self.cap,
        )

    @cached_property
    def fresh(self) -> Sequence[Observation]:
        """What says how good a configuration is: the confirmation; all trials of a metric that never varies.

        The search flatters what it chose by the noise that it chose it by. Where there is none, it flatters nothing.
        """
        if not self.selection.is_exact:
            return self.confirmation
        return after(self.search, self.confirmation)

    @property
    def _enough(self) -> int:
        return MIN_EXACT_BLOCKS if self.selection.is_exact else MIN_BLOCKS

    @cached_property
    def pick(self) -> str | None:
        """What would replace the reference: the preferred one of the certified ties, else the best guess.

        Of what fresh blocks measured, if they measured any candidate: the rest can't be confirmed any more.
        """
        confirmed = [label for label in self._certified if self._is_fresh(label)]
        if confirmed or (self._certified and not self._fresh_standings):
            return self.prefer(confirmed or self._certified)
        return next(iter(self._fresh_standings), self.selection.best)

    @property
    def _certified(self) -> tuple[str, ...]:
        return self.selection.interchangeable if self.selection.status != "undecided" else ()

    @cached_property
    def _fresh_standings(self) -> list[str]:
        """The finalists that fresh blocks measured beside the reference, best estimate of the search first."""
        standings = (standing.label for standing in self.selection.standings)
        return [label for label in standings if label != self.reference and self._is_fresh(label)]

    def _is_fresh(self, label: str) -> bool:
        blocks = {o.block for o in self.fresh if o.label == label}
        held = {o.block for o in self.fresh if o.label == self.reference}
        return len(blocks if self.is_reference_excluded else blocks & held) >= self._enough

    def confirmed(self, label: str) -> Interval | None:
        """A configuration against the control, from fresh blocks."""
        return self._over(label, self.control, self.confidence)

    def _over(self, label: str, other: str | None, confidence: float) -> Interval | None:
        if other is None:
            return None
        search = () if self.selection.is_exact else self.search
        return confirmed_gain(self.fresh, label, other, confidence=confidence, search=search)

    @cached_property
    def gain(self) -> Interval | None:
        """What to run against the control, from fresh blocks; None where the goal is not about its kind."""
        return self.confirmed(self.label) if self.label and self.is_control_comparable else None

    @cached_property
    def reference_gain(self) -> Interval | None:
        """The pick against the reference, from fresh blocks that hold both."""
        if self.pick is None or self.is_reference_excluded:
            return None
        return self._over(self.pick, self.reference, self.confidence)

    @cached_property
    def contradicts(self) -> bool:
        """Whether the fresh blocks found the pick to be worse than the control or the reference."""
        over_control = self.confirmed(self.pick) if self.pick and self.is_control_comparable else None
        return any(gain is not None and gain.high < 1.0 for gain in (over_control, self.reference_gain))

    @cached_property
    def status(self) -> DecisionStatus:
        """A change only where fresh blocks confirm that it is better than the reference."""
        if self.pick is None:
            return DecisionStatus.UNDECIDED
        if self.pick != self.reference and self._is_change_confirmed:
            return self._change
        return DecisionStatus.KEEP if self._is_reference_bounded else DecisionStatus.UNDECIDED

    @property
    def _change(self) -> DecisionStatus:
        if self.pick not in self._certified or self.contradicts:
            return DecisionStatus.BETTER
        return DecisionStatus.BEST if len(self._ties_of(self.pick)) == 1 else DecisionStatus.TIED

    @property
    def _is_change_confirmed(self) -> bool:
        if self.reference_gain is not None and self.reference_gain.shows_gain:
            return True
        # Against something that fails there is no ratio: it is enough that the pick works.
        return self.is_reference_excluded and self._is_fresh(self.pick or "") and math.isfinite(self._regret_of_pick)

    @property
    def _is_reference_bounded(self) -> bool:
        """Whether reference and pick were compared in fresh blocks (or are one), and the regret is bounded."""
        if self.reference is None or self.is_reference_excluded or not self.may_keep:
            return False
        is_compared = self.reference_gain is not None and self.reference_gain.is_enough
        return (self.pick == self.reference or is_compared) and math.isfinite(self._regret_of_reference)

    @cached_property
    def label(self) -> str | None:
        """What to run: the reference where nothing is shown better, the pick otherwise."""
        return self.reference if self.status is DecisionStatus.KEEP else self.pick

    @cached_property
    def ties(self) -> tuple[str, ...]:
        """What is as good as `label` as far as anybody can tell, best estimate first."""
        return self._ties_of(self.label) if self.label else self.selection.ties

    def _ties_of(self, label: str) -> tuple[str, ...]:
        """What search and confirmation don't show to be worse; of certified ones, what the search has not either."""
        found = as_good(self._everything, label, self.finalists, confidence=self.confidence)
        return tuple(x for x in found if x in self.selection.ties) if label in self._certified else found

    @cached_property
    def gains(self) -> Mapping[str, Interval]:
        """Each configuration against the control, by search and confirmation together: flattering, as the search is."""
        return gains_over(self._everything, self.control, self.confidence)

    @cached_property
    def regret_bound(self) -> float | None:
        """The fraction by which the best of the finalists may be better than `label`; None where it isn't known."""
        bound = self._regret_of_reference if self.status is DecisionStatus.KEEP else self._regret_of_pick
        return bound if math.isfinite(bound) else None

    @cached_property
    def _regret_of_pick(self) -> float:
        return self._regret_of(self.pick) if self.pick else math.inf

    @cached_property
    def _regret_of_reference(self) -> float:
        is_enough = sum(o.label == self.reference for o in (*self.search, *self.confirmation)) >= self._enough
        return self._regret_of(self.reference) if self.reference and is_enough else math.inf

    def _regret_of(self, label: str) -> float:
        return regret_bound(self._everything, label, self.finalists, confidence=self.confidence)

    @cached_property
    def _everything(self) -> BlockFit:
        """Search and confirmation: a bound that holds for all finalists at once is not flattered by the choice."""
        return BlockFit.of(after(self.search, self.confirmation))

    @property
    def sureness(self) -> float:
        """1 - the probability that the decision is wrong, jointly over candidates and looks."""
        if self.status is not DecisionStatus.UNDECIDED:
            return self.confidence
        return min(self.confidence, 1.0 - self.selection.error_probability)
