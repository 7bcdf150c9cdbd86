"""Points to rollup rows, as Arrow tables: what one task does with its stretch of time; increases, merges.

Declared treatment of odd input. A row without org, metric or time is `null_key`; without value `null`; NaN
`nan`; infinite, or so large that its square is, `infinite`: none of them is a point. A point that repeats
another one's series, time and value is `repeated` and counts once. Different values at one time are points
of their own, in order of value. The order of rows in the input never matters. -0.0 is 0.0.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_jobs.quantizer.exact_sums import PARTS, sum_rows
from pipeline_jobs.quantizer.kernel import RESET_SUM, States, merge, roll_up, sort_points

MAX_VALUE = 1e150
"""Beyond this a value's square is no longer a double of full precision."""
TIME = pa.timestamp("us", tz="UTC")
POINT_COLUMNS = ("org_id", "metric_name", "wall_timestamp", "value")
SUM_COLUMNS = tuple(
    name if part == 1 else f"{name}_{part}" for name in ("sum", "sum_sq", "reset_sum") for part in range(1, PARTS + 1)
)
"""In the order of `States.sums`."""
ROWS_SCHEMA = pa.schema([
    pa.field("org_id", pa.string(), nullable=False),
    pa.field("metric_name", pa.string(), nullable=False),
    pa.field("resolution_ms", pa.int64(), nullable=False),
    pa.field("window_end", TIME, nullable=False),
    pa.field("complete", pa.bool_(), nullable=False),
    pa.field("source_snapshot", pa.int64(), nullable=False),
    pa.field("count", pa.int64(), nullable=False),
    *(pa.field(name, pa.float64(), nullable=False) for name in ("sum", "sum_sq", "min", "max")),
    pa.field("first", pa.float64(), nullable=False),
    pa.field("first_ts", TIME, nullable=False),
    pa.field("last", pa.float64(), nullable=False),
    pa.field("last_ts", TIME, nullable=False),
    pa.field("increase", pa.float64(), nullable=False),
    pa.field("resets", pa.int64(), nullable=False),
    pa.field("sketch", pa.map_(pa.int32(), pa.field("value", pa.int64(), nullable=False)), nullable=False),
    *(pa.field(name, pa.float64(), nullable=False) for name in SUM_COLUMNS if name not in ("sum", "sum_sq")),
])  # fmt: skip
"""A rollup row. `sum_2` to `sum_4` ... are the rests of the exact sums (exact_sums.py), so that rows can be merged."""


