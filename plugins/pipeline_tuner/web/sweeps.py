"""The sweep that an address names, for everybody who reads or acts on one."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from pipeline_tuner.store.page_reads import Row
from pipeline_tuner.web.rendering import page_reads
from pipeline_tuner.web.security import require_read


def known_sweep(sweep_id: str) -> Row:
    """The whole row of a sweep; raises 404 where there is none."""
    row = page_reads().sweep(sweep_id)
    if row is None:
        raise HTTPException(404, "No such sweep")
    return row


def readable_sweep(user: Any, sweep_id: str) -> Row:
    """The row of a sweep that the user may see; raises 404, or 403 without the permission to read its DAG."""
    row = known_sweep(sweep_id)
    require_read(user, row["dag_id"])
    return row
