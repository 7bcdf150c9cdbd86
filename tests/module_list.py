"""The list of every module in CONTRIBUTING.md, written by `python -m tests.module_list` from their first lines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
HEADING = "## Every module in one line"
NOTE = "Made by `python -m tests.module_list` from the first sentences of the modules themselves; a test holds it."
FOLDERS = ("plugins", "spark_jobs", "benchmarks")
COMMENTS = {".html": r"\{#-? (.+?) -?#\}", ".js": r"// ((?:.+\n// )*.+)", ".css": r"/\* (.+?) \*/"}
"""How a file that is no Python begins."""
SUFFIXES = (".py", *COMMENTS)


def with_list(page: str) -> str:
    """The page with its list as it is to be; the list is its last section."""
    return f"{page.partition(HEADING)[0].rstrip()}\n\n{HEADING}\n\n{NOTE}\n\n{module_list()}\n"


def module_list() -> str:
    """A table for each folder, with a row for each of its modules, templates and scripts."""
    return "\n\n".join(_table(folder) for folder in _folders())


def first_line(path: Path) -> str:
    """What a file says of itself first: a module's docstring up to its first blank line, another file's comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        found = re.match(COMMENTS[path.suffix], text, re.DOTALL if path.suffix == ".html" else 0)
        said = found[1].replace("\n// ", " ") if found else ""
    return " ".join(said.partition("\n\n")[0].split())


def listed_files() -> list[Path]:
    """All files of the list. A package's own docstring heads its table."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES]
    return [path for path in files if "versions" not in path.parts and "__pycache__" not in path.parts]


def _folders() -> list[Path]:
    return list(dict.fromkeys(path.parent for path in listed_files() if path.name != "__init__.py"))


def _table(folder: Path) -> str:
    return "\n".join(_lines(folder))


def _lines(folder: Path) -> Iterator[str]:
    package = folder / "__init__.py"
    yield f"**`{folder.relative_to(ROOT).as_posix()}/`** {first_line(package) if package.exists() else ''}".rstrip()
    yield from ("", "| module | what it holds |", "|---|---|")
    for path in listed_files():
        if path.parent == folder and path != package:
            name = path.stem if path.suffix == ".py" else path.name
            yield f"| `{name}` | {first_line(path).replace('|', '&#124;')} |"


if __name__ == "__main__":
    PAGE.write_text(with_list(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
