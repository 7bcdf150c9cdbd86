"""The shared folder by which a trial is handed to a driver on a cluster, and its measurement back.

It lies in the data folder, which the machines of a cluster share. Only its owner can open it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pipeline_tuner import settings
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.runners.base import DocumentFolder, TrialRun
from pipeline_tuner.runners.process import DATA_VARIABLE

PULSE_S = 5.0
"""Between two signs of life. A driver that sees none for two minutes ends (pipeline_jobs/contract.py)."""
OLD_S = 3600.0
END_S = 60.0
"""How long a driver's end is waited for."""


@dataclass
class Handover(DocumentFolder):
    """One trial's folder."""

    folder: Path
    _beats: int = 0
    _next_beat: float = 0.0

    @classmethod
    def made(cls, run: TrialRun) -> Handover:
        """The folder of a trial, with all that its driver needs. Raises InfrastructureError."""
        place = f"trial-{sha256(run.trial_id.encode()).hexdigest()[:16]}"
        _end_what_was_left(shared_folder(), place)
        handover = cls(shared_folder() / f"{place}-{uuid.uuid4().hex[:16]}")
        variables = {**run.environment, DATA_VARIABLE: str(settings.data_folder())}
        try:
            handover.folder.mkdir(mode=0o700)
            shutil.copy(run.config_path, handover.config_path)
            with os.fdopen(os.open(handover.folder / "variables.json", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                json.dump(variables, file)
            handover.beat()
        except OSError as error:
            raise InfrastructureError(f"the data folder can't be used for a trial on the cluster: {error}") from None
        return handover

    @property
    def has_begun(self) -> bool:
        """Whether a driver has taken the trial up and was not ended."""
        return (self.folder / "begun").exists()

    def beat(self) -> None:
        """Say that the trial is still wanted; cheap to call often."""
        if time.monotonic() >= self._next_beat:
            self._beats += 1
            self._next_beat = time.monotonic() + PULSE_S
            self._say(str(self._beats))

    def take(self, run: TrialRun) -> None:
        """Bring the measurement, where there is one, to where the trial is read from."""
        if self.measurement_path.exists():
            shutil.copy(self.measurement_path, run.measurement_path)

    def end(self, *, is_over: bool) -> None:
        """Remove the folder; a driver that may still run is ended first."""
        if not is_over and self.folder.exists():
            self._say("end")
            deadline = time.monotonic() + END_S
            while self.has_begun and time.monotonic() < deadline:
                time.sleep(0.1)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _say(self, word: str) -> None:
        # A network file system that is away for a moment is no reason to end a trial.
        with contextlib.suppress(OSError):
            (self.folder / "pulse").write_text(word, encoding="ascii")


def _end_what_was_left(shared: Path, place: str) -> None:
    """End the driver of an earlier try of the trial, whose task was killed; remove what nobody has used for an hour."""
    for folder in shared.glob("trial-*"):
        with contextlib.suppress(OSError):
            is_old = time.time() - (folder / "pulse").stat().st_mtime > OLD_S
            if is_old or folder.name.startswith(f"{place}-"):
                Handover(folder).end(is_over=is_old)


def shared_folder() -> Path:
    """The folder of all handovers. Raises InfrastructureError where it can't be made."""
    folder = settings.data_folder().resolve() / "handover"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"the data folder can't be used for trials on the cluster: {error}") from None
    return folder
