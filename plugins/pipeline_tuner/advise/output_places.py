"""The warning in a study that its trials write where production does, and the line that gives them another place."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from pipeline_tuner.wording import listed

MAX_NAMED = 3
"""Places that are named."""
SCHEMES = ("file://", "file:")


def places_words(outputs: Sequence[str]) -> str:
    """The places, a few of them by name."""
    more = len(outputs) - MAX_NAMED
    return listed([*outputs[:MAX_NAMED], f"{more} more"] if more > 0 else list(outputs))


def own_place_words(outputs: Sequence[str], arguments: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Comments at the top of a study; none where the log names no place that the run wrote.

    `arguments` are those of each of the workload's sizes.
    """
    if not outputs:
        return
    yield "#"
    yield from _wrapped(
        f"EVERY TRIAL WRITES WHERE THE RUN DID: {places_words(outputs)}. Nothing keeps trials and production apart: "
        "before the sweep give the trials a place of their own, or be sure that writing it again does no harm."
    )
    moved = {size: [_moved(each, outputs) for each in given] for size, given in arguments.items()}
    if moved == {size: list(given) for size, given in arguments.items()}:
        yield from _wrapped(
            "No argument of the program names such a place: it is in the program, or in a file that the program reads."
        )
    else:
        yield "# The program takes it as an argument; this line in place of its own gives trials another one:"
        yield f"#     arguments: {json.dumps(moved if len(moved) > 1 else next(iter(moved.values())))}"
    yield "#"


def _moved(argument: str, outputs: Sequence[str]) -> str:
    """`/data/out` as `/data/out_of_trials`; what lies below an argument's place moves with it."""
    name, equals, value = argument.partition("=")
    start, place = (f"{name}=", value) if equals and value else ("", argument)
    bare = _without_scheme(place).rstrip("/")
    is_place = len(bare) > 1 and any(f"{_without_scheme(each)}/".startswith(f"{bare}/") for each in outputs)
    return f"{start}{place.rstrip('/')}_of_trials" if is_place else argument


def _without_scheme(place: str) -> str:
    for scheme in SCHEMES:
        if place.startswith(scheme):
            return place.removeprefix(scheme)
    return place


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
