"""The only module of ours that Airflow's plugin loader sees."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from pipeline_tuner import airflow_pools
from pipeline_tuner.operators import tuned_ends
from pipeline_tuner.web.mount import EXTERNAL_VIEWS, FASTAPI_APPS


class PipelineTunerPlugin(AirflowPlugin):
    """Airflow Pipeline Tuner: the pool that trials run in, and the page."""

    name = "pipeline_tuner"
    listeners = [airflow_pools, tuned_ends]
    fastapi_apps = FASTAPI_APPS
    external_views = EXTERNAL_VIEWS
