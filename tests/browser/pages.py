"""What the browser tests of the page share: sizes, opened pages, and what is seen without scrolling."""

from __future__ import annotations

from typing import Any

from tests.patience import PAGE_MS

DESK, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
SIZES = {"desk": DESK, "phone": PHONE}


def opened(browser: Any, address: str, size: dict[str, int], theme: str, complaints: list[str]) -> Any:
    """A page at an address; what the browser complains of is added to `complaints`."""
    context = browser.new_context(viewport=size)
    context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    page = context.new_page()
    page.set_default_timeout(PAGE_MS)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    return page


def drawn(page: Any) -> Any:
    """The page, once every chart on it is drawn."""
    # No `wait_for_function`: where it has to look twice it evaluates a text, which the page's own policy forbids.
    page.locator("[data-spec]:not([data-drawn])").first.wait_for(state="detached")
    return page


def height_of(page: Any) -> int:
    """How high the whole page is, in pixels, its charts drawn."""
    return int(drawn(page).evaluate("document.documentElement.scrollHeight"))


def is_seen(locator: Any, size: dict[str, int]) -> bool:
    """Whether all of it stands on the first screen."""
    box = locator.bounding_box()
    return bool(
        box["y"] >= 0 and box["y"] + box["height"] <= size["height"] and box["x"] + box["width"] <= size["width"]
    )
