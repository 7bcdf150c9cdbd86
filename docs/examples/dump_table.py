"""Dump a table with pg_dump and compress it: a job of one's own that writes its own measurement."""

import os
import subprocess
import sys
from urllib.parse import unquote, urlsplit

from pipeline_jobs.contract import main


def run(config, writer):
    """One trial: dump once for each repeat, then check that the dump can be read."""
    file = writer.path.with_suffix(".dump")
    source = urlsplit(config.uri("source"))
    # The password goes by the environment: a command line is visible to everybody on the machine.
    secret = {**os.environ, "PGPASSWORD": unquote(source.password or "")}
    address = f"postgresql://{source.username}@{source.hostname}:{source.port}{source.path}"
    compression = f"--compress={config.configuration['level']}"
    dump = ["pg_dump", "--format=custom", compression, f"--table={config.workload['table']}", f"--file={file}", address]

    for sample in writer.samples():
        sample.timed(lambda: subprocess.run(dump, env=secret, check=True))
        sample.metrics["dump_bytes"] = file.stat().st_size
    readable = subprocess.run(["pg_restore", "--file=/dev/null", file], check=False).returncode == 0
    writer.check("the dump can be read back", passed=readable)


if __name__ == "__main__":
    sys.exit(main("dump_table", run))
