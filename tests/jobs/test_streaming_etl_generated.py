"""Generated loads: mappings x BSON types x forms of a file, exact in every row, or the document is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.jobs.streaming_etl_generated import Generated, Node, cases, rows_of
from tests.jobs.test_streaming_etl_load import query
from tests.jobs.test_streaming_etl_types import READ, same

from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.load import Target, load
from pipeline_jobs.streaming_etl.mapping import parse_mapping


def differing(uri: str, folder: Path, count: int, seed: int) -> list[str]:
    """The loads that came out otherwise than told, with what differs."""
    wrong = []
    for case in cases(count, seed):
        try:
            check(uri, folder, case)
        except Exception as error:
            wrong.append(f"case {case.number} {case.form} {case.settings}: {case.mapping}\n  {error!r:.900}")
    return wrong


def check(uri: str, folder: Path, case: Generated) -> None:
    schema = f"case_{case.number}"
    target = Target(uri, parse_mapping(case.mapping), schema)
    path = case.write(folder / "things")
    _, totals = load(BsonFile(path, "things"), target, case.settings)
    _, refused = rows_of(case)
    assert (totals.loaded, totals.rejected, totals.replaced) == (len(case.documents) - len(refused), len(refused), 0)
    letters = {
        bytes(raw): reason for raw, reason in query(uri, f"SELECT document, reason FROM {schema}.etl_dead_letter")
    }
    for number, raw in enumerate(case.raws):
        assert (raw in letters) == (number in refused), case.documents[number]
        assert number not in refused or letters[raw] in refused[number], (letters[raw], refused[number])
    check_tables(uri, schema, case)
    query(uri, f"DROP SCHEMA {schema} CASCADE")


def check_tables(uri: str, schema: str, case: Generated) -> None:
    rows, _ = rows_of(case)
    numbers = order_of_keys(uri, case)
    for node in nodes(case.root):
        check_table(uri, schema, case, node, rows.get(node.name, []), numbers)


def nodes(node: Node) -> list[Node]:
    return [node, *(each for child in node.below for each in nodes(child))]


def order_of_keys(uri: str, case: Generated) -> dict[str, int]:
    """The documents' numbers by their keys as PostgreSQL writes them."""
    key = {"bytea": lambda k: "\\x" + bytes(k).hex(), "uuid": lambda k: str(k.as_uuid())}.get(case.key, str)
    return {key(document["_id"]): number for number, document in enumerate(case.documents)}


def check_table(uri: str, schema: str, case: Generated, node: Node, wanted: list[Any], numbers: dict[str, int]) -> None:
    places = [READ.get(place.kind, "{}").format(place.name) for place in node.places]
    ordinals = ordinals_of(case.root, node.name)
    listed = ", ".join(["id::text", *ordinals, *places])
    found = [(numbers[row[0]], *row[1:]) for row in query(uri, f"SELECT {listed} FROM {schema}.{node.name}")]
    keys = 1 + len(ordinals)
    found, wanted = (sorted(rows, key=lambda row: row[:keys]) for rows in (found, wanted))
    assert [row[:keys] for row in found] == [row[:keys] for row in wanted], node.name
    for row, told in zip(found, wanted, strict=True):
        for place, value, right in zip(node.places, row[keys:], told[keys:], strict=True):
            is_same = value is None if right is None else value is not None and same(place.kind, value, right)
            assert is_same, f"{node.name}.{place.name} {place.kind}: {value!r}, must be {right!r}"


def ordinals_of(node: Node, name: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The ordinals of a table's key."""
    own = (*above, f"{node.name}_no") if node.is_array else above
    if node.name == name:
        return own
    return next((found for child in node.below if (found := ordinals_of(child, name, own))), ())


def test_generated_loads_are_exact_or_refused(database: str, tmp_path: Path) -> None:
    wrong = differing(database, tmp_path, 30, seed=1)
    assert not wrong, "\n".join(wrong)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_thousand_generated_loads(database: str, tmp_path: Path, seed: int) -> None:
    wrong = differing(database, tmp_path, 100, seed)
    assert not wrong, "\n".join(wrong)
