"""The MongoDB-compatible server: on loopback, with a password, and its data outlive a restart."""

from __future__ import annotations

import pymongo
import pytest
from pymongo.errors import OperationFailure

from pipeline_tuner.local.mongodb import MongodbServer


def test_refuses_whoever_has_no_password(mongodb):
    anonymous = f"mongodb://127.0.0.1:{mongodb.port}/?directConnection=true"
    with pymongo.MongoClient(anonymous) as client, pytest.raises(OperationFailure, match="authentication"):
        client.test.rows.insert_one({"a": 1})


def test_data_outlive_a_restart(tmp_path):
    server = MongodbServer(tmp_path / "mongodb")
    try:
        server.start()
        with pymongo.MongoClient(server.uri()) as client:
            client.test.rows.insert_many({"_id": number} for number in range(100))
        server.stop()
        assert not server.is_running()
        server.start()
        with pymongo.MongoClient(server.uri()) as client:
            assert client.test.rows.count_documents({}) == 100
    finally:
        server.remove()
    assert not (tmp_path / "mongodb").exists()
