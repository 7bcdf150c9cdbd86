"""The rule for which configuration production runs with for a goal: promotion, followed decision, fallback. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.monitoring.validity import Envelope
from pipeline_tuner.space import Configuration
from pipeline_tuner.store.records import LastSeen, ProductionConfiguration
from pipeline_tuner.study import Study

AS_WRITTEN = "as written"
"""Label of the arguments that stand in the DAG of a tuned task."""


class Source(StrEnum):
    """Where a production run's configuration comes from."""

    GIVEN = "given"
    PRESET = "preset"
    PROMOTED = "promoted"
    RECOMMENDED = "recommended"
    FALLBACK = "fallback"
    EXPLORED = "explored"
    """Tried in production beside the reference (`tuned(..., explore=...)`)."""


@dataclass(frozen=True)
class Choice:
    """A configuration with where it comes from and why, for the log, XCom and the page."""

    label: str
    configuration: Configuration
    source: Source
    reason: str
    goal: str | None = None
    problems: str = ""
    """What speaks against it, or why it is only the fallback; empty where nothing does."""


def production_choice(
    study: Study,
    goal: str,
    found: ProductionConfiguration | None,
    seen: LastSeen,
    now: datetime,
    fallback: str | None = None,
) -> Choice:
    """What a production run that asks for `goal` uses now.

    `found` is the newest promotion, or else the newest decision that production may follow; `seen` is what the newest
    run was like. Where nothing valid is known it is the preset `fallback` (or the study's own), with the reason.
    """
    try:
        return _followed(study, goal, found, seen, now)
    except ConfigurationError as error:
        return fallback_choice(study, goal, str(error), fallback)


def fallback_choice(study: Study, goal: str, reason: str, fallback: str | None = None) -> Choice:
    """The preset that runs where nothing valid is known. Raises ConfigurationError for an unknown preset."""
    preset = study.preset(fallback or study.fallback or study.control)
    return Choice(preset.label, preset.configuration, Source.FALLBACK, reason, goal, reason)


def _followed(study: Study, goal: str, found: ProductionConfiguration | None, seen: LastSeen, now: datetime) -> Choice:
    if found is None:
        raise ConfigurationError(f"no sweep of study {study.study} has recommended anything for {goal} yet")
    if found.has_expired(now):
        raise ConfigurationError(
            f"the recommendation of {found.since:%F} for {goal} expired on {found.valid_until:%F}: run a new sweep"
        )
    configuration = _fitting(study, found.source, found.label, found.configuration)
    origin = f"on {found.since:%F %T} UTC" + (f" from sweep {found.sweep_id}" if found.sweep_id else "")
    problems = "; ".join(Envelope.from_dict(found.validity).problems(seen.workload, seen.environment))
    if problems and Source(found.source) is Source.RECOMMENDED:
        raise ConfigurationError(
            f"the recommendation of {found.since:%F} for {goal} does not hold any more: {problems}"
        )
    # A promotion is somebody's decision: it is followed, and the reason names what speaks against it.
    doubt = f", although {problems}" if problems else ""
    reason = f"{origin}{doubt}. {found.why}".removesuffix(". ")
    return Choice(found.label, configuration, Source(found.source), reason, goal, problems)


def _fitting(study: Study, source: str, label: str, configuration: Mapping[str, object]) -> Configuration:
    try:
        return study.space.checked(configuration)  # type: ignore[arg-type]
    except ConfigurationError as error:
        raise ConfigurationError(f"the {source} {label} does not fit the study any more: {error}") from None
