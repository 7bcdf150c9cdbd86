"""Spark settings that would do nothing where a trial runs, or keep its JVM from starting: refused with the reason.

Spark takes them without a word. What acts is judged by the master that a session of the configuration gets, be it the
configuration's, the connection's or spark-submit's. A value that is Spark's own default claims nothing, so it passes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import psutil

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.heap import size_bytes
from pipeline_jobs.session import JVM_SETTINGS, SETTINGS, STANDALONE, effective_master, is_local, submitted_settings


class Platform(StrEnum):
    """What runs the tasks, in words that follow "on"."""

    LOCAL = "a local master"
    STANDALONE = "a standalone master"
    YARN = "YARN"
    KUBERNETES = "Kubernetes"
    MANAGED = "a managed service"
    """Glue and others: what they do with a setting is theirs to say, and nothing is judged."""


CLUSTERS = frozenset({Platform.STANDALONE, Platform.YARN, Platform.KUBERNETES})
MANAGERS = frozenset({Platform.YARN, Platform.KUBERNETES})
SERVED = frozenset({Platform.STANDALONE, Platform.YARN})
"""Those that an external shuffle service goes with."""
EVERYWHERE = frozenset(Platform)
NOWHERE: frozenset[Platform] = frozenset()
IN_DRIVER = "everything runs in the driver's JVM"
OF_CLUSTER_MODE = "it is for a driver that the cluster starts, in deploy mode cluster"


@dataclass(frozen=True)
class Acting:
    """Where settings act. `name` ends in a dot for all that begin with it; the first row that fits says it."""

    name: str
    on: frozenset[Platform]
    why: str
    default: str = ""
    """Spark's own value, in the form that it is written in; empty where no value is harmless."""
    needs: str = ""
    """A switch without which it does nothing."""
    in_cluster_mode: bool = False
    """Whether it is of a driver that the cluster starts."""
    example: str = "5"
    """A value that is no default, for the tests."""

    def is_about(self, key: str) -> bool:
        """Whether a setting is one of its own."""
        return key == self.name or (self.name.endswith(".") and key.startswith(self.name))


ALLOCATION = "spark.dynamicAllocation.enabled"
SPECULATION = "spark.speculation"
SHUFFLE_SERVICE = "spark.shuffle.service.enabled"
SERVICE = "the external shuffle service (spark.shuffle.service.enabled on a cluster)"
NO_SERVICE = "there is no external shuffle service"
ACTING = (
    Acting("spark.executor.heartbeatInterval", EVERYWHERE, ""),
    Acting("spark.executor.metrics.", EVERYWHERE, ""),
    Acting("spark.executor.processTreeMetrics.", EVERYWHERE, ""),
    Acting("spark.executor.pyspark.memory", EVERYWHERE, ""),
    Acting("spark.executor.instances", MANAGERS, "executors are started until spark.cores.max is reached: set cores"),
    Acting("spark.executor.memoryOverhead", MANAGERS, "its workers give an executor no memory beside its heap"),
    Acting("spark.executor.memoryOverheadFactor", MANAGERS, "its workers give an executor no memory beside its heap"),
    Acting("spark.executor.", CLUSTERS, ""),
    Acting(ALLOCATION, CLUSTERS, "no executors come and go", default="false", example="true"),
    Acting("spark.dynamicAllocation.", CLUSTERS, "no executors come and go", needs=ALLOCATION),
    Acting(
        "spark.cores.max", frozenset({Platform.STANDALONE}), "only a standalone master counts an application's cores"
    ),
    Acting(
        "spark.deploy.", NOWHERE, "it is read by the master's and the workers' own processes, not by an application"
    ),
    Acting("spark.yarn.", frozenset({Platform.YARN}), "only YARN reads it"),
    Acting("spark.kubernetes.", frozenset({Platform.KUBERNETES}), "only Kubernetes reads it"),
    Acting("spark.driver.memoryOverhead", MANAGERS, OF_CLUSTER_MODE, in_cluster_mode=True),
    Acting("spark.driver.memoryOverheadFactor", MANAGERS, OF_CLUSTER_MODE, in_cluster_mode=True),
    Acting("spark.driver.cores", CLUSTERS, OF_CLUSTER_MODE, default="1", in_cluster_mode=True),
    Acting("spark.submit.deployMode", NOWHERE, "the connection says it", default="client", example="cluster"),
    Acting(SPECULATION, CLUSTERS, "it starts no second copy of a task", default="false", example="true"),
    Acting("spark.speculation.", CLUSTERS, "it starts no second copy of a task", needs=SPECULATION),
    Acting("spark.task.maxFailures", CLUSTERS, "a local master takes it from its name, such as local[2,4]"),
    Acting("spark.decommission.", CLUSTERS, "no executor leaves"),
    Acting("spark.storage.decommission.", CLUSTERS, "no executor leaves"),
    Acting("spark.scheduler.minRegisteredResourcesRatio", CLUSTERS, "there is no executor to wait for"),
    Acting("spark.scheduler.maxRegisteredResourcesWaitingTime", CLUSTERS, "there is no executor to wait for"),
    Acting(
        SHUFFLE_SERVICE,
        SERVED,
        NO_SERVICE,
        default="false",
        example="true",
    ),
    Acting("spark.shuffle.service.index.cache.size", SERVED, SERVICE, default="100m", needs=SHUFFLE_SERVICE),
    Acting("spark.shuffle.service.", SERVED, SERVICE, needs=SHUFFLE_SERVICE),
    Acting("spark.shuffle.registration.timeout", SERVED, SERVICE, default="5000", needs=SHUFFLE_SERVICE),
    Acting("spark.shuffle.registration.maxAttempts", SERVED, SERVICE, default="3", needs=SHUFFLE_SERVICE),
    Acting("spark.memory.offHeap.size", EVERYWHERE, "", default="0", needs="spark.memory.offHeap.enabled"),
)
S3A = "spark.hadoop.fs.s3a."
S3A_PLACE = "s3a://"
"""Settings of Hadoop's S3 client, and the addresses that it serves."""


