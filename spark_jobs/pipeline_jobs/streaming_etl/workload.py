"""The workload with databases and its options: generated users in a file or a collection, or the user's own source."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Mapping as MappingType
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import bson
from pymongo.errors import PyMongoError

from pipeline_jobs.contract import BadConfigurationError, InfrastructureError, TrialConfig, data_folder, write_json
from pipeline_jobs.options import option
from pipeline_jobs.streaming_etl import generated_users
from pipeline_jobs.streaming_etl.bson_file import BsonFile
from pipeline_jobs.streaming_etl.load import Hooks, Origin, Target
from pipeline_jobs.streaming_etl.mapping import ITEM, Mapping, Table, load_mapping, tables_below
from pipeline_jobs.streaming_etl.mongodb import Collection, client_of
from pipeline_jobs.streaming_etl.retry import Backoff
from pipeline_jobs.streaming_etl.settings import Limit, check_choice
from pipeline_jobs.streaming_etl.trial_parameters import TargetChoices
from pipeline_jobs.unknown_names import refuse_unknown

USERS_MAPPING = Path(__file__).with_name("users.yaml")
FOLDER = "workloads/streaming_etl"
MADE_DATABASE_COLLECTION = "tuner_users_{documents}_{seed}"


KINDS = ("tables", "memory")
SOURCES = ("bson", "mongodb")
OPTION_LIMITS = (
    Limit("documents", 0, 100_000_000),
    Limit("seed", 0, 2**63 - 1),
    Limit("source_records_per_s", 0, 10**12, is_whole=False),
    Limit("follow_s", -1, 10**9, is_whole=False),
)


@dataclass(frozen=True)
class Options:
    """The study's `workload.options`. Without `documents` the data is the user's own: `path` or `collection`."""

    name: str = ""
    kind: str = option(
        "`tables`, or `memory` for records that are made and dropped there", default="tables", choices=KINDS
    )
    source: str = option(
        "`bson`, a file as mongodump writes it, or `mongodb`, the connection `source`", default="bson", choices=SOURCES
    )
    documents: int = option("how many users to make; 0 for data of one's own", default=0, low=0, high=100_000_000)
    seed: int = option("the same seed gives the same users", default=1, low=0)
    path: str = option(
        "a BSON file of one's own as `mongodump` writes it, also with `--gzip`, or an archive (`--archive`, with or "
        "without `--gzip`), of which `collection` is read",
        default="",
    )
    collection: str = option(
        "a collection of one's own, in an archive `name` or `database.name`; the mapping's by default", default=""
    )
    mapping: str = option("a mapping file; the one of the 15 tables by default", default="")
    folder: str = option("where made files are kept; a relative path starts at the data folder", default=FOLDER)
    source_records_per_s: float = option(
        "in trials: the most documents that each pipeline's source gives; 0 for as many as it can. `timeout_s` closes "
        "batches only where a source is slower than the workers",
        default=0.0,
        unit="documents/s",
        low=0,
    )
    schema: str = option(
        "the target's schema; by default `streaming_etl_trial` in trials and `public` in production", default=""
    )
    before_sql: str = option("SQL in the schema, once before the first batch", default="")
    after_sql: str = option("SQL in the schema, once after the last batch: ANALYZE, a refresh of a view", default="")
    run_id: str = option(
        "a production run's name, set by `StreamingEtlOperator`: it goes on where an earlier one stopped; without it "
        "a run is a trial in a schema of its own",
        default="",
    )
    follow_s: float = option(
        "in production from MongoDB: after the full load follow the changes until none came for this long; -1 for not",
        default=-1.0,
        unit="s",
        low=-1,
    )
    spark_master: str = option(
        "in production: load the ranges as tasks of this Spark master, for those who outgrow one machine", default=""
    )

    @classmethod
    def of(cls, config: TrialConfig) -> Options:
        """Raises BadConfigurationError naming an option that does not exist."""
        known = tuple(field.name for field in fields(cls))
        refuse_unknown(config.workload, known, "workload.options:")
        try:
            options = cls(**config.workload)
            options._check_without_effect(config.workload)
        except BadConfigurationError as error:
            raise BadConfigurationError(f"workload.options.{error}") from None
        return options

    def __post_init__(self) -> None:
        for limit in OPTION_LIMITS:
            limit.check(getattr(self, limit.name))
        if -1 < self.follow_s < 0:
            raise BadConfigurationError(f"follow_s is {self.follow_s}, must be 0 or more, or -1 for not")
        check_choice("source", self.source, SOURCES)
        check_choice("kind", self.kind, KINDS)
        for field in fields(self):
            if field.type == "str" and not isinstance(getattr(self, field.name), str):
                raise BadConfigurationError(f"{field.name} is {getattr(self, field.name)!r}, must be text: use quotes")

    def _check_without_effect(self, given: MappingType[str, Any]) -> None:
        """Raises BadConfigurationError for an option that another one makes idle."""
        idle = [name for name in given if name not in ("kind", "name")] if self.kind == "memory" else []
        if idle:
            raise BadConfigurationError(f"{idle[0]} has no effect in memory: leave it out")
        if self.path and self.source == "mongodb":
            raise BadConfigurationError(
                "path has no effect with source 'mongodb': leave it out, or set source to 'bson'"
            )
        if self.documents and (self.path or self.collection):
            raise BadConfigurationError(
                f"documents is {self.documents}, which makes users, and path or collection names data of your own: "
                "give one of them"
            )

    def load_mapping(self) -> Mapping:
        """The mapping that the options name."""
        return load_mapping(self.mapping or USERS_MAPPING)


@dataclass(frozen=True)
class Expected:
    """What a correct load leaves in one table, worked out without the transcoder."""

    rows: int = 0
    characters: int = 0
    """Of all text columns together."""
    numbers: int = 0
    """The sum over all whole-number columns, keys and ordinals included."""


@dataclass(frozen=True)
class MadeWorkload:
    """A made file and what it should become."""

    path: Path
    bytes: int
    expected: dict[str, Expected]


def make_users(options: Options, mapping: Mapping) -> MadeWorkload:
    """Find or make the file of `options.documents` users, with the rows expected of it."""
    folder = data_folder() / options.folder
    identity = hashlib.sha256(USERS_MAPPING.read_bytes() + Path(generated_users.__file__).read_bytes()).hexdigest()[:10]
    path = folder / f"users-{options.documents}-{options.seed}-{identity}.bson"
    facts = path.with_suffix(".json")
    if not facts.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfigurationError(f"workload.options.folder {folder} can't be made: {error.strerror}") from None
        write_json(facts, {"expected": _write_users(path, options, mapping)})
    expected = json.loads(facts.read_text(encoding="utf-8"))["expected"]
    return MadeWorkload(path, path.stat().st_size, {name: Expected(**values) for name, values in expected.items()})


def _write_users(path: Path, options: Options, mapping: Mapping) -> dict[str, dict[str, int]]:
    sums = {table.name: [0, 0, 0] for table in mapping.tables}
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        for document in generated_users.documents(options.documents, seed=options.seed):
            file.write(bson.encode(document))
            add_expected(mapping, mapping.root, document, document["_id"], sums)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
    return {name: asdict(Expected(*values)) for name, values in sums.items()}


def add_expected(mapping: Mapping, table: Table, document: Any, keys: int, sums: dict[str, list[int]]) -> None:
    """Add what a document leaves in this table and those below. `keys`: the sum of the numbers in the row's key."""
    found = sums[table.name]
    found[0] += 1
    found[2] += keys
    for column in table.columns if table is not mapping.root else table.columns[1:]:
        value = _at(document, column.path)
        if isinstance(value, str):
            found[1] += len(value)
        elif isinstance(value, int) and not isinstance(value, bool) and column.type.endswith(("int", "integer")):
            found[2] += value
    for child in tables_below(mapping, table):
        below = _at(document, child.path)
        items = [below] if child.ordinal is None and below is not None else below or []
        for number, item in enumerate(items, 1):
            add_expected(mapping, child, item, keys + (number if child.ordinal else 0), sums)


