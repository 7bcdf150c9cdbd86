"""The rows of the start page, the list of studies: what production runs, what was decided, its status, what needs
attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from sqlalchemy import select

from pipeline_tuner.monitoring.validity import Envelope
from pipeline_tuner.production import Choice, Source
from pipeline_tuner.recommendation import FORMER_STATUSES, DecisionStatus
from pipeline_tuner.report.decisions import what_to_do
from pipeline_tuner.store.page_lists import PageLists
from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.store.records import LastSeen
from pipeline_tuner.web.in_production import choices_of, of_tuned_task
from pipeline_tuner.web.rendering import page_reads, results_store, source_words
from pipeline_tuner.web.sweep_lookup import Progress, progress_of
from pipeline_tuner.wording import ratio, regret_words, spark


@dataclass(frozen=True)
class Running:
    """A configuration that production runs with, for the goals that it serves."""

    label: str
    source: Source
    goals: tuple[str, ...]
    problems: str

    @property
    def source_words(self) -> str:
        """Where it comes from."""
        return source_words(self.source)

    @property
    def is_doubtful(self) -> bool:
        """Whether it was chosen for an environment that this is not. A fallback is for want of anything better."""
        return bool(self.problems) and self.source is not Source.FALLBACK


@dataclass(frozen=True)
class Decided:
    """What a sweep decided for goals that share action and gains."""

    action: str
    status: DecisionStatus
    gains: str
    goals: tuple[str, ...]


@dataclass(frozen=True)
class StudyLine:
    """One study. `asks` is what somebody should look at, empty where nothing is."""

    study: str
    job: str
    sweep: Row
    running: tuple[Running, ...]
    decided: tuple[Decided, ...]
    asks: tuple[str, ...]
    valid_until: datetime | None
    next_run: datetime | None
    nights: str
    night: Row | None
    progress: Progress | None


@cache
def _lists() -> PageLists:
    return PageLists(results_store())


def study_lines(dag_ids: Sequence[str], now: datetime) -> list[StudyLine]:
    """The lines of the studies that somebody may read, by name."""
    sweeps = page_reads().studies(dag_ids)
    names = [row["study"] for row in sweeps]
    seen = _lists().last_seen(names)
    rows = _with_problems(_lists().recommendations(names), seen)
    choices, noted = choices_of(sweeps, rows, _lists(), seen, now), set(page_reads().noted_studies(dag_ids))
    choices = {key: of_tuned_task(choice) if key[0] in noted else choice for key, choice in choices.items()}
    values, nights = _lists().night_values(names), {row["study"]: row for row in page_reads().newest_nights(names)}
    due = next_runs([row["dag_id"] for row in sweeps])
    of_study: dict[str, list[Row]] = {name: [] for name in names}
    for row in rows:
        of_study[row["study"]].append(row)
    own: dict[str, dict[str, Choice]] = {name: {} for name in names}
    for (name, goal), choice in choices.items():
        own[name][goal] = choice
    return [_line(row, of_study[row["study"]], own[row["study"]], values, nights, due, now) for row in sweeps]


def next_runs(dag_ids: Sequence[str]) -> dict[str, datetime | None]:
    """When Airflow starts the next scheduled run of each DAG; None for those without a schedule, and paused ones."""
    query = select(DagModel.dag_id, DagModel.next_dagrun_create_after).where(
        DagModel.dag_id.in_(dag_ids), ~DagModel.is_paused
    )
    with create_session() as session:
        return {row[0]: row[1] for row in session.execute(query)}


def _with_problems(rows: Sequence[Row], seen: Mapping[str, LastSeen]) -> list[Row]:
    return [row | {"problems": _problems(row, seen[row["study"]])} for row in rows]


def _problems(row: Row, seen: LastSeen) -> tuple[str, ...]:
    return Envelope.from_dict(row["validity"] or {}).problems(seen.workload, seen.environment)


def _line(
    sweep: Row, rows: Sequence[Row], choices: Mapping[str, Choice],
    values: Mapping[tuple[str, str], Sequence[float]], nights: Mapping[str, Row],
    due: Mapping[str, datetime | None], now: datetime,
) -> StudyLine:  # fmt: skip
    study = sweep["study"]
    order = list(choices)
    rows = sorted(rows, key=lambda row: order.index(row["goal"]) if row["goal"] in order else len(order))
    goals = [row["goal"] for row in rows]
    watched = next((values[study, goal] for goal in goals if (study, goal) in values), ())
    ends = [row["valid_until"] for row in rows if row["valid_until"]]
    return StudyLine(
        study,
        sweep["job"],
        sweep,
        tuple(_running(choices)),
        tuple(_decided(rows)),
        tuple(_asks(sweep, rows, choices, nights.get(study), now)),
        min(ends, default=None),
        due.get(sweep["dag_id"]),
        spark(watched),
        nights.get(study),
        progress_of(sweep) if sweep["status"] == "running" else None,
    )


def _running(choices: Mapping[str, Choice]) -> Iterator[Running]:
    """The configurations that production runs with, each with its goals."""
    groups: dict[tuple[str, Source], list[str]] = {}
    for goal, choice in choices.items():
        groups.setdefault((choice.label, choice.source), []).append(goal)
    for (label, source), goals in groups.items():
        yield Running(label, source, tuple(goals), choices[goals[0]].problems)


def _decided(rows: Sequence[Row]) -> Iterator[Decided]:
    """The decisions, those that say to do the same for several goals together."""
    groups: dict[tuple[str, DecisionStatus], list[Row]] = {}
    for row in rows:
        status = status_of(row)
        groups.setdefault((what_to_do(status, row["label"], row["reference"]), status), []).append(row)
    for (action, status), found in groups.items():
        yield Decided(action, status, _gains(found, status), tuple(row["goal"] for row in found))


def status_of(row: Row) -> DecisionStatus:
    """The status in a recommendation's row."""
    return FORMER_STATUSES.get(row["status"]) or DecisionStatus(row["status"])


