"""Encodings of text files: one name that Java and Python both know, since Spark reads and our parsers look again."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from pipeline_jobs.contract import BadConfigurationError

NO_ENCODING = "no such encoding; there are UTF-8, ISO-8859-1, windows-1252 ..."


def encoding_of(options: Mapping[str, str]) -> str:
    """What a reader's options name, in whatever case; UTF-8 without one."""
    given = {name.lower(): value for name, value in options.items()}
    return given.get("encoding") or given.get("charset") or "UTF-8"


def check_encoding(spark: SparkSession, name: str) -> None:
    """Raises BadConfigurationError for a name that isn't Java's or isn't Python's, with the one that is both."""
    try:
        known = codecs.lookup(name)
    except LookupError:
        known = None
    if known is None or not getattr(known, "_is_text_encoding", True):
        raise BadConfigurationError(f"source.options.encoding is {name!r}: {NO_ENCODING}")
    if not _java_knows(spark, name):
        near = f"write {known.name!r}" if _java_knows(spark, known.name) else NO_ENCODING
        raise BadConfigurationError(f"source.options.encoding is {name!r}, which Spark doesn't know: {near}")


def _java_knows(spark: SparkSession, name: str) -> bool:
    jvm: Any = spark._jvm
    try:
        return bool(jvm.java.nio.charset.Charset.isSupported(name))
    except Py4JJavaError:
        return False
