"""The configuration of a production run: one that is given, `preset:`, or `recommended:` by the sweeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pipeline_tuner.exceptions import ConfigurationError, InfrastructureError
from pipeline_tuner.production import Choice, Source, fallback_choice, production_choice
from pipeline_tuner.store import Store
from pipeline_tuner.study import Study

log = logging.getLogger(__name__)

RECOMMENDED = "recommended:"
PRESET = "preset:"


def choose_configuration(
    study: Study, wanted: str | Mapping[str, object], *, fallback: str | None, open_store: Callable[[], Store]
) -> Choice:
    """The configuration that `wanted` stands for: a mapping, `preset:NAME` or `recommended:GOAL`.

    Only `recommended:` asks the results database. It falls back to a preset, never fails, where nothing valid
    is recommended or the database is unavailable.
    Raises ConfigurationError where `wanted` makes no sense for the study.
    """
    if isinstance(wanted, Mapping):
        return Choice("given", study.space.checked(wanted), Source.GIVEN, "the operator was given it")  # type: ignore[arg-type]
    if wanted.startswith(PRESET):
        preset = study.preset(wanted.removeprefix(PRESET))
        return Choice(preset.label, preset.configuration, Source.PRESET, "the operator was given it")
    if wanted.startswith(RECOMMENDED):
        return _recommended(study, wanted.removeprefix(RECOMMENDED), fallback, open_store)
    raise ConfigurationError(
        f"configuration is {wanted!r}: give a mapping of parameters, 'preset:NAME' or 'recommended:GOAL'"
    )


def _recommended(study: Study, goal: str, fallback: str | None, open_store: Callable[[], Store]) -> Choice:
    if goal not in study.goals:
        raise ConfigurationError(f"study {study.study} has no goal {goal!r}; there are {', '.join(study.goals)}")
    try:
        with open_store() as store:
            found, seen = store.production(study.study, goal), store.last_seen(study.study)
        choice = production_choice(study, goal, found, seen, datetime.now(UTC), fallback)
    except InfrastructureError as error:
        choice = fallback_choice(study, goal, str(error), fallback)
    if choice.source is Source.FALLBACK:
        log.warning("Falling back to preset %s: %s", choice.label, choice.reason)
    return choice
