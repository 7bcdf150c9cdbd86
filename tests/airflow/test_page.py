"""The page in Airflow's own API server: what it shows, whom it refuses, and hostile text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from pipeline_tuner.measurement import Measurement
from pipeline_tuner.monitoring.nights import Alert, Champion, NightValue
from pipeline_tuner.monitoring.store import NightStore
from pipeline_tuner.recommendation import ConfigurationEvidence, DecisionStatus, Interval, Recommendation, StandingKind
from pipeline_tuner.store import Store, migrate
from pipeline_tuner.study import parse_study
from pipeline_tuner.sweep import night_options, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult

SCRIPT = "<script>alert(1)</script>"
SQL = "'; DROP TABLE pipeline_tuner.trial; --"
STUDY = f"""
study: copy_table
job: migration
description: "{SCRIPT}"
workload: {{name: flights}}
space:
  parameters:
    partitions: {{type: integer, low: 1, high: 64, default: 4}}
    note: {{type: categorical, values: ["a", "{SCRIPT}"], default: "a"}}
presets: {{plain: {{}}, "{SCRIPT}": {{partitions: 8, note: "{SCRIPT}"}}}}
control: plain
goals: {{throughput: {{maximize: rows_per_s, unit: rows/s}}}}
"""


@pytest.fixture(scope="module")
def url(postgres):
    uri = postgres.create_database("page")
    migrate(uri)
    yield uri
    postgres.drop_database("page")


@pytest.fixture(scope="module")
def sweep_id(url):
    """A finished sweep whose every text is hostile."""
    study = parse_study(STUDY)
    options = sweep_options(study, "sweep-1")
    ratio = Interval(1.4, 1.2, 1.6, 0.95, 3)
    configuration = study.preset(SCRIPT).configuration
    known = ConfigurationEvidence(configuration, StandingKind.PICK, 3, 3, blocks=3, ratio=ratio, same_as=(SCRIPT,))
    evidence = {SCRIPT: known}
    recommendation = Recommendation(
        "throughput", DecisionStatus.BEST, SCRIPT, configuration, estimate=Interval(5e4, 4e4, 6e4, 0.95, 5), gain=ratio,
        unit="rows/s", confidence=0.95, reason=SCRIPT, evidence=evidence,
    )  # fmt: skip
    with Store(url) as store:
        store.start_sweep(study, options, dag_id="tune_migration", run_id="manual__1", triggered_by=SCRIPT)
        plans = [
            TrialPlan(
                f"t{block}-{label[:1]}", "sweep-1", "search", 1, block, i, label, study.preset(label).configuration
            )
            for block in (1, 2, 3)
            for i, label in enumerate(study.presets)
        ]
        store.plan_trials("sweep-1", study.study, plans, phase="search", round=1)
        for number, plan in enumerate(plans):
            store.record_result(_result(plan, number))
        written = f"# Analysis\n\n{SCRIPT}\n\n[x](javascript:alert(1))\n\n![p](p.svg) ![q](http://elsewhere/q.svg)"
        written += "\n\n[rest](analysis-details.md)"
        store.record_analysis("sweep-1", written, "analysis.md", f"{SCRIPT} [front](analysis.md)")
        store.record_charts("sweep-1", {"p": "<svg/>", "p-dark": "<svg/>"})
        store.record_recommendations("sweep-1", study.study, [recommendation])
        store.end_sweep("sweep-1", "recommended")
        _add_nights(store, study)
    return "sweep-1"


def _add_nights(store, study):
    """Two nights, one of them missed, with hostile words."""
    due = datetime(2026, 3, 2, 1, tzinfo=UTC)
    champion = Champion(label=SCRIPT, configuration=study.preset(SCRIPT).configuration, source="promoted")
    store.start_sweep(
        study, night_options(study, "night-1", {"throughput": champion}), dag_id="tune_migration", run_id="s"
    )
    NightStore(store).start_night("night-1", study.study, due, missed=[due - timedelta(days=1)])
    record = store.sweep("night-1")
    NightStore(store).record_alerts(record, [Alert("change", SCRIPT, "throughput")])
    figures = [
        NightValue("throughput", SCRIPT, "c1", "champion", 5e4, 3),
        NightValue("throughput", "plain", "c2", "control", 3e4, 3),
    ]
    NightStore(store).end_night(record, "alerts", SCRIPT, figures)
    with store.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE pipeline_tuner.sweep SET started_at = '2026-03-02' WHERE sweep_id = 'night-1'"
        )


def _result(plan: TrialPlan, number: int) -> TrialResult:
    if number == 5:
        return TrialResult(plan, "failed", failure="error", reason=SCRIPT)
    now = datetime.now(UTC).isoformat()
    document = {
        "contract": 1, "job": "migration", "trial_id": plan.trial_id, "status": "measured", "started_at": now,
        "ended_at": now, "samples": [{"duration_s": 1 + number / 10}], "checks": [{"name": SCRIPT, "passed": True}],
        "metrics": {"duration_s": 1 + number / 10, "rows_per_s": 1e5 - number}, "details": {"log": SCRIPT},
    }  # fmt: skip
    return TrialResult.of(plan, Measurement.model_validate(document))


@pytest.fixture(scope="module")
def api_server(airflow_env, url):
    """Airflow's whole API server app with its own login, three users and our plugin."""
    with pytest.MonkeyPatch.context() as patch:
        passwords = airflow_env / "passwords.json"
        passwords.write_text(json.dumps({"ada": "pw-ada", "vic": "pw-vic"}))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "False")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "ada:admin,vic:viewer")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("AIRFLOW__API__SECRET_KEY", "of-the-tests-only")
        patch.setenv("AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT", url)
        from airflow.api_fastapi.app import create_app, purge_cached_app

        from pipeline_tuner.web import rendering, studies_page

        for kept in (rendering.results_store, rendering.page_reads, studies_page._lists):
            kept.cache_clear()
        purge_cached_app()
        _add_dag("tune_migration")
        yield create_app()
        purge_cached_app()


