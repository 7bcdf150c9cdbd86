"""How the threads of a configuration spend their time, and how busy its source is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import KINDS, STEP, data, plain, rows_axis, titled

PARTS = {"transform": "workers transform", "load": "load", "wait": "wait"}


@dataclass(frozen=True)
class Threads:
    """Parts of one configuration's time, 0 to 1."""

    label: str
    source: float
    transform: float
    load: float
    wait: float


@dataclass(frozen=True)
class _Part:
    label: str
    part: str
    start: float
    end: float


def busy(rows: Sequence[Threads], *, title: str = "") -> alt.LayerChart:
    """A bar a configuration; the diamond is its source."""
    parts = [part for row in rows for part in _parts(row)]
    names = list(PARTS.values())
    color = alt.Color("part:N", scale=alt.Scale(domain=[*names, KINDS[3], "source busy"]),
                      legend=alt.Legend(values=[*names, "source busy"]))  # fmt: skip
    x = alt.X("start:Q", title="part of the time", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"))
    tip = [alt.Tooltip("label:N", title="configuration"), alt.Tooltip("part:N", title="what"),
           alt.Tooltip("end:Q", format=".0%", title="until")]  # fmt: skip
    bars, sources = ([p for p in parts if (p.part in names) is wanted] for wanted in (True, False))
    layers = alt.layer(
        alt.Chart(data(bars)).mark_bar(height=STEP - 8).encode(
            x=x, x2="end:Q", y=rows_axis(), color=color, tooltip=tip
        ),
        alt.Chart(data(sources)).mark_point(filled=True, shape="diamond", size=70, opacity=1).encode(
            x=alt.X("end:Q"), y=rows_axis(), color=color, tooltip=tip
        ),
    )  # fmt: skip
    how = "a source at 100% brings no more; workers that wait have too little to do"
    return titled(layers.properties(height=STEP * len(rows)), title, how)


def _parts(row: Threads) -> list[_Part]:
    label, edges = (
        plain(row.label, 34),
        [0.0, row.transform, row.transform + row.load, row.transform + row.load + row.wait],
    )
    parts = [_Part(label, name, edges[n], edges[n + 1]) for n, name in enumerate(PARTS.values())]
    return [*parts, _Part(label, "source busy", 0.0, row.source)]
