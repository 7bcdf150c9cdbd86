"""The folders of this checkout and of its `.local/`; which paths are refused."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_tuner.exceptions import InfrastructureError

CUT_OR_MATCHED = ",:#*?[]{}"
"""What Spark's lists of jars and search paths take for the end of a name or for a pattern."""


@dataclass(frozen=True)
class Layout:
    """The folders of one checkout. `root` holds `dags/`, `plugins/`, `spark_jobs/` and `include/`."""

    root: Path

    @classmethod
    def default(cls) -> Layout:
        """The checkout that this file lies in."""
        return cls(Path(__file__).resolve().parents[3])

    @property
    def local(self) -> Path:
        """All that is made on this machine."""
        return self.root / ".local"

    @property
    def studies(self) -> list[str]:
        """The names of the studies that have a DAG `tune_<study>`."""
        return sorted(path.stem.removeprefix("tune_") for path in (self.root / "dags").glob("tune_*.py"))

    def secret(self, name: str, *, size_bytes: int = 32) -> str:
        """A password in URL-safe base64, made at the first call and kept in a file only its owner can read."""
        return keep_secret(self.local / "secrets" / name, size_bytes=size_bytes)


def keep_secret(path: Path, *, size_bytes: int = 32) -> str:
    """The secret in a file; where there is none, a new one, written with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(file, "w", encoding="ascii") as secret_file:
        secret_file.write(secrets.token_urlsafe(size_bytes))
    return path.read_text(encoding="ascii")


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Make what other processes of this machine may want to make too; `lock` is a file made for that."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def require_plain_path(layout: Layout) -> None:
    """Refuse a checkout whose path no list of jars can hold. Raises InfrastructureError."""
    found = sorted(set(str(layout.root)) & set(CUT_OR_MATCHED))
    if found:
        raise InfrastructureError(
            f"Spark can't be given files below {layout.root}: in its lists of jars and in search paths "
            f"{' '.join(found)} cuts a name or stands for others. Move the checkout to a folder without."
        )
