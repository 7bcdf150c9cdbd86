"""Rollups against the oracle, without Spark: exact sums, windows, merging, the sketch, odd input."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jobs.quantizer_oracle import assert_same, expected_rows

from pipeline_jobs.quantizer import sketch
from pipeline_jobs.quantizer.coverage import cut, holds, united, without
from pipeline_jobs.quantizer.engines import finest_by
from pipeline_jobs.quantizer.exact_sums import sum_rows
from pipeline_jobs.quantizer.generated_points import COUNTERS, Generated, generate, weather
from pipeline_jobs.quantizer.kernel import bin_number
from pipeline_jobs.quantizer.rollup import (
    POINT_COLUMNS,
    ROWS_SCHEMA,
    TIME,
    cascade,
    check_resolutions,
    merge_rows,
    rows_of,
    usable_points,
)

RESOLUTIONS = (60_000, 300_000, 3_600_000)
START = 1_767_225_600_000_000


def table(rows: list[tuple[str | None, str | None, int | None, float | None]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    kinds = (pa.string(), pa.string(), pa.int64(), pa.float64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    arrays[2] = arrays[2].cast(TIME)
    return pa.table(arrays, names=list(POINT_COLUMNS))


def rolled_up(points: pa.Table, resolutions_ms: tuple[int, ...] = RESOLUTIONS, engine: str = "compiled") -> pa.Table:
    usable = usable_points(points)
    finest, _ = finest_by(engine, usable, resolutions_ms[0] * 1000, True)
    levels = zip(cascade(finest, resolutions_ms), resolutions_ms, strict=True)
    return pa.concat_tables([rows_of(states, usable.series, resolution) for states, resolution in levels])


def in_order(rows: pa.Table) -> pa.Table:
    keys = ["resolution_ms", "org_id", "metric_name", "window_end"]
    return rows.sort_by([(key, "ascending") for key in keys]).combine_chunks()


def random_points(seed: int) -> pa.Table:
    """Few series, many ties, repeats, odd values and values of very different size."""
    rng = random.Random(seed)
    scale = rng.choice([1e-6, 1.0, 1e3, 1e12])
    value = rng.choice([
        lambda: rng.gauss(0, scale),
        lambda: rng.choice([0.1, -0.0, 0.0, 1e16, -1e16, 1.0, 3.0]),
        lambda: float(rng.randrange(100)),
        lambda: rng.uniform(-1, 1) * 10 ** rng.randrange(-8, 9),
    ])  # fmt: skip
    span = rng.choice([10_000_000, 600_000_000, 3 * 3_600_000_000])
    origin = rng.choice([START, 0, -3_600_000_000])
    step = rng.choice([1, 1_000_000, 15_000_000])
    rows: list[tuple[str | None, str | None, int | None, float | None]] = []
    for _ in range(rng.choice([0, 1, 2, 30, 300])):
        time = origin + rng.randrange(span // step + 1) * step
        rows.append((rng.choice("abc"), rng.choice("xy"), time, value()))
        if rng.random() < 0.1:
            rows.append(rows[-1])
        if rng.random() < 0.05:
            rows.append((*rows[-1][:3], rng.choice([None, math.nan, math.inf, -math.inf, 1e200])))
        if rng.random() < 0.02:
            rows.append(rng.choice([(None, "x", time, 1.0), ("a", None, time, 1.0), ("a", "x", None, 1.0)]))
    rng.shuffle(rows)
    return table(rows)


def without_tiny(points: pa.Table) -> pa.Table:
    """No window mixes sizes beyond what exact_sums.py and sql_windows.py promise."""
    is_tiny = pc.fill_null(pc.less(pc.abs(points["value"]), 1e-5), False)
    return points.set_column(3, "value", pc.if_else(is_tiny, 0.0, points["value"]))


@pytest.mark.parametrize("seed", range(200))
def test_rows_equal_the_oracle(seed: int) -> None:
    points = random_points(seed)
    assert_same(rolled_up(points).to_pandas(), expected_rows(points.to_pandas(), RESOLUTIONS))


@pytest.mark.parametrize("seed", range(0, 200, 5))
def test_any_split_in_any_order_gives_the_same_table(seed: int) -> None:
    points = random_points(seed)
    rng = random.Random(seed)
    times = points["wall_timestamp"].cast(pa.int64()).to_pandas()
    borders = [-(2**62), *sorted(rng.choices(times.dropna().astype(int).tolist() or [0], k=rng.randrange(1, 9))), 2**62]
    parts = []
    for after, until in itertools.pairwise(borders):
        inside = points.filter(pa.array(((times > after) & (times <= until)).to_numpy()))
        parts.append(rolled_up(inside))
    rng.shuffle(parts)
    assert in_order(merge_rows(pa.concat_tables(parts))).equals(in_order(rolled_up(points)))


def test_a_cascade_equals_the_direct_rollup() -> None:
    points = pa.concat_tables(part for part, _ in generate(Generated(points=20_000, hours=2)))
    rows = rolled_up(points)
    for resolution in RESOLUTIONS[1:]:
        direct = rolled_up(points, (resolution,))
        mask = pc.equal(rows["resolution_ms"], resolution)
        assert in_order(rows.filter(mask)).equals(in_order(direct))


def test_the_weather_equals_the_oracle() -> None:
    """Of one airport: the other two have the same metrics, and the oracle needs 6 s of a processor for each."""
    points = weather().filter(pc.field("org_id") == "EWR").select(POINT_COLUMNS)
    resolutions = (3_600_000, 21_600_000, 86_400_000)
    assert_same(rolled_up(points, resolutions).to_pandas(), expected_rows(points.to_pandas(), resolutions))


def test_every_input_row_is_accounted_for() -> None:
    points = pa.concat_tables([*(random_points(seed) for seed in range(60)), table([("a", "x", 1, None)])])
    usable = usable_points(points)
    assert usable.counts.rows == len(points)
    assert usable.counts.add_up
    assert min(usable.counts.null, usable.counts.null_key, usable.counts.nan, usable.counts.infinite) > 0


def test_windows_are_closed_and_labelled_on_the_right() -> None:
    rows = rolled_up(table([("a", "x", 60_000_000, 1.0), ("a", "x", 60_000_001, 2.0), ("a", "x", 0, 3.0)]), (60_000,))
    assert rows["window_end"].cast(pa.int64()).to_pylist() == [0, 60_000_000, 120_000_000]


def test_values_at_one_time_come_in_order_of_value_and_repeats_count_once() -> None:
    rows = rolled_up(table([("a", "x", 5, 7.0), ("a", "x", 5, 3.0), ("a", "x", 5, 7.0), ("a", "x", 5, 3.0)]), (60_000,))
    row = rows.to_pylist()[0]
    assert (row["count"], row["first"], row["last"], row["resets"]) == (2, 3.0, 7.0, 0)


def test_a_counter_that_restarts_grows_by_what_it_reached_and_what_came_after() -> None:
    values = [10.0, 15.0, 2.0, 4.0, 1.0]
    rows = rolled_up(table([("a", "x", index + 1, value) for index, value in enumerate(values)]), (60_000,))
    row = rows.to_pylist()[0]
    assert (row["increase"], row["resets"]) == (5 + 2 + 2 + 1, 2)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64).filter(lambda v: abs(v) < 1e300), max_size=12)
)
@settings(max_examples=200, deadline=None)
def test_a_stored_sum_is_the_correctly_rounded_one(values: list[float]) -> None:
    total = sum_rows(np.array([values or [0.0]]))[0]
    exact = sum(map(Fraction, values), Fraction(0))
    assert total[0] == float(exact) == math.fsum(values)
    rest = exact - sum(map(Fraction, total), Fraction(0))
    assert abs(rest) <= abs(exact) * Fraction(1, 2**212)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=500, deadline=None)
def test_compiled_bins_are_those_of_the_library(value: float) -> None:
    assert bin_number(value) == sketch.bin_of(value)


@pytest.mark.parametrize("seed", range(20))
def test_quantiles_are_within_one_percent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0, 3, 2000) * rng.choice([-1, 1], 2000) if seed % 2 else rng.lognormal(0, 3, 2000)
    points = table([("a", "x", START + index, float(value)) for index, value in enumerate(values, 1)])
    row = rolled_up(points, (60_000,)).to_pylist()[0]
    for fraction in (0, 0.01, 0.25, 0.5, 0.9, 0.99, 1):
        exact = np.quantile(values, fraction, method="lower")
        estimate = sketch.quantile(dict(row["sketch"]), fraction)
        assert estimate is not None
        assert abs(estimate - exact) <= 0.01 * abs(exact) * (1 + 1e-9)


def test_resolutions_must_nest() -> None:
    with pytest.raises(ValueError, match="multiple of the one before: 90000 ms is none of 60000 ms"):
        check_resolutions((60_000, 90_000))


def test_nothing_rolls_up_to_nothing() -> None:
    assert rolled_up(table([])).equals(ROWS_SCHEMA.empty_table())
    assert merge_rows(ROWS_SCHEMA.empty_table()).equals(ROWS_SCHEMA.empty_table())


def test_stretches() -> None:
    assert united([(5, 9), (0, 5), (12, 13), (3, 3)]) == ((0, 9), (12, 13))
    assert without((0, 20), ((2, 5), (9, 12))) == ((0, 2), (5, 9), (12, 20))
    assert without((3, 4), ((2, 5),)) == ()
    assert holds(((0, 10),), (0, 10))
    assert not holds(((0, 10), (11, 20)), (5, 15))
    assert cut((3, 25), 10) == [(3, 10), (10, 20), (20, 25)]
    assert cut((10, 20), 10) == [(10, 20)]


def test_generated_points_are_reproducible_and_have_the_faults_they_should() -> None:
    workload = Generated(points=60_000, hours=2, orgs=8)
    one, two = (pa.concat_tables(part for part, _ in generate(workload)) for _ in range(2))
    pd.testing.assert_frame_equal(one.to_pandas(), two.to_pandas())
    assert len(one) == pytest.approx(workload.points, rel=0.1)
    frame = one.to_pandas()
    assert frame["value"].isna().sum() > 0
    assert np.isinf(frame["value"]).sum() > 0
    assert frame.duplicated(list(POINT_COLUMNS)).sum() > 0
    rows = rolled_up(one, (3_600_000,)).to_pandas()
    counters = rows[rows["metric_name"].str.startswith(COUNTERS)]
    assert 0 < counters["resets"].sum() < 0.01 * counters["count"].sum(), "a counter falls when its host restarts only"
    assert (counters["increase"] >= 0).all()
    shares = frame["org_id"].value_counts(normalize=True)
    assert shares.iloc[0] > 2 * shares.iloc[-1]
    late = [part for part, is_late in generate(workload) if is_late]
    assert len(late) == 1
    assert 0 < len(late[0]) < 0.01 * len(one)
    assert isinstance(frame["wall_timestamp"].dtype, pd.DatetimeTZDtype)
