"""Misspelt names of Spark settings: refused with the nearest known one.

Only a name that is nearly one of Spark's own is refused: others may be those of a library on the class path.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pyspark import SparkContext

from pipeline_jobs.contract import BadConfigurationError

NEAR = 0.88
"""How alike two names with as many parts are, from 0 to 1, where one is taken for the other."""
FREE = ("spark.hadoop.", "spark.sql.catalog.", "spark.executorEnv.", "spark.yarn.", "spark.kubernetes.")
"""What follows these is not Spark's to name, or is known only where it is used."""


def refuse_misspelt(context: SparkContext, names: Iterable[str]) -> None:
    """Raises BadConfigurationError for a setting that Spark doesn't know and that is nearly one that it does."""
    jvm: Any = context._jvm
    jvm.org.apache.spark.sql.internal.SQLConf.get()  # registers its own
    registry = getattr(jvm.org.apache.spark.internal.config, "ConfigEntry$").__getattr__("MODULE$")
    for name in names:
        if name.startswith(FREE) or registry.findEntry(name) is not None:
            continue
        near = nearest(name, registry.knownConfigs().keySet().toString()[1:-1].split(", "))
        if near:
            raise BadConfigurationError(f"{name} is no setting of Spark {context.version}: did you mean {near}?")


def nearest(name: str, known: Iterable[str]) -> str:
    """The name that is meant; empty where none is near."""
    parts = name.count(".")
    return next(iter(get_close_matches(name, [each for each in known if each.count(".") == parts], 1, NEAR)), "")
