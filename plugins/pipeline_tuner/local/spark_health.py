"""The health checks of Spark in docker-compose.yaml: the master, and the worker on this machine.

Standard library only: it runs every few seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any

PAGE = "http://spark-master:8080/json/"
TIMEOUT_S = 10


def problem(state: Mapping[str, Any], role: str, host: str) -> str:
    """Why the master, or the worker of a host, is not well; empty where it is. `state`: the master's page."""
    if state["status"] != "ALIVE":
        return f"the master is {state['status']}"
    workers = [each["state"] for each in state["workers"] if each["host"] == host]
    if role == "master" or "ALIVE" in workers:
        return ""
    return f"the master knows no living worker on {host}: {', '.join(workers) or 'none at all'}"


def main(arguments: list[str] | None = None) -> int:
    """Check one role; returns the exit code, and prints what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("master", "worker"))
    parser.add_argument("--page", default=PAGE)
    parser.add_argument("--host", default="spark-worker", help="under which the worker registers")
    options = parser.parse_args(arguments)
    try:
        with urllib.request.urlopen(options.page, timeout=TIMEOUT_S) as answer:
            found = problem(json.load(answer), options.role, options.host)
    except (OSError, ValueError) as error:
        found = f"{options.page} does not answer: {error}"
    print(found or "well", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
