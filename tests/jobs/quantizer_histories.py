"""Generated lives of a raw table: rows written under changing schemas, and what must be read of them, in plain Python.

A row remembers the identity of each column that it was written with; what a later schema shows of it is worked out from
that alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from tests.jobs.quantizer_oracle import Point
from tests.jobs.quantizer_values import ARROW, HOUR, LENGTH, MINUTE, PROMOTED, drawn_value

from pipeline_jobs.quantizer import iceberg

STARTS = (
    1_700_000_400_000_000 // HOUR * HOUR,
    0,
    -HOUR,
    -3 * 365 * 24 * HOUR,
    -1_000_000 * HOUR,
    2**31 * 1_000_000 // HOUR * HOUR,
)
"""Where the batch begins, in us since 1970: now, at and before 1970, the year 1855, after 2038."""

POINTS = ("org_id", "metric_name", "wall_timestamp", "value")
WHOLES = (0, 1, -1, 5, 5, 2**31 - 1, -(2**31), 42)


@dataclass(frozen=True)
class Column:
    """A column of the table now. `key` is its identity: one that was dropped and added again has another."""

    key: int
    name: str
    type: str
    default: Any = None


@dataclass
class History:
    """What was done to a table, and what its rows are."""

    spark: SparkSession
    name: str
    folder: Path
    rng: random.Random
    version: int
    start_us: int
    columns: list[Column] = field(default_factory=list)
    rows: list[dict[int, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    has_equality_deletes: bool = False
    is_slow: bool = False
    """Whether something is in the table that only Spark's reader reads."""
    has_rolled_up: bool = False
    has_named_files: bool = False
    """Whether files without ids were added. Iceberg gives a name in them to the column that took it last."""
    next_key: int = 0
    files: int = 0

    @property
    def table(self) -> Any:
        """Iceberg's Java object, fresh."""
        return iceberg.load(self.spark, self.name)

    def say(self, text: str) -> None:
        self.said.append(text)

    def column(self, name: str) -> Column:
        return next(each for each in self.columns if each.name.lower() == name)

    def points(self) -> list[Point]:
        """What the table holds now, by the rows' own memory, of the batch's time."""
        wanted = [self.column(name) for name in POINTS]
        found = [[row.get(each.key, each.default) for each in wanted] for row in self.rows]
        return [
            (None if org is None else str(org), None if metric is None else str(metric), time_us, value)
            for org, metric, time_us, value in found
            if time_us is not None and self.start_us < time_us <= self.start_us + LENGTH
        ]


def begin(spark: SparkSession, name: str, folder: Path, rng: random.Random) -> History:
    """A new, empty table: columns in any order and case, of any type that holds points."""
    history = History(spark, name, folder, rng, rng.choice((2, 2, 3)), rng.choice(STARTS))
    kinds = {
        "org_id": rng.choice(("string", "string", "int", "long")),
        "metric_name": rng.choice(("string", "string", "long")),
        "wall_timestamp": "timestamptz",
        "value": rng.choice(("double", "double", "float", "int", "long")),
        "other": "double",
        "note": "string",
    }
    listed = list(kinds.items())
    rng.shuffle(listed)
    for column, kind in listed:
        shown = rng.choice((column, column, column.upper(), column.title())) if column in POINTS else column
        history.columns.append(Column(history.next_key, shown, kind))
        history.next_key += 1
    if rng.random() < 0.3:
        history.say("nested beside")
        history.columns.append(Column(-1, "labels", "struct"))
    sql = {"timestamptz": "timestamp", "long": "bigint", "struct": "struct<value: double, org_id: string>"}
    columns = ", ".join(f"{each.name} {sql.get(each.type, each.type)}" for each in history.columns)
    spark.sql(
        f"CREATE TABLE {name} ({columns}) USING iceberg TBLPROPERTIES ('format-version'='{history.version}', "
        f"'write.delete.mode'='merge-on-read')"
    )
    return history


