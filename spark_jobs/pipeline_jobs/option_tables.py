"""The generator of the option tables in docs/*.md, from what the jobs declare.

    PYTHONPATH=spark_jobs python -m pipeline_jobs.option_tables docs/migration.md ...

A table follows a line such as `<!-- options of pipeline_jobs.migration.options:Workload -->`.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from pipeline_jobs.options import Option, options_of

TABLE = re.compile(r"(<!-- options of ([\w.]+):(\w+) -->\n)\n*(?:\|[^\n]*\n)*\n*")
HEAD = ("| option | meaning | default |", "|---|---|---|")


def with_tables(text: str) -> str:
    """A page with its tables as the code declares them now."""
    return (
        TABLE.sub(lambda match: f"{match[1]}\n{options_table(_named(match[2], match[3]))}\n", text).rstrip("\n") + "\n"
    )


def options_table(kind: type | tuple[Option, ...]) -> str:
    """A dataclass's options, or some without one, as a table of Markdown."""
    options = kind if isinstance(kind, tuple) else options_of(kind)
    rows = (f"| `{each.name}` | {_meaning(each)} | {_default(each)} |" for each in options)
    return "\n".join((*HEAD, *rows)) + "\n"


def _named(module: str, name: str) -> type | tuple[Option, ...]:
    found: type | tuple[Option, ...] = getattr(importlib.import_module(module), name)
    return found


def _meaning(each: Option) -> str:
    words = [each.help]
    words += [f"one of {', '.join(f'`{choice}`' for choice in each.choices)}"] if each.choices else []
    words += [each.range] if each.range and (each.low or each.high) else []
    words += [f"in {each.unit}"] if each.unit else []
    return "; ".join(words)


def _default(each: Option) -> str:
    if each.is_needed:
        return "needed"
    if isinstance(each.default, bool):
        return f"`{str(each.default).lower()}`"
    if isinstance(each.default, tuple):
        return ", ".join(f"`{value}`" for value in each.default)
    return f"`{each.default}`" if each.default not in ("", {}) else ""


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
