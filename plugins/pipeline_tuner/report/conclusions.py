"""Sections of the analysis: key findings, what matters, trade-offs, claims, what to try next."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_tuner.analysis.claims import check_claims
from pipeline_tuner.analysis.effects import Effects
from pipeline_tuner.analysis.goals import larger_is_better
from pipeline_tuner.analysis.suggestions import Suggestion, suggestions
from pipeline_tuner.analysis.tie_breaking import TradeOff, trade_off
from pipeline_tuner.charts import style
from pipeline_tuner.charts.gains import effects as draw_effects
from pipeline_tuner.recommendation import Interval, Recommendation
from pipeline_tuner.report.chart_values import effect_bars, trade_off_chart
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.findings import findings
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.wording import counted, gain_words, interval_words, listed, percent, ratio


def key_findings(data: ReportData) -> str:
    """A numbered list: each sentence with the values behind it."""
    sentences = [*_gain_findings(data), *effect_findings(data), *_same_findings(data)]
    return "\n".join(f"{number}. {escaped(text)}" for number, text in enumerate(sentences, start=1))


def _gain_findings(data: ReportData) -> list[str]:
    sentences = []
    picks = {answer.label for answer in data.recommendations if answer.status.is_change}
    for (label, gain), answers in by_pick_and_gain(data.recommendations).items():
        goals = listed([answer.goal for answer in answers])
        if label == data.control_label:
            sentences.append(f"For {goals}, nothing measured beats the control {label} for sure.")
        elif gain is not None:
            sentences.append(f"For {goals}, {label} is at {gain}, confirmed in fresh blocks.")
    if len(data.recommendations) > 1 and len(picks) > 1:
        sentences.append(f"The goals want different configurations: {listed(sorted(map(str, picks)))}.")
    ratios = [(row.evidence.ratio, row.label) for row in data.rows if row.evidence.ratio]
    worst, label = min(ratios, key=lambda entry: entry[0].value, default=(None, ""))
    if worst and data.subject and worst.high < 1:
        sentences.append(f"Worst is {label} at {gain_words(worst)}: a wrong choice costs that much.")
    return sentences


def by_pick_and_gain(answers: Sequence[Recommendation]) -> dict[tuple[str, str | None], list[Recommendation]]:
    """Answers with the same pick and gain together; undecided ones are left out."""
    groups: dict[tuple[str, str | None], list[Recommendation]] = {}
    for answer in answers:
        if answer.status.is_change and answer.label:
            words = gain_words(answer.gain) if answer.gain else None
            groups.setdefault((answer.label, words), []).append(answer)
    return groups


def effect_findings(data: ReportData) -> list[str]:
    """What matters, by the steps next to the best configuration where they were measured, by the model elsewhere."""
    first: dict[str, str] = {}
    for label, steps in data.contrasts.items():
        for s in steps:
            words = f"{s.parameter} matters: {s.better} rather than {s.worse} gains {_factor(s.gain)}"
            first.setdefault(s.parameter, f"{words}, all else as in {label}.")
    sentences, known = list(first.values())[:4], set(first)
    shown = [effect for effect in data.effects.effects if effect.is_shown and effect.parameter not in known]
    sentences += [
        f"{e.parameter} matters: {e.best} rather than {e.worst} gains {_factor(e.gain)} on average over the others "
        f"({percent(e.share)} of what the parameters explain)."
        for e in shown[:3]
    ]
    sentences += [
        f"{listed(group)} were changed together and differences are theirs: which of them matters isn't told."
        for group in data.effects.not_separable
        if len(group) > 1
    ]
    quiet = [e.parameter for e in data.effects.effects if not e.is_shown and e.parameter not in known]
    return [*sentences, f"No effect is shown for {listed(quiet)}."] if quiet else sentences


def _same_findings(data: ReportData) -> list[str]:
    same = {tuple(sorted((row.label, *row.evidence.same_as))) for row in data.rows if row.evidence.same_as}
    return [f"{listed(names)} are the same configuration and are treated as one." for names in sorted(same)]


def _factor(gain: Interval) -> str:
    return f"{ratio(gain.value)} ({gain.low:.2f} to {gain.high:.2f})"


def works_and_limits(data: ReportData) -> str:
    """Findings on the subject of the analysis, each with the values behind it."""
    if data.subject is None:
        return ""
    found = findings(data.facts(data.subject))
    works = [f"- {escaped(finding.text)}" for finding in found if finding.kind == "works"]
    limits = [f"- {escaped(finding.text)}" for finding in found if finding.kind == "limits"]
    parts = [f"Of {escaped(data.subject.label)}, each with the values behind it."]
    parts += ["What works:\n\n" + "\n".join(works)] if works else []
    parts += ["What limits:\n\n" + "\n".join(limits)] if limits else ["Nothing that was measured limits it."]
    return "\n\n".join(parts)


def what_matters(data: ReportData) -> str:
    """The effect of each parameter on the primary goal: next to the best configuration, and over all of them."""
    found = data.effects
    parts = [_contrasts_table(data)]
    if found.problem:
        return "\n\n".join(
            [*filter(None, parts), f"Over all configurations nothing can be said: {escaped(found.problem)}."]
        )
    parts += [
        "Over all configurations, by a model of main effects:",
        _effects_table(found),
    ]
    parts += [
        f"{escaped(i.first)} and {escaped(i.second)} act together: the best level of one depends on the other."
        for i in found.interactions
    ]
    parts += [_not_separable_words(group) for group in found.not_separable]
    if found.unexplained > 0.25:
        parts.append(
            f"{percent(found.unexplained)} of the differences between configurations is left unexplained: "
            "parameters act together in ways that these trials don't resolve, so the intervals are wide."
        )
    return "\n\n".join(part for part in parts if part)


def _not_separable_words(group: tuple[str, ...]) -> str:
    if len(group) == 1:
        return f"What {escaped(group[0])} does can't be told: it was mostly changed together with other parameters."
    return f"{escaped(listed(group))} were changed together: which of them matters can't be told from these trials."


def _contrasts_table(data: ReportData) -> str:
    rows = [
        (s.parameter, f"{s.worse} to {s.better}", _factor(s.gain), label, s.gain.n)
        for label, steps in data.contrasts.items()
        for s in steps
    ]
    if not rows:
        return ""
    header = ("parameter", "from worse to better", "gain", "all else as in", "blocks")
    return f"Side by side, by configurations that differ in one parameter:\n\n{table(header, rows)}"


def _effects_table(found: Effects) -> str:
    rows = [
        (
            e.parameter,
            f"{e.worst} to {e.best}",
            _factor(e.gain),
            percent(e.share),
            "matters" if e.is_shown else "not shown",
        )
        for e in found.effects
    ]
    return table(("parameter", "from worst to best", "gain, all else equal", "share", "verdict"), rows)


def effects_chart(data: ReportData) -> str:
    """The chart of the effects; empty where there are none."""
    found = data.effects
    if not found.effects:
        return ""
    chart = draw_effects(effect_bars(found), title=f"What matters for {data.main.goal}")
    path = style.save(data.folder, f"effects-{data.main.goal}", chart)
    return f"![How much each parameter changes {escaped(data.main.goal)}]({path.name})"


def trade_offs(data: ReportData) -> str:
    """The Pareto front of the goals that have a value of their own; empty with one goal or one configuration."""
    indifference = data.options.budget.indifference
    found = trade_off(data.study, data.recommendations, indifference)
    if found is None:
        return ""
    rows = [(label, *(ratio(gain) for gain in found.gains[label])) for label in found.front]
    header = ("configuration", *(f"{goal}, gain over the control" for goal in found.goals))
    parts = [
        f"{counted(len(rows), 'configuration')} of {len(found.gains)} are beaten by none in every goal (the Pareto "
        f"front; differences under {percent(indifference)} don't count).",
        table(header, rows),
    ]
    if found.bend:
        parts.append(f"The front bends at {escaped(found.bend)}: beyond it, a gain in one goal costs most in another.")
    return "\n\n".join([*parts, _pareto_chart(data, found)])


def _pareto_chart(data: ReportData, found: TradeOff) -> str:
    first, second, *_ = found.goals
    chart = trade_off_chart(found, title=f"{first} against {second}")
    path = style.save(data.folder, f"pareto-{first}-{second}", chart)
    return f"![{escaped(first)} against {escaped(second)}]({path.name})"


def next_to_try(data: ReportData) -> str:
    """Untried neighbours of the best configuration, with what the effects predict; an estimate, and called one."""
    if data.subject is None:
        return ""
    measured = [row.evidence.configuration for row in data.rows]
    working = [row.evidence.configuration for row in data.rows if row.evidence.measured]
    found = data.effects
    level = data.options.budget.confidence
    ideas = suggestions(
        data.study.space, measured, data.subject.evidence.configuration, found, working=working, confidence=level
    )
    if not ideas:
        return "Every neighbour of the best configuration was tried, or lies where nothing worked."
    label = data.subject.label
    rows = [(_changes(data, idea), _predicted(idea), _expected(data, idea), _worth(data, idea)) for idea in ideas]
    header = (f"against {label}", f"predicted gain over {label}", f"expected {data.main.goal}", "")
    known = any(idea.predicted for idea in ideas)
    note = (
        f"Predictions are estimates from the effects above and no measurements; the {percent(level)} intervals are for "
        "the configuration's own value."
        if known
        else f"Nothing can be predicted: {found.problem or 'the trials do not tell what these parameters do'}."
    )
    return f"{table(header, rows)}\n\n{note}"


def _changes(data: ReportData, idea: Suggestion) -> str:
    base = data.subject.evidence.configuration if data.subject else {}
    return " ".join(f"{name}={value}" for name, value in idea.configuration.items() if base.get(name) != value)


def _predicted(idea: Suggestion) -> str:
    return _factor(idea.predicted) if idea.predicted else "not predicted"


def _expected(data: ReportData, idea: Suggestion) -> str:
    """The goal's value that the prediction stands for, from the confirmed value of the configuration it is against."""
    confirmed, gain = data.main.estimate, idea.predicted
    if confirmed is None or gain is None or data.study.goals[data.main.goal].balance:
        return ""
    power = 1 if larger_is_better(data.study, data.main.goal) else -1
    value = confirmed.value * gain.value**power
    low, high = sorted((confirmed.value * gain.low**power, confirmed.value * gain.high**power))
    return interval_words(Interval(value, low, high, gain.confidence, gain.n), data.main.unit)


def _worth(data: ReportData, idea: Suggestion) -> str:
    if idea.predicted is None:
        return "unknown"
    if idea.predicted.high < 1 + data.options.budget.indifference:
        return "unlikely to be better"
    return "may be better" if idea.predicted.low < 1 else "likely better"


def claims(data: ReportData) -> str:
    """The study's claims with a verdict on each."""
    verdicts = check_claims(data.study, data.options, data.results)
    rows = [(v.claim.source, v.claim.text, v.verdict, v.reason) for v in verdicts]
    return table(("source", "claim", "verdict", "why"), rows)
