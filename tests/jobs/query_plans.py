"""The physical plans of the queries that a session has run."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def count_queries(spark: SparkSession) -> int:
    """How many queries the session has run so far."""
    return int(_listed(spark).size())


def plans_since(spark: SparkSession, first: int) -> tuple[str, ...]:
    """The plans of the queries from number `first` on: each is long, so those before are not fetched."""
    listed = _listed(spark)
    return tuple(listed.apply(place).physicalPlanDescription() for place in range(first, listed.size()))


def _listed(spark: SparkSession) -> Any:
    # A query is listed when the bus has delivered it.
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
    return spark._jsparkSession.sharedState().statusStore().executionsList()
