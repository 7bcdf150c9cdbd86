"""The runners: how a job is run. The operator never knows which runner it has."""

from pipeline_tuner.runners.base import Runner, TrialFailedError, TrialRun
from pipeline_tuner.runners.runner_of_study import runner_for

__all__ = ["Runner", "TrialFailedError", "TrialRun", "runner_for"]
