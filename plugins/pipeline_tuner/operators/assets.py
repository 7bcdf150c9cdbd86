"""The name of the Airflow asset alias that gets an event when a sweep recommends another configuration."""

from __future__ import annotations

from airflow.sdk import AssetAlias


def changed_alias(study: str) -> AssetAlias:
    """Gets an event when a sweep of the study recommends another configuration than the last one did."""
    return AssetAlias(f"pipeline_tuner_{study}_changed")
