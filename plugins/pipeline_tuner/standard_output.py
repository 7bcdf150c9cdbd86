"""The standard output of a command whose reader may have gone (`| head`): what it does besides is done all the same."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Print a text. Where nobody reads any more, this text and all that follow go nowhere."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        leave_output()


def leave_output() -> None:
    """From here on nothing is printed: not even Python's own flush at its end finds the pipe again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
