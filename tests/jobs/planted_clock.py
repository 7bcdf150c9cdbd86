"""A clock that moves only when a test says so: what a busy machine adds to a run is in no figure."""

from __future__ import annotations

import threading
import time
from types import ModuleType

import pytest


class PlantedClock:
    """Stands in for the module `time`: a sleep moves the clock and takes no time. Processor time stays the real one."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.slept_s

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept_s += seconds

    def thread_time(self) -> float:
        return time.thread_time()

    def stands_in_for_time(self, patch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Give these modules this clock."""
        for module in modules:
            patch.setattr(module, "time", self)
