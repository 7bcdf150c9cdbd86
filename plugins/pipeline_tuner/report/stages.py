"""Section of the analysis on a staged sweep: what each stage is worth, as a waterfall chart."""

from __future__ import annotations

import math

from pipeline_tuner.analysis.stages import Step, steps
from pipeline_tuner.charts import style
from pipeline_tuner.charts.gains import waterfall
from pipeline_tuner.report.data import ReportData
from pipeline_tuner.report.markdown import table
from pipeline_tuner.space import difference


def stages(data: ReportData) -> str:
    """A row per stage with what it changed and gained; empty for other strategies."""
    if data.options.strategy != "staged":
        return ""
    found = steps(data.study, data.options, data.results)
    if not found:
        return ""
    rows = [(step.stage, _change(step), _gain(step)) for step in found]
    head = "Each stage starts from what the stages before have kept, and keeps a change only where it pays."
    note = "These gains come from the search, which flatters them a little; the confirmed gain is that of all together."
    return "\n\n".join([head, table(("stage", "change", "gain"), rows), note, _chart(data, found)])


def _change(step: Step) -> str:
    return difference(step.after.configuration, step.before.configuration) if step.paid else "nothing paid"


def _gain(step: Step) -> str:
    if not step.paid:
        return "kept as it was"
    if step.gain is None:
        return "unknown"
    return f"{step.gain.value:.2f}x ({step.gain.low:.2f} to {step.gain.high:.2f})"


def _chart(data: ReportData, found: tuple[Step, ...]) -> str:
    bars = []
    for step in found:
        gain = step.gain if step.paid and step.gain and math.isfinite(step.gain.high) else None
        bars.append((step.stage, gain))
    fresh = data.subject.evidence.confirmed if data.subject and data.subject.label != data.control_label else None
    total = fresh if fresh and math.isfinite(fresh.high) else None
    path = style.save(data.folder, "stages", waterfall(bars, title="What each stage is worth", total=total))
    return f"![What each stage is worth]({path.name})"
