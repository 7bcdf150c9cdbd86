"""Studies written from logs: what was submitted, what can matter, and that each is a study that validates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.event_logs import MB, FakeApplication, FakeStage, FakeTask, advised, even_stage

from pipeline_tuner.__main__ import main
from pipeline_tuner.advise.advice import by_job
from pipeline_tuner.advise.costs import Prices
from pipeline_tuner.advise.study_writer import StudyNotWrittenError, own_settings, study_text
from pipeline_tuner.advise.submission import Submission, submission_of
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import parse_study
from pipeline_tuner.unfilled import unfilled

PLUGINS = Path(__file__).parents[2] / "plugins"
SUBMIT = "org.apache.spark.deploy.SparkSubmit"
YARN = "org.apache.spark.deploy.yarn.ApplicationMaster"
DRIVER = "org.apache.spark.deploy.worker.DriverWrapper spark://Worker@h:1 /opt/app.jar com.me.Main a b"


def submitted(tmp_path, command: str, **spark: str) -> Submission:
    app = FakeApplication([even_stage(0, 0, 1000)], end=1000, java_command=command)
    app.settings = {"spark.master": "yarn", **spark}
    return submission_of(advised(app, tmp_path).read.application)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            f"{SUBMIT} --master yarn --deploy-mode client --class com.me.Main --num-executors 4 s3://b/app.jar in out",
            Submission("s3://b/app.jar", "com.me.Main", ("in", "out")),
        ),
        (
            f"{SUBMIT} --py-files /a/lib.zip --verbose --conf=spark.x=1 /a/job.py --day 2024-01-01 -v",
            Submission("/a/job.py", "", ("--day", "2024-01-01", "-v"), py_files="/a/lib.zip"),
        ),
        (
            f"{SUBMIT} --class com.me.Main --packages g:a:1 job.jar",
            Submission("<fill in: the folder of the application>/job.jar", "com.me.Main", (), packages="g:a:1"),
        ),
        (
            f"{YARN} --class com.me.Main --jar s3://b/app.jar --arg in --arg out --properties-file /tmp/x",
            Submission("s3://b/app.jar", "com.me.Main", ("in", "out")),
        ),
        (DRIVER, Submission("/opt/app.jar", "com.me.Main", ("a", "b"))),
        (
            f"{SUBMIT} --deploy-mode client --properties-file /opt/spark.properties --class M local:///opt/a.jar 1",
            Submission("local:///opt/a.jar", "M", ("1",)),
        ),
    ],
)
def test_what_was_submitted(tmp_path, command, expected):
    assert submitted(tmp_path, command) == expected


def test_values_with_spaces_are_told_by_the_settings(tmp_path):
    command = f"{SUBMIT} --name My nightly job --conf spark.driver.extraJavaOptions=-Da=1 -Db=2 /a/job.py x"
    spark = {"spark.app.name": "My nightly job", "spark.driver.extraJavaOptions": "-Da=1 -Db=2"}
    assert submitted(tmp_path, command, **spark) == Submission("/a/job.py", "", ("x",))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "the log doesn't say how it was started"),
        (f"{SUBMIT} --class org.apache.spark.repl.Main --name Spark shell spark-shell", "a shell"),
        (f"{SUBMIT} pyspark-shell", "a session in a Python program"),
        ("*********(redacted)", "Spark hid the command line"),
        ("com.me.Main a b", "names its main class only"),
    ],
)
def test_what_is_not_known_is_a_place_to_fill_in(tmp_path, command, words):
    found = submitted(tmp_path, command, **{"spark.app.name": "Spark shell"})
    assert found.application.startswith("<fill in: ")
    assert words in found.application
    assert "redacted" not in found.java_class


def test_secrets_among_the_arguments_are_places_to_fill_in(tmp_path):
    given = "--credential hunter2 --apiKey=hunter2 jdbc:postgresql://u:hunter2@h/d plain --token --next"
    found = submitted(tmp_path, f"{SUBMIT} /a/job.py {given}")
    assert "hunter2" not in repr(found)
    assert [argument.startswith("<fill in") for argument in found.arguments] == [
        False, True, True, True, False, False, False,
    ]  # fmt: skip


def shuffling(rows: int, app_id: str, argument: str, **settings: str) -> FakeApplication:
    read = even_stage(0, 500, 20_500, waves=5, rdd="FileScanRDD", bytes=rows)
    shuffle = even_stage(1, 20_500, 60_500, waves=5, bytes=rows, parents=(0,), peak_heap=700 * MB, gc_ms=2000)
    return FakeApplication(
        [read, shuffle],
        end=61_000,
        executors={"1": 4, "2": 4},
        settings={"spark.master": "yarn", "spark.executor.memory": "1g", "spark.executor.instances": "2", **settings},
        app_id=app_id,
        java_command=f"{SUBMIT} --class Main /a/app.jar {argument}",
    )


def written(tmp_path, *applications: FakeApplication) -> str:
    runs = []
    for number, application in enumerate(applications):
        folder = tmp_path / str(number)
        folder.mkdir(parents=True)
        runs.append(advised(application, folder))
    (job,) = by_job(runs)
    return study_text("nightly", job, Prices())


def test_a_study_for_a_cluster(tmp_path):
    text = written(tmp_path, shuffling(100 * MB, "a1", "day"))
    study = parse_study(text)
    names = set(study.space.parameters)
    assert {
        "executors",
        "executor_cores",
        "executor_memory_mb",
        "shuffle_partitions",
        "advisory_mb",
        "split_mb",
    } <= names
    assert study.space.features["memory_per_core_mb"] == "executor_memory_mb / executor_cores"
    assert len(study.space.constraints) == 3
    control = study.control_candidate.configuration
    assert (control["executors"], control["executor_cores"], control["executor_memory_mb"]) == (2, 4, 1024)
    assert study.runner.options["conf"]["spark.executor.memory"] == "{executor_memory_mb}m"
    assert (study.fallback, unfilled(study)) == ("present", ())
    assert study.workload.screening is None


def test_the_findings_are_a_preset_as_far_as_the_space_has_them(tmp_path):
    skewed = FakeStage(1, [FakeTask(500, 4500, bytes=MB), *(FakeTask(500, 40_500, bytes=90 * MB) for _ in range(4))])
    app = FakeApplication([skewed], end=41_000, executors={str(n): 4 for n in range(8)})
    study = parse_study(written(tmp_path, app))
    advised_preset = study.presets["advised"]
    assert advised_preset["executors"] < 8
    assert study.preset("advised").configuration["executors"] == advised_preset["executors"]


def test_a_smaller_run_is_a_cheap_size_where_its_arguments_made_it_so(tmp_path):
    whole, small = shuffling(100 * MB, "a1", "day"), shuffling(10 * MB, "a2", "hour")
    study = parse_study(written(tmp_path, small, whole))
    assert study.workload.sizes == {"full": 1.0, "small": 0.1}
    assert study.runner.options["arguments"] == {"full": ["day"], "small": ["hour"]}


def test_a_smaller_run_of_the_same_arguments_is_none(tmp_path):
    study = parse_study(written(tmp_path, shuffling(10 * MB, "a2", "day"), shuffling(100 * MB, "a1", "day")))
    assert study.workload.sizes == {"full": 1.0}


def test_secrets_of_the_settings_are_named_and_not_written(tmp_path):
    app = shuffling(
        100 * MB, "a1", "day", **{"spark.sql.catalog.c.password": "hunter2", "spark.io.x": "u://a:hunter2@h"}
    )
    text = written(tmp_path, app)
    assert "hunter2" not in text
    assert "spark.io.x, spark.sql.catalog.c.password" in text


def test_settings_stay_as_they_are_whatever_is_in_them(tmp_path):
    odd = {
        "spark.sql.a": "on",
        "spark.sql.b": 'quote " and {brace} # no',
        "spark.sql.c": "007",
        "spark.yarn.queue": "x",
    }
    conf = parse_study(written(tmp_path, shuffling(100 * MB, "a1", "day", **odd))).runner.options["conf"]
    assert (conf["spark.sql.a"], conf["spark.sql.c"]) == ("on", "007")
    assert conf["spark.sql.b"] == 'quote " and {{brace}} # no'
    assert "spark.yarn.am.x" not in conf


def test_a_managed_platforms_own_settings_are_left_to_it(tmp_path):
    given = {"spark.hadoop.fs.x": "1", "spark.executor.extraJavaOptions": "-XX:+UseG1GC"}
    conf = parse_study(written(tmp_path, shuffling(100 * MB, "a1", "day", **given))).runner.options["conf"]
    assert given.items() <= conf.items()
    (tmp_path / "emr").mkdir()
    on_emr = shuffling(100 * MB, "a1", "day", **given)
    on_emr.version = "3.5.1-amzn-0"
    assert not given.keys() & parse_study(written(tmp_path / "emr", on_emr)).runner.options["conf"].keys()
    (tmp_path / "bricks").mkdir()
    on_databricks = shuffling(100 * MB, "a1", "day", **{"spark.databricks.clusterUsageTags.clusterId": "1"})
    text = written(tmp_path / "bricks", on_databricks)
    assert "The log is of Databricks, which has no master for spark-submit" in text
    assert "executor_memory_mb" not in parse_study(text).space.parameters


def test_a_run_without_anything_to_vary_gets_no_study(tmp_path):
    app = FakeApplication([even_stage(0, 50_000, 50_100)], end=200_000)
    app.settings = {"spark.databricks.clusterUsageTags.clusterId": "1"}
    with pytest.raises(StudyNotWrittenError, match="nothing to measure"):
        written(tmp_path, app)
    (tmp_path / "none").mkdir()
    with pytest.raises(StudyNotWrittenError, match="no task ran"):
        written(tmp_path / "none", FakeApplication([], end=1000))


def test_several_jobs_are_refused(tmp_path, capsys):
    for name in ("one", "two"):
        app = FakeApplication([even_stage(0, 0, 1000)], end=1000, name=name, app_id=name)
        app.write(tmp_path / name)
    assert main(["advise", str(tmp_path), "--study", "nightly"]) == 1
    assert "a study is of one job, and the logs are of 2: one, two" in capsys.readouterr().err


MASTERS = st.sampled_from(["yarn", "k8s://https://h", "spark://h:7077", "local[4]", "local[*]"])
SIZES = st.sampled_from(["1g", "9397M", "512m", "100g", "3072", "16384k"])


@settings(max_examples=60, deadline=None)
@given(
    master=MASTERS, memory=SIZES, partitions=st.integers(1, 20_000), cores=st.integers(1, 64),
    count=st.integers(1, 200), dynamic=st.booleans(), version=st.sampled_from(["2.4.8", "3.1.1", "3.5.1", "4.1.0", ""]),
)  # fmt: skip
def test_every_study_is_one_and_its_present_settings_are_in_its_space(
    tmp_path_factory, master, memory, partitions, cores, count, dynamic, version
):
    local = master.startswith("local")
    app = shuffling(200 * MB, "a1", "day")
    app.version = version
    app.executors = {"driver": cores} if local else {str(number): cores for number in range(count)}
    app.settings = {
        "spark.master": master,
        "spark.driver.memory" if local else "spark.executor.memory": memory,
        "spark.sql.shuffle.partitions": str(partitions),
        "spark.dynamicAllocation.enabled": str(dynamic).lower(),
    }
    study = parse_study(written(tmp_path_factory.mktemp("study"), app))
    control = study.control_candidate.configuration
    assert control.get("shuffle_partitions", partitions) == partitions
    assert all(study.preset(name).configuration for name in study.presets)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('application: "/a/app.jar"', "application: 3", "runner.options.application: must be a text"),
        ('arguments: ["day"]', "arguments: day", "runner.options.arguments: must be a list of texts"),
        ('arguments: ["day"]', 'argument: ["day"]', "runner.options.argument: no such option with an application"),
        ("{executors}", "4", "nothing uses the parameter executors"),
        ("{executors}", "{executor}", "{executor} is no parameter; did you mean 'executors'?"),
        ("spark.executor.cores:", "executor.cores:", "those begin with 'spark.'"),
        ("minimize: duration_s", "minimize: duration", "goals.time.minimize: uses duration, which"),
        ("  kind: spark_submit", "  kind: spark_submit\n  warm: true", "can't be with an application"),
    ],
)
def test_what_is_wrong_with_an_application_is_named(tmp_path, old, new, words):
    text = written(tmp_path, shuffling(100 * MB, "a1", "day"))
    assert old in text
    with pytest.raises(StudyError) as caught:
        parse_study(text.replace(old, new, 1))
    assert words in str(caught.value)
    assert str(caught.value).startswith("study:")


def test_in_a_clone_the_study_has_its_dag_and_the_next_command_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("include/configs", "dags"):
        (tmp_path / folder).mkdir(parents=True)
    shuffling(1000, "app-1", "2024-01-01").write(tmp_path / "log")
    assert main(["advise", "log", "--study", "nightly"]) == 0
    assert (tmp_path / "include" / "configs" / "nightly.yaml").exists()
    assert 'dag = tuning_dag("nightly")' in (tmp_path / "dags" / "tune_nightly.py").read_text()
    takes, sweep = capsys.readouterr().err.strip().splitlines()[-2:]
    assert takes == "It takes 40 trials at most, 40.7 min if each takes as long as the run"
    assert sweep == "Its sweep: airflow dags test tune_nightly"
    (tmp_path / "include" / "configs" / "nightly.yaml").unlink()
    assert main(["advise", "log", "--study", "nightly"]) == 1
    assert "dags/tune_nightly.py exists" in capsys.readouterr().err


def test_the_study_is_written_though_nobody_reads_the_advice(tmp_path):
    """`advise LOG --study x | head -0`: the reader of the pipe is gone before the first word."""
    (tmp_path / "logs").mkdir()
    shuffling(1000, "app-1", "2024-01-01").write(tmp_path / "logs" / "log")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pipeline_tuner", "advise", "logs", "--study", "nightly"]
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS)}
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, text=True)
    assert done.returncode == 0
    assert (tmp_path / "nightly.yaml").exists()
    assert "The study: nightly.yaml" in done.stderr
    assert "Broken pipe" not in done.stderr


def test_a_study_without_a_name_is_refused_before_a_log_is_read(tmp_path, capsys):
    assert main(["advise", str(tmp_path / "none"), "--study", ""]) == 1
    assert "a study's name has small letters" in capsys.readouterr().err


def test_a_place_to_fill_in_is_no_valid_study_wherever_it_is(tmp_path, capsys):
    text = written(tmp_path, shuffling(100 * MB, "a1", "day"))
    file = tmp_path / "nightly.yaml"
    file.write_text(text.replace('arguments: ["day"]', 'arguments: ["<fill in: the day>"]'))
    line = next(number for number, line in enumerate(file.read_text().splitlines(), 1) if "<fill in: the day>" in line)
    assert main(["study", "validate", str(file)]) == 1
    said = capsys.readouterr()
    place = f"nightly.yaml:{line}: runner.options.arguments, entry 1: is still to be filled in: the day"
    assert (said.out, said.err) == ("", f"{place}\n")


def writing(text: str, name: str = "Execute InsertIntoHadoopFsRelationCommand") -> dict[str, object]:
    """The start of a query that writes, as Spark's event of it."""
    plan = {"nodeName": name, "simpleString": text, "children": [], "metrics": []}
    kind = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"
    return {"Event": kind, "executionId": 1, "description": "save", "time": 0, "sparkPlanInfo": plan}


