"""Every command, address and file that the documents name is there and is spelt as it is."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from pipeline_tuner import __main__ as command_line
from pipeline_tuner.store import __main__ as store_command_line
from pipeline_tuner.store.schema import SCHEMA, metadata
from pipeline_tuner.study import Budget, StrategyName, Study, load_study
from pipeline_tuner.sweep import sweep_options

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
STUDIES: dict[str, Study] = {
    path.stem: load_study(path)
    for folder in (ROOT / "include" / "configs", ROOT / "docs" / "examples")
    for path in folder.glob("*.yaml")
    if path.name != "prices.yaml"
}
FOLDERS = [ROOT / name for name in ("plugins", "spark_jobs", "tests", "benchmarks", "dags", "docs", "include")]
FILES = {path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in folder.rglob("*.*")}
MADE_UP = re.compile(r"compress|NAME|^build/")
"""In paths of a job that a document only tells of, and of files that are made."""
MODULES = ("pipeline_tuner", "pipeline_jobs", "benchmarks", "tests")
PATHS = re.compile(r"^(?:[\w.-]+/)+[\w.-]+\.(?:py|yaml|md|toml|lock|css|js|html)$")


@dataclass(frozen=True)
class Code:
    """A piece of code in a document: a line of a block, or what stands between backticks."""

    page: str
    text: str
    is_line: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.text[:80]}"


def pieces() -> Iterator[Code]:
    """All code of all documents, without the lines' comments."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        indented = re.findall(r"^    (?=python )(.*)", text, re.MULTILINE)
        lines = [*(line for block in blocks for line in block.splitlines()), *indented]
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        spans = (" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose))
        yield from (Code(path.name, re.sub(r"\s{2,}#.*", "", line).strip(), True) for line in lines)
        yield from (Code(path.name, span, False) for span in spans)


CODE = list(dict.fromkeys(pieces()))


def found(pattern: str) -> list[tuple[Code, re.Match[str]]]:
    matches = [(code, match) for code in CODE for match in re.finditer(pattern, code.text)]
    assert matches, f"nothing in the documents is as {pattern}"
    return matches


def is_there(path: str) -> bool:
    """Whether the project has a file whose path is, or ends so."""
    return any(file == path or file.endswith(f"/{path}") for file in FILES)


def test_every_module_that_a_command_runs_is_there():
    for code, match in found(r"python -m ([a-z_]+(?:\.[a-z_]+)*)"):
        parts = match[1].split(".")
        if parts[0] in MODULES:
            path = "/".join(parts)
            assert is_there(f"{path}.py") or is_there(f"{path}/__main__.py"), str(code)


PARSERS: dict[str, Callable[[list[str]], object]] = {
    "pipeline_tuner": lambda words: command_line._parser().parse_args(words),
    "pipeline_tuner.store": lambda words: store_command_line._parser().parse_args(words),
}


@pytest.mark.parametrize("module", PARSERS)
def test_every_command_line_is_one_that_the_program_takes(module):
    for code, match in found(rf"python -m {re.escape(module)}(?= |$)([^>|]*)"):
        # A synopsis has its options in brackets, and a price is a number.
        words = shlex.split(re.sub(r"[\[\]]", "", match[1]).replace("PRICE", "1"))
        # What stands in a sentence names a command, often without what it needs.
        said, code_of_exit = _said(PARSERS[module], words if code.is_line else [*_commands(words), "--help"])
        assert not code_of_exit, f"{code}: {said}"
        if not code.is_line:
            assert all(word in said for word in words if word.startswith("--")), str(code)


def _said(parser: Callable[[list[str]], object], words: list[str]) -> tuple[str, object]:
    """What a program says to arguments, and the code that it ends with; None where it goes on."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            parser(words)
        except SystemExit as end:
            return said.getvalue(), end.code
    return "", None


def _commands(words: list[str]) -> list[str]:
    """The words of a command before what it is given."""
    return [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]


def test_every_target_of_make_is_there_with_its_job():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for code, match in found(r"\bmake (?:-s )?([a-z]+)((?: [A-Z]+=\S+)*)"):
        assert match[1] in targets, str(code)
        job = re.search(r"JOB=(\w+)", match[2])
        if job is None:
            continue
        assert (ROOT / "benchmarks" / f"{job[1]}.py").exists() if match[1] == "bench" else job[1] in STUDIES, str(code)


def test_every_sweep_of_a_study_takes_what_it_is_given():
    for _, match in found(r"airflow dags test (\w+)(?: -c '(\{.*?\})')?"):
        given = json.loads(match[2] or "{}")
        study = STUDIES.get(match[1].removeprefix("tune_"))
        if study is not None:
            sweep_options(study, "s", {key: value for key, value in given.items() if key != "also"})


def test_every_choice_of_a_sweep_is_one():
    lists = {name for study in STUDIES.values() for name in study.strategies}
    for code, match in found(r"-c '(\{.*?\})'"):
        given = json.loads(match[1])
        assert set(given) <= {*Budget.model_fields, "strategy", "goals", "size", "seed", "also"}, str(code)
        assert given.get("strategy", "adaptive") in {*get_args(StrategyName), *lists}, str(code)
    for code, match in found(r"^strategy: (\w+)$"):
        assert match[1] in {*get_args(StrategyName), *lists}, str(code)


def test_every_query_names_columns_that_are_there():
    for code, match in found(r"SELECT (.*?) FROM pipeline_tuner\.(\w+)"):
        table = metadata.tables[f"{SCHEMA}.{match[2]}"]
        named = [word.strip() for word in match[1].split(",") if re.fullmatch(r"\w+", word.strip())]
        assert not set(named) - set(table.columns.keys()), str(code)


def test_every_file_that_is_named_is_there():
    named = [code for code in CODE if PATHS.match(code.text) and not MADE_UP.search(code.text)]
    assert named
    assert not [str(code) for code in named if not is_there(code.text)]


def test_every_test_file_that_contributing_names_is_there_and_is_as_long_as_it_says():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tests = text.partition("## Tests")[2].partition("## Every module")[0]
    soak = tests.partition("`make soak` has")[2]
    for name in set(re.findall(r"`((?:\w+/)?test_[\w*]+\.py)`", tests)):
        files = list((ROOT / "tests").rglob(name))
        assert files, name
        is_long = any("mark.soak" in file.read_text(encoding="utf-8") for file in files)
        assert is_long or f"`{name}`" not in soak, f"{name} has no test of `make soak`"


def slug(heading: str) -> str:
    """A heading's address, as the site and GitHub make it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower())


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings."""
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


def test_every_link_leads_somewhere():
    lost = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([\w-]+))?\)", text):
            if "://" in target:
                continue
            page = path.parent / target if target else path
            if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
                lost.append(f"{path.name}: {target}#{anchor}")
    assert not lost
