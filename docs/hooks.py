"""Pages that MkDocs makes from the studies themselves: their parameters, goals, presets and nights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from pipeline_tuner.dag_docs import tuning_doc
from pipeline_tuner.study import Study, load_study

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the reference of the studies that come with the project."""
    studies = [path for path in sorted((ROOT / "include" / "configs").glob("*.yaml")) if path.name != "prices.yaml"]
    pages = "\n\n".join(_page(load_study(path)) for path in studies)
    head = "# Parameters and goals of the studies\n\nMade from `include/configs/*.yaml`.\n\n"
    files.append(File.generated(config, "parameters.md", content=head + pages + "\n"))
    return files


def _page(study: Study) -> str:
    _heading, *rest = tuning_doc(study).split("\n\n")
    presets = "\n".join(f"- `{name}`: {_settings(values)}" for name, values in study.presets.items())
    nights = f"Nights: `{study.schedule}` UTC, {study.nights.minutes:g} minutes at most." if study.schedule else ""
    # The last part of a DAG's text says where Airflow keeps the answer: of no use here.
    return "\n\n".join([f"## {study.study}", *rest[:-1], f"Presets (control: `{study.control}`):", presets, nights])


def _settings(values: Any) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "all defaults"
