"""The environments in which downloads must work, and those in which they must say why they don't: a row each."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.environments.company import INSIDE, Authority, Company
from tests.environments.machine import Machine

from pipeline_tuner.local.download_fault import Fault

DEBIAN_STORE = "/etc/ssl/certs/ca-certificates.crt"
RED_HAT_STORE = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"


@dataclass(frozen=True)
class Setting:
    """What the rows are made from: the company, and a folder of this test's own."""

    company: Company
    folder: Path

    @property
    def authority(self) -> Path:
        return self.company.authority.certificate

    @property
    def home(self) -> Path:
        """An empty HOME."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return home

    def variables(self, host: str = "localhost", **more: str | Path) -> dict[str, str]:
        """HOME, the index by a variable of pip's, and some more."""
        own = {"HOME": self.home, "PIP_INDEX_URL": self.company.index(host), **more}
        return {name: str(value) for name, value in own.items()}

    def hashed_folder(self) -> Path:
        """A folder of certificates as `c_rehash` makes it: names are hashes, links to the files."""
        folder = self.folder / "hashed"
        folder.mkdir()
        shutil.copy(self.authority, folder / "company.pem")
        command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(self.authority)]
        name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        (folder / f"{name}.0").symlink_to("company.pem")
        return folder

    def pip_configuration(self, **options: str | Path) -> dict[str, str]:
        """A HOME with a pip.conf, and nothing else."""
        file = self.home / ".config" / "pip" / "pip.conf"
        file.parent.mkdir(parents=True)
        lines = [f"{name.replace('_', '-')} = {value}" for name, value in options.items()]
        file.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
        return {"HOME": str(self.home)}

    def other_authority(self) -> Path:
        """A PEM file with somebody else's certificate."""
        folder = self.folder / "other"
        folder.mkdir()
        return Authority.make(folder, "Another authority").certificate


@dataclass(frozen=True)
class Working:
    """A row: in this environment packages and jars arrive. `jars_too`: in the short form as well."""

    name: str
    machine: Callable[[Setting], Machine]
    host: str = "localhost"
    in_short: bool = False
    """Done in every run of the tests; the others in the long one."""
    jars_too: bool = False
    folder: str = "project"
    makes_environment: bool = False


@dataclass(frozen=True)
class Refused:
    """A row: here they can't arrive, and the message names the fault."""

    name: str
    machine: Callable[[Setting], Machine]
    fault: Fault
    says: tuple[str, ...]
    in_short: bool = False


def _store(place: str) -> Callable[[Setting], Machine]:
    return lambda s: Machine(s.variables(), etc={place: s.authority})


def _variable(name: str) -> Callable[[Setting], Machine]:
    return lambda s: Machine(s.variables(**{name: s.authority}))


def _behind_proxy(**variables: str) -> Callable[[Setting], Machine]:
    def machine(s: Setting) -> Machine:
        named: Mapping[str, str] = {name: value.format(proxy=s.company.proxy()) for name, value in variables.items()}
        return Machine(s.variables(INSIDE, SSL_CERT_FILE=s.authority, **named))

    return machine


