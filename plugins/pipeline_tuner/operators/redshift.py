"""`RedshiftMergeOperator`: what a dedup run staged as Parquet in S3, merged into Redshift in one transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.redshift_data import RedshiftDataHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

STAGING = "pipeline_tuner_staging"
DELETED = "_deleted"


@dataclass(frozen=True)
class Merge:
    """The statements that merge staged records; what PostgreSQL understands too is run against it in tests."""

    table: str
    columns: tuple[str, ...]
    """In the order of the staged files, the delete marker left out: COPY takes Parquet by position."""
    key: tuple[str, ...]
    order: tuple[str, ...]
    """The declared order: a staged record replaces one that is not after it. NULL is the smallest."""

    def statements(
        self, folder: str, iam_role: str, before: Sequence[str] = (), after: Sequence[str] = ()
    ) -> list[str]:
        """All of them, in one transaction's order, the user's own `before` and `after` included."""
        return [*before, self.make_staging, self.copy(folder, iam_role), self.delete, self.insert, *after, self.drop]

    @property
    def make_staging(self) -> str:
        """A temporary table with the target's types in the files' order, the delete marker last as in the files."""
        return (
            f"CREATE TEMP TABLE {STAGING} AS SELECT {self._names()}, false AS {DELETED} FROM {self.table} WHERE false"
        )

    def copy(self, folder: str, iam_role: str) -> str:
        """Redshift's own: not verified outside AWS."""
        return f"COPY {STAGING} FROM {_literal(folder)} IAM_ROLE {_literal(iam_role)} FORMAT AS PARQUET"

    @property
    def delete(self) -> str:
        """Take out what a staged record replaces or deletes."""
        return f"DELETE FROM {self.table} USING {STAGING} WHERE {self._same} AND {self._not_older}"

    @property
    def insert(self) -> str:
        """Put in the staged records that no later one keeps out."""
        return (
            f"INSERT INTO {self.table} ({self._names()}) SELECT {self._names(STAGING)} FROM {STAGING} "
            f"LEFT JOIN {self.table} ON {self._same} "
            f"WHERE NOT {STAGING}.{DELETED} AND {self.table}.{_name(self.key[0])} IS NULL"
        )

    @property
    def drop(self) -> str:
        """The temporary table would live as long as the session."""
        return f"DROP TABLE {STAGING}"

    @property
    def _same(self) -> str:
        return " AND ".join(f"{self.table}.{_name(name)} = {STAGING}.{_name(name)}" for name in self.key)

    @property
    def _not_older(self) -> str:
        """Redshift has no IS NOT DISTINCT FROM: equality of NULLs is spelt out."""
        condition = "true"
        for name in reversed(self.order):
            mine, theirs = f"{STAGING}.{_name(name)}", f"{self.table}.{_name(name)}"
            condition = (
                f"({mine} > {theirs} OR ({mine} IS NOT NULL AND {theirs} IS NULL) OR "
                f"(({mine} = {theirs} OR ({mine} IS NULL AND {theirs} IS NULL)) AND {condition}))"
            )
        return condition

    def _names(self, table: str = "") -> str:
        return ", ".join(f"{table}.{_name(name)}" if table else _name(name) for name in self.columns)


class RedshiftMergeOperator(BaseOperator):
    """Merge a dedup run's staged Parquet into a Redshift table; the table is as before or as after.

    The Data API runs the batch as one transaction. The key's columns must not hold NULL (the job drops such records).

    :param path: Where the job stages, `s3://...`: its `target.path`, where `CURRENT` names the last run.
    :param table: Table to merge into; it must exist.
    :param columns: Its columns, in any order: they are held against those of the Parquet files, by name.
    :param key: Key columns.
    :param order: Timestamp and tie-breakers.
    :param iam_role: ARN of the role that Redshift reads the folder with.
    :param database: Redshift database.
    :param cluster_identifier: Cluster; or
    :param workgroup_name: Serverless workgroup.
    :param secret_arn: Secret of the database user.
    :param pre_actions: SQL before the merge, in its transaction.
    :param post_actions: SQL after it, in its transaction.
    :param aws_conn_id: Airflow connection to AWS.
    :param poll_interval_s: Seconds between two looks at the batch.
    """

    template_fields: Sequence[str] = ("path", "table", "pre_actions", "post_actions")
    ui_color = "#dfeef5"

    def __init__(
        self,
        *,
        path: str,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        order: Sequence[str],
        iam_role: str,
        database: str,
        cluster_identifier: str | None = None,
        workgroup_name: str | None = None,
        secret_arn: str | None = None,
        pre_actions: Sequence[str] = (),
        post_actions: Sequence[str] = (),
        aws_conn_id: str = "aws_default",
        poll_interval_s: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.table = table
        self.columns = columns
        self.key = key
        self.order = order
        self.iam_role = iam_role
        self.database = database
        self.cluster_identifier = cluster_identifier
        self.workgroup_name = workgroup_name
        self.secret_arn = secret_arn
        self.pre_actions = pre_actions
        self.post_actions = post_actions
        self.aws_conn_id = aws_conn_id
        self.poll_interval_s = poll_interval_s
        self._statement_id: str | None = None

    @cached_property
    def hook(self) -> RedshiftDataHook:
        """The Data API behind the connection."""
        return RedshiftDataHook(aws_conn_id=self.aws_conn_id)

    def execute(self, context: Context) -> str:
        """Run the batch; returns its id. Raises what Redshift says where it fails: nothing has changed then."""
        path, run = self._current()
        merge = Merge(self.table, self._staged_columns(path, run), tuple(self.key), tuple(self.order))
        output = self.hook.execute_query(
            sql=merge.statements(f"{path}/{run}/", self.iam_role, self.pre_actions, self.post_actions),
            database=self.database,
            cluster_identifier=self.cluster_identifier,
            workgroup_name=self.workgroup_name,
            secret_arn=self.secret_arn,
            wait_for_completion=False,
        )
        self._statement_id = output.statement_id
        self.hook.wait_for_results(self._statement_id, poll_interval=self.poll_interval_s)
        return self._statement_id

    def _current(self) -> tuple[str, str]:
        path = self.path.rstrip("/")
        return path, S3Hook(aws_conn_id=self.aws_conn_id).read_key(f"{path}/CURRENT")

    def _staged_columns(self, path: str, run: str) -> tuple[str, ...]:
        """The files' columns in their order. Raises ValueError where they are not those of the task."""
        hook, described = S3Hook(aws_conn_id=self.aws_conn_id), f"{path}/columns-{run}.json"
        if not hook.check_for_key(described):
            raise ValueError(f"{path} doesn't say which columns its files have: run the dedup job again")
        columns = json.loads(hook.read_key(described))["columns"]
        return staged_columns(columns, self.columns)

    def on_kill(self) -> None:
        """Cancel the batch: its transaction is rolled back."""
        if self._statement_id:
            self.hook.conn.cancel_statement(Id=self._statement_id)


def staged_columns(found: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The staged files' columns without the delete marker, in the files' order; `wanted` are the task's.

    Raises ValueError where a column is missing on one side: by position, it would land in another one.
    """
    if not found or found[-1] != DELETED:
        raise ValueError(f"the staged files have no {DELETED} as their last column: name a 'redshift' target's")
    columns = tuple(found[:-1])
    strange = [*(name for name in columns if name not in wanted), *(name for name in wanted if name not in columns)]
    if strange:
        raise ValueError(
            f"the staged files have the columns {', '.join(columns)}, the task names {', '.join(wanted)}: "
            f"name the same ones ({', '.join(strange)} differ)"
        )
    return columns


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
