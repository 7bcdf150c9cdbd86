"""SQL executions in an event log: when they ran, what they are called, which files they read and wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from pipeline_tuner.advise.application import Files, Query
from pipeline_tuner.advise.events import DriverUpdates, PlanNode, SqlEnd, SqlStart
from pipeline_tuner.advise.secrets import without_secrets


class FileMetric(Enum):
    """A metric of files, and how the nodes of a plan call it in the versions of Spark."""

    READ = ("number of files read", "number of files")
    READ_BYTES = ("size of files read",)
    WRITTEN = ("number of written files",)
    WRITTEN_BYTES = ("written output", "bytes of written output")


COALESCED = "coalesced"
WRITERS = (
    *("Execute Insert", "Execute Create", "Execute OptimizedCreate", "Execute SaveInto"),
    *("AppendData", "Overwrite", "ReplaceTable", "CreateTable", "AtomicReplace", "AtomicCreate"),
)
"""How the nodes of plans that write are called; a view writes nothing and has no target in its words."""
TARGET = re.compile(
    r"InsertIntoHadoopFsRelationCommand (?P<folder>.+?), (?:true|false),"
    r"|(?:AsSelectCommand|InsertIntoHiveTable) (?:\[Database: )?(?P<table>`[^,]+`)"
    r"|Write\((?:table=)?(?P<name>[\w.-]+)"
    r"|SaveIntoDataSourceCommand .*?\b(?:path|dbtable) -> (?P<option>[^,)]+)",
    re.DOTALL,
)
SHUFFLED_JOINS = ("SortMergeJoin", "ShuffledHashJoin")


@dataclass
class QueryLife:
    """One execution, growing."""

    description: str = ""
    started: int = 0
    ended: int | None = None
    meanings: dict[int, FileMetric] = field(default_factory=dict)
    """Accumulator to the metric that it counts."""
    values: dict[int, int] = field(default_factory=dict)
    coalesced: bool = False
    joins: bool = False
    output: str = ""


@dataclass
class Queries:
    """All executions of an application."""

    lives: dict[int, QueryLife] = field(default_factory=dict)

    def start(self, event: SqlStart) -> None:
        """An execution, or a new plan of one by adaptive execution."""
        life = self.lives.setdefault(event.execution, QueryLife())
        life.description = without_secrets(event.description or "") or life.description
        life.started = event.time or life.started
        for node in _nodes(event.plan):
            life.coalesced |= COALESCED in node.name
            life.joins |= node.name.startswith(SHUFFLED_JOINS)
            life.output = life.output or output_of(node)
            for metric in node.metrics:
                counted = FILE_METRICS.get(metric.name)
                if counted is not None:
                    life.meanings[metric.accumulator] = counted

    def end(self, event: SqlEnd) -> None:
        """The end of an execution."""
        self.lives.setdefault(event.execution, QueryLife()).ended = event.time

    def update(self, event: DriverUpdates) -> None:
        """Values that the driver counted; they may come before the plan that says what they are."""
        self.lives.setdefault(event.execution, QueryLife()).values.update(event.updates)

    def found(self) -> tuple[Query, ...]:
        """All executions, as they are known now."""
        return tuple(
            Query(
                execution,
                life.description,
                life.started,
                life.ended,
                _files(life),
                life.coalesced,
                life.joins,
                life.output,
            )
            for execution, life in sorted(self.lives.items())
        )


def output_of(node: PlanNode) -> str:
    """The folder or table that a node writes; empty for one that writes none."""
    if not node.name.startswith(WRITERS):
        return ""
    try:
        text = msgspec.json.decode(bytes(node.text), type=str)
    except msgspec.DecodeError:
        return ""
    match = TARGET.search(text)
    found = next(filter(None, match.groups()), "") if match else ""
    return without_secrets(found).replace("`", "")


FILE_METRICS = {name: metric for metric in FileMetric for name in metric.value}


def _nodes(plan: PlanNode | None) -> Iterator[PlanNode]:
    waiting = [plan] if plan is not None else []
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def _files(life: QueryLife) -> Files:
    sums = dict.fromkeys(FileMetric, 0)
    for accumulator, metric in life.meanings.items():
        sums[metric] += max(0, life.values.get(accumulator, 0))
    return Files(
        sums[FileMetric.READ],
        sums[FileMetric.READ_BYTES],
        sums[FileMetric.WRITTEN],
        sums[FileMetric.WRITTEN_BYTES],
    )
