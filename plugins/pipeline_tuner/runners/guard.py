"""The guard process of a job: runs one command, ends all of its processes at its time limit or with its parent.
Standard library only.

    python guard.py [--lifeline] [--pid-file=DESCRIPTOR] [--times=FILE] -- command [argument ...]

The guard collects every descendant of the command, also those that leave its process group or lose their
parent (Spark's Python daemon does both), and kills them all when the command ends, when the guard gets SIGTERM
or, with `--lifeline`, when the guard's stdin closes: that is what happens when the Airflow task that holds
the other end is killed. Its exit code is the command's, 128 + N for a command that died of signal N. In an
open pid file it writes its own number and, at the end, the exit code; a lock on the file is held until it ends.
In the file of `--times` it leaves the seconds from the command's start to its own end, and the processor's seconds
of it and of all that it started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.01
"""Between two looks at a process whose end the system doesn't tell."""
GRACE_S = 3.0
"""Time between asking the descendants to end and killing them."""


def main(arguments: list[str]) -> int:
    """Run the command that follows `--`; returns the exit code."""
    options, command = _split(arguments)
    pid_file = int(options["--pid-file"]) if "--pid-file" in options else None
    _note(pid_file, f"{os.getpid()} ")
    _control_process(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    began = time.monotonic()
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
    except OSError as error:
        print(f"can't run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    try:
        code = _wait(process, has_lifeline="--lifeline" in options)
        took_s = time.monotonic() - began
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kill_descendants()
    if "--times" in options:
        Path(options["--times"]).write_text(f"{took_s!r} {_used_s()!r}", encoding="ascii")
    code = 128 - code if code < 0 else code
    _note(pid_file, str(code))
    return code


def kill_descendants(grace_s: float = GRACE_S) -> None:
    """End every process below this one: SIGTERM first, SIGKILL to what is left after `grace_s`."""
    deadline = time.monotonic() + grace_s
    _signal_all(signal.SIGTERM)
    while _descendants() and time.monotonic() < deadline:
        _reap()
        time.sleep(0.02)
    while _descendants():
        _signal_all(signal.SIGKILL)
        _reap()
        time.sleep(0.02)
    _reap()


def _note(pid_file: int | None, text: str) -> None:
    if pid_file is not None:
        os.write(pid_file, text.encode())


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    place = arguments.index("--")
    options = (option.partition("=") for option in arguments[:place])
    return {name: value for name, _, value in options}, arguments[place + 1 :]


def _used_s() -> float:
    """The processor's seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait(process: subprocess.Popen[bytes], *, has_lifeline: bool) -> int:
    """The exit code, at the moment of the process's end; that of SIGTERM when the lifeline is let go."""
    lifeline = [0] if has_lifeline else []
    with _end_of(process) as end:
        while process.poll() is None:
            readable, _, _ = select.select([*lifeline, *end], [], [], None if end else POLL_S)
            if 0 in readable and not os.read(0, 1024):
                return -signal.SIGTERM
    return process.returncode


@contextlib.contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """A descriptor that can be read when the process has ended; none where the system has no such thing."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        yield []
        return
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)


def _descendants() -> list[int]:
    """Every living process below this one; none where there is no /proc.

    Looked for twice: a process whose parent dies while /proc is being read is missed the first time.
    """
    return _scan() or _scan()


def _scan() -> list[int]:
    processes = _processes()
    found: list[int] = []
    generation = {os.getpid()}
    while generation:
        # Through the dead as well: a program whose first thread has ended may still have children.
        generation = {pid for pid, (parent, _) in processes.items() if parent in generation}
        found.extend(pid for pid in generation if processes[pid][1])
    return found


def _processes() -> dict[int, tuple[int, bool]]:
    """Every process with its parent, and whether it lives."""
    processes = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold spaces: the fields follow the last parenthesis.
            state, parent = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
            processes[int(stat.parent.name)] = int(parent), state not in "ZX"
    return processes


def _signal_all(number: signal.Signals) -> None:
    for pid in _descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # At once: a second signal must not interrupt the killing that the first one starts.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _die_with_parent() -> None:
    """Second line of defence: the command dies when the guard itself is killed."""
    _control_process(PR_SET_PDEATHSIG, signal.SIGKILL)


def _control_process(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
