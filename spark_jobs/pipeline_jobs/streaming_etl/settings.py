"""The engine's parameters and their limits, and the batch size that adapts while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_jobs.contract import BadConfigurationError


@dataclass(frozen=True)
class Limit:
    """What a number may be."""

    name: str
    low: float
    high: float
    is_whole: bool = True

    def check(self, value: object) -> None:
        """Raises BadConfigurationError naming the parameter, its value and the range."""
        kinds = int if self.is_whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            kind = "whole number" if self.is_whole else "number"
            raise BadConfigurationError(
                f"{self.name} is {value!r}, must be a {kind} from {self.low:,} to {self.high:,}"
            )


LIMITS = (
    Limit("batch_size", 1, 1_000_000),
    Limit("batch_bytes", 1, 2**40),
    Limit("worker_num", 1, 256),
    Limit("timeout_s", 0.001, 86_400, is_whole=False),
    Limit("manager_worker_num", 1, 256),
    Limit("transform_concurrency", 1, 1000),
    Limit("target_records_per_s", 0, 10**12, is_whole=False),
    Limit("min_batch_size", 1, 1_000_000),
    Limit("max_batch_size", 1, 1_000_000),
    Limit("pool_size", 0, 256),
)


def check_flag(name: str, value: object) -> None:
    """Raises BadConfigurationError where a value is neither true nor false: `"no"` would be taken as true."""
    if not isinstance(value, bool):
        raise BadConfigurationError(f"{name} is {value!r}, must be true or false")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises BadConfigurationError where a value is none of the choices."""
    if value not in choices:
        raise BadConfigurationError(f"{name} is {value!r}, must be one of {', '.join(choices)}")


@dataclass(frozen=True)
class Settings:
    """The engine's parameters. Raises BadConfigurationError for a value out of its range or without effect."""

    batch_size: int = 500
    """Records a batch."""
    batch_bytes: int = 8 * 1024 * 1024
    """Bytes a batch, whichever limit comes first."""
    worker_num: int = 2
    """Workers a pipeline."""
    timeout_s: float = 1.0
    """A batch leaves at the latest this long after its first record came."""
    manager_worker_num: int = 1
    """Pipelines side by side."""
    transform_concurrency: int = 1
    """Records of a batch that are transformed at once: threads of a worker, or requests in flight."""
    adaptive: bool = False
    target_records_per_s: float = 0.0
    min_batch_size: int = 10
    max_batch_size: int = 10_000
    pool_size: int = 0
    """Connections to the target that a pipeline's workers share; 0 for one per worker."""

    def __post_init__(self) -> None:
        for limit in LIMITS:
            limit.check(getattr(self, limit.name))
        check_flag("adaptive", self.adaptive)
        if self.pool_size > self.worker_num:
            raise BadConfigurationError(
                f"pool_size is {self.pool_size}, must be from 0 to worker_num ({self.worker_num}): a worker uses one"
            )
        self._check_adaptive()

    def _check_adaptive(self) -> None:
        if not self.adaptive:
            return
        if self.target_records_per_s <= 0:
            raise BadConfigurationError("adaptive batching needs target_records_per_s above 0")
        if not self.min_batch_size <= self.batch_size <= self.max_batch_size:
            raise BadConfigurationError(
                f"batch_size is {self.batch_size}, must be from min_batch_size ({self.min_batch_size}) to "
                f"max_batch_size ({self.max_batch_size}): adaptive batches begin with it"
            )

    @property
    def capacity(self) -> int:
        """Records that the channel holds at most."""
        largest = self.max_batch_size if self.adaptive else self.batch_size
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
