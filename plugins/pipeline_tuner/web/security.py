"""Who may see and do what on the page, and the token of its forms.

A plugin's app is anonymous in Airflow unless it asks: every route depends on `User`. Reading a study needs the
permission to read its DAG, acting on it the permission to trigger that DAG. A form carries a token that is signed
for its user, so that another site can't post in their name.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_view
from airflow.configuration import conf
from fastapi import Depends, HTTPException
from itsdangerous import BadSignature, URLSafeTimedSerializer

FORM_TOKEN_AGE_S = 12 * 3600

User = Annotated[BaseUser, Depends(get_user)]
"""The logged-in user; 401 without a login."""

page_access = Depends(requires_access_view(AccessView.PLUGINS))
"""What every route of the page needs beside its own checks."""


def readable_dags(user: BaseUser) -> Collection[str]:
    """The DAGs whose studies the user may see."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


def may_trigger(user: BaseUser, dag_id: str) -> bool:
    """Whether the user may act on the study of a DAG."""
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )


def require_read(user: BaseUser, dag_id: str) -> None:
    """Raise 403 where the user may not read the study's DAG."""
    if not get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=dag_id), user=user):
        raise HTTPException(403, f"You need the permission to read the DAG {dag_id}")


def require_act(user: BaseUser, dag_id: str, form_token: str) -> None:
    """Raise 403 unless the form is this user's own and they may trigger the study's DAG."""
    if not _is_own_form(user, form_token):
        raise HTTPException(403, "This form is not yours or too old: open the page again and repeat")
    if not may_trigger(user, dag_id):
        raise HTTPException(403, f"You need the permission to trigger the DAG {dag_id}")


def form_token(user: BaseUser) -> str:
    """A token for the forms of one user."""
    return _signer().dumps(str(user.get_id()))


def _is_own_form(user: BaseUser, token: str) -> bool:
    try:
        signed_for = _signer().loads(token, max_age=FORM_TOKEN_AGE_S)
    except BadSignature:
        return False
    return hmac.compare_digest(str(signed_for), str(user.get_id()))


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="pipeline-tuner-form")
