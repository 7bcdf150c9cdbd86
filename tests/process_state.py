"""What a test may change in this process that the tests after it would see."""

from __future__ import annotations

import asyncio
import decimal
import functools
import locale
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

PYTESTS_OWN = "PYTEST_CURRENT_TEST"
THIRD_PARTIES = ("AIRFLOW_CTX_", "KMP_", "_AIRFLOW", "SPARK_", "PYSPARK_")
"""Variables that Airflow sets for a task that runs in this process, and compiled libraries when they are loaded: they
are taken back, and no test is blamed for them. So are signal handlers."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGALRM is not among them: the time limit of a test uses it."""
OURS = ("pipeline_tuner", "pipeline_jobs", "tests")
"""Packages whose modules no test may leave replaced, and whose caches end with each test file."""
TRACKER = "from multiprocessing.resource_tracker import main"
SHARED: set[int] = set()
"""Processes that a fixture of the session started: they end with it, whichever file asked for them first."""


def _umask() -> int:
    """As /proc says it: asking by os.umask would set it, for other threads too."""
    found = re.search(r"^Umask:\s*(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1], 8)


def _set_zone(_: tuple[str, ...]) -> None:
    """The variable TZ is back by now."""
    time.tzset()


def _set_precision(digits: int) -> None:
    decimal.getcontext().prec = digits


@dataclass(frozen=True)
class Part:
    """Something of this process that has a value: how it is read and how it is set."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


# The root logger's level is none of them: Airflow sets it once, at its first task in this process.
PARTS = (
    Part("working folder", os.getcwd, os.chdir),
    Part("umask", _umask, os.umask),
    Part("time zone", lambda: time.tzname, _set_zone),
    Part("locale", lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    Part("decimals' precision", lambda: decimal.getcontext().prec, _set_precision),
    Part("sockets' time limit", socket.getdefaulttimeout, socket.setdefaulttimeout),
    Part("level that logging is disabled at", lambda: logging.root.manager.disable, logging.disable),
)


@dataclass(frozen=True)
class ProcessState:
    """Environment variables, the parts above, signal handlers and import path at one moment."""

    environment: Mapping[str, str]
    values: tuple[Any, ...]
    handlers: Mapping[signal.Signals, Any]
    import_path: tuple[str, ...]

    @classmethod
    def now(cls) -> ProcessState:
        """The state of this process."""
        environment = {name: value for name, value in os.environ.items() if name != PYTESTS_OWN}
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        return cls(environment, tuple(part.read() for part in PARTS), handlers, tuple(sys.path))

    def changes_until(self, later: ProcessState) -> list[str]:
        """What our own code left different, by name; values may be secrets."""
        names = {n for n in (*self.environment, *later.environment) if not n.startswith(THIRD_PARTIES)}
        changed = sorted(n for n in names if self.environment.get(n) != later.environment.get(n))
        pairs = zip(PARTS, self.values, later.values, strict=True)
        return changed + [part.name for part, before, after in pairs if before != after]

    def restore(self) -> None:
        """Make this process as it was."""
        for name in set(os.environ) - set(self.environment) - {PYTESTS_OWN}:
            del os.environ[name]
        os.environ.update(self.environment)
        for part, value in zip(PARTS, self.values, strict=True):
            if part.read() != value:
                part.write(value)
        for number, handler in self.handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        sys.path[:] = self.import_path


@dataclass(frozen=True)
class Running:
    """What runs in this process or was started by it at one moment, and the modules that it has."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    modules: Mapping[str, ModuleType]

    @classmethod
    def now(cls) -> Running:
        """What runs now."""
        children = frozenset(child.pid for child in psutil.Process().children())
        return cls(frozenset(threading.enumerate()), children, _our_modules())

    def left(self, patience_s: float) -> list[str]:
        """What was begun since and is not ended: non-daemon threads, children, a Spark context, modules replaced.

        Waits so many seconds for what is about to end. What the files of this process share is none of it: servers of
        the session and the JVM.
        """
        deadline = time.monotonic() + patience_s
        return [*self._threads(deadline), *self._children(deadline), *_spark_context(), *self._replaced()]

    def restore(self) -> None:
        """Put back the modules that were replaced, stop Spark's context and forget what our functions remember."""
        sys.modules.update(self.modules)
        if context := _active_context():
            context.stop()
        for cached in _our_caches():
            cached.cache_clear()

    def _threads(self, deadline: float) -> Iterator[str]:
        for thread in set(threading.enumerate()) - self.threads:
            if not thread.daemon:
                thread.join(max(0.0, deadline - time.monotonic()))
                if thread.is_alive():
                    yield f"thread {thread.name}"

    def _children(self, deadline: float) -> Iterator[str]:
        old = self.children | SHARED | {_shared_jvm()}
        new = [child for child in psutil.Process().children() if child.pid not in old and _counts(child)]
        for child in psutil.wait_procs(new, timeout=max(0.0, deadline - time.monotonic()))[1]:
            yield f"process {child.pid}"

    def _replaced(self) -> Iterator[str]:
        for name, module in self.modules.items():
            if sys.modules.get(name) is not module:
                yield f"module {name}"


@contextmanager
def started_for_the_session() -> Iterator[None]:
    """What is started in here is shared by the files of this process."""
    before = {child.pid for child in psutil.Process().children()}
    yield
    SHARED.update(child.pid for child in psutil.Process().children() if child.pid not in before)


def has_running_loop() -> bool:
    """Whether an event loop runs in this thread, as it does between the calls of a browser that is driven by one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _our_modules() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OURS}


def _our_caches() -> Iterator[Any]:
    for module in _our_modules().values():
        for value in list(vars(module).values()):
            if isinstance(value, functools._lru_cache_wrapper):
                yield value


def _active_context() -> Any:
    """Spark's context of this process, None where there is none: a session would be made on it with its settings."""
    pyspark: Any = sys.modules.get("pyspark")
    return pyspark.SparkContext._active_spark_context if pyspark is not None else None


def _spark_context() -> Iterator[str]:
    if (context := _active_context()) is not None:
        yield f"Spark's context {context.appName}"


def _shared_jvm() -> int | None:
    pyspark: Any = sys.modules.get("pyspark")
    gateway = pyspark.SparkContext._gateway if pyspark is not None else None
    return gateway.proc.pid if gateway is not None and hasattr(gateway, "proc") else None


def _counts(child: psutil.Process) -> bool:
    """Whether it runs and is not the one that Python itself starts once for its shared memory."""
    try:
        return child.status() != psutil.STATUS_ZOMBIE and not any(TRACKER in part for part in child.cmdline())
    except psutil.NoSuchProcess:
        return False
