"""AWS Glue's worker types and prices: reads and checks include/configs/prices.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.problems import problems_of
from pipeline_tuner.space import Frozen
from pipeline_tuner.study_yaml import read_text, read_yaml

ExecutionClass = Literal["STANDARD", "FLEX"]

DEFAULT_GLUE = "5.1"
"""The version of Glue that trials run on where a study names none."""


class Worker(Frozen):
    """One worker of a type. Its memory is what AWS states; Spark gets less."""

    dpu: float = Field(gt=0)
    vcpu: int = Field(gt=0)
    memory_gb: float = Field(gt=0)
    free_disk_gb: float | None = Field(default=None, gt=0)
    """Free for shuffle files, by AWS's word; None where AWS doesn't say."""
    memory_optimised: bool = False

    @property
    def memory_per_vcpu_gb(self) -> float:
        """What a task has at most, when every core runs one."""
        return self.memory_gb / self.vcpu


class Rates(Frozen):
    """What a DPU-hour costs, from a version of Glue on."""

    glue: str = Field(pattern=r"^\d+\.\d+$")
    STANDARD: float = Field(gt=0)
    FLEX: float = Field(gt=0)
    m_dpu: float = Field(gt=0)
    """Of an M-DPU-hour: R workers, which have no FLEX."""
    unverified: tuple[Literal["STANDARD", "FLEX", "m_dpu"], ...] = ()
    """Rates that nobody of this project has seen on AWS's own page."""


@dataclass(frozen=True)
class Rate:
    """What one DPU-hour costs, and whether the price file vouches for it."""

    value: float
    is_verified: bool
    what: str


class Prices(Frozen):
    """Prices of one region at one date."""

    version: Literal[2]
    as_of: date
    region: str
    currency: str
    minimum_billed_s: float = Field(ge=0)
    rates: tuple[Rates, ...] = Field(min_length=1)
    workers: dict[str, Worker]

    def worker(self, name: str) -> Worker:
        """A worker type. Raises StudyError naming those that exist."""
        if name not in self.workers:
            raise StudyError(f"worker type {name!r} is not in the price file; it has {', '.join(self.workers)}")
        return self.workers[name]

    def rate(self, worker_type: str, execution_class: ExecutionClass = "STANDARD", glue: str = DEFAULT_GLUE) -> Rate:
        """The price of a DPU-hour. Raises StudyError where it is not sold, or not in the file."""
        is_m = self.worker(worker_type).memory_optimised
        if is_m and execution_class != "STANDARD":
            raise StudyError(f"the price file has no {execution_class} price for {worker_type}")
        rates = self._rates_of(glue)
        name = "m_dpu" if is_m else execution_class
        what = f"the price of {'R workers' if is_m else f'a DPU-hour ({execution_class})'} on Glue {glue}"
        return Rate(getattr(rates, name), name not in rates.unverified, what)

    def per_hour(
        self,
        worker_type: str,
        workers: int,
        execution_class: ExecutionClass = "STANDARD",
        glue: str = DEFAULT_GLUE,
    ) -> float:
        """The cost of an hour of so many workers. Raises StudyError where the class is not sold for the type."""
        return workers * self.worker(worker_type).dpu * self.rate(worker_type, execution_class, glue).value

    def cost(
        self,
        worker_type: str,
        dpu_seconds: float,
        duration_s: float,
        execution_class: ExecutionClass = "STANDARD",
        glue: str = DEFAULT_GLUE,
    ) -> float:
        """The cost of a run, the minimum billed time included. `dpu_seconds` as Glue reports them."""
        billed = max(1.0, self.minimum_billed_s / max(duration_s, 1e-9))
        return dpu_seconds * billed * self.rate(worker_type, execution_class, glue).value / 3600

    def source(self, worker_type: str, execution_class: ExecutionClass = "STANDARD", glue: str = DEFAULT_GLUE) -> str:
        """Which prices a cost was computed by, for whoever reads the cost."""
        rate = self.rate(worker_type, execution_class, glue)
        doubt = "" if rate.is_verified else f"; {rate.what} is unverified: check it on AWS's page"
        return f"{self.currency}, {self.region}, as of {self.as_of}{doubt}"

    def _rates_of(self, glue: str) -> Rates:
        fitting = [rates for rates in self.rates if _version(rates.glue) <= _version(glue)]
        if not fitting:
            raise StudyError(f"the price file has no prices for Glue {glue}: it begins at {self.rates[0].glue}")
        return max(fitting, key=lambda rates: _version(rates.glue))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def load_prices(path: Path) -> Prices:
    """Prices from a file. Raises StudyError naming what is wrong."""
    return parse_prices(read_text(path))


def parse_prices(text: str) -> Prices:
    """Prices from YAML text. Raises StudyError with a line for each problem."""
    document = read_yaml(text, source="the price file")
    found = list(document.problems)
    try:
        prices = Prices.model_validate(document.values)
    except ValidationError as error:
        found += problems_of(error, Prices, document.values)
    if found:
        raise StudyError("\n".join(f"the price file:{document.line(one.path)}: {one}" for one in found))
    return prices
