"""The kept process, its own side: one Python and one JVM that run trial after trial (`warm: true`).

    python -m pipeline_jobs.serve                          requests on stdin, answers on stdout
    python -m pipeline_jobs.serve --socket FILE            the same on a Unix socket that only the owner can open

A request is a line of JSON, `{"job": "migration", "config": FILE, "measurement": FILE, "environment": {...}}`;
`environment` (optional) holds variables for this trial alone, the connections' URIs among them. The answer is
`{"job": ..., "measurement": FILE, "exit_code": 0 or 1}`. One trial runs at a time. A client that hangs up
while its trial runs ends the trial and this process with it; without requests the process ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_jobs.contract import measure

IDLE_TIMEOUT_S = 600.0


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Run trials in one kept process.")
    parser.add_argument("--socket", type=Path, help="serve on this Unix socket instead of stdin and stdout")
    parser.add_argument("--idle-timeout", type=float, default=IDLE_TIMEOUT_S, metavar="S", help="end when idle")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.socket is None:
        _serve_pipe()
    else:
        _serve_socket(arguments.socket, arguments.idle_timeout)
    return 0


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the trial that a request asks for."""
    job = str(request["job"])
    run = importlib.import_module(f"pipeline_jobs.{job}.job").run
    with _variables(request.get("environment", {})):
        exit_code = measure(job, run, request["config"], request["measurement"])
    return {"job": job, "measurement": request["measurement"], "exit_code": exit_code}


def _serve_pipe() -> None:
    """Answers go to the real stdout; whatever a library prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(_answer_line(line))
            answers.flush()


def _serve_socket(path: Path, idle_timeout_s: float) -> None:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        mask = os.umask(0o177)
        listener.bind(str(path))
        os.umask(mask)
        listener.listen()
        listener.settimeout(idle_timeout_s)
        try:
            while True:
                client, _ = listener.accept()
                with client:
                    _serve_client(client)
        except TimeoutError:
            return
        finally:
            path.unlink(missing_ok=True)


def _serve_client(client: socket.socket) -> None:
    client.settimeout(None)
    with client.makefile("r", encoding="utf-8") as requests:
        for line in requests:
            with _dies_with(client):
                reply = _answer_line(line)
            with contextlib.suppress(OSError):
                client.sendall(reply.encode())


def _answer_line(line: str) -> str:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        traceback.print_exc()
        reply = {"exit_code": 1, "error": f"{type(error).__name__}: {error}"}
    return json.dumps(reply) + "\n"


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _dies_with(client: socket.socket) -> Iterator[None]:
    """End this process when the client hangs up: the JVM and its workers follow, as their pipes close."""
    done, wake = os.pipe()
    watcher = threading.Thread(target=_watch, args=(client, done), name="client-watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(wake)
        watcher.join()
        os.close(done)


def _watch(client: socket.socket, done: int) -> None:
    poller = select.poll()
    poller.register(client, select.POLLRDHUP)
    poller.register(done, select.POLLHUP)
    ready = [descriptor for descriptor, _ in poller.poll()]
    if client.fileno() in ready and done not in ready:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
