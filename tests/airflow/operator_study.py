"""Studies whose job is an Airflow operator, for the tests of this folder."""

from __future__ import annotations

from typing import Any

BASH = "airflow.providers.standard.operators.bash.BashOperator"
PYTHON = "airflow.providers.standard.operators.python.PythonOperator"
SQL = "airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator"
SPARK = "airflow.providers.apache.spark.operators.spark_submit.SparkSubmitOperator"


def operator_study(
    operator: str, arguments: dict[str, Any], parameters: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    """A study of an operator with one preset, the defaults. `options` are the runner's."""
    return {
        "study": "any_task",
        "job": "any_task",
        "runner": {
            "kind": "operator",
            "operator": operator,
            "arguments": arguments,
            "options": changes.pop("options", {}),
        },
        "workload": {"name": "rows"},
        "space": {"parameters": parameters},
        "presets": {"now": {}},
        "control": "now",
        "goals": {"time": {"minimize": "duration_s", "unit": "s"}},
        "strategy": "presets",
        "budget": {"trials": 12, "blocks": 3, "rounds": 1, "confirm_blocks": 2, "trial_timeout_s": 600},
        **changes,
    }


def integer(low: int, high: int, default: int, sets: str | None = None) -> dict[str, Any]:
    """A parameter that is a whole number."""
    return {"type": "integer", "low": low, "high": high, "default": default, **({"sets": sets} if sets else {})}


def choice(values: list[Any], sets: str | None = None) -> dict[str, Any]:
    """A categorical parameter, the first value its default."""
    return {"type": "categorical", "values": values, "default": values[0], **({"sets": sets} if sets else {})}
