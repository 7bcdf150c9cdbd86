"""The data of a trial: made or found before the clock starts, and what is known of it; a part of it for screening."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline_jobs.contract import BadConfigurationError, TrialConfig, data_folder
from pipeline_jobs.dedup.generated_data import FLIGHTS_RULE, GENERATED_RULE, ensure_flights, ensure_generated
from pipeline_jobs.dedup.options import Rule, Source, dedup_options, made_options


@dataclass(frozen=True)
class Data:
    """A source with its workload options completed. `folder` holds the files of a workload made here."""

    source: Source
    workload: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    rows: int | None = None
    folder: Path | None = None
    part: Source | None = None
    """One file of the workload, for a warm-up; None where a warm-up has to read it all."""


def prepare_data(config: TrialConfig) -> Data:
    """The data of a trial: `generated`, `flights`, or the workload's own `source`. Raises BadConfigurationError."""
    workload = dict(config.workload)
    if workload.get("source"):
        source = dedup_options(config).source
        assert source is not None
        return Data(source, workload, {"name": workload.get("name", ""), "format": source.format, "path": source.path})
    made = made_options(config)
    kind, folder = made.data or made.name, data_folder() / made.folder
    if kind == "flights":
        return _made(ensure_flights(config.fraction, folder), workload, FLIGHTS_RULE)
    if kind == "generated":
        return _made(ensure_generated(made.generator, config.fraction, folder), workload, GENERATED_RULE)
    raise BadConfigurationError(f"workload {kind!r} is unknown: give a 'source', or data: 'generated' or 'flights'")


def _made(folder: Path, workload: Mapping[str, Any], rule: Rule) -> Data:
    files = sorted((folder / "records").glob("*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    size = sum(file.stat().st_size for file in files)
    known = json.loads((folder / "workload.json").read_text())
    made_by = {part: known.pop(part) for part in ("version", "seed") if part in known}
    if made_by:
        known["generator"] = ", ".join(f"{part} {value}" for part, value in made_by.items())
    defaults = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(rule).items()}
    return Data(
        source=Source("parquet", str(folder / "records")),
        workload={**defaults, **workload},
        fingerprint={"rows": rows, "bytes": size, **known},
        rows=rows,
        folder=folder,
        part=Source("parquet", str(files[0])) if files else None,
    )
