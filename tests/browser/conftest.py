"""A real browser for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.browser.pages import DESK, opened

from pipeline_tuner.local.browser import find_browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """The machine's Chromium; without one the tests are skipped.

    It ends with its file: as long as it runs, this thread has a running event loop, and asyncio refuses another one.
    """
    program = find_browser()
    if program is None:
        pytest.skip("no chromium: `apt-get install chromium` (make test does it where it may)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium) -> Iterator:
    """A function that opens an address at a size and fails on what the browser complains of."""
    pages, complaints = [], []

    def open_one(address, size=DESK, theme="light"):
        pages.append(opened(chromium, address, size, theme, complaints))
        return pages[-1]

    yield open_one
    for page in pages:
        page.context.close()
    assert not complaints
