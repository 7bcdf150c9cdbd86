"""Spark's reader options per format: which are offered and which never are, each declared once.

What could lose a record or change a value is not offered: the checks of text files know every option that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.time_patterns import pattern_problem
from pipeline_jobs.options import Option, OptionType
from pipeline_jobs.unknown_names import unknown_words

FLAG, TEXT, WHOLE = OptionType.FLAG, OptionType.TEXT, OptionType.WHOLE

FILES = (
    Option(
        "recursiveFileLookup", FLAG, "read folders in folders; partition folders are no columns then", default=False
    ),
    Option("pathGlobFilter", TEXT, "read only the files whose names match, such as `*.csv`", default=""),
    Option("basePath", TEXT, "the folder from which on partition folders are columns", default=""),
)
FORMATS = (
    Option(
        "dateFormat", TEXT, "how dates are written, years of two digits from 2000 on; ISO 8601 without it", default=""
    ),
    Option("timestampFormat", TEXT, "how timestamps are written; ISO 8601 without it", default=""),
    Option("timestampNTZFormat", TEXT, "how timestamps without zone are written; ISO 8601 without it", default=""),
)
ENCODING = (
    Option("encoding", TEXT, "what the text is encoded in", default="UTF-8"),
    Option("charset", TEXT, "the same as `encoding`", default=""),
)
CSV = (
    Option("header", FLAG, "the first record of each file names its columns", default=False),
    Option("sep", TEXT, "one character between values", default=","),
    Option("delimiter", TEXT, "the same as `sep`", default=""),
    Option("quote", TEXT, "the character around values", default='"'),
    Option("escape", TEXT, "the character before a quote within a value; a quote is doubled without it", default='"'),
    Option("comment", TEXT, "lines that begin with this character are none", default=""),
    Option("nullValue", TEXT, "the text that means NULL, beside nothing at all", default=""),
    Option("multiLine", FLAG, "values may hold line breaks; without it large files are read in parts", default=True),
    Option("ignoreLeadingWhiteSpace", FLAG, "leave out blanks before values", default=False),
    Option("ignoreTrailingWhiteSpace", FLAG, "leave out blanks after values", default=False),
    *ENCODING,
    *FORMATS,
    *FILES,
)
JSON = (
    Option("multiLine", FLAG, "a file is one object or a list of objects, over any lines", default=False),
    Option("lineSep", TEXT, "what ends a line; needed where the encoding isn't UTF-8", default=""),
    Option("primitivesAsString", FLAG, "without a schema: all values are texts", default=False),
    Option("prefersDecimal", FLAG, "without a schema: numbers with a point are decimals", default=False),
    *ENCODING,
    *FORMATS,
    *FILES,
)
REBASE = ("EXCEPTION", "CORRECTED", "LEGACY")
PARQUET = (
    Option("mergeSchema", FLAG, "columns that only some files have are NULL in the others", default=True),
    Option("datetimeRebaseMode", TEXT, "the calendar of old dates in old files", default="EXCEPTION", choices=REBASE),
    Option("int96RebaseMode", TEXT, "the same for timestamps as INT96", default="EXCEPTION", choices=REBASE),
    *FILES,
)
JDBC = (
    Option("fetchsize", WHOLE, "rows of one round trip; 0 leaves it to the driver", default=0, low=0),
    Option("numPartitions", WHOLE, "connections that read at once, with the next three", default=1, low=1),
    Option("partitionColumn", TEXT, "a column of numbers, dates or timestamps that parts the table", default=""),
    Option("lowerBound", TEXT, "where the first part ends, about", default=""),
    Option("upperBound", TEXT, "where the last part begins, about", default=""),
    Option("queryTimeout", WHOLE, "how long a query may take; 0 is for ever", default=0, low=0, unit="seconds"),
    Option("sessionInitStatement", TEXT, "SQL that each connection begins with", default=""),
)
ICEBERG = (
    Option("snapshot-id", WHOLE, "the snapshot to read", default=0, low=0),
    Option("as-of-timestamp", WHOLE, "the moment to read, since 1970", default=0, low=0, unit="milliseconds"),
    Option("branch", TEXT, "the branch to read", default=""),
    Option("tag", TEXT, "the tag to read", default=""),
    Option("split-size", WHOLE, "how much a task reads", default=134_217_728, low=1, unit="bytes"),
)
READERS: Mapping[str, tuple[Option, ...]] = {
    "csv": CSV,
    "json": JSON,
    "parquet": PARQUET,
    "jdbc": JDBC,
    "iceberg": ICEBERG,
}
"""What may be given, by the source's format."""

LOSES = "loses records without counting them: leave it out"
NEVER = {
    "mode": LOSES,
    "ignorecorruptfiles": LOSES,
    "ignoremissingfiles": LOSES,
    "modifiedbefore": LOSES,
    "modifiedafter": LOSES,
    "columnnameofcorruptrecord": "is for records that can't be read, and these end the run: leave it out",
    "inferschema": "guesses types, so that the code 007 becomes the number 7: give source.schema",
    "samplingratio": "guesses types from a part of the records: give source.schema",
    "enforceschema": "reads columns by position: leave it out",
}
"""Options of Spark's that are refused, and why: in lower case, as Spark takes them in any."""
HARMLESS = {"mode": "FAILFAST"}


def reader_options(format: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The options in Spark's own spelling and as texts. Raises BadConfigurationError with all that is wrong."""
    declared = {each.name.lower(): each for each in READERS[format]}
    own = {str(name).lower(): value for name, value in given.items() if value is not None}
    problems = [*_refused(own), *_problems(declared, own, [str(name) for name in given])]
    if problems:
        raise BadConfigurationError(f"source.options: {'; '.join(problems)}")
    return {declared[name].name: _as_text(value) for name, value in own.items() if name in declared}


def _refused(own: Mapping[str, Any]) -> Iterator[str]:
    for name, value in own.items():
        if name in NEVER and str(value).lower() != "false" and str(value).upper() != HARMLESS.get(name):
            yield f"{name} {value} {NEVER[name]}"


def _problems(declared: Mapping[str, Option], own: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    for name, value in own.items():
        if name in declared and (words := declared[name].problem(_typed(declared[name], value))):
            yield f"{declared[name].name} {words}"
        if name in ("sep", "delimiter", "quote", "escape", "comment") and len(str(value)) != 1:
            yield f"{name} is {value!r}, must be one character"
        if value and name in declared and name.endswith("format") and (words := pattern_problem(name, str(value))):
            yield f"{declared[name].name} {words}"
    known = [each.name for each in declared.values()]
    spelt = [declared[name.lower()].name if name.lower() in declared else name for name in names]
    unknown = unknown_words([name for name in spelt if name.lower() not in NEVER], known)
    if unknown:
        yield unknown


def _typed(declared: Option, value: Any) -> Any:
    """A value as Spark would read its text: options of a reader are often written in quotes."""
    if declared.type is FLAG and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if declared.type is WHOLE and isinstance(value, str) and value.isdecimal():
        return int(value)
    return str(value) if declared.type is TEXT and isinstance(value, int | float) else value


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
