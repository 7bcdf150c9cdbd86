"""What the strategy `columnar` does inside a task, against plain Python on the generated cases. No Spark."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_oracle import SCHEMA, answer, cases
from dedup_runs import write_events

from pipeline_jobs.dedup import columnar_task
from pipeline_jobs.dedup.columnar_task import Part, Reduction, Totals, survivors

CASES = cases(200)
GROUP_ROWS = 500


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Part, ...]:
    """All cases in three files of several row groups."""
    folder = tmp_path_factory.mktemp("cases")
    rows = [(case.number, *row) for case in CASES for row in case.rows]
    random.Random(1).shuffle(rows)
    found = []
    for number in range(3):
        columns = zip(*rows[number::3], strict=True)
        table, path = pa.table(list(map(list, columns)), schema=SCHEMA), folder / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=GROUP_ROWS)
        found.append(Part(str(path), tuple(range(-(-table.num_rows // GROUP_ROWS))), table.num_rows))
    return tuple(found)


@pytest.mark.parametrize("fold", [1, 200_000], ids=["ties decided at once", "ties decided at the end"])
@pytest.mark.parametrize("policy", [("drop", "oldest"), ("group", "oldest"), ("group", "drop")], ids="-".join)
def test_equals_plain_python(
    parts: tuple[Part, ...], policy: tuple[str, str], fold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar_task, "FOLD_ROWS", fold)
    null_keys, null_timestamps = policy
    key, declared, said = ("case", "a", "b"), ("moment", "version"), ("no key", "no time")
    reduction = Reduction((parts,), SCHEMA, key, declared, null_keys, null_timestamps, said, "_tied", threads=1)
    seen: list[Totals] = []
    found: dict[int, list[str]] = {case.number: [] for case in CASES}
    for batch in survivors(reduction, 0, seen.append):
        assert batch.schema.equals(reduction.sent)
        for number, *row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            found[number].append(shown(row))
    wanted = {case.number: answer(case, null_keys=null_keys, null_timestamps=null_timestamps) for case in CASES}
    for number, expected in wanted.items():
        rows = [shown([*row, row[:2] in expected.tied]) for row in expected.latest.values()]
        assert sorted(found[number]) == sorted(rows), f"case {number}"
    no_time = sum(row[2] is None for case in CASES for row in case.rows)
    assert seen == [Totals(sum(part.rows for part in parts), sum(each.dropped for each in wanted.values()), no_time)]


def shown(row: Sequence[Any]) -> str:
    """Comparable although NaN is not equal to itself, and a moment has one zone or another."""
    return repr([*row[:2], row[2] and row[2].timestamp(), *row[3:]])


@pytest.mark.parametrize("fold", [1, 10, 1000])
def test_copies_of_a_record_are_no_tie_however_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: int
) -> None:
    monkeypatch.setattr(columnar_task, "READ_ROWS", 7)
    monkeypatch.setattr(columnar_task, "FOLD_ROWS", fold)
    rows = [("k", 1, 1, f"s{n % 3}") for n in range(50)] + [("j", 1, 1, "same")] * 50 + [("i", 1, 1, "x")]
    random.Random(1).shuffle(rows)
    path = Path(write_events(tmp_path / "in", rows)) / "part.parquet"
    tasks = ((Part(str(path), (0,), len(rows)),),)
    rule = (("id",), ("at", "version"), "drop", "oldest", ("no key", "no time"), "_tied")
    reduction = Reduction(tasks, pq.read_schema(path), *rule, threads=1)
    batches = survivors(reduction, 0, lambda _: None)
    found = sorted(tuple(row.values()) for batch in batches for row in batch.to_pylist())
    assert found == [("i", 1, 1, "x", False), ("j", 1, 1, "same", False), ("k", 1, 1, "s2", True)]


def test_large_batches_go_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar_task, "BATCH_BYTES", 100)
    path = Path(write_events(tmp_path / "in", [(f"k{n}", n, 1, "x" * 40) for n in range(20)])) / "part.parquet"
    rule = (("id",), ("at",), "drop", "oldest", ("no key", "no time"), "_tied")
    reduction = Reduction(((Part(str(path), (0,), 20),),), pq.read_schema(path), *rule, threads=1)
    found = list(survivors(reduction, 0, lambda _: None))
    assert max(batch.num_rows for batch in found) == 1
    assert sorted(at for batch in found for at in batch.column("at").to_pylist()) == list(range(20))


def test_no_records_are_none(tmp_path: Path) -> None:
    path = Path(write_events(tmp_path / "in", [])) / "part.parquet"
    rule = (("id",), ("at",), "drop", "oldest", ("no key", "no time"), "_tied")
    for parts in ((), (Part(str(path), (0,), 0),)):
        seen: list[Totals] = []
        reduction = Reduction((parts,), pq.read_schema(path), *rule, threads=1)
        assert list(survivors(reduction, 0, seen.append)) == []
        assert seen == [Totals(0, 0, 0)]
