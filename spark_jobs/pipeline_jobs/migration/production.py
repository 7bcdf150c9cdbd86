"""A production run: one table moved for good, exactly once, resumed under its run id."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from pipeline_jobs.contract import MeasurementWriter, TrialConfig
from pipeline_jobs.migration.comparison import check_whole, compare_ranges
from pipeline_jobs.migration.differences import correct, find_differences, record_differences
from pipeline_jobs.migration.endpoints import Endpoints
from pipeline_jobs.migration.ledger import Ledger, PlannedRange
from pipeline_jobs.migration.metrics import record_sample, record_totals
from pipeline_jobs.migration.mover import Mover
from pipeline_jobs.migration.options import Settings, Workload
from pipeline_jobs.migration.ranges import KeyRange, plan_ranges
from pipeline_jobs.migration.tables import advance_identities, check_own_references
from pipeline_jobs.resources import ResourceMonitor

MAX_DIFFERENCES = 100_000
"""More than this are not listed or corrected in one run: the next run goes on."""


class Production:
    """Moves what has not passed yet, then compares all ranges."""

    def __init__(self, config: TrialConfig, settings: Settings, workload: Workload, ends: Endpoints) -> None:
        self._config = config
        self._settings = settings
        self._ledger = Ledger(workload.ledger_schema, workload.run_id)
        self._workload = workload
        self._resumes = False
        self.ends = ends
        self.counted_from = 0.0

    @contextmanager
    def prepared(self) -> Iterator[Production]:
        """The run recorded, or found again after its last job's workers have ended."""
        target, ledger = self.ends.target, self._ledger
        ledger.create_tables(target)
        ledger.lock(target)
        ledger.end_orphans(target)
        self._resumes = bool(ledger.ranges(target))
        # A run that can't be planned isn't begun: its id may be taken again with another key.
        ranges = [] if self._resumes else self._plan()
        ledger.begin(target, self._description())
        if ranges:
            ledger.add_ranges(target, ranges)
        yield self

    def _plan(self) -> list[KeyRange]:
        ends = self.ends
        ranges = plan_ranges(
            ends.source, ends.source_table, ends.key, self._settings.range_count, self._config.fraction
        )
        if len(ranges) > 1:
            check_own_references(ends.target, ends.target_table)
        return ranges

    def measure(self, writer: MeasurementWriter, mover: Mover) -> None:
        """Move what is left, once; there is no warming up on a production table."""
        if self._resumes:
            mover.split_failed(self._ledger)
        for sample in writer.samples():
            if sample.is_warmup:
                continue
            self.counted_from = time.time()
            with ResourceMonitor() as monitor:
                self._results = sample.timed(lambda: mover.move_pending(self._ledger))
            sample.metrics |= monitor.metrics()
            record_sample(sample, self._results, self._settings)

    def judge(self, writer: MeasurementWriter) -> None:
        """Compare all ranges, those of earlier jobs too, and mark them PASS or DIFF."""
        target, ledger = self.ends.target, self._ledger
        ranges = ledger.ranges(target)
        verdict = compare_ranges(self.ends, ranges)
        if verdict.differing and (self._workload.differences or self._workload.autocorrect):
            self._look_closer(writer, [item for item in ranges if item.number in verdict.differing])
            verdict = compare_ranges(self.ends, ranges)
        ledger.set_state(target, verdict.differing, "DIFF")
        ledger.set_state(target, [item.number for item in ranges if item.number not in verdict.differing], "PASS")
        if not verdict.is_whole:
            for index, item in enumerate(ranges):
                if item.read_rows is None and item.number not in verdict.differing:
                    ledger.fill_counts(target, item.number, verdict.sums.target.get(index, (0, 0))[0])
        if not verdict.differing:
            advance_identities(target, self.ends.target_table)
        check_whole(writer, verdict)
        record_totals(writer, self.ends, self._settings, verdict, self._results)

    def _look_closer(self, writer: MeasurementWriter, ranges: Sequence[PlannedRange]) -> None:
        """List the rows that differ and, where that is wanted, correct them."""
        found = list(islice(find_differences(self.ends, ranges), MAX_DIFFERENCES))
        counts = Counter(difference.kind for difference in found)
        for kind in ("MISSING", "MISMATCH", "EXTRA"):
            writer.metrics[f"{kind.lower()}_rows"] = float(counts[kind])
        if self._workload.autocorrect:
            writer.metrics["corrected_rows"] = float(correct(self.ends, self._ledger, found))
        else:
            record_differences(self.ends.target, self._ledger, found, corrected=False)

    def _description(self) -> dict[str, object]:
        """What a resumed run must have in common with the one that it resumes."""
        ends = self.ends
        return {
            "source table": ends.source_table.sql,
            "target table": ends.target_table.sql,
            "key": list(ends.key.names) if ends.key else [],
            "columns": [column.name for column in ends.columns],
            "fraction": self._config.fraction,
        }
