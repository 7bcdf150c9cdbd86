"""The command `advise`: its arguments, its progress line, its exit codes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_tuner.advise.advice import JobAdvice, RunAdvice, advise, by_job
from pipeline_tuner.advise.costs import CORE_HOUR, GIGABYTE_HOUR, Prices
from pipeline_tuner.advise.document import as_json
from pipeline_tuner.advise.log_files import EventLog, LogError, find_logs
from pipeline_tuner.advise.log_reader import read_log
from pipeline_tuner.advise.output_places import places_words
from pipeline_tuner.advise.study_writer import Written, check_name, write_study
from pipeline_tuner.advise.terminal import job_words
from pipeline_tuner.standard_output import say
from pipeline_tuner.study import load_study
from pipeline_tuner.unfilled import unfilled
from pipeline_tuner.wording import byte_words, counted, listed, second_words

PROGRESS_AFTER_S = 2.0
PROGRESS_EVERY_S = 1.0
PROGRESS_IN_FILE_EVERY_S = 30.0


def add_to(parts: Any) -> None:
    """Add the command to an argument parser's commands."""
    command = parts.add_parser("advise", help="read a job's Spark event logs and say what to change")
    command.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a log, a rolling folder, or a folder of logs"
    )
    command.add_argument("--json", action="store_true", help="print JSON instead")
    command.add_argument(
        "--study", metavar="NAME", help="write a study of this name for the job, to measure what helps"
    )
    command.add_argument("--core-hour", type=float, default=CORE_HOUR, metavar="PRICE", help="price of a core-hour")
    command.add_argument("--gb-hour", type=float, default=GIGABYTE_HOUR, metavar="PRICE", help="price of a GB-hour")
    command.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Write the study, where one is asked for, and print the advice.

    Raises LogError where there is no log, or none that says anything, StudyNotWrittenError for a refused study.
    """
    prices = Prices(chosen.core_hour, chosen.gb_hour)
    if chosen.study is not None:
        check_name(chosen.study)
    jobs = _jobs(chosen.paths)
    # The study first: who reads the advice may stop before its end (`| head`).
    try:
        written = None if chosen.study is None else write_study(chosen.study, jobs, prices)
    finally:
        say(as_json(jobs, prices) if chosen.json else "\n\n\n".join(job_words(job, prices) for job in jobs))
    if written is not None:
        _say(f"\n{_written_words(chosen.study, written)}")


def _written_words(name: str, written: Written) -> str:
    """What was written, what is to be done before it runs, and the command that comes next: a line each."""
    gaps = [gap.key for gap in unfilled(load_study(written.study))]
    sweep = f"airflow dags test tune_{name}"
    lines = [f"The study: {written.study}" + (f"; its DAG: {written.dag}" if written.dag else "")]
    if gaps:
        lines.append(f"To fill in before it runs: {listed(gaps)}")
    if written.outputs:
        lines.append(f"Each trial writes {places_words(written.outputs)}, as production does: its first lines say more")
    takes = f"{second_words(written.seconds)} if each takes as long as the run"
    lines.append(f"It takes {counted(written.trials, 'trial')} at most, {takes}")
    lines.append(f"Its sweep: {sweep}" if written.dag else f"Its DAG has two lines (docs/advise.md); then: {sweep}")
    return "\n".join(lines)


def _jobs(paths: Sequence[Path]) -> tuple[JobAdvice, ...]:
    """The advice for all logs under the paths. What can't be read is said on stderr, as long as there is another."""
    found = find_logs(paths)
    for path in found.left_out:
        _say(f"{path} is no event log and was left out.")
    runs: list[RunAdvice] = []
    problems: list[str] = []
    for log in found.logs:
        try:
            runs.append(advise(read_log(log, line := ProgressLine(log))))
            line.end()
        except LogError as error:
            problems.append(str(error))
    if not runs:
        raise LogError("\n".join(problems))
    for problem in problems:
        _say(problem)
    return by_job(runs)


class ProgressLine:
    """Says on stderr how far a long log has been read: one line that is written over, where a person looks on."""

    def __init__(self, log: EventLog) -> None:
        self._name, self._size = log.path.name, log.size_bytes
        self._terminal = sys.stderr.isatty()
        self._wait = PROGRESS_EVERY_S if self._terminal else PROGRESS_IN_FILE_EVERY_S
        self._next = time.monotonic() + PROGRESS_AFTER_S
        self._is_shown = False

    def __call__(self, position: int) -> None:
        """Note how many bytes were read."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._wait
        part = f"{self._name}: {byte_words(position)} of {byte_words(self._size)}"
        print(f"\r{part}" if self._terminal else part, end="" if self._terminal else "\n", file=sys.stderr, flush=True)
        self._is_shown = self._terminal

    def end(self) -> None:
        """Take the line away."""
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
