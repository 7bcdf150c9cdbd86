"""The environment of a measurement: the machine and the versions that it is valid for. Nothing in it is secret."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = ("pyspark", "psycopg2-binary", "pyarrow", "pandas", "numpy", "duckdb", "pymongo", "pgpq", "numba")


def environment() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, a hash of the host's name; with a session also Spark's and Java's."""
    return {
        "cpu_model": _cpu_model(),
        "cores": _usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": platform.platform(),
        "python": platform.python_version(),
        "host": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
        "libraries": dict(_versions()),
        **_spark_versions(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _usable_cores() -> int:
    """The cores that this process may use: fewer than the machine's under an affinity mask."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _versions() -> Mapping[str, str]:
    """Looked up once a process: each look reads a package's metadata from disk."""
    installed = {}
    for library in LIBRARIES:
        try:
            installed[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _spark_versions() -> dict[str, str]:
    try:
        from pyspark import SparkContext
    except ImportError:
        return {}
    context = SparkContext._active_spark_context
    if context is None or context._jvm is None:
        return {}
    java = context._jvm.java.lang.System.getProperty("java.version")
    return {"spark": context.version, "java": java}
