"""The maintenance procedures of the rollups' table: compaction, manifests, snapshots, orphan files."""

from __future__ import annotations

import time
from collections.abc import Callable

from pyspark.sql import SparkSession

from pipeline_jobs.quantizer import iceberg
from pipeline_jobs.quantizer.position import TAG, position_snapshot

DAY_S = 86_400


def rewrite_data_files(spark: SparkSession, table: str, *, target_bytes: int = 536_870_912) -> dict[str, float]:
    """Pack small files of a partition into files of about `target_bytes` (binpack), and apply all deletes."""
    keep_position(spark, table)
    row = spark.sql(
        f"CALL lake.system.rewrite_data_files(table => '{table}', strategy => 'binpack', options => map("
        f"'target-file-size-bytes', '{target_bytes}', 'min-input-files', '2', 'delete-file-threshold', '1', "
        "'remove-dangling-deletes', 'true'))"
    ).first()
    assert row is not None
    return {"rewritten_files": row["rewritten_data_files_count"], "added_files": row["added_data_files_count"]}


def rewrite_manifests(spark: SparkSession, table: str) -> dict[str, float]:
    """Fewer manifests, so that planning reads less."""
    keep_position(spark, table)
    row = spark.sql(f"CALL lake.system.rewrite_manifests(table => '{table}')").first()
    assert row is not None
    return {"rewritten_manifests": row["rewritten_manifests_count"], "added_manifests": row["added_manifests_count"]}


def expire_snapshots(
    spark: SparkSession, table: str, *, keep_last: int = 10, older_than_s: float = 5 * DAY_S
) -> dict[str, float]:
    """Forget snapshots beyond the newest ones, and delete what only they refer to. The position is kept by a tag."""
    keep_position(spark, table)
    before = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - older_than_s))
    row = spark.sql(
        f"CALL lake.system.expire_snapshots(table => '{table}', older_than => TIMESTAMP '{before}', "
        f"retain_last => {keep_last})"
    ).first()
    assert row is not None
    return {
        "deleted_data_files": row["deleted_data_files_count"],
        "deleted_manifests": row["deleted_manifest_files_count"],
    }


def remove_orphan_files(spark: SparkSession, table: str, *, older_than_s: float = 3 * DAY_S) -> dict[str, float]:
    """Delete files that no snapshot refers to: what killed batches left. Never while a batch runs, unless
    `older_than_s` is longer than a batch takes."""
    action = iceberg.iceberg(spark).spark.actions.SparkActions.get(spark._jsparkSession)
    found = action.deleteOrphanFiles(iceberg.load(spark, table)).olderThan(int((time.time() - older_than_s) * 1000))
    result = found.execute()
    return {"deleted_files": float(sum(1 for _ in result.orphanFileLocations()))}


def keep_position(spark: SparkSession, table: str) -> None:
    """Tag the newest snapshot that holds the position, so that nothing expires it."""
    snapshot = position_snapshot(iceberg.load(spark, table))
    if snapshot is not None:
        spark.sql(f"ALTER TABLE {table} CREATE OR REPLACE TAG {TAG} AS OF VERSION {snapshot} RETAIN 36500 DAYS")


TASKS: dict[str, Callable[..., dict[str, float]]] = {
    "rewrite_data_files": rewrite_data_files,
    "rewrite_manifests": rewrite_manifests,
    "expire_snapshots": expire_snapshots,
    "remove_orphan_files": remove_orphan_files,
}
