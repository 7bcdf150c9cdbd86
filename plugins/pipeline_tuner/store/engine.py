"""The connection to the results database, and its errors in words that carry no password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2 import errors
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError

from pipeline_tuner.exceptions import InfrastructureError, OutdatedSchemaError

CONNECT_TIMEOUT_S = 10


def as_engine(url_or_engine: str | Engine, statement_timeout_s: float | None = None) -> Engine:
    """An engine for a URL such as `postgresql://user:password@host:5432/database`; an engine as it is.

    A statement of the engine's that takes or waits longer than `statement_timeout_s` fails.
    """
    if isinstance(url_or_engine, Engine):
        return url_or_engine
    scheme, separator, rest = url_or_engine.partition("://")
    if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise InfrastructureError(
            f"the results database must be PostgreSQL: the URL starts with {scheme!r}, must start with 'postgresql'"
        )
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "pipeline_tuner"}
    if statement_timeout_s is not None:
        arguments["options"] = f"-c statement_timeout={statement_timeout_s * 1000:.0f}"
    return create_engine(
        f"postgresql+psycopg2://{rest}", pool_pre_ping=True, hide_parameters=True, connect_args=arguments
    )


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn a database that is away or refuses into InfrastructureError; programming errors stay what they are."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise InfrastructureError(f"the results database can't be used: {_cause(error)}") from None
    except ProgrammingError as error:
        if isinstance(error.orig, errors.UndefinedTable | errors.InvalidSchemaName):
            raise OutdatedSchemaError("the results database has no tables yet: the first sweep makes them") from None
        if isinstance(error.orig, errors.UndefinedColumn):
            raise OutdatedSchemaError(
                "the results database has the tables of an older version: the next sweep brings them up to date, "
                "or python -m pipeline_tuner.store migrate"
            ) from None
        raise
    except DBAPIError as error:
        if error.connection_invalidated:
            raise InfrastructureError(f"the results database is unavailable: {_cause(error)}") from None
        raise


def _cause(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
