"""The page where something is odd: sweeps without a result, wrong addresses and forms, two who decide at once."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from tests.browser.planted_page import (
    BASE,
    LONG_NAME,
    PREFIX,
    STUDY,
    EverybodyMay,
    page_app,
    plant_odd_sweeps,
    planted_store,
)

from pipeline_tuner.exceptions import DecisionConflictError
from pipeline_tuner.store.page_reads import PageReads

TABS = ("decision", "configurations", "trials", "parameters", "claims", "analysis", "environment")
AS_A_BROWSER = {"accept": "text/html,*/*"}


@pytest.fixture(scope="module")
def store(postgres, airflow_env, tmp_path_factory):
    """The planted results database with odd sweeps."""
    folder = tmp_path_factory.mktemp("reports")
    with planted_store(postgres, "page_odd", folder) as found:
        plant_odd_sweeps(found, folder)
        yield found


@pytest.fixture(scope="module")
def page(store):
    with page_app(store) as app, TestClient(app, base_url="http://page", headers=AS_A_BROWSER) as client:
        yield client


def words_of(text):
    """What somebody reads, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<head>.*?</head>", "", text, flags=re.S))).split())


def token_of(page):
    return re.search(r'name="token" value="([^"]+)"', page.get(f"{PREFIX}/studies/orders").text)[1]


def seen_by(page, path):
    """The newest decision that a form knows of."""
    return int(re.search(r'name="seen" value="(\d+)"', page.get(f"{PREFIX}/{path}").text)[1])


def test_a_list_without_a_study_leads_to_the_dags_that_sweep(page, monkeypatch):
    monkeypatch.setattr(EverybodyMay, "get_authorized_dag_ids", lambda self, **_: set())
    text = page.get(f"{PREFIX}/").text
    assert "No sweep has run yet that you may see." in words_of(text)
    assert '<a data-airflow href="/dags?name_pattern=tune_">' in text


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("sweep", ["no_trial", "all_failed", "one_trial", "long_name"])
def test_every_tab_of_an_odd_sweep_reads_well(page, sweep, tab):
    answer = page.get(f"{PREFIX}/sweeps/{sweep}?tab={tab}")
    text = words_of(answer.text)
    assert answer.status_code == 200
    assert not re.search(r"\bnull\b|\bNone\b|\bnan\b|Undefined|/home/|\b1 trials", text)


def test_a_sweep_that_planned_nothing_says_so_and_why(page):
    said = {tab: words_of(page.get(f"{PREFIX}/sweeps/no_trial?tab={tab}").text) for tab in TABS}
    assert "It cost no trial." in said["decision"]
    assert "The table public.orders does not exist" in said["decision"]
    assert "ended before it planned a trial" in said["decision"]
    assert "No trial was planned." in said["trials"]
    assert "Not known: no trial has measured anything." in said["environment"]


def test_a_page_behind_the_last_one_is_the_last_one(page):
    text = words_of(page.get(f"{PREFIX}/sweeps/sweep-1?tab=trials&page=99").text)
    assert "page 2 of 2" in text
    assert "Previous" in text


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("sweeps/sweep-1?tab=nonsense", 422, "tab: input should be 'decision', 'configurations'"),
        ("sweeps/sweep-1?page=0", 422, "page: input should be greater than or equal to 1"),
        ("sweeps/sweep-1/compare?c=balanced", 422, "Choose two to 6 configurations"),
        ("sweeps/sweep-1/compare?" + "&".join(f"c=c{n}" for n in range(7)), 422, "Choose two to 6 configurations"),
        ("sweeps/nonsense", 404, "may have been removed"),
        ("trials/nonsense", 404, "of a sweep that was removed"),
        ("nonsense", 404, "Not Found"),
    ],
)
def test_an_address_that_is_wrong_is_answered_in_words(page, path, code, words):
    answer = page.get(f"{PREFIX}/{path}")
    assert answer.status_code == code
    assert answer.headers["content-type"].startswith("text/html")
    assert words in words_of(answer.text)


