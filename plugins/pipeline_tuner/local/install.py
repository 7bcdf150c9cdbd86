"""`make setup`: the packages of requirements.lock in the environment `.local/venv`.

It runs on the machine's own Python, before any package is there: only the standard library is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline_tuner.local.download_fault import AddressKind, find_fault
from pipeline_tuner.local.network import Network

DEFAULT_INDEX = "https://pypi.org/simple/"
ROOT = Path(__file__).resolve().parents[3]


class InstallationError(Exception):
    """The environment can't be made: the message says what to do."""


def main() -> int:
    """Make or update the environment; returns the exit code."""
    try:
        install(ROOT / "requirements.lock", ROOT / ".local")
    except InstallationError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The next make goes on from here.", file=sys.stderr)
        return 130
    return 0


def install(lock: Path, local: Path) -> None:
    """Make `local`/venv hold exactly the packages of a lock. Raises InstallationError."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    count = sum("==" in line for line in lines)
    print(f"Installing {count} packages into {local.name}/venv, once: about a minute.", file=sys.stderr)
    python = _environment(local / "venv")
    network = Network.of_machine(python)
    bundle = local / "certificates" / "trusted.pem"
    network.certificates.write(bundle)
    if not (python.parent / "uv").exists():
        own = local / "venv" / "uv.lock"
        own.write_text("\n".join(_part_of(lines, "uv")) + "\n", encoding="utf-8")
        pip: list[str | Path] = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        # `user` in pip's configuration is for installations outside of an environment: pip would refuse this one.
        variables = network.download_variables(bundle) | {"PIP_USER": "0"}
        _download([*pip, "install", "--require-hashes", "-r", own], variables, network)
    variables = network.uv_variables(bundle, _cache_where_home_is_closed(local)) | {"VIRTUAL_ENV": str(local / "venv")}
    _download([python, "-m", "uv", "pip", "sync", "--quiet", "--require-hashes", lock], variables, network)
    shutil.copyfile(lock, local / "venv" / "requirements.lock")


def _environment(folder: Path) -> Path:
    """The Python of the environment, made anew where a half of it is all that is there."""
    python = folder / "bin" / "python"
    if _runs(python, "import pip"):
        return python
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], capture_output=True, text=True)
    if made.returncode or not _runs(python, "import pip"):
        output = (made.stdout + made.stderr).strip()
        raise InstallationError(
            f"{output}\nPython's venv module is incomplete: on Debian, apt-get install python3-venv"
        )
    return python


def _runs(python: Path, code: str) -> bool:
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def _part_of(lines: Iterable[str], package: str) -> Iterable[str]:
    """The lines of one package in a lock: its own and the hashes below."""
    inside = False
    for line in lines:
        if line and not line[0].isspace():
            inside = line.startswith(f"{package}==")
        if inside:
            yield line


def _cache_where_home_is_closed(local: Path) -> Path | None:
    """A folder for uv's cache in `local`, where its own can't be written; else None, which is uv's own."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache") / "uv"
    there = next(folder for folder in (usual, *usual.parents) if folder.exists())
    return None if os.access(there, os.W_OK | os.X_OK) else local / "cache" / "uv"


def _download(command: list[str | Path], variables: Mapping[str, str], network: Network) -> None:
    done = subprocess.run([str(part) for part in command], env=dict(variables))
    if done.returncode:
        index = network.pip.index_url or DEFAULT_INDEX
        raise InstallationError(find_fault(AddressKind.PACKAGES, index, network).message())


if __name__ == "__main__":
    sys.exit(main())
