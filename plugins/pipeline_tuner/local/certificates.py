"""The TLS certificates that downloads trust: from variables, pip's configuration and the system, for pip, uv, Java and
apt.

The union of them: a variable often names a file with a company's own certificate only, and the package index and
Maven's repository need not lie behind the same authority. Only the standard library is used here: the
installation runs this before any package is there.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PIPS_OWN = "pip's configuration (cert)"
SYSTEM = "the system's store"
JAVAS_OWN = "the store of this machine's Java"
BUNDLED = "the list that came with pip"

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, older ones
)
SYSTEM_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class CertificateSource:
    """A file, or a folder of files, and how many certificates it holds; 0 where there is none to be read."""

    origin: str
    path: Path
    count: int


@dataclass(frozen=True)
class Certificates:
    """Certificates in PEM, each once, and where they come from."""

    pems: tuple[str, ...]
    sources: tuple[CertificateSource, ...]

    @classmethod
    def of_machine(cls, pip_file: str | None = None, variables: Mapping[str, str] = os.environ) -> Certificates:
        """The certificates that the variables, pip's configuration (`pip_file`) and the system's stores name.

        Where there are none at all, those that came with pip.
        """
        named = [(name, path) for name in VARIABLES for path in variables.get(name, "").split(os.pathsep) if path]
        if pip_file and ("PIP_CERT", pip_file) not in named:
            named.append((PIPS_OWN, pip_file))
        found = cls.read([*named, *((SYSTEM, path) for path in _system_stores())])
        if found.pems:
            return found
        bundled = cls.read([(BUNDLED, path) for path in _bundled()])
        return cls(bundled.pems, (*found.sources, *bundled.sources))

    @classmethod
    def read(cls, named: Iterable[tuple[str, str]]) -> Certificates:
        """The certificates of some files and folders, each named with its origin."""
        pems: dict[str, None] = {}
        sources = []
        for origin, path in named:
            own = list(_pems(Path(path)))
            pems.update(dict.fromkeys(own))
            sources.append(CertificateSource(origin, Path(path), len(own)))
        return cls(tuple(pems), tuple(sources))

    def with_more(self, text: str, origin: str, path: Path) -> Certificates:
        """These and the certificates in a text, from a place that is no PEM file itself."""
        own = [_in_lines(pem) for pem in PEM.findall(text)]
        source = CertificateSource(origin, path, len(own))
        return Certificates(tuple(dict.fromkeys([*self.pems, *own])), (*self.sources, source))

    def write(self, path: Path) -> Path:
        """One file with all of them, for programs that take one; replaced whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text("\n".join([*self.pems, ""]), encoding="ascii")
        return unfinished.replace(path)

    def ders(self) -> Iterator[bytes]:
        """The certificates in binary form."""
        return map(ssl.PEM_cert_to_DER_cert, self.pems)

    def words(self) -> str:
        """Where they come from and how many, and which named place holds none."""
        used = [f"{one.count} from {one.origin}, {one.path}" for one in self.sources if one.count]
        empty = [f"none from {one.origin}, {one.path}: no certificate there" for one in self.sources if not one.count]
        return "; ".join([*used, *empty]) or "none: this machine has no store of certificates"


def _system_stores() -> Iterator[str]:
    """The system's bundle, else its folder; OpenSSL's own default too, which may be another (a Python of one's own)."""
    default = ssl.get_default_verify_paths()
    files: dict[str, str] = {}
    for path in (*SYSTEM_FILES, default.openssl_cafile):
        if Path(path).is_file():
            files.setdefault(os.path.realpath(path), path)
    yield from files.values()
    if not files:
        yield from (path for path in dict.fromkeys((*SYSTEM_FOLDERS, default.openssl_capath)) if Path(path).is_dir())


def _bundled() -> list[str]:
    try:
        from pip._vendor import certifi
    except ImportError:
        return []
    return [certifi.where()]


def _pems(path: Path) -> Iterator[str]:
    """The certificates of a file, or of the files of a folder (each once, whatever its hashed names)."""
    try:
        files = sorted({file.resolve() for file in path.iterdir() if file.is_file()}) if path.is_dir() else [path]
        for file in files:
            yield from map(_in_lines, PEM.findall(file.read_text(encoding="ascii", errors="replace")))
    except OSError:
        return


def _in_lines(pem: str) -> str:
    """One text for one certificate: files differ in their line ends."""
    return "\n".join(line.strip() for line in pem.splitlines())