def _at(document: Any, path: tuple[str, ...]) -> Any:
    if path == (ITEM,):
        return document
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def found_sql(mapping: Mapping, table: Table, schema: str) -> str:
    """The query that gives a table's `Expected`."""
    types: dict[str, str] = {column.name: column.type for column in table.columns}
    names = mapping.column_names(table)
    texts = [f'coalesce(length("{name}"), 0)' for name in names if types.get(name) in ("text", "varchar")]
    whole = [
        f'coalesce("{name}"::bigint, 0)'
        for name in names
        if types.get(name, "integer") in ("smallint", "integer", "bigint")
    ]
    return (
        f"SELECT count(*), coalesce(sum({' + '.join(texts) or '0'}), 0)::bigint, "  # noqa: S608
        f'coalesce(sum({" + ".join(whole) or "0"}), 0)::bigint FROM "{schema}"."{table.name}"'
    )


def target_of(options: Options, config: TrialConfig, mapping: Mapping, choices: TargetChoices, schema: str) -> Target:
    """Where the rows go; `schema` where the options name none."""
    return Target(
        config.uri("target"),
        mapping,
        schema=options.schema or schema,
        foreign_keys=choices.foreign_keys,
        async_commit=choices.async_commit,
        hooks=Hooks(options.before_sql, options.after_sql),
    )


