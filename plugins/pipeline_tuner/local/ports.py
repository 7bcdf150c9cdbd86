"""Free ports on loopback for the embedded services."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST = 10_000
"""Below it are ports that well-known servers have."""
TRIES = 100
CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
CLIENTS_BY_DEFAULT = (32_768, 60_999)


def kept_port(file: Path, *, preferred: int | None = None) -> int:
    """A free port: the one in the file, else the preferred one, else any. The choice is written to the file."""
    kept = int(file.read_text(encoding="ascii")) if file.exists() else preferred
    port = kept if kept and is_free(kept) else any_port()
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


def any_port() -> int:
    """A free port that no client's connection gets before a server listens on it; where all are taken, any free one."""
    first, last = clients_ports()
    places = [*range(LOWEST, first), *range(last + 1, 65_536)]
    chosen: int | None = next(filter(is_free, random.sample(places, min(TRIES, len(places)))), None)
    if chosen is not None:
        return chosen
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clients_ports() -> tuple[int, int]:
    """The first and the last port that the system gives to connections as their own end."""
    try:
        first, last = map(int, CLIENTS.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return CLIENTS_BY_DEFAULT
    return first, last
