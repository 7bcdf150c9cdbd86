"""A small real job for tests: compresses half a megabyte of text; `mode` makes it go wrong in many ways."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline_jobs.contract import InfrastructureError, MeasurementWriter, TrialConfig, main


def run(config: TrialConfig, writer: MeasurementWriter) -> None:
    """Compress with zlib at the configured level; the goal is the size, which does not vary between runs."""
    writer.environment, writer.workload = (
        {"machine": "test"},
        {"rows": int(20_000 * config.fraction), "fingerprint": "text"},
    )
    mode = config.configuration.get("mode", "good")
    text = " ".join(
        random.Random(7).choices(["flight", "carrier", "origin", "delay"], k=int(80_000 * config.fraction))
    ).encode()
    for sample in writer.samples():
        packed = sample.timed(lambda: zlib.compress(text, config.configuration["level"]))
        sample.metrics["bytes"] = float(len(packed))
    writer.check("unpacks", passed=mode != "wrong" and zlib.decompress(packed) == text, detail="not the same text")
    go_wrong(mode, config)


def go_wrong(mode: str, config: TrialConfig) -> None:
    if (slow := config.workload.get("slow_while")) and Path(slow).exists():
        time.sleep(3)
    if mode == "crash":
        raise RuntimeError(f"can't connect to {os.environ.get(next(iter(config.connections.values()), ''), 'nothing')}")
    if mode == "exit":
        print("giving up", flush=True)
        os._exit(3)
    if mode == "silent":
        os._exit(0)
    if mode == "heap":
        print("java.lang.OutOfMemoryError: Java heap space", flush=True)
        os._exit(1)
    if mode == "executor_away":
        print("ERROR TaskSchedulerImpl: Lost executor 0 on 127.0.0.1: Command exited with code 52", flush=True)
        raise RuntimeError("Job aborted: Task rejected from ThreadPoolExecutor[Shutting down]")
    if mode == "jvm_away":
        print("java.lang.OutOfMemoryError: GC overhead limit exceeded", flush=True)
        raise InfrastructureError("the driver's JVM died")
    if mode == "context_away":
        print("java.lang.OutOfMemoryError: Java heap space", flush=True)
        raise RuntimeError("Job 1 cancelled because SparkContext was shut down")
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "killed_once" and not (marker := Path(config.workload["marker"])).exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "hang_once" and not (marker := Path(config.workload["marker"])).exists():
        marker.write_text(str(os.getpid()), encoding="ascii")
        time.sleep(600)
    if mode == "hang":
        hang(Path(config.workload["pids"]))


def hang(pids: Path) -> None:
    """Leave a child that has a session of its own and another that loses its parent, and sleep."""
    sleeper = "import time; time.sleep(600)"
    outside = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
    orphan = subprocess.run(
        ["sh", "-c", f"trap '' TERM; {sys.executable} -c '{sleeper}' >&2 & echo $!"], stdout=subprocess.PIPE, text=True
    )
    pids.write_text(f"{os.getpid()} {outside.pid} {orphan.stdout}", encoding="ascii")
    time.sleep(600)


def spoil(path: Path, mode: str) -> None:
    """Turn a good measurement into one that nobody may believe."""
    document = json.loads(path.read_text(encoding="utf-8"))
    changes = {
        "foreign": {"trial_id": "another"},
        "stale": {"started_at": yesterday(), "ended_at": yesterday()},
        "negative": {"metrics": {"bytes": -1.0}},
        "no_samples": {"samples": []},
    }
    text = json.dumps(document | changes.get(mode, {}))
    path.write_text(text.replace('"bytes": ', '"bytes": NaN, "_": ') if mode == "nan" else text, encoding="utf-8")


def yesterday() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).isoformat()


if __name__ == "__main__":
    code = main("compress", run)
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    mode = json.loads(Path(arguments["--config"]).read_text(encoding="utf-8"))["configuration"].get("mode")
    if mode in ("foreign", "stale", "negative", "no_samples", "nan"):
        spoil(Path(arguments["--measurement"]), mode)
    sys.exit(code)
