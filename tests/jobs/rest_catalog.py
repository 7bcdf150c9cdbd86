"""A double of an Iceberg REST catalog: the part of its protocol that a batch needs, over pyiceberg's own catalog.

No REST catalog can be had from pip or as a jar that runs by itself, so this one stands for it in tests. Commits are
checked against their requirements by pyiceberg, as a real one checks them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import CommitTableRequest, Table

TOKEN = "a token of the tests only"
STATUS = {NoSuchTableError: 404, NoSuchNamespaceError: 404, CommitFailedException: 409}
Answer = tuple[int, dict[str, Any]]


class RestCatalog:
    """The catalog behind the protocol."""

    def __init__(self, folder: Path) -> None:
        self.tables = SqlCatalog("double", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder.as_uri())
        self.lock = threading.Lock()

    def answer(self, method: str, path: list[str], body: dict[str, Any]) -> Answer:
        """What the protocol answers to a request below /v1."""
        match (method, *path):
            case ("GET", "config"):
                return 200, {"defaults": {}, "overrides": {}}
            case ("POST", "namespaces"):
                self.tables.create_namespace(tuple(body["namespace"]), body.get("properties", {}))
                return 200, {"namespace": body["namespace"], "properties": {}}
            case ("GET" | "HEAD", "namespaces", name):
                return 200, {"namespace": [name], "properties": self.tables.load_namespace_properties(name)}
            case ("POST", "namespaces", name, "tables"):
                return 200, self._create(name, CreateTableRequest.model_validate(body))
            case ("GET" | "HEAD", "namespaces", name, "tables", table):
                return 200, _described(self.tables.load_table((name, table)))
            case ("POST", "namespaces", name, "tables", table):
                request = CommitTableRequest.model_validate(body | {"identifier": {"namespace": [name], "name": table}})
                found = self.tables.load_table((name, table))
                self.tables.commit_table(found, request.requirements, request.updates)
                return 200, _described(self.tables.load_table((name, table)))
            case ("DELETE", "namespaces", name, "tables", table):
                self.tables.drop_table((name, table))
                return 204, {}
        return 404, _error(f"{method} {path} is not in this double", "NotFoundException", 404)

    def _create(self, namespace: str, request: CreateTableRequest) -> dict[str, Any]:
        spec = {"partition_spec": request.partition_spec} if request.partition_spec else {}
        made = self.tables.create_table(
            (namespace, request.name), request.table_schema, properties=request.properties, **spec
        )
        return _described(made)


def _described(table: Table) -> dict[str, Any]:
    return {"metadata-location": table.metadata_location, "metadata": json.loads(table.metadata.model_dump_json())}


def _error(message: str, kind: str, code: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a catalog on loopback; yields its address. Requests without TOKEN are refused."""
    catalog = RestCatalog(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(catalog))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _handler(catalog: RestCatalog) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(401, _error("no token", "NotAuthorizedException", 401))
            path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")][1:]
            with catalog.lock:
                self._send(*_answered(lambda: catalog.answer(self.command, path, json.loads(text or "{}"))))
            return None

        do_GET = do_POST = do_HEAD = do_DELETE = _any

        def _send(self, status: int, document: dict[str, Any]) -> None:
            text = b"" if status == 204 or self.command == "HEAD" else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


def _answered(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except tuple(STATUS) as error:
        return STATUS[type(error)], _error(str(error), type(error).__name__.replace("Error", "Exception"), 404)
