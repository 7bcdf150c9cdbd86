"""Documents that are there already, replaced in place: rows that are gone deleted, changed updated, new inserted.

A batch's rows come into temporary tables first. A row that is the same to the last byte is not written again, and one
that is updated keeps its key, so that PostgreSQL need not look for its parent: the dearest part of writing it anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from pipeline_jobs.streaming_etl.connection_pool import fetched_row
from pipeline_jobs.streaming_etl.copying import copy_rows
from pipeline_jobs.streaming_etl.mapping import Mapping
from pipeline_jobs.streaming_etl.transcoder import Encoded

MIN_DOCUMENTS = 250
"""Documents in a batch from which it is about as fast where every row has changed; with none changed it is from 100."""
STAGE_NAME = "etl_stage_{}"
FIRST_VERSION = 150_000
"""PostgreSQL's first with MERGE."""

ARE_PLAIN = """
WITH wanted AS (
    SELECT to_regclass(format('%%I.%%I', %(schema)s::text, name)) AS id,
        CASE WHEN parent <> '' THEN to_regclass(format('%%I.%%I', %(schema)s::text, parent)) END AS parent,
        columns, keys
    FROM unnest(%(names)s::text[], %(parents)s::text[], %(columns)s::text[], %(keys)s::text[])
        AS listed (name, parent, columns, keys))
SELECT NOT EXISTS (SELECT FROM pg_publication WHERE NOT (pubinsert AND pubupdate AND pubdelete)) AND bool_and(coalesce(
    relkind = 'r' AND NOT (relispartition OR relhassubclass OR relhasrules OR relrowsecurity)
    AND has_table_privilege(wanted.id, 'SELECT') AND has_table_privilege(wanted.id, 'INSERT')
    AND has_table_privilege(wanted.id, 'UPDATE') AND has_table_privilege(wanted.id, 'DELETE')
    AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = wanted.id)
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = wanted.id AND NOT tgisinternal)
    AND wanted.columns = (SELECT string_agg(attname, ',' ORDER BY attname COLLATE "C") FROM pg_attribute
        WHERE attrelid = wanted.id AND attnum > 0 AND NOT attisdropped)
    AND wanted.keys = (SELECT string_agg(attname, ',' ORDER BY attname COLLATE "C") FROM pg_attribute
        JOIN pg_constraint ON conrelid = attrelid AND contype = 'p' AND NOT condeferrable AND attnum = ANY(conkey)
        WHERE attrelid = wanted.id)
    AND 1 = (SELECT count(*) FROM pg_index WHERE indrelid = wanted.id AND (indisunique OR indisexclusion))
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = wanted.id
        AND contype NOT IN ('p', 'n') AND NOT (contype = 'f' AND confrelid IS NOT DISTINCT FROM wanted.parent))
    AND (wanted.parent IS NULL OR EXISTS (SELECT FROM pg_constraint
        WHERE conrelid = wanted.id AND contype = 'f' AND confrelid = wanted.parent))
    AND NOT EXISTS (SELECT FROM pg_constraint
        WHERE confrelid = wanted.id AND contype = 'f'
        AND conrelid NOT IN (SELECT id FROM wanted WHERE id IS NOT NULL)), false))
FROM wanted LEFT JOIN pg_class ON pg_class.oid = wanted.id
"""
"""Whether the tables are as `create_tables` makes them: then nobody sees whether a row was updated or written anew.

Triggers, policies, further columns, constraints and publications of the owner would see it.
"""

STAGE = "CREATE TEMP TABLE {stage} ON COMMIT DELETE ROWS AS SELECT {names} FROM {table} WITH NO DATA"
DELETE = """
DELETE FROM {table} AS target USING {first} AS document WHERE {same_document}
AND NOT EXISTS (SELECT FROM {stage} AS staged WHERE {same_key})
"""
UPSERT = """
INSERT INTO {table} AS target ({names}) SELECT {names} FROM {stage} AS staged ORDER BY {keys}
ON CONFLICT ({keys}) DO UPDATE SET {from_excluded} WHERE {differs_from_excluded}
"""
"""Of the root. It locks the rows that are there, those that stay the same too; in order, so that two loads don't wait
for each other."""
MERGE = "MERGE INTO {table} AS target USING {stage} AS staged ON {same_key}"
UPDATE = " WHEN MATCHED AND {differs} THEN UPDATE SET {from_staged}"
INSERT = " WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({staged})"


