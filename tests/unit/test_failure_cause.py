"""Why a program failed, found in what it printed: outputs of real programs, made here or kept as they were printed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline_tuner.failure_cause import cause_of, named_cause_of, with_cause
from pipeline_tuner.measurement import Measurement, Outcome


def output_of(tmp_path, program: str) -> str:
    (tmp_path / "job.py").write_text(program)
    done = subprocess.run([sys.executable, "job.py"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        ("def load():\n    raise RuntimeError('no rows')\nload()", "RuntimeError: no rows"),
        ("try:\n    {}['x']\nexcept KeyError as e:\n    raise ValueError('no x') from e", "ValueError: no x"),
        ("try:\n    {}['x']\nexcept KeyError:\n    1 / 0", "ZeroDivisionError: division by zero"),
        ("print((1", "SyntaxError: '(' was never closed"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("class Empty(Exception): pass\nraise Empty('first line\\nsecond line')", "Empty: first line"),
        ("print('x: 1'); raise SystemExit('the table is empty')", "the table is empty"),
        ("import logging; logging.error('no table t'); raise SystemExit(1)", "ERROR:root:no table t"),
        ("import argparse; p = argparse.ArgumentParser(); p.add_argument('--n', required=True); p.parse_args()",
         "job.py: error: the following arguments are required: --n"),
    ],
)  # fmt: skip
def test_of_a_python_program(tmp_path, program, cause):
    assert cause_of(output_of(tmp_path, program)) == cause


def test_of_a_shell(tmp_path):
    done = subprocess.run(["bash", "-c", "echo begun; cat /nowhere/x"], capture_output=True, text=True, check=False)
    assert "/nowhere/x" in cause_of(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('psql:load.sql:3: ERROR:  relation "t" does not exist\nLINE 1: select * from t;\n                      ^\n',
         'psql:load.sql:3: ERROR: relation "t" does not exist'),
        ("ERROR:  no relation t\nLINE 1: select * from t\n          ^", "ERROR: no relation t"),
        ("3 rows\n\x1b[31mError: no such bucket\x1b[0m\nbye\n", "Error: no such bucket"),
        ("step 1\nstep 2\n26/11/28 20:00:00 INFO ShutdownHookManager: Shutdown hook called\n\n", "step 2"),
        ("26/11/28 20:00:00 INFO ShutdownHookManager: called\n", "26/11/28 20:00:00 INFO ShutdownHookManager: called"),
        ("", None),
        (" \n\n", None),
    ],
)  # fmt: skip
def test_of_what_names_an_error_or_nothing(text, cause):
    assert cause_of(text) == cause


TASK_FAILED = """\
26/11/28 23:00:01 ERROR Executor: Exception in task 0.0 in stage 0.0 (TID 0)
org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1247, in main
    process()
ValueError: row 3 has no key

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:572)
26/11/28 23:00:01 ERROR TaskSetManager: Task 0 in stage 0.0 failed 1 times; aborting job
Traceback (most recent call last):
  File "job.py", line 8, in <module>
    print(rows.sum())
py4j.protocol.Py4JJavaError: An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 1 times: {nested}
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:2856)
Caused by: {nested}
\t... 1 more

26/11/28 23:00:02 INFO ShutdownHookManager: Deleting directory spark-1
"""
NESTED = """org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1247, in main
    process()
ValueError: row 3 has no key

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:572)"""
SMALL_DRIVER = """\
26/11/28 23:00:01 ERROR SparkContext: Error initializing SparkContext.
org.apache.spark.SparkIllegalArgumentException: [INVALID_DRIVER_MEMORY] System memory 209715200 must be at least 471859200.
\tat org.apache.spark.memory.UnifiedMemoryManager$.getMaxMemory(UnifiedMemoryManager.scala:224)
Traceback (most recent call last):
  File "job.py", line 2, in <module>
    spark = SparkSession.builder.getOrCreate()
py4j.protocol.Py4JJavaError: An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.
: org.apache.spark.SparkIllegalArgumentException: [INVALID_DRIVER_MEMORY] System memory 209715200 must be at least 471859200.
\tat org.apache.spark.memory.UnifiedMemoryManager$.getMaxMemory(UnifiedMemoryManager.scala:224)

