"""Redshift's statements: all but COPY are run against PostgreSQL; the Data API's calls go to a stubbed client."""

# ruff: noqa: F811 - a fixture is imported, and named again where a test asks for it

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import boto3
import psycopg2
import pytest
from botocore.stub import ANY, Stubber
from glue_stubs import BUCKET, aws  # noqa: F401

from pipeline_tuner.operators.redshift import STAGING, Merge, RedshiftMergeOperator, staged_columns

MERGE = Merge("latest", ("id", "at", "version", "status"), ("id",), ("at", "version"))
BEFORE = [
    ("a", 10, 1, "old"),
    ("b", 10, 1, "kept: staged is older"),
    ("c", 10, 1, "deleted"),
    ("d", None, None, "no time"),
]
STAGED = [
    ("a", 11, 0, "new", False),
    ("b", 9, 9, "late", False),
    ("c", 10, 1, "x", True),
    ("d", 0, None, "timed", False),
    ("e", 1, None, "first", False),
    ("f", 1, 1, "never seen", True),
]
AFTER = [
    ("a", 11, 0, "new"),
    ("b", 10, 1, "kept: staged is older"),
    ("d", 0, None, "timed"),
    ("e", 1, None, "first"),
]


@pytest.fixture
def connection(database: str) -> Any:
    connection = psycopg2.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE latest (id text, at bigint, version int, status text)")
        cursor.executemany("INSERT INTO latest VALUES (%s, %s, %s, %s)", BEFORE)
    connection.commit()
    yield connection
    connection.close()


def merge(connection: Any, after: Sequence[str] = ()) -> None:
    """The batch, with the rows inserted where Redshift would COPY them."""
    with connection, connection.cursor() as cursor:
        for statement in MERGE.statements("s3://b/f/", "role", after=after):
            if statement.startswith("COPY"):
                cursor.executemany(f"INSERT INTO {STAGING} VALUES (%s, %s, %s, %s, %s)", STAGED)
            else:
                cursor.execute(statement)


def rows(connection: Any) -> list[tuple]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM latest ORDER BY id")
        return cursor.fetchall()


def test_merge_twice_is_merge_once(connection: Any) -> None:
    for _ in range(2):
        merge(connection)
        assert rows(connection) == AFTER


def test_a_failing_post_action_changes_nothing(connection: Any) -> None:
    with pytest.raises(psycopg2.errors.DivisionByZero):
        merge(connection, after=["SELECT 1/0"])
    assert rows(connection) == BEFORE


def test_the_batch_is_one_call(aws: str) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key="staged/CURRENT", Body=b"run-1")
    described = json.dumps({"columns": [*MERGE.columns, "_deleted"]}).encode()
    boto3.client("s3").put_object(Bucket=BUCKET, Key="staged/columns-run-1.json", Body=described)
    operator = RedshiftMergeOperator(
        task_id="merge",
        path=f"s3://{BUCKET}/staged",
        table="latest",
        columns=sorted(MERGE.columns),
        key=MERGE.key,
        order=MERGE.order,
        iam_role="role",
        database="dev",
        workgroup_name="tuner",
        pre_actions=["SELECT 'before'"],
        aws_conn_id="aws_test",
        poll_interval_s=0,
    )
    folder = f"s3://{BUCKET}/staged/run-1/"
    sqls = MERGE.statements(folder, "role", ["SELECT 'before'"])
    assert sqls[2] == f"COPY {STAGING} FROM '{folder}' IAM_ROLE 'role' FORMAT AS PARQUET"
    asked = {"Sqls": sqls, "Database": "dev", "WorkgroupName": "tuner", "WithEvent": False}
    with Stubber(operator.hook.conn) as stub:
        stub.add_response("batch_execute_statement", {"Id": "batch-1"}, asked)
        stub.add_response("describe_statement", {"Id": "batch-1", "Status": "STARTED"}, {"Id": "batch-1"})
        stub.add_response("describe_statement", {"Id": "batch-1", "Status": "FINISHED"}, {"Id": "batch-1"})
        stub.add_response("cancel_statement", {"Status": True}, {"Id": ANY})
        assert operator.execute({}) == "batch-1"
        operator.on_kill()
        stub.assert_no_pending_responses()


def test_columns_are_those_of_the_files_in_their_order() -> None:
    assert staged_columns(["b", "a", "_deleted"], ["a", "b"]) == ("b", "a")


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        (["a", "b", "_deleted"], ["a"], r"\(b differ\)"),
        (["a", "_deleted"], ["a", "b"], r"\(b differ\)"),
        (["a", "b"], ["a", "b"], "no _deleted as their last column"),
    ],
)
def test_files_of_other_columns_are_refused(found: list[str], wanted: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        staged_columns(found, wanted)


def test_a_folder_that_does_not_say_its_columns_is_refused(aws: str) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key="old/CURRENT", Body=b"run-1")
    operator = RedshiftMergeOperator(
        task_id="merge", path=f"s3://{BUCKET}/old", table="latest", columns=MERGE.columns, key=MERGE.key,
        order=MERGE.order, iam_role="role", database="dev", workgroup_name="tuner", aws_conn_id="aws_test",
    )  # fmt: skip
    with pytest.raises(ValueError, match="run the dedup job again"):
        operator.execute({})
