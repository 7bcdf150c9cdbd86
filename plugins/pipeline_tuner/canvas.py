"""What all charts share: the colours for light and dark pages, the axes' look, and how they are written.

Drawn by matplotlib without a display. `save` provides the axes, so that each chart is described once and
written in every variant: `NAME.svg`, `NAME.png`, `NAME-dark.svg`, `NAME-dark.png`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes", "Theme"], None]


@dataclass(frozen=True)
class Theme:
    """The colours of one variant."""

    name: str
    background: str
    text: str
    faint: str
    grid: str
    pick: str
    tied: str
    worse: str
    bad: str
    second: str

    def of(self, standing: str) -> str:
        """The colour of a configuration's standing (recommendation's evidence)."""
        return {"pick": self.pick, "tied": self.tied, "open": self.tied, "out": self.bad}.get(standing, self.worse)


LIGHT = Theme(
    "light", "#ffffff", "#1f2933", "#68737d", "#e4e7eb", "#0b6e4f", "#2f6fb3", "#8a94a0", "#b3261e", "#b7791f"
)
DARK = Theme("dark", "#16191d", "#e6e9ec", "#9aa5b1", "#2c3238", "#4cc38a", "#6cb2ff", "#77818c", "#ff7b72", "#e3b341")


def save(folder: Path, name: str, draw: Draw, *, size: tuple[float, float] = (8.0, 4.0)) -> Path:
    """Draw in both themes and both formats; the path of the light SVG. `size` is in inches."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    for theme, suffix in ((LIGHT, ""), (DARK, "-dark")):
        with rc_context({"svg.hashsalt": name, "svg.fonttype": "path", "font.size": 10, "font.family": "DejaVu Sans"}):
            figure = Figure(figsize=size, layout="constrained", facecolor=theme.background)
            FigureCanvasAgg(figure)
            axes = figure.add_subplot(facecolor=theme.background)
            _dress(axes, theme)
            draw(axes, theme)
            figure.savefig(folder / f"{name}{suffix}.svg", metadata={"Date": None})
            figure.set_layout_engine(
                "none"
            )  # it is laid out now; doing it again for the PNG costs a quarter of the time
            figure.savefig(folder / f"{name}{suffix}.png", dpi=144)
    return folder / f"{name}.svg"


def _dress(axes: Axes, theme: Theme) -> None:
    axes.tick_params(colors=theme.faint, labelcolor=theme.text, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.grid)
    axes.grid(True, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for item in (axes.title, axes.xaxis.label, axes.yaxis.label):
        item.set_color(theme.text)


def head(axes: Axes, theme: Theme, title: str, subtitle: str = "") -> None:
    """Write the title, and below it how to read the chart."""
    axes.set_title(plain(title), loc="left", fontweight="bold", color=theme.text, pad=24 if subtitle else 10)
    if subtitle:
        place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 8), "textcoords": "offset points"}
        axes.annotate(plain(subtitle), (0, 1), **place, color=theme.faint, fontsize=9)


def plain(text: str, length: int = 90) -> str:
    """Text as it stands: no mathematics in dollars, one line, shortened."""
    line = " ".join(str(text).split())
    return (line if len(line) <= length else f"{line[: length - 1]}…").replace("$", r"\$")