class InPlace:
    """Replaces rows in place, for one mapping in one schema."""

    def __init__(self, mapping: Mapping, schema: str) -> None:
        self._mapping, self._schema = mapping, schema
        self._texts: dict[tuple[str, int], str] = {}

    def fits(self, cursor: Cursor, existing: int, documents: int) -> bool:
        """Whether this is faster for a batch, of which some exist, and has the effects of writing all rows anew.

        Asked for each batch: a trigger or a column may have come since the last one.
        """
        if documents < MIN_DOCUMENTS or 2 * existing < documents or cursor.connection.server_version < FIRST_VERSION:
            return False
        mapping = self._mapping
        listed = {
            "schema": self._schema,
            "names": [table.name for table in mapping.tables],
            "parents": [table.parent or "" for table in mapping.tables],
            "columns": [",".join(sorted(mapping.column_names(table))) for table in mapping.tables],
            "keys": [",".join(sorted(mapping.key_columns(table))) for table in mapping.tables],
        }
        cursor.execute(ARE_PLAIN, listed)
        return bool(fetched_row(cursor)[0])

    def replace(self, cursor: Cursor, encoded: Encoded) -> None:
        """Leave exactly a batch's rows of its documents. Once in a transaction at most: its end empties the stages."""
        filled = [number for number, rows in enumerate(encoded.rows) if rows]
        below = range(1, len(self._mapping.tables))
        self._make_stages(cursor)
        for number in filled:
            names = self._mapping.column_names(self._mapping.tables[number])
            copy_rows(cursor, _stage(number), names, encoded.payloads[number])
        # The root first: another load of the same documents waits here, and then sees whole ones.
        self._run(cursor, UPSERT, 0)
        for number in reversed(below):
            self._run(cursor, DELETE, number)
        for number in filled[1:]:
            has_values = bool(self._values(number))
            self._run(cursor, MERGE + (UPDATE if has_values else "") + INSERT, number)

    def _make_stages(self, cursor: Cursor) -> None:
        cursor.execute("SELECT to_regclass(%s) IS NULL", (f"pg_temp.{STAGE_NAME.format(0)}",))
        if fetched_row(cursor)[0]:
            for number in range(len(self._mapping.tables)):
                self._run(cursor, STAGE, number)

    def _run(self, cursor: Cursor, statement: str, number: int) -> None:
        """Run a statement on one of the mapping's tables; its text is made once."""
        text = self._texts.get((statement, number))
        if text is None:
            text = sql.SQL(statement).format(**self._words(number)).as_string(cursor)
            self._texts[statement, number] = text
        cursor.execute(text)

    def _words(self, number: int) -> dict[str, sql.Composable]:
        mapping, table = self._mapping, self._mapping.tables[number]
        names, keys, values = mapping.column_names(table), mapping.key_columns(table), self._values(number)
        return {
            "table": sql.Identifier(self._schema, table.name),
            "stage": _stage(number),
            "first": _stage(0),
            "names": _joined("{}", names),
            "staged": _joined("staged.{}", names),
            "keys": _joined("{}", keys),
            "same_key": _joined("target.{0} = staged.{0}", keys, " AND "),
            "same_document": _joined("target.{0} = document.{0}", [key.name for key in mapping.keys], " AND "),
            "differs": _differs("staged", values),
            "from_staged": _joined("{0} = staged.{0}", values),
            "differs_from_excluded": _differs("EXCLUDED", values),
            "from_excluded": _joined("{0} = EXCLUDED.{0}", values or keys),
        }

    def _values(self, number: int) -> list[str]:
        """The columns beside the key."""
        table = self._mapping.tables[number]
        keys = self._mapping.key_columns(table)
        return [name for name in self._mapping.column_names(table) if name not in keys]


def _stage(number: int) -> sql.Identifier:
    return sql.Identifier("pg_temp", STAGE_NAME.format(number))


def _joined(each: str, names: Sequence[str], between: str = ", ") -> sql.Composed:
    return sql.SQL(between).join(sql.SQL(each).format(sql.Identifier(name)) for name in names)


def _differs(other: str, values: Sequence[str]) -> sql.Composable:
    """Whether any byte of the columns does; `=` would take 1.0 and 1.00 for the same."""
    if not values:
        return sql.SQL("false")
    mine, theirs = (_joined(f"{side}.{{}}", values) for side in ("target", other))
    return sql.SQL("ROW({})::record *<> ROW({})::record").format(mine, theirs)