INSERT = "Execute InsertIntoHadoopFsRelationCommand {}, false, Parquet, Map(path -> {}), Overwrite, [a, b]"
CREATE = "Execute CreateDataSourceTableAsSelectCommand"


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        (INSERT.format("file:/data/out, 1", "x"), INSERT.split(" {}")[0], "file:/data/out, 1"),
        (f"{CREATE} `default`.`final`, Overwrite, [a]", CREATE, "default.final"),
        ("Execute InsertIntoHiveTable `db`.`t`, org.apache.hadoop...", "Execute InsertIntoHiveTable", "db.t"),
        ("Execute SaveIntoDataSourceCommand org.x.JdbcRelationProvider@1, Map(url -> j, dbtable -> t), Append",
         "Execute SaveIntoDataSourceCommand", "t"),
        ("AppendData IcebergWrite(table=lake.db.t, format=PARQUET)", "AppendData", "lake.db.t"),
        ("Execute CreateViewCommand", "Execute CreateViewCommand", ""),
    ],
)  # fmt: skip
def test_what_a_run_wrote_is_known_from_its_plans(tmp_path, text, name, place):
    app = shuffling(1000, "a1", "day")
    app.others = [writing(text, name)]
    assert advised(app, tmp_path).read.application.outputs == ((place,) if place else ())


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("/data/out", '#     arguments: ["/data/out_of_trials"]'),
        ("--to=file:///data/", '#     arguments: ["--to=file:///data_of_trials"]'),
        ("/data/outer", "# No argument of the program names such a place"),
    ],
)
def test_a_study_whose_trials_write_where_production_does_says_so(tmp_path, argument, line):
    app = shuffling(100 * MB, "a1", argument)
    app.others = [writing(INSERT.format("file:/data/out", "/data/out"))]
    text = written(tmp_path, app)
    head = text[: text.index("study: ")]
    assert "EVERY TRIAL WRITES WHERE THE RUN DID: file:/data/out." in head
    assert line in head
    assert "WRITES WHERE" not in written(tmp_path / "none", shuffling(100 * MB, "a1", argument))


