"""A MongoDB-compatible server for the demo and the tests: SecantusDB, run as a separate program on loopback.

It is GPL-2.0: a program beside this project, of which no code is imported. Users point a job at a real MongoDB.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.layout import keep_secret

USER = "tuner"
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class MongodbServer:
    """One server whose data, password, port and log lie in `folder`."""

    folder: Path

    def start(self) -> None:
        """Start the server where it does not run yet. The first start makes the user and starts it again with
        passwords on. Raises InfrastructureError with the end of its log where it does not come up."""
        if self.is_running():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "port").write_text(str(_free_port()), encoding="ascii")
        if not (self.folder / "password").exists():
            with self._running_without_passwords() as client:
                password = keep_secret(self.folder / "password.new")
                client.admin.command("createUser", USER, pwd=password, roles=["root"])
            (self.folder / "password.new").rename(self.folder / "password")
        self._launch("--auth", "--sync-on-commit")
        self._wait(self.uri())

    def stop(self) -> None:
        """Stop the server and wait until its process is gone."""
        process = self._process()
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
        (self.folder / "pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop the server and delete all that it ever wrote."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_running(self) -> bool:
        """True where the server's process lives."""
        return self._process() is not None

    def uri(self, database: str = "admin") -> str:
        """`mongodb://user:password@127.0.0.1:port/database?...`: a secret."""
        password = (self.folder / "password").read_text(encoding="ascii")
        return f"mongodb://{USER}:{password}@{self._address}/{database}?authSource=admin&directConnection=true"

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{(self.folder / 'port').read_text(encoding='ascii')}"

    @contextmanager
    def _running_without_passwords(self) -> Iterator[MongoClient]:
        self._launch()
        uri = f"mongodb://{self._address}/?directConnection=true"
        try:
            self._wait(uri)
            client: MongoClient
            with MongoClient(uri) as client:
                yield client
        finally:
            self.stop()

    def _launch(self, *options: str) -> None:
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise InfrastructureError(
                "the MongoDB-compatible server is missing: pip install 'airflow-pipeline-tuner[local]'"
            )
        host, port = self._address.split(":")
        command = [str(program), "--host", host, "--port", port, "--storage-path", str(self.folder / "data"), *options]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        started = psutil.Process(process.pid).create_time()
        (self.folder / "pid").write_text(f"{process.pid} {started}", encoding="ascii")

    def _process(self) -> psutil.Process | None:
        try:
            pid, started = (self.folder / "pid").read_text(encoding="ascii").split()
            process = psutil.Process(int(pid))
            # A number that another program got since is not this server.
            is_ours = process.create_time() == float(started) and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process if is_ours else None

    def _wait(self, uri: str) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        client: MongoClient
        with MongoClient(uri, serverSelectionTimeoutMS=500) as client:
            while self.is_running() and time.monotonic() < end:
                try:
                    client.admin.command("ping")
                    return
                except PyMongoError:
                    time.sleep(0.1)
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        self.stop()
        raise InfrastructureError("the MongoDB-compatible server did not start:" + os.linesep + "\n".join(log))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
