"""Findings on logs whose fault is planted: the right one is found, with the right share, and on sound runs none is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.event_logs import MB, SQL, START, FakeApplication, FakeStage, FakeTask, advised, even_stage

from pipeline_tuner.__main__ import main
from pipeline_tuner.advise import finding_words
from pipeline_tuner.advise.advice import RunAdvice, by_job
from pipeline_tuner.advise.costs import Prices
from pipeline_tuner.advise.findings import Finding, Kind, Metric, Overrule, Remedy
from pipeline_tuner.advise.platforms import Platform
from pipeline_tuner.advise.terminal import job_words, missing_words

GB = 1 << 30
ADVISORY = "spark.sql.adaptive.advisoryPartitionSizeInBytes"
SMALLEST = "spark.sql.adaptive.coalescePartitions.minPartitionSize"


def only(advice: RunAdvice, kind: Kind) -> Finding:
    (found,) = [finding for finding in advice.findings if finding.kind is kind]
    return found


def kinds(advice: RunAdvice) -> set[Kind]:
    return {finding.kind for finding in advice.findings}


def values(finding: Finding) -> dict[str, str]:
    return {proposal.setting: proposal.value for proposal in finding.proposals}


def test_a_sound_run_gets_no_advice(tmp_path):
    app = FakeApplication([even_stage(0, 500, 100_000, waves=10, bytes=100 * MB)], end=100_200)
    assert kinds(advised(app, tmp_path)) == set()


def skewed(bytes_of_longest: int, **given) -> FakeStage:
    tasks = [FakeTask(500, 10_500, bytes=20 * MB) for _ in range(15)]
    return FakeStage(0, [*tasks, FakeTask(500, 90_500, bytes=bytes_of_longest)], **given)


def test_skewed_data_is_told_from_a_slow_task(tmp_path):
    app = FakeApplication([skewed(400 * MB)], end=91_000)
    found = only(advised(app, tmp_path), Kind.SKEW)
    # 240 task-seconds over 4 slots are 60 s; the longest task took 90 s.
    assert found.wall_ms == pytest.approx(30_000)
    assert found.remedy is Remedy.SALT
    slow = advised(FakeApplication([skewed(20 * MB)], end=91_000), tmp_path)
    assert only(slow, Kind.STRAGGLER).place == "executor 1 on host-1"
    assert Kind.SKEW not in kinds(slow)


def test_a_skewed_join_gets_adaptive_execution_with_a_threshold_that_acts(tmp_path):
    plan = {"nodeName": "SortMergeJoin", "children": [], "metrics": []}
    query = {"Event": SQL + "SQLExecutionStart", "executionId": 7, "time": START, "sparkPlanInfo": plan}
    app = FakeApplication([skewed(200 * MB, execution=7)], end=91_000, others=[query])
    found = only(advised(app, tmp_path), Kind.SKEW)
    assert values(found) == {"spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "100m"}
    app.settings = {"spark.master": "yarn", "spark.sql.adaptive.enabled": "false"}
    assert values(only(advised(app, tmp_path), Kind.SKEW))["spark.sql.adaptive.enabled"] == "true"


def test_a_large_file_that_was_not_split_is_no_matter_of_a_setting(tmp_path):
    found = only(advised(FakeApplication([skewed(600 * MB, rdd="FileScanRDD")], end=91_000), tmp_path), Kind.SKEW)
    assert (found.remedy, found.proposals) == (Remedy.SPLIT_FILES, ())


def test_spill_proposes_partitions_that_fit_and_its_share_is_bounded(tmp_path):
    stage = even_stage(0, 500, 80_500, waves=4, bytes=GB, spilled=400 * MB, cpu_ms=12_000)
    app = FakeApplication([stage], end=81_000, settings={"spark.master": "yarn", "spark.executor.memory": "2g"})
    app.settings["spark.sql.adaptive.enabled"] = "false"
    advice = advised(app, tmp_path)
    found = only(advice, Kind.SPILL)
    # Each task: 8 s without a processor, and 400 MB there and back at 100 MB/s are 8.4 s.
    assert advice.wall_share(found) == pytest.approx(0.4 * 80_000 / 81_000, rel=0.01)
    assert int(values(found)["spark.sql.shuffle.partitions"]) % 4 == 0
    assert int(values(found)["spark.sql.shuffle.partitions"]) > 16
    app.settings["spark.sql.adaptive.enabled"] = "true"
    adaptive = only(advised(app, tmp_path), Kind.SPILL)
    assert adaptive.overruled == (Overrule.AQE_COALESCES,)


def test_gc_is_only_a_matter_of_memory_where_the_heap_was_full(tmp_path):
    def run(peak: int) -> Finding:
        stage = even_stage(0, 500, 90_500, waves=3, gc_ms=9000, peak_heap=peak, bytes=200 * MB)
        given = {"spark.master": "yarn", "spark.executor.memory": "4g"}
        return only(advised(FakeApplication([stage], end=91_000, settings=given), tmp_path), Kind.GC)

    assert values(run(int(3.8 * GB))) == {"spark.executor.memory": "6g"}
    assert run(GB).remedy is Remedy.NOT_THE_HEAP
    assert values(run(GB)) == {}


def test_too_few_tasks_by_what_sets_their_number(tmp_path):
    def run(rdd: str, **settings: str) -> Finding:
        stage = FakeStage(0, [FakeTask(500, 40_500, executor=str(n), bytes=GB) for n in range(2)], rdd=rdd)
        executors = {str(n): 4 for n in range(4)}
        app = FakeApplication([stage], end=41_000, executors=executors, settings={"spark.master": "yarn", **settings})
        return only(advised(app, tmp_path), Kind.TOO_FEW_TASKS)

    found = run("FileScanRDD")
    assert found.metric(Metric.SLOTS) == pytest.approx(16, rel=0.01)
    assert found.wall_ms == pytest.approx(35_000, rel=0.01)
    assert values(found) == {"spark.sql.files.maxPartitionBytes": "64m"}
    assert run("JDBCRDD").remedy is Remedy.PARTITION_JDBC
    assert values(run("ShuffledRDD")) == {"spark.default.parallelism": "32"}
    off = {"spark.sql.adaptive.enabled": "false"}
    assert values(run("ShuffledRowRDD", **off)) == {"spark.sql.shuffle.partitions": "32"}
    few = {"spark.sql.shuffle.partitions": "2"}
    assert values(run("ShuffledRowRDD", **few)) == {"spark.sql.shuffle.partitions": "32"}
    auto = run("ShuffledRowRDD", **{"spark.sql.shuffle.partitions": "auto"})
    assert (auto.proposals, auto.overruled) == ((), (Overrule.DATABRICKS_AUTO,))


def test_what_adaptive_execution_joined_is_kept_apart_by_what_binds_it(tmp_path):
    """6.7 MB for 30 cores: by itself Spark aims at 0.2 MB for each, but makes no partition under 1 MB."""
    stage = FakeStage(0, [FakeTask(500, 40_500, executor=str(n), bytes=MB) for n in range(7)])
    app = FakeApplication([stage], end=41_000, executors={str(n): 3 for n in range(10)})
    found = only(advised(app, tmp_path), Kind.TOO_FEW_TASKS)
    assert values(found) == {ADVISORY: "1m", SMALLEST: "119k"}
    app.version = "3.1.1"
    app.settings["spark.sql.adaptive.enabled"] = "true"
    assert values(only(advised(app, tmp_path), Kind.TOO_FEW_TASKS)) == {ADVISORY: "1m"}


def test_a_single_task_that_adaptive_execution_made_is_no_coalesce(tmp_path):
    plan = {"nodeName": "AQEShuffleRead coalesced", "children": [], "metrics": []}
    joined = {"Event": SQL + "SQLExecutionStart", "executionId": 7, "time": START, "sparkPlanInfo": plan}
    stage = even_stage(0, 500, 40_500, tasks=1, bytes=MB, execution=7)
    app = FakeApplication([stage], end=41_000)
    assert only(advised(app, tmp_path), Kind.ONE_TASK).remedy is Remedy.AVOID_SINGLE_TASK
    app.others = [joined]
    advice = advised(app, tmp_path)
    assert Kind.ONE_TASK not in kinds(advice)
    assert SMALLEST in values(only(advice, Kind.TOO_FEW_TASKS))


def test_too_many_tasks_over_all_stages_of_a_setting(tmp_path):
    stages = [even_stage(n, 500 + 5000 * n, 5500 + 5000 * n, waves=50, run_ms=20, bytes=1000) for n in range(3)]
    app = FakeApplication(stages, end=16_000, settings={"spark.master": "yarn", "spark.sql.adaptive.enabled": "false"})
    found = only(advised(app, tmp_path), Kind.TOO_MANY_TASKS)
    assert found.stages == 3
    assert values(found) == {"spark.sql.adaptive.enabled": "true", "spark.sql.shuffle.partitions": "4"}
    app.settings["spark.sql.adaptive.enabled"] = "true"
    adaptive = only(advised(app, tmp_path), Kind.TOO_MANY_TASKS)
    assert "spark.sql.shuffle.partitions" not in values(adaptive)
    assert Overrule.AQE_COALESCES in adaptive.overruled


def test_small_files_by_the_scans_own_count(tmp_path):
    metrics = [{"name": "number of files read", "accumulatorId": 1}, {"name": "size of files read", "accumulatorId": 2}]
    plan = {"nodeName": "Scan parquet", "children": [], "metrics": metrics}
    others = [
        {"Event": SQL + "DriverAccumUpdates", "executionId": 7, "accumUpdates": [[1, 5000], [2, 5000 * 100_000]]},
        {"Event": SQL + "SQLExecutionStart", "executionId": 7, "time": START, "sparkPlanInfo": plan},
    ]
    stage = even_stage(0, 500, 60_500, waves=5, rdd="FileScanRDD", execution=7, cpu_ms=3000, bytes=25_000_000)
    found = only(advised(FakeApplication([stage], end=61_000, others=others), tmp_path), Kind.SMALL_FILES_READ)
    assert found.wall_ms == pytest.approx(60_000 * 0.75)
    assert found.value == 4


def test_failed_work_and_lost_executors(tmp_path):
    lost = {"Reason": "ExecutorLostFailure"}
    tasks = [FakeTask(500, 20_500), FakeTask(500, 20_500), FakeTask(500, 10_500, executor="2", reason=lost)]
    again = even_stage(0, 20_500, 30_500, tasks=2, attempt=1, job=0)
    reason = "Container killed by YARN for exceeding memory limits. 5.5 GB of 5.5 GB physical memory used"
    app = FakeApplication(
        [FakeStage(0, tasks, job=0), again], end=31_000, executors={"1": 2, "2": (2, 0, 10_500, reason)}
    )
    advice = advised(app, tmp_path)
    failed, gone = only(advice, Kind.FAILED_WORK), only(advice, Kind.LOST_EXECUTORS)
    assert failed.metric(Metric.STAGES_AGAIN) == 1
    assert failed.wall_ms > 10_000
    assert gone.metric(Metric.LOST_MEMORY) == 1
    assert values(gone) == {"spark.executor.memoryOverhead": "768m"}


def test_executors_that_leave_because_they_are_idle_are_not_lost(tmp_path):
    life = (2, 0, 20_000, "Container released on idle timeout: executor no longer needed")
    app = FakeApplication([even_stage(0, 500, 40_000, tasks=2)], end=40_100, executors={"1": 2, "2": life})
    assert Kind.LOST_EXECUTORS not in kinds(advised(app, tmp_path))


def test_start_up_driver_and_idle_executors(tmp_path):
    late = {"1": (4, 20_000, None, ""), "2": (4, 20_000, None, "")}
    stages = [even_stage(0, 30_000, 50_000), even_stage(1, 80_000, 100_000)]
    advice = advised(FakeApplication(stages, end=100_100, executors=late), tmp_path)
    assert only(advice, Kind.STARTUP).wall_ms == 30_000
    assert only(advice, Kind.STARTUP).remedy is Remedy.KEEP_WARM
    driver = only(advice, Kind.DRIVER)
    assert (driver.wall_ms, driver.remedy, driver.place) == (30_100, Remedy.DRIVER_CODE, "after job 0 before job 1")
    idle = only(advice, Kind.IDLE_EXECUTORS)
    assert values(idle) == {"spark.executor.instances": "1"}
    assert advice.money_share(idle) == pytest.approx(0.5)


def test_dynamic_allocation_and_databricks_have_the_last_word(tmp_path):
    executors = {str(n): 4 for n in range(8)}
    app = FakeApplication([even_stage(0, 500, 90_000, tasks=4)], end=90_100, executors=executors)
    app.settings = {"spark.master": "yarn", "spark.dynamicAllocation.enabled": "true"}
    found = only(advised(app, tmp_path), Kind.IDLE_CORES)
    assert "spark.executor.instances" not in values(found)
    assert found.overruled == (Overrule.DYNAMIC_ALLOCATION,)
    app.settings = {"spark.databricks.clusterUsageTags.clusterId": "1"}
    advice = advised(app, tmp_path)
    assert advice.rules.platform is Platform.DATABRICKS
    found = only(advice, Kind.IDLE_CORES)
    assert (found.proposals, found.overruled) == ((), (Overrule.SIZE_BY_MACHINE,))


def test_a_session_is_not_told_to_buy_fewer_cores(tmp_path):
    app = FakeApplication([even_stage(0, 50_000, 60_000)], end=200_000, name="Spark shell")
    advice = advised(app, tmp_path)
    assert only(advice, Kind.DRIVER).remedy is Remedy.SESSION
    assert Kind.IDLE_CORES not in kinds(advice)


def test_executors_of_another_time_are_not_counted(tmp_path, capsys):
    app = FakeApplication([even_stage(0, 500, 40_000)], end=41_000, executors={"1": (4, 9_000_000_000, None, "")})
    advice = advised(app, tmp_path)
    assert advice.breakdown.core_ms is None
    assert main(["advise", str(tmp_path)]) == 0
    assert "nothing is said about cores" in capsys.readouterr().out.replace("\n", " ")


def test_unlimited_executors_wait_for_the_longest_task_of_each_stage_in_turn(tmp_path):
    stages = [even_stage(0, 1000, 41_000, waves=10), even_stage(1, 41_000, 61_000, waves=4, parents=(0,))]
    advice = advised(FakeApplication(stages, end=62_000), tmp_path)
    assert advice.breakdown.bound_ms == 2000 + 4000 + 5000
    assert advice.breakdown.predicted_ms(2.0) == pytest.approx(2000 + 20_000 + 10_000)


@st.composite
def applications(draw):
    count = draw(st.integers(1, 6))
    stages, at = [], draw(st.integers(0, 3000))
    for number in range(count):
        begin = max(0, at + draw(st.integers(-2000, 2000)))
        tasks = [
            FakeTask(begin + draw(st.integers(0, 500)), begin + draw(st.integers(500, 6000)))
            for _ in range(draw(st.integers(1, 5)))
        ]
        earlier = [stage.stage_id for stage in stages if stage.end <= begin]
        parents = tuple(draw(st.sets(st.sampled_from(earlier), max_size=2))) if earlier else ()
        stages.append(FakeStage(number, tasks, parents=parents))
        at = max(task.end for task in tasks)
    end = max(stage.end for stage in stages) + draw(st.integers(0, 2000))
    return FakeApplication(stages, end=end, executors={"1": 40})


@settings(max_examples=60, deadline=None)
@given(app=applications())
def test_the_chain_fits_into_the_run_and_the_bound_below_it(app, tmp_path_factory):
    advice = advised(app, tmp_path_factory.mktemp("app"))
    breakdown = advice.breakdown
    assert breakdown.startup_ms + breakdown.waits_ms == breakdown.quiet_ms
    for before, after in zip(breakdown.steps, breakdown.steps[1:], strict=False):
        assert before.end <= after.begin
    on_chain = sum(step.wall_ms for step in breakdown.steps)
    assert 0 < breakdown.bound_ms <= breakdown.wall_ms
    assert on_chain <= breakdown.wall_ms
    assert 0 <= breakdown.idle_core_ms <= breakdown.core_ms
    assert all(0 <= advice.wall_share(finding) <= 1 for finding in advice.findings)


def test_every_finding_has_words_and_the_json_is_whole(tmp_path, capsys):
    for kind in Kind:
        assert finding_words.TITLES[kind]
        assert finding_words.OBSERVATIONS[kind]
    for remedy in Remedy:
        assert remedy in finding_words.SHORT_REMEDIES
        assert remedy in finding_words.FULL_REMEDIES
    FakeApplication([skewed(400 * MB)], end=91_000).write(tmp_path / "log")
    assert main(["advise", str(tmp_path), "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)
    assert job["findings"][0]["kind"] == "skew"
    assert job["runs"][0]["is_complete"] is True
    assert job["runs"][0]["stages"][0]["longest_task_s"] == 90


def test_several_runs_say_how_often(tmp_path, capsys):
    for number in range(3):
        app = FakeApplication([skewed(400 * MB)], end=91_000, app_id=f"application_1_000{number}")
        app.write(tmp_path / f"log{number}")
    assert main(["advise", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "3 of 3" in said
    assert "3 runs; the advice is about the one marked *" in said


def test_stages_from_before_the_application_end_the_walk(tmp_path):
    """Clocks are set back, logs are edited: a stage that began before its application must not be walked for ever."""
    app = FakeApplication([even_stage(0, -5000, 1000), even_stage(1, 500, 3000, parents=(0,))], end=4000)
    advice = advised(app, tmp_path)
    assert sum(step.wall_ms for step in advice.breakdown.steps) <= advice.breakdown.wall_ms


def test_absurd_figures_are_no_event_and_no_share_is_above_one(tmp_path):
    huge = FakeApplication([even_stage(0, 0, 9000, bytes=1 << 63)], end=9100)
    assert advised(huge, tmp_path).read.not_events == 4
    negative = FakeApplication([even_stage(0, 0, 9000, waves=2, run_ms=1, wait_ms=10**9)], end=9100)
    advice = advised(negative, tmp_path)
    assert all(0 <= advice.wall_share(finding) <= 1 for finding in advice.findings)


def test_platforms_by_what_only_they_have(tmp_path):
    def platform(system: dict[str, str] | None = None, version: str = "3.5.1", **spark: str) -> Platform:
        app = FakeApplication([even_stage(0, 0, 1000)], end=1000, version=version, settings=spark, system=system or {})
        return advised(app, tmp_path).rules.platform

    assert platform(**{"spark.master": "k8s://https://h"}) is Platform.KUBERNETES
    assert platform(**{"spark.master": "yarn"}) is Platform.YARN
    assert platform(**{"spark.master": "spark://h:7077"}) is Platform.STANDALONE
    assert platform(**{"spark.master": "local[2]"}) is Platform.LOCAL
    assert platform(**{"spark.master": "yarn", "spark.databricks.delta.x": "1"}) is Platform.YARN
    assert platform(version="3.3.0-amzn-0", **{"spark.master": "yarn"}) is Platform.EMR
    assert platform({"EMR_CLUSTER_ID": "j-1"}, **{"spark.master": "local[*]"}) is Platform.EMR
    assert platform(**{"spark.databricks.workerNodeTypeId": "m", "spark.master": "local[*]"}) is Platform.DATABRICKS
    assert platform() is Platform.UNKNOWN


def test_two_shells_are_no_job(tmp_path, capsys):
    for number in range(2):
        app = FakeApplication([even_stage(0, 0, 1000)], end=1000, name="Spark shell", app_id=f"a{number}")
        app.write(tmp_path / f"log{number}")
    assert main(["advise", str(tmp_path)]) == 0
    assert "2 runs" not in capsys.readouterr().out


def test_attempts_that_failed_before_are_told(tmp_path, capsys):
    app = FakeApplication([even_stage(0, 0, 1000)], end=1000, attempt="3")
    app.settings = {"spark.master": "yarn", "spark.app.submitTime": str(START - 150_000)}
    app.write(tmp_path / "log")
    assert main(["advise", str(tmp_path)]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "submitted 2.5 min before it started" in said
    assert "attempts before this one failed" in said


def tiny(tmp_path, tasks: int, task_ms: int, size: int, **settings: str) -> RunAdvice:
    """A run of one shuffle stage: tasks of a size, two at once, that spend all their time in their own run time."""
    stage = even_stage(0, 500, 500 + tasks // 2 * task_ms, 2, waves=tasks // 2, bytes=size)
    app = FakeApplication([stage], end=1000 + tasks // 2 * task_ms, executors={"driver": 2})
    app.settings = {"spark.master": "local[2]", **settings}
    return advised(app, tmp_path)


@pytest.mark.parametrize("task_ms", [180, 700], ids=["fast machine", "slow machine"])
def test_tiny_tasks_are_found_by_what_they_read_though_they_are_busy_all_the_time(tmp_path, task_ms):
    advice = tiny(tmp_path, 400, task_ms, 315_000, **{"spark.sql.adaptive.enabled": "false"})
    found = only(advice, Kind.TOO_MANY_TASKS)
    assert values(found)["spark.sql.adaptive.enabled"] == "true"
    assert int(values(found)["spark.sql.shuffle.partitions"]) < 400
    assert advice.wall_share(found) > 0.2


def test_tasks_with_a_lot_to_read_or_that_take_seconds_are_not_tiny(tmp_path):
    assert Kind.TOO_MANY_TASKS not in kinds(tiny(tmp_path, 400, 300, 20 * MB))
    assert Kind.TOO_MANY_TASKS not in kinds(tiny(tmp_path, 40, 3000, 20_000))


def test_an_old_spark_is_not_told_to_be_adaptive(tmp_path):
    stage = even_stage(0, 500, 36_500, 2, waves=200, bytes=300_000)
    app = FakeApplication([stage], end=37_000, executors={"driver": 2}, version="2.4.8")
    assert set(values(only(advised(app, tmp_path), Kind.TOO_MANY_TASKS))) == {"spark.sql.shuffle.partitions"}


def said(advice: RunAdvice) -> str:
    (job,) = by_job([advice])
    return " ".join(job_words(job, Prices()).split())


def test_sizes_that_have_lost_their_unit_are_named(tmp_path):
    sizes = {"spark.sql.adaptive.advisoryPartitionSizeInBytes": "128", "spark.sql.autoBroadcastJoinThreshold": "2"}
    words = said(tiny(tmp_path, 130, 300, 28_000, **sizes))
    assert "advisoryPartitionSizeInBytes=128 is 128 B: a number without a unit is bytes; 128m is MB." in words
    assert "autoBroadcastJoinThreshold=2 is 2 B" in words
    fine = {"spark.sql.adaptive.advisoryPartitionSizeInBytes": "64m", "spark.sql.autoBroadcastJoinThreshold": "-1"}
    assert "hardly meant" not in said(tiny(tmp_path, 130, 300, 28_000, **fine))


def test_a_start_that_no_setting_shortens_comes_last(tmp_path):
    stage = even_stage(0, 30_000, 40_000, 2, waves=40, bytes=10_000)
    advice = advised(FakeApplication([stage], end=40_500, executors={"1": 2}), tmp_path)
    assert advice.findings[-1].kind is Kind.STARTUP
    assert len(advice.findings) > 1
    assert only(advice, Kind.STARTUP).remedy is Remedy.STARTING


def test_one_machine_has_no_more_cores_than_it_has(tmp_path):
    words = said(tiny(tmp_path, 40, 3000, 20_000))
    assert "Any number of cores:" in words
    assert "2x the cores" not in words
    assert "4x the cores" not in words


def test_a_run_without_a_task_is_advised_nothing(tmp_path):
    app = FakeApplication([], end=60_000, executors={"driver": 2}, settings={"spark.master": "local[2]"})
    assert advised(app, tmp_path).findings == ()


def test_a_log_without_an_end_and_without_open_tasks_counts_none(tmp_path):
    app = FakeApplication([even_stage(0, 0, 1000)], end=None)
    words = " ".join(missing_words(advised(app, tmp_path).read))
    assert "The application's end isn't in the log." in words
    assert "0 tasks" not in words
