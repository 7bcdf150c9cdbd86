"""The results database: what was planned, measured and recommended. PostgreSQL, schema `pipeline_tuner`."""

from pipeline_tuner.store.migrate import migrate
from pipeline_tuner.store.store import Store

__all__ = ["Store", "migrate"]
