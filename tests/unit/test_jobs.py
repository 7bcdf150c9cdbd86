"""The jobs that come with the plugin: their descriptions, and what follows from them for studies and analyses."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from pipeline_tuner import study_check
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.jobs import JOBS
from pipeline_tuner.metric_names import NAMED
from pipeline_tuner.operators.base import JobOperator
from pipeline_tuner.operators.command import CommandOperator
from pipeline_tuner.operators.operator_class import operator_for
from pipeline_tuner.report.data import Section
from pipeline_tuner.report.written import SECTIONS, sections_of
from pipeline_tuner.search import rounds
from pipeline_tuner.study import load_study

CONFIGS = Path(__file__).resolve().parents[2] / "include" / "configs"
STUDIES = sorted(path for path in CONFIGS.glob("*.yaml") if path.stem != "prices")


@pytest.mark.parametrize("job", sorted(JOBS))
def test_a_description_names_what_there_is(job: str) -> None:
    operator = operator_for(job)
    assert issubclass(operator, JobOperator)
    assert operator.job == job
    own = resolve_name(JOBS[job].sections) if JOBS[job].sections else ()
    assert all(isinstance(section, Section) for section in own)
    assert {section.after for section in own} <= {title for title, _ in SECTIONS}
    assert len(set(JOBS[job].metrics)) == len(JOBS[job].metrics)


@pytest.mark.parametrize("job", sorted(JOBS))
def test_every_metric_of_a_job_reads_as_words(job: str) -> None:
    unnamed = [metric for metric in JOBS[job].metrics if metric not in NAMED]
    assert not unnamed, "name them in metric_names.py"


def test_a_strategy_has_a_name_that_studies_may_use() -> None:
    assert tuple(rounds.STRATEGIES) == study_check.STRATEGIES


def test_a_job_of_the_users_own_is_run_by_its_command_and_adds_no_section() -> None:
    assert operator_for("compress") is CommandOperator
    assert [title for title, _ in sections_of("compress")] == [title for title, _ in SECTIONS]


def test_what_one_job_adds_stands_in_its_place_and_in_no_other_jobs_analysis() -> None:
    titles = [title for title, _ in sections_of("streaming_etl")]
    place = titles.index("Scaling")
    assert titles[place + 1 : place + 3] == ["Where the time goes", "Workers, volume, pipelines and batches"]
    assert "Code and infrastructure" in [title for title, _ in sections_of("dedup")]
    assert "Code and infrastructure" not in titles


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("place", ["minimize", "constraints", "claims"])
def test_a_study_of_our_jobs_uses_no_metric_that_its_job_does_not_give(path: Path, place: str, tmp_path: Path) -> None:
    """Before, only commands that are timed from outside were told: the sweep of any other ended without an answer."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if place == "claims":
        document["claims"][0] |= {"metric": "memory_peak_byte"}
        key = "claims.entry 1.metric"
    else:
        goal = {"minimize": "core_second"} if place == "minimize" else {"minimize": "duration_s"}
        document["goals"]["planted"] = goal | ({"constraints": ["duration < 5"]} if place == "constraints" else {})
        key = "goals.planted." + ("minimize" if place == "minimize" else "constraints")
    wrong = tmp_path / path.name
    wrong.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    with pytest.raises(StudyError) as told:
        load_study(wrong)
    nearest = {"minimize": "core_seconds", "constraints": "duration_s", "claims": "memory_peak_bytes"}[place]
    assert f"which the job {document['job']} does not give; did you mean '{nearest}'?" in str(told.value)
    assert key.split(".")[0] in str(told.value)


def test_a_program_of_ones_own_says_itself_what_it_measures(tmp_path: Path) -> None:
    document = yaml.safe_load((CONFIGS / "migration.yaml").read_text(encoding="utf-8"))
    document["goals"]["planted"] = {"minimize": "my_own_s"}
    document["runner"] = {"kind": "process", "command": ["move", "--config", "{config}", "--out", "{measurement}"]}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert "planted" in load_study(path).goals


def test_errors_on_glue_are_counted_by_names_of_aws(tmp_path: Path) -> None:
    document = yaml.safe_load((CONFIGS / "dedup.yaml").read_text(encoding="utf-8"))
    document["goals"]["planted"] = {"minimize": "dpu_seconds", "constraints": ["errors_out_of_memory_error == 0"]}
    path = tmp_path / "dedup.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    with pytest.raises(StudyError, match="dpu_seconds, which the job dedup does not give"):
        load_study(path)
    document["runner"] = {"kind": "glue", "connections": document["runner"].get("connections", {})}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert "planted" in load_study(path).goals
