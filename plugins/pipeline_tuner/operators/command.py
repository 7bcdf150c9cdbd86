"""`CommandOperator`: a job of one's own as an Airflow task."""

from __future__ import annotations

from pipeline_tuner.operators.base import JobOperator


class CommandOperator(JobOperator):
    """Run the job of any study: a command of `runner.command`, or a program through spark-submit.

    Parameters as in JobOperator. docs/own-job.md says what the program has to do.
    """
