"""Charts of gains over the control: intervals, effects, Pareto front, convergence, the waterfall of stages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate

import altair as alt

from pipeline_tuner.charts import style
from pipeline_tuner.charts.style import COLUMNS, ROWS, STEP, Chart, Value, at_one, gain_axis, layer, mark, plain, stack
from pipeline_tuner.recommendation import Interval

MAX_CONFIGURATIONS, MAX_EFFECTS = 24, 12
MIDDLE, BESIDE = STEP / 2, 5.0
"""How far a bar stands below the top of its row, in pixels: two of one configuration stand one below the other."""


def intervals(bars: Sequence[Value], *, title: str = "", zone: float = 0.05, bound: Value | None = None) -> Chart:
    """Gain over the control by configuration: the search's interval, and below it (`other`) the confirmed one.

    :param zone: The fraction below which a difference does not matter (the study's indifference): the grey zone.
    :param bound: What `bound_of` gives.
    """
    names = list(dict.fromkeys(bar.at for bar in bars))
    shown, known = ([bar for bar in found if bar and bar.at in names[:MAX_CONFIGURATIONS]] for found in (bars, [bound]))
    x = gain_axis([*shown, *known], "gain over the control (right is better)")
    y, beside = ROWS.scale(padding=0), alt.YOffset("other:Q", scale=None)
    dots = mark("rule", "interval", x=x("low"), x2="high:Q"), mark("point", x=x("value"), shape=style.SHAPE)
    reach = mark("rule", "wide", "dotted", x=x("value"), x2="high:Q"), mark("tick", "edge", x=x("high"))
    how = "circle: search; diamond: confirmed in fresh blocks" + ("; dashes: where the best may be" if known else "")
    more = f", {len(names) - MAX_CONFIGURATIONS} worse ones not shown" if len(names) > MAX_CONFIGURATIONS else ""
    return stack(
        layer([Value("", None, 1 / (1 + zone), 1 + zone)], mark("rect", "zone", x=x("low"), x2="high:Q"), tinted=False),
        at_one(x=x("value")),
        layer(shown, *dots, tip={"at": "configuration", "words": "gain over the control"}, y=y, yOffset=beside),
        layer(known, *reach, tip={"words": "the best"}, y=y, yOffset=beside),
        height=alt.Step(STEP), title=title, how=how + more,
    )  # fmt: skip


def effects(bars: Sequence[Value], *, title: str = "") -> Chart:
    """What each parameter is worth, the most important first: from its worst to its best value, all else equal."""
    shown = bars[:MAX_EFFECTS]
    x = gain_axis(shown, "change of the goal, all else equal (right is better)")
    dots = mark("rule", "interval", x=x("low"), x2="high:Q"), mark("point", x=x("value"))
    return stack(
        at_one(x=x("value")),
        layer(shown, *dots, tip={"at": "parameter", "words": "gain"}, y=ROWS),
        height=STEP * len(shown) + 6, title=title, how="green: shown to matter; grey: not shown",
    )  # fmt: skip


def pareto(pairs: Sequence[Value], named: Collection[str] = (), *, x: str, y: str, title: str = "") -> Chart:
    """Two goals against each other, gains at `at` and `value`; right and up is better, the line joins the front.

    :param named: The labels that there is room to write.
    """
    across = gain_axis([Value("", float(pair.at)) for pair in pairs], f"{x}, gain over the control")("at")
    best = sorted((pair for pair in pairs if pair.kind == "pick"), key=lambda pair: pair.at)
    names = [Value(pair.at, pair.value, words=plain(pair.label, 28)) for pair in pairs if pair.label in named]
    return stack(
        layer(best, mark("line", "weak")),
        layer(pairs, mark("point"), tip={"label": "configuration", "words": f"{x}, {y}"}),
        layer(names, mark("text", "before", text="words:N"), tinted=False),
        height=340, title=title, how="line: the Pareto front; right and up is better",
    ).encode(x=across, y=gain_axis(pairs, f"{y}, gain over the control", alt.Y)("value"))  # fmt: skip


def convergence(steps: Sequence[Value], *, confirmed: Value | None = None, title: str = "") -> Chart:
    """The best gain that the search has seen after each trial; `confirmed` is the value that counts."""
    final = [confirmed] if confirmed else []
    x = alt.X("at:Q", title="trials").axis(tickMinStep=1, grid=False)
    y = alt.Y("value:Q", title="best gain seen").scale(zero=False).axis(labelExpr="format(datum.value, '.2f') + 'x'")
    return stack(
        at_one(),
        layer(steps, mark("line", "steps"), x=x),
        layer(final, mark("point", shape=alt.ShapeValue("diamond")), x=x),
        layer(final, mark("text", "note", "before", text="words:N"), tinted=False, x=x),
        height=260, title=title, how="single runs flatter the best one: the diamond is the honest value",
    ).encode(y=y)  # fmt: skip


def waterfall(
    stages: Sequence[tuple[str, Interval | None]], *, total: Interval | None = None, title: str = ""
) -> Chart:
    """The gain of each stage of a staged sweep, multiplied up to the confirmed total; None where nothing paid."""
    bases = accumulate((gain.value if gain else 1.0 for _, gain in stages), float.__mul__, initial=1.0)
    columns = [_column(stage, base, gain) for (stage, gain), base in zip(stages, bases, strict=False)]
    columns += [_column("all, confirmed", 1.0, total, "second")] if total else []
    y, low = (alt.Y(f"{name}:Q", title="gain over the control").scale(zero=False) for name in ("value", "low"))
    bounds, words = mark("rule", "said", y=low, y2="high:Q"), mark("text", text="words:N", y=alt.YValue(-8))
    return stack(
        at_one(y=y),
        layer(columns, mark("bar", "column", y=y, y2="other:Q"), x=COLUMNS),
        layer(columns, bounds, words, tinted=False, x=COLUMNS),
        height=280, title=title, how="green: shown to help; grey: not shown; red: shown to hurt",
    )  # fmt: skip


def _column(stage: str, base: float, gain: Interval | None, kind: str = "") -> Value:
    value, low, high = (base * one for one in ((gain.value, gain.low, gain.high) if gain else (1.0, 1.0, 1.0)))
    kind = kind or ("other" if low <= base <= high else "pick" if low > base else "bad")
    words = f"{gain.value:.2f}x" if gain else "nothing paid"
    return Value(plain(stage, 22), value, low, high, kind, words, other=base)
