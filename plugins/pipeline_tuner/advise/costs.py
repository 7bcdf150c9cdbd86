"""What a run on Spark cost: core hours and memory hours, with the prices given to `advise`."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_tuner.advise.advice import RunAdvice
from pipeline_tuner.advise.application import Application

HOUR_MS = 3_600_000
GB = 1e9
CORE_HOUR, GIGABYTE_HOUR = 0.048, 0.0053
"""USD, a general-purpose virtual machine: the prices that the project's own studies use."""


@dataclass(frozen=True)
class Prices:
    """What an hour costs, in any currency."""

    core_hour: float = CORE_HOUR
    gigabyte_hour: float = GIGABYTE_HOUR


@dataclass(frozen=True)
class Cost:
    """What a run used, and what it cost of that to hold cores that had no task."""

    core_hours: float
    gigabyte_hours: float
    idle_core_hours: float
    price: float
    idle_price: float


def executor_ms(app: Application) -> int:
    """The time that executors were there within a run, over all of them (ms)."""
    lives = ((max(each.added, app.started), each.removed_by(app.ended)) for each in app.executors if each.cores)
    return sum(max(0, end - begin) for begin, end in lives)


def cost_of(advice: RunAdvice, prices: Prices) -> Cost | None:
    """The cost of a run's executors (in local mode: of its driver); None where its cores aren't known."""
    breakdown = advice.breakdown
    if breakdown.core_ms is None or breakdown.idle_core_ms is None:
        return None
    app = advice.read.application
    memory_ms = executor_ms(app) * advice.rules.heap_bytes
    core_hours, idle = breakdown.core_ms / HOUR_MS, breakdown.idle_core_ms / HOUR_MS
    gigabyte_hours = memory_ms / HOUR_MS / GB
    price = core_hours * prices.core_hour + gigabyte_hours * prices.gigabyte_hour
    share = idle / core_hours if core_hours else 0.0
    return Cost(core_hours, gigabyte_hours, idle, price, price * share)
