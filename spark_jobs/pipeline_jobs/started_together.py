"""Two preparations side by side: what waits for a database beside what waits for the JVM."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

Here = TypeVar("Here")
There = TypeVar("There")


@contextmanager
def started_together(
    here: AbstractContextManager[Here], there: AbstractContextManager[There]
) -> Iterator[tuple[Here, There]]:
    """Enter both at the same time, `there` in a thread; both are left in this thread, `there` first.

    Where one can't be entered, the other is left again. Where neither can, the error is that of `there`.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        with ThreadPoolExecutor(1, "started-together") as pool:
            entering = pool.submit(theirs.enter_context, there)
            try:
                found = ours.enter_context(here)
            finally:
                other = entering.result()
        yield found, other
