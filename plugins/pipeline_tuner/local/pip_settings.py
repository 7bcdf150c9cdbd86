"""What pip is configured with on this machine, handed over to uv and Java, which don't read it.

Only the standard library is used here: the installation runs this before any package is there.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIXES = ("global", "install", ":env:")
"""The sections that `pip install` reads: a later one wins over an earlier one."""


@dataclass(frozen=True)
class PipSettings:
    """The part of pip's configuration that says from where, and through what, packages come."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    certificates: str | None = None
    client_certificate: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    timeout_s: str | None = None

    @classmethod
    def of(cls, python: str | Path) -> PipSettings:
        """The settings of a Python's pip, from its files and the variables PIP_*; empty where it has no pip."""
        command = [python, "-m", "pip", "--disable-pip-version-check", "config", "list"]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        return cls.parse(done.stdout) if done.returncode == 0 else cls()

    @classmethod
    def parse(cls, listing: str) -> PipSettings:
        """The settings that `pip config list` prints: a line `section.name='value'` each."""
        values = _effective(listing)
        return cls(
            index_url=values.get("index-url"),
            extra_index_urls=tuple(values.get("extra-index-url", "").split()),
            find_links=tuple(_usable_links(values.get("find-links", ""))),
            no_index=values.get("no-index", "").lower() in ("1", "true", "yes", "on"),
            certificates=values.get("cert"),
            client_certificate=values.get("client-cert"),
            proxy=values.get("proxy"),
            trusted_hosts=tuple(values.get("trusted-host", "").split()),
            timeout_s=values.get("timeout") or values.get("default-timeout"),
        )


def _effective(listing: str) -> Mapping[str, str]:
    found: dict[str, dict[str, str]] = {prefix: {} for prefix in PREFIXES}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found and value:
            found[section][name] = str(ast.literal_eval(value))
    return {name: value for prefix in PREFIXES for name, value in found[prefix].items() if value}


def _usable_links(links: str) -> Iterator[str]:
    """Pip passes over a folder that is not there; uv refuses it."""
    for link in links.split():
        if "://" in link or Path(link).exists():
            yield link
