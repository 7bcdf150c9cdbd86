"""Measure a migration configuration, or migrate a table: `migration.py --config FILE --measurement FILE`."""

import sys

from pipeline_jobs.contract import main
from pipeline_jobs.migration.job import run

if __name__ == "__main__":
    sys.exit(main("migration", run))
