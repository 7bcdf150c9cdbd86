"""Downloads in other environments than this machine's: `make setup` by pip and uv, and jars by Java."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from _pytest.mark import ParameterSet
from tests.environments.company import Company, running_company
from tests.environments.downloads import REFUSED, WORKING, Refused, Setting, Working
from tests.environments.machine import PYTHON, Machine, why_no_namespaces
from tests.environments.project import Project

OUTSIDE_TMP = "/var/tmp"
"""Some rows hide /tmp."""
Row = TypeVar("Row", Working, Refused)

pytestmark = pytest.mark.skipif(bool(why_no_namespaces()), reason=f"no namespaces here: {why_no_namespaces()}")


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    folder = tempfile.TemporaryDirectory(prefix="pipeline-tuner-", dir=OUTSIDE_TMP)
    with folder, running_company(Path(folder.name)) as running:
        yield running


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment with pip, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([PYTHON, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def setting(company: Company) -> Iterator[Setting]:
    company.tunnels.clear()
    with tempfile.TemporaryDirectory(prefix="pipeline-tuner-", dir=OUTSIDE_TMP) as folder:
        yield Setting(company, Path(folder))


def rows(table: Sequence[Row], is_short: Callable[[Row], bool]) -> list[ParameterSet]:
    """The table's rows, those of the long form marked as such."""
    return [pytest.param(row, id=row.name, marks=() if is_short(row) else pytest.mark.soak) for row in table]


@pytest.mark.parametrize("row", rows(WORKING, lambda row: row.in_short))
def test_packages_arrive(row: Working, setting: Setting, environment: Path):
    machine = row.machine(setting)
    prepared = None if row.makes_environment else environment
    project = Project.make(setting.folder / row.folder, setting.company, prepared)
    done = project.set_up(machine)
    assert done.returncode == 0, done.stderr
    assert project.has_package()
    assert "WARNING" not in done.stderr
    assert bool(setting.company.tunnels) == (row.host != "localhost")


@pytest.mark.parametrize("row", rows(WORKING, lambda row: row.jars_too))
def test_jars_arrive(row: Working, setting: Setting):
    machine = row.machine(setting)
    project = Project.make(setting.folder / row.folder, setting.company, None)
    done = project.fetch_jars(machine, setting.company, row.host)
    assert done.returncode == 0, done.stderr
    assert "test.company_nothing-1.0.jar" in done.stdout
    assert bool(setting.company.tunnels) == (row.host != "localhost")


@pytest.mark.soak
@pytest.mark.parametrize("left", ["a link to a Python that is gone", "a Python without pip"])
def test_an_environment_that_is_half_made_is_made_anew(left: str, setting: Setting):
    project = Project.make(setting.folder / "project", setting.company, None)
    venv = project.folder / ".local" / "venv"
    if "gone" in left:
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to("/nowhere/bin/python3")
    else:
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", venv], check=True)
    done = project.set_up(Machine(setting.variables(SSL_CERT_FILE=setting.authority)))
    assert done.returncode == 0, done.stderr
    assert project.has_package()


@pytest.mark.parametrize("row", rows(REFUSED, lambda row: row.in_short))
def test_a_failure_says_what_to_do(row: Refused, setting: Setting, environment: Path):
    machine = row.machine(setting).with_variables(PIP_RETRIES="0", UV_HTTP_RETRIES="0")
    project = Project.make(setting.folder / "project", setting.company, environment)
    done = project.set_up(machine)
    assert done.returncode != 0
    assert f": {row.fault.value}" in done.stderr
    assert "the package index https://" in done.stderr
    assert [words for words in row.says if words not in done.stderr] == []
    assert not project.has_package()


def test_jars_that_fail_say_the_same(setting: Setting):
    row = next(row for row in REFUSED if "trusts" in row.name)
    project = Project.make(setting.folder / "project", setting.company, None)
    done = project.fetch_jars(row.machine(setting), setting.company, "localhost")
    assert done.returncode != 0
    assert f"the Maven repository https://localhost:{setting.company.port}: {row.fault.value}" in done.stderr
    assert [words for words in row.says if words not in done.stderr] == []


@pytest.mark.soak
def test_a_proxys_password_is_in_no_message(setting: Setting):
    row = next(row for row in WORKING if "login" in row.name)
    machine = row.machine(setting).with_variables(SSL_CERT_FILE="/nowhere.pem")
    project = Project.make(setting.folder / "project", setting.company, None)
    done = project.fetch_jars(machine, setting.company, row.host)
    assert done.returncode != 0
    assert "an employee" not in done.stderr
    assert "ss:word" not in done.stderr