WORKING = (
    Working("the system's store of Debian", _store(DEBIAN_STORE), in_short=True),
    Working("the system's store of Red Hat", _store(RED_HAT_STORE)),
    Working(
        "the system's store as a folder of hashed names",
        lambda s: Machine(s.variables(), etc={"/etc/ssl/certs": s.hashed_folder()}),
        in_short=True,
    ),
    Working("SSL_CERT_FILE", _variable("SSL_CERT_FILE")),
    Working("SSL_CERT_DIR", lambda s: Machine(s.variables(SSL_CERT_DIR=s.hashed_folder()))),
    Working("REQUESTS_CA_BUNDLE", _variable("REQUESTS_CA_BUNDLE")),
    Working(
        "pip's configuration: certificates and index",
        lambda s: Machine(s.pip_configuration(cert=s.authority, index_url=s.company.index())),
        in_short=True,
        jars_too=True,
    ),
    Working(
        "pip's configuration: proxy",
        lambda s: Machine(
            s.pip_configuration(
                cert=s.authority, index_url=s.company.index(INSIDE), proxy=s.company.proxy(), user="true"
            )
        ),
        host=INSIDE,
    ),
    Working("HTTPS_PROXY with a login", _behind_proxy(HTTPS_PROXY="{proxy}"), host=INSIDE, in_short=True),
    Working(
        "a variable for another company's certificate, the own one in the system's store",
        lambda s: Machine(s.variables(SSL_CERT_FILE=s.other_authority()), etc={DEBIAN_STORE: s.authority}),
    ),
    Working(
        "the machine's own Java, SSL_CERT_FILE",
        lambda s: Machine(s.variables(SSL_CERT_FILE=s.authority, JAVA_HOME=_javas_home()), has_stores=True),
    ),
    Working(
        "no write access to HOME",
        lambda s: Machine(s.variables(SSL_CERT_FILE=s.authority), read_only=(s.home,)),
        in_short=True,
    ),
    Working("no HOME at all", lambda s: Machine(s.variables(SSL_CERT_FILE=s.authority, HOME=s.folder / "nowhere"))),
    Working(
        "a path with spaces and letters beyond ASCII, umask 077, LC_ALL=C",
        lambda s: Machine(s.variables(SSL_CERT_FILE=s.authority, LC_ALL="C"), umask="077"),
        folder="Prüfung № 1, größer",
        in_short=True,
        jars_too=True,
        makes_environment=True,
    ),
    Working(
        "/tmp mounted noexec",
        lambda s: Machine(s.variables(SSL_CERT_FILE=s.authority), noexec=("/tmp",)),
    ),
)

REFUSED = (
    Refused(
        "nobody trusts the company's certificate",
        lambda s: Machine(s.variables(), etc={DEBIAN_STORE: s.other_authority()}),
        Fault.UNKNOWN_ISSUER,
        ("certificates used: 1 from the system's store, /etc/ssl/certs/ca-certificates.crt", "Set SSL_CERT_FILE"),
        in_short=True,
    ),
    Refused(
        "SSL_CERT_FILE names no file",
        lambda s: Machine(s.variables(SSL_CERT_FILE="/nowhere.pem")),
        Fault.UNKNOWN_ISSUER,
        ("none from SSL_CERT_FILE, /nowhere.pem: no certificate there",),
    ),
    Refused(
        "the index's name is known to the proxy only, and no proxy is set",
        lambda s: Machine(s.variables(INSIDE, SSL_CERT_FILE=s.authority)),
        Fault.NAME,
        (INSIDE, "HTTPS_PROXY", "global.index-url"),
        in_short=True,
    ),
    Refused(
        "the proxy wants a login",
        lambda s: Machine(s.variables(INSIDE, SSL_CERT_FILE=s.authority, HTTPS_PROXY=s.company.proxy(login=False))),
        Fault.PROXY_LOGIN,
        ("from HTTPS_PROXY", "USER:PASSWORD"),
    ),
    Refused(
        "no proxy listens where HTTPS_PROXY says",
        lambda s: Machine(s.variables(INSIDE, SSL_CERT_FILE=s.authority, HTTPS_PROXY="http://127.0.0.1:9")),
        Fault.PROXY_CONNECTION,
        ("127.0.0.1:9, from HTTPS_PROXY",),
    ),
    Refused(
        "no index at the address",
        lambda s: Machine(s.variables(SSL_CERT_FILE=s.authority, PIP_INDEX_URL=s.company.index() + "nowhere/")),
        Fault.MISSING,
        ("global.index-url",),
    ),
)


def _javas_home() -> Path:
    found = shutil.which("java")
    return Path(found).resolve().parents[1] if found else Path("/nonexistent")
