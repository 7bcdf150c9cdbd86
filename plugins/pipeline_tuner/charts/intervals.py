"""Gain over the control by configuration: the search's interval, and below it the confirmed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from pipeline_tuner.charts.look import (
    STEP,
    gain_axis,
    gain_words,
    layer,
    mark,
    one_line,
    plain,
    ranges,
    rows_axis,
    stacked,
)
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import ConfigurationEvidence, Interval
from pipeline_tuner.wording import percent

MOST = 24
MIDDLE, BESIDE = STEP / 2, 5.0
KIND_OF = {"pick": "pick", "tied": "tied", "open": "tied", "excluded": "bad"}
TITLE = "gain over the control of the same block (right: better)"
WORDS_OF = {"pick": "pick", "tied": "tied", "open": "may be better", "excluded": "excluded"}


@dataclass(frozen=True)
class Bar:
    """One configuration's ratio to the control with its bounds; above 1 it is better."""

    configuration: str
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
    row = Row(label, " · ".join([name, *filter(None, said)]), address(label) if address else "")
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

    configuration: str
    label: str
    href: str

    def bar(self, ratio: Interval, kind: str, phase: str, offset: float) -> Bar:
        """One of its bars."""
        value, low, high = ratio.value, ratio.low, ratio.high
        return Bar(
            self.configuration,
            self.label,
            value,
            low,
            high,
            kind,
            phase,
            gain_words(value, low, high),
            self.href,
            offset,
        )


@dataclass(frozen=True)
class Bound:
    """How much better than the pick the best may be: drawn from the pick's gain to what the best may reach."""

    label: str
    at: float
    to: float
    words: str
    kind: str = "second"
    offset: float = MIDDLE + BESIDE


def bound_of(bars: Sequence[Bar], label: str | None, regret: float | None) -> Bound | None:
    """The regret bound (a fraction) of what to run, from its confirmed gain where there is one."""
    own = [bar for bar in bars if bar.configuration == label]
    if not own or not regret:
        return None
    words = f"at most {percent(regret)} better than {label}"
    return Bound(own[-1].label, own[-1].value, own[-1].value * (1 + regret), words, offset=own[-1].offset)


@dataclass(frozen=True)
class Zone:
    """Ratios that do not matter."""

    start: float
    end: float


def _is_drawable(ratio: Interval | None) -> bool:
    return ratio is not None and all(map(is_usable, (ratio.value, ratio.low, ratio.high)))


def intervals(
    bars: Sequence[Bar], *, title: str = "", zone: float = 0.05, bound: Bound | None = None
) -> alt.LayerChart:
    """Right is better; inside the grey zone a difference does not matter.

    :param zone: The fraction below which a difference does not matter (the study's indifference).
    """
    names = list(dict.fromkeys(bar.label for bar in bars))
    shown = [bar for bar in bars if bar.label in names[:MOST]]
    known = [bound] if bound and bound.label in names[:MOST] else []
    ends = [end for bar in shown for end in (bar.value, bar.low, bar.high)] + [one.to for one in known]
    x = gain_axis(ends, TITLE)
    rows: dict[str, Any] = {"y": rows_axis().scale(padding=0), "yOffset": alt.YOffset("offset:Q", scale=None)}
    phases = alt.Scale(domain=["search", "confirmed"], range=["circle", "diamond"])
    shape = alt.Shape("phase:N", scale=phases, legend=None)
    tip = {"label": "configuration", "phase": "from", "words": "gain over the control"}
    reach = mark("rule", {"strokeDash": [3, 3], "strokeWidth": 2}, x=x("at"), x2="to:Q")
    layers = [
        layer([Zone(1 / (1 + zone), 1 + zone)], mark("rect", {"style": "band"}), x=x("start"), x2="end:Q"),
        one_line(x=x("one")),
        layer(shown, *ranges(x, shape=shape), tip=tip, **rows),
    ]
    if known:
        edge = mark("tick", {"thickness": 2, "size": 12}, x=x("to"))
        layers += [layer(known, reach, edge, tip={"words": "the best"}, **rows)]
    more = f", {len(names) - MOST} worse ones not shown" if len(names) > MOST else ""
    how = (
        f"circle: search; diamond: confirmed in fresh blocks{'; dashes: where the best may be' if known else ''}{more}"
    )
    return stacked(*layers, height=alt.Step(STEP), title=title, how=how)
