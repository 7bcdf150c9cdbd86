"""A trial: warm-up, then the same ranges into an empty table of its own, again and again, compared at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from pipeline_jobs.contract import MeasurementWriter, TrialConfig
from pipeline_jobs.migration.comparison import check_whole, compare_ranges
from pipeline_jobs.migration.copy_plan import RangeResult
from pipeline_jobs.migration.endpoints import Endpoints
from pipeline_jobs.migration.ledger import Ledger
from pipeline_jobs.migration.leftovers import claim_table, remove_orphans
from pipeline_jobs.migration.metrics import record_sample, record_totals
from pipeline_jobs.migration.mover import Mover
from pipeline_jobs.migration.options import Settings, Workload
from pipeline_jobs.migration.ranges import KeyRange, plan_ranges
from pipeline_jobs.migration.tables import create_trial_table, existing_table, shortened
from pipeline_jobs.postgres import identifier
from pipeline_jobs.resources import ResourceMonitor

WARMUP_ROWS = 20_000
"""Enough to start the Python workers, open their connections and load the classes; it is not measured."""


class Trial:
    """Measures a configuration. Leaves nothing on the target."""

    def __init__(self, config: TrialConfig, settings: Settings, workload: Workload, ends: Endpoints) -> None:
        self._config = config
        self._settings = settings
        self._workload = workload
        self._name = f"trial {config.trial_id}"
        self._ranges: Sequence[KeyRange] = ()
        self.ends = ends
        self.counted_from = 0.0
        """When the first counted repeat began, s since 1970."""

    @contextmanager
    def prepared(self) -> Iterator[Trial]:
        """The trial's table made and its ranges planned; both gone at the end."""
        model, target = self.ends.target_table, self.ends.target
        suffix = hashlib.sha256(self._name.encode()).hexdigest()[:8]
        prefix = f"{shortened(model.name, 40)}__trial_"
        name = f"{prefix}{suffix}"
        self._ledger("").create_tables(target)
        remove_orphans(target, model.schema, prefix)
        claim_table(target, name)
        self._forget(name)
        create_trial_table(target, model, name)
        try:
            self.ends = self.ends.with_target(existing_table(target, model.schema, name, "target"))
            self._ranges = self._plan(self._settings.range_count, self._config.fraction)
            yield self
        finally:
            self._forget(name)

    def measure(self, writer: MeasurementWriter, mover: Mover) -> None:
        """Warm up on a slice, then repeat the whole, each time into the empty table."""
        for number, sample in enumerate(writer.samples()):
            self._empty_table()
            ledger = self._ledger(str(number))
            ranges = self._warmup_ranges() if sample.is_warmup else self._ranges
            ledger.begin(self.ends.target, {})
            ledger.add_ranges(self.ends.target, ranges)
            if sample.is_warmup:
                mover.move_pending(ledger)
                continue
            self.counted_from = self.counted_from or time.time()
            with ResourceMonitor() as monitor:
                results: list[RangeResult] = sample.timed(partial(mover.move_pending, ledger))
            sample.metrics |= monitor.metrics()
            record_sample(sample, results, self._settings)
            self._last = ledger, results

    def judge(self, writer: MeasurementWriter) -> None:
        """Hold the last repeat's table against the source, and record what is left to say."""
        ledger, results = self._last
        comparison = compare_ranges(self.ends, ledger.ranges(self.ends.target))
        check_whole(writer, comparison)
        rows = sorted({sample.metrics["rows"] for sample in writer.counted_samples})
        writer.check("repeats", len(rows) == 1, f"rows of the counted repeats: {rows}")
        record_totals(writer, self.ends, self._settings, comparison, results)

    def _plan(self, count: int, fraction: float) -> list[KeyRange]:
        return plan_ranges(self.ends.source, self.ends.source_table, self.ends.key, count, fraction)

    def _warmup_ranges(self) -> list[KeyRange]:
        rows = max(self.ends.source_table.estimated_rows, 1.0)
        return self._plan(2 * self._settings.core_count, min(self._config.fraction, WARMUP_ROWS / rows))

    def _empty_table(self) -> None:
        with self.ends.target.cursor() as cursor:
            cursor.execute(f"TRUNCATE {self.ends.target_table.sql}")

    def _forget(self, table: str) -> None:
        """Remove what a trial of this name has left, this one or a killed one."""
        target, schema = self.ends.target, self.ends.target_table.schema
        with target.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {identifier(schema)}.{identifier(table)}")
        self._ledger("").forget_all(target)

    def _ledger(self, number: str) -> Ledger:
        return Ledger(self._workload.ledger_schema, f"{self._name} {number}")
