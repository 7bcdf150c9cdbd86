"""The documents' own configurations and claims are in the studies, in their own numbers.

The values below are restated from the checklist of what the documents ask for; a change of a list must agree with it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tuner.analysis.claim_lists import lists_of
from pipeline_tuner.study import load_study, parse_study

CONFIGS = Path(__file__).parents[2] / "include" / "configs"


def listed(study_name, list_name):
    """The list's whole configurations, without the control that runs beside it."""
    return lists_of(load_study(CONFIGS / f"{study_name}.yaml"))[list_name][1:]


def has(configurations, **values):
    """Whether one of the configurations has all of these values."""
    return any(all(one.get(name) == value for name, value in values.items()) for one in configurations)


@pytest.mark.parametrize(
    ("partitions", "batch", "fetch", "memory"),
    [(12, 50, 2000, "2g"), (18, 75, 3000, "3g"), (24, 100, 5000, "3g"), (40, 50, 2000, "3g"), (20, 100, 5000, "3g")],
)
def test_the_five_presets_of_the_migration_report(partitions, batch, fetch, memory):
    found = listed("migration", "migration_report")
    tuned = {"partitions": partitions, "parallelism": partitions, "batch_size": batch, "fetch_size": fetch}
    limits = {"origin_rate_limit": 20_000, "target_rate_limit": 20_000}
    assert has(found, **tuned, **limits, cores=6, driver_memory=memory, method="jdbc")
    assert len(found) == 5
    if memory == "3g":
        assert has(
            listed("migration", "migration_report_unlimited"),
            **tuned,
            cores=6,
            driver_memory=memory,
            target_rate_limit=0,
        )


def test_migration_report_range_of_15_to_18_partitions():
    found = listed("migration", "migration_report_options")
    assert all(
        has(found, partitions=partitions, parallelism=partitions, batch_size=batch, fetch_size=fetch)
        for partitions in (15, 18)
        for batch, fetch in ((75, 3000), (100, 5000))
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(
            ("streaming_report", {"records": 1000, "worker_num": 4, "batch_size": batch})
            for batch in (10, 50, 100, 500)
        ),
        *(
            ("streaming_report", {"records": 1000, "batch_size": 100, "worker_num": workers})
            for workers in (1, 2, 4, 8)
        ),
        *(("streaming_report", {"batch_size": 100, "worker_num": 4, "records": r}) for r in (100, 500, 1000, 2000)),
        *(
            ("streaming_report", {"records": 500, "batch_size": 100, "worker_num": 4, "manager_worker_num": pipelines})
            for pipelines in (1, 2, 4)
        ),
        ("streaming_report", {"records": 5000, "batch_size": 500, "worker_num": 8}),
        ("streaming_report", {"batch_size": 50, "worker_num": 2}),
        ("streaming_report", {"batch_size": 50, "worker_num": 4, "manager_worker_num": 4}),
        ("in_memory_report", {"records": 5000, "batch_size": 500, "worker_num": 8}),
        ("in_memory_report", {"records": 5000, "batch_size": 128, "worker_num": 4}),
        *(("in_memory_report", {"records": records}) for records in (100, 1000, 5000)),
    ],
)
def test_the_reports_on_the_heavy_record(name, values):
    """Batches are what their number of records says: no limit of bytes cuts them before."""
    found = [one for one in listed("streaming_etl_memory", name) if one["record"] == "heavy"]
    assert has(found, **values)
    assert all(one["batch_bytes"] >= one["batch_size"] * 100_000 for one in found)


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 128, "worker_num": 4, "timeout_s": 0.1, "transform": "own"},
        {"batch_size": 128, "worker_num": 4, "timeout_s": 30},
        *({"batch_size": 128, "worker_num": 4, "records": records} for records in (100, 1000, 5000)),
        {"batch_size": 500, "worker_num": 8, "records": 5000},
        {"batch_size": 64, "worker_num": 3, "transform": "light"},
        {"batch_size": 256, "worker_num": 6, "transform": "heavy"},
        {"batch_size": 500, "worker_num": 8, "transform": "network", "transform_concurrency": 10},
    ],
)
def test_in_memory_report_on_the_compact_record(values):
    assert has(
        [one for one in listed("streaming_etl_memory", "in_memory_report") if one["record"] == "compact"], **values
    )


@pytest.mark.parametrize(
    "values",
    [
        *({"batch_size": batch, "worker_num": 4} for batch in (50, 100, 500)),
        {"batch_size": 1000, "pool_size": 2},
    ],
)
def test_the_reports_with_databases(values):
    assert has(listed("streaming_etl", "documented"), **values)


def test_deduplication_guide_from_400_partitions_to_100_and_75_and_50():
    before, first, second, third, after = listed("dedup", "deduplication_guide")
    assert (before["shuffle_partitions"], before["strategy"], before["counts"]) == (400, "window", "count")
    assert before["write_partitions"] == 0
    changes = [dict(later.items() - earlier.items()) for earlier, later in zip(
        (before, first, second, third), (first, second, third, after), strict=True
    )]  # fmt: skip
    assert changes == [
        {"shuffle_partitions": 100},
        {"write_partitions": 50},
        {"strategy": "baseline", "window_partitions": 75},
        {"counts": "none"},
    ]
    switches = ("adaptive", "spark.sql.adaptive.coalescePartitions.enabled", "spark.sql.adaptive.skewJoin.enabled")
    assert all(after[name] is True for name in switches)


