"""The values that the charts show of a sweep, and the words of their tooltips; for analysis and page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import altair as alt

from pipeline_tuner.analysis.effects import Effects
from pipeline_tuner.analysis.tie_breaking import TradeOff, front
from pipeline_tuner.charts.gains import BESIDE, MIDDLE, pareto
from pipeline_tuner.charts.style import Value, plain
from pipeline_tuner.measurement import is_usable
from pipeline_tuner.recommendation import ConfigurationEvidence, Interval
from pipeline_tuner.wording import bounds_words, percent

KIND_OF = {"pick": "pick", "tied": "tied", "open": "tied", "excluded": "bad"}
WORDS_OF = {"pick": "pick", "tied": "tied", "open": "may be better", "excluded": "excluded"}
NAMED = 14
WIDE, HIGH = 0.2, 0.06
"""Labels that are nearer than these parts of the axes run into one another."""
HIGHEST = 100.0
"""A bound beyond this ratio is drawn here: it says that little is known, not how much is gained."""


def bars_of(
    evidence: Mapping[str, ConfigurationEvidence],
    *,
    reference: str | None = None,
    address: Callable[[str], str] = lambda label: "",
) -> list[Value]:
    """The bars of a recommendation's evidence, the best first; configurations without a ratio are left out.

    :param reference: The configuration that production runs with.
    :param address: Where a click on a configuration leads.
    """
    known = [
        (label, found, found.ratio) for label, found in evidence.items() if found.ratio and _is_drawable(found.ratio)
    ]
    alike = Counter(plain(label) for label, _, _ in known)
    bars: list[Value] = []
    for label, found, gain in sorted(known, key=lambda one: -one[2].value):
        name = plain(label) if alike[plain(label)] == 1 else label
        said = [name, WORDS_OF.get(found.standing, ""), "runs now" if label == reference else ""]
        kind = KIND_OF.get(found.standing, "other")
        row = Value(" · ".join(filter(None, said)), None, kind=kind, href=address(label), label=label)
        bars += _of_row(row, gain, found.confirmed)
    return bars


def _of_row(row: Value, gain: Interval, fresh: Interval | None) -> Iterator[Value]:
    """The search's bar, and below it the confirmed one."""
    if fresh is None or not _is_drawable(fresh) or fresh.low >= fresh.high:
        yield _placed(row, gain, "in the search", MIDDLE)
    else:
        yield _placed(row, gain, "in the search", MIDDLE - BESIDE)
        yield _placed(replace(row, kind="second"), fresh, "confirmed", MIDDLE + BESIDE)


def _placed(row: Value, gain: Interval, source: str, offset: float) -> Value:
    value, low, high = gain.value, gain.low, gain.high
    return replace(
        row, value=value, low=low, high=high, words=f"{bounds_words(value, low, high)} {source}", other=offset
    )


def bound_of(bars: Sequence[Value], label: str | None, regret: float | None) -> Value | None:
    """The regret bound (a fraction) of what to run: from its gain, if it can be the confirmed one, to the best's."""
    own = [bar for bar in bars if bar.label == label]
    if not own or not regret or own[-1].value is None:
        return None
    words = f"at most {percent(regret)} better than {label}"
    return replace(own[-1], high=own[-1].value * (1 + regret), kind="second", words=words, href="")


def _is_drawable(ratio: Interval) -> bool:
    return all(map(is_usable, (ratio.value, ratio.low, ratio.high)))


def gain_pairs(
    gains: Mapping[str, tuple[float, float]], address: Callable[[str], str] = lambda label: "", *, zone: float = 0.0
) -> list[Value]:
    """The configurations by label, those on the Pareto front first and marked; `zone` as in `front`."""
    edge = set(front({label: (math.log(x), math.log(y)) for label, (x, y) in gains.items()}, zone=zone))
    return [
        Value(x, y, kind="pick" if label in edge else "other", words=f"{x:.2f}x, {y:.2f}x", href=address(label),
              label=label)
        for label, (x, y) in sorted(gains.items(), key=lambda item: item[0] not in edge)
    ]  # fmt: skip


def trade_off_chart(
    found: TradeOff, address: Callable[[str], str] = lambda label: "", *, title: str = ""
) -> alt.LayerChart:
    """The first two goals against each other."""
    gains = {label: (x, y) for label, (x, y, *_) in found.gains.items()}
    pairs = gain_pairs(gains, address, zone=found.zone)
    named = _apart({pair.label: gains[pair.label] for pair in pairs})
    return pareto(pairs, named, x=found.goals[0], y=found.goals[1], title=title)


def _apart(gains: Mapping[str, tuple[float, float]]) -> list[str]:
    """The labels that can be written without running into one another, the first ones first."""
    places = {label: (math.log(x), math.log(y)) for label, (x, y) in gains.items()}
    wide, high = (max(side) - min(side) or 1.0 for side in zip(*places.values(), strict=True))
    kept: list[str] = []
    for label, (x, y) in places.items():
        near = (abs(x - a) < WIDE * wide and abs(y - b) < HIGH * high for a, b in map(places.__getitem__, kept))
        kept += [] if any(near) else [label]
    return kept[:NAMED]


def effect_bars(found: Effects) -> list[Value]:
    """What each parameter is worth, from its worst to its best value."""
    bars = []
    for effect in found.effects:
        gain, high = effect.gain, min(effect.gain.high, HIGHEST)
        words = f"{bounds_words(gain.value, gain.low, high)}, {'shown' if effect.is_shown else 'not shown'}"
        name = plain(f"{effect.parameter}: {effect.worst} to {effect.best}")
        bars.append(Value(name, gain.value, gain.low, high, "pick" if effect.is_shown else "other", words))
    return bars
