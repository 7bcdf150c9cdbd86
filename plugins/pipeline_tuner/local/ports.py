"""Free ports on loopback."""

from __future__ import annotations

import socket
from pathlib import Path


def kept_port(file: Path, *, preferred: int | None = None) -> int:
    """A free port: the one in the file, else the preferred one, else any. The choice is written to the file."""
    kept = int(file.read_text(encoding="ascii")) if file.exists() else preferred
    port = kept if kept and is_free(kept) else _any_port()
    file.write_text(str(port), encoding="ascii")
    return port


def is_free(port: int) -> bool:
    """True where a server could listen on the port: nobody answers there, and nobody holds it without answering."""
    with socket.socket() as probe:
        # As servers do it: connections of an earlier server that are still to die are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
