"""Studies whose job is an operator: what would not act is refused where the study is read."""

from __future__ import annotations

import pytest
import yaml

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import parse_study

BASH = "airflow.providers.standard.operators.bash.BashOperator"


def text(runner=None, batch=None, **changes):
    study = {
        "study": "load",
        "job": "load",
        "runner": {"kind": "operator", "operator": BASH, "arguments": {"bash_command": "load.sh"}, **(runner or {})},
        "workload": {"name": "orders"},
        "space": {
            "parameters": {
                "batch": {"type": "integer", "low": 1, "high": 9, "default": 1, "sets": "env.BATCH", **(batch or {})}
            }
        },
        "presets": {"now": {}},
        "control": "now",
        "goals": {"time": {"minimize": "duration_s"}},
        **changes,
    }
    return yaml.safe_dump(study)


def test_a_study_of_an_operator_is_read():
    study = parse_study(text())
    assert study.runner.operator == BASH
    assert study.space.parameters["batch"].sets == "env.BATCH"


@pytest.mark.parametrize("used", ["{{ tuner.configuration.batch }}", "{{ tuner.configuration['batch'] }}"])
def test_a_parameter_may_be_used_in_a_template_instead(used):
    parse_study(text(runner={"arguments": {"bash_command": f"load.sh {used}"}}, batch={"sets": None}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runner": {"operator": None}}, "runner.operator: is missing: must be a class"),
        ({"runner": {"operator": "BashOperator"}}, "must be a class such as"),
        ({"runner": {"conn_id": "x"}}, "runner.conn_id: has no meaning for kind: operator"),
        ({"runner": {"kind": "process"}}, "runner.operator: is for kind: operator, this is process"),
        ({"runner": {"arguments": {"task_id": "x"}}}, "arguments.task_id"),
        ({"runner": {"options": {"metric": {}}}}, "runner.options.metric: no such key; did you mean 'metrics'?"),
        ({"runner": {"options": {"metrics": {"rows": "rows"}}}}, "must have one group"),
        (
            {"runner": {"options": {"metrics": {"rows": {"sql": "SELECT 1"}}}}},
            "runner.options.metrics.rows.conn_id: is missing",
        ),
        ({"batch": {"sets": None}}, "nothing says what it sets"),
        ({"batch": {"sets": "pool"}}, "acted on before the task starts"),
        ({"workload": {"name": "orders", "sizes": {"full": 1, "part": 0.1}}}, "must use {{ tuner.fraction }}"),
    ],
)
def test_what_would_not_act_is_refused(changes, words):
    with pytest.raises(StudyError) as caught:
        parse_study(text(**changes))
    assert words in str(caught.value)
