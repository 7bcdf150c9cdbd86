"""Which claims a sweep can judge: which of a study's lists of configurations has what a claim compares. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from pipeline_tuner.claim import Claim
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.space import Configuration, Scalar, Space
from pipeline_tuner.study import Study

PRESETS = "presets"
"""The list of all presets: an adaptive sweep begins with it, the strategy of that name measures nothing else."""


@dataclass(frozen=True)
class Unjudged:
    """A claim that no list of its study can judge, and what is missing."""

    place: int
    """From 1, in the study's order."""
    claim: Claim
    problem: str

    def __str__(self) -> str:
        return f"claims, entry {self.place} ({self.claim.text}): {self.problem}"


def matches(space: Space, configuration: Configuration, part: Configuration) -> bool:
    """Whether a whole configuration has the part's values; an inactive parameter has its default."""
    defaults = {name: parameter.default for name, parameter in space.parameters.items()}
    return all({**defaults, **configuration}.get(name) == value for name, value in part.items())


def common_context(one: Configuration, other: Configuration, named: Set[str]) -> dict[str, Scalar] | None:
    """What two configurations have beside the named parameters; None where they differ in more than those.

    A parameter that only one of them has exists because of the named ones: it can't be the same in both.
    """
    rest = {name: value for name, value in {**other, **one}.items() if name not in named}
    shared = (name for name in rest if name in one and name in other)
    return rest if all(one[name] == other[name] for name in shared) else None


def settings(part: Configuration) -> str:
    """A configuration (part) in words: `partitions=8 method=copy`."""
    return " ".join(f"{name}={value}" for name, value in part.items())


def lists_of(study: Study) -> dict[str, list[Configuration]]:
    """The configurations that are measured side by side, by the strategy that measures them; with the control."""
    control = study.control_candidate.configuration
    named = {name: [_whole(study, entry) for entry in entries] for name, entries in study.strategies.items()}
    return {
        PRESETS: [candidate.configuration for candidate in study.preset_candidates],
        **{name: [control, *found] for name, found in named.items()},
    }


def _whole(study: Study, entry: Mapping[str, Scalar] | str) -> Configuration:
    return study.preset(entry).configuration if isinstance(entry, str) else study.space.checked(entry)


def judging_list(study: Study, claim: Claim) -> str | None:
    """The first of the study's lists that measures what the claim needs; None where none does."""
    return next((name for name, found in lists_of(study).items() if _judges(study.space, claim, found)), None)


def _judges(space: Space, claim: Claim, found: Sequence[Configuration]) -> bool:
    better = [one for one in found if matches(space, one, claim.better)]
    if not claim.worse:
        return bool(better)
    named = set(claim.better) | set(claim.worse)
    worse = [one for one in found if matches(space, one, claim.worse)]
    return any(common_context(one, other, named) is not None for one in better for other in worse)


def unjudged(study: Study) -> tuple[Unjudged, ...]:
    """The claims that no list of the study can judge, each with the list that would."""
    return tuple(
        Unjudged(place, claim, problem)
        for place, claim in enumerate(study.claims, start=1)
        for problem in _problems(study, claim)
    )


def _problems(study: Study, claim: Claim) -> Iterator[str]:
    if not claim.comparable:
        if not claim.note:
            yield "'comparable' is false and 'note' does not say why"
    elif not claim.is_advice and not claim.is_value:
        yield (
            "nothing of it can be measured: give 'better' and 'worse', or 'metric' and 'value', or 'comparable: false' "
            "with a 'note' that says why"
        )
    elif claim.is_advice and all(claim.worse.get(name, value) == value for name, value in claim.better.items()):
        yield "one run can be both: name a parameter in 'better' and in 'worse', with two values"
    if (claim.better or claim.worse) and judging_list(study, claim) is None:
        yield f"no list measures what it needs side by side. {_remedy(study, claim)}"


def _remedy(study: Study, claim: Claim) -> str:
    parts = [part for part in (claim.better, claim.worse) if part]
    try:
        proposed = [study.space.checked(part) for part in parts]
    except ConfigurationError as error:
        return f"None can: {error}"
    if not _judges(study.space, claim, proposed):
        idle = ", ".join(dict.fromkeys(_idle(study.space, parts, proposed)))
        return f"None can: {idle} does not act there, and has its default"
    entries = ", ".join(
        "{" + ", ".join(f"{name}: {_yaml(value)}" for name, value in part.items()) + "}" for part in parts
    )
    return f"This one would: strategies: {{claimed: [{entries}]}}"


def _idle(space: Space, parts: Sequence[Configuration], whole: Sequence[Configuration]) -> Iterator[str]:
    """What the parts name beside what turns it off."""
    for part, configuration in zip(parts, whole, strict=True):
        yield from (name for name in part if not matches(space, configuration, {name: part[name]}))


def _yaml(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
