"""Which configuration a production run uses: one that is given, a preset, or what the sweeps recommend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pipeline_tuner.analysis.validity import Envelope
from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError
from pipeline_tuner.space import Configuration
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import LastSeen, ProductionConfiguration
from pipeline_tuner.study import Study

log = logging.getLogger(__name__)

RECOMMENDED = "recommended:"
PRESET = "preset:"


@dataclass(frozen=True)
class Choice:
    """A configuration with where it comes from and why, for the log, XCom and the page."""

    label: str
    configuration: Configuration
    source: Literal["given", "preset", "promoted", "recommended", "fallback"]
    reason: str
    goal: str | None = None


def choose_configuration(
    study: Study, wanted: str | Mapping[str, object], *, fallback: str | None, open_store: Callable[[], Store]
) -> Choice:
    """The configuration that `wanted` stands for: a mapping, `preset:NAME` or `recommended:GOAL`.

    Only `recommended:` asks the results database. It falls back to a preset, never fails, where nothing valid
    is recommended or the database is unavailable.
    Raises ConfigurationError where `wanted` makes no sense for the study.
    """
    if isinstance(wanted, Mapping):
        return Choice("given", study.space.checked(wanted), "given", "the operator was given it")  # type: ignore[arg-type]
    if wanted.startswith(PRESET):
        preset = study.preset(wanted.removeprefix(PRESET))
        return Choice(preset.label, preset.configuration, "preset", "the operator was given it")
    if wanted.startswith(RECOMMENDED):
        return _recommended(study, wanted.removeprefix(RECOMMENDED), fallback, open_store)
    raise ConfigurationError(
        f"configuration is {wanted!r}: give a mapping of parameters, 'preset:NAME' or 'recommended:GOAL'"
    )


def _recommended(study: Study, goal: str, fallback: str | None, open_store: Callable[[], Store]) -> Choice:
    if goal not in study.goals:
        raise ConfigurationError(f"study {study.study} has no goal {goal!r}; there are {', '.join(study.goals)}")
    preset = study.preset(fallback or study.fallback or study.control)
    try:
        with open_store() as store:
            found, seen = store.production(study.study, goal), store.last_seen(study.study)
        return _checked(study, goal, found, seen)
    except (InfrastructureError, ConfigurationError) as error:
        log.warning("Falling back to preset %s: %s", preset.label, error)
        return Choice(preset.label, preset.configuration, "fallback", str(error), goal)


def _checked(study: Study, goal: str, found: ProductionConfiguration | None, seen: LastSeen) -> Choice:
    if found is None:
        raise ConfigurationError(f"no sweep of study {study.study} has recommended anything for {goal} yet")
    if found.has_expired(datetime.now(UTC)):
        raise ConfigurationError(
            f"the recommendation of {found.since:%F} for {goal} expired on {found.valid_until:%F}: run a new sweep"
        )
    try:
        configuration = study.space.checked(found.configuration)
    except ConfigurationError as error:
        raise ConfigurationError(f"the {found.source} {found.label} does not fit the study any more: {error}") from None
    reason = f"{found.source} on {found.since:%F %T} UTC"
    problems = "; ".join(Envelope.from_dict(found.validity).problems(seen.workload, seen.environment))
    if problems and found.source == "recommended":
        raise ConfigurationError(
            f"the recommendation of {found.since:%F} for {goal} does not hold any more: {problems}"
        )
    # A promotion is somebody's decision: it is followed, and what speaks against it is said.
    return Choice(
        found.label, configuration, found.source, f"{reason}, although {problems}" if problems else reason, goal
    )
