"""What a test may change in this process that the tests after it would see."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PYTESTS_OWN = "PYTEST_CURRENT_TEST"
THIRD_PARTIES = ("AIRFLOW_CTX_", "KMP_", "_AIRFLOW", "SPARK_", "PYSPARK_")
"""Variables that Airflow sets for a task that runs in this process, and compiled libraries when they are loaded: they
are taken back, and no test is blamed for them. So are signal handlers."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGALRM is not among them: the time limit of a test uses it."""


def has_running_loop() -> bool:
    """Whether an event loop runs in this thread, as it does between the calls of a browser that is driven by one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@dataclass(frozen=True)
class ProcessState:
    """Environment variables, working folder, signal handlers and import path at one moment."""

    environment: Mapping[str, str]
    folder: str
    handlers: Mapping[signal.Signals, Any]
    import_path: tuple[str, ...]

    @classmethod
    def now(cls) -> ProcessState:
        """The state of this process."""
        environment = {name: value for name, value in os.environ.items() if name != PYTESTS_OWN}
        return cls(environment, os.getcwd(), {number: signal.getsignal(number) for number in SIGNALS}, tuple(sys.path))

    def changes_until(self, later: ProcessState) -> list[str]:
        """What our own code left different, by name; values may be secrets."""
        names = {n for n in (*self.environment, *later.environment) if not n.startswith(THIRD_PARTIES)}
        changed = sorted(n for n in names if self.environment.get(n) != later.environment.get(n))
        if self.folder != later.folder:
            changed.append("working folder")
        return changed

    def restore(self) -> None:
        """Make this process as it was."""
        for name in set(os.environ) - set(self.environment) - {PYTESTS_OWN}:
            del os.environ[name]
        os.environ.update(self.environment)
        os.chdir(self.folder)
        for number, handler in self.handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        sys.path[:] = self.import_path