def test_deduplication_guide_on_glue_has_30_workers_of_both_types_and_the_cloud_settings():
    text = (CONFIGS / "dedup.yaml").read_text().replace("kind: spark_submit ", "kind: glue ").replace("warm: true", "")
    found = lists_of(parse_study(text))["deduplication_guide_glue"][1:]
    after = {"strategy": "baseline", "window_partitions": 75, "shuffle_partitions": 100, "write_partitions": 50}
    assert has(found, worker_type="G.2X", workers=30, shuffle_partitions=400, counts="count")
    assert all(has(found, **after, worker_type=worker, workers=30) for worker in ("G.2X", "G.4X"))
    assert has(found, **after, worker_type="G.4X", shuffle_to_s3=True)
    assert has(found, **after, worker_type="G.4X", auto_scaling=True, **{"spark.dynamicAllocation.enabled": True})


AFTER_004 = {
    "spark.memory.fraction": 0.8,
    "spark.memory.storageFraction": 0.3,
    "spark.cleaner.periodicGC.interval": "30s",
    "spark.shuffle.file.buffer": "1m",
    "spark.shuffle.unsafe.file.output.buffer": "5m",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    "spark.kryoserializer.buffer.max": "128m",
    "spark.sql.inMemoryColumnarStorage.compressed": True,
    "spark.sql.inMemoryColumnarStorage.batchSize": 20_000,
    "shuffle_partitions": 1000,
    "adaptive": True,
    "spark.sql.adaptive.coalescePartitions.enabled": True,
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "128m",
    "cache_input": True,
    "read_partitions": 200,
    "write_partitions": 200,
    "sort_metrics": True,
    "fanout": True,
    "target_file_bytes": 128 * 2**20,
    "split_bytes": 256 * 2**20,
    "distribution": "hash",
    "delete_after_commit": True,
    "previous_versions": 10,
    "format_version": 2,
}
DEFAULTS_OF_SPARK = {
    "spark.memory.fraction": 0.6,
    "spark.memory.storageFraction": 0.5,
    "spark.cleaner.periodicGC.interval": "30min",
    "spark.shuffle.file.buffer": "32k",
    "spark.shuffle.unsafe.file.output.buffer": "32k",
    "spark.serializer": "org.apache.spark.serializer.JavaSerializer",
    "spark.kryoserializer.buffer.max": "64m",
    "shuffle_partitions": 200,
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "64m",
}


def test_quantizer_guide_before_and_after():
    before, after = listed("quantizer", "quantizer_guide")
    assert has([after], shape="baseline", **AFTER_004)
    assert has([before], shape="baseline", **DEFAULTS_OF_SPARK)
    assert has([before], cache_input=False, read_partitions=0, write_partitions=0, distribution="none")
    flags = after["spark.driver.extraJavaOptions"].split()
    wanted = {
        "-XX:+UseG1GC",
        "-XX:InitiatingHeapOccupancyPercent=35",
        "-XX:G1HeapRegionSize=16m",
        "-XX:ConcGCThreads=4",
    }
    assert wanted <= set(flags)


def test_quantizer_guide_chunks_of_five_minutes():
    chunked, whole = {"chunk_ms": 300_000}, {"chunk_ms": 0}
    assert all(has(listed("quantizer", "quantizer_guide_chunks"), **one) for one in (chunked, whole))


@pytest.mark.parametrize(
    ("name", "source", "sizes"),
    [
        # previous best, balanced, 20 partitions and the target, each over 2,554 rows/s; then the figures themselves
        ("migration", "migration report", ["1.24", "1.17..1.37", "1.25..1.49", "1.37..1.57"]),
        (
            "migration",
            "migration report",
            ["97", "79", "2554", "3159", "3192", "3000..3500", "3200..3800", "3500..4000"],
        ),
        ("streaming_etl", "streaming report", ["2", "1.67", "1500", "2500", "5000"]),
        ("streaming_etl", "in-memory report", ["5000..10000"]),
        # batches, workers (48%, 1%, 7%), pipelines, "optimal"
        ("streaming_etl_memory", "streaming report", ["1.27", "1.48", "1.01", "1.07", "1.34", "1.62", "2.46", "1.17"]),
        ("streaming_etl_memory", "streaming report", ["45000..46000", "70000", "0.6", "0.9", "0.022", "100000000"]),
        ("streaming_etl_memory", "in-memory report", ["550", "2.8", "5", "2140000", "275000000", "500000"]),
        ("dedup", "deduplication guide", ["1.77..", "..0.8"]),
        ("quantizer", "quantizer guide", ["1.43..2", "360..540"]),
    ],
)
def test_the_documents_figures_are_claims_with_their_size(name, source, sizes):
    claims = [claim for claim in load_study(CONFIGS / f"{name}.yaml").claims if claim.source == source]
    said = {str(size) for claim in claims for size in (claim.ratio, claim.value) if size is not None}
    assert set(sizes) <= said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("migration", ["start-up", "first partition", "last partition", "rate limit", "memory is not the bottleneck"]),
        (
            "streaming_etl_memory",
            ["47 times", "550 times", "a twelfth", "memory grows", "L2", "only 1%", "only 7%"],
        ),
        ("dedup", ["before the write", "G.4X", "utilisation", "17.7 GB", "75 partitions", "400", "executors die"]),
        (
            "quantizer",
            ["execution memory", "shuffle buffers", "Kryo", "1,000 shuffle", "S3", "G1", "executors"],
        ),
    ],
)
def test_the_documents_statements_are_claims(name, words):
    texts = " | ".join(claim.text for claim in load_study(CONFIGS / f"{name}.yaml").claims)
    assert [word for word in words if word not in texts] == []


def test_a_warning_is_no_advice():
    """`4 workers add only 1%` warns: its verdict is about the size, and nothing prefers four workers by it."""
    claims = load_study(CONFIGS / "streaming_etl_memory.yaml").claims
    assert all(claim.ratio is not None for claim in claims if "add only" in claim.text)
