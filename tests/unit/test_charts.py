"""The charts: records become specifications that Vega-Lite accepts, gaps stay gaps, nonsense draws nothing."""

from __future__ import annotations

import json
import math

import pytest
import vl_convert

from pipeline_tuner.charts.busy import Threads, busy
from pipeline_tuner.charts.convergence import Seen, convergence
from pipeline_tuner.charts.courses import Course, courses
from pipeline_tuner.charts.effects import effect_bar, effects
from pipeline_tuner.charts.history import HELD_AGAINST, RUNS, Event, Point, history
from pipeline_tuner.charts.intervals import MOST, bars_of, bound_of, intervals
from pipeline_tuner.charts.look import (
    DARK,
    LIGHT,
    MOST_TICKS,
    VEGA_LITE,
    gain_scale,
    page_specification,
    plain,
    save,
    specification,
)
from pipeline_tuner.charts.pareto import gain_pairs, pareto
from pipeline_tuner.charts.partitions import partitions, spans_of
from pipeline_tuner.charts.response import Dot, Expected, response
from pipeline_tuner.charts.rollups import rollups
from pipeline_tuner.charts.scaling import Level, scaling
from pipeline_tuner.charts.throughput import rates_of, throughput
from pipeline_tuner.charts.waterfall import TOTAL, StageGain, waterfall
from pipeline_tuner.recommendation import ConfigurationEvidence, Interval, StandingKind

HOSTILE = "<script>alert(1)</script> 'datum' $x$"


def ratio(value, spread=0.1, n=5):
    return Interval(value, value - spread, value + spread, 0.95, n)


def known(value, standing=StandingKind.WORSE, **parts):
    return ConfigurationEvidence({}, standing, ratio=ratio(value), **parts)


def evidence(**values):
    best = max(values.values())
    standings = {value: StandingKind.PICK if value == best else StandingKind.WORSE for value in values.values()}
    return {label: known(value, standings[value]) for label, value in values.items()}


def every_chart():
    gains = {"a": (1.0, 1.0), HOSTILE: (2.0, 3.0), "c": (4.0, 2.0)}
    levels = [Level(level, level**0.8, level**0.7, level**0.9) for level in (1.0, 2.0, 4.0)]
    lanes = [Course({"method": m, "cores": n, "same": 1}, n + 1.0, HOSTILE) for n in (1, 4, 16) for m in (HOSTILE, "b")]
    expected = [Expected(level, 1.0, 0.8, 1.2, HOSTILE) for level in (1, 2, 64)]
    bars = bars_of({HOSTILE: known(2, StandingKind.PICK, confirmed=ratio(1.9))})
    stages = [StageGain(HOSTILE, 1.4, 1.2, 1.6), StageGain("b", 1.0, 1.0, 1.0)]
    details = {
        "throughput": {"time_s": [0, 1, 2, 4], "rows": [0, 10, 30, 30]},
        "partitions": [{"number": n, "start_s": n, "duration_s": 1} for n in range(3)],
    }
    moments = [f"2026-01-0{day}" for day in (1, 2, 3)]
    figures = [Point(at, name, 5.0) for at in moments for name in ("production", HELD_AGAINST, RUNS)]
    return {
        "busy": busy([Threads(HOSTILE, 0.9, 0.5, 0.3, 0.2)], title="t"),
        "convergence": convergence([Seen(1, 1.0), Seen(2, 1.5)], confirmed=Seen(3, 1.4), title="t"),
        "courses": courses(lanes, ["method", "cores", "same"], goal=HOSTILE, up=True),
        "effects": effects([effect_bar(HOSTILE, "a to b", ratio(1.5), is_shown=True)], title="t"),
        "history": history(figures, [Event(moments[1], "machine", HOSTILE)], main="production", y="rows/s", title="t"),
        "intervals": intervals(bars, title="t", bound=bound_of(bars, HOSTILE, 0.1)),
        "pareto": pareto(gain_pairs(gains), x="a", y=HOSTILE, title="t"),
        "partitions": partitions(spans_of(details)),
        "response": response([Dot(n, 1.0, "tied", HOSTILE) for n in (1, 2, 64)], expected, parameter="p", y="rows/s"),
        "rollups": rollups([(0, 1.0), (60, 2.0)], {"60000": [(60, 1.5, 1.0, 2.0)]}, title="t", start="2026"),
        "scaling": scaling(levels, [*levels, Level(8, 5, 4, 6)], x="cores", y="speed-up", knee=5.0, title="t"),
        "throughput": throughput(rates_of(details)),
        "waterfall": waterfall(stages, total=StageGain(TOTAL, 1.35, 1.2, 1.5), title="t"),
    }  # fmt: skip


