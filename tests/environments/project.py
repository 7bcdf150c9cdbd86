"""A small copy of this project, whose lock names two packages that the company's index holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.environments.company import JAR, PACKAGE, Company
from tests.environments.machine import PYTHON, Machine

ROOT = Path(__file__).resolve().parents[2]
FETCH = f"""
import sys
from pathlib import Path
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local import jars
from pipeline_tuner.local.paths import Layout
jars.GROUPS = {{"company": ["{JAR}"]}}
try:
    print(*jars.fetch(Layout(Path(sys.argv[1])), "company"))
except InfrastructureError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class Project:
    """A folder in which `make setup` is done."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, company: Company, environment: Path | None) -> Project:
        """A copy of the project in a folder; `environment` is an empty one, which saves making it."""
        # Copied and not linked: the installation finds its folder by where its own file lies.
        shutil.copytree(ROOT / "plugins", folder / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "requirements.lock").write_text(company.lock, encoding="utf-8")
        if environment:
            shutil.copytree(environment, folder / ".local" / "venv", symlinks=True)
        return cls(folder)

    def set_up(self, machine: Machine) -> subprocess.CompletedProcess[str]:
        """`make setup`."""
        return machine.run("make", f"PYTHON={PYTHON}", "setup", cwd=self.folder)

    def has_package(self) -> bool:
        """True where the environment holds the company's package."""
        python = self.folder / ".local" / "venv" / "bin" / "python"
        return (
            python.exists() and not subprocess.run([python, "-c", f"import {PACKAGE}"], capture_output=True).returncode
        )

    def fetch_jars(self, machine: Machine, company: Company, host: str) -> subprocess.CompletedProcess[str]:
        """Download the company's jar with Spark's Ivy, by the packages of this test's environment."""
        there = machine.with_variables(
            PYTHONPATH=str(self.folder / "plugins"), DEFAULT_ARTIFACT_REPOSITORY=company.maven(host)
        )
        return there.run(sys.executable, "-c", FETCH, self.folder, cwd=self.folder)
