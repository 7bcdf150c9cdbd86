"""Makes the screenshots of README and docs/page.md on planted sweeps: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
PAGES = {
    "list": "",
    "sweep": "sweeps/sweep-1",
    "study": "studies/orders",
    "parameters": "sweeps/sweep-1?tab=parameters",
}
THEMES = ("light", "dark")


def main() -> int:
    """Plant a database, look at the pages, write the screenshots."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tuner-screenshots-"))
    os.environ.setdefault("AIRFLOW_HOME", str(folder / "airflow"))
    from tests.browser.planted_page import planted_store, served_page
    from tests.temporary_postgres import temporary_postgres

    from pipeline_tuner.web import studies_page

    tomorrow = datetime.now(UTC).replace(hour=1, minute=0) + timedelta(days=1)
    with (
        temporary_postgres() as server,
        planted_store(server, "screenshots", folder / "reports") as store,
        patch.object(studies_page, "next_runs", lambda dag_ids: {"tune_orders": tomorrow}),
        served_page(store) as address,
    ):
        _take(address)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _take(address: str) -> None:
    from playwright.sync_api import sync_playwright
    from tests.browser.conftest import FLAGS
    from tests.browser.pages import DESK, drawn, opened

    from pipeline_tuner.local.browser import find_browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for theme in THEMES:
            for name, path in PAGES.items():
                page = drawn(opened(browser, f"{address}/{path}", DESK, theme, []))
                page.screenshot(path=IMAGES / f"{name}-{theme}.png")
                page.context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
