"""What Airflow's provider manager is told of this package (entry point `apache_airflow_provider`)."""

from __future__ import annotations

from typing import Any

from pipeline_tuner import __version__

NAME = "Airflow Pipeline Tuner"


def get_provider_info() -> dict[str, Any]:
    """Name, description and version, as Airflow's provider schema asks for them."""
    return {
        "package-name": "airflow-pipeline-tuner",
        "name": NAME,
        "description": "Measures a data job's settings and says which to use, and how sure it is.",
        "versions": [__version__],
    }
