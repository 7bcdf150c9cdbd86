"""What the page's forms, links and charts hold, without a browser: its app in this process, on planted sweeps."""

from __future__ import annotations

import html
import json
import re

import pytest
from fastapi.testclient import TestClient
from tests.browser.planted_page import PREFIX, page_app, planted_store
from tests.unit.planted_jobs import job_study

from pipeline_tuner.sweep_form import form_of

BASE = "/air/flow"


@pytest.fixture(scope="module")
def store(postgres, airflow_env, tmp_path_factory):
    """A results database with a sweep of each job, and a study with nights and production runs."""
    with planted_store(postgres, "page_forms", tmp_path_factory.mktemp("reports")) as found:
        yield found


@pytest.fixture(scope="module")
def page(store):
    with page_app(store) as app, TestClient(app, base_url="http://page") as client:
        yield client


def words_of(text):
    """What somebody reads, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<head>.*?</head>", "", text, flags=re.S))).split())


def charts_of(text):
    """The page's charts by their names."""
    found = re.findall(r'<figure class="chart" aria-label="([^"]*)"><div data-spec="([^"]*)"', text)
    return {html.unescape(name): json.loads(html.unescape(specification)) for name, specification in found}


def marks_of(chart):
    """The types of the marks, layer by layer."""
    layers = chart.get("layer")
    return [chart["mark"]["type"]] if layers is None else [mark for layer in layers for mark in marks_of(layer)]


def token_of(page):
    return re.search(r'name="token" value="([^"]+)"', page.get(f"{PREFIX}/studies/orders").text)[1]


