"""What all charts share: the record `Value`, marks, axes, styles of the light and dark theme, saving as SVG and PNG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

Chart = alt.LayerChart
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
"""The version that the specifications are written in; whatever draws them must be told."""
STEP = 24
"""Height of a row, in pixels."""
KINDS = ("pick", "tied", "other", "bad", "second")
"""What a colour can mean, in the order of the themes' colours."""
GAIN_TICKS = (0.05, 0.1, 0.2, 0.33, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7, 10, 20, 50, 100)
MAX_TICKS = 8
ROWS, COLUMNS = alt.Y("at:N", sort=None, title=None), alt.X("at:N", sort=None, title=None).axis(labelAngle=0)
"""Names one under the other or side by side, in the order of the values."""
SHAPE = alt.Shape("kind:N", legend=None).scale(domain=list(KINDS), range=[*["circle"] * 4, "diamond"])
"""What was confirmed is a diamond."""


@dataclass(frozen=True)
class Value:
    """One value at a place (a name, a level, a moment), with bounds where it has some; without a value a line breaks.

    `kind` is what its colour means, `words` what a pointer shows, `href` where a click leads, `label` whose it is,
    `other` what else places or colours it: where a window ends, where a column begins, a score.
    """

    at: float | str
    value: float | None
    low: float | None = None
    high: float | None = None
    kind: str = "pick"
    words: str = ""
    href: str = ""
    label: str = ""
    other: float | None = None


def mark(kind: str, *styles: str, **places: Any) -> alt.Chart:
    """What is drawn for each value of a layer; what it shares with other marks stands in the layer.

    :param styles: Names of the themes' styles, the later ones over the earlier.
    """
    # Altair looks through its schema for what a text means, which takes long: it is told.
    at = {name: getattr(alt, name.capitalize())(one) if isinstance(one, str) else one for name, one in places.items()}
    drawn: alt.Chart = getattr(alt.Chart(), f"mark_{kind}")(style=styles).encode(**at)
    return drawn


def layer(
    values: Sequence[Value], *marks: alt.Chart, tip: Mapping[str, str] | None = None, tinted: bool = True, **shared: Any
) -> Chart:
    """Marks of the same values, in the colour of their `kind` and with their `href` where they have one.

    :param tip: What a pointer shows: fields with their titles.
    :param tinted: Whether the kind has its colour; names and remarks are in the text's.
    """
    if tinted:
        shared = {"color": alt.Color("kind:N", legend=None).scale(domain=list(KINDS))} | shared
    if tip:
        shared["tooltip"] = [alt.Tooltip(f"{name}:N", title=plain(title, 60)) for name, title in tip.items()]
    if any(one.href for one in values):
        shared["href"] = alt.Href("href:N")
    # A tuple, as Altair copies lists at every step; unchecked, as a value may hold anything.
    with debug_mode(False):
        data = alt.Data(values=tuple(map(_record, values)))
    return alt.LayerChart(data=data, layer=list(marks)).encode(**shared)


def _record(value: Value) -> dict[str, Any]:
    """A value as Vega-Lite reads it, without what is empty or no finite number."""
    found = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in vars(value).items()}
    return {k: v for k, v in found.items() if v == v and v not in (None, "", math.inf, -math.inf)}


def stack(*layers: Chart, height: Any, title: str = "", how: str = "") -> Chart:
    """Layers with values one over the other. A chart on a page has its heading there and needs no title."""
    told: Any = {"title": alt.TitleParams(plain(title, 90), subtitle=plain(how, 110))} if title else {}
    return alt.LayerChart(layer=[one for one in layers if one["data"]["values"]], height=height, **told)


def plain(text: str, letters: int = 40) -> str:
    """Text in one line, shortened in the middle: configurations often differ in their last words."""
    line = " ".join(str(text).split())
    half = letters // 2
    return line if len(line) <= letters else f"{line[:half]}…{line[half + 1 - letters :]}"


def at_one(**place: Any) -> Chart:
    """A faint line where a ratio is 1; `place` is `x` or `y`, the field `value` with the chart's scale."""
    return layer([Value("", 1.0)], mark("rule", "faint", **place), tinted=False)


