"""Connections for jobs that run in the process of the tests: variables that last for one test."""

from __future__ import annotations

import pytest

_PATCH = pytest.MonkeyPatch()


def set_variable(name: str, value: str) -> None:
    """Set an environment variable until the end of the running test (`job_variables` of conftest.py)."""
    _PATCH.setenv(name, value)


def forget_variables() -> None:
    """Take back what the test set."""
    _PATCH.undo()
