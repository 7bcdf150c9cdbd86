"""A server that keeps running after the command that started it: known by process id and start time, stopped whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_TIMEOUT_S = 10


@dataclass(frozen=True)
class BackgroundProgram:
    """One program with its pid file and log in `folder`."""

    folder: Path
    name: str

    def start(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start the program in a session of its own. Its output goes to the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )
        birth = psutil.Process(process.pid).create_time()
        self._pid_file.write_text(f"{process.pid} {birth}", encoding="ascii")

    def stop(self) -> None:
        """Ask the program and all that it started to end, then make them, and wait until they are gone."""
        process = self._process()
        if process is None:
            return
        family = [process, *process.children(recursive=True)]
        _each(family, "terminate")
        _, alive = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
        _each(alive, "kill")
        psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S)
        self._pid_file.unlink(missing_ok=True)

    def is_running(self) -> bool:
        """True where the program lives."""
        return self._process() is not None

    def log_end(self, lines: int = 15) -> str:
        """The last lines of the program's log."""
        if not self.log.exists():
            return ""
        return os.linesep.join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    @property
    def log(self) -> Path:
        """What the program printed."""
        return self.folder / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def _process(self) -> psutil.Process | None:
        try:
            pid, birth = self._pid_file.read_text(encoding="ascii").split()
            process = psutil.Process(int(pid))
            # A number that another program got since is not this one's.
            is_ours = process.create_time() == float(birth) and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process if is_ours else None


def _each(processes: Sequence[psutil.Process], signal: str) -> None:
    for process in processes:
        try:
            getattr(process, signal)()
        except psutil.NoSuchProcess:
            continue
