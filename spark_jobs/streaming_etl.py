"""Measure a streaming ETL configuration, or load for good: `streaming_etl.py --config FILE --measurement FILE`."""

import sys

from pipeline_jobs.contract import main
from pipeline_jobs.streaming_etl.job import run

if __name__ == "__main__":
    sys.exit(main("streaming_etl", run))
