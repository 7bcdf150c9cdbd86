"""The charts: records become specifications that Vega-Lite accepts, gaps stay gaps, nonsense draws nothing."""

from __future__ import annotations

import ast
import inspect
import json
import math
import re
from pathlib import Path

import pytest
import vl_convert

import pipeline_tuner.charts as package
from pipeline_tuner.charts import gains, parameters, runs
from pipeline_tuner.charts.gains import MAX_CONFIGURATIONS, convergence, effects, intervals, pareto, waterfall
from pipeline_tuner.charts.parameters import Course, parallel_coordinates, parameter_response, scaling
from pipeline_tuner.charts.runs import (
    HELD_AGAINST,
    PARTS,
    RUNS,
    SOURCE,
    history,
    partitions,
    rollups,
    thread_time,
    throughput,
)
from pipeline_tuner.charts.style import (
    MAX_TICKS,
    THEMES,
    VEGA_LITE,
    Value,
    gain_axis,
    page_specification,
    plain,
    save,
    specification,
)
from pipeline_tuner.recommendation import ConfigurationEvidence, Interval, StandingKind
from pipeline_tuner.report.chart_values import bars_of, bound_of, gain_pairs
from pipeline_tuner.web.trial_evidence import rates_of, spans_of

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
    levels = [Value(level, level**0.8, level**0.7, level**0.9) for level in (1.0, 2.0, 4.0)]
    lanes = [Course({"method": m, "cores": n, "same": 1}, n + 1.0, HOSTILE) for n in (1, 4, 16) for m in (HOSTILE, "b")]
    expected = [Value(level, 1.0, 0.8, 1.2, words=HOSTILE) for level in (1, 2, 64)]
    bars = bars_of({HOSTILE: known(2, StandingKind.PICK, confirmed=ratio(1.9))})
    stages = [(HOSTILE, Interval(1.4, 1.2, 1.6, 0.95, 3)), ("b", None)]
    details = {
        "throughput": {"time_s": [0, 1, 2, 4], "rows": [0, 10, 30, 30]},
        "partitions": [{"number": n, "start_s": n, "duration_s": 1} for n in range(3)],
    }
    shares = [Value(HOSTILE, 0.5, 0.0, 0.5, name, HOSTILE) for name in PARTS]
    moments = [f"2026-01-0{day}" for day in (1, 2, 3)]
    confirmed, event = Value(3, 1.4, words="confirmed"), Value(moments[1], None, kind="machine", words=HOSTILE)
    dots = [Value(n, 1.0, kind="tied", words=HOSTILE) for n in (1, 2, 64)]
    figures = [Value(at, 5.0, kind=name) for at in moments for name in ("production", HELD_AGAINST, RUNS)]
    return {
        "thread_time": thread_time(shares, [Value(HOSTILE, 0.9, kind=SOURCE)], title="t"),
        "convergence": convergence([Value(1, 1.0), Value(2, 1.5)], confirmed=confirmed, title="t"),
        "parallel_coordinates": parallel_coordinates(lanes, ["method", "cores", "same"], goal=HOSTILE, up=True),
        "effects": effects([Value(HOSTILE, 1.5, 1.4, 1.6, words=HOSTILE)], title="t"),
        "history": history(figures, [event], main="production", y="rows/s", title="t"),
        "intervals": intervals(bars, title="t", bound=bound_of(bars, HOSTILE, 0.1)),
        "pareto": pareto(gain_pairs(gains), [HOSTILE], x="a", y=HOSTILE, title="t"),
        "partitions": partitions(spans_of(details)),
        "parameter_response": parameter_response(dots, expected, parameter="p", y="rows/s"),
        "rollups": rollups([(0, 1.0), (60, 2.0)], {"60000": [(60, 1.5, 1.0, 2.0)]}, title="t", start="2026"),
        "scaling": scaling(levels, [*levels, Value(8, 5, 4, 6)], x="cores", y="speed-up", knee=5.0, title="t"),
        "throughput": throughput(rates_of(details)),
        "waterfall": waterfall(stages, total=ratio(1.35), title="t"),
    }  # fmt: skip


