"""A person at a browser: logs in, triggers a sweep of the real migration, watches it, promotes, rolls back."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from tests.patience import PAGE_MS
from tests.real_airflow import ROOT, running_airflow

PICTURES = ROOT / "build" / "screenshots"
USERS = {"ada": "of-the-tests-ada", "vic": "of-the-tests-vic"}


@pytest.fixture(scope="module")
def airflow(postgres, flights, spark_env, tmp_path_factory):
    """Airflow with a login, an admin and a viewer, and the study of the migration, made small."""
    folder = tmp_path_factory.mktemp("browser")
    target = postgres.create_database("browser_target")
    (folder / "dags").mkdir()
    shutil.copy(ROOT / "dags" / "tune_migration.py", folder / "dags")
    (folder / "studies").mkdir()
    (folder / "studies" / "migration.yaml").write_text(
        yaml.safe_dump(_small_study(), sort_keys=False), encoding="utf-8"
    )
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(USERS), encoding="utf-8")
    with running_airflow(
        folder,
        postgres,
        **{name: value for name, value in spark_env.items() if name != "PYTHONPATH"},
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=False,
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS="ada:admin,vic:viewer",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=passwords,
        AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[*]"}',
        AIRFLOW_CONN_MIGRATION_SOURCE=flights,
        AIRFLOW_CONN_MIGRATION_TARGET=target,
    ) as real:
        body = {"username": "ada", "password": USERS["ada"]}
        real.token = real.rest("/auth/token", body)["access_token"]
        real.until(lambda: real.knows("tune_migration"))
        yield real


def _small_study():
    study = yaml.safe_load((ROOT / "include" / "configs" / "migration.yaml").read_text(encoding="utf-8"))
    names = ("copy_8", study["control"])
    study["presets"] = {name: values for name, values in study["presets"].items() if name in names}
    study["fallback"] = study["control"]
    study["workload"]["default_size"] = min(study["workload"]["sizes"], key=study["workload"]["sizes"].get)
    budget = {"trials": 4, "blocks": 2, "rounds": 1, "confirm_blocks": 0, "repeats": 1, "min_work_s": 0}
    return study | {"budget": study["budget"] | budget, "strategy": "presets", "schedule": None}


def log_in(chromium, airflow, user):
    page = chromium.new_context(base_url=airflow.url, viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(PAGE_MS)
    page.goto("/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", USERS[user])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "login" not in address)
    return page


def chart(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def newest_run(airflow):
    runs = airflow.rest("/api/v2/dags/tune_migration/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
    return runs[0]["dag_run_id"] if runs else None


def test_an_admin_triggers_watches_promotes_and_rolls_back(chromium, airflow):
    page = log_in(chromium, airflow, "ada")
    page.goto("/dags/tune_migration")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Trigger").last.wait_for()
    chart(page, "trigger")
    page.get_by_role("dialog").get_by_role("button", name="Trigger").last.click()
    run_id = airflow.until(lambda: newest_run(airflow))

    sweep_tab = f"/dags/tune_migration/runs/{run_id}/plugin/pipeline_tuner_sweep"
    page.goto(sweep_tab)
    frame = page.frame_locator("iframe")
    frame.get_by_role("progressbar").wait_for()
    chart(page, "running")
    assert airflow.finished("migration", run_id) == "success", airflow.logs()

    page.goto(sweep_tab)
    frame.get_by_role("heading", name="throughput").first.wait_for()
    chart(page, "sweep-light")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    frame.get_by_role("heading", name="throughput").first.wait_for()
    assert frame.locator("html").get_attribute("data-theme") == "dark"
    chart(page, "sweep-dark")
    page.evaluate("localStorage.setItem('theme', 'light')")

    frame.get_by_role("link", name="Trials", exact=True).click()
    frame.locator("#trials a").first.click()
    frame.get_by_role("heading", name="Metrics", exact=True).wait_for()
    chart(page, "trial")

    for label in ("balanced", "copy_8"):
        page.goto(sweep_tab)
        form = frame.locator("form[action$='/promote']").first
        form.locator("select[name=label]").select_option(label)
        form.get_by_role("button").click()
        frame.get_by_role("heading", name="Decisions about production").wait_for()
    chart(page, "study")
    frame.get_by_role("button", name="Roll back").first.click()
    frame.get_by_text("rolled back", exact=True).first.wait_for()
    decisions = frame.locator("h2:has-text('Decisions') + .scroll tbody tr")
    assert [decisions.nth(n).locator("strong").inner_text() for n in range(3)] == ["balanced", "copy_8", "balanced"]

    page.goto("/plugin/pipeline_tuner")
    frame.get_by_role("heading", name="Studies").wait_for()
    chart(page, "studies")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/pipeline-tuner/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    chart(page, "phone")


def test_a_viewer_reads_and_is_refused(chromium, airflow):
    page = log_in(chromium, airflow, "vic")
    page.goto("/pipeline-tuner/")
    page.get_by_role("heading", name="Studies").wait_for()
    assert page.locator("form[method=post]").count() == 0
    answer = page.request.post("/pipeline-tuner/studies/migration/start", form={"token": "made up"})
    assert answer.status in (403, 404)
