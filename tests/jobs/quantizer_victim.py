"""Rolls batches up in a process that the test kills: `quantizer_victim.py SOURCE TARGET WAREHOUSE BORDERS`.

The catalog's URI is in the environment variable CATALOG. Each line printed says what is about to happen.
"""

from __future__ import annotations

import os
import sys
from itertools import pairwise

from pipeline_jobs.quantizer import catalogs
from pipeline_jobs.quantizer.batch import run_batch
from pipeline_jobs.quantizer.batch_request import Batch
from pipeline_jobs.quantizer.rollup import warm_up
from pipeline_jobs.session import open_session

source, target, warehouse, borders = sys.argv[1:]
uri = os.environ["CATALOG"]
spark = open_session("victim", {}, extra=catalogs.catalog_settings("jdbc", warehouse, uri))
catalogs.use_password(spark, uri)
warm_up()
print("ready", flush=True)
for start, end in pairwise(map(int, borders.split(","))):
    run_batch(spark, Batch(source, target, start, end, chunk_ms=1_800_000))
    print("committed", flush=True)
catalogs.forget_password(spark)
spark.stop()
