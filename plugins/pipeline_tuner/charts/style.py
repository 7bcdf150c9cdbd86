"""What all charts share: colours of the light and dark theme, sizes, axes, the record `Value` with its tooltip, saving
as SVG and PNG.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

Chart = alt.TopLevelMixin
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
"""The version that the specifications are written in; whatever draws them must be told."""
WIDTH = 640
STEP = 24
"""Width of a chart in a file, and height of a row, in pixels."""
KINDS = ("pick", "tied", "other", "bad", "second")
"""What a colour can mean, in the order of the themes' colours."""
LETTERS = 40
GAIN_TICKS = (0.05, 0.1, 0.2, 0.33, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7, 10, 20, 50, 100)
MAX_TICKS = 8
NOTHING: Mapping[str, str] = MappingProxyType({})
RANGE = {"strokeWidth": 4, "opacity": 0.45, "strokeCap": "round", "aria": False}
DOT = {"filled": True, "size": 60, "opacity": 1}
LINE = {"strokeWidth": 2}
FAINT, MARKER, WORDS, BAND = ({"style": name} for name in ("faint", "note", "words", "band"))
NOTE = {"style": "note", "align": "left", "dx": 4}
"""How intervals, values, courses, references, remarks and names look in every chart."""


@dataclass(frozen=True)
class Value:
    """One value at a place (a name, a level, a moment), with bounds where it has some; without a value a line breaks.

    `kind` is what its colour means, `words` what a pointer shows, `href` where a click leads.
    """

    at: float | str
    value: float | None
    low: float | None = None
    high: float | None = None
    kind: str = "pick"
    words: str = ""
    href: str = ""


@dataclass(frozen=True)
class Theme:
    """The colours of one variant."""

    name: str
    background: str
    text: str
    faint: str
    grid: str
    kinds: tuple[str, str, str, str, str]

    @property
    def config(self) -> dict[str, Any]:
        """The theme as Vega-Lite's `config`."""
        text = {"labelColor": self.text, "titleColor": self.faint, "labelFontSize": 12, "titleFontSize": 12}
        return {
            "background": self.background,
            "font": "system-ui, DejaVu Sans, Noto Sans, sans-serif",
            "view": {"stroke": None},
            "axis": {**text, "domain": False, "ticks": False, "gridColor": self.grid, "titleFontWeight": "normal",
                     "labelPadding": 6, "titlePadding": 8, "labelLimit": 260},
            "legend": {**text, "title": None, "orient": "bottom", "symbolStrokeWidth": 3},
            "title": {"color": self.text, "subtitleColor": self.faint, "anchor": "start", "fontSize": 14,
                      "subtitleFontSize": 12, "offset": 12, "frame": "group"},
            "text": {"color": self.text, "fontSize": 11},
            "range": {"category": list(self.kinds), "ramp": [self.grid, *self.kinds[1::-1]]},
            "style": {"faint": {"color": self.faint}, "band": {"color": self.grid, "opacity": 0.7},
                      "note": {"color": self.kinds[4]}, "words": {"color": self.text}},
        }  # fmt: skip


LIGHT = Theme(
    "light", "#ffffff", "#1f2933", "#5b6675", "#e4e7eb", ("#0b6e4f", "#2f6fb3", "#7b8794", "#b3261e", "#b7791f")
)
DARK = Theme(
    "dark", "#16191d", "#e6e9ec", "#9aa5b1", "#2c3238", ("#4cc38a", "#6cb2ff", "#8a95a3", "#ff7b72", "#e3b341")
)
THEMES = (LIGHT, DARK)


def specification(chart: Chart) -> dict[str, Any]:
    """The chart as Vega-Lite, in no theme. Tests check every chart against the schema; here that would take longer
    than all the rest."""
    document: dict[str, Any] = chart.to_dict(validate=False)
    document.pop("config", None)
    return document


