"""The environments in which the services, Spark and the commands must run: a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.environments.machine import Machine

from pipeline_tuner.local.java import QUICKLY_COMPILED

SERVE = """
import sys
from pathlib import Path
import psycopg2
from pymongo import MongoClient
from pipeline_tuner.local.mongodb import MongodbServer
from pipeline_tuner.local.postgres import PostgresServer
folder = Path(sys.argv[1])
postgres, mongodb = PostgresServer(folder / "postgres"), MongodbServer(folder / "mongodb")
try:
    postgres.start()
    with postgres.cursor() as cursor:
        cursor.execute("SELECT 6 * 7")
        print("postgres", cursor.fetchone()[0])
    mongodb.start()
    with MongoClient(mongodb.uri()) as client:
        client["try"]["one"].insert_one({"_id": 1})
        print("mongodb", client["try"]["one"].count_documents({}))
    print("ports", postgres.port, mongodb.port)
    for server in (postgres, mongodb):
        server.start()
        was_running = server.is_running()
        server.stop()
        print(type(server).__name__, was_running, server.is_running())
finally:
    postgres.remove()
    mongodb.remove()
"""
"""Both servers, with data in the folder that is the first argument: started, started again, stopped."""

SPARK = """
import os, sys
from pathlib import Path
from pipeline_tuner.local.java import java_home
from pipeline_tuner.local.paths import Layout
from pipeline_tuner.local.usable_folders import java_variables
layout = Layout(Path(sys.argv[1]))
os.environ.update(java_variables(layout.local), JAVA_HOME=str(java_home(layout)), SPARK_LOCAL_IP="127.0.0.1")
from pipeline_jobs.session import open_session, stop_jvm
spark = open_session("try", {"master": "local[1]", "shuffle_partitions": 1})
file = str(layout.root / "numbers")
spark.range(1000).write.option("compression", "snappy").parquet(file)
print("spark", spark.read.parquet(file).count())
spark.stop()
stop_jvm()
"""
"""Parquet with snappy, whose native library Spark unpacks into Java's temporary folder."""


@dataclass(frozen=True)
class Running:
    """A row: in this environment a script prints what it should."""

    name: str
    script: str
    prints: tuple[str, ...]
    machine: Callable[[Path], Machine]
    """Made with an empty folder for a HOME."""
    in_short: bool = True
    folder: str = "data"


QUICK = {"SPARK_LAUNCHER_OPTS": QUICKLY_COMPILED, "SPARK_SUBMIT_OPTS": QUICKLY_COMPILED}
SERVED = ("postgres 42", "mongodb 1", "PostgresServer True False", "MongodbServer True False")

RUNNING = (
    Running("no IPv6, and no network but loopback", SERVE, SERVED, lambda _: Machine(own_network=True)),
    Running(
        "a proxy that answers nothing, for what runs on loopback",
        SERVE,
        SERVED,
        lambda _: Machine({"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}),
        in_short=False,
    ),
    Running(
        "no write access to HOME",
        SERVE,
        SERVED,
        lambda home: Machine({"HOME": str(home)}, read_only=(home,)),
        in_short=False,
    ),
    Running(
        "a path with spaces and letters beyond ASCII, LC_ALL=C",
        SERVE,
        SERVED,
        lambda _: Machine({"LC_ALL": "C"}),
        folder="Prüfung № 1, größer",
    ),
    Running(
        "umask 077, and /tmp and /var/tmp mounted noexec",
        SERVE,
        SERVED,
        lambda _: Machine(umask="077", noexec=("/tmp", "/var/tmp")),
        in_short=False,
    ),
    Running(
        "Spark: /tmp mounted noexec",
        SPARK,
        ("spark 1000",),
        lambda _: Machine(QUICK, noexec=("/tmp",)),
        folder="Prüfung № 1, größer",
    ),
    Running(
        "Spark: LC_ALL=C, a path with spaces and letters beyond ASCII",
        SPARK,
        ("spark 1000",),
        lambda _: Machine({"LC_ALL": "C", **QUICK}, umask="077"),
        in_short=False,
        folder="Prüfung № 1, größer",
    ),
)
