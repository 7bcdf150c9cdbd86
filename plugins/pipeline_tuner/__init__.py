"""Airflow Pipeline Tuner: which settings should this job run with, and how sure are we?"""

__version__ = "0.1.0"
