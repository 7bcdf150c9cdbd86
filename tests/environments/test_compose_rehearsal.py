"""docker-compose.yaml rehearsed without a container engine: services well, DAGs green, checks that can fail.

What the rehearsal can't show: the images of PostgreSQL and MongoDB (the embedded default's programs stand in under the
same names, users and passwords; MongoDB's own check is not run), the packages' installation, and published ports.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.environments.machine import why_no_namespaces
from tests.local.compose_file import ROOT, Compose

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]
DAGS = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))
"""In the order of their names: production with nothing recommended yet; upkeep has to wait for a table."""
ORDERED = [
    *(dag for dag in DAGS if dag.startswith("tune_")),
    *(dag for dag in DAGS if dag.startswith("run_")),
    *(dag for dag in DAGS if dag.startswith("maintain_")),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for volumes, outside /tmp, which the containers hide."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compose-", dir=ROOT / "build") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def why_not_here() -> str:
    """Why it can't be rehearsed here; empty where it can."""
    if os.geteuid() != 0:
        return "it needs root, to run programs as the containers' users"
    if Path(sys.prefix).is_relative_to("/tmp") or ROOT.is_relative_to("/tmp"):
        return "the checkout is below /tmp, where containers have a folder of their own"
    missing = [program for program in ("ip", "nsenter", "setpriv", "useradd") if not shutil.which(program)]
    return why_no_namespaces() or (f"there is no {', '.join(missing)}" if missing else "")


def rehearse(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The findings of a rehearsal in namespaces of its own; with them, or with this process, all of it ends."""
    spaces = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "plugins", "spark_jobs"))
    done = subprocess.run(
        [*spaces, sys.executable, "-m", "tests.environments.compose_rehearsal", str(folder), *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert findings, done.stderr
    print(*(f"{each['kind']} {each['name']}: {each['good']} {each['seconds']} s" for each in findings), sep="\n")
    assert not [each for each in findings if not each["good"]], done.stderr
    return findings


@pytest.mark.skipif(bool(why_not_here()), reason=why_not_here())
def test_every_service_is_well_and_every_dag_runs_green(folder: Path) -> None:
    findings = rehearse(folder, *ORDERED, "--down")
    services = Compose.read().services
    seen = {kind: [each["name"] for each in findings if each["kind"] == kind] for kind in ("service", "dag")}
    assert sorted(seen["service"]) == sorted(services)
    assert seen["dag"] == ORDERED
    down = {each["name"] for each in findings if each["kind"] == "check fails when down"}
    assert down == {name for name, service in services.items() if service.healthcheck}
