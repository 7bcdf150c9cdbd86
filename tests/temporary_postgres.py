"""A PostgreSQL server of the tests, in a folder of its own that is removed afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg2 import sql

from pipeline_tuner.local.postgres import USER, PostgresServer

MEMORY = Path("/dev/shm")
MIN_FREE_BYTES = 4 << 30
"""A container gives it 64 MB, unless it is told otherwise."""


@contextmanager
def temporary_postgres(**options: Any) -> Iterator[PostgresServer]:
    """A server that runs within the block; PostgreSQL's own user can enter its folder."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-postgres-", dir=_place()))
    folder.chmod(0o755)
    server = PostgresServer(folder, **options)
    try:
        server.start()
        _log_in_quickly(server)
        yield server
    finally:
        server.remove()


def _place() -> Path | None:
    """In memory where there is room, else the temporary folder.

    The tests make a thousand databases of 300 files each and drop them, which takes twice as long on a disk.
    """
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MIN_FREE_BYTES
    return MEMORY if has_room else None


def _log_in_quickly(server: PostgresServer) -> None:
    """Hash the password once instead of 4,096 times: clients do so at each of some ten thousand connections."""
    with server.cursor() as cursor:
        cursor.execute("SET scram_iterations = 1")
        cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(USER), sql.Literal(server.password)))
