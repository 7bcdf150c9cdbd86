"""Charts of a sweep. Every function takes plain figures and returns what draws them; `save` writes the variants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_tuner.canvas import Draw, Theme, head, plain, save
from pipeline_tuner.recommendation import ConfigurationEvidence
from pipeline_tuner.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bars_of", "convergence", "effects", "history", "intervals", "pareto", "save", "scaling"]


@dataclass(frozen=True)
class Bar:
    """One configuration's gain over the control with its bounds (above 1: better); None where there is none."""

    label: str
    standing: str
    value: float
    low: float
    high: float
    confirmed: tuple[float, float, float] | None = None


def bars_of(evidence: Mapping[str, ConfigurationEvidence]) -> list[Bar]:
    """The bars of a recommendation's evidence, the best first; configurations without a ratio are left out."""
    bars = []
    for label, found in evidence.items():
        ratio, fresh = found.ratio, found.confirmed
        if ratio:
            confirmed = (fresh.value, fresh.low, fresh.high) if fresh and fresh.low < fresh.high else None
            bars.append(Bar(label, str(found.standing), ratio.value, ratio.low, ratio.high, confirmed))
    return sorted(bars, key=lambda bar: -bar.value)


def intervals(bars: Sequence[Bar], *, title: str, zone: float = 0.05, most: int = 24) -> Draw:
    """Gain over the control by configuration, the search's interval above, the confirmed one below it in a diamond."""
    shown = list(bars)[:most]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axvspan(1 / (1 + zone), 1 + zone, color=theme.grid, alpha=0.6, linewidth=0)
        axes.axvline(1.0, color=theme.faint, linewidth=1)
        for row, bar in enumerate(shown):
            colour = theme.of(bar.standing)
            axes.plot([bar.low, bar.high], [row, row], color=colour, linewidth=5, alpha=0.45, solid_capstyle="round")
            axes.plot(bar.value, row, "o", color=colour, markersize=7)
            if bar.confirmed:
                value, low, high = bar.confirmed
                axes.plot([low, high], [row + 0.28] * 2, color=theme.second, linewidth=2, solid_capstyle="round")
                axes.plot(value, row + 0.28, "D", color=theme.second, markersize=5)
        axes.set_yticks(range(len(shown)), [plain(_marked(bar), 40) for bar in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(False, axis="y")
        _ratio_axis(axes, [b for bar in shown for b in (bar.low, bar.high, *(bar.confirmed or ()))])
        axes.set_xlabel("gain over the control in the same block (right is better)")
        left_out = f", {len(bars) - most} worse ones not shown" if len(bars) > most else ""
        head(axes, theme, title, f"dot: search with its interval; diamond: confirmed in fresh blocks{left_out}")

    return draw


def _marked(bar: Bar) -> str:
    mark = {"pick": "▶ ", "tied": "≈ ", "open": "? ", "out": "✗ "}.get(bar.standing, "")
    return f"{mark}{bar.label}"


def _ratio_axis(axes: Axes, values: Sequence[float]) -> None:
    finite = [value for value in values if math.isfinite(value) and value > 0]
    low, high = min([*finite, 0.95]), max([*finite, 1.05])
    low, high = max(low, 0.05), min(high, 100.0)
    axes.set_xlim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
    if high / low > 3:
        axes.set_xscale("log")
        steps = [0.05, 0.1, 0.2, 0.33, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100]
        ticks = [tick for tick in steps if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2f}x")


def effects(rows: Sequence[tuple[str, float, float, float, bool]], *, title: str) -> Draw:
    """How much each parameter changes the goal: (name, ratio, low, high, whether it is shown), the largest first."""

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axvline(1.0, color=theme.faint, linewidth=1)
        for row, (_, value, low, high, shown) in enumerate(rows):
            colour = theme.pick if shown else theme.worse
            axes.plot([low, high], [row, row], color=colour, linewidth=5, alpha=0.4, solid_capstyle="round")
            axes.plot(value, row, "o", color=colour, markersize=7)
        axes.set_yticks(range(len(rows)), [plain(name, 48) for name, *_ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(False, axis="y")
        _ratio_axis(axes, [bound for _, value, low, high, _ in rows for bound in (value, low, high)])
        axes.set_xlabel("change of the goal, all else equal (right is better)")
        head(axes, theme, title, "green: shown to matter; grey: not shown")

    return draw


def pareto(points: Mapping[str, tuple[float, float, str]], front: Sequence[str], *, x: str, y: str, title: str) -> Draw:
    """Two goals against each other as gains over the control: label -> (x, y, standing); right and up is better."""

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axvline(1.0, color=theme.grid, linewidth=1.2)
        axes.axhline(1.0, color=theme.grid, linewidth=1.2)
        edge = sorted((points[label][:2] for label in front), key=lambda point: point[0])
        axes.plot([p[0] for p in edge], [p[1] for p in edge], color=theme.pick, alpha=0.5, linewidth=2)
        readable = _apart(points, [*front, *points])
        for label, (gain_x, gain_y, standing) in points.items():
            on_front = label in front
            axes.plot(gain_x, gain_y, "o", color=theme.pick if on_front else theme.of(standing), markersize=8)
            near: dict[str, Any] = {"xytext": (6, 5), "textcoords": "offset points", "fontsize": 8}
            if label in readable:
                colour = theme.text if on_front else theme.faint
                axes.annotate(plain(label, 28), (gain_x, gain_y), **near, color=colour)
        axes.margins(0.12)
        axes.set_xlabel(plain(f"{x}, gain over the control"))
        axes.set_ylabel(plain(f"{y}, gain over the control"))
        head(axes, theme, title, "line: the Pareto front; right and up is better")

    return draw


def _apart(points: Mapping[str, tuple[float, float, str]], order: Sequence[str], most: int = 14) -> set[str]:
    """The labels that can be written without running into one another, the first ones first."""
    xs, ys = [p[0] for p in points.values()], [p[1] for p in points.values()]
    wide, high = (max(xs) - min(xs)) or 1.0, (max(ys) - min(ys)) or 1.0
    kept: list[str] = []
    for label in dict.fromkeys(order):
        x, y, _ = points[label]
        near = (abs(x - points[k][0]) / wide < 0.15 and abs(y - points[k][1]) / high < 0.05 for k in kept)
        if len(kept) < most and not any(near):
            kept.append(label)
    return set(kept)


def scaling(
    points: Sequence[tuple[float, float, float, float]],
    curve: Sequence[tuple[float, float, float, float]],
    *,
    title: str,
    x: str,
    measured_to: float,
    knee: float | None = None,
    subtitle: str = "",
) -> Draw:
    """Speed-up by level: measured (x, value, low, high), the fitted curve with its band, dashed where extrapolated."""

    def draw(axes: Axes, theme: Theme) -> None:
        xs = [p[0] for p in curve]
        axes.fill_between(xs, [p[2] for p in curve], [p[3] for p in curve], color=theme.tied, alpha=0.18, linewidth=0)
        inside = [p for p in curve if p[0] <= measured_to]
        outside = [p for p in curve if p[0] >= measured_to]
        axes.plot([p[0] for p in inside], [p[1] for p in inside], color=theme.tied, linewidth=2)
        axes.plot(
            [p[0] for p in outside], [p[1] for p in outside], color=theme.tied, linewidth=2, linestyle=(0, (4, 3))
        )
        axes.plot(xs, [curve[0][1] * p / xs[0] for p in xs], color=theme.faint, linewidth=1, linestyle=":")
        for level, value, low, high in points:
            axes.plot([level, level], [low, high], color=theme.pick, linewidth=3, alpha=0.5, solid_capstyle="round")
            axes.plot(level, value, "o", color=theme.pick, markersize=7)
        if knee is not None:
            axes.axvline(knee, color=theme.second, linewidth=1.2)
            axes.annotate(f"{number(knee)}: more adds little", (knee, 0.03), xycoords=("data", "axes fraction"),
                          xytext=(5, 0), textcoords="offset points", color=theme.second, fontsize=9)  # fmt: skip
        top = max([p[3] for p in points if math.isfinite(p[3])] + [p[1] for p in curve])
        axes.set_ylim(0, top * 1.25)
        axes.set_xlabel(plain(x))
        axes.set_ylabel("speed-up")
        head(axes, theme, title, subtitle or "dotted: ideal; dashed: beyond what was measured")

    return draw


def convergence(steps: Sequence[tuple[int, float]], *, title: str, final: tuple[int, float] | None = None) -> Draw:
    """The best gain seen after each trial; `final` is the confirmed value, which is what counts."""

    def draw(axes: Axes, theme: Theme) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.axhline(1.0, color=theme.faint, linewidth=1)
        axes.step([s[0] for s in steps], [s[1] for s in steps], where="post", color=theme.tied, linewidth=2)
        if final:
            axes.plot(*final, "D", color=theme.second, markersize=7)
            axes.annotate("confirmed", final, xytext=(0, -16), textcoords="offset points", ha="right",
                          color=theme.second, fontsize=9)  # fmt: skip
        axes.set_xlabel("trials")
        axes.set_ylabel("best gain seen")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2f}x")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.02, y=0.15)
        head(axes, theme, title, "single runs flatter the best one: the diamond is the honest value")

    return draw


def history(
    nights: Sequence[str],
    production: Sequence[float],
    control: Sequence[float],
    changes: Sequence[tuple[int, str]] = (),
    *,
    title: str,
    y: str,
    name: str = "production",
) -> Draw:
    """The goal over the nights for production (or `name`) and control, with changes: (index, what changed)."""

    def draw(axes: Axes, theme: Theme) -> None:
        places = list(range(len(nights)))
        axes.plot(places, control, "-", color=theme.worse, linewidth=1.5, label="control")
        axes.plot(places, production, "o-", color=theme.pick, linewidth=2, markersize=4, label=plain(name, 30))
        for index, words in changes:
            axes.axvline(index - 0.5, color=theme.bad, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate(plain(words, 40), (index - 0.5, 1), xycoords=("data", "axes fraction"), xytext=(4, -12),
                          textcoords="offset points", color=theme.bad, fontsize=9)  # fmt: skip
        step = max(1, len(nights) // 8)
        axes.set_xticks(places[::step], [plain(night, 12) for night in nights[::step]])
        axes.set_ylabel(plain(y))
        axes.margins(x=0.02, y=0.2)
        axes.legend(frameon=False, labelcolor=theme.text, loc="lower left", ncols=2)
        head(axes, theme, title)

    return draw


def busy(rows: Sequence[tuple[str, float, float, float, float]], *, title: str) -> Draw:
    """How the threads spend their time: (configuration, source busy, workers transforming, loading, idle), as parts."""

    def draw(axes: Axes, theme: Theme) -> None:
        colours = {"workers transform": theme.pick, "load": theme.tied, "wait": theme.grid}
        left = [0.0] * len(rows)
        for place, (name, colour) in enumerate(colours.items(), start=2):
            widths = [float(row[place]) for row in rows]
            axes.barh(range(len(rows)), widths, left=left, height=0.62, color=colour, label=name)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.plot(
            [row[1] for row in rows], range(len(rows)), "D", color=theme.second, markersize=6, label="source busy"
        )
        axes.set_yticks(range(len(rows)), [plain(row[0], 34) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(False, axis="y")
        axes.legend(
            frameon=False, labelcolor=theme.text, loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=2.2, ncols=4
        )
        head(axes, theme, title, "a source at 100% brings no more; workers that wait have too little to do")

    return draw