@dataclass(frozen=True)
class RunningEnvironment:
    """What decides whether a setting acts."""

    master: str
    submitted: Mapping[str, str] | None = None
    """What spark-submit started the driver's JVM with; None where the job starts its own."""
    places: Sequence[str] = ()
    """Addresses that the job reads and writes by Hadoop's file systems."""
    platform: Platform = Platform.MANAGED

    @property
    def is_cluster_mode(self) -> bool:
        """Whether the cluster has started the driver."""
        return (self.submitted or {}).get("spark.submit.deployMode") == "cluster"


def platform_of(master: str) -> Platform:
    """What runs the tasks of a master."""
    if is_local(master):
        return Platform.LOCAL
    if master.startswith((STANDALONE, "local-cluster[")):
        return Platform.STANDALONE
    if master.startswith("yarn"):
        return Platform.YARN
    return Platform.KUBERNETES if master.startswith("k8s://") else Platform.MANAGED


def refuse_idle(
    configuration: Mapping[str, Any], places: Iterable[str] = (), *, platform: Platform | None = None
) -> None:
    """Raises BadConfigurationError, in one line, for a setting of Spark that would do nothing, or fail, here.

    `places`: addresses that the job reads and writes by Hadoop's file systems. `platform`: where it is known, and
    the master doesn't say it.
    """
    master = effective_master(configuration)
    around = RunningEnvironment(master, submitted_settings(), tuple(places), platform or platform_of(master))
    for problem in problems(configuration, around):
        raise BadConfigurationError(problem)


def problems(configuration: Mapping[str, Any], around: RunningEnvironment) -> list[str]:
    """What is wrong with a configuration's settings of Spark, a line each; names as the configuration has them."""
    given = {key: _text(value) for key, value in configuration.items() if value is not None and _is_spark(key)}
    full = {SETTINGS.get(key, key): value for key, value in given.items()}
    found = [*_said_twice(given), *_threads(configuration)]
    for key, value in given.items():
        found += _idle(key, value, full, around)
        if SETTINGS.get(key, key) in JVM_SETTINGS and around.submitted is not None:
            found += _too_late(key, value, around.submitted)
        if key.endswith("JavaOptions"):
            found += _java_problem(key, value)
    return [*found, *_memory_problem(full, around)]


def _is_spark(key: str) -> bool:
    return key.startswith("spark.") or key in SETTINGS


