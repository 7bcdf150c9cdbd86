"""What Spark says, in one line."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

MAX_CHARACTERS = 400
"""Characters of a message."""


def one_line(text: str) -> str:
    """A message without the plans and stack traces behind it."""
    words = text.strip()
    for behind in (";\n", "\n== SQL", "\n\tat ", "\nJVM stacktrace"):
        words = words.partition(behind)[0]
    return " ".join(words.split())[:MAX_CHARACTERS]


def in_one_line(error: PySparkException | Py4JJavaError) -> str:
    """An error's message; of an internal error the one of what caused it."""
    if isinstance(error, PySparkException):
        return one_line(str(error))
    cause: Any = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    return one_line(str(cause.getMessage() or cause.toString()))