def _gains(rows: Sequence[Row], status: DecisionStatus) -> str:
    """The gain over what production ran with, and how far it can be from the best: over the goals of a decision."""
    changed = [row["reference_gain"] for row in rows if row["label"] != row["reference"] and row["reference_gain"]]
    gains = list(dict.fromkeys(ratio(gain) for gain in sorted(changed))) if status.is_answer else []
    regrets = [row["regret_bound"] for row in rows if row["regret_bound"] is not None]
    parts = [" to ".join([gains[0], *gains[1:][-1:]])] if gains else []
    if regrets:
        most = max(regrets)
        parts.append(regret_words(most) if most >= 1 else f"at most {regret_words(most)} short")
    return ", ".join(parts)


def _asks(
    sweep: Row, rows: Sequence[Row], choices: Mapping[str, Choice], night: Row | None, now: datetime
) -> Iterator[str]:
    """What somebody should look at, the most urgent first."""
    if sweep["status"] == "failed":
        yield "the newest sweep failed"
    if night and night["status"] in ("alert", "failed"):
        yield (
            f"look at the night of {night['due_at']:%Y-%m-%d}"
            if night["status"] == "alert"
            else "the last night failed"
        )
    gone = [row["goal"] for row in rows if row["problems"] or (row["valid_until"] and row["valid_until"] <= now)]
    if gone:
        yield f"measure again: what was decided for {', '.join(gone)} does not hold any more"
    better = [row for row in rows if row["goal"] not in gone and _is_passed_over(row, choices.get(row["goal"]))]
    for label in dict.fromkeys(row["label"] for row in better):
        yield f"promote {label} for {', '.join(row['goal'] for row in better if row['label'] == label)}?"
    undecided = [row["goal"] for row in rows if status_of(row) is DecisionStatus.UNDECIDED]
    if undecided and sweep["status"] != "running":
        yield f"{', '.join(undecided)} undecided: more trials"


def _is_passed_over(row: Row, choice: Choice | None) -> bool:
    """Whether production runs something else than a decision says, because somebody promoted it."""
    return status_of(row).is_change and choice is not None and choice.label != row["label"]
