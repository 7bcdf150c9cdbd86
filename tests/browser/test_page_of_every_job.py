"""The page of each job's own study: its first screen, its height, who can use it, and what may be done there.

What `tests/airflow/test_page_forms.py` holds without a browser is clicked through here in the soak.
"""

from __future__ import annotations

import re
from pprint import pformat

import pytest
from axe_playwright_python.sync_playwright import Axe
from markdown_it import MarkdownIt
from tests.browser.pages import DESK, SIZES, drawn, height_of, is_seen
from tests.browser.planted_page import planted_store, served_page
from tests.unit.planted_jobs import JOBS, job_options, job_results, job_study

from pipeline_tuner.recommend import recommend
from pipeline_tuner.report import written

TABS = ("", "?tab=configurations", "?tab=trials", "?tab=parameters", "?tab=claims", "?tab=analysis", "?tab=environment")
HIGHEST_PX = 3000
BASE = "/air/flow"


@pytest.fixture(scope="module")
def store(postgres, airflow_env, tmp_path_factory):
    """A results database with a sweep of each job, and a study with nights and production runs."""
    with planted_store(postgres, "every_job", tmp_path_factory.mktemp("reports")) as found:
        yield found


@pytest.fixture(scope="module")
def address(store):
    with served_page(store) as found:
        yield found


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("job", JOBS)
def test_the_first_screen_of_a_sweep_has_the_decision_of_every_goal(open_page, address, job, size):
    page = open_page(f"{address}/sweeps/{job}", size)
    rows = page.locator("#decision-table tbody tr")
    assert rows.count() == len(job_study(job).goals)
    # A phone shows two goals at least, a desk all of them.
    wanted = rows.count() if size is DESK else 2
    assert [is_seen(rows.nth(n), size) for n in range(wanted)] == [True] * wanted
    assert all(re.search(r"\b(use|keep|undecided)\b", text) for text in rows.all_inner_texts())
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_first_screen_of_the_list_answers_for_the_first_study(open_page, address, size):
    page = open_page(f"{address}/", size)
    assert is_seen(page.locator("#asking"), size)
    lines = page.locator("#study-table tbody tr")
    assert is_seen(lines.first, size)
    if size is DESK:
        assert lines.count() == len(JOBS) + 1
        assert is_seen(lines.last, size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.soak
@pytest.mark.parametrize("job", JOBS)
def test_no_tab_of_a_sweep_is_higher_than_three_screens(open_page, address, job):
    page = open_page(f"{address}/sweeps/{job}")
    heights = {}
    for tab in TABS:
        page.goto(f"{address}/sweeps/{job}{tab}")
        heights[tab] = height_of(page)
    assert {tab: height for tab, height in heights.items() if height > HIGHEST_PX} == {}


PAPER = """<style>
@page { size: A4; margin: 18mm; } body { font: 11pt/1.35 "DejaVu Sans", sans-serif; } img { width: 100%; }
table { border-collapse: collapse; font-size: 9pt; } td, th { border: 1px solid #999; padding: 2px 5px; }
</style>"""


@pytest.mark.parametrize("job", JOBS)
def test_the_written_analysis_prints_on_two_to_four_pages(chromium, tmp_path, monkeypatch, job):
    monkeypatch.setattr(written, "SECTIONS", ())
    study, options, results = job_study(job), job_options(job), job_results(job)
    path = written.write_report(tmp_path, study, options, results, recommend(study, options, results))
    html = MarkdownIt("commonmark").enable("table").render(path.read_text(encoding="utf-8"))
    (tmp_path / "analysis.html").write_text(PAPER + html, encoding="utf-8")
    page = chromium.new_page()
    page.goto((tmp_path / "analysis.html").as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    page.close()
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 4


@pytest.mark.soak
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_axe_has_no_serious_finding(open_page, address, size, theme):
    paths = ["", "studies/orders", "studies/migration", "sweeps/migration/compare?c=balanced&c=copy_8"]
    paths += [f"sweeps/migration{tab}" for tab in TABS]
    trial = "trials/migration-search-0-balanced"
    page, found = open_page(f"{address}/", size, theme), {}
    for path in [*paths, trial]:
        page.goto(f"{address}/{path}")
        if path.startswith("studies/"):
            page.locator("details.start summary").click()
        violations = Axe().run(drawn(page)).response["violations"]
        serious = [v for v in violations if v["impact"] in ("serious", "critical")]
        if serious:
            found[path] = [(v["id"], [node["target"] for node in v["nodes"]][:4]) for v in serious]
    assert not found, pformat(found)


def test_the_keyboard_reaches_what_a_mouse_does(open_page, address):
    page = open_page(f"{address}/sweeps/migration?tab=configurations")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("copy")
    rows = page.locator("#configuration-table tbody tr:visible")
    assert 0 < rows.count() < page.locator("#configuration-table tbody tr").count()
    page.get_by_role("button", name="duration").focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").inner_text().startswith("duration")
    page.locator("nav.tabs a", has_text="Trials").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.locator("#trials").wait_for()


@pytest.mark.soak
def test_promoting_and_rolling_back_say_before_what_they_change(open_page, address, store):
    page = open_page(f"{address}/sweeps/sweep-1")
    said = page.locator("#consequence-text")
    assert "the next run of run_orders uses copy 16 x 400 (promoted) already" in said.inner_text()
    page.get_by_label("Configuration", exact=True).select_option("copy 32 x 400")
    assert "the next run of run_orders uses copy 32 x 400 instead of copy 16 x 400" in said.inner_text()
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("heading", name="Decisions about production").wait_for()
    assert store.production("orders", "throughput").label == "copy 32 x 400"
    goal = page.locator("#goal-table tr", has_text="throughput")
    assert "the next run of run_orders uses copy 16 x 400 again" in goal.inner_text()
    page.get_by_role("button", name="Roll back to copy 16 x 400").click()
    page.get_by_text("rolled back", exact=True).first.wait_for()
    assert store.production("orders", "throughput").label == "copy 16 x 400"


@pytest.mark.soak
def test_a_sweep_starts_with_the_whole_form_prefilled(open_page, address, monkeypatch):
    from pipeline_tuner.sweep_form import form_of
    from pipeline_tuner.web import actions

    asked = []
    monkeypatch.setattr(actions, "trigger_dag", lambda dag_id, **run: asked.append((dag_id, run["conf"])) or run)
    page = open_page(f"{address}/studies/migration")
    page.locator("details.start summary").click()
    form, fields = page.get_by_role("form", name="Start a sweep"), form_of(job_study("migration"))
    assert {field.name for field in fields} == set(
        form.evaluate("form => [...new FormData(form).keys()].filter(name => name !== 'token')")
    )
    for name, value in {"trials": "48", "blocks": "3", "seed": "0", "minutes": "", "strategy": "adaptive"}.items():
        assert form.locator(f"[name={name}]").input_value() == value
    form.locator("[name=trials]").fill("12")
    form.get_by_role("checkbox", name="cost").uncheck()
    form.get_by_role("button", name="Start a sweep").click()
    page.wait_for_url("**/studies/migration")
    ((dag_id, conf),) = asked
    assert dag_id == "tune_migration"
    assert '"trials": 12' in conf
    assert '"goals": ["throughput", "latency", "balanced"]' in conf


@pytest.mark.soak
def test_the_history_has_production_runs_promotions_and_changes(open_page, address):
    page = drawn(open_page(f"{address}/studies/orders"))
    chart = page.get_by_role("figure", name="throughput over time")
    texts = chart.locator("svg text").all_text_contents()
    assert {"production", "control", "production runs", "promoted", "machine"} <= set(texts)
    chart.locator("svg .mark-symbol.role-mark path").last.hover()
    page.locator("#vg-tooltip-element.visible").wait_for()


@pytest.mark.soak
def test_parameters_have_the_models_band_and_every_trial_at_a_glance(open_page, address):
    page = drawn(open_page(f"{address}/sweeps/sweep-1?tab=parameters&parameter=partitions"))
    assert page.get_by_role("figure", name="by partitions").locator(".mark-area path").count() == 1
    glance = page.get_by_role("figure", name="Every trial")
    # The best trial is drawn last: no other one lies over it.
    glance.locator(".mark-symbol path").last.click()
    page.get_by_role("heading", name="Metrics").wait_for()


def test_the_regret_bound_is_drawn_from_the_pick(open_page, address):
    page = drawn(open_page(f"{address}/sweeps/migration"))
    marks = page.locator(".chart .mark-rule line[stroke-dasharray='3,3']")
    assert marks.count() == 1
    page.locator(".chart .mark-rect path").last.hover()
    page.locator("#vg-tooltip-element.visible", has_text="better than").wait_for()


def test_under_a_path_every_address_has_it(store, open_page):
    with served_page(store, BASE) as address:
        page = drawn(open_page(f"{address}/sweeps/migration"))
        hosts = page.evaluate("[...document.querySelectorAll('[href], [src], [action], [data-charts]')].flatMap("
                              "e => ['href', 'src', 'action', 'data-charts'].map(n => e.getAttribute(n)))"
                              ".filter(a => a && a.startsWith('/'))")  # fmt: skip
        assert {path for path in hosts if not path.startswith(f"{BASE}/")} == set()
        assert any(path.startswith(f"{BASE}/dags/tune_migration/runs/") for path in hosts)
        page.get_by_role("link", name="Parameters").click()
        drawn(page)
        page.get_by_role("link", name="migration", exact=True).click()
        page.get_by_role("heading", name="Decisions about production").wait_for()


def test_airflows_places_lead_to_the_page_and_back(address, open_page):
    places = {
        "dags/tune_migration": "studies/migration",
        "runs/tune_migration/manual__migration": "sweeps/migration",
    }
    page = open_page(f"{address}/")
    for path, leads_to in places.items():
        page.goto(f"{address}/{path}")
        assert page.url.endswith(f"/pipeline-tuner/{leads_to}")
        assert page.locator("a[data-airflow][href^='/dags/tune_migration']").count() == 1
