"""Markdown: escaping of text that others wrote (labels, values, error messages), and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!$&])")


def escaped(text: object) -> str:
    """One line in which no character acts as Markdown or HTML."""
    return SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; cells are escaped. Empty where there are no rows."""
    if not rows:
        return ""
    lines = [_line(header), _line(["---"] * len(header), raw=True), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[object], *, raw: bool = False) -> str:
    return f"| {' | '.join(str(cell) if raw else escaped(cell) for cell in cells)} |"
