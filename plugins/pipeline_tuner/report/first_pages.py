"""The first pages of the written analysis: what to do, why, what it cost, claims, parameters that matter.

In the order of the sweep's page. Everything else stands in the details beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipeline_tuner.analysis.claims import check_claims
from pipeline_tuner.analysis.comparison import MetricComparison, compare
from pipeline_tuner.analysis.evidence import described_failures, shortened
from pipeline_tuner.analysis.verdicts import Verdict, VerdictKind
from pipeline_tuner.metric_names import metric_name, metric_words
from pipeline_tuner.recommendation import Recommendation
from pipeline_tuner.report.conclusions import effect_findings, effects_chart
from pipeline_tuner.report.configurations import COLUMNS, goal_chart, ratio_words, setting_name
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.decisions import DECISION_HEADER, decision_cells
from pipeline_tuner.report.failures_and_validity import payback
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.wording import counted, interval_words, listed

MAX_SETTINGS = 12
MAX_CLAIMS = 6
MAX_FINDINGS = 5
LETTERS = 110
"""Of a claim, and of why its verdict is what it is."""


def decision(data: ReportData) -> str:
    """A row per goal, equal on the page and on the terminal; then what the primary goal's pick changes."""
    rows = [decision_cells(answer) for answer in data.recommendations]
    return "\n\n".join(filter(None, [table(DECISION_HEADER, rows), _changes(data)]))


def _changes(data: ReportData) -> str:
    """The settings in which the subject differs from the control."""
    if data.subject is None or data.subject.label == data.control_label:
        return ""
    mine, control = data.subject.evidence.configuration, data.study.control_candidate.configuration
    names = [name for name in data.study.space.parameters if mine.get(name) != control.get(name)]
    rows = [(setting_name(data, name), control.get(name, "-"), mine.get(name, "-")) for name in names[:MAX_SETTINGS]]
    more = len(names) - MAX_SETTINGS
    header = ("what changes", f"control ({data.control_label})", data.subject.label)
    rest = f"{counted(more, 'setting')} more differ: the details have them all." if more > 0 else ""
    return "\n\n".join(filter(None, [table(header, rows), rest]))


def why(data: ReportData) -> str:
    """The value and the reason of each decision; goals with the same reason share a line."""
    groups: dict[str, list[Recommendation]] = {}
    for answer in data.recommendations:
        groups.setdefault(answer.reason, []).append(answer)
    return "\n".join(_why(reason, answers) for reason, answers in groups.items())


def _why(reason: str, answers: list[Recommendation]) -> str:
    values = [interval_words(a.estimate, a.unit) for a in answers if a.estimate]
    stated = f" It reached {escaped(listed(values))}." if values else ""
    return f"- **{escaped(listed([a.goal for a in answers]))}**: {escaped(reason)}{stated}"


def compared(data: ReportData) -> str:
    """The primary goal's intervals by configuration, and the metrics of the pick beside the control's."""
    return "\n\n".join(filter(None, [goal_chart(data, data.main), _metrics(data)]))


def _metrics(data: ReportData) -> str:
    mine, control = data.subject, data.control
    if mine is None or control is None or mine.label == control.label:
        return ""
    pairs = [compare(data.deciding(mine), data.deciding(control), name) for name in COLUMNS]
    rows = [_metric_row(line) for line in pairs if line is not None]
    return table(("median", f"control ({control.label})", mine.label, "ratio in the same block"), rows)


def _metric_row(line: MetricComparison) -> tuple[str, str, str, str]:
    second, first = (metric_words(value, line.metric) for value in (line.second, line.first))
    return metric_name(line.metric).title, second, first, ratio_words(line)


def cost(data: ReportData) -> str:
    """Trials, failures, machine time, and after how many runs the change has paid for it."""
    failed = [result for result in data.results if result.status == "failed"]
    trials = counted(len(data.results), "trial")
    words = described_failures(failed, of=len(data.results)) if failed else "none failed"
    return f"{trials}, {escaped(words)}. {payback(data)}"


def claims(data: ReportData) -> str:
    """How many of the documents' claims hold, and those that the measurements judged; empty without claims."""
    verdicts = check_claims(data.study, data.options, data.results)
    if not verdicts:
        return ""
    counts = Counter(verdict.verdict for verdict in verdicts)
    counts_of_kinds = listed([f"{counts[kind]} {kind}" for kind in VerdictKind if counts[kind]])
    # What contradicts a document comes first.
    judged = sorted((v for v in verdicts if v.verdict.is_judgement), key=lambda v: v.verdict is VerdictKind.CONFIRMED)
    rows = [_claim(verdict) for verdict in judged[:MAX_CLAIMS]]
    return "\n\n".join(
        filter(None, [f"Of {counted(len(verdicts), 'claim')}: {counts_of_kinds}.", table(_CLAIM_HEADER, rows)])
    )


_CLAIM_HEADER = ("claim", "verdict", "measured")


def _claim(verdict: Verdict) -> tuple[str, str, str]:
    text = f"{verdict.claim.source}: {verdict.claim.text}"
    return shortened(text, LETTERS), str(verdict.verdict), shortened(verdict.reason, LETTERS)


def parameters(data: ReportData) -> str:
    """The parameters that are shown to matter, and the chart of all effects."""
    return "\n\n".join(filter(None, [_findings(data), effects_chart(data)]))


def _findings(data: ReportData) -> str:
    return "\n".join(f"- {escaped(text)}" for text in _few(effect_findings(data)))


def _few(sentences: list[str]) -> Iterator[str]:
    yield from sentences[:MAX_FINDINGS]
    if len(sentences) > MAX_FINDINGS:
        yield f"The details have {len(sentences) - MAX_FINDINGS} more."
