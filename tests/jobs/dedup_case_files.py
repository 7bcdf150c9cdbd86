"""Generated cases as files and tables, and what a target has of them in a form that can be compared."""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from dedup_generated import EXACT, Case, Change, Fault, Value

from pipeline_tuner.operators.redshift import STAGING, Merge


def write(case: Case, folder: Path) -> None:
    """The case's files."""
    writer = {"parquet": _write_parquet, "csv": _write_csv, "json": _write_json}[case.format]
    for number, rows in enumerate(case.files):
        writer(case, rows, folder / f"part-{number}.{case.format}", number == len(case.files) - 1)


def _layout(case: Case, is_last: bool) -> list[tuple[int, str]]:
    """Numbers and names of a file's columns, in its order."""
    layout = [(number, column.name) for number, column in enumerate(case.columns)]
    if not is_last:
        return layout
    if case.change is Change.ORDER:
        return layout[::-1]
    if case.change is Change.MISSING:
        return layout[:-1]
    return [*layout[:-1], (layout[-1][0], layout[-1][1].swapcase())] if case.change is Change.CASE else layout


def _write_parquet(case: Case, rows: Sequence[tuple[Value, ...]], path: Path, is_last: bool) -> None:
    arrays, names = [], []
    for number, name in _layout(case, is_last):
        kind, values = case.columns[number].kind.arrow, [row[number] for row in rows]
        if is_last and case.change is Change.TYPE and number == len(case.columns) - 1:
            kind = pa.int64() if kind == pa.int32() else pa.int32()
            values = [None if value is None else max(-(2**31), min(2**31 - 1, value)) for value in values]
        arrays.append(pa.array(values, kind))
        names.append(name)
    pq.write_table(pa.table(arrays, names), path)


def _write_csv(case: Case, rows: Sequence[tuple[Value, ...]], path: Path, is_last: bool) -> None:
    r = random.Random(f"{case.seed} {path.name}")
    end = r.choice(("\n", "\r\n"))
    layout = _layout(case, is_last)
    lines = [",".join(_quoted(r, name) for _, name in layout)]
    for count, row in enumerate(rows):
        cells = [_cell(r, row[number]) for number, _ in layout]
        if is_last and count == len(rows) - 1:
            cells = _spoil_cells(case, cells, layout)
        lines.append(",".join(cells))
    text = end.join(lines) + (end if r.random() < 0.7 else "")
    if is_last and case.fault is Fault.MIXED_ENDS:
        text = "\n".join(lines) + "\r\n" + lines[-1] + "\n"
    content = text.encode(case.encoding)
    path.write_bytes(content + b"\xe9\xff" if is_last and case.fault is Fault.OTHER_BYTES else content)


def _spoil_cells(case: Case, cells: list[str], layout: Sequence[tuple[int, str]]) -> list[str]:
    if case.fault is Fault.SHORT:
        return cells[:-1]
    if case.fault is Fault.OPEN_QUOTE:
        return [*cells[:-1], '"open']
    names = [name for _, name in layout]
    if case.fault is Fault.VALUE:
        cells[names.index(case.bad[0])] = '"' + case.bad[1] + '"' if "," in case.bad[1] else case.bad[1]
    return cells


def _quoted(r: random.Random, text: str) -> str:
    must = any(sign in text for sign in '",\n\r') or text == ""
    return '"' + text.replace('"', '""') + '"' if must or r.random() < 0.2 else text


def _cell(r: random.Random, value: Value) -> str:
    return "" if value is None else _quoted(r, _text(r, value)) if isinstance(value, str) else _text(r, value)


def _text(r: random.Random, value: Value) -> str:
    """A scalar as CSV, and within quotes as JSON, has it."""
    if isinstance(value, bool):
        return r.choice((str(value).lower(), str(value)))
    if isinstance(value, datetime):
        return _moment_text(r, value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value)


def _moment_text(r: random.Random, value: datetime) -> str:
    sign = r.choice("T ")
    if value.tzinfo is None:
        return value.isoformat(sep=sign)
    hours = r.choice((0, 2, -5)) if datetime(2, 1, 1) < value.replace(tzinfo=None) < datetime(9999, 1, 1) else 0
    text = value.astimezone(timezone(timedelta(hours=hours))).isoformat(sep=sign)
    return text.replace("+00:00", r.choice(("Z", "+00:00", "")))


def _write_json(case: Case, rows: Sequence[tuple[Value, ...]], path: Path, is_last: bool) -> None:
    r = random.Random(f"{case.seed} {path.name}")
    records = []
    for count, row in enumerate(rows):
        spoilt = is_last and count == len(rows) - 1
        parts = [
            (name, case.bad[1] if spoilt and case.bad[0] == name else _as_json(r, row[number]))
            for number, name in _layout(case, is_last)
        ]
        parts = [part for part in parts if part[1] != "null" or r.random() < 0.5]
        if (
            is_last
            and case.change is Change.CASE
            and not any(name == case.columns[-1].name.swapcase() for name, _ in parts)
        ):
            parts.append((case.columns[-1].name.swapcase(), "null"))
        r.shuffle(parts)
        if spoilt and case.fault is Fault.TWICE:
            parts += [("v", "1"), ("v", "2")]
        records.append("{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in parts) + "}")
    path.write_bytes(_joined(case, records, is_last))


