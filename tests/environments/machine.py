"""An environment that is not this machine's: commands run with emptied variables, in namespaces of their own."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = getattr(sys, "_base_executable", sys.executable)
FRESH_ETC = """
mount -t tmpfs none /mnt
cp -a /etc/. /mnt/ 2>/dev/null || true
mount --bind /mnt /etc
rm -f /etc/pip.conf
: > /etc/resolv.conf
"""
"""A copy of /etc for this namespace: nothing of pip's configuration, and no name outside this machine is looked up."""
NO_STORES = "rm -rf /etc/ssl/certs /etc/ssl/cert.pem /etc/ssl/ca-bundle.pem /etc/pki"
LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
"""


@dataclass(frozen=True)
class Machine:
    """What differs from an ordinary machine."""

    variables: Mapping[str, str] = field(default_factory=dict)
    etc: Mapping[str, Path] = field(default_factory=dict)
    """Place below /etc to the file or folder that is copied there."""
    has_stores: bool = False
    """The system's own certificates are left."""
    meminfo: Path | None = None
    read_only: tuple[Path, ...] = ()
    noexec: tuple[str, ...] = ()
    own_network: bool = False
    """Only a loopback device, without IPv6."""
    umask: str = "022"

    def with_variables(self, **more: str) -> Machine:
        """The same machine with some variables more."""
        return replace(self, variables={**self.variables, **more})

    def run(self, *command: str | Path, cwd: Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command there and return what it printed; `env -i` but for PATH and `variables`."""
        spaces = ["unshare", "--mount", *(["--net"] if self.own_network else [])]
        if os.geteuid() != 0:
            spaces.append("--map-root-user")
        script = "\n".join([*self._mounts(), f"umask {self.umask}", f"cd {_quoted(cwd)}", 'exec "$@"'])
        return subprocess.run(
            [*spaces, "sh", "-ec", script, "sh", *map(str, command)],
            env={"PATH": os.environ["PATH"], **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
        )

    def _mounts(self) -> list[str]:
        lines = [FRESH_ETC]
        if not self.has_stores:
            lines.append(NO_STORES)
        for place, source in self.etc.items():
            lines.append(f"mkdir -p $(dirname {place}); cp -rP {_quoted(source)} {place}")
        if self.meminfo:
            lines.append(f"mount --bind {_quoted(self.meminfo)} /proc/meminfo")
        for place in self.noexec:
            lines += _without_executables(place)
        for path in map(_quoted, self.read_only):
            lines.append(f"mount --bind {path} {path}; mount -o remount,bind,ro {path}")
        if self.own_network:
            lines.append(f"{_quoted(PYTHON)} -c {_quoted(LOOPBACK_UP)}")
            lines.append("[ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
        return lines


def _without_executables(place: str) -> list[str]:
    """An empty folder mounted noexec; a checkout below it stays as it is."""
    mount = f"mount -t tmpfs -o noexec,mode=1777 none {place}"
    if not ROOT.is_relative_to(place):
        return [mount]
    kept, checkout = "/mnt/checkout", _quoted(ROOT)
    before = f"mkdir -p {kept}; mount --bind {checkout} {kept}"
    return [before, mount, f"mkdir -p {checkout}; mount --bind {kept} {checkout}"]


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))


@functools.cache
def why_no_namespaces() -> str:
    """Why namespaces can't be made here; empty where they can."""
    if not shutil.which("unshare"):
        return "there is no unshare (util-linux)"
    flags = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", "--net", *flags, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, text=True).stderr.strip()
