"""Studies that sweeps stored, as the page keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.unit.planted import planted_study

from pipeline_tuner.web import in_production
from pipeline_tuner.web.in_production import StoredStudies

DEFINITION = planted_study().model_dump(mode="json")


class Lists:
    """The part of the results database that is asked, and what it was asked for."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self.stored, self.asked = stored, list[str]()

    def definitions(self, sweep_ids: Sequence[str]) -> dict[str, Any]:
        self.asked += sweep_ids
        return {sweep_id: self.stored[sweep_id] for sweep_id in sweep_ids if sweep_id in self.stored}


def test_each_definition_is_read_once_and_one_that_nobody_can_read_is_left_out() -> None:
    lists, kept = Lists({"a": DEFINITION, "old": {"study": "of another time"}}), StoredStudies()
    for _ in range(2):
        assert {name: study.study for name, study in kept.of(["a", "old"], lists).items()} == {"a": "planted"}
    assert lists.asked == ["a", "old"]


def test_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_production, "MAX_KEPT", 2)
    lists, kept = Lists(dict.fromkeys("abc", DEFINITION)), StoredStudies()
    assert set(kept.of(["a", "b", "c"], lists)) == {"a", "b", "c"}, "what was asked for is there, however much it is"
    kept.of(["b", "c"], lists)
    assert lists.asked == ["a", "b", "c"]
    kept.of(["a"], lists)
    assert lists.asked == ["a", "b", "c", "a"]
