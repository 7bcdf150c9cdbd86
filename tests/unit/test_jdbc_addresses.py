"""One URI, two drivers: JDBC must come to the server, the database and the schemas that libpq comes to."""

from __future__ import annotations

import pytest

from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.postgres import address, jdbc_connection

SESSION = {"options": "-c row_security=off"}


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("postgresql://u@h/d", "//h:5432/d?"),
        ("postgresql://u@[::1]:5/d", "//[::1]:5/d?"),
        ("postgresql://u@h/a%20b%3Fc", "//h:5432/a%20b%3Fc?"),
        ("postgresql://u@h1:1,h2:2/d", "//h1:1,h2:2/d?"),
        ("postgresql://u@h1,h2/d?target_session_attrs=read-write", "//h1:5432,h2:5432/d?targetServerType=primary&"),
        ("postgresql:///d?host=h&port=7&user=u&password=x", "//h:7/d?"),
        ("postgresql://u@h/d?sslmode=require&sslrootcert=/ca", "//h:5432/d?sslmode=require&sslrootcert=%2Fca&"),
    ],
)
def test_both_drivers_come_to_one_database(uri: str, url: str) -> None:
    found = jdbc_connection(uri, SESSION)
    assert found["url"] == f"jdbc:postgresql:{url}options=-c%20row_security%3Doff"
    assert found["user"] == "u"


def test_what_a_uri_sets_for_a_session_holds_for_jdbc_too() -> None:
    """A search path was libpq's alone: one driver looked at another table than the other read."""
    found = jdbc_connection("postgresql://u:p%40@h/d?options=-csearch_path%3Dapp", SESSION)
    assert found["url"].endswith("?options=-csearch_path%3Dapp%20-c%20row_security%3Doff")
    assert found["password"] == "p@"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("postgresql:///d?host=/var/run/postgresql", "name host and port"),
        ("postgresql:///?service=prod", "name host and port"),
        ("postgresql://u:secret@h/d?sslmod=require", "is no URI of PostgreSQL"),
        ("jdbc:mysql://u:secret@h/d", "is no URI of PostgreSQL"),
    ],
)
def test_what_only_libpq_can_reach_is_refused(uri: str, words: str) -> None:
    with pytest.raises(BadConfigurationError, match=words) as refused:
        jdbc_connection(uri, SESSION)
    assert len(str(refused.value).splitlines()) == 1
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("uri", ["postgresql://u:secret@h1:1,h2:2/d", "postgresql://u:secret@h:abc/d"])
def test_an_address_is_said_without_the_password(uri: str) -> None:
    assert address(uri) == uri.rpartition("@")[2]
