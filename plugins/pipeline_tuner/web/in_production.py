"""What production runs with now for each goal, and why, for the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline_tuner import settings
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.production import AS_WRITTEN, Choice, Source, production_choice
from pipeline_tuner.store.page_lists import PageLists
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.store.records import LastSeen, ProductionConfiguration
from pipeline_tuner.study import Study, stored_study
from pipeline_tuner.web.rendering import page_reads

MAX_KEPT = 1000
WRITTEN = "what is written in its DAG"


class StoredStudies:
    """Definitions by the sweep that stored them, which never change: the newest ones that were asked for are kept."""

    def __init__(self) -> None:
        self._known: dict[str, Study | None] = {}

    def of(self, sweep_ids: Iterable[str], lists: PageLists) -> dict[str, Study]:
        """The studies that the sweeps stored, without those that this version of the plugin can't read."""
        wanted = list(sweep_ids)
        new = lists.definitions([sweep_id for sweep_id in wanted if sweep_id not in self._known])
        self._known |= {sweep_id: _stored(definition) for sweep_id, definition in new.items()}
        found = {sweep_id: study for sweep_id in wanted if (study := self._known.get(sweep_id)) is not None}
        for sweep_id in list(self._known)[: max(0, len(self._known) - MAX_KEPT)]:
            del self._known[sweep_id]
        return found


def in_production(study: str, goals: Iterable[str], runs: Sequence[Row] = ()) -> dict[tuple[str, str], Choice]:
    """What a production run of the study would use for each goal, were it to start now; empty for an unknown study.

    `runs` are its newest production runs, newest first: tuned tasks run as written where others run the fallback.
    """
    definition = known_definition(study)
    if definition is None:
        return {}
    seen, now = page_reads().last_seen(study), datetime.now(UTC)
    known = {goal: page_reads().production(study, goal) for goal in goals}
    choices = {(study, goal): production_choice(definition, goal, found, seen, now) for goal, found in known.items()}
    are_tuned = bool(runs) and all(run["task_id"] is not None for run in runs)
    return {key: of_tuned_task(choice, runs) for key, choice in choices.items()} if are_tuned else choices


def of_tuned_task(choice: Choice, runs: Sequence[Row] = ()) -> Choice:
    """What a tuned task does: where nothing valid is known it runs as written, or with a fallback of its own."""
    if choice.source is not Source.FALLBACK:
        return choice
    last = next((run["label"] for run in runs if run["source"] == Source.FALLBACK), AS_WRITTEN)
    return replace(choice, label=WRITTEN if last == AS_WRITTEN else last, source=Source.GIVEN)


def production_dags(runs: Sequence[Row], study: str) -> tuple[str, ...]:
    """The DAGs in which a study's configurations run: those of its newest runs, else the one that the plugin makes."""
    return tuple(dict.fromkeys(run["dag_id"] for run in runs)) or (f"run_{study}",)


def choices_of(
    sweeps: Sequence[Row],
    rows: Sequence[Row],
    lists: PageLists,
    seen: Mapping[str, LastSeen],
    now: datetime,
) -> dict[tuple[str, str], Choice]:
    """`in_production` for many studies, each with its goals in the study's order.

    :param sweeps: The studies' newest sweeps.
    :param rows: The newest recommendations of their goals.
    """
    definitions = _definitions(sweeps, lists)
    known = lists.production([row["study"] for row in sweeps], rows)
    decided = {(row["study"], row["goal"]) for row in rows}
    found: dict[tuple[str, str], Choice] = {}
    for study, definition in definitions.items():
        goals = {goal: known.get((study, goal)) for goal in definition.goals if (study, goal) in decided}
        found |= {(study, goal): choice for goal, choice in _choices(definition, goals, seen[study], now)}
    return found


def _choices(
    study: Study, goals: Mapping[str, ProductionConfiguration | None], seen: LastSeen, now: datetime
) -> Iterator[tuple[str, Choice]]:
    """Goals that follow the same thing are looked at once: that takes most of a list's time."""
    followed: list[tuple[ProductionConfiguration, Choice]] = []
    for goal, found in goals.items():
        same = next((choice for one, choice in followed if one == found), None)
        choice = replace(same, goal=goal) if same else production_choice(study, goal, found, seen, now)
        if found is not None and choice.source is not Source.FALLBACK:
            followed.append((found, choice))
        yield goal, choice


def _definitions(sweeps: Sequence[Row], lists: PageLists) -> dict[str, Study]:
    """Each study as production reads it; what was read once is kept until its file, or its newest sweep, changes."""
    folder = settings.studies_folder()
    found = {row["study"]: study for row in sweeps if (study := _of_file(row["study"], folder)) is not None}
    missing = {row["sweep_id"]: row["study"] for row in sweeps if row["study"] not in found}
    stored = stored_studies().of(missing, lists)
    return found | {missing[sweep_id]: study for sweep_id, study in stored.items()}


@lru_cache(maxsize=1)
def stored_studies() -> StoredStudies:
    """Of this server; `cache_clear` forgets them, as another database's sweeps may have the same names."""
    return StoredStudies()


def _of_file(study: str, folder: Path) -> Study | None:
    try:
        changed = (folder / f"{study}.yaml").stat().st_mtime_ns
    except (OSError, ValueError):
        return None
    return _read(study, changed)


@lru_cache(maxsize=MAX_KEPT)
def _read(study: str, changed: int) -> Study | None:
    try:
        return settings.load_named_study(study)
    except StudyError:
        return None


def _stored(definition: Mapping[str, object]) -> Study | None:
    try:
        return stored_study(definition)
    except ValueError:
        # A study of an older version of the plugin: nobody can say what its production runs.
        return None


def known_definition(study: str) -> Study | None:
    """The study as production reads it; as its newest sweep had it where this server has no such file."""
    known = _of_file(study, settings.studies_folder())
    if known is None:
        stored = (page_reads().newest_sweep(study) or {}).get("study_definition")
        known = _stored(stored) if stored else None
    return known


def decision_before(decisions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What a roll-back returns to: the decision before the one in force. `decisions` are one goal's, newest first.

    A roll-back steps past what it undid, so a second one goes further back.
    """
    undone = 0
    for index, decision in enumerate(decisions):
        if decision["action"] == "roll_back":
            undone += 1
            continue
        if undone:
            undone -= 1
            continue
        return next((d for d in decisions[index + 1 :] if d["action"] == "promote"), None)
    return None