CHARTS = every_chart()


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_drawn_without_a_complaint_in_both_themes(name, capfd):
    assert CHARTS[name].to_dict(validate=True)["layer"]
    drawn = {"width": 600} | specification(CHARTS[name])
    themes = [drawn | {"config": dict(theme)} for theme in THEMES.values()]
    pictures = [vl_convert.vegalite_to_svg(one, vl_version=VEGA_LITE) for one in themes]
    assert capfd.readouterr().err == ""
    assert all(picture.count("<path") + picture.count("<line") + picture.count("<rect") > 3 for picture in pictures)
    assert "<script" not in pictures[0]
    assert all(theme["background"] in picture for theme, picture in zip(THEMES.values(), pictures, strict=True))


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_of_a_page_takes_its_width_and_colours_from_there(name):
    document = page_specification(CHARTS[name])
    assert document["width"] == "container"
    assert not {"config", "title"} & document.keys()
    assert "#" not in json.dumps({key: value for key, value in document.items() if key != "$schema"}).replace(
        HOSTILE, ""
    )


def test_every_chart_is_here():
    made = {
        name for module in (gains, parameters, runs) for name, one in vars(module).items() if _is_chart(module, one)
    }
    assert made == set(CHARTS)


def _is_chart(module, one):
    is_own = inspect.isfunction(one) and one.__module__ == module.__name__ and not one.__name__.startswith("_")
    return is_own and inspect.signature(one).return_annotation == "Chart"


@pytest.mark.parametrize("name", CHARTS)
def test_the_same_chart_is_drawn_the_same(name):
    shown = specification(CHARTS[name]) | {"config": dict(THEMES["light"])}
    first, second = (vl_convert.vegalite_to_svg(shown, vl_version=VEGA_LITE) for _ in range(2))
    assert first == second


def test_a_chart_is_saved_in_both_themes(tmp_path):
    path = save(tmp_path / "charts", "a", CHARTS["intervals"])
    assert {one.name for one in path.parent.iterdir()} == {"a.svg", "a.png", "a-dark.svg", "a-dark.png"}
    assert path.name == "a.svg"
    assert THEMES["light"]["background"] in path.read_text(encoding="utf-8")


def test_configurations_stand_best_first_with_what_they_are():
    bars = bars_of(
        evidence(control=1.0, best=2.0, middle=1.5), reference="control", address=lambda label: f"to/{label}"
    )
    assert [bar.at for bar in bars] == ["best · pick", "middle", "control · runs now"]
    assert (bars[0].kind, bars[0].words) == ("pick", "2.00x (1.90 to 2.10) in the search")
    assert (bars[0].label, bars[0].href) == ("best", "to/best")


def test_a_confirmed_value_stands_below_the_one_of_the_search():
    search, confirmed = bars_of({"a": known(2.0, confirmed=ratio(1.8))})
    assert [one.words.rpartition(")")[2] for one in (search, confirmed)] == [" in the search", " confirmed"]
    assert search.other < confirmed.other


def test_long_names_that_read_alike_are_written_in_full():
    names = [f"{'cores=4 method=copy '}{'x' * 40}{n} parallelism=8 batch=1000" for n in (1, 2)]
    bars = bars_of({name: known(1.2) for name in names})
    assert {bar.at for bar in bars} == set(names)
    assert plain(names[0]) == plain(names[1])


def test_many_configurations_are_cut_and_counted():
    many = {f"c{n}": known(1 + n / 100) for n in range(MAX_CONFIGURATIONS + 3)}
    document = specification(intervals(bars_of(many), title="t"))
    assert "3 worse ones not shown" in document["title"]["subtitle"]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_what_is_no_figure_is_not_drawn(value):
    ratio = Interval(value, value, value, 0.95, 3)
    assert bars_of({"a": ConfigurationEvidence({}, StandingKind.WORSE, ratio=ratio)}) == []


def test_a_night_without_a_value_breaks_the_line():
    points = [
        Value(f"2026-01-0{day}", value, kind="production") for day, value in enumerate((1.0, 2.0, None, 2.0, 1.0), 1)
    ]
    document = specification(history(points, main="production", y="rows/s"))
    drawn = vl_convert.vegalite_to_svg({"width": 600} | document, vl_version=VEGA_LITE)
    (line,) = re.findall(
        r'<path aria-label="[^"]*" role="graphics-symbol" aria-roledescription="line mark" d="([^"]+)"', drawn
    )
    assert line.count("M") == 2


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (0.2, 90.0), (1e-9, 1e9), (1.0, 1.0)])
def test_ticks_of_gains_are_few_and_hold_one(low, high):
    drawn = gain_axis([Value("", 1.0, low, high)], "t")("value").to_dict()
    ticks, (lowest, highest) = drawn["axis"]["values"], drawn["scale"]["domain"]
    assert 1 in ticks
    assert 1 <= len(ticks) <= MAX_TICKS
    assert all(lowest <= tick <= highest for tick in ticks)


