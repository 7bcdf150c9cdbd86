"""Templates and their filters, with escaping always on, and the results database behind the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from pipeline_tuner import settings
from pipeline_tuner.connections import open_store
from pipeline_tuner.metric_names import column_title, grouped_metrics, metric_name, metric_order, metric_words
from pipeline_tuner.production import Source
from pipeline_tuner.store import Store
from pipeline_tuner.store.page_reads import PageReads
from pipeline_tuner.web.charts_script import script_name
from pipeline_tuner.wording import interval_words, listed, number, percent, regret_words, second_words, without_paths

SOURCE_WORDS = {
    Source.PROMOTED: "promoted",
    Source.RECOMMENDED: "as recommended",
    Source.FALLBACK: "the fallback",
    Source.GIVEN: "nothing valid is decided",
}
NAMES_OF_A_ROW = ("id", "number", "name", "state")


def source_words(source: Source) -> str:
    """Where a production run's configuration comes from."""
    return SOURCE_WORDS.get(source, str(source))


@cache
def results_store() -> Store:
    """The results database, on one engine for the life of the API server."""
    return open_store()


@cache
def page_reads() -> PageReads:
    """The page's queries."""
    return PageReads(results_store())


def root_of(request: Request) -> str:
    """Where the page is mounted, behind whatever proxy: the start of all its addresses."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def airflow_of(request: Request) -> str:
    """The start of the addresses of Airflow's own pages: empty, or the path of its `base_url`."""
    return root_of(request).removesuffix(settings.PAGE_PREFIX)


def render(request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page from a template. Every value is escaped; nothing in a template says otherwise."""
    text = (
        _environment()
        .get_template(template)
        .render(
            root=root_of(request),
            airflow=airflow_of(request),
            now=datetime.now(UTC),
            charts_script=script_name(),
            **values,
        )
    )
    return HTMLResponse(text, status_code=status_code)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        metric=metric_words,
        metric_title=_metric_title,
        metric_groups=grouped_metrics,
        column=column_title,
        columns=_columns,
        when=_when,
        day=_day,
        seconds=second_words,
        settings=_settings,
        json=_json,
        plain=_plain,
        interval=interval_words,
        regret=regret_words,
        source=source_words,
        compact=_compact,
        studies=_studies,
        share=percent,
        listed=listed,
    )
    return environment


def _studies(count: int) -> str:
    return f"{count:,} {'study' if count == 1 else 'studies'}"


def _metric_title(metric: str) -> str:
    return metric_name(metric).title


def _plain(value: Any) -> str:
    """A value as text without the places of files on this machine."""
    return without_paths(str(value))


def _when(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else ""


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def _settings(configuration: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in (configuration or {}).items())


def _json(value: Any) -> str:
    return without_paths(json.dumps(value, indent=1, sort_keys=True, default=str))


def _columns(row: Mapping[str, Any]) -> list[str]:
    """The columns of a job's evidence: what a row is of comes first; the database sorts the names by length."""
    return sorted(
        row, key=lambda name: (NAMES_OF_A_ROW.index(name) if name in NAMES_OF_A_ROW else 9, metric_order(name))
    )


def _compact(specification: Any) -> str:
    return json.dumps(specification, separators=(",", ":"))


def analysis_html(
    markdown: str,
    charts: Collection[str],
    address: str,
    elsewhere: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> Markup:
    """The written analysis as HTML. Raw HTML and links to scripts in it stay text.

    :param charts: The names of charts that are kept; they are shown from `address`, others are left out.
    :param elsewhere: Where the page itself draws a chart, by the start of its name: a link leads there.
    :param links: Where the page shows a file that the text links, by the file's name.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", _chart_rule(charts, address, elsewhere or {}))
    parser.add_render_rule("link_open", _link_rule(links or {}))
    # markdown-it escapes text and, with html off, writes only its own tags: safe to mark as HTML.
    return Markup(parser.render(markdown))


def _link_rule(links: Mapping[str, str]) -> Callable[..., str]:
    def rule(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        target = str(tokens[index].attrs.get("href", ""))
        return f'<a href="{escape(links.get(target, target))}">'

    return rule


def _chart_rule(charts: Collection[str], address: str, elsewhere: Mapping[str, str]) -> Callable[..., str]:
    def rule(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        name, words = Path(str(tokens[index].attrs.get("src", ""))).stem, escape(tokens[index].content)
        if name not in charts:
            return ""
        place = next((where for start, where in elsewhere.items() if name.startswith(start)), None)
        if place is not None:
            return f'<a href="{escape(place)}">Chart: {words}</a>'
        variants = [("light", name)] + [("dark", f"{name}-dark")] * (f"{name}-dark" in charts)
        shown = "plot only-{theme}" if len(variants) > 1 else "plot"
        return "".join(
            f'<img class="{shown.format(theme=theme)}" alt="{words}"'
            f' src="{escape(address)}/{escape(quote(variant))}.svg">'
            for theme, variant in variants
        )

    return rule