CHARTS = every_chart()


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_drawn_without_a_complaint_in_both_themes(name, capfd):
    assert CHARTS[name].to_dict(validate=True)["layer"]
    drawn = {"width": 600} | specification(CHARTS[name])
    themes = [drawn | {"config": theme.config} for theme in (LIGHT, DARK)]
    pictures = [vl_convert.vegalite_to_svg(one, vl_version=VEGA_LITE) for one in themes]
    assert capfd.readouterr().err == ""
    assert all(picture.count("<path") + picture.count("<line") + picture.count("<rect") > 3 for picture in pictures)
    assert "<script" not in pictures[0]
    assert LIGHT.background in pictures[0]
    assert DARK.background in pictures[1]


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_of_a_page_takes_its_width_and_colours_from_there(name):
    document = page_specification(CHARTS[name])
    assert document["width"] == "container"
    assert not {"config", "title"} & document.keys()
    assert "#" not in json.dumps({key: value for key, value in document.items() if key != "$schema"}).replace(
        HOSTILE, ""
    )


def test_every_module_has_its_chart_here():
    from pathlib import Path

    import pipeline_tuner.charts as package

    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__", "look"}
    assert modules == set(CHARTS)


def test_the_same_chart_gives_the_same_files(tmp_path):
    paths = [save(tmp_path / str(n), "a", CHARTS["intervals"]) for n in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert {path.name for path in paths[0].parent.iterdir()} == {"a.svg", "a.png", "a-dark.svg", "a-dark.png"}


def test_configurations_stand_best_first_with_what_they_are():
    bars = bars_of(
        evidence(control=1.0, best=2.0, middle=1.5), reference="control", address=lambda label: f"to/{label}"
    )
    assert [bar.label for bar in bars] == ["best · pick", "middle", "control · runs now"]
    assert (bars[0].kind, bars[0].words, bars[0].href) == ("pick", "2.00x (1.90 to 2.10)", "to/best")


def test_a_confirmed_value_stands_below_the_one_of_the_search():
    search, confirmed = bars_of({"a": known(2.0, confirmed=ratio(1.8))})
    assert (search.phase, confirmed.phase) == ("search", "confirmed")
    assert search.offset < confirmed.offset


def test_long_names_that_read_alike_are_written_in_full():
    names = [f"{'cores=4 method=copy '}{'x' * 40}{n} parallelism=8 batch=1000" for n in (1, 2)]
    bars = bars_of({name: known(1.2) for name in names})
    assert {bar.label for bar in bars} == set(names)
    assert plain(names[0]) == plain(names[1])


def test_many_configurations_are_cut_and_counted():
    many = {f"c{n}": known(1 + n / 100) for n in range(MOST + 3)}
    document = specification(intervals(bars_of(many), title="t"))
    assert "3 worse ones not shown" in document["title"]["subtitle"]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_what_is_no_figure_is_not_drawn(value):
    ratio = Interval(value, value, value, 0.95, 3)
    assert bars_of({"a": ConfigurationEvidence({}, StandingKind.WORSE, ratio=ratio)}) == []


def test_a_night_without_a_value_breaks_the_line():
    document = specification(history([Point("2026-01-01", "production", None)], main="production", y="rows/s"))
    assert '"value": null' in json.dumps(document)


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (0.2, 90.0), (1e-9, 1e9), (1.0, 1.0)])
def test_ticks_of_gains_are_few_and_hold_one(low, high):
    scale, axis = gain_scale([low, high])
    ticks = axis.to_dict()["values"]
    assert 1 in ticks
    assert 1 <= len(ticks) <= MOST_TICKS
    assert all(scale.domain[0] <= tick <= scale.domain[1] for tick in ticks)


def test_configurations_that_none_beats_are_the_front():
    pairs = gain_pairs({"a": (1.0, 1.0), "b": (2.0, 3.0), "c": (4.0, 2.0)})
    assert {pair.label for pair in pairs if pair.kind == "pick"} == {"b", "c"}


def test_throughput_is_the_slope_of_what_landed():
    details = {"throughput": {"time_s": [0.0, 1.0, 2.0, 4.0], "rows": [0, 10, 30, 30]}}
    assert [rate.rows_per_s for rate in rates_of(details)] == [10, 20, 0]
    assert rates_of({}) == rates_of({"throughput": {"time_s": "x", "rows": None}}) == []


def test_slow_and_failed_partitions_are_told_apart():
    rows = [{"number": n, "start_s": n, "duration_s": 1.0, "state": "PASS"} for n in range(4)]
    rows += [
        {"number": 4, "start_s": 4, "duration_s": 2.0},
        {"number": 5, "start_s": 5, "duration_s": 1, "state": "FAIL"},
    ]
    spans = spans_of({"partitions": [*rows, "nonsense", {"number": 6}]})
    assert [span.kind for span in spans] == ["tied", "tied", "tied", "tied", "second", "bad"]
    assert spans_of({"partitions": "nonsense"}) == []


def test_names_stand_side_by_side_and_wide_numbers_on_a_log_axis():
    named = specification(response([Dot("copy", 2.0, "pick", ""), Dot("jdbc", 1.0, "other", "")], parameter="p", y="y"))
    wide = specification(response([Dot(level, 1.0, "tied", "") for level in (1, 100)], parameter="p", y="y"))
    assert named["layer"][0]["encoding"]["x"]["type"] == "nominal"
    assert wide["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"
