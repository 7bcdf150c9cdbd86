"""docker-compose.yaml and the Dockerfile as records: what runs as whom, on which volumes, with which variables."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE_FILE = ROOT / "docker-compose.yaml"
IMAGE = "airflow-pipeline-tuner"
ANYBODYS = (PurePosixPath("/tmp"), PurePosixPath("/var/tmp"))
"""Folders of each container that every user may write; they are nobody else's, and go with the container."""


class Record(BaseModel):
    """A part of the file. A key that this doesn't know is an error: a test may have to look at it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dependency(Record):
    condition: str


class Healthcheck(Record):
    test: tuple[str, ...]
    interval: str
    timeout: str
    retries: int
    start_period: str

    @property
    def command(self) -> list[str]:
        """What is run in the container."""
        kind, *words = self.test
        return words if kind == "CMD" else ["/bin/sh", "-c", *words]


class Service(Record):
    image: str
    build: str | None = None
    restart: str
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None

    @property
    def mounts(self) -> dict[PurePosixPath, str]:
        """Mount point to the name of its volume."""
        pairs = (each.split(":") for each in self.volumes)
        return {PurePosixPath(place): name for name, place in pairs}

    def mount_of(self, path: PurePosixPath) -> tuple[PurePosixPath, str] | None:
        """Mount point and volume that a path lies on; None for the container's own layer."""
        around = [(place, name) for place, name in self.mounts.items() if path.is_relative_to(place)]
        return max(around, key=lambda each: len(each[0].parts), default=None)

    def variables(self, secrets: dict[str, str]) -> dict[str, str]:
        """Its environment, with values for what the shell is to give."""
        given = re.compile(r"\$\{(\w+)(:\?[^}]*)?\}")
        return {name: given.sub(lambda m: secrets[m[1]], value) for name, value in self.environment.items()}


class Compose(Record):
    services: dict[str, Service]
    volumes: dict[str, None]

    @classmethod
    def read(cls) -> Compose:
        """The file of this checkout."""
        document = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
        return cls(**{name: part for name, part in document.items() if not name.startswith("x-")})


@dataclass(frozen=True)
class Image:
    """What the Dockerfile makes."""

    variables: dict[str, str]
    user: int
    folder: PurePosixPath
    """The working folder, in which the checkout lies; it is root's."""
    owned: tuple[PurePosixPath, ...]
    """Folders that are the user's."""
    entrypoint: tuple[str, ...]
    runs: tuple[str, ...]
    """The commands of its RUN lines."""

    @classmethod
    def read(cls) -> Image:
        """The Dockerfile of this checkout."""
        lines = _instructions(DOCKERFILE.read_text(encoding="utf-8"))
        one = {name: text for name, text in lines if name in ("USER", "WORKDIR", "ENTRYPOINT")}
        pairs = [word.split("=", 1) for name, text in lines if name == "ENV" for word in shlex.split(text)]
        runs = tuple(text for name, text in lines if name == "RUN")
        owned = re.findall(r"chown -R airflow:0 ((?:/\S+ ?)+)", " ".join(runs))
        folders = tuple(PurePosixPath(path) for text in owned for path in text.split())
        return cls(
            dict(pairs),
            int(one["USER"]),
            PurePosixPath(one["WORKDIR"]),
            folders,
            tuple(json.loads(one["ENTRYPOINT"])),
            runs,
        )

    def may_write(self, path: PurePosixPath) -> bool:
        """Whether the user may make a file of this name, which isn't there yet."""
        return any(path.is_relative_to(folder) for folder in (*self.owned, *ANYBODYS, PurePosixPath("/home/airflow")))


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined)]
