"""Files of a table with a generated life, read without Spark and rolled up, against what plain Python remembers.

Schemas change between files: columns are dropped, added again, renamed, moved, promoted, given defaults; files have
field ids, or names that the table's mapping resolves, or partition values in place of a column.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars  # noqa: F401 (its import sets a variable of the process, once)
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.jobs.quantizer_oracle import Point, assert_same, expected_windows, is_narrow
from tests.jobs.quantizer_values import ARROW, HOUR, LENGTH, MINUTE, PROMOTED, drawn_value

from pipeline_jobs.contract import BadConfigurationError, JobError
from pipeline_jobs.quantizer.columns import Field, find_columns
from pipeline_jobs.quantizer.engines import finest_by
from pipeline_jobs.quantizer.points_reader import NeedsSparkError, RefusedPointsError, SourceFile, read_points
from pipeline_jobs.quantizer.rollup import POINT_COLUMNS, cascade, rows_of, usable_points

RESOLUTIONS = (60_000, 300_000, 3_600_000)
STARTS = (1_700_000_400_000_000 // HOUR * HOUR, 0, -HOUR, -3 * 365 * 24 * HOUR, -1_000_000 * HOUR, 600_000 * HOUR)
"""Where the stretch begins, in us since 1970: now, at and before 1970, in 1855, after 2038."""


@dataclass(frozen=True)
class Column:
    """A column of the table now."""

    field_id: int
    name: str
    type: str
    default: Any = None


@dataclass(frozen=True)
class Row:
    """A row as it was written: by field id, or by name where its file has no ids. Its partition's values come first."""

    values: dict[int | str, Any]
    has_ids: bool
    constants: dict[int, Any] = field(default_factory=dict)


@dataclass
class Life:
    """A table: its columns, its files, and the memory of its rows."""

    rng: random.Random
    folder: Path
    start_us: int
    columns: list[Column]
    mapping: dict[int, list[str]] = field(default_factory=dict)
    files: list[SourceFile] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    next_id: int = 10
    said: list[str] = field(default_factory=list)

    def column(self, name: str) -> Column:
        return next(each for each in self.columns if each.name.lower() == name)

    def change(self, old: Column, new: Column) -> None:
        self.columns[self.columns.index(old)] = new

    def name(self, field_id: int, name: str) -> None:
        """What the mapping learns of a column: a name belongs to the column that took it last."""
        for names in self.mapping.values():
            if name in names:
                names.remove(name)
        self.mapping.setdefault(field_id, []).append(name)

    def shown(self, row: Row, column: Column) -> Any:
        """What the table shows of a row in a column."""
        if column.field_id in row.constants:
            return row.constants[column.field_id]
        if row.has_ids:
            return row.values.get(column.field_id, column.default)
        known = {name: field_id for field_id, names in self.mapping.items() for name in names}
        found = [value for name, value in row.values.items() if known.get(str(name)) == column.field_id]
        return found[0] if found else column.default


def begin(rng: random.Random, folder: Path) -> Life:
    kinds = {
        "org_id": rng.choice(("string", "string", "int", "long")),
        "metric_name": rng.choice(("string", "string", "long")),
        "wall_timestamp": "timestamptz",
        "value": rng.choice(("double", "double", "float", "int", "long")),
        "other": "double",
    }
    names = [rng.choice((n, n, n.upper(), n.title())) if n in POINT_COLUMNS else n for n in kinds]
    columns = [Column(i + 1, name, kind) for i, (name, kind) in enumerate(zip(names, kinds.values(), strict=True))]
    rng.shuffle(columns)
    life = Life(rng, folder, rng.choice(STARTS), columns)
    for column in columns:
        life.name(column.field_id, column.name)
    return life


# What happens.


def file_with_ids(life: Life) -> None:
    rows = new_rows(life)
    fields = [
        pa.field(each.name, ARROW[each.type], metadata={"PARQUET:field_id": str(each.field_id)})
        for each in life.columns
    ]
    write(life, rows, fields, ())
    life.rows += [Row({each.field_id: row[each.name] for each in life.columns}, True) for row in rows]


def file_without_ids(life: Life) -> None:
    """As `add_files` takes it: any order, columns more or less."""
    rows = new_rows(life)
    own = [each for each in life.columns if each.name.lower() != "metric_name" or life.rng.random() < 0.9]
    life.rng.shuffle(own)
    write(life, rows, [pa.field(each.name, ARROW[each.type]) for each in own], ())
    life.rows += [Row({each.name: row[each.name] for each in own}, False) for row in rows]


def file_of_a_partition(life: Life) -> None:
    """A column's values are the partition's, whether the file has it or not."""
    org = life.column("org_id")
    value = life.rng.choice((None, "p" if org.type == "string" else 77))
    has_column = life.rng.random() < 0.5
    rows = [row | {org.name: value} for row in new_rows(life)]
    own = [each for each in life.columns if has_column or each != org]
    fields = [pa.field(each.name, ARROW[each.type], metadata={"PARQUET:field_id": str(each.field_id)}) for each in own]
    write(life, rows, fields, ((org.field_id, value),))
    life.rows += [Row({c.field_id: row[c.name] for c in own}, True, {org.field_id: value}) for row in rows]


