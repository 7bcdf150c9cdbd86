"""The end of a sweep: recommendations stored, XCom and asset event, the written analysis and its files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from pipeline_tuner import settings
from pipeline_tuner.monitoring.night_start import champions
from pipeline_tuner.monitoring.nights import Champion
from pipeline_tuner.operators.assets import changed_alias
from pipeline_tuner.production import Source
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import DecisionStatus, Recommendation
from pipeline_tuner.report.files import details_of
from pipeline_tuner.space import Scalar, configuration_id
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.trial import TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def conclude(store: Store, sweep: SweepRecord, results: Sequence[TrialResult], context: Context) -> dict[str, Any]:
    """Recommend and store; returns what goes into XCom. Raises NoRecommendationError."""
    study, options = sweep.study_definition, sweep.options
    history = store.history_of(sweep)
    recommendations = recommend(study, options, results, history)
    followed = followed_goals(sweep.options.champions, champions(store, study), recommendations)
    store.record_recommendations(
        sweep.sweep_id, sweep.study, recommendations, valid_days=settings.valid_days(), followed=followed
    )
    has_answer = any(item.status is not DecisionStatus.UNDECIDED for item in recommendations)
    store.end_sweep(sweep.sweep_id, "recommended" if has_answer else "undecided", recommendations[0].reason)
    analysis = write_analysis(store, sweep, results, recommendations, history)
    for item in (item for item in recommendations if item.goal in followed and _is_change(store, sweep, item)):
        event = {"label": item.label, "configuration": dict(item.configuration or {})}
        emit_asset_event(sweep, item.goal, event, context)
    return summarized(sweep, results, recommendations, analysis)


def followed_goals(
    before: Mapping[str, Champion], now: Mapping[str, Champion], recommendations: Sequence[Recommendation]
) -> set[str]:
    """The goals whose decision production may follow: not where somebody changed production while the sweep ran.

    The decision was held against what ran `before`. What expired meanwhile, and now falls back, is no change.
    """
    followed = {item.goal for item in recommendations if not _is_overtaken(before, now, item)}
    for goal in (item.goal for item in recommendations if item.goal not in followed):
        log.warning("%s: production was changed to %s while this sweep ran: it stays", goal, now[goal].label)
    return followed


def _is_overtaken(before: Mapping[str, Champion], now: Mapping[str, Champion], item: Recommendation) -> bool:
    held, runs = before.get(item.goal), now.get(item.goal)
    if held is None or runs is None or runs.source == Source.FALLBACK:
        return False
    return configuration_id(runs.configuration) not in _identities(held.configuration, item.configuration)


def _identities(*configurations: Mapping[str, Scalar] | None) -> set[str]:
    return {configuration_id(c) for c in configurations if c is not None}


def summarized(
    sweep: SweepRecord,
    results: Sequence[TrialResult],
    recommendations: Sequence[Recommendation],
    analysis: Path | None,
) -> dict[str, Any]:
    """What goes into XCom, and in short into the log."""
    for item in recommendations:
        log.info("%s: %s. %s", item.goal, item.status, item.reason)
    return {
        "sweep_id": sweep.sweep_id,
        "study": sweep.study,
        "planned": len(results),
        "measured": sum(result.status == "measured" for result in results),
        "failed": sum(result.status == "failed" for result in results),
        "analysis": str(analysis) if analysis else None,
        "analysis_details": str(details_of(analysis)) if analysis else None,
        "goals": {item.goal: _summary(item) for item in recommendations},
    }


def _is_change(store: Store, sweep: SweepRecord, item: Recommendation) -> bool:
    """Whether another configuration is recommended than before."""
    if not item.status.is_change or item.configuration is None:
        return False
    before = store.latest_recommendation(sweep.study, item.goal, before_sweep=sweep.sweep_id)
    if before is None or before.configuration is None:
        return True
    return configuration_id(before.configuration) != configuration_id(item.configuration)


def emit_asset_event(sweep: SweepRecord, goal: str, event: Mapping[str, Any], context: Context) -> None:
    """Emit the event of a goal's asset when this task succeeds."""
    asset = Asset(name=f"{sweep.study}_{goal}", uri=f"pipeline-tuner://{sweep.study}/{goal}")
    context["outlet_events"][changed_alias(sweep.study)].add(asset, extra={"sweep_id": sweep.sweep_id, **event})


def write_analysis(
    store: Store,
    sweep: SweepRecord,
    results: Sequence[TrialResult],
    recommendations: Sequence[Recommendation],
    history: Sequence[TrialResult],
) -> Path | None:
    """Write and store the analysis; a fault in it is logged and returns None."""
    try:
        from pipeline_tuner.report.written import write_report

        path = write_report(
            settings.reports_folder() / sweep.sweep_id,
            sweep.study_definition,
            sweep.options,
            results,
            recommendations,
            history=history,
            environment=dict(sweep.environment or {}),
            workload=dict(sweep.workload or {}),
        )
        details = details_of(path).read_text(encoding="utf-8")
        store.record_analysis(sweep.sweep_id, path.read_text(encoding="utf-8"), str(path), details)
        charts = {chart.stem: chart.read_text(encoding="utf-8") for chart in path.parent.glob("*.svg")}
        store.record_charts(sweep.sweep_id, charts)
    except Exception:
        # The recommendations are stored; a fault in their description must not take them back.
        log.exception("The analysis could not be written")
        return None
    log.info("Analysis: %s", path)
    return path


def _summary(item: Recommendation) -> dict[str, Any]:
    document = item.to_dict()
    kept: tuple[str, ...] = (
        "status",
        "label",
        "configuration",
        "estimate",
        "gain",
        "unit",
        "confidence",
        "ties",
        "runner_up",
        "reason",
    )
    kept += ("reference", "reference_gain", "regret_bound", "more_trials")
    return {key: document[key] for key in kept}
