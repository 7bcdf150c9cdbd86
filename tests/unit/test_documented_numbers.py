"""Numbers and names that stand in the documents and in the code are the same in both."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from inspect import signature
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.unit import test_charts

from pipeline_jobs import contract, idle_settings, serve, session
from pipeline_jobs.migration import metrics as migration_metrics
from pipeline_jobs.migration import mover, ranges, throughput
from pipeline_jobs.quantizer import maintenance, rollup, sketch
from pipeline_jobs.streaming_etl import memory_requests
from pipeline_jobs.streaming_etl import metrics as streaming_metrics
from pipeline_jobs.streaming_etl.kernel import codes
from pipeline_tuner import airflow_pools, charts, settings
from pipeline_tuner.advise import events, run_rules, stage_rules, study_parameters, study_writer
from pipeline_tuner.analysis import earlier_sweeps, exploration, fidelity
from pipeline_tuner.monitoring import drift, validity
from pipeline_tuner.monitoring.nights import Nights
from pipeline_tuner.operators import tuned_run
from pipeline_tuner.recommendation import MAX_MORE, MIN_BLOCKS
from pipeline_tuner.runners import aws_calls, job_output
from pipeline_tuner.search import adaptive, training_data, work_length
from pipeline_tuner.store import page_lists
from pipeline_tuner.study import StrategyName, load_study
from pipeline_tuner.study_parts import Budget
from pipeline_tuner.sweep_form import form_of
from pipeline_tuner.web import sweep_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
STUDIES = {
    path.stem: path
    for folder in (ROOT / "include" / "configs", DOCS / "examples")
    for path in folder.glob("*.yaml")
    if path.name != "prices.yaml"
}
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MB = 1 << 20


def word(number: float) -> str:
    """A small number as a sentence has it."""
    return WORDS[round(number)]


def lines_of_code() -> int:
    """What all drawing takes, as the charts' own test counts it."""
    sources = [path.read_text(encoding="utf-8") for path in Path(charts.__file__).parent.glob("*.py")]
    elsewhere = [line for line in test_charts._drawing_elsewhere() if line]
    return sum(map(test_charts._lines_of_code, sources)) + len(elsewhere)


def given_by(function: Callable[..., object]) -> dict[str, Any]:
    """What a function takes where it is not told."""
    return {name: one.default for name, one in signature(function).parameters.items()}


def _days(defaults: Mapping[str, Any]) -> int:
    return round(defaults["older_than_s"] / maintenance.DAY_S)


@dataclass(frozen=True)
class Said:
    """What a page says with a number of the code in it."""

    page: str
    words: str

    def __str__(self) -> str:
        return f"{self.page}: {self.words}"