@dataclass(frozen=True)
class Counts:
    """What became of input rows; `rows` is the sum of the others."""

    rows: int = 0
    points: int = 0
    repeated: int = 0
    null: int = 0
    null_key: int = 0
    nan: int = 0
    infinite: int = 0
    late: int = 0
    """Came after their time was rolled up, in time to update it."""
    too_late: int = 0
    """Came after that, and were kept aside."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def add_up(self) -> bool:
        """Whether every input row is accounted for."""
        return bool(self.rows == sum(value for name, value in vars(self).items() if name != "rows"))


@dataclass(frozen=True)
class Series:
    """The names behind the codes in `States.series`."""

    org_ids: pa.Array
    metric_names: pa.Array

    @property
    def count(self) -> int:
        """How many codes there can be."""
        return len(self.org_ids) * len(self.metric_names)

    def columns(self, codes: np.ndarray) -> tuple[pa.Array, pa.Array]:
        """The org and the metric of each code, as dictionary arrays."""
        orgs, metrics = np.divmod(codes, max(len(self.metric_names), 1))
        return (
            pa.DictionaryArray.from_arrays(pa.array(orgs, pa.int32()), self.org_ids),
            pa.DictionaryArray.from_arrays(pa.array(metrics, pa.int32()), self.metric_names),
        )


@dataclass(frozen=True)
class Points:
    """Usable points as arrays, with what was left out. `times` in us since 1970."""

    series: Series
    codes: np.ndarray
    times: np.ndarray
    values: np.ndarray
    counts: Counts = field(default_factory=Counts)


def usable_points(table: pa.Table) -> Points:
    """The points of a table with POINT_COLUMNS, and the account of the rows that are none."""
    has_key = pc.and_(pc.and_(table["org_id"].is_valid(), table["metric_name"].is_valid()), table[2].is_valid())
    value = table["value"].cast(pa.float64())
    has_value = pc.and_(has_key, value.is_valid())
    magnitude = pc.abs(value)
    is_nan = pc.and_(has_value, pc.fill_null(pc.is_nan(value), False))
    is_infinite = pc.and_(has_value, pc.fill_null(pc.greater(magnitude, MAX_VALUE), False))
    is_usable = pc.and_not(pc.and_not(has_value, is_nan), is_infinite)
    rows, keyed, valued = len(table), _trues(has_key), _trues(has_value)
    counts = Counts(
        rows=rows,
        points=_trues(is_usable),
        null_key=rows - keyed,
        null=keyed - valued,
        nan=_trues(is_nan),
        infinite=_trues(is_infinite),
    )
    if counts.points < rows:
        table = table.filter(is_usable)
    series, codes = _encoded(table["org_id"], table["metric_name"])
    times = table["wall_timestamp"].cast(TIME).cast(pa.int64()).to_numpy()
    return Points(series, codes, times, table["value"].cast(pa.float64()).to_numpy(), counts)


def _trues(mask: pa.ChunkedArray) -> int:
    return pc.sum(mask).as_py() or 0


def _encoded(org_ids: pa.ChunkedArray, metric_names: pa.ChunkedArray) -> tuple[Series, np.ndarray]:
    org_codes, orgs = _codes(org_ids)
    metric_codes, metrics = _codes(metric_names)
    return Series(orgs, metrics), org_codes.astype(np.int64) * len(metrics) + metric_codes


def _codes(names: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    encoded = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
    array = encoded.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    return array.indices.to_numpy(zero_copy_only=False), array.dictionary.cast(pa.string())


def finest_states(points: Points, resolution_us: int, *, drop_repeats: bool = True) -> tuple[States, int]:
    """The compiled engine: states of the smallest windows, and how many repeated points were dropped."""
    ordered = sort_points(points.codes, points.times, points.values, points.series.count)
    return roll_up(*ordered, resolution_us, drop_repeats)


def check_resolutions(resolutions_ms: Sequence[int]) -> None:
    """Raises ValueError unless each resolution is a multiple of the one before."""
    if not resolutions_ms or min(resolutions_ms) <= 0:
        raise ValueError("give at least one resolution, in ms, above 0")
    for fine, coarse in itertools.pairwise(resolutions_ms):
        if coarse <= fine or coarse % fine:
            raise ValueError(f"each resolution must be a multiple of the one before: {coarse} ms is none of {fine} ms")


def cascade(finest: States, resolutions_ms: Sequence[int]) -> list[States]:
    """The states at each resolution, each merged from the one before: exactly those of a direct rollup."""
    states = [finest]
    for resolution_ms in resolutions_ms[1:]:
        states.append(merge(states[-1], resolution_ms * 1000))
    return states


def rows_of(states: States, series: Series, resolution_ms: int) -> pa.Table:
    """The states as rollup rows; `complete` is false and `source_snapshot` 0 until someone knows better."""
    orgs, metrics = series.columns(states.series)
    size = len(states.series)
    sums = dict(zip(SUM_COLUMNS, states.sums.T, strict=True))
    sketch = pa.MapArray.from_arrays(pa.array(states.bin_starts.astype(np.int32)), *_used_bins(states))
    columns = {
        "org_id": orgs.cast(pa.string()),
        "metric_name": metrics.cast(pa.string()),
        "resolution_ms": np.full(size, resolution_ms),
        "window_end": _times(states.window_end),
        "complete": np.zeros(size, bool),
        "source_snapshot": np.zeros(size, np.int64),
        "count": states.points,
        "min": states.low,
        "max": states.high,
        "first": states.first,
        "first_ts": _times(states.first_ts),
        "last": states.last,
        "last_ts": _times(states.last_ts),
        "increase": increase_of(states),
        "resets": states.resets,
        "sketch": sketch.cast(ROWS_SCHEMA.field("sketch").type),
        **sums,
    }
    return pa.table([pa.array(columns[name]) for name in ROWS_SCHEMA.names], schema=ROWS_SCHEMA)


def _used_bins(states: States) -> tuple[pa.Array, pa.Array]:
    used = states.bin_starts[-1]
    return pa.array(states.bins[:used]), pa.array(states.bin_counts[:used])


def _times(times_us: np.ndarray) -> pa.Array:
    return pa.array(times_us, pa.int64()).cast(TIME)


def increase_of(states: States) -> np.ndarray:
    """How much a counter grew from the first to the last point; a fall is a restart from zero.

    Growth telescopes to last - first + the values before each restart, so it follows from exact parts.
    """
    increase = states.last - states.first
    restarted = np.flatnonzero(states.resets)
    terms = np.column_stack((states.last, -states.first, states.sums[:, RESET_SUM:]))[restarted]
    increase[restarted] = sum_rows(terms)[:, 0]
    found: np.ndarray = increase
    return found


def states_of(rows: pa.Table) -> tuple[States, Series]:
    """The inverse of `rows_of`, for rows of one resolution; sorted so that parts of a window are neighbours."""
    rows = rows.combine_chunks()
    series, codes = _encoded(rows["org_id"], rows["metric_name"])
    ends, firsts = _us(rows["window_end"]), _us(rows["first_ts"])
    order = np.lexsort((firsts, ends, codes))
    rows = rows.take(pa.array(order))
    sketch = rows["sketch"].combine_chunks()
    sketch = sketch.chunk(0) if isinstance(sketch, pa.ChunkedArray) else sketch
    offsets = sketch.offsets.to_numpy()
    states = States(
        series=codes[order],
        window_end=ends[order],
        points=rows["count"].to_numpy(),
        sums=np.ascontiguousarray(np.column_stack([rows[name].to_numpy() for name in SUM_COLUMNS])),
        low=rows["min"].to_numpy(),
        high=rows["max"].to_numpy(),
        first=rows["first"].to_numpy(),
        first_ts=firsts[order],
        last=rows["last"].to_numpy(),
        last_ts=_us(rows["last_ts"]),
        resets=rows["resets"].to_numpy(),
        bin_starts=(offsets - offsets[0]).astype(np.int64),
        bins=sketch.keys.to_numpy()[offsets[0] : offsets[-1]],
        bin_counts=sketch.items.to_numpy()[offsets[0] : offsets[-1]],
    )
    return _writable(states), series


def _us(times: pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = times.cast(TIME).cast(pa.int64()).to_numpy()
    return found


def _writable(states: States) -> States:
    """Compiled code is compiled once, for plain arrays; Arrow's are read-only."""
    return States(*(np.array(column) for column in states))


def merge_rows(rows: pa.Table) -> pa.Table:
    """Parts of windows, of any resolutions, to one row per window. The parts must not overlap in time."""
    resolutions = sorted(pc.unique(rows["resolution_ms"]).to_pylist())
    merged = [_merge_resolution(rows.filter(pc.equal(rows["resolution_ms"], each)), each) for each in resolutions]
    return reduce(lambda one, other: pa.concat_tables([one, other]), merged, ROWS_SCHEMA.empty_table())


def _merge_resolution(rows: pa.Table, resolution_ms: int) -> pa.Table:
    states, series = states_of(rows)
    return rows_of(merge(states, resolution_ms * 1000), series, resolution_ms)


def warm_up() -> None:
    """Compile the hot path once, or load it, so that tasks find it ready on this machine."""
    point = pa.table(
        {
            "org_id": pa.array(["org"]),
            "metric_name": pa.array(["metric"]),
            "wall_timestamp": pa.array([1]).cast(TIME),
            "value": pa.array([1.0]),
        }
    )
    points = usable_points(point)
    states, _ = finest_states(points, 1_000_000)
    merge_rows(rows_of(states, points.series, 1000))
