"""The form that starts a sweep: its fields are the trigger form's, and what it chose is what a run takes."""

from __future__ import annotations

import pytest
from tests.unit.planted import planted_study
from tests.unit.planted_jobs import JOBS, job_study

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import Budget
from pipeline_tuner.sweep import sweep_options
from pipeline_tuner.sweep_form import chosen_in, form_of

STUDY = planted_study()


def as_served(study):
    """The texts that a browser sends for the form as it is prefilled."""
    texts = {}
    for field in form_of(study):
        values = field.default if isinstance(field.default, tuple) else [field.default]
        texts[field.name] = ["" if value is None else str(value) for value in values]
    return texts


@pytest.mark.parametrize("job", JOBS)
def test_the_form_as_it_is_prefilled_starts_the_studys_own_sweep(job):
    study = job_study(job)
    chosen = chosen_in(form_of(study), as_served(study))
    assert sweep_options(study, "s", chosen) == sweep_options(study, "s")


def test_every_option_of_a_budget_that_a_run_may_change_is_in_the_form():
    left = {"indifference", "confidence", "batch", "warmups", "trial_timeout_s", "alpha"}
    assert set(Budget.model_fields) - {field.name for field in form_of(STUDY)} <= left


def test_what_was_changed_is_what_the_run_takes():
    texts = as_served(STUDY) | {
        "trials": ["12"],
        "goals": ["cost", "throughput"],
        "minutes": ["2.5"],
        "size": ["small"],
    }
    options = sweep_options(STUDY, "s", chosen_in(form_of(STUDY), texts))
    assert (options.budget.trials, options.budget.minutes, options.size) == (12, 2.5, "small")
    assert options.goals == ("throughput", "cost"), "in the study's order"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("trials", "many", "Trials: 'many' is no integer"),
        ("trials", "1.5", "is no integer"),
        ("minutes", "soon", "Minutes: 'soon' is no number"),
        ("strategy", "guess", "Strategy: 'guess' is none of"),
        ("goals", "speed", "Goals: 'speed' is none of"),
    ],
)
def test_what_is_no_choice_is_refused_by_the_fields_name(name, text, words):
    with pytest.raises(StudyError, match=words):
        chosen_in(form_of(STUDY), as_served(STUDY) | {name: [text]})
