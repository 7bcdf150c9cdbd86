"""What a test file leaves behind is named and taken back, so that no file depends on another in its process."""

from __future__ import annotations

import decimal
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest
from tests import process_state
from tests.process_state import ProcessState, Running, started_for_the_session

from pipeline_jobs.compiled import stamp_of


def set_zone(name: str) -> None:
    os.environ["TZ"] = name
    time.tzset()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("working folder", lambda: os.chdir("/")),
        ("umask", lambda: os.umask(0o007)),
        ("time zone", lambda: set_zone("Asia/Kolkata")),
        ("decimals' precision", lambda: setattr(decimal.getcontext(), "prec", 5)),
        ("sockets' time limit", lambda: socket.setdefaulttimeout(7)),
        ("level that logging is disabled at", lambda: logging.disable(logging.ERROR)),
    ],
)
def test_a_value_is_named_and_taken_back(name, change):
    before = ProcessState.now()
    change()
    changes = before.changes_until(ProcessState.now())
    before.restore()
    assert name in changes
    assert before.changes_until(ProcessState.now()) == []


def test_a_thread_and_a_process_that_go_on_are_named():
    before, end = Running.now(), threading.Event()
    thread = threading.Thread(target=end.wait, name="left over")
    thread.start()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert set(before.left(0.1)) == {"thread left over", f"process {process.pid}"}
    end.set()
    thread.join()
    assert before.left(300) == []


def test_a_thread_and_a_process_that_are_about_to_end_are_waited_for():
    before, begun = Running.now(), threading.Event()
    thread = threading.Thread(target=lambda: begun.wait() and [part**2 for part in range(10_000)])
    thread.start()
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    begun.set()
    assert before.left(300) == []
    process.wait()


def test_a_process_that_the_files_share_is_not_named(monkeypatch):
    monkeypatch.setattr(process_state, "SHARED", set())
    before = Running.now()
    with started_for_the_session():
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with process:
        assert before.left(0) == []


def test_a_module_of_ours_that_was_replaced_is_put_back(monkeypatch):
    before = Running.now()
    monkeypatch.setitem(sys.modules, process_state.__name__, ModuleType("another"))
    assert before.left(300) == [f"module {process_state.__name__}"]
    before.restore()
    assert sys.modules[process_state.__name__] is process_state


def test_what_functions_of_ours_remember_ends():
    before = Running.now()
    stamp_of(Path(__file__))
    assert stamp_of.cache_info().currsize > 0
    before.restore()
    assert stamp_of.cache_info().currsize == 0


@pytest.mark.parametrize("content", [b"\x00now"])
def test_bytes_do_not_name_a_test(request: pytest.FixtureRequest, content: bytes) -> None:
    assert request.node.name.endswith(f"[content-{len(content)}-bytes]")
