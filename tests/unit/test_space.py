"""Parameters and spaces: levels, positions, conditions, constraints."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.space import Parameter, Space, configuration_id, difference

SPACE = Space(
    parameters={
        "method": Parameter(type="categorical", values=("copy", "jdbc"), default="copy"),
        "partitions": Parameter(type="integer", low=1, high=64, log=True, default=4),
        "fetch_size": Parameter(type="integer", values=(100, 1000, 5000), default=1000, when="method == 'jdbc'"),
        "cores": Parameter(type="integer", low=1, high=4, default=2),
    },
    constraints=("partitions >= cores",),
)


def test_inactive_parameters_are_left_out():
    assert SPACE.complete({"fetch_size": 100}) == {"method": "copy", "partitions": 4, "cores": 2}
    assert SPACE.complete({"method": "jdbc"})["fetch_size"] == 1000


def test_a_broken_constraint_names_the_values():
    with pytest.raises(ConfigurationError, match=r"partitions >= cores.*cores=4, partitions=2"):
        SPACE.checked({"partitions": 2, "cores": 4})


@pytest.mark.parametrize(
    ("partial", "message"),
    [
        ({"partition": 4}, "partition: no such parameter; did you mean 'partitions'"),
        ({"partitions": 65}, "partitions is 65, must be from 1 to 64"),
        ({"partitions": 1.5}, "must be a whole number"),
        ({"partitions": True}, "must be a whole number"),
        ({"partitions": math.nan}, "must be a whole number"),
        ({"method": "ftp"}, "must be one of copy, jdbc"),
    ],
)
def test_a_wrong_value_says_what_would_be_right(partial, message):
    with pytest.raises(ConfigurationError, match=message):
        SPACE.checked(partial)


def test_the_grid_holds_every_valid_combination_once():
    grid = list(SPACE.grid(levels=3))
    assert len({configuration_id(c) for c in grid}) == len(grid)
    assert all(SPACE.problem(c) is None for c in grid)
    # partitions 1, 8, 64 x cores 1, 2 or 3, 4, less those with fewer partitions than cores
    assert len([c for c in grid if c["method"] == "copy"]) == 7
    assert len([c for c in grid if c["method"] == "jdbc"]) == 21


def test_identity_ignores_the_order_of_keys():
    assert configuration_id({"a": 1, "b": 2}) == configuration_id({"b": 2, "a": 1})
    assert configuration_id({"a": 1}) != configuration_id({"a": 2})


def test_difference_reads_like_a_setting():
    assert difference({"a": 1, "b": 3}, {"a": 1, "b": 2}) == "b=3"
    assert difference({"a": 1}, {"a": 1}) == "as control"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"type": "categorical", "default": "a"}, "needs 'values'"),
        ({"type": "choice", "values": ["a"], "default": "a"}, "is 'choice', which is called 'categorical'"),
        ({"type": "number", "low": 1, "high": 2, "default": 1}, "is 'number', which is called 'float'"),
        ({"type": "boolean", "default": True}, r"'boolean', which is 'categorical' with values: \[false, true\]"),
        ({"type": "categorical", "values": [0, 1], "default": False}, "is false, must be one of 0, 1"),
        ({"type": "integer", "default": 1}, "both 'low' and 'high'"),
        ({"type": "integer", "low": 0, "high": 8, "log": True, "default": 1}, "above 0"),
        ({"type": "integer", "low": 1, "high": 8, "default": 9}, "must be from 1 to 8"),
    ],
)
def test_a_wrong_parameter_is_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        Parameter(**values)


@given(low=st.integers(1, 1000), width=st.integers(1, 10_000), log=st.booleans(), fraction=st.floats(0, 1))
def test_position_is_the_inverse_of_at(low, width, log, fraction):
    parameter = Parameter(type="float", low=low, high=low + width, log=log, default=low)
    value = parameter.at(fraction)
    assume(parameter.problem(value) is None)  # rounding may step over a bound by one unit in the last place
    assert parameter.position(value) == pytest.approx(fraction, abs=1e-6)


@given(st.integers(2, 9), st.booleans())
def test_levels_span_the_range(count, log):
    parameter = Parameter(type="integer", low=1, high=1000, log=log, default=1)
    levels = parameter.levels(count)
    assert (levels[0], levels[-1]) == (1, 1000)
    assert list(levels) == sorted(set(levels))


def test_a_search_sees_only_the_levels_that_are_to_be_tried():
    space = Space.model_validate({
        "parameters": {
            "tasks": {"type": "integer", "low": 1, "high": 1000, "default": 8, "tried": [1, 4, 16]},
            "heap": {"type": "categorical", "values": ["1g", "2g"], "default": "2g", "tried": []},
            "fast": {"type": "categorical", "values": [False, True], "default": False, "tried": [True]},
            "codec": {"type": "categorical", "values": ["zstd", "gzip"], "default": "zstd"},
        },
    })  # fmt: skip
    seen = {name: parameter.levels() for name, parameter in space.searched.parameters.items()}
    assert seen == {"tasks": (1, 4, 16), "heap": ("2g",), "fast": (True,), "codec": ("zstd", "gzip")}
    assert space.checked({"tasks": 999, "heap": "1g"})["tasks"] == 999


def test_a_level_to_try_must_be_in_the_range():
    with pytest.raises(ValueError, match="tried, entry 2: is 9, must be from 1 to 8"):
        Space.model_validate({
            "parameters": {"tasks": {"type": "integer", "low": 1, "high": 8, "default": 2, "tried": [4, 9]}}
        })  # fmt: skip
