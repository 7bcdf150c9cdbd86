"""The metrics of a trial's processor time and memory, sampled from outside its processes; the machine's memory
limit.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

import psutil

from pipeline_jobs.heap import Given, HeapMonitor, given_now
from pipeline_jobs.sampler import Sampler

INTERVAL_S = 0.2
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container's limit is written, by the version of control groups."""


class ResourceMonitor(Sampler):
    """Samples this process, its JVM and its Python workers; use as a context manager around the work.

    CPU of a process that lives shorter than the interval (0.2 s) can be missed. Memory is the sum of resident
    sizes: pages that forked workers share count for each. Database servers are not in the tree.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        super().__init__(interval_s)
        self._root = psutil.Process(_root_pid())
        self._cpu_at_start: dict[tuple[int, float], float] = {}
        self._cpu_last: dict[tuple[int, float], float] = {}
        self._memory_peak_bytes = 0
        self._swap_peak_bytes = 0
        self._heap = HeapMonitor()
        self._given = Given()
        self._machine_s = self._duration_s = 0.0

    def begin(self) -> None:
        """Clear the heap and note the clocks."""
        self._heap.start()
        self._started = time.monotonic()
        self._machine_at_start = _machine_busy_s()
        self._cpu_at_start = self._look()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._machine_s = _machine_busy_s() - self._machine_at_start
        self._duration_s = time.monotonic() - self._started

    def metrics(self) -> dict[str, float]:
        """`core_seconds` of this tree and of the machine, memory, swap, `other_cpu_fraction`, and the heap's (heap.py).

        `memory_peak_fraction` is of what this process may have, `other_cpu_fraction` the part of the machine's cores
        that others used, the databases among them. On a cluster `core_seconds` and `memory_peak_bytes` are this tree's,
        which is the driver's, and what the executors were given, used or not; what holds of this machine alone is left
        out.
        """
        own_s = sum(cpu_s - self._cpu_at_start.get(key, 0.0) for key, cpu_s in self._cpu_last.items())
        capacity_s = max(self._duration_s, 1e-9) * (os.cpu_count() or 1)
        if self._given.cores:
            return {
                "core_seconds": max(0.0, own_s) + self._given.cores * self._duration_s,
                "memory_peak_bytes": float(self._memory_peak_bytes + self._given.bytes),
                **self._heap.metrics(),
            }
        return {
            "core_seconds": max(0.0, own_s),
            "machine_core_seconds": max(0.0, self._machine_s),
            "memory_peak_bytes": float(self._memory_peak_bytes),
            "memory_peak_fraction": self._memory_peak_bytes / memory_limit_bytes(),
            "swap_bytes": float(self._swap_peak_bytes),
            "other_cpu_fraction": min(1.0, max(0.0, (self._machine_s - own_s) / capacity_s)),
            **self._heap.metrics(),
        }

    def sample(self) -> None:
        """Look at the heap, and at every process of the tree."""
        self._look()

    def _look(self) -> dict[tuple[int, float], float]:
        self._heap.sample()
        self._given = max(self._given, given_now(), key=lambda given: given.cores)
        memory = swap = 0
        for process in _tree(self._root):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    self._cpu_last[process.pid, process.create_time()] = times.user + times.system
                    memory += process.memory_info().rss
                swap += _swap_bytes(process.pid)
            except (psutil.Error, OSError):
                continue
        self._memory_peak_bytes = max(self._memory_peak_bytes, memory)
        self._swap_peak_bytes = max(self._swap_peak_bytes, swap)
        return dict(self._cpu_last)


def _root_pid() -> int:
    """Under spark-submit the JVM is this process's parent, otherwise its child."""
    return os.getppid() if "PYSPARK_GATEWAY_PORT" in os.environ else os.getpid()


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _swap_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmSwap:")), 0)
    except OSError:
        return 0


def memory_limit_bytes() -> int:
    """What this process and its children may have: the container's limit if there is one, or the machine's memory."""
    whole = int(psutil.virtual_memory().total)
    for place in LIMITS:
        try:
            text = Path(place).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return min(whole, int(text)) if text.isdigit() else whole
    return whole


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0))
