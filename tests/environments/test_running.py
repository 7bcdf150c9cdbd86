"""Services, Spark and commands in other environments than this machine's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.environments.machine import PYTHON, Machine, why_no_namespaces
from tests.environments.running import RUNNING, SERVE, SERVED, Running

from pipeline_tuner.local.memory_check import NEEDED_BYTES

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT / "plugins"), str(ROOT / "spark_jobs")])

pytestmark = pytest.mark.skipif(bool(why_no_namespaces()), reason=f"no namespaces here: {why_no_namespaces()}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder outside /tmp and /var/tmp, which some rows hide."""
    place = ROOT / "build"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="environment-", dir=place) as name:
        Path(name).chmod(0o755)  # PostgreSQL's user reaches it, where the tests run as root
        yield Path(name)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.name, marks=() if row.in_short else pytest.mark.soak) for row in RUNNING],
)
def test_it_runs(row: Running, folder: Path):
    home, data = folder / "home", folder / row.folder
    home.mkdir()
    data.mkdir()
    machine = row.machine(home).with_variables(PYTHONPATH=PYTHONPATH)
    done = machine.run(sys.executable, "-c", row.script, data, cwd=data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(row.prints) <= set(done.stdout.splitlines()), done.stdout


def test_taken_ports_are_passed_over(folder: Path):
    """One that a server listens on, and one that is held without an answer: nobody connects to it, nobody gets it."""
    with socket.socket() as listening, socket.socket() as held:
        ports = []
        for holder, name in ((listening, "postgres"), (held, "mongodb")):
            holder.bind(("127.0.0.1", 0))
            ports.append(str(holder.getsockname()[1]))
            (folder / name).mkdir()
            (folder / name / "port").write_text(ports[-1], encoding="ascii")
        listening.listen()
        machine = Machine({"PYTHONPATH": PYTHONPATH})
        done = machine.run(sys.executable, "-c", SERVE, folder, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(SERVED) <= set(done.stdout.splitlines())
    assert not [port for port in ports if port in done.stdout]


@pytest.mark.parametrize(
    "command", ["demo", pytest.param("ui", marks=pytest.mark.soak), pytest.param("test", marks=pytest.mark.soak)]
)
def test_too_little_memory_is_refused_before_anything_starts(command: str, folder: Path):
    meminfo = folder / "meminfo"
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    lines[0] = "MemTotal:        2000000 kB"
    meminfo.write_text("\n".join([*lines, ""]), encoding="ascii")
    machine = Machine({"PYTHONPATH": PYTHONPATH}, meminfo=meminfo)
    done = machine.run(sys.executable, "-m", "pipeline_tuner.local", command, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"`make {command}` needs ")
    assert "here are 2.0 GB. Give the machine or its container more.\n" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert NEEDED_BYTES > 2e9


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_fresh_clone_sets_itself_up_and_shows_its_demo(folder: Path):
    """`git clone`, `make setup`, `make demo` in a folder with spaces, with nothing of this shell's environment.

    Then the demo again where everything is hostile at once: umask 077, noexec, a closed HOME, LC_ALL=C, no network.
    """
    clone, home = folder / "Prüfung № 1 größer" / "clone", folder / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    variables = {"HOME": str(home), "PATH": os.environ["PATH"]}
    make = ["make", f"PYTHON={PYTHON}"]
    for target in ("setup", "demo"):
        done = subprocess.run([*make, target], cwd=clone, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run(["make", "stop"], cwd=clone, env=variables, check=True)
    hostile = Machine(
        {"HOME": str(home), "LC_ALL": "C", "HTTPS_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        read_only=(home,),
        noexec=("/tmp", "/var/tmp"),
        own_network=True,
        umask="077",
    )
    command = "make demo; status=$?; make clean; exit $status"
    done = hostile.run("sh", "-c", command, cwd=clone, timeout_s=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(clone)
