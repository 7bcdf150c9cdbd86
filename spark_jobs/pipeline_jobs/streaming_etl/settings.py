"""The engine's parameters, and the batch size that may adapt while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pipeline_jobs.contract import BadConfigurationError


@dataclass(frozen=True)
class Settings:
    """The engine's parameters."""

    batch_size: int = 500
    """Records a batch."""
    batch_bytes: int = 8 * 1024 * 1024
    worker_num: int = 2
    """Workers a pipeline."""
    timeout_s: float = 1.0
    """A batch leaves at the latest this long after its first record came."""
    manager_worker_num: int = 1
    """Pipelines side by side."""
    transform_concurrency: int = 10
    adaptive: bool = False
    target_records_per_s: float = 0.0
    min_batch_size: int = 10
    max_batch_size: int = 10_000
    pool_size: int = 0
    """Connections to the target that a pipeline's workers share; 0 for one a worker."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "batch_bytes", "worker_num", "manager_worker_num", "transform_concurrency"):
            if getattr(self, name) < 1:
                raise BadConfigurationError(f"{name} is {getattr(self, name)}, must be 1 or more")
        if self.adaptive and self.target_records_per_s <= 0:
            raise BadConfigurationError("adaptive batching needs target_records_per_s above 0")

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> Settings:
        """The settings in a trial's configuration; other keys are other parts' business."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in configuration.items() if key in known})

    @property
    def capacity(self) -> int:
        """Records that the channel holds at most."""
        largest = max(self.batch_size, self.max_batch_size) if self.adaptive else self.batch_size
        return largest * self.worker_num * 2

    @property
    def capacity_bytes(self) -> int:
        """Bytes that the channel holds at most."""
        return self.batch_bytes * self.worker_num * 2


class BatchSize:
    """The batch size in force: fixed, or adapted to a target throughput."""

    WINDOW_S = 0.25

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.current = settings.batch_size
        self._records, self._since = 0, time.monotonic()
        self._lock = threading.Lock()

    def observe(self, records: int, now: float) -> None:
        """Count loaded records; adapts at the end of each window. Below 0.8 of the target grow, above 1.2 shrink."""
        if not self._settings.adaptive:
            return
        with self._lock:
            self._records += records
            if now - self._since < self.WINDOW_S:
                return
            self.adapt(self._records / (now - self._since))
            self._records, self._since = 0, now

    def adapt(self, records_per_s: float) -> None:
        """One step for a measured throughput."""
        settings = self._settings
        if records_per_s < 0.8 * settings.target_records_per_s:
            self.current = min(settings.max_batch_size, max(self.current + 1, int(self.current * 1.2)))
        elif records_per_s > 1.2 * settings.target_records_per_s:
            self.current = max(settings.min_batch_size, int(self.current * 0.9))
