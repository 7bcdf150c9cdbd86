"""The metric of the JVM's heap during the work: what collections left on a local master, executors' own peaks else.

And what a cluster's executors were given.
"""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

UNITS = {"": 20, "k": 10, "m": 20, "g": 30, "t": 40}
"""Powers of two of Spark's sizes; a bare number is in MiB."""
MIN_OVERHEAD_BYTES = 384 << 20
"""Spark's own least for what an executor needs beside its heap."""


class HeapMonitor:
    """Keeps the most that a collection left in use: `start` before the work, `sample` while it runs.

    What is in use between collections is mostly garbage, and says nothing of the memory that is needed. Without Spark
    it does nothing. On a cluster it reads the peaks that executors report themselves (garbage included), every 10 s and
    when their tasks end: a run that is shorter than that may have none.
    """

    def __init__(self) -> None:
        self._peak_bytes = 0
        self._heap_bytes = 0
        self._own: OwnHeap | None = None

    def start(self) -> None:
        """Collect what earlier work left in a kept JVM; from here on, every collection counts."""
        context = _context()
        if context is not None and not _is_cluster(context):
            try:
                context._jvm.java.lang.System.gc()
            except Exception as error:  # as in `sample`
                log.debug("The heap can't be collected: %s", error)

    def sample(self) -> None:
        """Look at the heap now. A JVM that is not there or is going away is no error."""
        context = _context()
        if context is None:
            return
        try:
            for used, whole in _executors(context) if _is_cluster(context) else [self._own_now(context)]:
                self._peak_bytes, self._heap_bytes = max(self._peak_bytes, used), max(self._heap_bytes, whole)
        except Exception as error:  # Py4J and sockets have many: the heap is then not measured
            log.debug("The heap can't be looked at: %s", error)

    def _own_now(self, context: Any) -> tuple[int, int]:
        if self._own is None or self._own.jvm is not context._jvm:
            self._own = OwnHeap(context._jvm)
        return self._own.look()

    def metrics(self) -> dict[str, float]:
        """`heap_peak_bytes` and `heap_peak_fraction`, of the fullest JVM; nothing where none was seen."""
        if not self._peak_bytes or not self._heap_bytes:
            return {}
        return {
            "heap_peak_bytes": float(self._peak_bytes),
            "heap_peak_fraction": min(1.0, self._peak_bytes / self._heap_bytes),
        }


class OwnHeap:
    """The heap of the JVM of a local master.

    A look is one small call per collector. Whatever else is asked of the JVM takes CPU from the work that is measured:
    finding the beans anew at each look took 8 to 17% of a machine of two cores.
    """

    def __init__(self, jvm: Any) -> None:
        self.jvm = jvm
        beans = jvm.java.lang.management.ManagementFactory
        self._collectors = list(beans.getGarbageCollectorMXBeans())
        self._pools = {pool.getName() for pool in beans.getMemoryPoolMXBeans() if str(pool.getType().name()) == "HEAP"}
        self._size_bytes = int(beans.getMemoryMXBean().getHeapMemoryUsage().getMax())
        self._counts: list[int] = []
        self._left_bytes = 0

    def look(self) -> tuple[int, int]:
        """What the last collection left, and the size of the heap, in bytes."""
        counts = [collector.getCollectionCount() for collector in self._collectors]
        if counts != self._counts:
            self._counts, self._left_bytes = counts, self._left()
        return self._left_bytes, self._size_bytes

    def _left(self) -> int:
        collections = [collector.getLastGcInfo() for collector in self._collectors]
        last = max((one for one in collections if one is not None), key=lambda one: one.getEndTime(), default=None)
        after = dict(last.getMemoryUsageAfterGc()) if last is not None else {}
        return sum(usage.getUsed() for name, usage in after.items() if name in self._pools)


def _context() -> Any:
    """The active Spark context; pyspark is not loaded for it."""
    pyspark: Any = sys.modules.get("pyspark")
    context = pyspark.SparkContext._active_spark_context if pyspark else None
    return context if context is not None and context._jvm is not None else None


def _is_cluster(context: Any) -> bool:
    return not str(context.master).startswith("local")


def _executors(context: Any) -> list[tuple[int, int]]:
    heap_bytes = size_bytes(context.getConf().get("spark.executor.memory", "1g"))
    summaries = context._jsc.sc().statusStore().executorList(False)
    found = []
    for place in range(summaries.size()):
        one = summaries.apply(place)
        if one.id() != "driver" and one.peakMemoryMetrics().isDefined():
            found.append((one.peakMemoryMetrics().get().getMetricValue("JVMHeapMemory"), heap_bytes))
    return found


@dataclass(frozen=True)
class Given:
    """What the executors of a cluster were given, used or not. On a local master there are none."""

    cores: int = 0
    bytes: int = 0
    """Heap and what Spark adds to it for all else."""


def given_now() -> Given:
    """What the executors have at this moment. A JVM that is not there or is going away gave nothing."""
    context = _context()
    if context is None or not _is_cluster(context):
        return Given()
    try:
        conf = context.getConf()
        heap = size_bytes(conf.get("spark.executor.memory", "1g"))
        beside = size_bytes(conf.get("spark.executor.memoryOverhead", "0")) or max(heap // 10, MIN_OVERHEAD_BYTES)
        summaries = context._jsc.sc().statusStore().executorList(True)
        cores = [
            one.totalCores()
            for one in (summaries.apply(place) for place in range(summaries.size()))
            if one.id() != "driver"
        ]
    except Exception as error:  # as in `sample`
        log.debug("The executors can't be looked at: %s", error)
        return Given()
    return Given(sum(cores), len(cores) * (heap + beside))


def size_bytes(text: str) -> int:
    """An amount of memory as Spark writes it: `2g`, `512m`, `1024` (MiB). 0 for anything else."""
    found = re.fullmatch(r"(\d+)([kmgt]?)b?", text.strip().lower())
    return int(found[1]) << UNITS[found[2]] if found else 0
