"""How many Spark executors of which size fit a cluster: layouts, and what each leaves unused. Pure arithmetic.

The rules of the quantizer tuning notes (section 6), checked: some cores and memory of a node stay with the
system, an executor's heap comes with an overhead, and cores x executors must use the nodes up. Its own
30 executors of 10 cores leave 60 of 360 cores idle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

OVERHEAD_FRACTION = 0.25
"""Memory beside the heap, as a part of the heap: the quantizer tuning notes'; Spark's default is 0.1."""
SYSTEM_MEMORY_GB = 8.0
"""Memory of a node that stays with the system and its daemons."""
MIN_CORES, MAX_CORES = 2, 12
"""Below, executors share little; above, garbage collection and file clients suffer (the tuning notes go to 12)."""
HEAP_LIMIT_GB = 120.0
"""Larger heaps make for long collections."""


@dataclass(frozen=True)
class Cluster:
    """The machines: how many nodes, and the cores and memory (GB) of each."""

    nodes: int
    cores: int
    memory_gb: float

    def __post_init__(self) -> None:
        if min(self.nodes, self.cores) < 1 or self.memory_gb <= SYSTEM_MEMORY_GB:
            raise ValueError(
                f"{self.nodes} nodes x {self.cores} cores x {self.memory_gb:g} GB: at least one node and core, and "
                f"more memory than the {SYSTEM_MEMORY_GB:g} GB that stay with the system"
            )


@dataclass(frozen=True)
class Layout:
    """Executors on a cluster: how many a node, and the cores, heap and overhead (GB) of each."""

    cluster: Cluster
    executors_a_node: int
    cores: int
    heap_gb: int
    overhead_gb: int

    @property
    def executors(self) -> int:
        """All executors."""
        return self.executors_a_node * self.cluster.nodes

    @property
    def unused_cores(self) -> int:
        """Cores of the cluster that no executor has."""
        return self.cluster.nodes * self.cluster.cores - self.executors * self.cores

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the layout can't be placed or wastes cores, a sentence each; empty where it is fine."""
        need = self.executors_a_node * (self.heap_gb + self.overhead_gb)
        there, total = self.cluster.memory_gb - SYSTEM_MEMORY_GB, self.cluster.nodes * self.cluster.cores
        own = f"{self.executors} x {self.cores}"
        found = []
        if self.unused_cores < 0:
            found.append(f"{own} needs {-self.unused_cores} cores more than there are")
        if self.unused_cores > 0:
            found.append(f"{own} uses {total - self.unused_cores} of {total} cores")
        if need > there:
            found.append(f"a node needs {need} GB for its executors and has {there:g} GB beside the system")
        return tuple(found)

    @property
    def settings(self) -> dict[str, str]:
        """The layout as Spark's settings."""
        return {
            "spark.executor.instances": str(self.executors),
            "spark.executor.cores": str(self.cores),
            "spark.executor.memory": f"{self.heap_gb}g",
            "spark.executor.memoryOverhead": f"{self.overhead_gb}g",
        }


def propose_layouts(cluster: Cluster, *, overhead_fraction: float = OVERHEAD_FRACTION) -> tuple[Layout, ...]:
    """Layouts that fit, those that leave the fewest cores unused first, then those nearest to 5 cores an executor."""
    layouts = [each for each in _layouts(cluster, overhead_fraction) if each.heap_gb >= 1]
    return tuple(sorted(layouts, key=lambda each: (each.unused_cores, abs(each.cores - 5), each.cores)))


def check_layout(
    cluster: Cluster, *, executors: int, cores: int, heap_gb: int, overhead_gb: int | None = None
) -> Layout:
    """A given layout, to ask for its `problems`. Executors are spread evenly; a rest counts as one more a node."""
    overhead = round(heap_gb * OVERHEAD_FRACTION) if overhead_gb is None else overhead_gb
    return Layout(cluster, -(-executors // cluster.nodes), cores, heap_gb, overhead)


def _layouts(cluster: Cluster, overhead_fraction: float) -> Iterator[Layout]:
    for cores in range(min(MIN_CORES, cluster.cores), min(MAX_CORES, cluster.cores) + 1):
        executors = cluster.cores // cores
        share_gb = (cluster.memory_gb - SYSTEM_MEMORY_GB) / executors
        heap_gb = int(min(share_gb / (1 + overhead_fraction), HEAP_LIMIT_GB))
        overhead_gb = min(int(share_gb) - heap_gb, max(1, round(heap_gb * overhead_fraction)))
        yield Layout(cluster, executors, cores, heap_gb, overhead_gb)
