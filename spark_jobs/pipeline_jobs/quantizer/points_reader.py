"""The reader of a raw table's Parquet files, by Arrow inside a task; which units and types are refused.

What Iceberg's own reader would make of a file and this one can't, it refuses (`NeedsSparkError`), and Spark reads the
stretch instead (spark_reader.py). So the two never differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline_jobs.contract import JobError
from pipeline_jobs.quantizer import file_access
from pipeline_jobs.quantizer.columns import PointColumn, PointColumns, Value
from pipeline_jobs.quantizer.coverage import Stretch
from pipeline_jobs.quantizer.rollup import POINT_COLUMNS, TIME

FIELD_ID = b"PARQUET:field_id"
TEXT = pa.dictionary(pa.int32(), pa.string())
POINTS_SCHEMA = pa.schema(list(zip(POINT_COLUMNS, (TEXT, TEXT, TIME, pa.float64()), strict=True)))
FILE_TYPES: dict[str, tuple[pa.DataType, ...]] = {
    "string": (pa.string(), pa.large_string()),
    "int": (pa.int32(),),
    "long": (pa.int64(), pa.int32()),
    "float": (pa.float32(),),
    "double": (pa.float64(), pa.float32()),
    "timestamptz": (TIME,),
}
"""Arrow's types in a file that hold a column of Iceberg's type: its own, and those that Iceberg promotes to it."""
VALUE_TYPES = {"string": pa.string(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32()} | {
    "double": pa.float64(),
    "timestamptz": TIME,
}


class NeedsSparkError(Exception):
    """The file holds what only Iceberg's reader for Spark knows how to read."""


class RefusedPointsError(JobError):
    """The rows can't become points without a guess or a change of a value."""


@dataclass(frozen=True)
class SourceFile:
    """A data file of the raw table. `constants`: columns (field ids) whose value is the file's partition's."""

    path: str
    constants: tuple[tuple[int, Value | None], ...] = ()


def read_points(files: Sequence[SourceFile], stretch: Stretch, columns: PointColumns) -> pa.Table:
    """The rows of a stretch with POINT_COLUMNS. Raises NeedsSparkError, RefusedPointsError."""
    tables = [_read(file, stretch, columns) for file in files]
    return pa.concat_tables([POINTS_SCHEMA.empty_table(), *tables])


def _read(file: SourceFile, stretch: Stretch, columns: PointColumns) -> pa.Table:
    try:
        fragment = _fragment(file.path, {column.own_name for column in columns.all})
        places = _places(fragment, columns, dict(file.constants))
        if not places.keys() <= {column.own_name for column in columns.all}:
            fragment = _fragment(file.path, set(places))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise NeedsSparkError(f"{file.path}: {error}") from None
    return _rows(fragment, places, stretch, columns, dict(file.constants))


def _fragment(location: str, texts: set[str]) -> ds.ParquetFileFragment:
    system, path = file_access.open_path(location)
    return ds.ParquetFileFormat(dictionary_columns=texts).make_fragment(path, filesystem=system)


def _places(
    fragment: ds.ParquetFileFragment, columns: PointColumns, constants: Mapping[int, Value | None]
) -> dict[str, PointColumn]:
    """The columns that the file has, under its own names for them."""
    schema = fragment.physical_schema
    ids = _ids(schema, fragment.path, columns)
    places = {}
    for column in columns.all:
        names = [name for name, field_id in ids if field_id == column.field_id]
        if names and column.field_id not in constants:
            _check_type(fragment, names, column)
            places[names[0]] = column
    return places


def _ids(schema: pa.Schema, path: str, columns: PointColumns) -> list[tuple[str, int]]:
    """The names and ids of a file's columns: its own ids, else those that the table's mapping gives to its names."""
    own = [(field.name, int((field.metadata or {}).get(FIELD_ID, -1))) for field in schema]
    if any(field_id >= 0 for _, field_id in own):
        return own
    if columns.ids_by_name is None:
        raise RefusedPointsError(
            f"{path} has no field ids and the table no name mapping, so which column is which would be a guess: set "
            "the table's property schema.name-mapping.default"
        )
    known = dict(columns.ids_by_name)
    return [(name, known.get(name, -1)) for name, _ in own]