def test_a_program_is_answered_as_programs_are(page):
    answer = page.get(f"{PREFIX}/sweeps/sweep-1?page=0", headers={"accept": "application/json"})
    assert answer.json()["detail"][0]["loc"] == ["query", "page"]


def test_a_form_with_wrong_values_comes_back_as_it_was_filled_with_words_beside_the_fields(page, monkeypatch):
    from pipeline_tuner.web import actions

    asked = []
    monkeypatch.setattr(actions, "trigger_dag", lambda dag_id, **run: asked.append(run) or run)
    given = {"trials": "0", "minutes": "nan", "blocks": "7", "goals": ["cost"], "strategy": "presets", "seed": "1.5"}
    answer = page.post(f"{PREFIX}/studies/orders/start", data=given | {"token": token_of(page)})
    form = answer.text[answer.text.index('aria-label="Start a sweep"') :].split("</form>")[0]
    assert (answer.status_code, asked) == (422, [])
    assert '<details class="start" open>' in answer.text
    for name, words in {
        "trials": "Trials: 0 is not at least 1 and at most 1000",
        "minutes": "Minutes: nan is not above 0",
        "seed": "Seed: '1.5' is no integer",
    }.items():
        field = form[form.index(f'name="{name}"') :].split("</div>")[0]
        assert 'aria-invalid="true"' in field
        assert f"{words}." in words_of(field)
    assert form.count("aria-invalid") == 3
    assert re.search(r'name="blocks"[^>]* value="7"', form)
    assert re.findall(r'value="(\w+)" checked', form) == ["cost"]
    assert "<option selected>presets</option>" in form


def test_two_who_decide_at_once_do_not_undo_each_other(page, store):
    token, seen = token_of(page), seen_by(page, "sweeps/sweep-1")
    assert seen_by(page, "studies/orders") == seen
    data = {"token": token, "goal": "throughput", "seen": str(seen)}
    first = page.post(f"{PREFIX}/sweeps/sweep-1/promote", data=data | {"label": "wide"}, follow_redirects=False)
    second = page.post(f"{PREFIX}/sweeps/sweep-1/promote", data=data | {"label": "balanced"})
    back = page.post(f"{PREFIX}/studies/orders/roll-back", data=data)
    assert [answer.status_code for answer in (first, second, back)] == [303, 409, 409]
    assert "Meanwhile somebody promoted wide for throughput. Nothing was changed." in words_of(second.text)
    assert store.production("orders", "throughput").label == "wide"


def test_a_form_that_is_sent_twice_decides_once(page, store):
    data = {"token": token_of(page), "goal": "balanced", "note": ""}
    for label in ("wide", "copy"):
        sent = data | {"label": label, "seen": str(seen_by(page, "sweeps/sweep-1?goal=balanced"))}
        answers = [page.post(f"{PREFIX}/sweeps/sweep-1/promote", data=sent, follow_redirects=False) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [303, 303]
    back = data | {"seen": str(seen_by(page, "sweeps/sweep-1?goal=balanced"))}
    answers = [page.post(f"{PREFIX}/studies/orders/roll-back", data=back, follow_redirects=False) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    made = PageReads(store).promotions("orders", "balanced")
    assert [(row["action"], row["label"]) for row in made] == [
        ("roll_back", "wide"),
        ("promote", "copy"),
        ("promote", "wide"),
    ]


def test_of_many_decisions_at_the_same_moment_one_is_made(store):
    def decide(number):
        try:
            store.promote(STUDY.study, "cost", f"c{number}", {**BASE, "batch": 10 + number}, actor="ada", seen=0)
        except DecisionConflictError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(decide, range(8))) == 1


def test_a_long_name_is_there_in_full(page):
    assert LONG_NAME in words_of(page.get(f"{PREFIX}/sweeps/long_name").text)
