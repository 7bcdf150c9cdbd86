"""Airflow Pipeline Tuner: which settings should this job run with, and how sure are we?"""

from pipeline_tuner.tuned_task import tuned

__all__ = ["tuned"]
__version__ = "0.1.0"
