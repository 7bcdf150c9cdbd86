"""Commands as they run: what they take is their own time, what they print holds nobody back, nothing of them stays."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from pipeline_tuner import settings
from pipeline_tuner.runners import TrialFailedError, TrialRun
from pipeline_tuner.runners.job_output import BURST_BYTES, END_BYTES, JobOutput
from pipeline_tuner.runners.unchanged_program import ObservedRunner


def observe(place: Path, command, timeout_s=600, configuration=None, **options):
    run = TrialRun("own", "t1", configuration or {}, place)
    runner = ObservedRunner(command, patterns={}, modules=settings.jobs_folder(), folder=place, **options)
    return runner.run(run, timeout_s), run


def test_a_program_that_does_nothing_takes_no_longer_than_by_itself(tmp_path):
    def by_itself():
        began = time.monotonic()
        subprocess.run(["true"])
        return time.monotonic() - began

    def observed():
        return observe(tmp_path, ["true"])[0].metrics["duration_s"]

    # A look every 0.05 s and the guard's own start made 0.15 s of it, at the least. What else the machine does only
    # adds, so one time of many that is short enough shows that nothing of ours is in it.
    assert any(observed() < by_itself() + 0.03 for _ in range(50))


def test_the_processors_time_is_the_programs_and_its_childrens(tmp_path):
    burn = "python -c 'import time\nwhile time.process_time() < 0.5: pass'"
    metrics = observe(tmp_path, ["bash", "-c", f"{burn} & {burn}; wait"])[0].metrics
    assert 1.0 <= metrics["core_seconds"] < 2.0
    assert observe(tmp_path, ["true"])[0].metrics["core_seconds"] < 0.5


class SlowHandler(logging.Handler):
    """As slow as a task's logger, which hands each line to another process."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record):
        time.sleep(0.001)
        self.lines.append(record.getMessage())


@pytest.fixture
def task_log():
    logger = logging.getLogger("pipeline_tuner.runners.job_output")
    handler, level = SlowHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_printing_holds_nothing_back_and_the_log_says_what_it_leaves_out(tmp_path, task_log):
    command = ["bash", "-c", "seq -f 'line %.0f of a program that says a lot more than anyone wants to know' 250000"]
    with (tmp_path / "alone").open("wb") as output:
        subprocess.run(command, stdout=output)
    assert (tmp_path / "alone").stat().st_size > 17_000_000
    measurement, run = observe(tmp_path, command, checks={"whole": r"^line 250000 "})
    assert len(task_log) < 25_000, "each line that the log gets takes the task a millisecond"
    assert measurement.metrics["duration_s"] < 60, "250 s, if the program waited for the log"
    assert measurement.checks[0].passed
    assert run.output.path.stat().st_size == (tmp_path / "alone").stat().st_size
    assert task_log[0].startswith("line 1 of")
    assert task_log[-1].startswith("line 250000 of")
    assert any("more bytes here, which are left out of this log" in line for line in task_log)
    assert sum(map(len, task_log)) < 2 * (BURST_BYTES + END_BYTES)


def test_a_program_that_says_little_is_in_the_log_whole(tmp_path, task_log):
    observe(tmp_path, ["sh", "-c", "echo begun; sleep 0.2; echo; echo 'half done'; printf end"])
    assert task_log == ["begun", "", "half done", "end"]


def test_half_of_a_secret_is_never_in_the_log(tmp_path, task_log):
    output = JobOutput(tmp_path / "log", secrets=("s3cret-word",))
    for _ in range(40):
        with output.path.open("ab") as file:
            file.write(b"x" * 1000 + b" s3cret-word\n" + b"y" * 997 + b" s3cret-")
        output.follow()
        with output.path.open("ab") as file:
            file.write(b"word\n" + b"z" * 200_000 + b"s3cret-word\n")
        output.follow()
    output.finish()
    assert not [line for line in task_log if "cret" in line or "word" in line]
    assert [line for line in task_log if "***" in line]


def test_after_a_timeout_nothing_of_a_command_stays(tmp_path):
    sleep = f"sleep 618.{os.getpid()}"  # this test's own, among those of other runs on this machine
    script = f"(setsid {sleep} &) ; nohup {sleep} & trap '' TERM; yes"
    with pytest.raises(TrialFailedError, match="longer than the 1 s"):
        observe(tmp_path, ["bash", "-c", script], timeout_s=1)
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] in (sleep.split(), ["bash", "-c", script])
    ]


def test_values_reach_a_program_as_arguments_and_variables(tmp_path):
    odd = "a; touch broken {level} $(touch broken)"
    script = 'printf "%s|%s|%s|%s\\n" {mode} "$TUNER_MODE" {fast} {inactive}; test -f "$TUNER_CONFIG"'
    configuration = {"mode": odd, "fast": False}
    defaults = {"inactive": 5, "fast": True}
    _, run = observe(tmp_path, ["sh", "-c", script], configuration=configuration, defaults=defaults)
    assert run.output.text() == f"{odd}|{odd}|false|5\n"
    assert not (tmp_path / "broken").exists()


def test_a_value_that_would_be_code_is_a_bad_configuration(tmp_path):
    with pytest.raises(TrialFailedError, match="TUNER_MODE") as caught:
        observe(tmp_path, ["sh", "-c", "echo '{mode}'"], configuration={"mode": "it's"})
    assert caught.value.kind == "bad_configuration"
