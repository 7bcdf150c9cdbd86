"""Unknown names of options and parameters: refused, with the nearest known one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pipeline_jobs.contract import BadConfigurationError


def refuse_unknown(names: Iterable[object], known: Sequence[str], what: str) -> None:
    """Raises BadConfigurationError naming each unknown option with the nearest known one."""
    words = unknown_words(names, known)
    if words:
        raise BadConfigurationError(f"{what} {words}")


def unknown_words(names: Iterable[object], known: Sequence[str]) -> str:
    """Which names are none, each with the nearest known one; empty where all are known."""
    problems = []
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, 1, 0.6)
            problems.append(f"{name} (did you mean {near[0]}?)" if near else str(name))
    return f"{', '.join(problems)}: no such option; there are {', '.join(known)}" if problems else ""
