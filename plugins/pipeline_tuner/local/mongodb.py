"""A MongoDB-compatible server for the demo and the tests: SecantusDB, run as a separate program on loopback.

It is GPL-2.0: a program beside this project, of which no code is imported. Users point a job at a real MongoDB.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.background_process import BackgroundProgram
from pipeline_tuner.local.paths import keep_secret
from pipeline_tuner.local.ports import kept_port

USER = "tuner"
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class MongodbServer:
    """One server whose data, password, port and log lie in `folder`."""

    folder: Path

    def start(self) -> None:
        """Start the server where it does not run yet.

        The first start makes the user and then starts again with passwords on. Raises InfrastructureError
        with the end of the server's log where it does not come up.
        """
        if self._program.is_running():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        port = kept_port(self.folder / "port")
        if not self._password_file.exists():
            self._make_user(port)
        self._launch(port, "--auth", "--sync-on-commit")
        self._wait(self.uri())

    def stop(self) -> None:
        """Stop the server and wait until its process is gone."""
        self._program.stop()

    def remove(self) -> None:
        """Stop the server and delete all that it ever wrote."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_running(self) -> bool:
        """True where the server's process lives."""
        return self._program.is_running()

    def is_initialised(self) -> bool:
        """True where the server has been started once, so that it has a URI."""
        return self._password_file.exists()

    def uri(self, database: str = "admin") -> str:
        """`mongodb://user:password@127.0.0.1:port/database?...`: a secret."""
        options = "authSource=admin&directConnection=true"
        return f"mongodb://{USER}:{self.password}@127.0.0.1:{self.port}/{database}?{options}"

    @property
    def password(self) -> str:
        """The user's password, kept in a file only its owner can read."""
        return self._password_file.read_text(encoding="ascii")

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int((self.folder / "port").read_text(encoding="ascii"))

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    @property
    def _program(self) -> BackgroundProgram:
        return BackgroundProgram(self.folder, "secantusdb")

    def _make_user(self, port: int) -> None:
        # The file gets its name when the user exists: a start that was killed before begins anew.
        password = keep_secret(self.folder / "password.new")
        with self._without_passwords(port) as client:
            client.admin.command("createUser", USER, pwd=password, roles=["root"])
        (self.folder / "password.new").rename(self._password_file)

    @contextmanager
    def _without_passwords(self, port: int) -> Iterator[MongoClient[dict[str, Any]]]:
        uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self._launch(port)
        try:
            self._wait(uri)
            client: MongoClient[dict[str, Any]]
            with MongoClient(uri) as client:
                yield client
        finally:
            self.stop()

    def _launch(self, port: int, *options: str) -> None:
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise InfrastructureError(
                "the MongoDB-compatible server is missing: pip install 'airflow-pipeline-tuner[local]'"
            )
        address = ["--host", "127.0.0.1", "--port", str(port)]
        # Run by this Python: the program's first line names the folder that it was installed in, which may have moved.
        self._program.start([sys.executable, program, *address, "--storage-path", self.folder / "data", *options])

    def _wait(self, uri: str) -> None:
        answers = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, PyMongoError) and self.is_running()),
            wait=wait_fixed(0.1),
            stop=stop_after_delay(START_TIMEOUT_S),
            reraise=True,
        )
        client: MongoClient[dict[str, Any]]
        with MongoClient(uri, serverSelectionTimeoutMS=500) as client:
            try:
                answers(client.admin.command, "ping")
            except PyMongoError:
                self.stop()
                reason = f"the MongoDB-compatible server did not start:\n{self._program.log_end()}"
                raise InfrastructureError(reason) from None