BUDGET, NIGHTS = Budget(), Nights()
MIGRATION = load_study(STUDIES["migration"])
DEMO = MIGRATION.budget
KEPT = given_by(maintenance.expire_snapshots)
SAID = (
    Said("tutorial.md", f"at most {DEMO.indifference:.0%} worse than the best"),
    Said("tutorial.md", f"{earlier_sweeps.HOPELESS:.0%} behind the best after the first block"),
    Said("tutorial.md", f"at first for {work_length.START_WORK_S:g} s"),
    Said("tutorial.md", f"Up to {word(MAX_MORE)} times the budget"),
    Said("explanation-statistics.md", f"The first trials measure {work_length.START_WORK_S:g} s"),
    Said("explanation-statistics.md", f"with {word(1 + training_data.HISTORY_NOISE)} times the noise of today's"),
    Said("explanation-statistics.md", f"({word(1 + training_data.RELATED_NOISE)} times, where they ran on other data"),
    Said("explanation-statistics.md", f"more than {earlier_sweeps.HOPELESS:.0%} worse than the best one"),
    Said("explanation-statistics.md", f"The history is the newest {training_data.MAX_HISTORY} trials"),
    Said("explanation-statistics.md", f"expected to gain less than {adaptive.Adaptive().worth:.1%}"),
    Said("explanation-statistics.md", f"{word(10 * adaptive.REPEAT_SHARE)} tenths of the trials"),
    Said("explanation-statistics.md",
         f"at least {(adaptive.FINAL_BLOCKS + 1) * (adaptive.MIN_FINALISTS + 1)}, "
         "and the last"),
    Said("explanation-statistics.md", f"the best {word(adaptive.MIN_FINALISTS)} by their own values"),
    Said("explanation-statistics.md", f"up to {word(adaptive.MAX_FINALISTS - adaptive.MIN_FINALISTS)} more until"),
    Said("explanation-statistics.md", f"{word(fidelity.CHECKED)} of its configurations"),
    Said("explanation-statistics.md", f"at least {fidelity.MIN_AGREEMENT:g} with 95% confidence"),
    Said("explanation-statistics.md", f"1. At least {word(MIN_BLOCKS)} blocks."),
    Said("explanation-statistics.md", f"don't matter (`indifference`, {BUDGET.indifference:.0%})"),
    Said("explanation-statistics.md", f"(`confidence`, {BUDGET.confidence:.0%})"),
    Said("explanation-statistics.md", f"in fresh blocks ({word(BUDGET.confirm_blocks)} by default)"),
    Said("goals.md", f"better than the reference in at least {word(MIN_BLOCKS)} fresh blocks"),
    Said("goals.md", f"At least {drift.QUIET_NIGHTS} nights of one level are needed"),
    Said("production.md", f"has not expired (`[pipeline_tuner] valid_days`, {settings.valid_days():g})"),
    Said("production.md", f"by more than a factor of {word(validity.SIZE_REACH)}"),
    Said("nightly.md", f"minutes: {NIGHTS.minutes:g}"),
    Said("nightly.md", f"challengers: {NIGHTS.challengers}"),
    Said("nightly.md", f"blocks: {NIGHTS.blocks} confirm_blocks: {NIGHTS.confirm_blocks}"),
    Said("nightly.md", f"keep_days: {NIGHTS.keep_days}"),
    Said("nightly.md", f"`latest_start_hours` ({NIGHTS.latest_start_hours:g})"),
    Said("contract.md", f"carry the version of this contract: **{contract.CONTRACT_VERSION}**"),
    Said("contract.md", f"add up to so many seconds, {contract.MAX_REPEATS} at most"),
    Said("contract.md", f"{serve.IDLE_TIMEOUT_S / 60:g} minutes (`--idle-timeout`)"),
    Said("cluster.md", f"has said nothing for {word(contract.SILENCE_S / 60)} minutes"),
    Said("cluster.md", f"doesn't give within {session.GIVEN_TIMEOUT_S:g} s is refused"),
    Said("glue.md", f"`pipeline_tuner_isolated` of {airflow_pools.POOLS[settings.ISOLATED_POOL][0]} slots"),
    Said("dedup.md", f"repeated for up to {aws_calls.BUSY_S / 60:g} minutes"),
    Said("own-job.md", f"{job_output.BYTES_PER_S // 1024} KB per second of what is between"),
    Said("own-job.md", f"the last {job_output.TEXT_BYTES // MB} MB are looked at"),
    Said("tuned-tasks.md", f"(for {tuned_run.RESTART_S:g} s, because it may just be starting)"),
    Said("tuned-tasks.md", f"or slow ({tuned_run.PATIENCE_S:g} s)"),
    Said("tuned-tasks.md", f"It takes {word(exploration.MIN_PAIRS)} pairs at least"),
    Said("tuned-tasks.md", f"may be {exploration.ExplorationPolicy(0.5).tolerated_loss:.0%} worse after the second"),
    Said("migration.md", f"exact up to {ranges.EXACT_ROWS / 1e6:g} million rows"),
    Said("migration.md", f"a block sample ({ranges.SAMPLE_ROWS:,} rows)"),
    Said("migration.md", f"splits those ranges and failed ones in {word(mover.PIECES)}"),
    Said("migration.md", f"over {throughput.SLOW:g} times the median time for a row"),
    Said("migration.md", f"come to {migration_metrics.BINDING:.0%} of that limit on average"),
    Said("quantizer.md", f"infinite or above {rollup.MAX_VALUE:.0e}".replace("+", "")),
    Said("quantizer.md", f"quantiles within {sketch.RELATIVE_ACCURACY:.0%}"),
    Said("quantizer.md", f"but the newest {KEPT['keep_last']} snapshots and those of the last {_days(KEPT)} days"),
    Said("quantizer.md", f"once it is {_days(given_by(maintenance.remove_orphan_files))} days old"),
    Said("quantizer.md",
         "into files of "
         f"{given_by(maintenance.rewrite_data_files)['target_bytes'] // MB} MB (binpack)"),
    Said("streaming-etl.md", f"more than {codes.JSON_DEPTH - 1} levels (`too_deep`)"),
    Said("streaming-etl.md",
         f"takes {memory_requests.SERVICE_S * 1000:g} ms for a "
         f"request and serves {memory_requests.CAPACITY} at once"),
    Said("streaming-etl.md", f"no slope of memory over less than {streaming_metrics.MIN_TREND_S:g} s"),
    Said("advise.md", f"Only {len(events.KINDS)} kinds of events are decoded"),
    Said("advise.md",
         f"as many as fit into {study_writer.MAX_HOURS:g} hours, but at least "
         f"{study_writer.MIN_TRIALS} and at most {study_writer.MAX_TRIALS}"),
    Said("advise.md", f"the stages that take {study_parameters.MIN_SHARE:.0%} of the run or more"),
    Said("advise.md", f"no task runs for {run_rules.MIN_WAIT_SHARE:.0%} of the run or more"),
    Said("advise.md", f"{word(10 * run_rules.MUCH_IDLE)} tenths of the core-hours held no task"),
    Said("advise.md", f"an executor worked for under {run_rules.LITTLE_USED:.0%} of its life"),
    Said("advise.md", f"what a disk of {stage_rules.SPILL_BYTES_A_SECOND / 1e6:g} MB/s takes"),
    Said("advise.md", f"half of the tasks take under {stage_rules.SHORT_TASK_MS} ms"),
    Said("advise.md", f"read under {stage_rules.SMALL_TASK_BYTES // MB} MB"),
    Said("advise.md", f"less than {stage_rules.BYTES_A_MS / 1000 * (1 - stage_rules.MUCH_OVERHEAD):g} MB/s"),
    Said("advise.md", f"under {stage_rules.SMALL_FILE_BYTES // MB} MB on average"),
    Said("page.md", f"the last {page_lists.NIGHTS} nights as small bars"),
    Said("page.md", f"{word(sweep_page.MIN_COMPARED)} to {word(sweep_page.MAX_COMPARED)} chosen ones side by side"),
    Said("page.md", f"take {lines_of_code()} lines of code with the page's script"),
)  # fmt: skip


