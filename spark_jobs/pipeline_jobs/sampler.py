"""The thread that samples something again and again while work runs, for metrics of processor time and memory."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Sampler(ABC):
    """Calls `sample` every `interval_s` seconds and at the end; a context manager around the work."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def __enter__(self) -> Self:
        self.begin()
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.sample()

    @abstractmethod
    def begin(self) -> None:
        """Before the work: the clocks, and the first sample."""

    @abstractmethod
    def sample(self) -> None:
        """Look once. Called from the thread, too."""

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.sample()
