"""The end of a night: drift found, promotion or roll-back decided, alerts raised, results stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline_tuner import settings
from pipeline_tuner.analysis.goals import larger_is_better
from pipeline_tuner.monitoring.night_start import champions
from pipeline_tuner.monitoring.night_values import change_words, changes_of, differences, night_values
from pipeline_tuner.monitoring.nights import Alert, Champion, NightValue
from pipeline_tuner.monitoring.notify import notify
from pipeline_tuner.monitoring.promotion import ProductionChange, decide
from pipeline_tuner.monitoring.store import NightRecord, NightStore
from pipeline_tuner.operators.sweep_end import emit_asset_event, summarized, write_analysis
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import DecisionStatus, Interval, Recommendation
from pipeline_tuner.space import configuration_id
from pipeline_tuner.store import Store
from pipeline_tuner.store.records import SweepRecord
from pipeline_tuner.trial import TrialResult

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def conclude_night(
    store: Store, sweep: SweepRecord, results: Sequence[TrialResult], context: Context
) -> dict[str, Any]:
    """Store a night and carry out what it confirmed; returns what goes into XCom. Raises NoRecommendationError.

    Repeating it (a retry) changes nothing: what a night confirms is recorded and carried out once.
    """
    nights, history = NightStore(store), store.history_of(sweep)
    recommendations = recommend(sweep.study_definition, sweep.options, results, history)
    night = Night(store, sweep, tuple(results), recommendations)
    alerts = list(night.alerts())
    unnotified = nights.record_alerts(sweep, alerts)
    store.record_recommendations(
        sweep.sweep_id, sweep.study, recommendations, valid_days=settings.valid_days(), followed=night.followed
    )
    night.renew()
    summary = " ".join(item.words for item in alerts) or "Nothing new."
    has_answer = any(item.status is not DecisionStatus.UNDECIDED for item in recommendations)
    store.end_sweep(sweep.sweep_id, "recommended" if has_answer else "undecided", f"Night: {summary}")
    nights.end_night(sweep, "alert" if alerts else "quiet", summary, night.values)
    analysis = write_analysis(store, sweep, results, recommendations, history) if alerts else None
    for item in alerts:
        if item.goal:
            emit_asset_event(sweep, item.goal, {"kind": item.kind, "words": item.words, **item.details}, context)
    if unnotified and notify(sweep.study_definition, unnotified, context):
        nights.mark_notified(sweep.sweep_id)
    log.info("%s", summary)
    return summarized(sweep, results, recommendations, analysis) | {"alerts": [item.words for item in alerts]}


def end_tuning_night(store: Store, sweep: SweepRecord, results: Sequence[TrialResult], context: Context) -> None:
    """Record a night that was a whole sweep, and tell what it changed for production; nothing for other sweeps.

    Its decisions are followed by themselves, as any sweep's, except where somebody promoted something.
    """
    nights = NightStore(store)
    if nights.night(sweep.sweep_id) is None:
        return
    followed = store.followed_goals(sweep.sweep_id)
    answers = [item for item in store.recommendations(sweep.sweep_id) if item.status.is_change]
    alerts = [
        Alert("better", f"{item.goal}: {item.reason}", item.goal, details={"label": item.label})
        for item in answers
        if item.goal in followed
    ]
    unnotified = nights.record_alerts(sweep, alerts)
    summary = " ".join(item.words for item in alerts) or "A whole sweep: nothing is to change."
    values = night_values(sweep.study_definition, sweep.options, results)
    nights.end_night(sweep, "alert" if alerts else "quiet", summary, values)
    if unnotified and notify(sweep.study_definition, unnotified, context):
        nights.mark_notified(sweep.sweep_id)


@dataclass
class Night:
    """One night's results, held against production and the nights before."""

    store: Store
    sweep: SweepRecord
    results: tuple[TrialResult, ...]
    recommendations: tuple[Recommendation, ...]

    @property
    def nights(self) -> NightStore:
        """Monitoring's part of the results database."""
        return NightStore(self.store)

    @cached_property
    def values(self) -> tuple[NightValue, ...]:
        """What the night adds to the history."""
        return night_values(self.sweep.study_definition, self.sweep.options, self.results)

    @cached_property
    def earlier(self) -> tuple[NightRecord, ...]:
        """The measured nights before this one."""
        known = self.nights.night(self.sweep.sweep_id)
        return self.nights.nights(self.sweep.study, known.due_at if known else self.sweep.started_at)

    @cached_property
    def machine(self) -> str:
        """How this night's machine, versions or data differ from the last night's; empty where they don't."""
        return "; ".join(self._differences(self.earlier[-1])) if self.earlier else ""

    def _differences(self, night: NightRecord) -> tuple[str, ...]:
        return differences(self.results, night.environment or {}, night.workload or {})

    @cached_property
    def decisions(self) -> dict[str, tuple[Recommendation, Champion, ProductionChange]]:
        """What to do with production, by goal; nothing on a machine that the night before did not run on."""
        already = {goal for goal, _ in self.nights.alerts_of(self.sweep.sweep_id)}
        now = champions(self.store, self.sweep.study_definition)
        found = {}
        for item in self.recommendations:
            champion = self.sweep.options.champions[item.goal]
            decision = decide(item, champion.configuration, champion_gain=_gain_of(item, champion))
            if decision.action != "keep" and self.machine:
                decision = ProductionChange("keep", f"{decision.reason}, but the machine differs from the last night's")
            elif item.goal not in already and not _is_same(now[item.goal], champion):
                decision = ProductionChange("keep", "production was changed while the night ran")
            found[item.goal] = (item, champion, decision)
            log.info("%s: %s, %s", item.goal, decision.action, decision.reason)
        return found

    @property
    def followed(self) -> set[str]:
        """The goals whose recommendation production may follow from now on."""
        return {goal for goal, (_, _, decision) in self.decisions.items() if decision.action == "promote"}

    def renew(self) -> None:
        """What production follows and this night found no fault with stays valid."""
        measured = {configuration_id(r.plan.configuration) for r in self.results if r.status == "measured"}
        for goal, (_, champion, decision) in self.decisions.items():
            is_measured = configuration_id(champion.configuration) in measured
            if decision.action == "keep" and champion.source == "recommended" and is_measured and not self.machine:
                self.nights.renew(self.sweep.study, goal, valid_days=settings.valid_days())

    def alerts(self) -> Iterator[Alert]:
        """Everything that the night confirmed."""
        if self.machine:
            yield Alert("machine", f"Machine, versions or data differ from the last night's: {self.machine}.")
        for goal, (item, champion, decision) in self.decisions.items():
            if decision.action == "promote":
                yield self._gain(item, champion, decision)
            if decision.action == "roll_back":
                yield self._loss(item, champion, decision)
            yield from self._change(goal, champion)

    def _gain(self, item: Recommendation, champion: Champion, decision: ProductionChange) -> Alert:
        configuration = dict(item.configuration or {})
        details = {"label": item.label, "configuration": configuration, "before": champion.label}
        words = f"{item.goal}: {decision.reason}."
        if self.sweep.study_definition.nights.promote:
            return Alert(
                "promoted",
                f"{words} It is promoted, in place of {champion.label}.",
                item.goal,
                (item.label or "", configuration),
                details,
            )
        if champion.source == "promoted":
            words += (
                f" Production stays at {champion.label}, which somebody promoted: promote the better one on the page."
            )
        else:
            words += f" Production follows it from now on, in place of {champion.label}."
        return Alert("better", words, item.goal, details=details)

    def _loss(self, item: Recommendation, champion: Champion, decision: ProductionChange) -> Alert:
        study = self.sweep.study_definition
        words = f"{item.goal}: {decision.reason} against the control."
        if champion.source == "recommended":
            preset = study.fallback or study.control
            details = {"label": preset, "configuration": dict(study.preset(preset).configuration)}
            words += f" The recommendation is withdrawn: production falls back to preset {preset}."
            return Alert("withdrawn", words, item.goal, details=details | {"before": champion.label})
        if champion.source == "promoted" and study.nights.promote:
            label, configuration = self._best(item)
            details = {"label": label, "configuration": configuration, "before": champion.label}
            words += f" It is rolled back to {label}."
            return Alert("rolled_back", words, item.goal, (label, configuration), details)
        words += f" Production stays at {champion.label}: roll it back on the page, or choose another fallback."
        return Alert("worse", words, item.goal, details={"label": champion.label})

    def _best(self, item: Recommendation) -> tuple[str, dict[str, Any]]:
        """The pick where its gain is confirmed, else the control: what this night showed to be better."""
        if item.status.is_change and item.gain is not None and item.gain.low > 1.0 and item.configuration:
            return item.label or "", dict(item.configuration)
        control = self.sweep.study_definition.control_candidate
        return control.label, dict(control.configuration)

    def _change(self, goal: str, champion: Champion) -> Iterator[Alert]:
        """A change of level that can be told since tonight."""
        study = self.sweep.study_definition
        if study.goals[goal].balance:
            return
        earlier = [night.values for night in self.earlier if not self._differences(night)]
        found = changes_of(study, goal, configuration_id(champion.configuration), [*earlier, self.values])
        for change in found:
            if change.noticed == len(earlier):
                words = change_words(change, larger_is_better=larger_is_better(study, goal))
                yield Alert("change", f"{goal}: {champion.label}. {words}.", goal, details={"label": champion.label})


def _gain_of(item: Recommendation, champion: Champion) -> Interval | None:
    """The champion against the control in the fresh blocks, where it took part."""
    identity = configuration_id(champion.configuration)
    for entry in item.evidence.values():
        if entry.confirmed and configuration_id(entry.configuration) == identity:
            return entry.confirmed
    return None


def _is_same(one: Champion, other: Champion) -> bool:
    return configuration_id(one.configuration) == configuration_id(other.configuration)
