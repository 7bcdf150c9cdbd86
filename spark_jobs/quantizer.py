"""Measure a quantizer configuration, or roll up a batch: `quantizer.py --config FILE --measurement FILE`."""

import sys

from pipeline_jobs.contract import main
from pipeline_jobs.quantizer.job import run

if __name__ == "__main__":
    sys.exit(main("quantizer", run))