def gain_axis(shown: Sequence[Value], title: str, channel: Any = alt.X) -> Callable[[str], Any]:
    """A field's place on a log axis for ratios that shows all of these values with their bounds, and 1."""
    ends = [end for one in shown for end in (one.value, one.low, one.high) if end and 0 < end < math.inf]
    low, high = max(min([*ends, 0.97]), 0.05), min(max([*ends, 1.03]), 100.0)
    edge = (high / low) ** 0.04
    ticks = [tick for tick in GAIN_TICKS if low / edge <= tick <= high * edge]
    while len(ticks) > MAX_TICKS:
        ticks = ticks[ticks.index(1) % 2 :: 2]
    scale = alt.Scale(type="log", domain=[low / edge, high * edge], nice=False)
    axis = alt.Axis(values=ticks, labelExpr="format(datum.value, '~g') + 'x'")
    return lambda field: channel(f"{field}:Q", scale=scale, axis=axis, title=plain(title, 60))


def _theme(background: str, text: str, faint: str, grid: str, *kinds: str) -> Mapping[str, Any]:
    """How everything looks in these colours, as Vega-Lite's `config`; `kinds` in the order of `KINDS`."""
    words = {"labelColor": text, "titleColor": faint, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": background, "font": "system-ui, DejaVu Sans, Noto Sans, sans-serif", "view": {"stroke": None},
        "axis": words | {"domain": False, "ticks": False, "gridColor": grid, "titleFontWeight": "normal",
                         "labelPadding": 6, "titlePadding": 8, "labelLimit": 260},
        "axisDiscrete": {"grid": False}, "axisX": {"tickCount": 10, "titleAnchor": "end"},
        "legend": words | {"title": None, "orient": "bottom", "symbolStrokeWidth": 3},
        "title": {"color": text, "subtitleColor": faint, "anchor": "start", "fontSize": 14, "subtitleFontSize": 12,
                  "offset": 12, "frame": "group"},
        "area": {"opacity": 0.18}, "rect": {"opacity": 0.1}, "point": {"filled": True, "size": 60, "opacity": 1},
        "text": {"color": text, "fontSize": 11}, "range": {"category": kinds, "ramp": [grid, *kinds[1::-1]]},
        "style": {
            "interval": {"strokeWidth": 4, "opacity": 0.45, "strokeCap": "round", "aria": False},
            "trial": {"size": 45, "opacity": 0.75}, "small": {"size": 30}, "raw": {"size": 8, "color": faint},
            "edge": {"thickness": 2, "size": 14}, "bar": {"size": 10, "minBandSize": 1}, "row": {"size": 16},
            "column": {"size": 46, "opacity": 0.8}, "course": {"strokeWidth": 1.5, "opacity": 0.55},
            "faint": {"color": faint, "strokeWidth": 1}, "weak": {"opacity": 0.5}, "wide": {"strokeWidth": 2},
            "steps": {"interpolate": "step-after"}, "dashed": {"strokeDash": [5, 4]}, "dotted": {"strokeDash": [3, 3]},
            "zone": {"color": grid, "opacity": 0.7}, "said": {"color": text}, "before": {"align": "right", "dx": -9},
            "note": {"color": kinds[4], "align": "left", "dx": 4}, "after": {"align": "left", "dx": 6},
        },
    }  # fmt: skip


_LIGHT = ("#ffffff", "#1f2933", "#5b6675", "#e4e7eb", "#0b6e4f", "#2f6fb3", "#7b8794", "#b3261e", "#b7791f")
_DARK = ("#16191d", "#e6e9ec", "#9aa5b1", "#2c3238", "#4cc38a", "#6cb2ff", "#8a95a3", "#ff7b72", "#e3b341")
THEMES: Mapping[str, Mapping[str, Any]] = MappingProxyType({"light": _theme(*_LIGHT), "dark": _theme(*_DARK)})


def specification(chart: Chart) -> dict[str, Any]:
    """The chart as Vega-Lite, in no theme. Unchecked, as that would take longer than all the rest: tests check it."""
    return {name: part for name, part in chart.to_dict(validate=False).items() if name != "config"}


def page_specification(chart: Chart) -> dict[str, Any]:
    """The chart as Vega-Lite, as wide as its place on a page, which has its title."""
    shown = {name: part for name, part in specification(chart).items() if name != "title"}
    return shown | {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def save(folder: Path, name: str, chart: Chart) -> Path:
    """Write `NAME.svg`, `NAME.png`, `NAME-dark.svg` and `NAME-dark.png`; the path of the light SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme, path in (("dark", folder / f"{name}-dark.svg"), ("light", folder / f"{name}.svg")):
        shown = specification(chart) | {"width": 640, "padding": 12, "config": THEMES[theme]}
        svg = vl_convert.vegalite_to_svg(shown, vl_version=VEGA_LITE)
        path.write_text(svg, encoding="utf-8")
        path.with_suffix(".png").write_bytes(vl_convert.svg_to_png(svg, scale=1.5))
    return path
