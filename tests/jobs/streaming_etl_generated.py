"""Generated mappings with documents of every BSON type, and which rows they must become, told without the kernel."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
from bson import ObjectId
from tests.jobs.streaming_etl_oracle import EDGES, OPTIONS, TYPES, Refused, expected, values
from tests.jobs.test_streaming_etl_dump import OTHERS, archive

from pipeline_jobs.streaming_etl.settings import Settings

SCALARS = {"scalars": "text", "short scalars": "varchar(12)"}
FORMS = ("plain", "gzip", "archive", "archive, gzip")
KEYS: dict[str, tuple[Any, ...]] = {
    "bigint": tuple(range(-20, 20)),
    "text": ("", "a", "A", "é", "e\u0301", "a ", " a", "\t", "🙂", *(ObjectId(bytes([n] * 12)) for n in range(9))),
    "date": tuple(f"2024-02-{day:02}" for day in range(1, 30)),
    "uuid": tuple(bson.Binary(bytes([n] * 16), 4) for n in range(40)),
    "bytea": tuple(bytes([n]) * (n % 3 + 1) for n in range(40)),
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A column: where its value stands below its table's document, and what it must be."""

    name: str
    path: tuple[str, ...]
    kind: str
    is_required: bool

    @property
    def spec(self) -> dict[str, Any]:
        """As a mapping says it."""
        kind = SCALARS.get(self.kind, self.kind) + (" not null" if self.is_required else "")
        takes = {"takes": "scalars"} if self.kind in SCALARS else {}
        return {"path": ".".join(self.path) or ".", "type": kind, **takes}


@dataclass(frozen=True)
class Node:
    """A table: the root, a row an item of an array, or a row where an embedded document exists."""

    name: str
    field: str
    is_array: bool
    places: tuple[Place, ...]
    below: tuple[Node, ...] = ()

    @property
    def takes_items(self) -> bool:
        """Whether its array holds plain values."""
        return any(not place.path for place in self.places)


@dataclass(frozen=True)
class Generated:
    """One load."""

    number: int
    key: str
    root: Node
    documents: tuple[dict[str, Any], ...]
    form: str
    settings: Settings

    @property
    def mapping(self) -> dict[str, Any]:
        """The mapping's document."""
        tables: dict[str, Any] = {}
        _describe(self.root, None, tables)
        tables[self.root.name] |= {"key": {"column": "id", "path": "_id", "type": self.key}}
        return {"collection": "things", "tables": tables}

    @property
    def raws(self) -> list[bytes]:
        return [bson.encode(document) for document in self.documents]

    def write(self, path: Path) -> Path:
        """The documents as a file of the case's form."""
        raws = self.raws
        content = (
            archive({"shop.others": OTHERS[:50], "shop.things": raws}) if "archive" in self.form else b"".join(raws)
        )
        path.write_bytes(gzip.compress(content, 1) if "gzip" in self.form else content)
        return path


def _describe(node: Node, parent: str | None, tables: dict[str, Any]) -> None:
    tables[node.name] = {"columns": {place.name: place.spec for place in node.places}}
    if parent is not None:
        tables[node.name] |= {"parent": parent, "from": node.field}
        tables[node.name] |= {"ordinal": f"{node.name}_no"} if node.is_array else {}
    for child in node.below:
        _describe(child, node.name, tables)


def cases(count: int, seed: int) -> Iterator[Generated]:
    """Loads, each with tables of its own."""
    rng = random.Random(seed)
    drawn = values(len(EDGES) + 400, rng)
    for number in range(count):
        yield _case(rng, number, drawn)


def _case(rng: random.Random, number: int, drawn: Sequence[Any]) -> Generated:
    key = rng.choice(list(KEYS))
    root = _node(rng, "things", 0, is_array=False)
    chosen = rng.sample(KEYS[key], rng.choice((0, 1, 3, 12)))
    documents = tuple({"_id": each, **_document(rng, root, drawn)} for each in chosen)
    settings = Settings(
        batch_size=rng.choice((1, 2, 5, 500)),
        worker_num=rng.choice((1, 2)),
        manager_worker_num=rng.choice((1, 3)),
        transform_concurrency=rng.choice((1, 1, 2)),
    )
    decoded = tuple(bson.decode(bson.encode(document), OPTIONS) for document in documents)
    return Generated(number, key, root, decoded, rng.choice(FORMS), settings)


