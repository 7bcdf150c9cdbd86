"""Generated dedup cases and what plain Python makes of them: independent of Spark and of the job's code."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from typing import Any

import pyarrow as pa

COLUMNS = ("a", "b", "moment", "version", "status", "note", "ratio")
SCHEMA = pa.schema(
    {
        "case": pa.int32(),
        "a": pa.string(),
        "b": pa.int64(),
        "moment": pa.timestamp("us", tz="UTC"),
        "version": pa.int32(),
        "status": pa.string(),
        "note": pa.string(),
        "ratio": pa.float64(),
    }
)
START = datetime(2024, 3, 31, 0, 30, tzinfo=UTC)  # an hour before clocks change in Europe
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """Rows in the order of COLUMNS."""

    number: int
    rows: tuple[Row, ...]


def cases(count: int, seed: int = 7) -> list[Case]:
    """Cases of every kind, the special ones first: empty, one row, one key only, all NULL, exact duplicates."""
    special = [
        (),
        (("k", 1, START, 1, "active", "x", 1.0),),
        tuple(("k", 1, START + timedelta(seconds=i % 5), i % 3, "active", f"n{i % 4}", None) for i in range(40)),
        ((None, None, None, None, None, None, None),) * 3,
        (("k", 1, START, 1, "deleted", "x", 1.0),) * 4,
    ]
    return [Case(n, rows) for n, rows in enumerate(special)] + [
        _random_case(n, random.Random(seed * 10_000 + n)) for n in range(len(special), count)
    ]


def _random_case(number: int, r: random.Random) -> Case:
    keys, moments = r.choice((1, 2, 5, 20)), r.choice((1, 3, 50))
    rows = [
        (
            r.choice((None, "", "é", "Z", "a", "\U0001f600")) if r.random() < 0.2 else f"k{r.randrange(keys)}",
            None if r.random() < 0.1 else r.randrange(3),
            None if r.random() < 0.15 else START + timedelta(microseconds=r.randrange(moments) * 1_800_000_001),
            None if r.random() < 0.2 else r.randrange(3),
            r.choice(("active", "active", "deleted", None)),
            r.choice((None, "", "a", "B", "é", 'quoted "text", with a comma\nand a line', "\U0001f600")),
            r.choice((None, -1.5, 0.25, float("inf"), float("nan"))),
        )
        for _ in range(r.randrange(1, 60))
    ]
    return Case(number, tuple(rows + r.sample(rows, r.randrange(len(rows) + 1))))


@dataclass(frozen=True)
class Answer:
    """The latest record by key, keys whose latest record deletes them, keys that tie, and rows left out."""

    latest: dict[tuple[Any, ...], Row]
    deleted: frozenset[tuple[Any, ...]]
    tied: frozenset[tuple[Any, ...]]
    dropped: int


def answer(case: Case, *, null_keys: str, null_timestamps: str) -> Answer:
    """What the rule `key (a, b), moment, version, then content` makes of a case."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    dropped = 0
    for row in case.rows:
        lost_key = null_keys == "drop" and (row[0] is None or row[1] is None)
        if lost_key or (null_timestamps == "drop" and row[2] is None):
            dropped += 1
        else:
            groups.setdefault(row[:2], []).append(row)
    latest = {key: max(rows, key=cmp_to_key(_compare)) for key, rows in groups.items()}
    tied = {
        key for key, rows in groups.items() if len({_shown(row) for row in rows if row[2:4] == latest[key][2:4]}) > 1
    }
    deleted = {key for key, row in latest.items() if row[4] == "deleted"}
    return Answer(latest, frozenset(deleted), frozenset(tied), dropped)


def _shown(row: Row) -> str:
    return repr(row)


def _compare(left: Row, right: Row) -> int:
    for one, other in zip(left[2:], right[2:], strict=True):
        result = _compare_values(one, other)
        if result:
            return result
    return 0


def _compare_values(one: Any, other: Any) -> int:
    """NULL smallest, NaN largest, text by its UTF-8 bytes."""
    rank_one, rank_other = _rank(one), _rank(other)
    return (rank_one > rank_other) - (rank_one < rank_other)


def _rank(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    if isinstance(value, str):
        return (1, value.encode())
    if isinstance(value, float) and value != value:
        return (2, 0)
    return (1, value)