def _add_dag(dag_id):
    """Let Airflow know the DAG, as its DAG processor would."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        session.merge(DagModel(dag_id=dag_id, bundle_name="dags-folder", fileloc="tune_migration.py", is_stale=False))


def client(api_server, user=None):
    from fastapi.testclient import TestClient

    browser = TestClient(api_server, base_url="http://testserver", follow_redirects=False)
    if user:
        answer = browser.post("/auth/token", json={"username": user, "password": f"pw-{user}"})
        browser.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return browser


@pytest.fixture(scope="module")
def admin(api_server, sweep_id):
    with client(api_server, "ada") as browser:
        yield browser


@pytest.fixture(scope="module")
def viewer(api_server, sweep_id):
    with client(api_server, "vic") as browser:
        yield browser


PAGES = [
    "/pipeline-tuner/",
    "/pipeline-tuner/studies/copy_table",
    "/pipeline-tuner/sweeps/sweep-1",
    "/pipeline-tuner/sweeps/sweep-1?tab=configurations",
    "/pipeline-tuner/sweeps/sweep-1?tab=trials&sort=rate&page=1",
    "/pipeline-tuner/sweeps/sweep-1?tab=parameters",
    "/pipeline-tuner/sweeps/sweep-1?tab=claims",
    "/pipeline-tuner/sweeps/sweep-1?tab=analysis",
    "/pipeline-tuner/sweeps/sweep-1?tab=analysis&details=1",
    "/pipeline-tuner/sweeps/sweep-1?tab=environment",
    "/pipeline-tuner/sweeps/night-1",
    "/pipeline-tuner/trials/t1-p",
    "/pipeline-tuner/sweeps/sweep-1/compare?a=plain&b=%3Cscript%3Ealert(1)%3C/script%3E",
    "/pipeline-tuner/sweeps/sweep-1/trials.csv",
    "/pipeline-tuner/sweeps/sweep-1/sweep.json",
    "/pipeline-tuner/sweeps/sweep-1/analysis.md",
    "/pipeline-tuner/sweeps/sweep-1/analysis-details.md",
    "/pipeline-tuner/sweeps/sweep-1/charts/p-dark.svg",
]
READ_AS_HTML = [
    page for page in PAGES if not page.endswith(("parameters", "claims", "night-1", "csv", "json", "md", "svg"))
]


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_is_refused(api_server, sweep_id, page):
    assert client(api_server).get(page).status_code == 401


@pytest.mark.parametrize("page", PAGES)
def test_a_viewer_reads(viewer, page):
    assert viewer.get(page).status_code == 200


@pytest.mark.parametrize("page", READ_AS_HTML)
def test_hostile_text_stays_text(admin, page):
    answer = admin.get(page)
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert 'href="javascript' not in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_nothing_comes_from_another_server(admin):
    for page in READ_AS_HTML:
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', admin.get(page).text)
    assert admin.get("/pipeline-tuner/static/page.css").status_code == 200


def test_the_analysis_shows_its_own_pictures_in_both_themes(admin):
    text = admin.get("/pipeline-tuner/sweeps/sweep-1?tab=analysis").text
    assert 'src="/pipeline-tuner/sweeps/sweep-1/charts/p.svg"' in text
    assert 'src="/pipeline-tuner/sweeps/sweep-1/charts/p-dark.svg"' in text
    assert "elsewhere" not in text


def test_the_analysis_leads_to_its_details_and_back(admin):
    address = "/pipeline-tuner/sweeps/sweep-1?tab=analysis"
    assert f'href="{address}&amp;details=1"' in admin.get(address).text
    assert f'href="{address}"' in admin.get(f"{address}&details=1").text.split("<article")[1]


def test_evidence_of_an_older_version_still_has_its_page(admin, url):
    from pipeline_tuner.web import sweep_charts

    with Store(url) as store, store.transaction() as connection:
        change = "UPDATE pipeline_tuner.recommendation SET document = %(document)s WHERE sweep_id = 'sweep-1'"
        query = "SELECT document FROM pipeline_tuner.recommendation WHERE sweep_id = 'sweep-1'"
        before = connection.exec_driver_sql(query).scalar()
        entry = {"ratio": before["evidence"][SCRIPT]["ratio"], "standing": "no longer known"}
        old = {**before, "status": "winner", "evidence": {SCRIPT: entry}}
        connection.exec_driver_sql(change, {"document": json.dumps(old)})
    sweep_charts._computed.cache_clear()
    try:
        assert {admin.get(page).status_code for page in PAGES} == {200}
    finally:
        sweep_charts._computed.cache_clear()
        with Store(url) as store, store.transaction() as connection:
            connection.exec_driver_sql(change, {"document": json.dumps(before)})


def test_no_secret_is_shown(admin, url):
    password = url.split(":")[2].split("@")[0]
    assert all(password not in admin.get(page).text for page in PAGES)


@pytest.mark.parametrize(
    "address",
    [
        f"/pipeline-tuner/studies/{SQL}",
        f"/pipeline-tuner/sweeps/{SQL}",
        f"/pipeline-tuner/trials/{SQL}",
        f"/pipeline-tuner/sweeps/sweep-1/compare?a={SQL}&b={SQL}2",
    ],
)
def test_sql_in_an_address_is_only_a_name(admin, address):
    assert admin.get(address).status_code == 404
    assert admin.get("/pipeline-tuner/trials/t1-p").status_code == 200


def test_sql_as_an_order_is_the_default_order(admin):
    answer = admin.get("/pipeline-tuner/sweeps/sweep-1", params={"tab": "trials", "sort": SQL, "page": 1})
    assert answer.status_code == 200
    assert "<strong>planned</strong>" in answer.text


def token_of(browser):
    return re.search(r'name="token" value="([^"]+)"', browser.get("/pipeline-tuner/studies/copy_table").text)[1]


def promote(browser, token, label=SCRIPT, **changes):
    form = {"goal": "throughput", "label": label, "token": token, "note": "faster"} | changes
    return browser.post("/pipeline-tuner/sweeps/sweep-1/promote", data=form)


def test_a_viewer_may_not_act_and_sees_no_form(viewer, admin):
    assert 'name="token"' not in viewer.get("/pipeline-tuner/studies/copy_table").text
    assert promote(viewer, token_of(admin)).status_code == 403


def test_a_forged_form_is_refused(admin):
    assert promote(admin, "forged").status_code == 403
    assert promote(admin, token_of(admin)[:-2] + "xx").status_code == 403


def test_promotion_and_roll_back_are_recorded(admin, url):
    token = token_of(admin)
    assert promote(admin, token, label="plain").status_code == 303
    # the second configuration had a failed trial, but of no kind that says it is wrong
    assert promote(admin, token).status_code == 303
    with Store(url) as store:
        assert store.production("copy_table", "throughput").label == SCRIPT
        answer = admin.post("/pipeline-tuner/studies/copy_table/roll-back", data={"goal": "throughput", "token": token})
        assert answer.status_code == 303
        assert store.production("copy_table", "throughput").label == "plain"
    again = admin.post("/pipeline-tuner/studies/copy_table/roll-back", data={"goal": "throughput", "token": token})
    assert again.status_code == 409
    shown = admin.get("/pipeline-tuner/studies/copy_table").text
    assert "rolled back" in shown
    assert "ada" in shown


def test_what_is_not_there_cannot_be_promoted(admin):
    token = token_of(admin)
    assert promote(admin, token, label="nothing").status_code == 404
    assert promote(admin, token, goal="speed").status_code == 422
    assert admin.post("/pipeline-tuner/studies/none/start", data={"token": token}).status_code == 404


def test_airflows_run_and_task_lead_to_sweep_and_trial(admin):
    answer = admin.get("/pipeline-tuner/runs/tune_migration/manual__1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pipeline-tuner/sweeps/sweep-1")
    assert "not planned a trial" in admin.get("/pipeline-tuner/runs/tune_migration/manual__2").text


def test_airflows_dag_leads_to_its_study(admin, url):
    answer = admin.get("/pipeline-tuner/dags/tune_migration")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pipeline-tuner/studies/copy_table")
    assert "No study here yet" in admin.get("/pipeline-tuner/dags/nothing_of_ours").text
    with Store(url) as store:
        row = {
            "study": "copy_table", "label": "plain", "source": "given", "configuration_id": "x", "configuration": {},
            "dag_id": "loads", "run_id": "r", "task_id": "load", "map_index": -1, "try_number": 1,
            "started_at": datetime.now(UTC),
        }  # fmt: skip
        store.start_production_run("loads/r/load/-1/1", row)
    answer = admin.get("/pipeline-tuner/dags/loads")
    assert answer.headers["location"] == "/pipeline-tuner/studies/copy_table"
    # the run is of a DAG that this study's page may show
    assert "/dags/tune_migration" in admin.get("/pipeline-tuner/studies/copy_table").text


def test_a_tuned_task_leads_to_its_study_which_may_have_no_sweep(admin, url):
    values = {
        "study": "orders", "source": "given", "configuration_id": "x", "configuration": {"memory": "2g"},
        "run_id": "r", "task_id": "load", "map_index": -1, "started_at": datetime.now(UTC),
    }  # fmt: skip
    with Store(url) as store:
        for number, (dag_id, label) in enumerate([("tune_migration", "as written"), ("of_others", "unseen")], 1):
            row = values | {"dag_id": dag_id, "label": label, "try_number": number}
            store.start_production_run(f"{dag_id}/r/load/-1/{number}", row)
    answer = admin.get("/pipeline-tuner/tasks/tune_migration/load/-1/r")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pipeline-tuner/studies/orders")
    assert 'studies/orders">orders</a>' in admin.get("/pipeline-tuner/").text
    page = admin.get("/pipeline-tuner/studies/orders")
    assert page.status_code == 200
    assert "as written" in page.text
    assert "running" in page.text
    assert "unseen" not in page.text
    assert admin.get("/pipeline-tuner/studies/none").status_code == 404


def test_the_page_of_a_tuned_task_says_what_it_learnt_and_saved(admin, url):
    study = parse_study(
        STUDY.replace("study: copy_table", "study: tuned_loads")
        .replace("job: migration", "job: loads")
        .replace("throughput: {maximize: rows_per_s, unit: rows/s}", "cost: {minimize: task_s / rows}")
    )
    assert list(study.goals) == ["cost"]
    values = {"study": "tuned_loads", "goal": "cost", "source": "x", "dag_id": "tune_migration", "run_id": "r"}
    values |= {"task_id": "load", "map_index": -1, "try_number": 1, "status": "measured", "reason": ""}
    with Store(url) as store:
        store.start_sweep(study, sweep_options(study, "tuned-1"), dag_id="tune_migration", run_id="manual__9")
        for number, label in enumerate(["plain", "new", "plain", "new", *["new"] * 6, "bad", "plain"]):
            row = values | {"label": label, "configuration_id": label, "configuration": {"partitions": 4}}
            spent = {"plain": 100, "new": 50, "bad": 150}[label]
            row |= {"metrics": {"task_s": spent, "rows": 10}, "started_at": datetime(2026, 3, 1 + number, tzinfo=UTC)}
            store.record_production_run(f"tuned-{number}", row | {"run_id": f"r{number}"})
    page = " ".join(admin.get("/pipeline-tuner/studies/tuned_loads").text.split())
    assert "<h3>tune_migration.load</h3>" in page
    assert "It ran with <strong>plain</strong> first. Saved so far: <strong>" in page
    assert "of what plain would have taken in 9 runs with something else" in page
    assert "of task_s." in page
    assert (
        '<td class="words">new</td><td class="number">8</td><td class="number">0</td><td class="number">2</td>' in page
    )


def test_a_run_of_several_sweeps_leads_to_the_running_one_then_to_the_first(admin, url):
    with Store(url) as store:
        for name in ("copy_table_own", "copy_table_companion"):
            study = parse_study(STUDY.replace("study: copy_table", f"study: {name}"))
            store.start_sweep(study, sweep_options(study, name), dag_id="tune_migration", run_id="manual__3")
        store.end_sweep("copy_table_own", "recommended")
        where = admin.get("/pipeline-tuner/runs/tune_migration/manual__3").headers["location"]
        assert where == "/pipeline-tuner/sweeps/copy_table_companion"
        store.end_sweep("copy_table_companion", "recommended")
    where = admin.get("/pipeline-tuner/runs/tune_migration/manual__3").headers["location"]
    assert where == "/pipeline-tuner/sweeps/copy_table_own"
    assert 'sweeps/copy_table_companion">copy_table_companion</a> too' in admin.get(where).text


def test_downloads_hold_every_trial(admin):
    lines = admin.get("/pipeline-tuner/sweeps/sweep-1/trials.csv").text.strip().splitlines()
    assert len(lines) == 7
    document = admin.get("/pipeline-tuner/sweeps/sweep-1/sweep.json").json()
    assert len(document["trials"]) == 6
    assert document["recommendations"][0]["label"] == SCRIPT


def test_the_study_shows_its_nights(admin):
    text = admin.get("/pipeline-tuner/studies/copy_table").text
    assert "missed" in text
    assert "2026-03-02 production" in text
    assert "data-spec=" in text


def test_a_study_that_only_nights_watched_has_its_page(admin, url):
    study = parse_study(STUDY.replace("study: copy_table", "study: only_watched"))
    with Store(url) as store:
        store.start_sweep(study, night_options(study, "watch-1", {}), dag_id="tune_migration", run_id="s-1")
        NightStore(store).start_night("watch-1", study.study, datetime(2026, 3, 2, 1, tzinfo=UTC))
        store.end_sweep("watch-1", "undecided")
    page = admin.get("/pipeline-tuner/studies/only_watched")
    assert page.status_code == 200
    assert "None yet: the nights stand above" in page.text
    assert 'name="token"' in page.text


def test_the_script_of_the_charts_has_its_content_in_its_address(admin):
    address = re.search(r'data-charts="([^"]+)"', admin.get("/pipeline-tuner/").text)[1]
    answer = admin.get(address)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert "[data-spec]" in answer.text
    assert len(answer.content) < 1_000_000
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert admin.get(address.replace(".js", "0.js")).status_code == 404
    assert admin.get("/pipeline-tuner/").headers["cache-control"] == "no-store"


def test_the_list_says_of_many_studies_what_the_store_says_of_one(admin, url):
    from pipeline_tuner.store.page_lists import PageLists

    with Store(url) as store:
        lists = PageLists(store)
        assert lists.last_seen(["copy_table", "none"])["copy_table"] == store.last_seen("copy_table")
        assert lists.production(["copy_table"])["copy_table", "throughput"] == store.production(
            "copy_table", "throughput"
        )
        read = lists.recommendations(["copy_table"])
        assert lists.production(["copy_table"], read) == lists.production(["copy_table"])
        assert promote(admin, token_of(admin), label="plain").status_code == 303
        assert lists.production(["copy_table"])["copy_table", "throughput"] == store.production(
            "copy_table", "throughput"
        )


def test_what_needs_attention_is_named_first(admin):
    text = admin.get("/pipeline-tuner/").text
    asking = text.split('id="asking"')[1].split("</div>")[0]
    assert "copy_table" in asking
    assert "promote &lt;script&gt;alert(1)&lt;/script&gt; for throughput?" in text


ACTIONS = {
    "/pipeline-tuner/sweeps/sweep-1/promote": ("goal", "label", "note", "token"),
    "/pipeline-tuner/studies/copy_table/roll-back": ("goal", "note", "token"),
    "/pipeline-tuner/studies/copy_table/start": ("strategy", "goals", "size", "trials", "minutes", "seed", "token"),
}


def fields_of(action, token):
    values = {
        "goal": "throughput",
        "label": "plain",
        "note": "n",
        "token": token,
        "strategy": "presets",
        "size": "full",
    }
    return {name: values.get(name, "") for name in ACTIONS[action]}


@pytest.mark.parametrize("action", ACTIONS)
def test_nobody_acts_without_a_login_a_right_and_a_form_of_their_own(api_server, admin, viewer, action, url):
    before = promotions(url)
    token, theirs = token_of(admin), re.sub(".", "x", token_of(admin))
    assert client(api_server).post(action, data=fields_of(action, token)).status_code == 401
    assert viewer.post(action, data=fields_of(action, token)).status_code == 403
    assert admin.post(action, data=fields_of(action, theirs)).status_code == 403
    assert admin.post(action, data={**fields_of(action, token), "token": ""}).status_code in (403, 422)
    assert admin.get(action).status_code in (404, 405)
    assert promotions(url) == before


def promotions(url):
    with Store(url) as store, store.transaction() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM pipeline_tuner.promotion").scalar()


@pytest.mark.parametrize(("action", "field"), [(a, f) for a, fields in ACTIONS.items() for f in fields])
@pytest.mark.parametrize("hostile", [SQL, SCRIPT, "x" * 501], ids=["sql", "script", "long"])
def test_hostile_text_in_any_field_is_refused_or_only_text(admin, url, action, field, hostile):
    known = fields_of(action, token_of(admin))
    if (action.rsplit("/", 1)[-1], field) == ("roll-back", "note"):
        known["token"] = "forged"  # the text itself is harmless there: only the refusal of the form is left to see
    answer = admin.post(action, data={**known, field: hostile}, headers={"Accept": "text/html"})
    assert answer.status_code in (303, 403, 404, 409, 422)
    assert "<script>alert" not in answer.text
    with Store(url) as store:
        assert len(store.results("sweep-1")) == 6
    assert "<script>alert" not in admin.get("/pipeline-tuner/studies/copy_table").text


@pytest.mark.parametrize("hostile", [SQL, SCRIPT])
@pytest.mark.parametrize(
    "address",
    [
        "/pipeline-tuner/studies/copy_table?page={}",
        "/pipeline-tuner/sweeps/sweep-1?page={}",
        "/pipeline-tuner/sweeps/sweep-1?tab=trials&sort={}",
        "/pipeline-tuner/sweeps/sweep-1?tab={}",
        "/pipeline-tuner/sweeps/sweep-1?goal={}",
        "/pipeline-tuner/sweeps/sweep-1/compare?c=plain&c={}",
        "/pipeline-tuner/sweeps/sweep-1/compare?a=plain&b={}",
        "/pipeline-tuner/sweeps/{}/trials.csv",
        "/pipeline-tuner/sweeps/{}/sweep.json",
        "/pipeline-tuner/sweeps/sweep-1/charts/{}.svg",
        "/pipeline-tuner/runs/tune_migration/{}",
        "/pipeline-tuner/runs/{}/manual__1",
        "/pipeline-tuner/dags/{}",
        "/pipeline-tuner/tasks/tune_migration/{}/0/manual__1",
        "/pipeline-tuner/tasks/tune_migration/trial/{}/manual__1",
    ],
)
def test_hostile_text_in_any_address_is_only_text(admin, address, hostile):
    from urllib.parse import quote

    answer = admin.get(address.format(quote(hostile, safe="")))
    assert answer.status_code in (200, 303, 404, 422)
    assert "<script>alert" not in answer.text or answer.headers["content-type"].startswith("application/json")
    assert admin.get("/pipeline-tuner/trials/t1-p").status_code == 200


def test_a_refusal_is_a_page_for_people_and_json_for_programs(admin, viewer):
    address = "/pipeline-tuner/sweeps/none"
    assert admin.get(address).json()["detail"].startswith("No such sweep")
    shown = admin.get(address, headers={"Accept": "text/html"})
    assert (shown.status_code, "<h1>Not here</h1>" in shown.text) == (404, True)


@pytest.mark.parametrize("page", ["0", "-1", "1e9", "10000000000000000000"])
def test_a_page_that_cannot_be_is_refused(admin, page):
    assert admin.get(f"/pipeline-tuner/sweeps/sweep-1?page={page}").status_code == 422


@pytest.mark.parametrize("page", PAGES[1:])
def test_who_may_not_read_the_studys_dag_sees_nothing_of_it(admin, page, monkeypatch):
    from airflow.api_fastapi.app import get_auth_manager

    manager = get_auth_manager()
    monkeypatch.setattr(manager, "is_authorized_dag", lambda **_: False)
    monkeypatch.setattr(manager, "get_authorized_dag_ids", lambda **_: {"another_dag"})
    assert admin.get(page).status_code in (403, 404)
    assert "copy_table" not in admin.get("/pipeline-tuner/").text
