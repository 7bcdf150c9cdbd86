"""Where a configuration goes in an operator's arguments: all of it or nothing, and never where it would not act."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline_tuner.argument_paths import check_places, lay_over, path_problem, written_values
from pipeline_tuner.exceptions import ConfigurationError


class Limits:
    def __init__(self):
        self.requests = {"memory": "1Gi"}


def operator(**arguments):
    present = {
        "conf": {"spark.executor.memory": "2g"},
        "_executor_memory": None,
        "run_job_kwargs": {"WorkerType": "G.1X", "NumberOfWorkers": 2},
        "env": None,
        "append_env": False,
        "parameters": {"work_mem": "4MB", "batch": 100},
        "steps": [{"Args": ["--n", "1"]}],
        "resources": Limits(),
        "overrides": {"Instances": {"Count": 2}},
    }
    return SimpleNamespace(**{**present, **arguments})


@pytest.mark.parametrize(
    ("path", "value", "read"),
    [
        ("conf.spark.sql.shuffle.partitions", 64, lambda o: o.conf),
        ("executor_memory", "3g", lambda o: o._executor_memory),
        ("run_job_kwargs.NumberOfWorkers", 8, lambda o: o.run_job_kwargs),
        ("parameters.work_mem", "64MB", lambda o: o.parameters),
        ("steps.0.Args.1", 9, lambda o: o.steps[0]["Args"]),
        ("resources.requests.memory", "2Gi", lambda o: o.resources.requests),
        ("overrides.Instances.Count", 5, lambda o: o.overrides),
    ],
)
def test_a_value_goes_where_its_path_says_and_what_was_there_is_not_changed(path, value, read):
    one = operator()
    shared = read(one)
    before = repr(shared)
    lay_over(one, {"batch": path}, {"batch": value})
    assert str(written_values(one, {"batch": path})["batch"]) == str(value)
    assert repr(shared) == before


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("conf.spark.sql.adaptive.enabled", True, "true"),
        ("env.BATCH", 500, "500"),
        ("parameters.work_mem", 64, "64"),
        ("steps.0.Args.1", 9, "9"),
    ],
)
def test_settings_variables_and_what_was_text_are_text(path, value, text):
    one = operator()
    lay_over(one, {"batch": path}, {"batch": value})
    assert written_values(one, {"batch": path}) == {"batch": text}


class Variable:
    """A container's variable, as Kubernetes' client has it: behind properties."""

    def __init__(self, name, value):
        self._name, self._value = name, value

    @property
    def name(self):
        return self._name

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        self._value = value


def test_variables_in_a_list_are_found_by_their_names():
    pod = operator(env_vars=[Variable("A", "1"), Variable("BATCH", "100")])
    task = operator(overrides={"containers": [{"environment": [{"name": "BATCH", "value": "100"}]}]})
    shared = pod.env_vars[1]
    for one, path in ((pod, "env_vars.BATCH"), (task, "overrides.containers.0.environment.BATCH")):
        lay_over(one, {"batch": path}, {"batch": 500})
        assert written_values(one, {"batch": path}) == {"batch": "500"}
    assert shared.value == "100"
    assert pod.env_vars[0].value == "1"


def test_a_number_stays_a_number_elsewhere():
    one = operator()
    lay_over(one, {"a": "run_job_kwargs.NumberOfWorkers", "b": "parameters.batch"}, {"a": 8, "b": 7})
    assert (one.run_job_kwargs["NumberOfWorkers"], one.parameters["batch"]) == (8, 7)


def test_a_bash_task_without_variables_of_its_own_keeps_what_it_inherits():
    one, own = operator(), operator(env={"A": "1"})
    for each in (one, own):
        lay_over(each, {"batch": "env.BATCH"}, {"batch": 5})
    assert (one.env, one.append_env) == ({"BATCH": "5"}, True)
    assert (own.env, own.append_env) == ({"A": "1", "BATCH": "5"}, False)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("memory", "has no argument 'memory'"),
        ("pool", "acted on before the task starts"),
        ("parameters.", "is no path"),
        ("parameters.batch.deep", "there is no mapping 'batch' to put 'deep' into"),
        ("steps.7.Args", "no place in a list of 1"),
        ("steps.BATCH", "no name in it"),
        ("overrides.Instnaces.Count", "there is no mapping 'Instnaces' to put 'Count' into"),
        ("resources.limits.memory", "there is no 'limits' in a Limits"),
    ],
)
def test_what_would_not_act_is_refused_and_nothing_is_half_done(path, words):
    one = operator()
    before = dict(vars(one))
    with pytest.raises(ConfigurationError, match=words):
        lay_over(one, {"good": "parameters.batch", "batch": path}, {"good": 1, "batch": 2})
    assert vars(one) == before
    with pytest.raises(ConfigurationError, match=words):
        check_places(one, {"batch": path}, ["batch"])


def test_an_argument_that_refuses_its_value_takes_back_the_others():
    class Picky:
        batch = 1

        @property
        def memory(self):
            return "1g"

    one = Picky()
    with pytest.raises(ConfigurationError, match="Picky can't be given 'memory'"):
        lay_over(one, {"a": "batch", "b": "memory"}, {"a": 5, "b": "2g"})
    assert one.batch == 1


def test_a_parameter_without_a_place_is_refused():
    with pytest.raises(ConfigurationError, match="which argument memory sets: give 'sets'"):
        lay_over(operator(), {}, {"memory": "1g"})


def test_a_python_function_must_take_the_argument():
    def load(table, batch=1, *, mode="a"):
        pass

    one = operator(python_callable=load, op_args=("orders",), op_kwargs={})
    lay_over(one, {"a": "op_kwargs.batch", "b": "op_kwargs.mode"}, {"a": 5, "b": "x"})
    assert one.op_kwargs == {"batch": 5, "mode": "x"}
    with pytest.raises(ConfigurationError, match=r"load\(\) takes no argument 'bacth'"):
        check_places(one, {"a": "op_kwargs.bacth"}, ["a"])
    with pytest.raises(ConfigurationError, match="is given 'table' by its place"):
        check_places(one, {"a": "op_kwargs.table"}, ["a"])
    check_places(operator(python_callable=lambda **given: None, op_kwargs={}), {"a": "op_kwargs.any"}, ["a"])


def test_what_stands_there_is_read_without_what_is_not_there():
    sets = {"memory": "executor_memory", "workers": "run_job_kwargs.NumberOfWorkers", "none": "nowhere.x", "e": "env.A"}
    assert written_values(operator(), sets) == {"workers": 2}


def test_a_path_is_judged_without_its_operator():
    assert path_problem("conf.spark.executor.memory") is None
    assert path_problem("pool_slots") is not None
    assert path_problem("a b.c") is not None