def page_specification(chart: Chart) -> dict[str, Any]:
    """The chart as Vega-Lite, as wide as its place on a page, which has its title."""
    document = specification(chart) | {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    document.pop("title", None)
    return document


def save(folder: Path, name: str, chart: Chart) -> Path:
    """Write `NAME.svg`, `NAME.png`, `NAME-dark.svg` and `NAME-dark.png`; the path of the light SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = {"width": WIDTH, "padding": 12} | specification(chart)
    for theme, suffix in ((LIGHT, ""), (DARK, "-dark")):
        svg = vl_convert.vegalite_to_svg(shown | {"config": theme.config}, vl_version=VEGA_LITE)
        (folder / f"{name}{suffix}.svg").write_text(svg, encoding="utf-8")
        (folder / f"{name}{suffix}.png").write_bytes(vl_convert.svg_to_png(svg, scale=1.5))
    return folder / f"{name}.svg"


def mark(kind: str, style: Mapping[str, Any], **places: Any) -> alt.Chart:
    """What is drawn for each value of a layer; what it shares with other marks stands in the layer."""
    drawn: alt.Chart = getattr(alt.Chart(), f"mark_{kind}")(**style).encode(**places)
    return drawn


def layer(
    values: Sequence[Value], *marks: alt.Chart, tip: Mapping[str, str] = NOTHING, tinted: bool = True, **shared: Any
) -> alt.LayerChart:
    """Marks of the same values, in the colour of their `kind` and with their `href` where they have one.

    :param tip: What a pointer shows: fields with their titles.
    :param tinted: Whether the kind has its colour; names and remarks are in the text's.
    """
    if tinted:
        shared = {"color": alt.Color("kind:N", legend=None).scale(domain=list(KINDS))} | shared
    if tip:
        shared |= {"tooltip": [alt.Tooltip(f"{name}:N", title=plain(title, 60)) for name, title in tip.items()]}
    if any(one.href for one in values):
        shared |= {"href": "href:N"}
    found: alt.LayerChart = alt.LayerChart(data=_data(values), layer=list(marks)).encode(**shared)
    return found


def stacked(*layers: alt.LayerChart, height: Any, title: str = "", how: str = "") -> alt.LayerChart:
    """Layers one over the other. A chart on a page has its heading there and needs no title."""
    chart: alt.LayerChart = alt.LayerChart(layer=list(layers)).properties(height=height)
    return chart.properties(title=alt.TitleParams(plain(title, 90), subtitle=plain(how, 110))) if title else chart


def ranges(place: Callable[[str], Any], **places: Any) -> tuple[alt.Chart, alt.Chart]:
    """An interval from `low` to `high` and a dot at its `value`; `place` is the axis, `places` are the dot's own."""
    side = "y" if isinstance(place("low"), alt.Y) else "x"
    bounds = mark("rule", RANGE, **{side: place("low"), f"{side}2": "high:Q"})
    return bounds, mark("point", DOT, **{side: place("value")}, **places)


def _data(values: Sequence[Value]) -> alt.Data:
    """Values as a chart's data; what is empty or no finite number is left out."""
    # A tuple, as Altair copies lists at every step; unchecked, as a value may hold anything.
    found = tuple({f.name: _open(getattr(one, f.name)) for f in fields(one)} for one in values)
    with debug_mode(False):
        return alt.Data(values=tuple({k: v for k, v in one.items() if v not in (None, "")} for one in found))


def _open(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def plain(text: str, letters: int = LETTERS) -> str:
    """Text in one line, shortened in the middle: configurations often differ in their last words."""
    line = " ".join(str(text).split())
    half = (letters - 1) // 2
    return line if len(line) <= letters else f"{line[: letters - 1 - half]}…{line[-half:]}"


def rows_axis() -> alt.Y:
    """Names one under the other, in the order of the values."""
    return alt.Y("at:N", sort=None, title=None).axis(grid=False)


def one_line(**place: Any) -> alt.LayerChart:
    """A faint line where a ratio is 1; `place` is `x` or `y`, the field `value` with the chart's scale."""
    return layer([Value("", 1.0)], mark("rule", FAINT), tinted=False, **place)


def gain_axis(values: Sequence[float], title: str, channel: Any = alt.X) -> Callable[[str], Any]:
    """A field's place on a log axis for ratios that shows all of these values and 1."""
    known = [value for value in values if math.isfinite(value) and value > 0]
    low, high = max(min([*known, 0.97]), 0.05), min(max([*known, 1.03]), 100.0)
    edge = (high / low) ** 0.04
    ticks = [tick for tick in GAIN_TICKS if low / edge <= tick <= high * edge]
    while len(ticks) > MAX_TICKS:
        ticks = [tick for place, tick in enumerate(ticks) if (place - ticks.index(1)) % 2 == 0]
    scale = alt.Scale(type="log", domain=[low / edge, high * edge], nice=False)
    axis = alt.Axis(values=ticks, labelExpr="format(datum.value, '~g') + 'x'")
    return lambda field: channel(f"{field}:Q", scale=scale, axis=axis, title=plain(title, 60))