26/11/28 23:00:01 WARN Utils: Service stopped
"""  # noqa: E501
JAVA = """\
26/11/28 23:00:01 INFO Main: begun
Exception in thread "main" java.lang.IllegalStateException: the load failed
\tat com.example.Main.main(Main.java:5)
Caused by: java.sql.SQLException: no room
\tat com.example.Main.load(Main.java:9)
\t... 3 more
Caused by: java.io.IOException: No space left on device
\t... 4 more
26/11/28 23:00:02 ERROR ShutdownHookManager: Exception while deleting Spark temp dir
java.io.IOException: Failed to delete: spark-1
\tat org.apache.spark.network.util.JavaUtils.deleteRecursively(JavaUtils.java:103)
"""
NO_TABLE = """\
Traceback (most recent call last):
  File "job.py", line 3, in <module>
    spark.sql("select * from orders_dayly").show()
pyspark.errors.exceptions.captured.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] `orders_dayly` cannot be found.; line 1
'Project [*]
+- 'UnresolvedRelation [orders_dayly], [], false

JVM stacktrace:
org.apache.spark.sql.catalyst.ExtendedAnalysisException: [TABLE_OR_VIEW_NOT_FOUND] x
\tat org.apache.spark.sql.catalyst.analysis.package$AnalysisErrorAt.tableNotFound(package.scala:90)
"""
USER_APP = """\
Traceback (most recent call last):
  File "job.py", line 1, in <module>
RuntimeError: no rows
Exception in thread "main" org.apache.spark.SparkUserAppException: User application exited with 1
\tat org.apache.spark.deploy.PythonRunner$.main(PythonRunner.scala:103)
"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (TASK_FAILED.replace("{nested}", NESTED), "ValueError: row 3 has no key"),
        (SMALL_DRIVER, "org.apache.spark.SparkIllegalArgumentException: [INVALID_DRIVER_MEMORY] System memory "
         "209715200 must be at least 471859200."),
        (JAVA, "java.io.IOException: No space left on device"),
        (NO_TABLE, "pyspark.errors.exceptions.captured.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] `orders_dayly` "
         "cannot be found.; line 1"),
        (USER_APP, "RuntimeError: no rows"),
        ("Error: Could not find or load main class Main\nCaused by: java.lang.ClassNotFoundException: Main\n",
         "Error: Could not find or load main class Main"),
    ],
    ids=["task", "driver memory", "java", "analysis", "user application", "main class"],
)  # fmt: skip
def test_of_java_and_spark(text, cause):
    assert cause_of(text) == cause


def test_a_last_line_alone_names_no_cause():
    assert named_cause_of("step 1\nstep 2\n") is None


def test_a_cause_is_short_and_looked_for_at_the_end_alone():
    assert len(cause_of("Error: " + "x" * 5000)) == 300
    assert cause_of("Error: old\n" + "line\n" * 1_000_000) == "line"


def test_a_job_that_reports_a_java_stack_has_its_cause_in_front():
    stack = (
        "An error occurred while calling o50.parquet.\n: org.apache.spark.SparkException: Job aborted.\n\tat a.B.c(D)"
    )
    assert _reason(stack).startswith("org.apache.spark.SparkException: Job aborted.\n")
    assert _reason(stack).endswith(stack)
    assert _reason("the target has 3 rows, the source 4") == "the target has 3 rows, the source 4"


def _reason(words: str) -> str:
    moment = "2026-01-01T00:00:00Z"
    failed = {"status": "failed", "failure": {"kind": "error", "reason": words}}
    record = {"contract": 1, "job": "j", "trial_id": "t", "started_at": moment, "ended_at": moment, **failed}
    return Outcome.of(Measurement.model_validate(record)).reason


def test_the_cause_follows_the_words_and_nothing_follows_where_nothing_was_printed():
    assert with_cause("exit code 1", "Error: no table") == "exit code 1: Error: no table"
    assert with_cause("exit code 1", "") == "exit code 1"
