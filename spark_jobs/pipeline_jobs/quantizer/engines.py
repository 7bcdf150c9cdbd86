"""What computes the states of the smallest windows inside a task: a parameter of the job.

All engines give the same states. `compiled` sorts and walks the points once; `duckdb` and `polars` group them with
their own operators. Larger windows are merged from the smallest by the same code for all.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline_jobs.quantizer.kernel import States
from pipeline_jobs.quantizer.rollup import Points, finest_states


def _compiled(points: Points, resolution_us: int, drop_repeats: bool) -> tuple[States, int]:
    return finest_states(points, resolution_us, drop_repeats=drop_repeats)


ENGINES: dict[str, Callable[[Points, int, bool], tuple[States, int]]] = {"compiled": _compiled}


def finest_by(engine: str, points: Points, resolution_us: int, drop_repeats: bool) -> tuple[States, int]:
    """The states of the smallest windows, in order of series and time, and the repeated points left out."""
    return ENGINES[engine](points, resolution_us, drop_repeats)