# What may happen to a table.


def append(history: History) -> None:
    """Rows in a file of the table's own, with field ids."""
    rows = _new_rows(history)
    schema = history.table.schema()
    fields = [
        pa.field(each.name, ARROW[each.type], metadata={"PARQUET:field_id": str(schema.findField(each.name).fieldId())})
        for each in history.columns
        if each.key >= 0
    ]
    path = _write(history, rows, fields, "data")
    table = history.table
    if not table.spec().isUnpartitioned():
        return _append_by_sql(history, rows)
    table.newAppend().appendFile(iceberg.to_data_file(history.spark, table, path, "")).commit()
    history.rows += rows
    return history.say(f"append {len(rows)}")


def _append_by_sql(history: History, rows: list[dict[int, Any]]) -> None:
    own = [each for each in history.columns if each.key >= 0]
    frame = _arrow(history, rows, [pa.field(each.name, ARROW[each.type]) for each in own])
    history.spark.createDataFrame(frame.to_pandas() if not len(frame) else frame).createOrReplaceTempView("new_rows")
    names = ", ".join(each.name for each in own)
    history.spark.sql(f"INSERT INTO {history.name} ({names}) SELECT {names} FROM new_rows")
    history.rows += rows
    history.say(f"insert {len(rows)} partitioned")


def drop_and_add_again(history: History) -> None:
    """The name stays, the column is another: older rows have nothing, or the default (format version 3)."""
    name = history.rng.choice(("value", "value", "metric_name", "org_id", "other"))
    old = history.column(name)
    if (history.has_rolled_up and name != "other") or _was_partitioned_by(history, old.name):
        return
    if history.has_named_files or (history.has_equality_deletes and name == "org_id"):
        return
    history.table.updateSchema().deleteColumn(old.name).commit()
    default = None
    if history.version == 3 and history.rng.random() < 0.6:
        default = {"string": "nobody", "int": 4, "long": 4, "float": 7.5, "double": 7.5}[old.type]
    _add(history, old.name, old.type, default)
    history.columns[history.columns.index(old)] = Column(history.next_key, old.name, old.type, default)
    history.next_key += 1
    history.say(f"drop and add {old.name} default {default}")


def rename_away(history: History) -> None:
    """Another column takes the name of one of ours, whose values go under another."""
    ours, other = history.column("value"), history.column("other")
    if ours.type != other.type or history.has_rolled_up or history.has_named_files:
        return
    update = history.table.updateSchema()
    update.renameColumn(ours.name, "spare").commit()
    history.table.updateSchema().renameColumn(other.name, ours.name).commit()
    history.table.updateSchema().renameColumn("spare", other.name).commit()
    history.columns[history.columns.index(ours)] = replace(ours, name=other.name)
    history.columns[history.columns.index(other)] = replace(other, name=ours.name)
    history.say("swap value and other")


def change_case(history: History) -> None:
    """A column of ours is renamed to itself in another case."""
    old = history.column(history.rng.choice(POINTS))
    new = replace(old, name=old.name.swapcase())
    history.table.updateSchema().renameColumn(old.name, new.name).commit()
    history.columns[history.columns.index(old)] = new
    history.say(f"rename {old.name} {new.name}")


def move(history: History) -> None:
    """The order of columns has no meaning."""
    old = history.rng.choice([each for each in history.columns if each.key >= 0])
    history.table.updateSchema().moveFirst(old.name).commit()
    history.columns.remove(old)
    history.columns.insert(0, old)
    history.say(f"move {old.name}")


def promote(history: History) -> None:
    """A wider type: int to bigint, float to double."""
    narrow = [each for each in history.columns if each.type in PROMOTED]
    if not narrow:
        return
    old = history.rng.choice(narrow)
    new = replace(old, type=PROMOTED[old.type])
    java_type = iceberg.iceberg(history.spark).types.Types.fromPrimitiveString(new.type)
    history.table.updateSchema().updateColumn(old.name, java_type).commit()
    history.columns[history.columns.index(old)] = new
    history.say(f"promote {old.name} to {new.type}")


