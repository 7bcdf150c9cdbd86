"""How numbers are written: rounding, units, percent, intervals, lists, counts. Used wherever people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pipeline_tuner.recommendation import Interval

_PATH = re.compile(r"file:/+[^\s'\"<>|,;()\[\]]+|(?<![\w:/.~])~?/(?:[\w.@+~=-]+/)+[\w.@+~=-]*")
BARS = "▁▂▃▄▅▆▇█"
BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def number(value: float) -> str:
    """Three significant digits, with thousands separated: 1,230,000; 12.3; 0.0123."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 100:
        return f"{rounded:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_unit(value: float, unit: str = "") -> str:
    """A number with its unit; bytes and seconds in the scale that people read."""
    if unit in ("B", "bytes"):
        return byte_words(value)
    if unit == "s" and math.isfinite(value):
        return second_words(value)
    return f"{number(value)} {unit}".strip()


def byte_words(value: float) -> str:
    """Bytes in powers of 1,000: 1.23 GB."""
    if not math.isfinite(value) or abs(value) < 1000:
        return f"{number(value)} B"
    power = min(int(math.log10(abs(value)) // 3), len(BYTE_UNITS) - 1)
    return f"{number(value / 1000**power)} {BYTE_UNITS[power]}"


def second_words(value: float) -> str:
    """Seconds as ms, s, min or h: 12.3 ms, 97 s, 1.6 min."""
    if value < 1:
        return f"{number(value * 1000)} ms"
    if value < 120:
        return f"{number(value)} s"
    return f"{number(value / 60)} min" if value < 7200 else f"{number(value / 3600)} h"


def without_paths(text: str) -> str:
    """The text with files by their names alone: `count at /home/me/job.py:12` is `count at job.py:12`.

    Where a file lies is of no use to a reader and says more of the machine than it should. Addresses stay.
    """
    return _PATH.sub(lambda found: found[0].rstrip("/").rpartition("/")[2], text)


def interval_words(interval: Interval, unit: str = "") -> str:
    """A number with its bounds: `1,230 (1,180 to 1,290) rows/s`; says so where the bounds are unknown."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return f"{with_unit(interval.value, unit)} (bounds unknown: {interval.n} run)"
    if unit in ("s", "B", "bytes"):
        return (
            f"{with_unit(interval.value, unit)} ({with_unit(interval.low, unit)} to {with_unit(interval.high, unit)})"
        )
    return f"{number(interval.value)} ({number(interval.low)} to {number(interval.high)}) {unit}".strip()


def gain_words(gain: Interval) -> str:
    """A ratio to the control in words: `1.23x the control (1.18 to 1.29)`."""
    if not math.isfinite(gain.high):
        return f"{ratio(gain.value)} the control (bounds unknown)"
    return f"{ratio(gain.value)} the control ({gain.low:.2f} to {gain.high:.2f})"


def bounds_words(value: float, low: float, high: float) -> str:
    """A ratio with its bounds, for a pointer: `1.23x (1.18 to 1.29)`."""
    return f"{value:.2f}x ({low:.2f} to {number(high) if math.isfinite(high) and high >= 10 else f'{high:.2f}'})"


def ratio(value: float) -> str:
    """A ratio with two decimals (three digits from 10 on): 1.23x, 12.3x."""
    return f"{value:.2f}x" if value < 10 else f"{number(value)}x"


def percent(fraction: float) -> str:
    """A fraction as a percentage: 5%, 0.3%."""
    return f"{number(fraction * 100)}%"


def regret_words(bound: float | None) -> str:
    """How far from the best at most, rounded up to two digits: `17%`; from twice as good on, `the best may be 3.4x`."""
    if bound is None:
        return "not known"
    if bound >= 1:
        return f"the best may be {math.ceil(10 * (1 + bound)) / 10:,.1f}x"
    if bound == 0:
        return "0%"
    digit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return percent(min(math.ceil(bound / digit - 1e-9) * digit, 1.0))


def spark(values: Sequence[float]) -> str:
    """Numbers as a line of small bars, the lowest the lowest bar: ▁▃▆█. Empty for fewer than two."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if len(values) < 2:
        return ""
    scale = (len(BARS) - 1) / ((high - low) or 1.0)
    return "".join(BARS[round((value - low) * scale)] for value in values)


def listed(names: list[str] | tuple[str, ...], last: str = "and") -> str:
    """Names as people list them: `a, b and c`."""
    return ", ".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def few(names: list[str] | tuple[str, ...], most: int = 3) -> str:
    """The first names, and how many more there are: `a, b, c and 4 more`."""
    left = len(names) - most
    return listed([*names[:most], f"{left} more"] if left > 1 else list(names))


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 trial`, `3 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
