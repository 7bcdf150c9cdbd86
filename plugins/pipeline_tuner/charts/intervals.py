"""Gain over the control by configuration: the search's interval, and below it the confirmed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from pipeline_tuner.charts.look import STEP, data, gain_scale, gain_words, kind_color, plain, rows_axis, titled
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import ConfigurationEvidence, Interval

MOST = 24
MIDDLE, BESIDE = STEP / 2, 5.0
KIND_OF = {"pick": "pick", "tied": "tied", "open": "tied", "excluded": "bad"}
WORDS_OF = {"pick": "pick", "tied": "tied", "open": "may be better", "excluded": "excluded"}


@dataclass(frozen=True)
class Bar:
    """One configuration's ratio to the control with its bounds; above 1 it is better."""

    label: str
    value: float
    low: float
    high: float
    kind: str
    phase: str
    words: str
    href: str = ""
    offset: float = MIDDLE
    """How far it stands below the top of its row, in pixels: two of one configuration stand one below the other."""


def bars_of(
    evidence: Mapping[str, ConfigurationEvidence],
    *,
    reference: str | None = None,
    address: Callable[[str], str] | None = None,
) -> list[Bar]:
    """The bars of a recommendation's evidence, the best first; configurations without a ratio are left out.

    :param reference: The configuration that production runs with.
    :param address: Where a click on a configuration leads.
    """
    known = [(label, found, found.ratio) for label, found in evidence.items() if _is_drawable(found.ratio)]
    known.sort(key=lambda item: -item[2].value if item[2] else 0)
    names = _names([label for label, _, _ in known])
    return [bar for label, found, _ in known for bar in _of_row(label, names[label], found, reference, address)]


def _names(labels: Sequence[str]) -> dict[str, str]:
    """The labels shortened, those in full that would read alike."""
    short = {label: plain(label) for label in labels}
    alike = Counter(short.values())
    return {label: name if alike[name] == 1 else label for label, name in short.items()}


def _of_row(
    label: str, name: str, found: ConfigurationEvidence, reference: str | None, address: Callable[[str], str] | None
) -> Iterator[Bar]:
    said = [WORDS_OF.get(found.standing, ""), "runs now" if label == reference else ""]
    row = Row(" · ".join([name, *filter(None, said)]), address(label) if address else "")
    fresh = found.confirmed
    is_confirmed = fresh is not None and _is_drawable(fresh) and fresh.low < fresh.high
    kind = KIND_OF.get(found.standing, "other")
    if found.ratio:
        yield row.bar(found.ratio, kind, "search", MIDDLE - BESIDE * is_confirmed)
    if fresh and is_confirmed:
        yield row.bar(fresh, "second", "confirmed", MIDDLE + BESIDE)


@dataclass(frozen=True)
class Row:
    """Where the bars of a configuration stand."""

    label: str
    href: str

    def bar(self, ratio: Interval, kind: str, phase: str, offset: float) -> Bar:
        """One of its bars."""
        value, low, high = ratio.value, ratio.low, ratio.high
        return Bar(self.label, value, low, high, kind, phase, gain_words(value, low, high), self.href, offset)


def _is_drawable(ratio: Interval | None) -> bool:
    return ratio is not None and all(map(is_usable, (ratio.value, ratio.low, ratio.high)))


def intervals(bars: Sequence[Bar], *, title: str = "", zone: float = 0.05) -> alt.LayerChart:
    """Right is better; inside the grey zone a difference does not matter.

    :param zone: The fraction below which a difference does not matter (the study's indifference).
    """
    names = list(dict.fromkeys(bar.label for bar in bars))
    shown = [bar for bar in bars if bar.label in names[:MOST]]
    more = f", {len(names) - MOST} worse ones not shown" if len(names) > MOST else ""
    scale, axis = gain_scale([bound for bar in shown for bound in (bar.value, bar.low, bar.high)])
    title_of_x = "gain over the control of the same block (right is better)"
    x = alt.X("low:Q", scale=scale, axis=axis, title=title_of_x)
    base = alt.Chart(data(shown)).encode(
        y=rows_axis().scale(padding=0),
        yOffset=alt.YOffset("offset:Q", scale=None),
        color=kind_color(),
        href="href:N",
        tooltip=[alt.Tooltip("label:N", title="configuration"), alt.Tooltip("phase:N", title="from"),
                 alt.Tooltip("words:N", title="gain over the control")],
    )  # fmt: skip
    frame = alt.Chart(alt.Data(values=[{"from": 1 / (1 + zone), "to": 1 + zone, "one": 1}]))
    layers = alt.layer(
        frame.mark_rect(style="band").encode(x=alt.X("from:Q", scale=scale, axis=axis, title=title_of_x), x2="to:Q"),
        frame.mark_rule(style="faint").encode(x=alt.X("one:Q", scale=scale, title=title_of_x)),
        base.mark_rule(strokeWidth=4, opacity=0.45, strokeCap="round").encode(x=x, x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            x=alt.X("value:Q", scale=scale, title=title_of_x),
            shape=alt.Shape(
                "phase:N", scale=alt.Scale(domain=["search", "confirmed"], range=["circle", "diamond"]), legend=None
            ),
        ),
    )
    sized = layers.properties(height=alt.Step(STEP))
    return titled(sized, title, f"circle: search with its interval; diamond: confirmed in fresh blocks{more}")
