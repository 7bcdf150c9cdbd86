"""The sample of the keys for `auto`: one pass over the key columns, without a shuffle."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline_jobs.dedup.auto_strategy import UNSAMPLED, Choice, Probe, choose, probe_of, sampling_divisor
from pipeline_jobs.dedup.options import Rule, Source
from pipeline_jobs.dedup.readers import COLUMNAR

ROW_BYTES_GUESS = 100
SEED = 1


def choose_strategy(records: DataFrame, rule: Rule, source: Source, *, with_columnar: bool = False) -> Choice:
    """The strategy for these records, from a sample where the format lets one read only the keys.

    `with_columnar`: the columnar engine can reduce the files, in several tasks.
    """
    if source.format not in COLUMNAR:
        return UNSAMPLED
    started = time.monotonic()
    choice = choose(probe(records, rule), with_columnar=with_columnar)
    return replace(choice, took_s=time.monotonic() - started)


def probe(records: DataFrame, rule: Rule) -> Probe:
    """How keys, duplicates and sizes lie in the records, from about 20,000 to 40,000 sampled ones."""
    size_bytes = float(records._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())
    one_in = sampling_divisor(size_bytes / ROW_BYTES_GUESS)
    key = F.xxhash64(*rule.key).bitwiseAND(F.lit((1 << 62) - 1))
    # Lengths come after the choice: what is computed for every record is what sampling costs.
    marked = records.select(
        *rule.key,
        key.alias("_hash"),
        F.spark_partition_id().alias("_task"),
        (F.rand(SEED) < 1 / one_in).alias("_random"),
    )
    length = F.octet_length(F.concat_ws("", *(F.col(name).cast("string") for name in rule.key)))
    sampled = marked.where((F.col("_hash") % one_in == 0) | F.col("_random"))
    table = sampled.select("_hash", "_task", "_random", length.alias("_key_bytes")).toArrow()
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    return probe_of(
        columns["_hash"],
        columns["_task"],
        columns["_random"].astype(bool),
        one_in=one_in,
        size_bytes=size_bytes,
        key_bytes=max(8.0, float(columns["_key_bytes"].mean())) if table.num_rows else 8.0,
        driver_memory_bytes=_heap_bytes(records),
    )


def _heap_bytes(records: DataFrame) -> float:
    jvm: Any = records.sparkSession._jvm
    return float(jvm.Runtime.getRuntime().maxMemory())
