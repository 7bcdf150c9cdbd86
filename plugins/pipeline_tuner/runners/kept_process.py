"""The runner of trials in a kept process (`warm: true`): one Python, with one JVM where the job has Spark, for many
trials.

The kept process (pipeline_jobs/serve.py) listens on a Unix socket in a folder that only this user can open.
It is shared by all tasks of a sweep on this machine whose trials need the same process: same driver memory, JVM flags.
It ends when it is idle, when the task that uses it lets go of the socket, or at the end of the sweep; its
guard then ends what the job left running.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.runners.base import Runner, TrialRun, kernel_kills, measurement_of
from pipeline_tuner.runners.job_output import JobOutput
from pipeline_tuner.runners.process import GUARD, KILL_AFTER_S, POLL_S, job_environment
from pipeline_tuner.space import Configuration

IDLE_TIMEOUT_S = 120
START_TIMEOUT_S = 180
HARMLESS = ("bad_configuration", "check_failed", "infrastructure")
"""Failures after which the kept process is as good as before."""
BROKEN = 1
"""The exit code of a kept process that went away without saying how."""


class Launcher(Protocol):
    """Makes the command line of a kept process."""

    @property
    def link(self) -> str:
        """A page that shows the process at work; empty where there is none."""
        ...

    def submit_command(self, configuration: Configuration, script: Path, arguments: Sequence[str]) -> list[str]:
        """The command that runs a Python script; equal commands share a process."""
        ...


class PlainPython:
    """A process of this Python, whatever the configuration."""

    link = ""

    def submit_command(self, configuration: Configuration, script: Path, arguments: Sequence[str]) -> list[str]:
        """The command that runs a Python script."""
        return [sys.executable, str(script), *arguments]


class WarmRunner(Runner):
    """Runs trials in a kept process; starts one where there is none."""

    def __init__(self, job: str, launcher: Launcher, *, modules: Path, sweep_id: str) -> None:
        self._job = job
        self._sweep_id = sweep_id
        self._launcher = launcher
        self._modules = modules
        self._client: socket.socket | None = None
        self._is_done = False

    @property
    def link(self) -> str:
        """The launcher's page."""
        return self._launcher.link

    def start(self, run: TrialRun) -> None:
        """Hand the trial to the kept process."""
        self._run = run
        self._is_done = False
        self._kernel_kills = kernel_kills()
        self._kept = self._kept_for(run)
        self._client = self._kept.connect(job_environment({}, self._modules))
        run.output.path = self._kept.log
        run.output.skip_to_end()
        request = {
            "job": self._job,
            "config": str(run.config_path),
            "measurement": str(run.measurement_path),
            "environment": dict(run.environment),
        }
        self._client.sendall(json.dumps(request).encode() + b"\n")

    def wait(self, timeout_s: float) -> int:
        """Wait for the kept process's answer."""
        if self._client is None:
            raise RuntimeError("the job was not started")
        deadline = time.monotonic() + timeout_s
        self._client.settimeout(POLL_S)
        answer = b""
        while not answer.endswith(b"\n"):
            if time.monotonic() > deadline:
                self._run.output.finish()
                raise TimeoutError
            self._run.output.follow()
            try:
                received = self._client.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                received = b""
            if not received:
                self._run.output.finish()
                return self._kept.exit_code()
            answer += received
        self._run.output.finish()
        exit_code = int(json.loads(answer)["exit_code"])
        self._is_done = exit_code == 0
        return exit_code

    def collect(self, exit_code: int) -> Measurement:
        """The measurement that the job left. After some failures the process is replaced: its JVM may be harmed."""
        measurement = measurement_of(self._run, exit_code, kernel_kills_before=self._kernel_kills)
        failure = measurement.failure
        self._is_done = failure is None or failure.kind in HARMLESS
        return measurement

    def cancel(self) -> None:
        """Let go of the kept process. Unless the trial ended well, nothing of it stays."""
        client, self._client = self._client, None
        if client is None:
            return
        client.close()
        if not self._is_done:
            self._kept.stop()

    def end_of_sweep(self) -> None:
        """Stop every kept process of this sweep on this machine."""
        for pid_file in kept_folder().glob(f"{self._key()}-*.pid"):
            KeptProcess(pid_file.with_suffix(""), []).remove()

    def _key(self) -> str:
        return _short_hash(self._sweep_id)

    def _kept_for(self, run: TrialRun) -> KeptProcess:
        serve = self._modules / "pipeline_jobs" / "serve.py"
        plain = self._launcher.submit_command(run.configuration, serve, [])
        base = kept_folder() / f"{self._key()}-{_short_hash(json.dumps(plain))}"
        return KeptProcess(
            base, [*plain, "--socket", str(base.with_suffix(".sock")), "--idle-timeout", str(IDLE_TIMEOUT_S)]
        )


class KeptProcess:
    """One kept job process and its guard. Its files start with `base`: .sock, .log, .pid (locked by the guard)."""

    def __init__(self, base: Path, command: list[str]) -> None:
        self._command = command
        self.socket = base.with_suffix(".sock")
        self.pid = base.with_suffix(".pid")
        self.log = base.with_suffix(".log")

    def connect(self, environment: dict[str, str]) -> socket.socket:
        """A connection to the process, which is started where it does not run. Raises InfrastructureError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        starts = 0
        while time.monotonic() < deadline:
            starts += self._start_if_needed(environment)
            if starts > 1:
                break
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                client.connect(str(self.socket))
                return client
            except OSError:
                client.close()
            time.sleep(POLL_S)
        tail = JobOutput(self.log).tail()
        self.stop()
        raise InfrastructureError(f"the kept process did not start:\n{tail}")

    def stop(self) -> None:
        """End the process and all its descendants; returns when they are gone."""
        deadline = time.monotonic() + KILL_AFTER_S
        self._signal(signal.SIGTERM)
        while self._is_alive():
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
            time.sleep(POLL_S)

    def remove(self) -> None:
        """End the process and delete its files."""
        self.stop()
        for path in (self.socket, self.pid, self.log):
            path.unlink(missing_ok=True)

    def exit_code(self) -> int:
        """The exit code of a process that went away, which its guard left as the last word in the pid file."""
        deadline = time.monotonic() + KILL_AFTER_S
        while self._is_alive() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        words = self.pid.read_text(encoding="ascii").split()
        return int(words[1]) if len(words) > 1 else BROKEN

    def _start_if_needed(self, environment: dict[str, str]) -> bool:
        with self.pid.open("a+", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self.socket.unlink(missing_ok=True)
            lock.truncate(0)
            with self.log.open("wb") as output:
                # The guard inherits the lock and holds it for life: a held lock is a living process.
                subprocess.Popen(
                    [sys.executable, "-I", str(GUARD), f"--pid-file={lock.fileno()}", "--", *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=self.pid.parent,
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
        return True

    def _is_alive(self) -> bool:
        with self._opened() as lock:
            if lock is None:
                return False
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def _signal(self, number: signal.Signals) -> None:
        if not self._is_alive():
            return
        with contextlib.suppress(OSError, ValueError, IndexError):
            os.kill(int(self.pid.read_text(encoding="ascii").split()[0]), number)

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        try:
            descriptor = os.open(self.pid, os.O_RDWR)
        except FileNotFoundError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def kept_folder() -> Path:
    """The folder of the kept processes' files: in the system's temporary folder, for this user's eyes only."""
    folder = Path(tempfile.gettempdir()) / f"pipeline-tuner-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise InfrastructureError(f"{folder} must belong to this user and be closed to others: remove it")
    return folder
