"""The commands behind the Makefile: `python -m pipeline_tuner.local demo|ui|stop|env|clean|test|jars`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from pipeline_tuner.exceptions import InfrastructureError, PipelineTunerError
from pipeline_tuner.local import jars
from pipeline_tuner.local.airflow import LOGIN, Airflow, shell_lines
from pipeline_tuner.local.browser import install_browser
from pipeline_tuner.local.demo import Demo
from pipeline_tuner.local.memory_check import TESTS_NEED_BYTES, require_memory
from pipeline_tuner.local.paths import Layout, require_plain_path
from pipeline_tuner.local.services import EVERYTHING, Services, needs_of


def demo(airflow: Airflow, job: str) -> int:
    """Run a job's sweep on the demo's data and print what it recommends."""
    require_memory("demo")
    return Demo(airflow, job).run()


def ui(airflow: Airflow, job: str) -> int:
    """Start Airflow with its page, and print address and login."""
    require_memory("ui")
    airflow.services.start(EVERYTHING)
    airflow.migrate()
    airflow.start()
    print(f"Airflow: {airflow.url}   user: {LOGIN}   password: {airflow.password}")
    print(f"Trigger the DAG tune_{job} there. `make stop` ends it.")
    return 0


def stop(airflow: Airflow, job: str) -> int:
    """Stop all that runs."""
    airflow.stop()
    airflow.services.stop()
    return 0


def env(airflow: Airflow, job: str) -> int:
    """Start what a job needs, and print the lines after which `airflow` commands work in a shell."""
    airflow.services.start(needs_of(job))
    airflow.migrate()
    print(shell_lines(airflow))
    return 0


def clean(airflow: Airflow, job: str) -> int:
    """Stop all that runs and delete its data; what was installed and downloaded stays."""
    airflow.stop()
    airflow.remove()
    airflow.services.remove()
    return 0


def fetch_jars(airflow: Airflow, job: str) -> int:
    """Download Spark's jars, and print the variable that names them."""
    print(f"PIPELINE_TUNER_JARS={','.join(map(str, jars.fetch(airflow.services.layout, *EVERYTHING.jars)))}")
    return 0


def test(airflow: Airflow, job: str) -> int:
    """What the tests need beside packages: memory, and a browser where that is possible."""
    require_memory("test", TESTS_NEED_BYTES)
    try:
        install_browser(airflow.services.layout)
    except InfrastructureError as error:
        print(f"{error}\nThe browser tests will be skipped.", file=sys.stderr)
    return 0


COMMANDS: dict[str, Callable[[Airflow, str], int]] = {
    "demo": demo, "ui": ui, "stop": stop, "env": env, "clean": clean, "test": test, "jars": fetch_jars,
}  # fmt: skip


ENDING = ("stop", "clean")
"""What works wherever the checkout lies."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline_tuner.local", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "--job", default="migration", help="the study: migration, streaming_etl, dedup, quantizer, or one of your own"
    )
    options = parser.parse_args(arguments)
    layout = Layout.default()
    try:
        if options.command not in ENDING:
            require_plain_path(layout)
        return COMMANDS[options.command](Airflow(Services(layout)), options.job)
    except PipelineTunerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Servers that were started go on: make stop ends them.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
