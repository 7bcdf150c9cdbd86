"""The SQL statements of a study that read a run's metrics through Airflow connections."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException

from pipeline_tuner.exceptions import InfrastructureError, MeasurementError
from pipeline_tuner.operator_job import Statement
from pipeline_tuner.runners.captured_log import error_words


def value_of(key: str, statement: Statement) -> Any:
    """The first value that a statement gives; None where it gives none. Raises MeasurementError."""
    hook = hook_of(statement.conn_id)
    try:
        row = hook.get_first(statement.sql)
    except Exception as error:
        raise MeasurementError(f"runner.options.{key}: {error_words(error)}") from None
    return row[0] if row else None


def number(name: str, value: Any) -> float:
    """A statement's value as a number. Raises MeasurementError."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise MeasurementError(f"runner.options.metrics.{name}: the statement gave {value!r}, no number") from None


def hook_of(conn_id: str) -> Any:
    """The SQL hook of a connection. Raises InfrastructureError."""
    try:
        hook = BaseHook.get_hook(conn_id)
    except AirflowException as error:
        raise InfrastructureError(f"connection {conn_id!r} of runner.options can't be used: {error}") from None
    if not hasattr(hook, "get_first"):
        raise InfrastructureError(f"connection {conn_id!r} of runner.options knows no SQL")
    return hook