def _idle(key: str, value: str, full: Mapping[str, str], around: RunningEnvironment) -> list[str]:
    """Why a setting does nothing on this master."""
    name = SETTINGS.get(key, key)
    if name.startswith(S3A) and not any(place.startswith(S3A_PLACE) for place in around.places):
        return [f"{key} has no effect: Hadoop's S3 client reads and writes at {S3A_PLACE}, and nothing here lies there"]
    row = next((each for each in ACTING if each.is_about(name)), None)
    if row is None or value == row.default or around.platform is Platform.MANAGED:
        return []
    is_idle_driver = row.in_cluster_mode and not around.is_cluster_mode
    if (is_idle_driver or around.platform not in row.on) and not _starts_with_allocation(name, full, around):
        return [f"{key} has no effect with the master {around.master}: {_reason(row, around.platform)}"]
    if row.needs and full.get(row.needs) != "true":
        return [f"{key} has no effect {_missing(row)}"]
    return []


def _missing(row: Acting) -> str:
    return f"without {row.why}" if row.needs == SHUFFLE_SERVICE else f"unless {row.needs} is true"


def _reason(row: Acting, platform: Platform) -> str:
    if row.needs == SHUFFLE_SERVICE:
        return NO_SERVICE
    is_of_executors = row.name.startswith("spark.executor.")
    return IN_DRIVER if not row.why or (platform is Platform.LOCAL and is_of_executors) else row.why


def _starts_with_allocation(name: str, full: Mapping[str, str], around: RunningEnvironment) -> bool:
    """A standalone master takes the number of executors as the first one, where they come and go."""
    is_allocated = around.platform is Platform.STANDALONE and full.get(ALLOCATION) == "true"
    return name == "spark.executor.instances" and is_allocated


def _said_twice(given: Mapping[str, str]) -> list[str]:
    return [
        f"{short} and {name} are the same setting: {name} would win, so leave {short} out"
        for short, name in SETTINGS.items()
        if given.get(short) and name in given and given[short] != given[name]
    ]


def _threads(configuration: Mapping[str, Any]) -> list[str]:
    """A local master says its threads in its name."""
    cores, master = configuration.get("cores"), str(configuration.get("master") or configuration.get("spark.master"))
    said = master.removeprefix("local[").partition("]")[0].partition(",")[0] if master.startswith("local[") else ""
    said = "1" if master == "local" else said
    if not cores or not said or said == str(cores):
        return []
    return [f"cores {cores} has no effect with the master {master}, which says its threads itself: leave one out"]


def _too_late(key: str, value: str, submitted: Mapping[str, str]) -> list[str]:
    """A JVM that runs already has what it was started with."""
    name = SETTINGS.get(key, key)
    there = submitted.get(name, "1g" if name == "spark.driver.memory" else "")
    if _means(name, value) <= _means(name, there):
        return []
    return [
        f"{key} {value} has no effect: spark-submit has started the driver's JVM, with {there or 'none'}; "
        f"give it to spark-submit as --conf {name}={value}"
    ]


def _means(name: str, value: str) -> frozenset[object]:
    """What a JVM must have had to have a value: names of jars without their folders, bytes, or the text."""
    if name == "spark.jars":
        return frozenset(PurePosixPath(each).name for each in value.split(",") if each)
    if name == "spark.driver.memory":
        return frozenset({size_bytes(value)})
    return frozenset({value} if value else ())


@cache
def _java_problem(key: str, options: str) -> list[str]:
    """Ask this machine's Java whether it starts with the options."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin" if home else None)
    if program is None:
        return []
    done = subprocess.run([program, *options.split(), "-version"], capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        return []
    reason = next((line for line in done.stderr.splitlines() if "rror" in line or "nrecognized" in line), "it fails")
    return [f"Java does not start with {key}: {reason.strip()} (options: {options})"]


def _memory_problem(full: Mapping[str, str], around: RunningEnvironment) -> list[str]:
    """A heap that this machine hasn't got; spark-submit's is there already."""
    text = full.get("spark.driver.memory", "")
    if not text or around.submitted is not None:
        return []
    wanted, there = size_bytes(text), psutil.virtual_memory().total
    if wanted > there:
        return [f"the driver's memory is {wanted / 2**30:.0f} GiB, this machine has {there / 2**30:.0f} GiB"]
    return []


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