def repartition(history: History) -> None:
    """Another way to partition from now on, or none."""
    expressions = iceberg.iceberg(history.spark).expressions.Expressions
    org, time = history.column("org_id").name, history.column("wall_timestamp").name
    terms = [expressions.ref(org), expressions.bucket(org, 3), expressions.hour(time), expressions.day(time)]
    table = history.table
    if not table.spec().isUnpartitioned():
        update = table.updateSpec()
        for each in table.spec().fields():
            update.removeField(each.name())
        update.commit()
        return history.say("no partitions any more")
    table.updateSpec().addField(history.rng.choice(terms)).commit()
    return history.say("repartition")


def add_files(history: History) -> None:
    """A file that nobody made for Iceberg: its columns are known by their names now."""
    if not history.table.spec().isUnpartitioned():
        return
    rows = _new_rows(history)
    style = history.rng.choice(("plain", "plain", "int96", "local", "dictionary", "lists"))
    own = [each for each in history.columns if each.key >= 0]
    fields = [pa.field(each.name, ARROW[each.type]) for each in own]
    history.rng.shuffle(fields)
    if style == "local":
        fields = [pa.field(f.name, pa.timestamp("us")) if pa.types.is_timestamp(f.type) else f for f in fields]
    if style == "int96" and any(abs(row.get(history.column("wall_timestamp").key) or 0) > 9e15 for row in rows):
        style = "plain"
    history.files += 1
    folder = history.folder / f"added-{history.files}"
    folder.mkdir(parents=True)
    options: dict[str, Any] = {"use_deprecated_int96_timestamps": True} if style == "int96" else {}
    options |= {"use_dictionary": style != "dictionary", "row_group_size": history.rng.choice((1, 3, 1000))}
    pq.write_table(_arrow(history, rows, fields), folder / "a.parquet", **options)
    history.spark.sql(f"CALL lake.system.add_files(table => '{history.name}', source_table => '`parquet`.`{folder}`')")
    history.is_slow = history.is_slow or style in ("int96", "local")
    history.rows += rows
    history.has_named_files = True
    history.say(f"add_files {style} {len(rows)}")


def delete(history: History) -> None:
    """Some rows go, by position or by a deletion vector."""
    if history.has_rolled_up or not history.rows:
        return
    metric = history.column("metric_name")
    shown = {str(row.get(metric.key, metric.default)) for row in history.rows if row.get(metric.key, metric.default)}
    if not shown:
        return
    gone = history.rng.choice(sorted(shown))
    statement = f"DELETE FROM {history.name} WHERE CAST({metric.name} AS string) = :gone"
    history.spark.sql(statement, args={"gone": gone})
    history.rows = [row for row in history.rows if str(row.get(metric.key, metric.default)) != gone]
    history.is_slow = True
    history.say(f"delete metric {gone}")


def delete_by_equality(history: History) -> None:
    """Some rows go, by an equality delete as streaming writers make them."""
    org = history.column("org_id")
    table = history.table
    if history.has_rolled_up or not history.rows or history.version == 3 or not table.spec().isUnpartitioned():
        return
    shown = [row[org.key] for row in history.rows if row.get(org.key) is not None]
    if not shown:
        return
    gone, field_id = history.rng.choice(shown), table.schema().findField(org.name).fieldId()
    written = pa.field(org.name, ARROW[org.type], metadata={"PARQUET:field_id": str(field_id)})
    history.files += 1
    path = history.folder / f"equality-{history.files}.parquet"
    pq.write_table(pa.table([pa.array([gone], written.type)], schema=pa.schema([written])), path)
    spark, classes = history.spark, iceberg.iceberg(history.spark)
    ids = spark.sparkContext._gateway.new_array(iceberg.java(spark).int, 1)
    ids[0] = field_id
    made = classes.FileMetadata.deleteFileBuilder(table.spec()).ofEqualityDeletes(ids).withPath(str(path))
    made = made.withFormat("PARQUET").withFileSizeInBytes(path.stat().st_size).withRecordCount(1)
    table.newRowDelta().addDeletes(made.build()).commit()
    history.rows = [row for row in history.rows if row.get(org.key, org.default) != gone]
    history.is_slow = history.has_equality_deletes = True
    history.say(f"equality delete org {gone}")


