"""Whether this machine or container has the memory that a command needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from pipeline_tuner.exceptions import InfrastructureError

GB = 1_000_000_000
NEEDED_BYTES = 3 * GB
"""PostgreSQL, Airflow, and a Spark driver whose heap may grow to 2 GB."""
TESTS_NEED_BYTES = 4 * GB
"""Less is too little for the processes of `make test`, each with servers and a Spark driver of its own."""
CGROUPS = Path("/sys/fs/cgroup")


def require_memory(command: str, needed_bytes: int = NEEDED_BYTES) -> None:
    """Refuse a command that would be killed half way. Raises InfrastructureError."""
    there = memory_bytes()
    if there < needed_bytes:
        raise InfrastructureError(
            f"`make {command}` needs {needed_bytes / GB:.1f} GB of memory; here are {there / GB:.1f} GB. "
            "Give the machine or its container more."
        )


def memory_bytes() -> int:
    """The machine's memory, or what its control groups allow, whichever is less."""
    return int(min([psutil.virtual_memory().total, *_limits()]))


def _limits() -> Iterator[int]:
    """The limits of this process's control groups and of those around them, in versions 1 and 2."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = (CGROUPS, "memory.max") if not controllers else (CGROUPS / "memory", "memory.limit_in_bytes")
        inner = Path(path.lstrip("/"))
        # In a container the path is the host's, and the group itself is mounted at the root.
        for folder in (inner, *inner.parents):
            yield from _limit(root / folder / name)


def _limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return
    if text.isdigit():
        yield int(text)
