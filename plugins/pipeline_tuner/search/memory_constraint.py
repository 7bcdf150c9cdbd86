"""What running out of memory excludes: configurations with less memory per task than one that failed. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline_tuner.space import Configuration, Space
from pipeline_tuner.trial import TrialResult


@dataclass(frozen=True)
class MemoryConstraint:
    """Configurations that ran out of memory, and those that worked."""

    space: Space
    starved: tuple[Configuration, ...]
    fed: tuple[Configuration, ...]

    @classmethod
    def of(cls, space: Space, results: Iterable[TrialResult]) -> MemoryConstraint:
        """From a sweep's results so far."""
        known = [r for r in results if set(r.plan.configuration) <= set(space.parameters)]
        return cls(
            space,
            tuple(r.plan.configuration for r in known if r.failure == "out_of_memory"),
            tuple(r.plan.configuration for r in known if r.status == "measured"),
        )

    def forbids(self, configuration: Configuration) -> bool:
        """Whether a configuration would run out of memory by what is known.

        One that makes the same choices (its strategy, say) as one that ran out of memory is out with as much memory
        or less. Once two different choices ran out of it and nothing has worked with so little, everything is.
        """
        starving = [starved for starved in self.starved if self._has_no_more(configuration, starved)]
        if any(self._choices(starved) == self._choices(configuration) for starved in starving):
            return True
        several = len({self._choices(starved) for starved in starving}) > 1
        return several and not any(self._has_no_more(fed, configuration) for fed in self.fed)

    def _has_no_more(self, one: Configuration, other: Configuration) -> bool:
        """Whether `one` has at most the memory of `other`; never where the space has no amounts of memory."""
        amounts = {name: p.sizes for name, p in self.space.parameters.items() if p.sizes}
        return bool(amounts) and all(
            sizes[one.get(name, default)] <= sizes[other.get(name, default)]
            for name, sizes in amounts.items()
            for default in (self.space.parameters[name].default,)
        )

    def _choices(self, configuration: Configuration) -> tuple[object, ...]:
        listed = ((name, p) for name, p in self.space.parameters.items() if p.type == "categorical")
        return tuple(configuration.get(name) for name, p in listed if not p.sizes and not p.is_switch)
