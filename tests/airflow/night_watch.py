"""Notifiers for the tests of the nights: what they are told is kept in this process."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk.bases.notifier import BaseNotifier

told: list[str] = []


def tell(*, message, alerts, context):
    """A function as notifier."""
    assert alerts
    assert context["ti"].task_id == "recommend"
    told.append(message)


def note(*, message, path, **_):
    """A notifier that writes a line to a file: for nights in other processes."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(message.replace("\n", " ") + "\n")


def note_failure(*, message, **_):
    """A notifier for failures."""
    told.append(message)


def fail(**_):
    """A notifier that is broken."""
    raise RuntimeError("the chat is away")


class Watch(BaseNotifier):
    """An Airflow notifier with a template."""

    template_fields = ("text",)

    def __init__(self, text):
        super().__init__()
        self.text = text

    def notify(self, context):
        told.append(self.text)
