"""How the page is mounted in Airflow: its address, and the links and tabs in Airflow's own pages.

Every Airflow process loads plugins, only the API server shows pages: the app is made at its first request.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pipeline_tuner import settings

URL_PREFIX = settings.PAGE_PREFIX
NAME = settings.PAGE


class LazyPage:
    """An ASGI app that imports and builds the real one when it is first called."""

    @cached_property
    def _app(self) -> Any:
        from pipeline_tuner.web.app import create_app

        return create_app()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)


FASTAPI_APPS = [{"app": LazyPage(), "url_prefix": URL_PREFIX, "name": NAME}]

EXTERNAL_VIEWS = [
    {
        "name": NAME,
        "href": f"{URL_PREFIX.lstrip('/')}/",
        "destination": "nav",
        "category": "browse",
        "url_route": "pipeline_tuner",
    },
    {
        "name": "Study",
        "href": f"{URL_PREFIX.lstrip('/')}/dags/{{DAG_ID}}",
        "destination": "dag",
        "url_route": "pipeline_tuner_study",
    },
    {
        "name": "Sweep",
        "href": f"{URL_PREFIX.lstrip('/')}/runs/{{DAG_ID}}/{{RUN_ID}}",
        "destination": "dag_run",
        "url_route": "pipeline_tuner_sweep",
    },
    {
        "name": "Trial",
        "href": f"{URL_PREFIX.lstrip('/')}/tasks/{{DAG_ID}}/{{TASK_ID}}/{{MAP_INDEX}}/{{RUN_ID}}",
        "destination": "task_instance",
        "url_route": "pipeline_tuner_trial",
    },
]
