"""Long logs: read at more than 100 MB of JSON per minute, in memory that doesn't grow with the log.

Made by repeating the stages of one application; the real size is in `make soak`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.event_logs import FakeApplication, as_lines, even_stage

PLUGINS = Path(__file__).parents[2] / "plugins"
MAX_BYTES = 500 << 20
MIN_MB_A_MINUTE = 100
PROGRAM = """
import json, sys, time
from pathlib import Path
from pipeline_tuner.advise.advice import advise
from pipeline_tuner.advise.log_files import find_logs
from pipeline_tuner.advise.log_reader import read_log
began = time.process_time()
(log,) = find_logs([Path(sys.argv[1])]).logs
found = advise(read_log(log))
# Not getrusage: its peak outlives exec, so that a child begins with that of the process that forked it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) * 1024
app = found.read.application
print(json.dumps({
    "peak": peak, "s": time.process_time() - began, "stages": len(app.stages), "whole": found.read.is_complete,
    "tasks": sum(stage.complete_tasks for stage in app.stages), "bytes": found.read.bytes,
}))
"""
TASKS = 400


def long_log(path: Path, size: int) -> int:
    """Write a log of at least so many bytes; returns the number of its stages."""
    number = 0
    end = {"Event": "SparkListenerApplicationEnd", "Timestamp": 1_700_000_000_000 + 10**9}
    extra = {"Accumulables": [{"ID": n, "Name": f"internal.metrics.some{n}", "Update": n} for n in range(20)]}
    with path.open("wb") as file:
        file.write(FakeApplication([], end=None).text())
        while file.tell() < size:
            stage = even_stage(number, 10_000 * number, 10_000 * number + 9000, waves=TASKS // 4, bytes=number)
            events = list(stage.events())
            for event in events:
                if "Task Info" in event:
                    event["Task Info"].update(extra)
            file.write(as_lines(events))
            number += 1
        file.write(as_lines([end]))
    return number


@pytest.mark.parametrize(
    ("size", "compress"),
    [(30 << 20, False), (30 << 20, True), pytest.param(1 << 30, False, marks=pytest.mark.soak)],
    ids=["30 MB", "30 MB of zstd", "1 GB"],
)
def test_a_long_log_is_read_fast_in_bounded_memory(tmp_path, size, compress):
    path = tmp_path / "log"
    stages = long_log(path, size)
    if compress:
        import pyarrow

        path.write_bytes(pyarrow.Codec("zstd").compress(path.read_bytes(), asbytes=True))
    program = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(program, capture_output=True, text=True, env={"PYTHONPATH": str(PLUGINS)}, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["stages"], found["tasks"], found["whole"]) == (stages, stages * TASKS, True)
    assert found["bytes"] >= size
    assert found["peak"] < MAX_BYTES
    assert found["bytes"] / 1e6 / found["s"] * 60 > MIN_MB_A_MINUTE
    print(f"{found['bytes'] / 1e6:.0f} MB in {found['s']:.1f} s of processor, {found['peak'] / 1e6:.0f} MB of memory")
