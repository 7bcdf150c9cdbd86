"""Two goals against each other as gains over the control, with the configurations that none beats in both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.analysis.preference import front
from pipeline_tuner.charts.look import DOT, LINE, WORDS, gain_axis, layer, mark, plain, stacked

NAMED = 14
WIDE, HIGH = 0.2, 0.06
"""Labels that are nearer than these parts of the axes run into one another."""


@dataclass(frozen=True)
class GainPair:
    """One configuration."""

    label: str
    x: float
    y: float
    kind: str
    words: str
    name: str
    """What is written beside it; empty where there is no room."""
    href: str = ""


def gain_pairs(gains: Mapping[str, tuple[float, float]], address: Callable[[str], str] | None = None) -> list[GainPair]:
    """The configurations by label, those on the Pareto front marked."""
    edge = set(front({label: [math.log(x), math.log(y)] for label, (x, y) in gains.items()}))
    order = sorted(gains, key=lambda label: label not in edge)
    named = _apart(gains, order)
    return [
        GainPair(label, *gains[label], "pick" if label in edge else "other",
                 f"{gains[label][0]:.2f}x, {gains[label][1]:.2f}x", plain(label, 28) if label in named else "",
                 address(label) if address else "")
        for label in order
    ]  # fmt: skip


def _apart(gains: Mapping[str, tuple[float, float]], order: list[str]) -> set[str]:
    """The labels that can be written without running into one another, the first ones first."""
    places = {label: (math.log(x), math.log(y)) for label, (x, y) in gains.items()}
    spans = [max(side) - min(side) or 1.0 for side in zip(*places.values(), strict=True)]
    kept: list[str] = []
    for label in order:
        x, y = places[label]
        near = (abs(x - places[k][0]) < WIDE * spans[0] and abs(y - places[k][1]) < HIGH * spans[1] for k in kept)
        if len(kept) < NAMED and not any(near):
            kept.append(label)
    return set(kept)


def pareto(pairs: list[GainPair], *, x: str, y: str, title: str = "") -> alt.LayerChart:
    """Right and up is better; the line joins the Pareto front."""
    across = gain_axis([pair.x for pair in pairs], f"{x}, gain over the control")("x")
    up = gain_axis([pair.y for pair in pairs], f"{y}, gain over the control", alt.Y)("y")
    best = sorted((pair for pair in pairs if pair.kind == "pick"), key=lambda pair: pair.x)
    name = mark("text", WORDS | {"align": "right", "dx": -8, "dy": -5}, text="name:N")
    return stacked(
        layer(best, mark("line", LINE | {"opacity": 0.5}), x=across, y=up),
        layer(pairs, mark("point", DOT), tip={"label": "configuration", "words": f"{x}, {y}"}, x=across, y=up),
        layer(pairs, name, tinted=False, x=across, y=up),
        height=340, title=title, how="line: the Pareto front; right and up is better",
    )  # fmt: skip
