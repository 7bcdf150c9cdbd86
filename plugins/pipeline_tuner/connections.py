"""Airflow connections and their passwords, as jobs (environment variables) and the store (an open Store) take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from pipeline_tuner import settings
from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.store import Store

SCHEMES = {"postgres": "postgresql", "mongo": "mongodb"}
"""Airflow's connection types whose URIs start differently."""


@dataclass(frozen=True)
class JobConnections:
    """A job's connections: role to variable, which goes into its configuration, and variable to URI, a secret."""

    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def job_connections(roles: Mapping[str, str]) -> JobConnections:
    """The connections for a job's roles (`source`: `warehouse_default`). Raises InfrastructureError if missing."""
    variables = {role: f"PIPELINE_TUNER_{role.upper()}_URI" for role in roles}
    uris = {variables[role]: uri_of(get_connection(conn_id, f"role {role!r}")) for role, conn_id in roles.items()}
    return JobConnections(variables, uris)


def open_store(conn_id: str = settings.RESULTS_CONN_ID, *, statement_timeout_s: float | None = None) -> Store:
    """The results database behind an Airflow connection. Raises InfrastructureError where there is none."""
    uri = uri_of(get_connection(conn_id, "the results database"))
    return Store(uri, statement_timeout_s=statement_timeout_s)


def get_connection(conn_id: str, purpose: str) -> Connection:
    """An Airflow connection. Raises InfrastructureError that says what it is wanted for."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise InfrastructureError(
            f"there is no Airflow connection {conn_id!r} for {purpose}: make it under Admin > Connections or as "
            f"AIRFLOW_CONN_{conn_id.upper()}"
        ) from None


def uri_of(connection: Connection) -> str:
    """A connection as `postgresql://user:password@host:port/database?option=value`: a secret."""
    scheme = SCHEMES.get(connection.conn_type or "", connection.conn_type or "")
    login = quote(connection.login or "", safe="")
    if connection.password:
        login += ":" + quote(connection.password, safe="")
    host = connection.host or ""
    address = f"[{host}]" if ":" in host else host
    if connection.port:
        address += f":{connection.port}"
    options = {key: value for key, value in connection.extra_dejson.items() if isinstance(value, str | int | float)}
    query = f"?{urlencode(options)}" if options else ""
    return f"{scheme}://{login + '@' if login else ''}{address}/{quote(connection.schema or '', safe='')}{query}"
