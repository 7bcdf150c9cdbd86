"""The table in the documentation is the table that is tried."""

from __future__ import annotations

from pathlib import Path

from tests.environments.downloads import REFUSED, WORKING
from tests.environments.running import RUNNING

PAGE = Path(__file__).resolve().parents[2] / "docs" / "environments.md"


def test_every_row_is_in_the_documentation_with_when_it_is_tried():
    written = PAGE.read_text(encoding="utf-8").splitlines()
    downloads = [_row(row.name, packages=row.in_short, jars=row.jars_too) for row in WORKING]
    refused = [_row(row.name, packages=row.in_short, jars=row is REFUSED[0]) for row in REFUSED]
    running = [f"| {row.name} | yes |" if row.in_short else f"| {row.name} | |" for row in RUNNING]
    assert [line for line in (*downloads, *refused, *running) if line not in written] == []


def _row(name: str, *, packages: bool, jars: bool) -> str:
    when = ", ".join(word for word, is_so in (("packages", packages), ("jars", jars)) if is_so)
    return f"| {name} | {when} |" if when else f"| {name} | |"
