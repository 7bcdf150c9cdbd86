"""The rehearsal of docker-compose.yaml: all services in containers of this machine's, each of some DAGs run to its end.

Run within new namespaces (`test_compose_rehearsal.py`): `python -m tests.environments.compose_rehearsal FOLDER DAG...`.
Prints a line of JSON for each finding. PostgreSQL and MongoDB are the embedded default's programs under the services'
names, users and variables; all else is what the file and the Dockerfile say.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.environments.containers import Container, Engine, Program
from tests.local.compose_file import IMAGE, Compose, Image

from pipeline_tuner.local.postgres import _packaged_installation

PATIENCE_S = 3600
"""For one DAG, and for an answer: it only bounds how long a failing rehearsal takes."""
RUN_ID = "rehearsal"
SECRETS = {
    "TUNER_DB_PASSWORD": "a-word-for-the-database",
    "TUNER_MONGO_PASSWORD": "a-word-for-the-documents",
    "TUNER_ADMIN_PASSWORD": "a-word-for-the-page",
    "TUNER_SECRET": "a secret of the rehearsal only, of sixty-four letters or more: " + "x" * 16,
    "TUNER_FERNET_KEY": "cmVoZWFyc2FsLXJlaGVhcnNhbC1yZWhlYXJzYWwtMDE=",
}
POSTGRES = """
set -e
data=/var/lib/postgresql/18/docker
if [ ! -s $data/PG_VERSION ]; then
  mkdir -p $data
  printf %s "$POSTGRES_PASSWORD" > /tmp/word
  initdb -D $data --username="$POSTGRES_USER" --pwfile=/tmp/word --auth=scram-sha-256 --encoding=UTF8 \\
    --locale=C --no-sync
  echo 'host all all all scram-sha-256' >> $data/pg_hba.conf
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D $data template1
fi
exec postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp -c max_connections=200 -c fsync=off
"""
MONGO = """
import os, subprocess, sys, time
from pathlib import Path
from pymongo import MongoClient
program = [sys.executable, str(Path(sys.executable).parent / "secantusd-py"), "--port", "27017"]
program += ["--storage-path", "/data/db/data"]
user, word = os.environ["MONGO_INITDB_ROOT_USERNAME"], os.environ["MONGO_INITDB_ROOT_PASSWORD"]
if not Path("/data/db/made").exists():
    first = subprocess.Popen([*program, "--host", "127.0.0.1", "--sync-on-commit"])
    with MongoClient("mongodb://127.0.0.1:27017/?directConnection=true", serverSelectionTimeoutMS=60_000) as client:
        client.admin.command("createUser", user, pwd=word, roles=["root"])
    first.terminate()
    first.wait()
    Path("/data/db/made").touch()
# By the name that clients know: it tells them to connect to where it listens.
os.execv(program[0], [*program, "--host", "mongo", "--auth", "--sync-on-commit"])
"""
MONGO_CHECK = """
import os
from pymongo import MongoClient
user, word = os.environ["MONGO_INITDB_ROOT_USERNAME"], os.environ["MONGO_INITDB_ROOT_PASSWORD"]
client = MongoClient("mongo", username=user, password=word, directConnection=True, serverSelectionTimeoutMS=5000)
client.admin.command("ping")
"""
AS_ITS_USER = 'chown 999 "$0" && exec setpriv --reuid=999 --regid=0 --clear-groups "$@"'
"""As the images of databases do: they start as root, take their volume and go on as a user of their own."""
IDLE = "trap 'exit 0' TERM; sleep infinity & wait"
QUICK = {"minutes": None, "blocks": 1, "confirm_blocks": 0, "rounds": 1, "repeats": 1, "min_work_s": 0}
CONFS: dict[str, dict[str, Any]] = {
    "tune_migration": {**QUICK, "size": "quarter", "strategy": "presets", "trials": 2},
    "tune_dedup": {**QUICK, "size": "tenth", "strategy": "presets", "trials": 2},
    "tune_quantizer": {**QUICK, "size": "tenth", "strategy": "presets", "trials": 2},
    "tune_streaming_etl": {**QUICK, "strategy": "presets", "trials": 2, "also": []},
    "tune_streaming_etl_memory": {**QUICK, "strategy": "making_records", "trials": 2},
}
"""The smallest sweeps: two configurations once, on the smallest part of the data."""


@dataclass(frozen=True)
class Finding:
    """What was seen of a service or of a DAG's run."""

    kind: str
    name: str
    good: bool
    seconds: float = 0.0
    said: str = ""


