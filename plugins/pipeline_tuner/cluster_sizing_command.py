"""The command `cluster`: which executors fit a Spark cluster, and what a layout leaves unused."""

from __future__ import annotations

import argparse
from typing import Any

from pipeline_tuner.analysis.cluster_sizing import Cluster, Layout, check_layout, propose_layouts
from pipeline_tuner.exceptions import PipelineTunerError
from pipeline_tuner.report.tables import text_table

MAX_LAYOUTS = 6


def add_to(parts: Any) -> None:
    """Add the command to an argument parser's commands."""
    command = parts.add_parser("cluster", help="propose Spark executors for a cluster, or check a layout")
    command.add_argument("--nodes", type=int, required=True)
    command.add_argument("--cores", type=int, required=True, help="cores of a node")
    command.add_argument("--memory", type=float, required=True, metavar="GB", help="memory of a node")
    command.add_argument("--executors", type=int, help="check this many executors instead of proposing ...")
    command.add_argument("--executor-cores", type=int, help="... of this many cores ...")
    command.add_argument("--executor-memory", type=int, metavar="GB", help="... and this heap")
    command.add_argument("--overhead", type=int, metavar="GB", help="memory beside the heap (a quarter of it)")
    command.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Print the layouts. Raises PipelineTunerError for a cluster or layout that can't be."""
    try:
        cluster = Cluster(chosen.nodes, chosen.cores, chosen.memory)
    except ValueError as error:
        raise PipelineTunerError(str(error)) from None
    layouts = _given(cluster, chosen) if chosen.executors else propose_layouts(cluster)[:MAX_LAYOUTS]
    header = ("executors", "a node", "cores", "heap", "overhead", "unused cores", "problems")
    print(text_table(header, [_row(layout) for layout in layouts]))
    for problem in layouts[0].problems if chosen.executors else ():
        print(f"- {problem}")
    best = propose_layouts(cluster)[0]
    print("\n" + "\n".join(f"--conf {name}={value}" for name, value in best.settings.items()))


def _given(cluster: Cluster, chosen: argparse.Namespace) -> tuple[Layout, ...]:
    if not chosen.executor_cores or not chosen.executor_memory:
        raise PipelineTunerError("to check a layout, give --executors, --executor-cores and --executor-memory")
    layout = check_layout(
        cluster,
        executors=chosen.executors,
        cores=chosen.executor_cores,
        heap_gb=chosen.executor_memory,
        overhead_gb=chosen.overhead,
    )
    return (layout,)


def _row(layout: Layout) -> tuple[str, ...]:
    return (
        str(layout.executors),
        str(layout.executors_a_node),
        str(layout.cores),
        f"{layout.heap_gb} GB",
        f"{layout.overhead_gb} GB",
        str(layout.unused_cores),
        str(len(layout.problems)),
    )
