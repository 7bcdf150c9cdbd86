"""The settings `[pipeline_tuner]` of Airflow's configuration: folders, pools, the page, the freeze of promotions.

Each option can be set as an environment variable: `AIRFLOW__PIPELINE_TUNER__STUDIES_FOLDER=/data/studies`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from airflow.configuration import conf

from pipeline_tuner.study import Study, load_study

SECTION = "pipeline_tuner"
PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]

RESULTS_CONN_ID = "pipeline_tuner_default"
"""The Airflow connection to the results database."""

PAGE = "Pipeline Tuner"
PAGE_PREFIX = "/pipeline-tuner"
"""Name and place of the page in Airflow's web server."""

POOL = "pipeline_tuner"
"""The pool of one slot that trials run in; the plugin makes it when the scheduler starts."""

ISOLATED_POOL = "pipeline_tuner_isolated"
"""The pool of trials that share no machine: each study says how many of its own run side by side."""


def studies_folder() -> Path:
    """The folder of the studies: option `studies_folder`, else the checkout's, else the package's."""
    return _folder("studies_folder", CHECKOUT / "include" / "configs", PACKAGE / "_configs")


def study_file(name: str) -> Path:
    """The file of a study, given by its name in the studies' folder or by its path, whether it exists or not.

    A relative path starts from the project folder: Airflow's processes have no working folder to rely on.
    """
    is_path = name.endswith((".yaml", ".yml"))
    return project_folder() / name if is_path else studies_folder() / f"{name}.yaml"


def load_named_study(name: str) -> Study:
    """The study of a name in the studies' folder, or in the file that a path names. Raises StudyError."""
    return load_study(study_file(name))


def prices_file() -> Path:
    """Glue's workers and prices: `prices.yaml` beside the studies, else the one that comes with the plugin."""
    folders = (studies_folder(), CHECKOUT / "include" / "configs", PACKAGE / "_configs")
    return next(path for folder in folders if (path := folder / "prices.yaml").exists())


def jobs_folder() -> Path:
    """The folder of the jobs' programs and of their package `pipeline_jobs`: option `jobs_folder`."""
    return _folder("jobs_folder", CHECKOUT / "spark_jobs", PACKAGE / "_spark_jobs")


def project_folder() -> Path:
    """The folder that commands in studies run in, and that their relative paths start from: option `project_folder`."""
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return _folder("project_folder", CHECKOUT if (CHECKOUT / "include" / "configs").exists() else home, home)


def reports_folder() -> Path:
    """Where the written analyses go, a folder per sweep: option `reports_folder`."""
    default = project_folder() / "build" / "reports"
    return Path(_option("reports_folder") or default)


def work_folder() -> Path:
    """Where running trials keep their files: option `work_folder`, else the system's temporary folder."""
    return Path(_option("work_folder") or tempfile.gettempdir())


def data_folder() -> Path:
    """Where jobs keep what later runs need too (made data, a warehouse): option `data_folder`, else below the
    project's folder. The machines of a Spark cluster share it, and it outlives containers.
    """
    return Path(_option("data_folder") or project_folder() / ".local" / "data")


def valid_days() -> float | None:
    """For how many days production follows a recommendation that nobody promoted: `valid_days`, 30; 0 is no end."""
    days = conf.getfloat(SECTION, "valid_days", fallback=30.0)
    return days or None


def is_frozen() -> bool:
    """Whether nothing is tried in production at present (closing of books, a holiday): option `freeze`."""
    return conf.getboolean(SECTION, "freeze", fallback=False)


def notify() -> str | None:
    """What nights of studies without a notifier of their own call: option `notify`, `package.module.function`."""
    return _option("notify") or None


def _folder(option: str, checkout: Path, packaged: Path) -> Path:
    named = _option(option)
    if named:
        return Path(named)
    return checkout if checkout.exists() else packaged


def _option(name: str) -> str:
    return conf.get(SECTION, name, fallback="")
