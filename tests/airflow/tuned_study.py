"""A study whose parameters say which argument of a Python task they set, for the tests of `tuned`."""

from __future__ import annotations

import pytest

from pipeline_tuner.store import Store

PARAMETERS = {
    "level": {"type": "integer", "low": 1, "high": 9, "default": 1, "sets": "op_kwargs.level"},
    "mode": {"type": "categorical", "values": ["good", "wrong"], "default": "good", "sets": "op_kwargs.options.mode"},
}


@pytest.fixture
def study(compress):
    """The name of a study whose parameters say which argument they set."""
    return compress(space={"parameters": PARAMETERS})


@pytest.fixture
def promoted(results, study):
    """The study, with a promoted configuration."""
    with Store(results) as store:
        store.promote(study, "size", "mine", {"level": 7, "mode": "wrong"}, actor="ada")
    return study
