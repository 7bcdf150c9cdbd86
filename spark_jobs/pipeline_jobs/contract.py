"""The contract between tuner and job: configuration file in, measurement file out; `main` of every job, repeats, errors
and exit codes.

Standard library only: this module is shipped to clusters and may be copied into anybody's job. The format
is written down in docs/contract.md; its version number is in both documents.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

CONTRACT_VERSION = 1

DATA_VARIABLE = "PIPELINE_TUNER_DATA"
"""Names the folder of what later runs need too; on a cluster its machines share that folder."""

PULSE_POLL_S = 1.0
"""Between two looks at whether somebody still waits for a driver on a cluster."""
SILENCE_S = 120.0
"""So long may the tuner say nothing: a machine or a shared folder can be slow."""

MAX_REPEATS = 100
"""So many samples at most are added for `min_work_s`: a sample without a duration must not go on for ever."""


class JobError(Exception):
    """The job can't do what it was asked; the message says what to do. `kind` becomes the failure's kind."""

    kind = "error"


class BadConfigurationError(JobError):
    """The configuration can't work here: the tuner need not ask for it again."""

    kind = "bad_configuration"


class InfrastructureError(JobError):
    """A service that the job needs is unavailable: no evidence on the configuration."""

    kind = "infrastructure"


@dataclass(frozen=True)
class TrialConfig:
    """What a job is asked to do. Secrets are not in it: `connections` names environment variables."""

    job: str
    trial_id: str
    configuration: Mapping[str, Any]
    workload: Mapping[str, Any] = field(default_factory=dict)
    connections: Mapping[str, str] = field(default_factory=dict)
    """Role (`source`) to the name of the environment variable that holds its URI."""
    fraction: float = 1.0
    warmups: int = 1
    repeats: int = 1
    min_work_s: float = 0.0
    """Short work is repeated beyond `repeats` until the counted repeats add up to so many seconds; 0 = never."""

    def uri(self, role: str) -> str:
        """The URI of a connection. Raises BadConfigurationError naming the variable that is not set."""
        variable = self.connections.get(role, "")
        if not os.environ.get(variable):
            raise BadConfigurationError(
                f"no connection for the role {role!r}: set the environment variable {variable or '(none named)'}"
            )
        return os.environ[variable]


def data_folder() -> Path:
    """Where a job keeps what later runs need too (made data, a warehouse): DATA_VARIABLE's, or `.local/data` here."""
    return Path(os.environ.get(DATA_VARIABLE) or ".local/data").resolve()


def read_config(path: str | Path) -> TrialConfig:
    """The trial's configuration file. Raises BadConfigurationError where it is not one of this version."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        version = document.pop("contract")
        if version != CONTRACT_VERSION:
            raise BadConfigurationError(f"{path} has contract version {version}, this job reads {CONTRACT_VERSION}")
        return TrialConfig(**document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadConfigurationError(f"{path} is not a trial's configuration: {error!r}") from None


def write_json(path: str | Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document so that a reader sees the whole of it or none."""
    path = Path(path)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False, encoding="utf-8") as file:
        json.dump(document, file, indent=1, allow_nan=False, default=str)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)


class MeasurementWriter:
    """Collects what a trial is worth and writes the measurement once, atomically.

    >>> writer = MeasurementWriter(read_config("c.json"), "m.json")
    >>> for sample in writer.samples():      # warm-ups first, then the counted repeats
    ...     rows = sample.timed(work)
    ...     sample.metrics["rows_per_s"] = rows / sample.duration_s
    >>> writer.check("row count", passed=True)
    >>> writer.write()
    """

    def __init__(self, config: TrialConfig, path: str | Path) -> None:
        self.config = config
        self.path = Path(path)
        self.started_at = datetime.now(UTC)
        self.startup_s = 0.0
        self.teardown_s = 0.0
        self.metrics: dict[str, float] = {}
        self.details: dict[str, Any] = {}
        self.environment: dict[str, Any] = {}
        self.workload: dict[str, Any] = {}
        self._samples: list[Sample] = []
        self.checks: list[dict[str, Any]] = []

    def samples(self) -> Iterator[Sample]:
        """Yield a Sample for each warm-up and each counted repeat, in order; only the repeats are kept.

        After `repeats` of them, further ones follow until `min_work_s` seconds were measured.
        """
        for _ in range(self.config.warmups):
            yield Sample(is_warmup=True)
        while len(self._samples) < self.config.repeats or self._is_too_short:
            sample = Sample(is_warmup=False)
            yield sample
            self._samples.append(sample)

    @property
    def _is_too_short(self) -> bool:
        work_s = sum(sample.duration_s for sample in self._samples)
        return work_s < self.config.min_work_s and len(self._samples) < MAX_REPEATS

    @property
    def counted_samples(self) -> Sequence[Sample]:
        """The repeats that are kept, so far."""
        return tuple(self._samples)

    def check(self, name: str, passed: bool, detail: str = "") -> None:
        """Record a correctness test of the output."""
        self.checks.append({"name": name, "passed": bool(passed), "detail": detail})

    def write(self) -> None:
        """Write a measured trial."""
        self._write(status="measured", metrics={**self._medians(), **self.metrics})

    def write_failure(self, error: BaseException) -> None:
        """Write a failed trial with the error's kind and text."""
        reason = without_secrets(str(error) or type(error).__name__, self.config)
        failure = {"kind": failure_kind(error), "reason": reason[:4000]}
        self._write(status="failed", metrics=self.metrics, failure=failure)

    def _medians(self) -> dict[str, float]:
        durations = {"duration_s": statistics.median(s.duration_s for s in self._samples)} if self._samples else {}
        names = {name for sample in self._samples for name in sample.metrics}
        return durations | {
            name: statistics.median(s.metrics[name] for s in self._samples if name in s.metrics) for name in names
        }

    def _write(self, **parts: Any) -> None:
        document = {
            "contract": CONTRACT_VERSION,
            "job": self.config.job,
            "trial_id": self.config.trial_id,
            "started_at": self.started_at.isoformat(),
            "ended_at": datetime.now(UTC).isoformat(),
            "startup_s": self.startup_s,
            "teardown_s": self.teardown_s,
            "samples": [{"duration_s": s.duration_s, "metrics": s.metrics} for s in self._samples],
            "checks": self.checks,
            "details": self.details,
            "environment": self.environment,
            "workload": self.workload,
        }
        write_json(self.path, document | parts)


