"""The smallest windows by SQL, for DuckDB and Spark: the grouping query, and its results as states.

Exact sums there: each double is split on fixed grids into limbs of 34 bits, whose sums are doubles without
rounding, whatever the order, for up to 2**20 points per window and values below 2**63 ("pre-rounding", Demmel and
Nguyen, 2013). The limbs' sums then make the same stored sum as the compiled engine's. Bits below 2**-111 of a square,
or 2**-106 of a value, would be cut off, so such values are refused; the compiled engine has neither limit.
"""

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.contract import JobError
from pipeline_jobs.quantizer.exact_sums import PARTS, sum_rows
from pipeline_jobs.quantizer.kernel import States

LARGEST = 2.0**63
MAX_POINTS = 1 << 20
VALUE_GRIDS = (30, -4, -38, -72, -106)
SQUARE_GRIDS = (93, 59, 25, -9, -43, -77, -111)
QUANTITIES = {"v": VALUE_GRIDS, "q": SQUARE_GRIDS, "r": VALUE_GRIDS}
"""Values, squares, and values before a counter's restart, with the exponents of their grids."""


def limb_names(quantity: str) -> list[str]:
    """The columns of a quantity's limbs."""
    return [f"{quantity}_limb_{number}" for number in range(len(QUANTITIES[quantity]))]


def rounder(grid: int) -> float:
    """Adding and subtracting this rounds a double to a multiple of 2**grid."""
    return 1.5 * 2.0 ** (52 + grid)


def group_sql(points: str, keys: str, resolution_us: int, *, collect: str, drop_repeats: bool) -> str:
    """The query that groups `points` (the key columns, time_us, value, bin) by key and window.

    `collect`: the dialect's aggregate that makes a list. Window functions see one window of one series.
    """
    distinct = "DISTINCT" if drop_repeats else ""
    window = f"time_us + ((-time_us) % {resolution_us} + {resolution_us}) % {resolution_us}"
    order = f"(PARTITION BY {keys}, window_end ORDER BY time_us, value)"
    text = f"SELECT {distinct} {keys}, {window} AS window_end, time_us, value, bin FROM {points}"
    text = f"SELECT *, lag(value) OVER {order} AS before, lead(value) OVER {order} AS after FROM ({text}) AS windows"
    text = (
        "SELECT *, value AS v, value * value AS q, CASE WHEN value < before THEN before ELSE 0.0 END AS r "
        f"FROM ({text}) AS ordered"
    )
    for number in range(max(map(len, QUANTITIES.values()))):
        text = _split_once(text, keys, number)
    sums = ", ".join(f"sum({name}) AS {name}" for quantity in QUANTITIES for name in limb_names(quantity))
    return (
        f"SELECT {keys}, window_end, count(*) AS points, min(value) AS low, max(value) AS high, "
        "max(CASE WHEN before IS NULL THEN value END) AS first, min(time_us) AS first_ts, "
        "max(CASE WHEN after IS NULL THEN value END) AS last, max(time_us) AS last_ts, "
        f"count(CASE WHEN value < before THEN 1 END) AS resets, {collect}(bin) AS bins, {sums} "
        f"FROM ({text}) AS split GROUP BY {keys}, window_end"
    )


def _split_once(text: str, keys: str, number: int) -> str:
    limbs = []
    for quantity, grids in QUANTITIES.items():
        if number < len(grids):
            constant = f"CAST({rounder(grids[number])!r} AS DOUBLE)"
            limbs.append((quantity, f"{quantity}_limb_{number}", f"({quantity} + {constant}) - {constant}"))
    named = ", ".join(f"{value} AS {name}" for _, name, value in limbs)
    inner = f"SELECT *, {named} FROM ({text}) AS whole"
    done = [name for earlier in range(number + 1) for name in _limbs_of(earlier)]
    rest = [f"{quantity} - {name} AS {quantity}" for quantity, name, _ in limbs]
    others = [quantity for quantity in QUANTITIES if quantity not in {each for each, _, _ in limbs}]
    kept = [keys, "window_end", "time_us", "value", "bin", "before", "after", *done, *others, *rest]
    return f"SELECT {', '.join(kept)} FROM ({inner}) AS rests"


def _limbs_of(number: int) -> list[str]:
    return [f"{quantity}_limb_{number}" for quantity, grids in QUANTITIES.items() if number < len(grids)]


def check_range(values: np.ndarray, engine: str) -> None:
    """Raises JobError for values that the limbs can't hold."""
    if len(values) and np.abs(values).max() >= LARGEST:
        raise JobError(f"the engine {engine} sums exactly only values below 2**63: use the engine compiled")
    if _has_bits_below(values, VALUE_GRIDS[-1]) or _has_bits_below(values * values, SQUARE_GRIDS[-1]):
        raise JobError(f"the engine {engine} sums exactly only values from about 1e-9 up: use the engine compiled")


def _has_bits_below(values: np.ndarray, grid: int) -> bool:
    """Whether any value is no multiple of 2**grid: the limbs would cut off what is below."""
    scaled = np.ldexp(values, -grid)
    return bool((scaled != np.floor(scaled)).any())


def states_of_groups(columns: dict[str, np.ndarray], bin_starts: np.ndarray, bins: np.ndarray) -> States:
    """The states of grouped windows in order of (series, window_end); `bins` hold one entry a point."""
    if len(columns["points"]) and columns["points"].max() > MAX_POINTS:
        raise JobError("a window has more than 2**20 points: use the engine compiled, or smaller windows first")
    sums = np.zeros((len(columns["series"]), 3 * PARTS))
    for place, quantity in enumerate(QUANTITIES):
        limbs = np.column_stack([columns[name] for name in limb_names(quantity)])
        sums[:, place * PARTS : (place + 1) * PARTS] = sum_rows(np.ascontiguousarray(limbs, np.float64))
    starts, numbers, counts = count_bins(np.array(bin_starts, np.int64), np.array(bins, np.int32))
    integers = {name: np.array(columns[name], np.int64) for name in ("series", "window_end", "points", "resets")}
    return States(
        series=integers["series"],
        window_end=integers["window_end"],
        points=integers["points"],
        sums=sums,
        low=np.array(columns["low"], np.float64),
        high=np.array(columns["high"], np.float64),
        first=np.array(columns["first"], np.float64),
        first_ts=np.array(columns["first_ts"], np.int64),
        last=np.array(columns["last"], np.float64),
        last_ts=np.array(columns["last_ts"], np.int64),
        resets=integers["resets"],
        bin_starts=starts,
        bins=numbers,
        bin_counts=counts,
    )


@compiled
def count_bins(starts: np.ndarray, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists of bins to sorted bins with counts."""
    new_starts = np.zeros(len(starts), np.int64)
    numbers = np.zeros(len(bins), np.int32)
    counts = np.zeros(len(bins), np.int64)
    filled = 0
    for row in range(len(starts) - 1):
        own = np.sort(bins[starts[row] : starts[row + 1]])
        for number in own:
            if filled > new_starts[row] and numbers[filled - 1] == number:
                counts[filled - 1] += 1
            else:
                numbers[filled] = number
                counts[filled] = 1
                filled += 1
        new_starts[row + 1] = filled
    return new_starts, numbers[:filled].copy(), counts[:filled].copy()