def origin_of(options: Options, config: TrialConfig, made: MadeWorkload | None, stop: threading.Event) -> Origin:
    """Where the documents come from. Puts made users into the collection where the source is MongoDB."""
    if options.source == "bson":
        path = made.path if made else options.path
        if not path:
            raise BadConfigurationError("workload.options: give `documents` to make some, or `path` of a BSON file")
        file = BsonFile(path, options.collection or options.load_mapping().collection)
        if options.collection and not file.is_archive:
            raise BadConfigurationError(
                f"workload.options.collection has no effect on {path}, which is no archive: leave it out"
            )
        return file
    uri = config.uri("source")
    if made is None:
        return Collection(uri, options.collection or options.load_mapping().collection, backoff=Backoff(), stop=stop)
    name = MADE_DATABASE_COLLECTION.format(documents=options.documents, seed=options.seed)
    try:
        _fill_collection(uri, name, options.documents, made.path)
    except PyMongoError as error:
        raise InfrastructureError(f"the source does not take the made users: {error}") from error
    return Collection(uri, name, backoff=Backoff(), stop=stop)


def _fill_collection(uri: str, name: str, count: int, path: Path) -> None:
    """Insert the file's documents where the collection does not hold them all."""
    with client_of(uri) as client:
        collection = client.get_default_database()[name]
        if collection.estimated_document_count() == count:
            return
        collection.drop()
        with path.open("rb") as file:
            batch: list[dict[str, Any]] = []
            for document in bson.decode_file_iter(file):
                batch.append(document)
                if len(batch) == 500:
                    collection.insert_many(batch, ordered=False)
                    batch = []
            if batch:
                collection.insert_many(batch, ordered=False)


def described(options: Options, mapping: Mapping, origin: Origin, made: MadeWorkload | None) -> MappingType[str, Any]:
    """The workload's record in the measurement: what the trials run on."""
    record = {
        "kind": "tables",
        "source": options.source,
        "collection": mapping.collection,
        "tables": len(mapping.tables),
        "documents": options.documents or None,
        "bytes": made.bytes if made else None,
        "rows": sum(table.rows for table in made.expected.values()) if made else None,
    }
    identity = json.dumps([record, options.seed, origin.name if made is None else ""], sort_keys=True)
    return {**record, "fingerprint": hashlib.sha256(identity.encode()).hexdigest()[:16]}
