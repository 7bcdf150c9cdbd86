"""How people are notified of a night's alerts: the study's notifier, or the one of Airflow's configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline_tuner import settings
from pipeline_tuner.monitoring.nights import Notify
from pipeline_tuner.study import Study

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def notify(study: Study, words: Sequence[str], context: Context) -> bool:
    """Call the notifier with a night's alerts; returns whether somebody was told. A fault in it fails no night."""
    default = settings.notify()
    chosen = study.nights.notify or (Notify(call=default) if default else None)
    if chosen is None:
        log.info("No notifier is set (nights.notify in the study, [pipeline_tuner] notify): nobody is told")
        return False
    message = "\n".join([f"Pipeline Tuner, {study.study}:", *words])
    try:
        _call(chosen, message, list(words), context)
    except Exception:
        log.exception("The notifier %s failed: the alerts are on the page, but nobody was notified", chosen.call)
        return False
    return True


def _call(chosen: Notify, message: str, words: list[str], context: Context) -> None:
    from airflow.sdk.bases.notifier import BaseNotifier

    module, _, name = chosen.call.rpartition(".")
    target = getattr(import_module(module), name)
    if isinstance(target, type) and issubclass(target, BaseNotifier):
        extended: Any = {**context, "message": message, "alerts": words}
        target(**chosen.arguments)(extended)
    else:
        target(message=message, alerts=words, context=context, **chosen.arguments)
