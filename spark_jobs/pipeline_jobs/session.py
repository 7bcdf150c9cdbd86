"""The Spark session of a trial: which settings it gets by default and by its configuration, opened and closed.

A cold JVM costs seconds, so a kept process (serve.py) gives each trial a fresh SparkContext in the same JVM.
Only what a running JVM can't change (driver memory, extra Java options) starts another one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.setting_names import refuse_misspelt

SETTINGS = {
    "master": "spark.master",
    "driver_memory": "spark.driver.memory",
    "executor_memory": "spark.executor.memory",
    "parallelism": "spark.default.parallelism",
    "shuffle_partitions": "spark.sql.shuffle.partitions",
    "adaptive": "spark.sql.adaptive.enabled",
}
"""The names that all jobs give to Spark's settings. A key that starts with `spark.` stands for itself."""

CORES = "cores"
"""How many tasks run at once, on whatever master: threads of a local one, cores of a cluster."""
STANDALONE = "spark://"
GIVEN_TIMEOUT_S = 60.0
"""A standalone master gives a free core within seconds; another application may hold it."""

JVM_SETTINGS = (
    "spark.driver.memory",
    "spark.driver.extraJavaOptions",
    "spark.driver.defaultJavaOptions",
    "spark.driver.extraClassPath",
    "spark.driver.extraLibraryPath",
    "spark.jars",
    "spark.jars.packages",
    "spark.jars.repositories",
    "spark.jars.excludes",
    "spark.jars.ivySettings",
)
"""Settings that hold for the life of a JVM. Jars too: a driver loads classes only of those it was started with."""

DEFAULTS = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
}

LOCAL_DEFAULTS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.python.daemon.module": "pipeline_jobs.worker_daemon",
}

PACKAGE_FOLDER = Path(__file__).resolve().parent

_jvm_settings: dict[str, str] = {}