def drop_and_add_again(life: Life) -> None:
    """The name stays, the column is another."""
    old = life.column(life.rng.choice((*POINT_COLUMNS, "value", "other")))
    defaults = {"string": "nobody", "int": 4, "long": 4, "float": 7.5, "double": 7.5}
    defaults |= {"timestamptz": life.start_us + life.rng.choice((-1, 0, 1, MINUTE, LENGTH, LENGTH + 1))}
    default = defaults[old.type] if life.rng.random() < 0.5 else None
    life.change(old, Column(life.next_id, old.name, old.type, default))
    life.name(life.next_id, old.name)
    life.next_id += 1


def swap(life: Life) -> None:
    """Two columns take each other's names."""
    ours, other = life.column("value"), life.column("other")
    if ours.type == other.type:
        life.change(ours, replace(ours, name="other"))
        life.change(other, replace(other, name=ours.name))
        life.name(other.field_id, ours.name)
        life.name(ours.field_id, "other")


def change_case(life: Life) -> None:
    old = life.column(life.rng.choice(POINT_COLUMNS))
    life.change(old, replace(old, name=old.name.swapcase()))
    life.name(old.field_id, old.name.swapcase())


def move(life: Life) -> None:
    life.rng.shuffle(life.columns)


def promote(life: Life) -> None:
    narrow = [each for each in life.columns if each.type in PROMOTED]
    if narrow:
        old = life.rng.choice(narrow)
        life.change(old, replace(old, type=PROMOTED[old.type]))


CHANGES: tuple[Callable[[Life], None], ...] = (
    file_with_ids, file_with_ids, file_without_ids, file_without_ids, file_of_a_partition, drop_and_add_again, swap,
    change_case, move, promote,
)  # fmt: skip


def new_rows(life: Life) -> list[dict[str, Any]]:
    return [
        {each.name: new_value(life, each) for each in life.columns} for _ in range(life.rng.choice((0, 1, 4, 9, 40)))
    ]


def new_value(life: Life, column: Column) -> Any:
    rng, name = life.rng, column.name.lower()
    if rng.random() < 0.04:
        return None
    if name == "wall_timestamp":
        return new_time(life)
    if name in ("org_id", "metric_name"):
        return rng.choice(("a", "b", "", "é\n\"'", "A") if column.type == "string" else (7, 8, -1))
    if column.type == "int":
        return rng.choice((0, 1, -1, 5, 2**31 - 1, -(2**31)))
    if column.type == "long":
        return rng.choice((0, 1, -1, 5, 2**53, -(2**53)))
    return drawn_value(rng, column.type)


def new_time(life: Life) -> int:
    """In us: at the edges of windows and of the stretch, most inside, some outside."""
    rng = life.rng
    if rng.random() < 0.5:
        return life.start_us + rng.choice((0, MINUTE, 5 * MINUTE, HOUR, LENGTH)) + rng.choice((-1, 0, 1))
    return life.start_us + rng.randint(-5 * MINUTE, LENGTH + 5 * MINUTE)


def write(
    life: Life, rows: list[dict[str, Any]], fields: list[pa.Field], constants: tuple[tuple[int, Any], ...]
) -> None:
    rng, path = life.rng, life.folder / f"{len(life.files)}.parquet"
    arrays = [
        pa.array([row[each.name] for row in rows], pa.int64() if pa.types.is_timestamp(each.type) else each.type)
        for each in fields
    ]
    table = pa.table([a.cast(f.type) for a, f in zip(arrays, fields, strict=True)], schema=pa.schema(fields))
    if rng.random() < 0.3:
        kind = pa.struct({"value": pa.float64(), "org_id": pa.string()})
        labels = pa.array([{"value": 1.0, "org_id": "z"}] * len(rows), kind)
        table = table.append_column(pa.field("labels", labels.type), labels)
    pq.write_table(
        table,
        path,
        row_group_size=rng.choice((1, 3, 1000)),
        use_dictionary=rng.random() < 0.5,
        data_page_version=rng.choice(("1.0", "2.0")),
        compression=rng.choice(("none", "zstd", "snappy")),
        write_statistics=rng.random() < 0.7,
    )
    life.files.append(SourceFile(str(path), constants))


# What must come out.


def remembered(life: Life) -> list[Point]:
    """The stretch's rows by memory: org, metric, time in us, value."""
    wanted = [life.column(name) for name in POINT_COLUMNS]
    rows = [[life.shown(row, column) for column in wanted] for row in life.rows]
    return [
        (None if org is None else str(org), None if metric is None else str(metric), time_us, value)
        for org, metric, time_us, value in rows
        if time_us is not None and life.start_us < time_us <= life.start_us + LENGTH
    ]