def test_the_console_names_what_the_trials_write(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    app = shuffling(1000, "app-1", "2024-01-01")
    app.others = [writing(INSERT.format("s3://b/out", "s3://b/out"))]
    app.write(tmp_path / "log")
    assert main(["advise", "log", "--study", "nightly"]) == 0
    assert "Each trial writes s3://b/out, as production does" in capsys.readouterr().err


def test_what_spark_adds_by_itself_is_no_setting_of_the_job(tmp_path):
    own = "-Djava.net.preferIPv6Addresses=false -XX:+IgnoreUnrecognizedVMOptions --add-opens=java.base/java.io=ALL"
    settings = {
        "spark.rdd.compress": "True",
        "spark.executor.extraJavaOptions": own,
        "spark.hadoop.fs.s3a.vectored.read.min.seek.size": "128K",
        "spark.hadoop.fs.s3a.endpoint": "h",
    }
    conf = parse_study(written(tmp_path, shuffling(100 * MB, "a1", "day", **settings))).runner.options["conf"]
    assert {"spark.rdd.compress", "spark.executor.extraJavaOptions"} & set(conf) == set()
    assert [name for name in conf if "s3a" in name] == ["spark.hadoop.fs.s3a.endpoint"]
    assert own_settings({"spark.executor.extraJavaOptions": f"{own} -Dmine=1"}) == {
        "spark.executor.extraJavaOptions": "-Dmine=1"
    }


def test_adaptive_execution_that_was_off_is_a_parameter(tmp_path):
    off = {"spark.sql.adaptive.enabled": "false"}
    study = parse_study(written(tmp_path, shuffling(100 * MB, "a1", "day", **off)))
    assert study.control_candidate.configuration["adaptive"] is False
    assert study.runner.options["conf"]["spark.sql.adaptive.enabled"] == "{adaptive}"
