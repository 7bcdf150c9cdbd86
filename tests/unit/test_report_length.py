"""The analysis is read on paper: two to four pages of every job's own study, and its reasons are short."""

from __future__ import annotations

import re

import pytest
from tests.unit.planted_jobs import JOBS, job_options, job_results, job_study

from pipeline_tuner.charts import style
from pipeline_tuner.recommend import recommend
from pipeline_tuner.report.files import DETAILS, details_of
from pipeline_tuner.report.written import write_report

MAX_WORDS, MAX_LINES = 1000, 90
SENTENCE_ENDS = re.compile(r"[.!?](?=\s+[A-Z]|$)")


@pytest.fixture(scope="module", params=JOBS)
def job(request):
    """A job's name, its study's decisions on a planted sweep, and its written analysis without the drawing."""
    study, options, results = job_study(request.param), job_options(request.param), job_results(request.param)
    return request.param, recommend(study, options, results), results


@pytest.fixture
def analysis(job, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "save", lambda folder, name, chart: folder / f"{name}.svg")
    name, answers, results = job
    return write_report(tmp_path, job_study(name), job_options(name), results, answers)


def test_the_analysis_has_the_order_of_the_page_and_the_length_of_a_few_pages(analysis):
    text = analysis.read_text()
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    wanted = ["Decision", "Why", "Compared", "What it cost", "Claims of documents", "Parameters that matter"]
    assert titles == wanted
    assert len(text.split()) <= MAX_WORDS
    assert len(text.splitlines()) <= MAX_LINES
    assert text.count("![") <= 2


def test_everything_else_is_in_the_details_which_it_links(analysis, job):
    text, details = analysis.read_text(), details_of(analysis).read_text()
    assert f"[{DETAILS}]({DETAILS})" in text
    assert f"({analysis.name})" in details
    claims = details.partition("## Claims held against the measurements\n")[2].partition("\n## ")[0]
    assert claims.count("\n| ") == len(job_study(job[0]).claims) + 2
    assert not set(re.findall(r"^!\[.+$", text, re.MULTILINE)) & set(re.findall(r"^!\[.+$", details, re.MULTILINE))


def test_a_reason_is_at_most_two_short_sentences(job):
    for answer in job[1]:
        assert 1 <= len(SENTENCE_ENDS.findall(answer.reason)) <= 2, answer.reason
        assert len(answer.reason) <= 250
