"""A PostgreSQL server in a folder of its own below the temporary folder, removed afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline_tuner.local.postgres import PostgresServer


@contextmanager
def temporary_postgres(**options: Any) -> Iterator[PostgresServer]:
    """A server that runs within the block; PostgreSQL's own user can enter its folder."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-postgres-"))
    folder.chmod(0o755)
    server = PostgresServer(folder, **options)
    try:
        server.start()
        yield server
    finally:
        server.remove()