class Rehearsal:
    """The services of the file, and what is done with them."""

    def __init__(self, folder: Path) -> None:
        self.compose, self.image = Compose.read(), Image.read()
        self.engine = Engine(folder, self.image, list(self.compose.services))
        self.running: dict[str, Container] = {}

    def start_all(self) -> Iterator[Finding]:
        """Build, then start side by side the services whose dependencies are as they want them."""
        self.engine.build()
        self._be_patient()
        waiting = dict(self.compose.services)
        while waiting:
            ready = [n for n, s in waiting.items() if not set(s.depends_on) & set(waiting)]
            begun = time.monotonic()
            for name in ready:
                self.running[name] = self.engine.start(name, self.program(name))
                del waiting[name]
            for name in ready:
                yield self._up(name, begun)

    def program(self, name: str) -> Program:
        """A service's container: its image's variables below its own, its user, its command behind the entrypoint."""
        service = self.compose.services[name]
        volumes = {volume: str(place) for place, volume in service.mounts.items()}
        own = service.variables(SECRETS)
        if service.image == IMAGE:
            variables = {**self.engine.variables, "HOSTNAME": name, **own}
            command = [*self.image.entrypoint, *(service.command or ())]
            return Program(command, variables, self.image.user, str(self.image.folder), volumes)
        programs = _packaged_installation() / "bin"
        variables = {**self.engine.variables, "PATH": f"{programs}:{self.engine.variables['PATH']}", **own}
        command = ["sh", "-c", POSTGRES] if name == "postgres" else ["python", "-c", MONGO]
        (place,) = volumes.values()
        return Program(["sh", "-c", AS_ITS_USER, place, *command], variables, 0, "/", volumes)

    def is_well(self, name: str) -> tuple[bool, str]:
        """What the service's own check says now."""
        check = self.compose.services[name].healthcheck
        assert check is not None
        command = ["python", "-c", MONGO_CHECK] if name == "mongo" else check.command
        try:
            done = self.running[name].run(command, float(check.timeout.removesuffix("s")) * 5)
        except subprocess.TimeoutExpired as error:
            return False, str(error)
        return done.returncode == 0, (done.stdout + done.stderr)[-500:]

    def down(self, name: str) -> Finding:
        """Whether a service's check fails where its program doesn't run: another one holds the container."""
        self.running[name].stop()
        idle = replace(self.program(name), command=["sh", "-c", IDLE])
        self.running[name] = self.engine.start(name, idle)
        until(lambda: self.running[name].run(["true"], 60).returncode == 0, 60)
        seen = until(lambda: not self.is_well(name)[0], 180)
        answers = self.running[name].run(["true"], 60).returncode == 0
        said = self.is_well(name)[1]
        self.running[name].stop()
        return Finding("check fails when down", name, seen and answers, said=said)

    def refused(self, what: str, said: str, variables: Mapping[str, str], **configuration: Any) -> Finding:
        """Whether a job on the cluster refuses what can't work there, in one line with its reason."""
        asked = {
            "contract": 1,
            "job": "dedup",
            "trial_id": "refused",
            "configuration": {"strategy": "window", "master": "spark://spark-master:7077", **configuration},
            "workload": {"data": "generated", "generator": {"rows": 1000}, "target": {"kind": "none"}},
        }
        script = f"{self.image.folder}/spark_jobs/dedup.py"
        files = "--config /tmp/c.json --measurement /tmp/m.json"
        command = f"rm -f /tmp/m.json; echo '{json.dumps(asked)}' > /tmp/c.json; python {script} {files}"
        pairs = [f"{name}={value}" for name, value in variables.items()]
        self.running["scheduler"].run(["env", *pairs, "sh", "-c", command], 300)
        left = self.running["scheduler"].run(["cat", "/tmp/m.json"], 60).stdout
        reason = str((json.loads(left or "{}").get("failure") or {}).get("reason"))
        return Finding("refused", what, said in reason and "\n" not in reason, said=reason)

    def run_dag(self, dag: str) -> Finding:
        """Trigger a DAG by the REST API and wait for its end; what its tasks said where it is not green."""
        begun = time.monotonic()
        self._rest("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
        body = {"dag_run_id": RUN_ID, "logical_date": None, "conf": CONFS.get(dag, {})}
        self._rest("POST", f"/api/v2/dags/{dag}/dagRuns", body)
        place = f"/api/v2/dags/{dag}/dagRuns/{RUN_ID}"
        until(lambda: self._rest("GET", place)["state"] in ("success", "failed"), PATIENCE_S)
        tasks = self._rest("GET", f"{place}/taskInstances?limit=200")["task_instances"]
        bad = [each for each in tasks if each["state"] not in ("success", "skipped")]
        good = self._rest("GET", place)["state"] == "success" and not bad
        done = sum(each["state"] == "success" for each in tasks)
        said = "\n".join(self._said(place, each) for each in bad) or f"{done} tasks done, {len(tasks) - done} skipped"
        return Finding("dag", dag, good, round(time.monotonic() - begun, 1), said)

    def _be_patient(self) -> None:
        """Whether a DAG runs green must not depend on how busy this machine is: no trial is too slow."""
        for study in (self.engine.built / "include" / "configs").glob("*.yaml"):
            text = study.read_text(encoding="utf-8")
            study.write_text(re.sub(r"trial_timeout_s: \d+", "trial_timeout_s: 3600", text), encoding="utf-8")

    def _said(self, place: str, task: dict[str, Any]) -> str:
        name, index, attempt = task["task_id"], task["map_index"], max(1, task["try_number"])
        found = self._rest("GET", f"{place}/taskInstances/{name}/logs/{attempt}?map_index={index}")
        return f"{name} {index} {task['state']}: {json.dumps(found)[-3000:]}"

    def _rest(self, method: str, path: str, body: Any = None) -> Any:
        """An answer of the page's API, which may not know a DAG yet or be slow to answer."""
        deadline = time.monotonic() + PATIENCE_S
        while (answer := self._answer(method, path, body)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path}: no answer within {PATIENCE_S} s")
            time.sleep(1)
        return answer

    def _answer(self, method: str, path: str, body: Any) -> Any:
        url = f"http://{self.engine.addresses['api-server']}:8080"
        login = {"username": "admin", "password": SECRETS["TUNER_ADMIN_PASSWORD"]}
        try:
            token = _ask("POST", f"{url}/auth/token", login)["access_token"]
            return _ask(method, f"{url}{path}", body, token)
        except urllib.error.HTTPError as error:
            if error.code in (404, 503):
                return None
            if error.code == 409:  # made by a request whose answer was too slow
                return {}
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None
        except OSError:
            return None

    def _up(self, name: str, begun: float) -> Finding:
        container, service = self.running[name], self.compose.services[name]
        if service.healthcheck is None:
            good, said = container.process.wait(PATIENCE_S) == 0, ""
        else:
            good = until(lambda: self.is_well(name)[0] or container.process.poll() is not None, 300)
            good, said = good and container.process.poll() is None, self.is_well(name)[1] if good else ""
        end = "" if good else container.log.read_text(errors="replace")[-3000:]
        return Finding("service", name, good, round(time.monotonic() - begun, 1), said + end)


def _ask(method: str, url: str, body: Any = None, token: str = "") -> Any:
    request = urllib.request.Request(url, data=json.dumps(body).encode() if body else None, method=method)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def main() -> int:
    """Start everything, run the DAGs one after the other, then see each check fail. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("dags", nargs="*")
    parser.add_argument(
        "--down", action="store_true", help="see too what is refused, and each service's check fail without it"
    )
    options = parser.parse_args()
    rehearsal = Rehearsal(options.folder)
    findings = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        print(json.dumps(asdict(finding)), flush=True)

    try:
        for finding in rehearsal.start_all():
            note(finding)
            if not finding.good:
                return 1
        if options.down:
            alone = {"PIPELINE_TUNER_DATA": "/tmp/alone"}
            note(rehearsal.refused("data that executors don't see", "can't read and write /tmp/alone", alone, cores=1))
            shared = {"PIPELINE_TUNER_DATA": "/opt/data"}
            note(rehearsal.refused("more cores than there are", "did not give 64 cores", shared, cores=64))
        for dag in options.dags:
            note(rehearsal.run_dag(dag))
        for name in reversed([n for n, s in rehearsal.compose.services.items() if s.healthcheck and options.down]):
            note(rehearsal.down(name))
    finally:
        for container in reversed(rehearsal.running.values()):
            container.stop()
    return 0 if all(finding.good for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
