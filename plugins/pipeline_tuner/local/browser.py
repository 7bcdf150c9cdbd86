"""A browser for the browser tests: the machine's own Chromium, or Debian's where it may be installed."""

from __future__ import annotations

import os
import shutil
import subprocess

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
COMMANDS = (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "chromium"])


def find_browser() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def install_browser() -> str | None:
    """The path of a Chromium, installed where the caller is root on Debian; None where it can't be had."""
    if find_browser() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in COMMANDS:
            if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode:
                break
    return find_browser()