@pytest.mark.parametrize("said", SAID, ids=str)
def test_a_number_of_the_code_stands_in_the_document(said: Said):
    assert said.words in " ".join((DOCS / said.page).read_text(encoding="utf-8").split())


def table_of(page: str, header: str) -> list[list[str]]:
    """The cells of a page's table, row by row."""
    lines = (DOCS / page).read_text(encoding="utf-8").partition(f"\n{header}")[2].splitlines()[2:]
    rows = takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_setting_that_may_do_nothing_stands_in_the_table():
    """A row of `ACTING` in docs/cluster.md, with the beginnings that end in a star there and in a dot here."""
    named = [
        name for row in table_of("cluster.md", "| setting | acts only |") for name in re.findall(r"`(.*?)`", row[0])
    ]
    limited = [row.name for row in idle_settings.ACTING if row.on != idle_settings.EVERYWHERE or row.needs]
    missing = [name for name in limited if not any(fnmatch(name, f"{pattern.removesuffix('*')}*") for pattern in named)]
    assert named
    assert not missing


def test_every_strategy_stands_in_the_table():
    named = {row[0].strip("`") for row in table_of("explanation-statistics.md", "| strategy | what it tries | when |")}
    assert named == set(get_args(StrategyName)) - {"nightly"}


def test_the_options_of_airflows_configuration_are_listed():
    options = set(re.findall(r'(?:_option|_folder)\("(\w+)"|SECTION, "(\w+)"', Path(settings.__file__).read_text()))
    text = (DOCS / "deployment.md").read_text(encoding="utf-8")
    listed = text.partition("Options, each also an environment variable")[2].partition(".\n")[0]
    assert set(re.findall(r"`([a-z_]+)`", listed)) == {first or second for first, second in options}


def test_what_a_sweep_takes_on_the_command_line_is_a_field_of_its_form():
    fields = {field.name: field for field in form_of(MIGRATION)}
    for name, value, *_ in table_of("advise.md", "| key of `-c` | value |"):
        field = fields[name.strip("`")]
        numbers = [float(number) for number in re.findall(r"\d+", value)]
        assert numbers == [bound for bound in (field.low, field.high) if bound is not None][: len(numbers)], name


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_that_ships_plans_the_fresh_blocks_that_a_change_takes(name):
    assert load_study(STUDIES[name]).budget.confirm_blocks >= MIN_BLOCKS