def _joined(case: Case, records: list[str], is_last: bool) -> bytes:
    spoilt = is_last and case.fault is Fault.TWO_OBJECTS
    if case.is_multi_line:
        text = "[\n" + ",\n".join(records) + "\n]" + ("\n{}" if spoilt else "")
    else:
        text = "\n".join(records) + (" {}" if spoilt else "\n")
    content = text.encode(case.encoding)
    if is_last and case.fault is Fault.OTHER_BYTES:
        content = content.replace(b"{", b'{"\xe9": 1, ', 1)
    return content


def _as_json(r: random.Random, value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_as_json(r, each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_as_json(r, each) for each in value) + "]"
    if isinstance(value, bytes):
        return json.dumps(base64.b64encode(value).decode())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=r.random() < 0.5)
    return json.dumps(_text(r, value)) if isinstance(value, date) else _text(r, value)


def into_table(case: Case, uri: str, table: str) -> None:
    """The case's rows in a PostgreSQL table, to be read by JDBC."""
    columns = ", ".join(f"{_name(column.name)} {column.kind.postgres}" for column in case.columns)
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(f"CREATE TABLE {table} ({columns})")
        marks = ", ".join(["%s"] * len(case.columns))
        cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", [_with_float_texts(row) for row in case.rows])


def make_target(case: Case, uri: str, table: str) -> None:
    """A target that is there already, with columns of other types and in another order."""
    columns = [f"{_name(column.name)} {case.made.get(column.name, column.kind.postgres)}" for column in case.columns]
    random.Random(case.seed).shuffle(columns)
    key = ", ".join(map(_name, case.key))
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} ({', '.join(columns)}, UNIQUE NULLS NOT DISTINCT ({key}))")


def found(case: Case, uri: str, table: str) -> list[str]:
    """What the target has, in a form that can be compared."""
    names = ", ".join(_name(column.name) for column in case.columns)
    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute("SELECT to_regclass(%s) IS NULL", (table,))
        if cursor.fetchone() == (True,):
            return []
        cursor.execute(f"SELECT {names} FROM {table}")
        return sorted(comparable(case, row) for row in cursor.fetchall())


def comparable(case: Case, row: Sequence[Value]) -> str:
    """A row as text: equal where every value is. A FLOAT has the digits of one, however it came."""
    singles = [column.kind.name == "FLOAT" for column in case.columns]
    values = (
        float(np.float32(value)) if is_single and value is not None else value
        for value, is_single in zip(row, singles, strict=True)
    )
    return repr([_plain(value) for value in values])


def _plain(value: Value) -> Value:
    if isinstance(value, memoryview | bytes):
        return bytes(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal | int):
        return f"{Decimal(value).normalize(EXACT):f}"
    if isinstance(value, float):
        return f"{Decimal(repr(value)).normalize(EXACT):f}"
    if isinstance(value, dict):
        return {name: _nested(each) for name, each in sorted(value.items())}
    return [_nested(each) for each in value] if isinstance(value, list) else value


def _nested(value: Value) -> Value:
    """A nested value, which PostgreSQL has as JSON: its moments are texts there."""
    if isinstance(value, str) and value.endswith(("Z", "+00:00")) and len(value) > 19:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).isoformat()
    return _plain(value)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def merge_as_redshift_does(case: Case, uri: str, out: Path, table: str) -> None:
    """The operator's statements on PostgreSQL; the files' rows are put into the staging table by position."""
    folder = out / (out / "CURRENT").read_text()
    rows = [row for file in folder.glob("*.parquet") for row in _rows_of(file)]
    names = pq.read_schema(next(folder.glob("*.parquet"))).names
    merge = Merge(table, tuple(names[:-1]), case.key, ("at", "v"))
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        for statement in merge.statements("s3://b/f/", "role"):
            if statement.startswith("COPY"):
                marks = ", ".join(["%s"] * len(names))
                cursor.executemany(f"INSERT INTO {STAGING} VALUES ({marks})", rows)
            else:
                cursor.execute(statement)


def _rows_of(file: Path) -> list[tuple[Any, ...]]:
    table = pq.read_table(file, coerce_int96_timestamp_unit="us")
    return [_with_float_texts(row) for row in zip(*(c.to_pylist() for c in table.columns), strict=True)]


def _with_float_texts(row: Iterable[Any]) -> tuple[Any, ...]:
    """Numbers as text: the driver writes -0.0 as a decimal, which has no such zero."""
    return tuple(repr(each) if isinstance(each, float) else each for each in row)
