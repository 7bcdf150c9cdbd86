"""The list of the jobs that come with the plugin, each with its description.

Code for every job asks here and names none. A new job is a module with its DESCRIPTION, and its name in JOBS.
"""

from __future__ import annotations

from pipeline_tuner.jobs import dedup, migration, quantizer, streaming_etl
from pipeline_tuner.jobs.description import JobDescription

JOBS = {one.DESCRIPTION.job: one.DESCRIPTION for one in (dedup, migration, quantizer, streaming_etl)}


def description_of(job: str) -> JobDescription | None:
    """The description of a job; None for a job of the user's own."""
    return JOBS.get(job)
