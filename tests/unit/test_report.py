from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from markdown_it import MarkdownIt
from tests.unit.planted import planted_options, planted_study, planted_sweep

from pipeline_tuner.charts import style
from pipeline_tuner.recommend import recommend
from pipeline_tuner.recommendation import DecisionStatus, Interval
from pipeline_tuner.report.conclusions import by_pick_and_gain
from pipeline_tuner.report.files import details_of
from pipeline_tuner.report.findings import Facts, findings
from pipeline_tuner.report.markdown import escaped, table
from pipeline_tuner.report.terminal import summary
from pipeline_tuner.report.written import write_report

CLAIMS = (
    {"source": "seed", "text": "fewer partitions are faster", "better": {"partitions": 8}, "worse": {"partitions": 32}},
)
STUDY = planted_study(claims=CLAIMS)
OPTIONS = planted_options(STUDY)
BASE = STUDY.control_candidate.configuration
CONFIGURATIONS = {c.label: c.configuration for c in STUDY.preset_candidates} | {
    "copy 16": {**BASE, "method": "copy", "partitions": 16},
    "copy 32": {**BASE, "method": "copy", "partitions": 32},
}
DURATIONS = {"balanced": 10.0, "wide": 12.0, "copy": 7.0, "copy 16": 6.0, "copy 32": 6.5}
HOSTILE = "x | y\n# <script>alert(1)</script> [a](javascript:b) ![c](d) `$z$` **e**"


def sweep(durations=DURATIONS, configurations=CONFIGURATIONS, confirmed=("balanced", "copy 16"), **options):
    return planted_sweep(durations, configurations, control="balanced", confirmed=confirmed, blocks=5, **options)