def refuse_wrong_units(files: Sequence[SourceFile], columns: PointColumns) -> None:
    """For rows that Spark's reader is to read: raises RefusedPointsError where it would take ms or ns for us."""
    for file in files:
        with suppress(NeedsSparkError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
            _places(_fragment(file.path, set()), columns, dict(file.constants))


def _check_type(fragment: ds.ParquetFileFragment, names: list[str], column: PointColumn) -> None:
    if fragment.physical_schema.names.count(names[0]) > 1:
        raise NeedsSparkError(f"{fragment.path}: several columns are called {names[0]}")
    kind = fragment.physical_schema.field(names[0]).type
    if pa.types.is_nested(kind):
        raise NeedsSparkError(f"{fragment.path}: the column {names[0]} is {kind}")
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    leaves = fragment.metadata.schema
    physical = {leaves.column(place).path: leaves.column(place).physical_type for place in range(len(leaves))}
    if pa.types.is_timestamp(kind) and kind.unit != "us" and physical[names[0]] != "INT96":
        raise RefusedPointsError(
            f"{fragment.path}: the times in {names[0]} are in {kind.unit}, which Iceberg's readers take for us: write "
            "the file anew with timestamps in us"
        )
    if len(names) > 1 or kind not in FILE_TYPES[column.type] or physical[names[0]] == "INT96":
        raise NeedsSparkError(f"{fragment.path}: the column {names[0]} is {physical[names[0]]} ({kind})")


def _rows(
    fragment: ds.ParquetFileFragment,
    places: Mapping[str, PointColumn],
    stretch: Stretch,
    columns: PointColumns,
    constants: Mapping[int, Value | None],
) -> pa.Table:
    names = {column.name: name for name, column in places.items()}
    time = columns.wall_timestamp
    known = {c.name: constants.get(c.field_id, c.default) for c in columns.all if c.name not in names}
    if time.name in known and not _holds(stretch, known[time.name]):
        return POINTS_SCHEMA.empty_table()
    where = None if time.name in known else _inside(pc.field(names[time.name]), stretch)
    read = fragment.to_table(
        columns={name: pc.field(place) for name, place in names.items()} or [], filter=where, use_threads=True
    )
    arrays = [
        read[column.name]
        if column.name in names
        else pa.chunked_array([pa.repeat(pa.scalar(known[column.name], VALUE_TYPES[column.type]), len(read))])
        for column in columns.all
    ]
    return canonical(arrays, columns)


def _holds(stretch: Stretch, time_us: Value | None) -> bool:
    return isinstance(time_us, int) and stretch[0] < time_us <= stretch[1]


def _inside(time: pc.Expression, stretch: Stretch) -> pc.Expression:
    after, until = (pa.scalar(each, TIME) for each in stretch)
    return (time > after) & (time <= until)


def canonical(arrays: Sequence[pa.ChunkedArray], columns: PointColumns) -> pa.Table:
    """Columns in POINT_COLUMNS' order, of the types of points. Raises RefusedPointsError where a value would change."""
    try:
        org, metric = (_text(array) for array in arrays[:2])
        for text in (org, metric):
            for chunk in text.chunks:
                chunk.dictionary.validate(full=True)
    except pa.ArrowInvalid:
        names = f"{columns.org_id.own_name} or {columns.metric_name.own_name}"
        raise RefusedPointsError(f"{names} has a text that is not UTF-8: write the rows anew") from None
    try:
        value = arrays[3].cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise RefusedPointsError(f"{columns.value.own_name} has a value that no double holds: {error}") from None
    return pa.table([org, metric, arrays[2].cast(TIME), value], schema=POINTS_SCHEMA)


def _text(array: pa.ChunkedArray) -> pa.ChunkedArray:
    if array.type == TEXT:
        return array
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return array.cast(pa.string()).dictionary_encode()
