"""Every exception that a user meets. Each message says what to do."""

from __future__ import annotations


class PipelineTunerError(Exception):
    """Base of every error that this project raises on purpose."""


class StudyError(PipelineTunerError, ValueError):
    """A study file is wrong: the message names file, key, value and what would be right."""


class ConfigurationError(PipelineTunerError, ValueError):
    """A configuration does not fit the study's space."""


class MeasurementError(PipelineTunerError):
    """A measurement is missing, stale, foreign or absurd: the trial has failed, whatever its exit code."""


class InfrastructureError(PipelineTunerError):
    """Something around the job failed (an unavailable database, a missing tool). Worth a retry, no evidence."""


class OutdatedSchemaError(InfrastructureError):
    """The results database has no tables yet, or those of an older version."""


class DecisionConflictError(PipelineTunerError):
    """Somebody decided about production after the one who decides now had looked at it."""


class NoRecommendationError(PipelineTunerError):
    """A sweep ended without enough evidence to recommend anything for any goal."""