def written(folder, results, study=STUDY, history=(), **parts):
    recommendations = recommend(study, OPTIONS, results, history)
    return write_report(folder, study, OPTIONS, results, recommendations, history=history, **parts)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return written(tmp_path_factory.mktemp("report"), sweep())


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the charts out where only the text is looked at: they take most of the time."""
    monkeypatch.setattr(style, "save", lambda folder, name, chart: folder / f"{name}.svg")


def section(text, title):
    return text.split(f"## {title}\n", 1)[1].split("\n## ")[0]


def whole(path):
    """The analysis and its details."""
    return path.read_text() + details_of(path).read_text()


def test_every_part_of_the_seed_is_there_and_true(report):
    text = whole(report)
    assert "| use copy 16 |" in section(text, "Decision")
    assert re.search(r"duration \| 10[\d.]* s \| 6[\d.]* s \| 0\.6\dx", section(text, "Results"))
    assert section(text, "Comparison").count("\n|") == 7
    assert "method matters: copy rather than jdbc" in section(text, "Key findings")
    assert "Correct output: 5 checks passed" in section(text, "What works and what limits")
    assert "The processor is the limit" in section(text, "What works and what limits")
    assert "universal scalability" in section(text, "Scaling") or "Amdahl" in section(text, "Scaling")
    assert "not separable" in section(text, "Claims held against the measurements")
    assert "None: all 35 trials" in section(text, "Failed trials")
    assert re.search(r"paid for itself after \d+ runs", section(text, "What it cost"))
    assert "50,000 to 200,000" in section(text, "Where this holds")
    assert "planted cpu" in section(text, "Environment")
    assert "25 trials in 5 blocks to search, 10 trials in 5 fresh blocks" in section(text, "How it was measured")


def test_repeats_of_short_work_are_told(tmp_path, undrawn):
    results = [replace(r, plan=replace(r.plan, min_work_s=3.0 if r.plan.block == 0 else 0.5)) for r in sweep()]
    text = whole(write_report(tmp_path, STUDY, OPTIONS, results, recommend(STUDY, OPTIONS, results)))
    assert "1 counted run, short work being repeated until 500 ms to 3 s of it were measured" in text


def test_equal_gains_of_two_picks_are_told_apart():
    results = sweep()
    first, second = recommend(STUDY, OPTIONS, results)[:2]
    gain = Interval(1.48, 1.2, 1.8, 0.95, 5)
    changed = [
        replace(first, status=DecisionStatus.BETTER, label="copy 16", gain=gain),
        replace(second, status=DecisionStatus.BETTER, label="balanced", gain=replace(gain, value=1.4801)),
        replace(second, status=DecisionStatus.BETTER, label="copy 16", gain=None),
    ]
    assert [(label, len(group)) for (label, _), group in by_pick_and_gain(changed).items()] == [
        ("copy 16", 1), ("balanced", 1), ("copy 16", 1)
    ]  # fmt: skip


def test_pictures_stand_beside_it_in_every_variant(report):
    names = re.findall(r"!\[[^\]]*\]\(([\w-]+)\.svg\)", whole(report))
    assert {"intervals-throughput", "effects-throughput", "pareto-throughput-cost", "scaling-partitions"} <= set(names)
    for name in names:
        for ending in (".svg", ".png", "-dark.svg", "-dark.png"):
            assert (report.parent / f"{name}{ending}").stat().st_size > 2000


def test_the_same_sweep_gives_the_same_files(report, tmp_path):
    again = written(tmp_path, sweep())
    assert whole(again) == whole(report)
    chart = "intervals-throughput.svg"
    assert (again.parent / chart).read_bytes() == (report.parent / chart).read_bytes()


def test_earlier_sweeps_are_the_best_so_far_and_the_history(tmp_path, undrawn):
    history = []
    for night in range(20):
        slower = 1.15 if night >= 14 else 1.0
        durations = {"balanced": 10.0, "copy 16": 6.0 * slower, "gone": 5.0 * slower}
        gone = {**CONFIGURATIONS, "gone": {**BASE, "method": "copy", "batch": 7}}
        for result in sweep(durations, gone, confirmed=(), seed=night, sweep_id=f"night-{night}", drift=0.01):
            ago = timedelta(days=20 - night)
            record = result.measurement.model_copy(
                update={
                    "started_at": result.measurement.started_at - ago,
                    "ended_at": result.measurement.ended_at - ago,
                }
            )
            history.append(replace(result, measurement=record))
    text = whole(written(tmp_path, sweep({**DURATIONS, "copy 16": 6.9, "copy 32": 8.0, "copy": 8.5}), history=history))
    assert re.search(r"best so far: gone \| 100 \| 5[.\d]* s .*20 earlier sweeps", section(text, "Comparison"))
    assert "Worse by" in section(text, "Over the nights")
    assert "the job (or its data) changed and not the machine" in section(text, "Over the nights")


def test_failed_trials_are_told_in_words(tmp_path, undrawn):
    results = [
        replace(r, status="failed", failure="out_of_memory", reason="heap of 2g", metrics={}, measurement=None)
        if r.plan.label == "copy 32"
        else r
        for r in sweep()
    ]
    results[0] = replace(results[0], status="running", metrics={}, measurement=None)
    text = section(whole(written(tmp_path, results)), "Failed trials")
    assert "6 of 35 trials failed" in text
    assert "ran out of memory | heap of 2g | puts it out" in text
    assert "was lost | still running: nothing came back | says nothing on it" in text


def test_hostile_text_shows_as_text(tmp_path):
    configurations = {**CONFIGURATIONS, HOSTILE: {**BASE, "batch": 500}}
    results = sweep({**DURATIONS, HOSTILE: 9.0}, configurations)
    broken = next(r for r in results if r.plan.label == "wide")
    results = [
        replace(r, status="failed", failure="error", reason=HOSTILE, metrics={}, measurement=None) if r is broken else r
        for r in results
    ]
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(whole(written(tmp_path, results)))
    assert "<script" not in html
    assert "javascript:" not in re.findall(r'href="([^"]*)"', html)
    assert html.count("<h1>") == 2
    assert "alert(1)" in html


@pytest.mark.parametrize(
    ("durations", "options"),
    [
        ({"balanced": 10.0}, {"confirmed": ()}),
        ({"balanced": 10.0, "copy": 9.9}, {"noise": 0.4, "confirmed": ()}),
        ({"balanced": 10.0, "copy": 7.0}, {"confirmed": ("balanced", "copy"), "confirm_blocks": 1}),
    ],
)
def test_little_evidence_still_makes_a_report(tmp_path, durations, options):
    text = whole(written(tmp_path, sweep(durations, **options)))
    assert "## Decision" in text
    assert " nan" not in text
    assert "inf" not in text.replace("information", "")


def test_a_control_that_never_works_leaves_the_others_figures(tmp_path, undrawn):
    results = [
        replace(r, status="failed", failure="bad_configuration", reason="no", metrics={}, measurement=None)
        if r.plan.is_control
        else r
        for r in sweep()
    ]
    text = whole(written(tmp_path, results))
    assert "has no metrics to compare with" in section(text, "Results")
    assert "copy 16" in section(text, "Results")


def test_staged_sweep_shows_what_each_stage_is_worth(tmp_path):
    study = planted_study(stages={"layout": ("partitions",), "code": ("method",)})
    options = planted_options(study, strategy="staged", rounds=2)
    results = []
    for number, labels in ((1, ("balanced", "wide")), (2, ("balanced", "wide", "copy"))):
        durations = {label: DURATIONS[label] for label in labels}
        for r in sweep(durations, confirmed=(), seed=number, noise=0.005):
            plan = replace(
                r.plan, round=number, block=10 * number + r.plan.block, trial_id=f"{number}-{r.plan.trial_id}"
            )
            results.append(replace(r, plan=plan))
    path = write_report(tmp_path, study, options, results, recommend(study, options, results))
    text = section(whole(path), "What each stage is worth")
    assert "| layout | nothing paid | kept as it was |" in text
    assert re.search(r"\| code \| method=copy \| 1\.4\dx", text)
    assert (tmp_path / "stages-dark.png").exists()


def test_no_recommendation_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recommendation"):
        write_report(tmp_path, STUDY, OPTIONS, sweep(), ())


def test_summary_for_a_terminal():
    results = sweep()
    text = summary(recommend(STUDY, OPTIONS, results), results)
    header, _, first = text.splitlines()[:3]
    assert header.split("  ")[0] == "goal"
    assert re.match(r"throughput +use copy 16 +1\.\d+x \(1\.\d+ to 1\.\d+\) +[\d.]+% +95%", first)
    assert "\nthroughput: use copy 16\n" in text
    assert re.search(r"value +16,\d00 \(1\d,\d00 to 1\d,\d00\) rows/s, 95% interval", text)
    assert "35 of 35 trials measured, none failed" in text
    assert max(map(len, text.splitlines())) < 240


def facts(metrics=None, configuration=None, **parts):
    results = sweep({"balanced": 10.0}, confirmed=())
    changed = [
        replace(r, metrics={**r.metrics, **(metrics or {})}, measurement=r.measurement.model_copy(update=parts))
        for r in results
    ]
    return Facts.of("balanced", configuration or BASE, changed)


@pytest.mark.parametrize(
    ("metrics", "parts", "configuration", "kind", "words"),
    [
        ({"errors": 0}, {}, {}, "works", "Errors: 0 in 5 trials"),
        ({"errors": 2}, {}, {}, "limits", "Errors: 10"),
        (
            {"rows_per_s": 19_500},
            {},
            {"origin_rate_limit": 20_000},
            "limits",
            "A rate limit binds: origin_rate_limit 20,000",
        ),
        ({"rows_per_s": 9_000}, {}, {"origin_rate_limit": 20_000}, "works", "Rate limits don't bind"),
        (
            {"memory_peak_bytes": 9e8, "swap_bytes": 0},
            {"environment": {"memory_bytes": 1e9}},
            {},
            "limits",
            "near its limit",
        ),
        ({"swap_bytes": 0}, {"environment": {"memory_bytes": 24e9}}, {}, "works", "no swapping"),
        # the machine has memory left, and the heap has none
        (
            {"heap_peak_fraction": 0.93, "heap_peak_bytes": 9.3e8},
            {"environment": {"memory_bytes": 24e9}},
            {},
            "limits",
            "The heap is near its limit: 930 MB left in use by collections at most (93% of it)",
        ),
        ({"heap_peak_fraction": 0.4, "heap_peak_bytes": 4e8}, {}, {}, "works", "The heap has room: 400 MB"),
        ({"gc_s": 4.0}, {}, {}, "limits", "Garbage collection costs"),
        ({"spill_bytes": 5e6}, {}, {}, "limits", "5 MB spilled"),
        ({"core_seconds": 4.0}, {}, {}, "limits", "The processor waits"),
        ({"core_seconds": 4.0, "machine_core_seconds": 19.5}, {}, {}, "limits", "The processor is the limit"),
        ({"other_cpu_fraction": 0.3}, {}, {}, "limits", "Other processes used 30%"),
        ({"task_skew": 5.0}, {}, {}, "limits", "Skewed tasks"),
        ({"rows_per_s": 10_000, "peak_rows_per_s": 12_000}, {}, {}, "works", "Throughput is steady"),
        ({}, {"details": {"throughput": {"unknown": "nobody says"}}}, {}, "limits", "is not known: nobody says"),
        ({"rows_per_s": 9_000}, {}, {"origin_rate_limit": 20_000}, "works", "20,000 rows/s, average 9,000 rows/s"),
        ({}, {"startup_s": 0.1, "teardown_s": 0.0}, {}, "works", "measured apart"),
        (
            {},
            {"details": {"partitions": [{"id": i, "duration_s": 9.0 if i == 3 else 1.0} for i in range(6)]}},
            {},
            "limits",
            "slowest partition 3 9 s, median 1 s (9.00x)",
        ),
        # a partition is called by its own number, not by its place in the list
        (
            {},
            {"details": {"partitions": [{"number": n, "duration_s": 9.0 if n == 17 else 1.0} for n in (4, 17, 2, 9)]}},
            {},
            "limits",
            "slowest partition 17 9 s",
        ),
        ({}, {"checks": ()}, {}, "limits", "no check of its output"),
    ],
)
def test_findings_name_their_figures(metrics, parts, configuration, kind, words):
    found = {(f.kind, words in f.text) for f in findings(facts(metrics, {**BASE, **configuration}, **parts))}
    assert (kind, True) in found


STAGES = [
    {"id": 1, "name": "append", "tasks": 8, "duration_s": 3.0, "median_task_s": 0.2, "max_task_s": 1.4, "gc_s": 0.1,
     "shuffle_write_bytes": 4_000_000, "spill_bytes": 0},
    {"id": 2, "name": "collect at /home/somebody/job.py:7", "tasks": 2, "duration_s": 0.5, "median_task_s": 0.2,
     "max_task_s": 0.21},
]  # fmt: skip
DETAILS = {
    "steps": {"count": 1.0, "append": 3.0},
    "stages": STAGES,
    "iceberg": {"files": 17, "median_file_bytes": 2_000_000, "last_commit_s": 0.2},
    "sample": {
        "org": "org-1", "metric": "cpu", "start": "2026-01-01T00:00:00+00:00",
        "points": [[10.0 * i, 1.0 + i % 3] for i in range(1, 361)],
        "windows": {"60000": [[60.0 * i, 2.0, 1.0, 3.0] for i in range(1, 61)], "3600000": [[3600.0, 2.0, 1.0, 3.0]]},
    },
}  # fmt: skip


def test_steps_stages_tables_and_output_are_told_from_a_trial_s_details(tmp_path):
    results = [replace(r, measurement=r.measurement.model_copy(update={"details": DETAILS})) for r in sweep()]
    text = whole(written(tmp_path, results))
    inside = section(text, "Steps, stages and tables")
    assert "| append | 3 s (75%) | 3 s (75%) |" in inside
    assert "| append | 1 | 8 | 3 s | 7.00x | 4 MB | 0 B | 100 ms |" in inside
    assert "collect at job.py:7" in inside
    assert "/home" not in inside
    assert "in 1 stage one took more than 2 times the median" in inside
    assert "| median file bytes | 2 MB | 2 MB |" in inside
    assert "360 raw points" in section(text, "What came out")
    assert "<svg" in (tmp_path / "output.svg").read_text()


def test_a_job_that_says_nothing_of_its_inside_has_no_such_part(report):
    assert "Steps, stages" not in whole(report)
    assert "What came out" not in whole(report)


def test_table_cells_cannot_leave_their_cell():
    assert table(("a",), [("x|y\nz",)]).splitlines()[2] == "| x\\|y z |"
    assert escaped("<b>") == "\\<b\\>"


def test_the_decision_table_shows_labels_as_they_are(tmp_path, undrawn):
    """A label with an underscore was escaped twice in the table that people read first."""
    configurations = {**CONFIGURATIONS, "copy_of_8": CONFIGURATIONS["copy"]}
    results = planted_sweep(
        {"balanced": 10.0, "copy_of_8": 5.0}, configurations, control="balanced", confirmed=("balanced", "copy_of_8")
    )
    text = whole(written(tmp_path, results))
    assert "| use copy\\_of\\_8 |" in text
    assert "\\\\" not in text
