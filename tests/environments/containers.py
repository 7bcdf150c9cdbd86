"""Just enough of a container engine for docker-compose.yaml's rehearsal: layers, volumes, a network, users, health.

A container is a mount, PID, UTS, IPC and network namespace of its own over an overlay of this machine's files, in which
the Dockerfile's last steps were run. It must be used by root, within namespaces of its own (compose_rehearsal.py).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.local.compose_file import ROOT, Image

from pipeline_tuner.local.java import java_home
from pipeline_tuner.local.paths import Layout

NETWORK = "10.89.0"
HIDDEN = (".git", ".local", "build")
"""What .dockerignore keeps out of the image, as far as git would list it."""
TINI = '#!/bin/sh\nshift\nexec "$@"\n'
"""In place of the image's init: the rehearsal's containers have no orphans that outlive them."""
START = """
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=$LOWER,upperdir=$LAYER/upper,workdir=$LAYER/work $LAYER/root
cd $LAYER/root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 none dev/shm
mount -t tmpfs -o mode=1777 none tmp
mount -t tmpfs -o mode=1777 none var/tmp
hostname $NAME
printf '%s' "$HOSTS" > etc/hosts
: > etc/resolv.conf
while [ "$1" != -- ]; do mkdir -p ".$2"; mount --bind "$1" ".$2"; shift 2; done
shift
exec chroot . "$@"
"""
STOP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Program:
    """What runs in a container."""

    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    user: int = 0
    folder: str = "/"
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Name of a volume to its mount point."""

    def arguments(self, command: Sequence[str]) -> list[str]:
        """A command as this user in this folder with these variables and no others."""
        user = ["setpriv", f"--reuid={self.user}", "--regid=0", "--clear-groups", "--no-new-privs"] if self.user else []
        pairs = [f"{name}={value}" for name, value in self.variables.items()]
        return [*user, "env", "-i", *pairs, "sh", "-c", 'cd "$0" && exec "$@"', self.folder, *command]


