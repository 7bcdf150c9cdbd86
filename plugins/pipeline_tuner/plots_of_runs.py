"""Charts of what a sweep's runs did: the stages of a staged sweep, and a piece of what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline_tuner.canvas import Draw, Theme, head, plain
from pipeline_tuner.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def waterfall(
    steps: Sequence[tuple[str, float, float, float]], *, title: str, total: tuple[float, float, float] | None = None
) -> Draw:
    """The gain of each stage of a staged sweep, multiplied up: (stage, ratio, low, high); `total` is confirmed."""

    def draw(axes: Axes, theme: Theme) -> None:
        base = 1.0
        for place, (_, value, low, high) in enumerate(steps):
            colour = theme.pick if low > 1 else theme.bad if high < 1 else theme.worse
            axes.bar(place, base * (value - 1), bottom=base, width=0.6, color=colour, alpha=0.8)
            axes.plot([place - 0.3, place + 1.3], [base * value] * 2, color=theme.faint, linewidth=1, linestyle=":")
            axes.plot([place] * 2, [base * low, base * high], color=theme.text, linewidth=1.5)
            words = f"{value:.2f}x" if value != 1 else "nothing paid"
            _note(axes, theme, words, (place, base * max(value, high, 1)))
            base *= value
        if total:
            axes.bar(len(steps), total[0] - 1, bottom=1, width=0.6, color=theme.second, alpha=0.8)
            axes.plot([len(steps)] * 2, total[1:], color=theme.text, linewidth=1.5)
            _note(axes, theme, f"{total[0]:.2f}x", (len(steps), max(total[0], total[2], 1)))
        axes.axhline(1.0, color=theme.faint, linewidth=1)
        names = [*(name for name, *_ in steps), *(["all, confirmed"] if total else [])]
        axes.set_xticks(range(len(names)), [plain(name, 20) for name in names])
        axes.grid(False, axis="x")
        axes.set_ylabel("gain over the control")
        axes.margins(y=0.2)
        head(axes, theme, title, "green: shown to help; grey: not shown; red: shown to hurt")

    return draw


def _note(axes: Axes, theme: Theme, words: str, place: tuple[float, float]) -> None:
    axes.annotate(words, place, xytext=(0, 6), textcoords="offset points", ha="center", color=theme.text, fontsize=9)


def rollups(
    points: Sequence[Sequence[float]], windows: Mapping[str, Sequence[Sequence[float]]], *, title: str, start: str
) -> Draw:
    """Raw points (seconds, value) and the windows made of them: by resolution (ms) (end, mean, lowest, highest)."""

    def draw(axes: Axes, theme: Theme) -> None:
        axes.plot([p[0] / 60 for p in points], [p[1] for p in points], ".", color=theme.faint, markersize=3, alpha=0.6)
        colours = (theme.tied, theme.second, theme.pick, theme.bad)
        for colour, (resolution, rows) in zip(colours, windows.items(), strict=False):
            minutes = float(resolution) / 60_000
            edges = [rows[0][0] / 60 - minutes, *(row[0] / 60 for row in rows)]
            means = [row[1] for row in rows]
            axes.plot(edges, [means[0], *means], color=colour, linewidth=2, drawstyle="steps-pre")
            low, high = [row[2] for row in rows], [row[3] for row in rows]
            band: dict[str, Any] = {"step": "pre", "color": colour, "alpha": 0.1, "linewidth": 0}
            axes.fill_between(edges, [low[0], *low], [high[0], *high], **band)
            axes.plot([], [], color=colour, linewidth=2, label=f"mean of {number(minutes)} min")
        axes.legend(frameon=False, labelcolor=theme.text, loc="upper center", ncols=4, bbox_to_anchor=(0.5, -0.18))
        axes.margins(x=0.01, y=0.08)
        axes.set_xlabel(f"minutes after {plain(start)}")
        head(axes, theme, title, "dots: raw points; lines: means of windows; shaded: their lowest to highest")

    return draw
