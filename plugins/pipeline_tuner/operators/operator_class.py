"""Which operator class runs which job: the one that its description names, else `CommandOperator`."""

from __future__ import annotations

from pkgutil import resolve_name

from pipeline_tuner.jobs import description_of
from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.operators.command import CommandOperator


def operator_for(job: str) -> type[JobOperator]:
    """The operator class of a job."""
    description = description_of(job)
    if description is None:
        return CommandOperator
    found: type[JobOperator] = resolve_name(description.operator)
    return found
