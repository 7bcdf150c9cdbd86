"""Ports on loopback: a taken one is never chosen, whether somebody answers there or not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline_tuner.local import ports
from pipeline_tuner.local.ports import any_port, is_free, kept_port


@pytest.mark.parametrize("listens", [True, False])
def test_a_taken_port_is_not_chosen(listens: bool, tmp_path: Path):
    file = tmp_path / "port"
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", any_port()))
        if listens:
            holder.listen()
        taken = holder.getsockname()[1]
        assert not is_free(taken)
        assert kept_port(file, preferred=taken) != taken
        file.write_text(str(taken), encoding="ascii")
        assert kept_port(file) != taken
    assert is_free(taken)


def test_a_free_port_is_kept(tmp_path: Path):
    first = kept_port(tmp_path / "port")
    assert kept_port(tmp_path / "port", preferred=8080) == first


def test_no_client_gets_a_port_that_a_server_is_to_have(tmp_path: Path):
    """A client's connection once took a port between its choice and the start of the server, 20 s later."""
    first, last = ports.clients_ports()
    assert not [port for port in (ports.any_port() for _ in range(50)) if first <= port <= last]


@pytest.mark.parametrize("said", ["1024\t65535", "nonsense"])
def test_where_clients_may_have_all_ports_one_is_found_all_the_same(said: str, tmp_path: Path, monkeypatch):
    (tmp_path / "range").write_text(said)
    monkeypatch.setattr(ports, "CLIENTS", tmp_path / "range")
    assert ports.is_free(ports.any_port())
