"""Which embedded services each job's demo needs; starting them together, and their addresses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline_tuner.local import demo_data, jars
from pipeline_tuner.local.mongodb import MongodbServer
from pipeline_tuner.local.paths import Layout
from pipeline_tuner.local.postgres import PostgresServer

DATABASES = ("airflow", "tuner", "source", "target", "streaming", "dedup", "quantizer")
"""Airflow's metadata, the results, then the jobs' sources and targets."""


@dataclass(frozen=True)
class Needs:
    """What a study's job needs beside PostgreSQL."""

    jars: tuple[str, ...] = ()
    mongodb: bool = False


NEEDS = {
    "migration": Needs(jars=("postgresql",)),
    "streaming_etl": Needs(mongodb=True),
    "dedup": Needs(jars=("postgresql",)),
    "quantizer": Needs(jars=("postgresql", "iceberg")),
    "flights": Needs(jars=("postgresql",)),  # a benchmark of the migration
}
EVERYTHING = Needs(jars=("postgresql", "iceberg"), mongodb=True)


@dataclass(frozen=True)
class Services:
    """The servers of one checkout."""

    layout: Layout

    @property
    def postgres(self) -> PostgresServer:
        """Workload source and target, results, and Airflow's metadata."""
        return PostgresServer(self.layout.local / "postgres")

    @property
    def mongodb(self) -> MongodbServer:
        """The streaming ETL's source."""
        return MongodbServer(self.layout.local / "mongodb")

    def start(self, needs: Needs) -> None:
        """Start what is needed, with the demo's data and Spark's jars; what is there already costs nothing."""
        parts: list[Callable[[], object]] = [self._start_postgres]
        if needs.jars:
            parts.append(lambda: jars.fetch(self.layout, *needs.jars))
        if needs.mongodb:
            parts.append(self.mongodb.start)
        with ThreadPoolExecutor(len(parts)) as pool:
            for done in [pool.submit(part) for part in parts]:
                done.result()

    def stop(self) -> None:
        """Stop all servers and wait until their processes are gone."""
        self.mongodb.stop()
        self.postgres.stop()

    def remove(self) -> None:
        """Stop all servers and delete their data."""
        self.mongodb.remove()
        self.postgres.remove()

    def _start_postgres(self) -> None:
        self.postgres.start()
        for database in DATABASES:
            self.postgres.create_database(database)
        demo_data.load(self.postgres, "source")


def needs_of(study: str) -> Needs:
    """What the demo of a study needs; a study that is not known here needs PostgreSQL only."""
    return NEEDS.get(study, Needs())