def compact(history: History) -> None:
    """Maintenance, which changes no row."""
    if not history.rows:
        return
    history.spark.sql(
        f"CALL lake.system.rewrite_data_files(table => '{history.name}', options => map('min-input-files', '2'))"
    )
    history.say("compact")


Change = Callable[[History], None]
CHANGES: tuple[Change, ...] = (
    append, append, append, drop_and_add_again, drop_and_add_again, rename_away, change_case, move, promote,
    repartition, repartition, add_files, add_files, delete, delete_by_equality, compact,
)  # fmt: skip


def _add(history: History, name: str, kind: str, default: Any) -> None:
    classes = iceberg.iceberg(history.spark)
    java_type = classes.types.Types.fromPrimitiveString(kind)
    update = history.table.updateSchema()
    if default is None:
        update.addColumn(name, java_type).commit()
    else:
        literal = classes.expressions.Expressions.lit(default).to(java_type)
        update.addColumn(name, java_type, "", literal).commit()


def _was_partitioned_by(history: History, name: str) -> bool:
    """Iceberg drops no column that a partitioning uses, or used."""
    table = history.table
    field_id = table.schema().findField(name).fieldId()
    return any(each.sourceId() == field_id for spec in table.specs().values() for each in spec.fields())


def _new_rows(history: History) -> list[dict[int, Any]]:
    rng = history.rng
    return [
        {each.key: _value(history, each) for each in history.columns if each.key >= 0}
        for _ in range(rng.choice((1, 4, 9, 25)))
    ]


def _value(history: History, column: Column) -> Any:
    rng, name = history.rng, column.name.lower()
    if rng.random() < 0.04:
        return None
    if name == "wall_timestamp":
        return _time(history)
    if name in ("org_id", "metric_name"):
        return rng.choice(("a", "b", "", "é\n\"'", "A") if column.type == "string" else (7, 8, -1))
    if column.type in ("int", "long"):
        return rng.choice(WHOLES) if column.type == "int" or rng.random() < 0.7 else rng.choice((2**53, -(2**53)))
    if column.type == "string":
        return "n"
    return drawn_value(rng, column.type)


def _time(history: History) -> int:
    """In us: at the edges of windows and of the batch, most inside, some outside."""
    rng = history.rng
    if rng.random() < 0.5:
        edge = history.start_us + rng.choice((0, MINUTE, 5 * MINUTE, HOUR, LENGTH))
        return edge + rng.choice((-1, 0, 1))
    return history.start_us + rng.randint(-5 * MINUTE, LENGTH + 5 * MINUTE)


def _arrow(history: History, rows: list[dict[int, Any]], fields: list[pa.Field]) -> pa.Table:
    keys = {each.name: each.key for each in history.columns}
    arrays = [
        pa.array([row.get(keys[field.name]) for row in rows], pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array([row.get(keys[field.name]) for row in rows], field.type)
        for field in fields
    ]
    return pa.table(arrays, schema=pa.schema(fields))


def _write(history: History, rows: list[dict[int, Any]], fields: list[pa.Field], kind: str) -> str:
    history.files += 1
    path = history.folder / f"{kind}-{history.files}.parquet"
    pq.write_table(_arrow(history, rows, fields), path, row_group_size=history.rng.choice((1, 4, 1000)))
    return str(path)
