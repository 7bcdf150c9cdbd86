"""Two context managers entered at once are left like nested ones, whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline_jobs.started_together import started_together


class Log:
    """What was entered and left, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.both = threading.Barrier(2)

    @contextmanager
    def step(self, name: str, *, fails: bool = False, meets: bool = True) -> Iterator[str]:
        if meets:
            self.both.wait()  # neither gets past while the other is not being entered
        if fails:
            raise ValueError(name)
        try:
            yield name
        finally:
            self.said.append(f"left {name}")


@pytest.fixture
def log() -> Log:
    return Log()


def test_both_are_entered_at_once_and_left_in_order(log: Log) -> None:
    with started_together(log.step("session"), log.step("tables")) as found:
        assert found == ("session", "tables")
        assert log.said == []
    assert log.said == ["left tables", "left session"]


def test_an_error_inside_leaves_both(log: Log) -> None:
    with pytest.raises(KeyError), started_together(log.step("session"), log.step("tables")):
        raise KeyError
    assert log.said == ["left tables", "left session"]


@pytest.mark.parametrize(
    ("session_fails", "tables_fail", "raised", "left"),
    [
        (True, False, "session", ["left tables"]),
        (False, True, "tables", ["left session"]),
        (True, True, "tables", []),
    ],
)
def test_where_one_cannot_be_entered_the_other_is_left_again(
    log: Log, session_fails: bool, tables_fail: bool, raised: str, left: list[str]
) -> None:
    session, tables = log.step("session", fails=session_fails), log.step("tables", fails=tables_fail)
    with pytest.raises(ValueError, match=raised), started_together(session, tables):
        raise AssertionError("entered")
    assert log.said == left