@dataclass
class Sample:
    """One repeat of the work: set `duration_s` (or call `timed`) and add metrics."""

    is_warmup: bool
    duration_s: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)

    def timed(self, work: Callable[[], Any]) -> Any:
        """Run the work, record how long it took, and return what it returns."""
        start = time.monotonic()
        result = work()
        self.duration_s = time.monotonic() - start
        return result


Run = Callable[[TrialConfig, MeasurementWriter], None]
"""What a job is: do the work of a trial and record it. Raises JobError (or anything) for a failed trial."""


def main(job_name: str, run: Run, argv: Sequence[str] | None = None) -> int:
    """A job's command line: `--config FILE --measurement FILE`. Returns the exit code.

    0 when a measurement was written, also that of a failed trial; 1 when none could be.
    """
    parser = argparse.ArgumentParser(description=f"Run one trial of the job {job_name!r} and measure it.")
    parser.add_argument("--config", required=True, help="the trial's configuration (docs/contract.md)")
    parser.add_argument("--measurement", required=True, help="where to write the measurement")
    parser.add_argument("--handover", help="where the driver of deploy mode cluster gets its variables")
    arguments = parser.parse_args(argv)
    if arguments.handover and not take_over(Path(arguments.handover)):
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return measure(job_name, run, arguments.config, arguments.measurement)


def take_over(folder: Path) -> bool:
    """Take the variables that lie in a shared folder, and end this process when nobody waits for it any more.

    A driver on a cluster outlives the program that submitted it. False where the folder isn't there: the trial is
    over, or this machine doesn't share it.
    """
    variables = folder / "variables.json"
    try:
        os.environ.update(json.loads(variables.read_text(encoding="utf-8")))
        variables.unlink()
        (folder / "begun").touch()
    except OSError as error:
        print(f"the trial is over, or this machine doesn't share {folder} with the tuner's: {error}", file=sys.stderr)
        return False
    threading.Thread(target=_end_with, args=(folder,), daemon=True).start()
    return True


def _end_with(folder: Path) -> None:
    """End this process where the tuner says so, is gone with the folder, or has been silent for SILENCE_S."""
    pulse, since = "", time.monotonic()
    while pulse != "end" and time.monotonic() - since < SILENCE_S:
        time.sleep(PULSE_POLL_S)
        try:
            now = (folder / "pulse").read_text(encoding="ascii")
        except FileNotFoundError:
            break
        except OSError:
            continue
        if now != pulse:
            pulse, since = now, time.monotonic()
    (folder / "begun").unlink(missing_ok=True)
    os._exit(143)


def measure(job_name: str, run: Run, config_path: str | Path, measurement_path: str | Path) -> int:
    """Run a trial and write its measurement, of whatever became of it. Returns the exit code, as `main` does."""
    try:
        config = read_config(config_path)
        if config.job != job_name:
            raise BadConfigurationError(f"{config_path} is a configuration of {config.job!r}, this is {job_name!r}")
    except BadConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    writer = MeasurementWriter(config, measurement_path)
    try:
        run(config, writer)
        writer.write()
    except Exception as error:
        print(without_secrets(traceback.format_exc(), config), file=sys.stderr)
        writer.write_failure(error)
    return 0


def failure_kind(error: BaseException) -> str:
    """The kind of a failure: a JobError's own, `out_of_memory`, or `error`."""
    if isinstance(error, JobError):
        return error.kind
    is_memory = isinstance(error, MemoryError) or "java.lang.OutOfMemoryError" in str(error)
    return "out_of_memory" if is_memory else "error"


def without_secrets(text: str, config: TrialConfig) -> str:
    """The text with the passwords of the trial's connections taken out."""
    for variable in config.connections.values():
        uri = os.environ.get(variable, "")
        password = urlsplit(uri).password if uri else None
        for secret in filter(None, (password, unquote(password or ""))):
            text = text.replace(secret, "***")
    return text
