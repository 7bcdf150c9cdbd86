"""A trial with databases: the same documents into tables of its own, emptied before each sample; its checks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from typing import Any

import bson
import psycopg2

from pipeline_jobs.contract import InfrastructureError, TrialConfig
from pipeline_jobs.streaming_etl.connection_pool import fetched_row
from pipeline_jobs.streaming_etl.engine import Report
from pipeline_jobs.streaming_etl.load import Origin, load
from pipeline_jobs.streaming_etl.mapping import Mapping
from pipeline_jobs.streaming_etl.mongodb import split_documents
from pipeline_jobs.streaming_etl.paced_source import PacedOrigin
from pipeline_jobs.streaming_etl.progress import Totals
from pipeline_jobs.streaming_etl.settings import Settings
from pipeline_jobs.streaming_etl.source_part import part_of
from pipeline_jobs.streaming_etl.tables import create_tables, drop_foreign_keys, empty_tables
from pipeline_jobs.streaming_etl.transcoder import Transcoder
from pipeline_jobs.streaming_etl.trial_parameters import TargetChoices
from pipeline_jobs.streaming_etl.workload import (
    Expected,
    Options,
    described,
    found_sql,
    make_users,
    origin_of,
    target_of,
)

SCHEMA = "streaming_etl_trial"


def _load_compiled_code(mapping: Mapping) -> None:
    """Compile the transcoder, or load it from numba's cache, before anything is timed."""
    Transcoder(mapping).encode(split_documents(bson.encode({})))


class TablesTrial:
    """One configuration's loads of the workload. Raises InfrastructureError where source or target is unavailable."""

    def __init__(
        self,
        config: TrialConfig,
        options: Options,
        settings: Settings,
        choices: TargetChoices,
        cancel: threading.Event,
    ) -> None:
        self._options, self._settings, self._cancel = options, settings, cancel
        self.mapping = options.load_mapping()
        self._made = make_users(options, self.mapping) if options.documents else None
        self._whole = config.fraction >= 1
        whole = origin_of(options, config, self._made, cancel)
        self._described = described(options, self.mapping, whole, self._made)
        part = whole if self._whole else part_of(whole, config.fraction)
        pace = options.source_records_per_s
        self._origin: Origin = PacedOrigin(part, pace) if pace else part
        self._target = target_of(options, config, self.mapping, choices, SCHEMA)
        self.totals = Totals(0, 0, 0, 0, 0, 0)
        _load_compiled_code(self.mapping)
        try:
            self._connection = self._target.connect()
        except psycopg2.OperationalError as error:
            raise InfrastructureError(f"the target does not answer: {str(error).strip()}") from error

    def described(self) -> MappingType[str, Any]:
        """What the trial runs on."""
        return self._described

    def empty(self) -> None:
        """Start from empty tables; foreign keys as the configuration has them."""
        schema, during = self._target.schema, self._target.foreign_keys == "during"
        create_tables(self._connection, self.mapping, schema, foreign_keys=during)
        empty_tables(self._connection, self.mapping, schema)
        if not during:
            drop_foreign_keys(self._connection, self.mapping, schema)

    def load(self) -> Report:
        """Load everything once."""
        report, self.totals = load(self._origin, self._target, self._settings, job="trial", cancel=self._cancel)
        return report

    def checks(self) -> Iterator[tuple[str, bool, str]]:
        """Whether the last load left what it should: name, passed, detail."""
        totals = self.totals
        settled = totals.loaded + totals.rejected + totals.replaced
        yield "documents are accounted for", totals.documents == settled, f"{totals}"
        yield "the load ran to its end", not self._cancel.is_set(), "it was cancelled" if self._cancel.is_set() else ""
        found = {
            table.name: self._found(found_sql(self.mapping, table, self._target.schema))
            for table in self.mapping.tables
        }
        rows = sum(values.rows for values in found.values())
        yield "rows are accounted for", rows == totals.rows, f"{rows} in the tables, {totals.rows} in the ledger"
        if self._made and self._whole:
            wrong = [name for name, values in self._made.expected.items() if found[name] != values]
            yield "every table holds what it should", not wrong, ", ".join(wrong)

    def close(self) -> None:
        """Close the connection; the tables stay for whoever wants to look."""
        self._connection.close()

    def _found(self, query: str) -> Expected:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(query)
            return Expected(*map(int, fetched_row(cursor)))