def spark_names(configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a configuration may use for Spark's settings: those of all jobs, and `spark.*` as it is there."""
    return (*SETTINGS, CORES, *(key for key in configuration if key.startswith("spark.")))


def spark_settings(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Spark's settings for a trial's configuration; keys that are not Spark's business are left out."""
    settings = {SETTINGS[key]: value for key, value in configuration.items() if key in SETTINGS and value != ""}
    settings |= {key: value for key, value in configuration.items() if key.startswith("spark.")}
    if configuration.get(CORES):
        settings = _settings_of_cores(int(configuration[CORES]), settings.get("spark.master")) | settings
    return {key: _as_text(value) for key, value in settings.items() if value is not None}


def _settings_of_cores(cores: int, master: str | None) -> dict[str, Any]:
    """What makes so many tasks run at once. `master`: the configuration's own, which already says its threads."""
    if master is not None and (is_local(master) or master.startswith("local")):
        return {}
    master = master or _submitted_master() or "local"
    if is_local(master):
        return {"spark.master": f"local[{cores}]"}
    if master.startswith(STANDALONE):
        return {"spark.cores.max": cores, "spark.scheduler.minRegisteredResourcesRatio": 1.0}
    return {"spark.executor.instances": cores, "spark.executor.cores": 1}


def effective_master(configuration: Mapping[str, Any]) -> str:
    """The master that a session of this configuration runs on.

    The configuration's, else the one that spark-submit (or Glue) was started with, else this module's default.
    """
    return _master(_with_defaults(spark_settings(configuration)))


def submitted_settings() -> Mapping[str, str] | None:
    """What spark-submit (or Glue) started this driver's JVM with; None where the job starts its own."""
    if not _is_under_submit():
        return None
    SparkContext._ensure_initialized()
    return dict(SparkConf().getAll())


def is_local(master: str) -> bool:
    """Whether everything runs in the driver's JVM. `local-cluster[...]` has executors of its own."""
    return master == "local" or master.startswith("local[")


def open_session(
    app_name: str,
    configuration: Mapping[str, Any],
    *,
    extra: Mapping[str, str] | None = None,
    event_log_dir: str | Path | None = None,
) -> SparkSession:
    """A session on a SparkContext of its own. `extra` are settings of the job that a configuration may override.

    `event_log_dir`: an existing folder; one plain JSON-lines file per application is written there.
    Raises BadConfigurationError where Spark refuses the settings.
    """
    if SparkContext._active_spark_context is not None:
        SparkContext._active_spark_context.stop()
    settings = _all_settings(spark_settings(configuration), extra or {}, event_log_dir)
    _ensure_jvm({key: settings[key] for key in JVM_SETTINGS if key in settings})
    conf = SparkConf().setAppName(app_name)
    for key, value in settings.items():
        conf.set(key, value)
    if is_local(_master(settings)):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        context = SparkContext(conf=conf)
    except Exception as error:
        raise BadConfigurationError(f"Spark doesn't start with these settings: {_first_line(error)}") from error
    context.setLogLevel("ERROR")
    _check_names(context, configuration)
    if not is_local(str(context.master)):
        _ship_package(context)
    if str(context.master).startswith(STANDALONE) and "spark.cores.max" in settings:
        _wait_for_cores(context, settings["spark.cores.max"])
    return SparkSession(context)


def close_session(spark: SparkSession) -> None:
    """Stop the session and its context; the JVM stays for the next."""
    accumulators = vars(spark.sparkContext).pop("_accumulatorServer", None)
    spark.stop()
    if accumulators is not None:
        # Spark's own stop waits for it, and it looks only once a second whether it is to end.
        threading.Thread(target=accumulators.shutdown, daemon=True).start()


def stop_jvm() -> None:
    """End the JVM of this process, if it started one."""
    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    if gateway is None:
        return
    process = getattr(gateway, "proc", None)
    gateway.shutdown()
    if process is not None:
        process.stdin.close()
        process.wait(timeout=30)


def _all_settings(own: dict[str, str], extra: Mapping[str, str], event_log_dir: str | Path | None) -> dict[str, str]:
    settings = _with_defaults({**extra, **own})
    if is_local(_master(settings)):
        settings = LOCAL_DEFAULTS | {"spark.executorEnv.PYTHONPATH": _python_path()} | settings
    jars = os.environ.get("PIPELINE_TUNER_JARS", "")
    if jars and not _is_under_submit():
        settings["spark.jars"] = ",".join(filter(None, [settings.get("spark.jars"), jars]))
    if event_log_dir is not None:
        settings |= {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": Path(event_log_dir).resolve().as_uri(),
            "spark.eventLog.rolling.enabled": "false",
            "spark.eventLog.compress": "false",
        }
    return settings


def _is_under_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _with_defaults(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings on top of the defaults; spark-submit knows the master better than a default does."""
    return {key: value for key, value in DEFAULTS.items() if not (_is_under_submit() and key == "spark.master")} | {
        **settings
    }


def _master(settings: Mapping[str, str]) -> str:
    """The master in the settings, else the one that spark-submit (or Glue) was started with."""
    if "spark.master" not in settings:
        SparkContext._ensure_initialized()
    return settings.get("spark.master") or SparkConf().get("spark.master", "local") or "local"


def _submitted_master() -> str | None:
    """The master that spark-submit was started with; None without spark-submit."""
    if not _is_under_submit():
        return None
    SparkContext._ensure_initialized()
    return SparkConf().get("spark.master")


def _check_names(context: SparkContext, configuration: Mapping[str, Any]) -> None:
    try:
        refuse_misspelt(context, [key for key in configuration if key.startswith("spark.")])
    except BadConfigurationError:
        context.stop()
        raise


def _wait_for_cores(context: SparkContext, cores: str) -> None:
    """Work that begins on half of its cores is measured as slow. Raises BadConfigurationError for cores never given."""
    scheduler = context._jsc.sc().schedulerBackend()
    deadline = time.monotonic() + GIVEN_TIMEOUT_S
    while not scheduler.sufficientResourcesRegistered():
        if time.monotonic() > deadline:
            context.stop()
            raise BadConfigurationError(
                f"the cluster {context.master} did not give {cores} cores within {GIVEN_TIMEOUT_S:g} s: it has fewer, "
                "or other applications hold them"
            )
        time.sleep(0.1)


def require_shared(spark: SparkSession, folder: Path) -> None:
    """Raises BadConfigurationError where the executors can't read and write a folder of this machine."""
    context = spark.sparkContext
    if is_local(str(context.master)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-") as mark:
        name, tasks = mark.name, context.defaultParallelism
        if all(context.parallelize(range(tasks), tasks).map(lambda _: _is_usable(name)).collect()):
            return
    raise BadConfigurationError(
        f"the executors of {context.master} can't read and write {folder}: set [pipeline_tuner] data_folder to one "
        "that all machines share, or name data of your own that they reach"
    )


def _is_usable(name: str) -> bool:
    return os.path.exists(name) and os.access(os.path.dirname(name), os.W_OK | os.X_OK)


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(PACKAGE_FOLDER.parent), os.environ.get("PYTHONPATH")]))


def _ensure_jvm(wanted: dict[str, str]) -> None:
    """Start the JVM with only what its start must set: a later context must not inherit a trial's settings."""
    global _jvm_settings
    if SparkContext._gateway is not None and _jvm_settings != wanted and not _is_under_submit():
        stop_jvm()
    if SparkContext._gateway is None:
        conf = SparkConf(loadDefaults=False, _jvm=None)
        for key, value in wanted.items():
            conf.set(key, value)
        SparkContext._ensure_initialized(conf=conf)
        _jvm_settings = wanted


def _ship_package(context: SparkContext) -> None:
    """Executors fetch the archive when they start, late ones too: it lies in a folder that Spark removes at its end."""
    folder = tempfile.mkdtemp(dir=context._temp_dir)
    context.addPyFile(shutil.make_archive(f"{folder}/pipeline_jobs", "zip", PACKAGE_FOLDER.parent, PACKAGE_FOLDER.name))


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "java_exception", None)
    return str(cause if cause is not None else error).splitlines()[0]
