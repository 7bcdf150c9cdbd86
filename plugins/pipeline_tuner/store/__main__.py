"""The command line `python -m pipeline_tuner.store`: `migrate`, `retention` and `tables` (docs/tables.md).

The database is the one in PIPELINE_TUNER_URL.
"""

from __future__ import annotations

import argparse
import os
import sys

from pipeline_tuner.exceptions import PipelineTunerError
from pipeline_tuner.monitoring.store import NightStore
from pipeline_tuner.store.migrate import migrate
from pipeline_tuner.store.store import Store
from pipeline_tuner.store.tables_page import describe_tables
from pipeline_tuner.wording import counted

URL_VARIABLE = "PIPELINE_TUNER_URL"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        print(chosen.run(chosen), end="")
    except PipelineTunerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline_tuner.store", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("migrate", help="bring the schema to its newest version").set_defaults(run=_migrate)
    commands.add_parser("tables", help="print docs/tables.md").set_defaults(run=lambda _: describe_tables())
    retention = commands.add_parser("retention", help="remove a study's old sweeps and production runs")
    retention.add_argument("--study", required=True)
    retention.add_argument(
        "--days", type=int, required=True, help="what is older is removed, except what production follows"
    )
    retention.add_argument("--dry-run", action="store_true", help="only say how much it would be")
    retention.set_defaults(run=_retention)
    return parser


def _url() -> str:
    url = os.environ.get(URL_VARIABLE)
    if not url:
        raise PipelineTunerError(f"Set {URL_VARIABLE} to postgresql://user:password@host:5432/database")
    return url


def _migrate(_: argparse.Namespace) -> str:
    migrate(_url())
    return "The schema pipeline_tuner is at its newest version.\n"


def _retention(chosen: argparse.Namespace) -> str:
    if chosen.days < 1:
        raise PipelineTunerError(f"--days is {chosen.days}, must be at least 1")
    with Store(_url()) as store:
        removed = NightStore(store).remove_old(chosen.study, chosen.days, dry_run=chosen.dry_run)
    what = f"{counted(removed.sweeps, 'sweep')} and {counted(removed.production_runs, 'production run')}"
    return f"{what} of {chosen.study} {'would be' if chosen.dry_run else 'were'} removed.\n"


if __name__ == "__main__":
    sys.exit(main())
