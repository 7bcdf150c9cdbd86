"""Chart: a trial's partitions from start to end, the slow and the failed ones marked."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from pipeline_tuner.charts.style import Value, layer, mark, rows_axis, stacked

STEP = 14


def partitions(spans: Sequence[Value]) -> alt.LayerChart:
    """Bars along the time of the run."""
    x = alt.X("low:Q", title="seconds since the work began")
    bars = mark("bar", {"height": STEP - 4, "cornerRadius": 2, "minBandSize": 1}, x=x, x2="high:Q", y=rows_axis())
    return stacked(layer(spans, bars, tip={"at": "partition", "words": "took"}), height=STEP * len(spans) + 4)
