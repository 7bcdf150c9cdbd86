"""Ports on loopback: a taken one is never chosen, whether somebody answers there or not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline_tuner.local.ports import is_free, kept_port


@pytest.mark.parametrize("listens", [True, False])
def test_a_taken_port_is_not_chosen(listens: bool, tmp_path: Path):
    file = tmp_path / "port"
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
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