def test_configurations_that_none_beats_are_the_front():
    pairs = gain_pairs({"a": (1.0, 1.0), "b": (2.0, 3.0), "c": (4.0, 2.0)})
    assert {pair.label for pair in pairs if pair.kind == "pick"} == {"b", "c"}


def test_throughput_is_the_slope_of_what_landed():
    details = {"throughput": {"time_s": [0.0, 1.0, 2.0, 4.0], "rows": [0, 10, 30, 30]}}
    assert [rate.value for rate in rates_of(details)] == [10, 20, 0]
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
    named = specification(parameter_response([Value("copy", 2.0), Value("jdbc", 1.0)], parameter="p", y="y"))
    wide, narrow, from_zero = (
        specification(parameter_response([Value(level, 1.0) for level in levels], parameter="p", y="y"))
        for levels in ((1, 100), (1, 8), (0, 100))
    )
    assert named["encoding"]["x"]["type"] == "nominal"
    assert [one["encoding"]["x"]["scale"]["type"] for one in (wide, narrow, from_zero)] == ["log", "linear", "linear"]


def test_a_bound_that_goes_beyond_the_chart_ends_at_its_edge():
    measured = [Value(level, level, 0.5 * level, high) for level, high in ((1.0, 2.0), (2.0, 1e9), (4.0, math.inf))]
    document = specification(scaling(measured, measured, x="cores", y="rows/s"))
    drawn = vl_convert.vegalite_to_svg(document | {"config": dict(THEMES["light"])}, vl_version=VEGA_LITE)
    height = float(re.search(r'<svg[^>]* height="(\d+)"', drawn)[1])
    assert height < 400
    assert "NaN" not in drawn


MAX_CODE, MAX_LINES = 315, 510
"""Of all drawing: less than half of what hand-placed SVG and matplotlib took for eleven of these, without clicks.

That was `canvas.py`, `plots.py`, `plots_of_runs.py`, `web/charts.py`, `web/night_chart.py` and `web/trial_charts.py`
with 565 lines of code, and 65 lines of templates and style sheet: 630. Whole files, with imports and docstrings, they
were 899, about 1,020 with `web/insights.py`.
"""


def test_drawing_takes_less_than_half_of_what_it_took():
    sources = [path.read_text(encoding="utf-8") for path in Path(package.__file__).parent.glob("*.py")]
    elsewhere = _drawing_elsewhere()
    assert sum(map(_lines_of_code, sources)) + len([line for line in elsewhere if line]) < MAX_CODE
    assert sum(len(source.splitlines()) for source in sources) + len(elsewhere) < MAX_LINES


def _drawing_elsewhere():
    """The page's script, and the lines of its style sheet and templates that draw."""
    web = Path(package.__file__).parent.parent / "web"
    script = (web / "static" / "charts.js").read_text(encoding="utf-8").splitlines()
    others = [web / "static" / "page.css", *(web / "templates").glob("*.html")]
    lines = [line for path in others for line in path.read_text(encoding="utf-8").splitlines()]
    said = [line for line in lines if re.search(r"<svg|data-spec|\.chart .*\{", line)]
    return ["" if line.strip().startswith("//") else line for line in [*script, *said]]


def _lines_of_code(source):
    """Lines without imports, words for people and what is empty."""
    found, words = set(), set()
    for node in ast.walk(ast.parse(source)):
        is_words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_words or isinstance(node, ast.Import | ast.ImportFrom):
            words |= set(range(node.lineno, node.end_lineno + 1))
        elif isinstance(node, ast.stmt):
            found |= set(range(node.lineno, node.end_lineno + 1))
    texts = source.splitlines()
    return sum(bool(texts[line - 1].strip()) and not texts[line - 1].strip().startswith("#") for line in found - words)
