"""What AWS Glue's workers are and cost: include/configs/prices.yaml, parsed. No I/O."""

from __future__ import annotations

from datetime import date
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.measurement import first_problem
from pipeline_tuner.space import Frozen

ExecutionClass = Literal["STANDARD", "FLEX"]


class Worker(Frozen):
    """One worker of a type. Its memory and disk are what AWS states; Spark gets less."""

    dpu: float = Field(gt=0)
    vcpu: int = Field(gt=0)
    memory_gb: float = Field(gt=0)
    disk_gb: float = Field(gt=0)
    memory_optimised: bool = False

    @property
    def memory_per_vcpu_gb(self) -> float:
        """What a task has at most, when every core runs one."""
        return self.memory_gb / self.vcpu


class Prices(Frozen):
    """Prices of one region at one date."""

    version: Literal[1]
    as_of: date
    region: str
    currency: str
    minimum_billed_s: float = Field(ge=0)
    dpu_hour: dict[ExecutionClass, float]
    m_dpu_hour: dict[ExecutionClass, float]
    workers: dict[str, Worker]

    def worker(self, name: str) -> Worker:
        """A worker type. Raises StudyError naming those that exist."""
        if name not in self.workers:
            raise StudyError(f"worker type {name!r} is not in the price file; it has {', '.join(self.workers)}")
        return self.workers[name]

    def per_hour(self, worker_type: str, workers: int, execution_class: ExecutionClass = "STANDARD") -> float:
        """The cost of an hour of so many workers. Raises StudyError where the class is not sold for the type."""
        worker = self.worker(worker_type)
        rates = self.m_dpu_hour if worker.memory_optimised else self.dpu_hour
        if execution_class not in rates:
            raise StudyError(f"the price file has no {execution_class} price for {worker_type}")
        return workers * worker.dpu * rates[execution_class]

    def cost(
        self, worker_type: str, dpu_seconds: float, duration_s: float, execution_class: ExecutionClass = "STANDARD"
    ) -> float:
        """The cost of a run, the minimum billed time included. `dpu_seconds` as Glue reports them."""
        billed = max(1.0, self.minimum_billed_s / max(duration_s, 1e-9))
        one = self.per_hour(worker_type, 1, execution_class) / self.worker(worker_type).dpu
        return dpu_seconds * billed * one / 3600

    @property
    def source(self) -> str:
        """Which prices these are, for a report."""
        return f"{self.currency}, {self.region}, as of {self.as_of}"


def parse_prices(text: str) -> Prices:
    """Prices from YAML text. Raises StudyError naming what is wrong."""
    try:
        return Prices.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise StudyError(f"the price file is not YAML: {error}") from None
    except ValidationError as error:
        raise StudyError(f"the price file: {first_problem(error)}") from None
