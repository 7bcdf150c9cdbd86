"""How long the tests wait for what must come: it only bounds how long a failing test takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 1200.0
"""Many times what anything here takes where three test processes share two slow processors."""
PAGE_MS = 300_000
"""The same for what a page shows: the work that it shows is waited for before."""
T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str, every_s: float = 0.05) -> T:
    """What `condition` gives once that is true. Raises AssertionError, which names `what`, where it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(every_s)
    return found
