"""The page at a desk and on a phone: what the first screen answers, and what live updates leave alone."""

from __future__ import annotations

import re

import pytest
from tests.browser.pages import DESK, PHONE, drawn, height_of, is_seen
from tests.browser.planted_page import (
    plant_evidence,
    plant_long_name,
    plant_nights,
    plant_running,
    plant_sweep,
    served_page,
)

from pipeline_tuner.store import Store, migrate


@pytest.fixture(scope="module")
def store(postgres, airflow_env, tmp_path_factory):
    """A results database with a finished sweep, forty nights and a running sweep."""
    uri = postgres.create_database("one_screen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", uri)
        patch.setenv("AIRFLOW__API__SECRET_KEY", "of-the-tests-only")
        migrate(uri)
        with Store(uri) as store:
            plant_nights(store)
            plant_sweep(store, tmp_path_factory.mktemp("reports"))
            plant_evidence(store)
            yield store
    postgres.drop_database("one_screen")


@pytest.fixture(scope="module")
def address(store):
    with served_page(store) as found:
        yield found


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_first_screen_of_a_sweep_says_what_to_run(open_page, address, size):
    page = open_page(f"{address}/sweeps/sweep-1", size)
    row = page.locator("#decision-table tbody tr").first
    assert "use copy 16 x 400" in row.inner_text()
    assert is_seen(row, size)
    assert "method=copy" in row.inner_text()
    if size is DESK:
        assert is_seen(page.get_by_role("button", name="Promote"), size)
        assert is_seen(page.get_by_text("balanced, which ran when this was measured, has:"), size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_first_screen_of_the_list_says_whether_anything_is_to_do(open_page, address, size):
    page = open_page(f"{address}/", size)
    assert is_seen(page.locator("#asking"), size)
    assert "Nothing to do" in page.locator("#asking").inner_text()
    line = page.locator("#study-orders")
    assert is_seen(line, size)
    assert "use copy 16 x 400" in line.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_a_chart_shows_its_figures_leads_on_and_follows_the_theme(open_page, address):
    page = open_page(f"{address}/sweeps/sweep-1")
    mark = page.locator(".chart .mark-symbol path").first
    mark.hover()
    page.locator("#vg-tooltip-element", has_text="copy 16 x 400 · pick").wait_for()
    page.evaluate("localStorage.setItem('theme', 'dark'); dispatchEvent(new Event('storage'))")
    page.locator("[data-drawn=dark]").wait_for()
    mark.click()
    page.get_by_role("heading", name="Where they differ").wait_for()
    assert page.locator("th", has_text="balanced").count() > 0


@pytest.mark.parametrize("path", ["sweeps/sweep-1?tab=parameters", "studies/orders", "trials/evidence"])
def test_every_chart_is_drawn(open_page, address, path):
    page = open_page(f"{address}/{path}")
    page.locator("[data-drawn]").last.wait_for()
    drawn(page)
    assert page.locator(".chart svg").count() == page.locator("[data-spec]").count() > 0


@pytest.mark.parametrize("tab", ["", "?tab=configurations", "?tab=trials", "?tab=parameters", "?tab=environment"])
def test_a_sweep_ends_before_three_screens(open_page, address, tab):
    page = open_page(f"{address}/sweeps/sweep-1{tab}")
    assert height_of(page) <= 3000


def test_a_table_is_sorted_and_filtered_and_its_address_keeps_both(open_page, address):
    page = open_page(f"{address}/sweeps/sweep-1?tab=configurations")
    names = page.locator("#configuration-table tbody tr:visible td.name")
    page.get_by_role("button", name="duration").click()
    assert names.first.inner_text() == "jdbc 4 x 50"
    page.get_by_role("searchbox").fill("copy 32")
    assert names.count() == 2
    page.reload()
    assert (names.count(), names.first.inner_text()) == (2, "copy 32 x 50")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("duration")


def test_three_configurations_stand_side_by_side(open_page, address):
    page = open_page(f"{address}/sweeps/sweep-1?tab=configurations")
    page.get_by_role("checkbox", name="Compare balanced", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="Where they differ").wait_for()
    heads = page.locator("table").first.locator("th").all_inner_texts()
    assert heads == ["Parameter", "copy 16 x 400", "copy 16 x 50", "balanced"]


def test_live_updates_swap_what_changed_and_never_a_form(open_page, address, store):
    left = plant_running(store, "live", done=30)
    page = open_page(f"{address}/sweeps/live?tab=configurations")
    chosen = page.get_by_role("checkbox", name="Compare wide", exact=True)
    chosen.check()
    page.get_by_role("searchbox").fill("wide")
    assert "30 of 76" in page.locator("#head").inner_text()
    store.record_result(left[0])
    page.get_by_text("31 of 76").wait_for()
    assert chosen.is_checked()
    assert page.get_by_role("searchbox").input_value() == "wide"
    for result in left[1:]:
        store.record_result(result)
    store.end_sweep("live", "undecided")
    page.locator("#head .badge", has_text="undecided").wait_for()
    assert chosen.is_checked()
    assert page.locator("[data-live]").count() == 0


def test_a_part_that_did_not_change_is_left_as_it_is(open_page, address, store):
    left = plant_running(store, "still", done=30)
    page = open_page(f"{address}/sweeps/still?tab=environment")
    page.evaluate("document.querySelector('h2').dataset.mine = 'yes'")
    store.record_result(left[0])
    page.get_by_text("31 of 76").wait_for()
    assert page.locator("h2[data-mine=yes]").count() == 1
    store.end_sweep("still", "failed", "stopped by the test")


def test_a_trial_reads_well_and_names_no_place_of_the_machine(open_page, address):
    page = open_page(f"{address}/trials/evidence")
    groups = page.locator("#metrics h3").all_inner_texts()
    assert groups == ["Speed", "Memory and processor", "What was moved", "Faults", "Spark"]
    assert page.locator("#metrics tr").first.inner_text().split("\t") == ["duration", "5.6 s"]
    assert "collect at mover.py:12" in page.locator("main").inner_text()
    assert not re.search(r"/(home|work|tmp|opt|usr|var)/", page.content())


@pytest.fixture(scope="module")
def long_name(store, tmp_path_factory):
    """A sweep with a name that fits no screen; its study stands last in the list."""
    plant_long_name(store, tmp_path_factory.mktemp("long"), "unusual_names")
    return "unusual_names"


MAGNIFIED = {"width": 700, "height": 450}
"""What a browser at 200% makes of a desk's screen."""


@pytest.mark.parametrize("size", [DESK, PHONE, MAGNIFIED], ids=["desk", "phone", "magnified"])
def test_nothing_is_wider_than_the_screen(open_page, address, long_name, size):
    paths = ["", "studies/orders", f"studies/{long_name}", "trials/evidence"]
    paths += [f"sweeps/{long_name}?tab={tab}" for tab in ("decision", "configurations", "trials", "analysis")]
    page, wide = open_page(f"{address}/", size), {}
    for path in paths:
        page.goto(f"{address}/{path}")
        width = drawn(page).evaluate("document.documentElement.scrollWidth")
        if width > size["width"]:
            wide[path] = width
    assert not wide


def test_on_paper_the_dark_theme_is_light(open_page, address):
    page = drawn(open_page(f"{address}/sweeps/sweep-1", theme="dark"))
    page.emulate_media(media="print")
    colours = page.evaluate(
        "[document.querySelector('h1'), document.querySelector('.chart svg text')].map(e => "
        "[getComputedStyle(e).color, getComputedStyle(e).fill])"
    )
    assert colours[0][0] == colours[1][1] == "rgb(24, 32, 43)"
    assert page.locator("nav.tabs").is_hidden()


def test_back_and_forward_and_reload_keep_the_tab(open_page, address):
    page = open_page(f"{address}/sweeps/sweep-1")
    page.get_by_role("link", name="Trials", exact=True).click()
    page.locator("#trials").wait_for()
    page.get_by_role("link", name="Parameters", exact=True).click()
    page.get_by_role("heading", name="All trials at a glance").wait_for()
    page.reload()
    page.get_by_role("heading", name="All trials at a glance").wait_for()
    page.go_back()
    page.locator("#trials").wait_for()
    page.go_forward()
    page.get_by_role("heading", name="All trials at a glance").wait_for()
