"""`python -m pipeline_tuner.store migrate` (the database in PIPELINE_TUNER_URL) and `... tables` (docs/tables.md)."""

from __future__ import annotations

import argparse
import os
import sys

from pipeline_tuner.exceptions import PipelineTunerError
from pipeline_tuner.store.describe import describe_tables
from pipeline_tuner.store.migrate import migrate

URL_VARIABLE = "PIPELINE_TUNER_URL"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline_tuner.store", description=__doc__)
    parser.add_argument("command", choices=["migrate", "tables"])
    if parser.parse_args(arguments).command == "tables":
        print(describe_tables(), end="")
        return 0
    url = os.environ.get(URL_VARIABLE)
    if not url:
        print(f"Set {URL_VARIABLE} to postgresql://user:password@host:5432/database", file=sys.stderr)
        return 2
    try:
        migrate(url)
    except PipelineTunerError as error:
        print(error, file=sys.stderr)
        return 1
    print("The schema pipeline_tuner is at its newest version.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
