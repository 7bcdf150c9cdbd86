"""Deduplication: the latest record of each key, from files or tables into PostgreSQL, Parquet or (through S3) Redshift.

    python dedup.py --config FILE --measurement FILE

On AWS Glue the same file runs with the same two arguments, both `s3://`: docs/dedup.md.
"""

import sys

from pipeline_jobs.contract import main
from pipeline_jobs.dedup.glue import in_glue, main_in_glue
from pipeline_jobs.dedup.job import run

if __name__ == "__main__":
    sys.exit(main_in_glue(sys.argv) if in_glue(sys.argv) else main("dedup", run))
