"""The browser of the browser tests: the machine's own Chromium, or Debian's where it may be installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.network import Network
from pipeline_tuner.local.paths import Layout

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
STEPS = (["update"], ["install", "--yes", "--no-install-recommends", "chromium"])

LOCK = "Could not get lock"
"""What apt says in English, where another one is at work."""
LOCK_WAIT_S, LOCK_POLL_S = 300.0, 1.0
LOCKED = (
    f"Another apt has been at work on this machine for {LOCK_WAIT_S:.0f} s: no Chromium can be installed. "
    "Try again when it has ended, or install the package chromium by hand."
)


def find_browser() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def install_browser(layout: Layout) -> str:
    """The path of a Chromium, installed where the caller is root on Debian.

    Raises InfrastructureError where there is none and it can't be had.
    """
    if there := find_browser():
        return there
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise InfrastructureError("No Chromium here: install the package chromium.")
    network = Network.of_machine(sys.executable)
    bundle = network.certificates.write(layout.local / "certificates" / "trusted.pem")
    for step in STEPS:
        command = ["apt-get", "-qq", "-o", f"Acquire::https::CaInfo={bundle}", "-o", "Acquire::Retries=1", *step]
        done = _run_alone(command, _variables(network, bundle))
        if done.returncode:
            raise InfrastructureError(LOCKED if LOCK in done.stderr else _failure(done.stderr, network))
    if there := find_browser():
        return there
    raise InfrastructureError("Debian's package chromium brought no program of that name.")


def _run_alone(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run apt; wait for another one that is at work, such as the machine's own updates."""
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
        if not done.returncode or LOCK not in done.stderr or time.monotonic() > until:
            return done
        time.sleep(LOCK_POLL_S)


def _variables(network: Network, bundle: Path) -> dict[str, str]:
    # Variables and no options: everybody sees options, and apt's own configuration goes before variables.
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), network.proxy.url) if network.proxy else {}
    return {**network.download_variables(bundle), **proxy, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def _failure(output: str, network: Network) -> str:
    proxy = network.proxy
    used = f"{proxy.host}:{proxy.port}, from {proxy.origin}" if proxy else "none"
    return "\n".join(
        [
            output.strip(),
            "Debian's package archive (an address of apt's sources) failed: no Chromium can be installed.",
            f"  certificates used: {network.certificates.words()}",
            f"  proxy used: {used}",
            "  what to do: set HTTPS_PROXY or SSL_CERT_FILE, or install the package chromium by hand",
        ]
    )