def test_the_form_that_starts_a_sweep_is_the_whole_one_prefilled(page, monkeypatch):
    from pipeline_tuner.web import actions

    asked = []
    monkeypatch.setattr(actions, "trigger_dag", lambda dag_id, **run: asked.append((dag_id, run["conf"])) or run)
    text = page.get(f"{PREFIX}/studies/migration").text
    form = text[text.index('aria-label="Start a sweep"') :].split("</form>")[0]
    fields = form_of(job_study("migration"))
    assert set(re.findall(r'name="(\w+)"', form)) == {"token", *(field.name for field in fields)}
    for field in fields:
        if field.kind in ("integer", "number"):
            shown = re.search(rf'name="{field.name}"[^>]* value="([^"]*)"', form)[1]
            assert shown == ("" if field.default is None else str(field.default))
    assert f"<option selected>{job_study('migration').strategy}</option>" in form
    assert form.count(" checked>") == len(job_study("migration").goals)
    data = {"token": token_of(page), "trials": "12", "goals": ["cost", "throughput"], "minutes": ""}
    assert page.post(f"{PREFIX}/studies/migration/start", data=data, follow_redirects=False).status_code == 303
    assert asked == [("tune_migration", '{"goals": ["throughput", "cost"], "trials": 12}')]
    refused = page.post(f"{PREFIX}/studies/migration/start", data=data | {"trials": "many"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "Trials: 'many' is no integer")
    assert len(asked) == 1


def test_promoting_and_rolling_back_say_before_what_they_change(page, store):
    sweep = words_of(page.get(f"{PREFIX}/sweeps/sweep-1").text)
    assert "the next run of run_orders uses copy 16 x 400 (promoted) already" in sweep
    study = words_of(page.get(f"{PREFIX}/studies/orders").text)
    assert "Roll back to wide For throughput, the next run of run_orders uses wide again." in study
    data = {"token": token_of(page), "goal": "throughput", "note": ""}
    page.post(f"{PREFIX}/sweeps/sweep-1/promote", data=data | {"label": "copy 32 x 400"})
    assert store.production("orders", "throughput").label == "copy 32 x 400"
    sweep = words_of(page.get(f"{PREFIX}/sweeps/sweep-1").text)
    assert "the next run of run_orders uses copy 16 x 400 instead of copy 32 x 400 (promoted)" in sweep
    assert "uses copy 16 x 400 again" in words_of(page.get(f"{PREFIX}/studies/orders").text)
    page.post(f"{PREFIX}/studies/orders/roll-back", data=data)
    assert store.production("orders", "throughput").label == "copy 16 x 400"


@pytest.mark.parametrize(("job", "runs_now"), [("migration", "balanced"), ("streaming_etl", "")])
def test_a_decision_says_which_settings_it_changes(page, job, runs_now):
    text = page.get(f"{PREFIX}/sweeps/{job}").text
    decisions = re.findall(r'<td data-title="do this">(.*?)</td>', text, re.S)
    changed = [words_of(cell) for cell in decisions if "two-lines" in cell]
    assert all("=" in words for words in changed)
    assert len(changed) == len({words.split()[1] for words in map(words_of, decisions) if words.startswith("use")})
    said = text[: text.index("data-spec")]
    assert (f"{runs_now}, which ran when this was measured, has: method=jdbc" in words_of(said)) is bool(runs_now)
    assert ("changes: method=copy" in words_of(said)) is bool(runs_now)
    assert "Settings of" in text


def test_configurations_lead_to_their_comparison_and_production_runs_to_their_task(page):
    table = page.get(f"{PREFIX}/sweeps/migration?tab=configurations").text
    leads = [html.unescape(found) for found in re.findall(r'<td class="name"><a href="([^"]+)"', table)]
    assert len(leads) == table.count('<td class="name">') - 1
    compared = page.get(leads[0])
    assert compared.status_code == 200
    assert words_of(compared.text).count("balanced and ") >= 1
    study = page.get(f"{PREFIX}/studies/orders").text
    runs = re.findall(r'data-title="ended"[^>]*><a data-airflow [^>]*href="([^"]+)"', study)
    assert len(runs) == 20
    assert runs[0] == "/dags/run_orders/runs/scheduled__19/tasks/run"


def test_what_nobody_runs_yet_is_said_of_the_dag_that_the_plugin_makes(page):
    sweep = words_of(page.get(f"{PREFIX}/sweeps/dedup").text)
    assert "For throughput, the next run of run_dedup uses" in sweep


def test_the_history_has_production_runs_promotions_and_changes(page):
    (chart,) = [c for name, c in charts_of(page.get(f"{PREFIX}/studies/orders").text).items() if "throughput" in name]
    text = json.dumps(chart)
    series, events = {"production", "control", "production runs"}, {"promoted", "machine", "missed"}
    assert set(re.findall(r'"kind": "([^"]+)"', text)) >= series | events
    assert text.count('"kind": "production runs"') == 20


def test_parameters_have_the_models_band_and_every_trial_at_a_glance(page):
    text = page.get(f"{PREFIX}/sweeps/sweep-1?tab=parameters&parameter=partitions").text
    charts = charts_of(text)
    (response,) = [chart for name, chart in charts.items() if name.endswith("by partitions")]
    (glance,) = [chart for name, chart in charts.items() if name.startswith("Every trial")]
    assert marks_of(response) == ["area", "line", "point"]
    assert marks_of(glance) == ["line", "point", "text"]
    assert "what the model expects of the pick" in words_of(text)


@pytest.mark.parametrize(("job", "is_drawn"), [("migration", True), ("streaming_etl", True)])
def test_the_regret_bound_is_drawn_where_there_is_one(page, job, is_drawn):
    text = page.get(f"{PREFIX}/sweeps/{job}").text
    (chart,) = charts_of(text).values()
    assert ("tick" in marks_of(chart)) is is_drawn
    assert ("dashes: how far the best can be" in words_of(text)) is is_drawn


def test_under_a_path_every_address_has_it(store):
    with page_app(store, BASE) as app, TestClient(app, base_url="http://page") as client:
        found = set()
        for path in ("", "/studies/migration", "/sweeps/migration", "/trials/migration-search-0-balanced"):
            answer = client.get(f"{BASE}{PREFIX}{path}")
            assert answer.status_code == 200
            found |= set(re.findall(r'(?:href|src|action|data-charts)="(/[^"]*)"', answer.text))
    assert {address for address in found if not address.startswith(f"{BASE}/")} == set()
    assert f"{BASE}/dags/tune_migration" in found
    assert f"{BASE}/dags/tune_migration/runs/manual__migration" in found


@pytest.mark.parametrize(
    ("place", "leads_to"),
    [
        ("dags/tune_migration", "studies/migration"),
        ("dags/run_orders", "studies/orders"),
        ("runs/tune_migration/manual__migration", "sweeps/migration"),
    ],
)
def test_airflows_places_lead_to_the_page_and_back(page, place, leads_to):
    answer = page.get(f"{PREFIX}/{place}")
    assert answer.url.path == f"{PREFIX}/{leads_to}"
    assert re.search(r'<a data-airflow href="/dags/(tune_migration|run_orders)', answer.text)


def test_the_list_says_a_decision_once_for_all_of_its_goals(page):
    text = words_of(page.get(f"{PREFIX}/").text)
    line = text[text.index("quantizer quantizer") :].split("by hand")[0]
    assert line.count("use configuration") == 1
    assert re.search(r"use configuration \w+ \d\.\d\dx, at most [\d.]+% short", line)


def test_a_comparison_folds_what_is_the_same_in_all(page):
    text = page.get(f"{PREFIX}/sweeps/migration/compare?c=balanced&c=copy_8&c=copy_2").text
    assert "balanced, copy_8 and copy_2" in words_of(text)
    assert re.search(r"The same in all, without any variation: [^.]*rows", words_of(text))
    assert "does not vary" not in text.split("The same in all")[0].split("What was measured")[1]


@pytest.mark.parametrize(
    ("run", "label", "source"),
    [
        ({"task_id": "load", "label": "as written", "source": "fallback"}, "what is written in its DAG", "given"),
        ({"task_id": "load", "label": "small", "source": "fallback"}, "small", "given"),
        ({"task_id": "load", "label": "small", "source": "promoted"}, "what is written in its DAG", "given"),
        ({"task_id": None, "label": "small", "source": "promoted"}, "balanced", "fallback"),
    ],
)
def test_a_tuned_task_for_which_nothing_is_decided_runs_as_written(page, run, label, source):
    from pipeline_tuner.web.in_production import in_production

    (choice,) = in_production("orders", ["undecided"], [run]).values()
    assert (choice.label, choice.source) == (label, source)