@dataclass
class Container:
    """A running container."""

    name: str
    program: Program
    process: subprocess.Popen[bytes]
    log: Path

    def run(self, command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a command beside the program, as `docker exec` does; it fails where the program doesn't run."""
        pid = self._first_pid
        if pid is None:
            return subprocess.CompletedProcess(list(command), 125, "", f"{self.name} does not run")
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        entered = ["nsenter", "--target", str(pid), *spaces]
        return subprocess.run(
            [*entered, *self.program.arguments(command)],
            env={"PATH": os.environ["PATH"]},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )

    def stop(self) -> None:
        """End the program and all that it started."""
        pid = self._first_pid
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def _first_pid(self) -> int | None:
        """The process that is number 1 inside; None before it starts and after its end."""
        if self.process.poll() is not None:
            return None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None


class Engine:
    """Builds the image once and starts containers on it, each with an address under its name."""

    def __init__(self, folder: Path, image: Image, names: Sequence[str]) -> None:
        self.folder, self.image = folder, image
        self.addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 2)}
        self.hosts = "127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in self.addresses.items())
        self.variables = {
            # The image has its packages in /usr/local, the rehearsal those of the environment that it runs in.
            "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/home/airflow",
            **image.variables,
        }
        self.layers = folder / "layers"
        self.layers.mkdir(parents=True)
        _network()
        # Layers must be on another file system than the machine's own files, which are the lowest of them.
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "none", str(self.layers))

    def build(self) -> None:
        """The Dockerfile's steps but for those that download packages."""
        layer, root = self._layer("image"), self.layers / "image" / "root"
        overlay = f"lowerdir=/,upperdir={layer / 'upper'},workdir={layer / 'work'}"
        _run("mount", "-t", "overlay", "overlay", "-o", overlay, str(root))
        try:
            _run("mount", "--bind", "/dev", str(root / "dev"))
            _run("mount", "-t", "proc", "proc", str(root / "proc"))
            for tmp in ("tmp", "var/tmp"):
                _run("mount", "-t", "tmpfs", "-o", "mode=1777", "none", str(root / tmp))
            self._furnish(root)
            for command in self._steps():
                _run("chroot", str(root), *Program((), self.variables).arguments(["sh", "-ec", command]))
        finally:
            _run("umount", "--recursive", str(root))

    @property
    def built(self) -> Path:
        """The checkout in the image, to be changed before a container starts."""
        return self.layers / "image" / "upper" / self.image.folder.relative_to("/")

    def start(self, name: str, program: Program) -> Container:
        """Start a container; its name is its host's name too."""
        self._connect(name)
        layer, log = self._layer(name), self.folder / f"{name}.log"
        mounts = [word for volume, place in program.volumes.items() for word in (self._volume(volume, place), place)]
        spaces = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        inside = program.arguments(program.command)
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", name, *spaces, "sh", "-ec", START, "sh", *mounts, "--", *inside],
                env={
                    "PATH": os.environ["PATH"],
                    "LOWER": f"{self.layers / 'image' / 'upper'}:/",
                    "LAYER": str(layer),
                    "NAME": name,
                    "HOSTS": self.hosts,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return Container(name, program, process, log)

    def _furnish(self, root: Path) -> None:
        """What the base image, apt and pip bring: packages that all may read, and Java where Debian has it."""
        for path in (Path(sys.prefix), Path(getattr(sys, "_base_executable", sys.executable))):
            for folder in [path.resolve(), path, *path.parents, *path.resolve().parents]:
                if folder.is_dir() and folder != Path("/"):
                    (root / folder.relative_to("/")).chmod(0o755)
        (root / "usr/lib/jvm/default-java").unlink(missing_ok=True)
        if not (root / "usr/bin/java").exists():
            (root / "usr/bin/java").symlink_to(java_home(Layout(ROOT)) / "bin" / "java")
        (root / "usr/bin/tini").write_text(TINI)
        (root / "usr/bin/tini").chmod(0o755)
        checkout = root / self.image.folder.relative_to("/")
        for name in _files():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
        for group in ("postgresql", "iceberg"):
            shutil.copytree(ROOT / ".local" / "jars" / group, checkout / ".local" / "jars" / group)

    def _steps(self) -> list[str]:
        """The RUN lines, of the first one its last command, without those that install packages."""
        (user,) = [part for part in self.image.runs[0].split("&&") if "useradd" in part]
        databases = "getent passwd 999 || useradd --uid 999 --gid 0 --no-create-home databases"
        return [
            user,
            databases,
            *(f"cd {self.image.folder}; {run}" for run in self.image.runs[1:] if "pip install" not in run),
        ]

    def _layer(self, name: str) -> Path:
        layer = self.layers / name
        shutil.rmtree(layer, ignore_errors=True)
        for part in ("upper", "work", "root"):
            (layer / part).mkdir(parents=True)
        (layer / "upper").chmod(0o755)
        return layer

    def _volume(self, name: str, place: str) -> str:
        """The folder of a volume; a new one gets what the image has in its place, with owner and mode."""
        folder = self.folder / "volumes" / name
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            there = self.layers / "image" / "upper" / place.lstrip("/")
            _run("cp", "-a", str(there), str(folder)) if there.exists() else folder.mkdir()
        return str(folder)

    def _connect(self, name: str) -> None:
        """A network namespace with an address on the bridge; of an earlier container of the name it is a new one."""
        if Path(f"/run/netns/{name}").exists():
            _run("ip", "netns", "delete", name)
        link = f"v{self.addresses[name].rpartition('.')[2]}"
        subprocess.run(["ip", "link", "delete", link], capture_output=True)
        for words in (
            f"netns add {name}",
            f"link add {link} type veth peer name eth0 netns {name}",
            f"link set {link} master compose up",
            f"-n {name} addr add {self.addresses[name]}/24 dev eth0",
            f"-n {name} link set eth0 up",
            f"-n {name} link set lo up",
        ):
            _run("ip", *words.split())


def _network() -> None:
    if os.getpid() != 1:
        raise RuntimeError("this changes mounts and network: run it as the first process of namespaces of its own")
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "tmpfs", "none", "/run")
    for words in ("link set lo up", "link add compose type bridge", f"addr add {NETWORK}.1/24 dev compose"):
        _run("ip", *words.split())
    _run("ip", "link", "set", "compose", "up")


def _files() -> list[str]:
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and Path(name).parts[0] not in HIDDEN and (ROOT / name).is_file()]


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
