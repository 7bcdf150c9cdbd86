from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from pipeline_tuner.metric_names import (
    MetricGroup,
    column_title,
    grouped_metrics,
    metric_name,
    metric_unit,
    metric_words,
)
from pipeline_tuner.recommendation import Interval
from pipeline_tuner.wording import interval_words, listed, number, percent, regret_words, with_unit, without_paths


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1234567, "1,230,000"),
        (12.345, "12.3"),
        (0.012345, "0.0123"),
        (100, "100"),
        (0, "0"),
        (math.inf, "unknown"),
        (-5.5, "-5.5"),
    ],
)
def test_numbers_have_three_digits(value, words):
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(0.0123, "s", "12.3 ms"), (97, "s", "97 s"), (600, "s", "10 min"), (9000, "s", "2.5 h"),
     (1.5e9, "bytes", "1.5 GB"),
     (999, "B", "999 B"), (3500, "rows/s", "3,500 rows/s")],
)  # fmt: skip
def test_values_have_units(value, unit, words):
    assert with_unit(value, unit) == words


def test_units_are_read_off_the_name():
    names = ("rows_per_s", "duration_s", "memory_peak_bytes", "core_seconds", "errors", "rows / duration_s")
    assert [metric_unit(name) for name in names] == ["rows/s", "s", "bytes", "core-s", "", ""]


def test_intervals():
    assert interval_words(Interval(1230, 1180, 1290, 0.95, 5), "rows/s") == "1,230 (1,180 to 1,290) rows/s"
    assert "bounds unknown" in interval_words(Interval(1230, -math.inf, math.inf, 0.95, 1), "rows/s")


@pytest.mark.parametrize(
    ("bound", "words"),
    [(0.0, "0%"), (0.0412, "4.2%"), (0.04, "4%"), (0.296, "30%"), (0.999, "100%"), (2.31, "the best may be 3.4x"),
     (47.0, "the best may be 48.0x"), (None, "not known")],
)  # fmt: skip
def test_a_bound_is_rounded_up(bound, words):
    assert regret_words(bound) == words


def test_lists_and_percentages():
    assert (listed(("a", "b", "c")), listed(("a",)), percent(0.0512)) == ("a, b and c", "a", "5.12%")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("collect at /opt/venv/lib/jobs/mover.py:12", "collect at mover.py:12"),
        ('File "/tmp/a-b/c.d/job.py", line 3', 'File "job.py", line 3'),
        ("no such file: '/var/tmp/x/'", "no such file: 'x'"),
        ("file:/tmp/x/part-0.parquet is gone", "part-0.parquet is gone"),
        ("~/study/a.yaml", "a.yaml"),
        ("s3://bucket/a/b and http://host:80/a/b stay", "s3://bucket/a/b and http://host:80/a/b stay"),
        ("3,500 rows/s of 1/2/3 and either/or/both", "3,500 rows/s of 1/2/3 and either/or/both"),
    ],
)
def test_a_file_is_its_name_and_an_address_stays(text, shown):
    assert without_paths(text) == shown


def test_metrics_read_well_and_stand_in_the_order_in_which_they_matter():
    groups = grouped_metrics(["zeta_s", "gc_s", "rows_per_s", "duration_s", "memory_peak_bytes", "own", "1 + 1"])
    assert [str(group) for group in groups] == ["Speed", "Memory and processor", "Spark", "Steps", "Other metrics"]
    assert [name.title for name in groups[MetricGroup.SPEED]] == ["duration", "average rows per second"]
    assert [name.title for name in groups[MetricGroup.OTHER]] == ["1 + 1", "own"]
    assert metric_name("staging_write_bytes").title == "staging write"
    assert (column_title("max_task_s"), column_title("shuffle_read_bytes")) == ("slowest task", "shuffle read")


def test_parts_of_a_whole_are_percentages():
    assert metric_words(0.125, "startup_fraction") == "12.5%"
    assert metric_words(1.5e9, "memory_peak_bytes") == "1.5 GB"


ROOT = Path(__file__).resolve().parents[2]
PRIVATE = {
    r"\bfigures?\b(?!\s*class=)": "value, metric or number",
    r"\bthe books\b": "ledger",
    r"\bupkeep\b": "maintenance",
    r"(?i)\bsurroundings\b": "environment",
    r"(?i)\bknobs?\b": "parameter",
    r"(?i)\bpictures?\b": "chart",
    r"\byardstick\b": "what others are compared with",
    r"\b(tuner|sweep|procedure|it) speaks\b": "names a pick",
    r"\b(position|bookmark)s? (of .{1,20} )?speaks?\b": "belongs to",
    r"\bwhy_out\b(?!\"\)|\"\])": "exclusion",
    r"\b(MOST|LEAST|FEWEST|ENOUGH)(_[A-Z]+)*\b": "MIN_ or MAX_",
}
"""Words that a newcomer would have to learn, and the field's own."""


@pytest.mark.parametrize("private", PRIVATE)
def test_the_fields_own_words_are_used(private):
    """In code, studies and documents; a schema version and a test keep what they were written for."""
    folders = (ROOT / name for name in ("plugins", "spark_jobs", "include", "docs", "dags"))
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md", ".yaml")]
    files += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        if path.parent.name != "versions"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(private, line)
    ]
    assert not found, f"say {PRIVATE[private]}"