def _node(rng: random.Random, name: str, depth: int, *, is_array: bool) -> Node:
    if is_array and rng.random() < 0.3:
        return Node(name, name, True, (Place("item", (), rng.choice(TYPES), False),))
    places = tuple(
        Place(f"c{n}", rng.choice(((f"c{n}",), ("deep", f"c{n}"), ("deep", "er", f"c{n}"))), kind, rng.random() < 0.1)
        for n, kind in enumerate(rng.choices(TYPES, k=rng.randint(1, 3)))
    )
    below = tuple(
        _node(rng, f"{name}_{n}", depth + 1, is_array=rng.random() < 0.6)
        for n in range(rng.choice((0, 0, 1, 2)) if depth < 3 else 0)
    )
    return Node(name, name, is_array, places, below)


def _document(rng: random.Random, node: Node, drawn: Sequence[Any]) -> dict[str, Any]:
    """A document for a table: mostly one that fits, with fields that nobody maps, in any order."""
    found: dict[str, Any] = {}
    for place in node.places:
        if rng.random() < 0.93:
            _put(found, place.path, _value(rng, place.kind, drawn))
    for child in node.below:
        if rng.random() < 0.85:
            found[child.field] = _below(rng, child, drawn)
    if rng.random() < 0.3:
        found["more"] = rng.choice(drawn)
    listed = list(found.items())
    rng.shuffle(listed)
    return dict(listed)


def _below(rng: random.Random, child: Node, drawn: Sequence[Any]) -> Any:
    if rng.random() < 0.03:
        return rng.choice(drawn)
    if not child.is_array:
        return _document(rng, child, drawn)
    count = rng.choice((0, 1, 2, 4))
    if child.takes_items:
        return [_value(rng, child.places[0].kind, drawn) for _ in range(count)]
    return [_document(rng, child, drawn) for _ in range(count)]


def _put(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value


def _value(rng: random.Random, kind: str, drawn: Sequence[Any]) -> Any:
    """One that fits nearly always; else a document would hardly ever."""
    for _ in range(40):
        value = rng.choice(drawn)
        if rng.random() < 0.02 or not isinstance(expected(kind, value), Refused):
            return value
    return None


# What must come of it.


class UnfitError(Exception):
    """A document does not fit; its argument is the reason."""


Row = tuple[Any, ...]


def rows_of(case: Generated) -> tuple[dict[str, list[Row]], dict[int, set[str]]]:
    """The rows of each table, behind the document's number and ordinals; and why documents must be refused."""
    rows: dict[str, list[Row]] = {}
    refused: dict[int, set[str]] = {}
    for number, document in enumerate(case.documents):
        reasons: set[str] = set()
        own: dict[str, list[Row]] = {}
        _walk(case.root, document, (number,), own, reasons)
        if reasons:
            refused[number] = reasons
            continue
        for name, found in own.items():
            rows.setdefault(name, []).extend(found)
    return rows, refused


def _walk(node: Node, document: Any, key: Row, rows: dict[str, list[Row]], reasons: set[str]) -> None:
    row = tuple(_column(place, document, reasons) for place in node.places)
    rows.setdefault(node.name, []).append((*key, *row))
    for child in node.below if isinstance(document, dict) else ():
        found = document.get(child.field)
        if found is None:
            continue
        if not isinstance(found, list if child.is_array else dict):
            reasons.add("wrong_type")
        elif not child.is_array:
            _walk(child, found, key, rows, reasons)
        else:
            for place, item in enumerate(found, start=1):
                if not child.takes_items and not isinstance(item, dict):
                    reasons.add("wrong_type")
                _walk(child, item, (*key, place), rows, reasons)


def _column(place: Place, document: Any, reasons: set[str]) -> Any:
    value = document
    for name in place.path:
        if value is not None and not isinstance(value, dict):
            reasons.add("wrong_type")
            return None
        value = None if value is None else value.get(name)
    wanted = expected(place.kind, value)
    if isinstance(wanted, Refused):
        reasons.add(wanted.reason)
    elif wanted is None and place.is_required:
        reasons.add("missing")
    return wanted
