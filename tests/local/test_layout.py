"""Where a checkout may lie, and what a command says that was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local import __main__ as local
from pipeline_tuner.local.airflow import Airflow
from pipeline_tuner.local.paths import CUT_OR_MATCHED, Layout, require_plain_path


@pytest.mark.parametrize("character", CUT_OR_MATCHED)
def test_a_folder_that_spark_can_not_name_is_refused_in_one_line(character: str):
    with pytest.raises(InfrastructureError, match="Move the checkout to a folder without") as refused:
        require_plain_path(Layout(Path(f"/home/ada/a {character} b")))
    assert len(str(refused.value).splitlines()) == 1


def test_blanks_and_letters_beyond_ascii_are_allowed():
    require_plain_path(Layout(Path("/home/ada/Prüfung № 1 größer (2) 100% a+b=c & d")))


@pytest.mark.parametrize("command", sorted(set(local.COMMANDS) - set(local.ENDING)))
def test_every_command_that_starts_something_refuses_such_a_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(Layout, "default", classmethod(lambda cls: cls(tmp_path / "one, two")))
    assert local.main([command]) == 1
    assert capsys.readouterr().err.startswith("Spark can't be given files below ")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_command_says_what_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(airflow: Airflow, job: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(local.COMMANDS, "demo", interrupted)
    assert local.main(["demo"]) == 130
    assert capsys.readouterr().err == "Stopped. Servers that were started go on: make stop ends them.\n"
