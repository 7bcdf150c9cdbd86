"""What the container `init` of docker-compose.yaml does once: login, databases, demo data, the results' tables."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

from pipeline_tuner.local import demo_data
from pipeline_tuner.local.services import DATABASES
from pipeline_tuner.store.migrate import migrate


def main() -> None:
    """Read all that is needed from the environment. It may be done again at any time."""
    results = os.environ["AIRFLOW_CONN_PIPELINE_TUNER_DEFAULT"]
    _write_login(Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]))
    _make_databases(urlunsplit(urlsplit(results)._replace(path="/airflow")))
    demo_data.load_into(os.environ["AIRFLOW_CONN_MIGRATION_SOURCE"])
    migrate(results)


def _write_login(file: Path) -> None:
    file.touch(mode=0o600)
    file.write_text(json.dumps({"admin": os.environ["TUNER_ADMIN_PASSWORD"]}), encoding="utf-8")


def _make_databases(uri: str) -> None:
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT datname FROM pg_database")
        there = {name for (name,) in cursor.fetchall()}
        for database in DATABASES:
            if database not in there:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


if __name__ == "__main__":
    main()
