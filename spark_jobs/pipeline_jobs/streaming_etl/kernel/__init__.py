"""The compiled kernel (numba): BSON documents to PostgreSQL's binary COPY rows.

One pass a document: scan a level, note where each wanted value stands, write the row, then go down into the
tables below. No Python object is made for a value, and the interpreter's lock is not held. A document that
does not fit leaves no row: what it wrote is taken back and its error is noted. The formats are those of
bsonspec.org and of PostgreSQL's manual ("COPY", Binary Format; the types' send functions).

The machine code is kept beside `rows`, and made anew when any of these files changes (pipeline_jobs/compiled.py).
"""

from pipeline_jobs.streaming_etl.kernel.codes import FULL, OK, REASONS
from pipeline_jobs.streaming_etl.kernel.rows import split, transcode

__all__ = ["FULL", "OK", "REASONS", "split", "transcode"]