def rolled_up(table: pa.Table, engine: str) -> pd.DataFrame:
    points = usable_points(table)
    finest, _ = finest_by(engine, points, RESOLUTIONS[0] * 1000, drop_repeats=True)
    states = zip(cascade(finest, RESOLUTIONS), RESOLUTIONS, strict=True)
    frame = pa.concat_tables([rows_of(each, points.series, resolution) for each, resolution in states]).to_pandas()
    for column in ("window_end", "first_ts", "last_ts"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame


def check(rng: random.Random, folder: Path) -> None:
    life = begin(rng, folder)
    for change in (file_with_ids, *rng.choices(CHANGES, k=rng.randint(1, 9))):
        change(life)
        life.said.append(change.__name__)
    fields = [Field(each.field_id, each.name, each.type, stored_default(each)) for each in life.columns]
    mapping = json.dumps([{"field-id": i, "names": names} for i, names in life.mapping.items()])
    columns = find_columns("t", fields, mapping)
    table = read_points(life.files, (life.start_us, life.start_us + LENGTH), columns)
    wanted = remembered(life)
    assert len(table) == len(wanted), life.said
    expected = expected_windows(wanted, RESOLUTIONS)
    for engine in ("compiled", "duckdb", "polars"):
        if engine != "compiled" and not is_narrow(wanted):
            with pytest.raises(JobError, match="use the engine compiled"):
                rolled_up(table, engine)
        elif expected:
            assert_same(rolled_up(table, engine), expected)
        else:
            assert rolled_up(table, engine).empty


def stored_default(column: Column) -> Any:
    """As Iceberg's JSON has it."""
    if column.type != "timestamptz" or column.default is None:
        return column.default
    return (pd.Timestamp(0, tz="UTC") + pd.Timedelta(column.default, "us")).isoformat()


def failing(folder: Path, count: int, seed: int) -> list[str]:
    """The lives whose rollups are not what is remembered."""
    wrong = []
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        try:
            check(random.Random(f"{seed} {number}"), place)
        except Exception as error:
            wrong.append(f"{number}: {type(error).__name__}: {str(error)[:600]}")
    return wrong


def test_files_of_a_table_that_lives_are_read_exactly(tmp_path: Path) -> None:
    assert failing(tmp_path, 60, seed=1) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_lives_are_read_exactly(tmp_path: Path) -> None:
    assert failing(tmp_path, 1000, seed=2) == []


def test_a_whole_number_that_no_double_holds_is_refused(tmp_path: Path) -> None:
    life = begin(random.Random(1), tmp_path)
    value = life.column("value")
    life.change(value, replace(value, type="long"))
    row = {each.name: None for each in life.columns} | {life.column("wall_timestamp").name: life.start_us + 1}
    fields = [pa.field(c.name, ARROW[c.type], metadata={"PARQUET:field_id": str(c.field_id)}) for c in life.columns]
    write(life, [row | {value.name: 2**53 + 1}], fields, ())
    columns = find_columns("t", [Field(c.field_id, c.name, c.type) for c in life.columns], None)
    with pytest.raises(RefusedPointsError, match="no double holds"):
        read_points(life.files, (life.start_us, life.start_us + LENGTH), columns)


def own_file(folder: Path, **changed: pa.Array) -> SourceFile:
    """A file with the points' columns under ids from 1, one of them another one's."""
    us = pa.array([5_000_000], pa.int64()).cast(ARROW["timestamptz"])
    columns = {
        "org_id": pa.array(["a"]),
        "metric_name": pa.array(["m"]),
        "wall_timestamp": us,
        "value": pa.array([1.5]),
    }
    listed = (columns | changed).items()
    fields = [
        pa.field(name.rstrip("_"), array.type, metadata={"PARQUET:field_id": str(number)})
        for number, (name, array) in enumerate(listed, start=1)
    ]
    pq.write_table(pa.table([array for _, array in listed], schema=pa.schema(fields)), folder / "a.parquet")
    return SourceFile(str(folder / "a.parquet"))


PLAIN = [
    Field(1, "org_id", "string"), Field(2, "metric_name", "string"), Field(3, "wall_timestamp", "timestamptz"),
    Field(4, "value", "double"),
]  # fmt: skip
BAD_TEXT = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"org_id": BAD_TEXT}, RefusedPointsError, "has a text that is not UTF-8"),
        ({"value": pa.array([[1.5]])}, NeedsSparkError, "the column value is list"),
        ({"value": pa.array([{"value": 1.5}])}, NeedsSparkError, "the column value is struct"),
        ({"value_": pa.array([2.5])}, NeedsSparkError, "several columns are called value"),
    ],
    ids=["text of other bytes", "list", "struct", "a name twice"],
)
def test_a_file_that_is_no_table_of_points_is_said_in_one_line(
    tmp_path: Path, changed: dict[str, pa.Array], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as refused:
        read_points([own_file(tmp_path, **changed)], (0, HOUR), find_columns("t", PLAIN, None))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("mapping", ["{", "5", '[{"field-id": 1}]'])
def test_a_name_mapping_that_is_none_is_refused(mapping: str) -> None:
    with pytest.raises(BadConfigurationError, match=r"schema.name-mapping.default of t is no name mapping"):
        find_columns("t", PLAIN, mapping)
