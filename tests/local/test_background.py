"""Programs that outlive the command that started them: found again, ended whole, never mistaken for another."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline_tuner.local import background_process
from pipeline_tuner.local.background_process import BackgroundProgram

FAMILY = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)


@pytest.fixture
def program(tmp_path: Path):
    program = BackgroundProgram(tmp_path, "program")
    yield program
    program.stop()


def test_ends_children_that_ignore_the_signal(program, monkeypatch):
    monkeypatch.setattr(background_process, "STOP_TIMEOUT_S", 1)
    program.start([sys.executable, "-c", FAMILY.format(child=STUBBORN)])
    _wait(lambda: "ready" in program.log_end())
    family = _children_of(program)
    assert len(family) == 2
    program.stop()
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not program.is_running()


def test_another_command_finds_it_again(program, tmp_path):
    program.start([sys.executable, "-c", "import time; time.sleep(600)"])
    assert BackgroundProgram(tmp_path, "program").is_running()


def test_a_number_that_somebody_else_has_now_is_not_ours(program, tmp_path):
    (tmp_path / "program.pid").write_text(f"{os.getpid()} 12.5")
    assert not program.is_running()
    program.stop()


def test_a_program_that_ended_is_not_running_and_left_its_words(program):
    program.start([sys.executable, "-c", "print('why'); raise SystemExit(3)"])
    _wait(lambda: not program.is_running())
    assert program.log_end() == "why"


def _children_of(program: BackgroundProgram) -> list[psutil.Process]:
    process = psutil.Process(int((program.folder / "program.pid").read_text().split()[0]))
    return [process, *process.children(recursive=True)]


def _wait(condition, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
