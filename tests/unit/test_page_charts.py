"""The page's own charts: figures become positions, gaps stay gaps, nonsense draws nothing."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta

import pytest

from pipeline_tuner.recommendation import Interval
from pipeline_tuner.web.charts import TICK_WIDTH, effect_chart, interval_chart, point_chart, round_ticks
from pipeline_tuner.web.night_chart import night_chart
from pipeline_tuner.web.trial_charts import span_chart, throughput_chart


def nights_of(statuses):
    first = datetime(2026, 3, 1, tzinfo=UTC)
    return [
        {"night_id": f"n{i}", "due_at": first + timedelta(days=i), "status": status, "summary": status}
        for i, status in enumerate(statuses)
    ]


def figure(night, role, value, goal="throughput"):
    return {"night_id": f"n{night}", "goal": goal, "role": role, "label": role, "value": value}


def test_a_missed_night_breaks_the_line_and_is_marked():
    figures = [figure(n, "champion", 100.0 + n) for n in (0, 1, 3, 4)]
    chart = night_chart("throughput", "rows/s", nights_of(["quiet", "quiet", "missed", "quiet", "quiet"]), figures, [])
    assert [role for role, _ in chart.lines] == ["champion", "champion"]
    assert [mark.kind for mark in chart.marks] == ["missed"]
    assert chart.dots[0].x < chart.marks[0].x < chart.dots[2].x
    assert chart.dots[0].y > chart.dots[3].y  # more is higher
    assert "2026-03-01" in chart.dots[0].words


def test_news_stand_where_they_happened_and_crowded_names_are_left_out():
    nights = nights_of(["quiet"] * 60)
    figures = [figure(n, "champion", 100.0) for n in range(60)]
    alerts = [{"night_id": f"n{n}", "goal": "throughput", "kind": "change", "words": "w"} for n in (10, 11, 40)]
    chart = night_chart("throughput", "", nights, figures, [*alerts, {**alerts[0], "goal": "cost"}])
    assert [mark.is_named for mark in chart.marks] == [True, False, True]


def test_one_night_and_no_night():
    assert night_chart("throughput", "", nights_of(["quiet"]), [figure(0, "champion", 5.0)], []).dots
    assert night_chart("throughput", "", [], [], []) is None


def test_long_labels_differ_where_they_are_read_and_figures_on_the_axis_keep_apart():
    settings = [f"cores=4 method=copy partitions={n} parallelism=8" for n in (1, 4, 64)]
    ratio = Interval(9.0, 1.1, 14.0, 0.95, 5)
    chart = interval_chart((label, ratio, "open") for label in (*settings, "copy_8"))
    words = {" ".join(line for _, line in bar.lines) for bar in chart.bars}
    assert words == {*settings, "copy_8"}
    assert all(len(bar.lines) <= 2 and bar.y - 16 < y < bar.y + 16 for bar in chart.bars for y, _ in bar.lines)
    places = [x for x, _ in chart.ticks]
    assert min(b - a for a, b in itertools.pairwise(places)) >= TICK_WIDTH


def test_points_keep_their_order_and_the_front_is_named():
    rows = [("a", 1.0, 1.0, ""), ("b", 2.0, 3.0, "pick"), ("c", 4.0, 2.0, "pick")]
    chart = point_chart(rows, x_name="x", y_name="y", line=[(2.0, 3.0), (4.0, 2.0)])
    found = {point.label: point for point in chart.points}
    assert found["a"].x < found["b"].x < found["c"].x
    assert found["b"].y < found["c"].y < found["a"].y
    assert {label for label, point in found.items() if point.is_named} == {"b", "c"}
    assert len(chart.line.split()) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_figure_is_not_drawn(value):
    assert point_chart([("a", value, 1.0, "")], x_name="x", y_name="y") is None
    assert effect_chart([("p", Interval(value, 1.0, 2.0, 0.95, 3), True)]) is None


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.93, 7.4), (56_000.0, 338_000.0), (1e-4, 2e-4)])
def test_ticks_are_few_round_and_inside(low, high):
    ticks = round_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)


def test_throughput_is_the_slope_of_what_landed():
    details = {"throughput": {"time_s": [0.0, 1.0, 2.0, 4.0], "rows": [0, 10, 30, 30]}}
    assert [point.words.split(", ")[1] for point in throughput_chart(details).points] == ["10", "20", "0"]
    assert throughput_chart({}) is None
    assert throughput_chart({"throughput": {"time_s": "x", "rows": None}}) is None


def test_slow_and_failed_partitions_are_told_apart():
    rows = [{"number": n, "start_s": n, "duration_s": 1.0, "state": "PASS"} for n in range(4)]
    rows += [
        {"number": 4, "start_s": 4, "duration_s": 2.0},
        {"number": 5, "start_s": 5, "duration_s": 1, "state": "FAIL"},
    ]
    chart = span_chart({"partitions": [*rows, "nonsense", {"number": 6}]})
    assert [span.kind for span in chart.spans] == ["", "", "", "", "slow", "failed"]
    assert span_chart({"partitions": "nonsense"}) is None
