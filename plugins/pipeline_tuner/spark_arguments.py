"""What `SparkSubmitOperator` hands to spark-submit by arguments of its own, which go before its `conf`; its master."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pipeline_tuner.exceptions import ConfigurationError

MASTER = "master"
"""The path of what the operator takes from its connection alone."""
ARGUMENTS = {
    "conf.spark.executor.memory": "executor_memory",
    "conf.spark.executor.cores": "executor_cores",
    "conf.spark.executor.instances": "num_executors",
    "conf.spark.cores.max": "total_executor_cores",
    "conf.spark.driver.memory": "driver_memory",
}
"""Settings that an argument of the operator overrides where it is given."""
OVERRIDDEN = {
    "conf.spark.master": "spark-submit takes its master from the connection: write 'master=local[{cores}]'",
    "conf.spark.app.name": "spark-submit takes it from the operator's 'name'",
    "conf.spark.submit.deployMode": "spark-submit takes it from the operator or its connection",
}
"""Settings that would not act in the operator's `conf`, with the reason."""


def is_spark_submit(operator: object) -> bool:
    """Whether an operator is the Spark provider's, or one made of it."""
    return any(one.__name__ == "SparkSubmitOperator" for one in type(operator).__mro__)


def is_master(operator: object, path: str) -> bool:
    """Whether a path stands for the master of a Spark task, which has no argument for it."""
    return path == MASTER and is_spark_submit(operator)


def acting_paths(operator: object, path: str) -> tuple[str, ...]:
    """The path, and the operator's own argument that overrides it. Raises ConfigurationError where it can't act."""
    if not is_spark_submit(operator):
        return (path,)
    if path in OVERRIDDEN:
        raise ConfigurationError(f"{path} would not act: {OVERRIDDEN[path]}")
    argument = ARGUMENTS.get(path)
    is_given = argument is not None and getattr(operator, f"_{argument}", getattr(operator, argument, None)) is not None
    return (path, argument) if argument is not None and is_given else (path,)


def master_of(operator: Any) -> str:
    """The master that the operator's connection names. Raises ConfigurationError where its hook can't be made."""
    try:
        return str(operator._get_hook()._connection["master"])
    except Exception as error:
        # Whatever the provider finds wrong with the connection: the task itself says so when it runs.
        raise ConfigurationError(f"the task's Spark connection can't be used: {error}") from None


def written_master(operator: Any) -> str:
    """The same with the count of cores that stands for `*`, and for no number."""
    master = master_of(operator)
    cores = {"local": 1, "local[*]": len(os.sched_getaffinity(0))}.get(master)
    return master if cores is None else f"local[{cores}]"


def hook_with_master(operator: Any, master: str) -> Callable[[], Any]:
    """A maker of the operator's hook whose master is `master`, on the machine of the connection's own master.

    Raises ConfigurationError where either is no master of this machine: what was measured here says nothing there.
    """
    own, make = master_of(operator), operator._get_hook
    if not own.startswith("local") or not master.startswith("local"):
        raise ConfigurationError(f"the study sets the master to {master}, and this task's connection has {own}")

    def made() -> Any:
        hook = make()
        hook._connection["master"] = master
        return hook

    return made
