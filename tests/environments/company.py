"""A company's network on loopback: its own authority, a server with packages and jars, a proxy that wants a login.

Nothing of it answers to an address outside this machine.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import ipaddress
import socket
import ssl
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

INSIDE = "packages.company.test"
"""A name that only the proxy can look up."""
LOGIN = ("an employee", "p@ss:word")
JAR = "test.company:nothing:1.0"
PACKAGE = "company_package"


@dataclass(frozen=True)
class Authority:
    """A self-made authority, and a server's certificate that it signed."""

    certificate: Path
    server_chain: Path

    @classmethod
    def make(cls, folder: Path, called: str = "Authority of the tests") -> Authority:
        key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
        own = _certificate(name, name, key, key, is_authority=True)
        server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        server = _certificate(server_name, name, server_key, key, is_authority=False)
        made = cls(folder / "authority.pem", folder / "server.pem")
        made.certificate.write_bytes(own.public_bytes(Encoding.PEM))
        secret = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        made.server_chain.write_bytes(secret + server.public_bytes(Encoding.PEM))
        return made


def _certificate(subject, issuer, key, issuer_key, *, is_authority):
    addresses = [x509.DNSName("localhost"), x509.DNSName(INSIDE), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    if not is_authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@dataclass
class Company:
    """The running servers: `index` and `maven` are addresses, `lock` names what the index holds."""

    authority: Authority
    port: int
    proxy_port: int
    lock: str
    tunnels: list[str] = field(default_factory=list)
    """What the proxy was asked for and let through."""

    def index(self, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}/simple/"

    def maven(self, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}/maven/"

    def proxy(self, *, login: bool = True) -> str:
        user = "an%20employee:p%40ss%3Aword@" if login else ""
        return f"http://{user}127.0.0.1:{self.proxy_port}"


class QuietServer(ThreadingHTTPServer):
    """A server that prints nothing about the clients who trust it not: they say it themselves."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@contextmanager
def running_company(folder: Path) -> Iterator[Company]:
    """The servers, for as long as the block lasts."""
    authority = Authority.make(folder)
    wheels = {"uv": _wheel_of_uv(), PACKAGE: _wheel(PACKAGE, "1.0", {f"{PACKAGE}.py": b"there = True\n"})}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_chain)
    server = QuietServer(("127.0.0.1", 0), _serving({**_index(wheels), **_maven()}))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    tunnels: list[str] = []
    proxy = QuietServer(("127.0.0.1", 0), _tunnelling(server.server_port, tunnels))
    for one in (server, proxy):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    try:
        yield Company(authority, server.server_port, proxy.server_port, _lock(wheels), tunnels)
    finally:
        for one in (server, proxy):
            one.shutdown()
            one.server_close()


@dataclass(frozen=True)
class Wheel:
    file: str
    version: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def _wheel(name: str, version: str, files: Mapping[str, bytes], tag: str = "py3-none-any") -> Wheel:
    info = f"{name}-{version}.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    listed = "".join(f"{path},,\n" for path in (*files, *about, f"{info}/RECORD"))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, data in {**files, **about, f"{info}/RECORD": listed.encode()}.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
            archive.writestr(entry, data)
    return Wheel(f"{name}-{version}-{tag}.whl", version, content.getvalue())


def _wheel_of_uv() -> Wheel:
    """The uv of this environment, as a wheel again: pip then installs it as it does the real one."""
    installed = distribution("uv")
    files = {str(path): path.locate() for path in installed.files or () if "dist-info" not in path.parts[0]}
    python = {
        name: Path(path).read_bytes() for name, path in files.items() if name.endswith(".py") and ".." not in name
    }
    program = next(Path(path) for name, path in files.items() if name.endswith("bin/uv"))
    scripts = {f"uv-{installed.version}.data/scripts/uv": program.read_bytes()}
    return _wheel("uv", installed.version, {**python, **scripts})


def _lock(wheels: Mapping[str, Wheel]) -> str:
    lines = [f"{name}=={wheel.version} \\\n    --hash=sha256:{wheel.sha256}\n" for name, wheel in wheels.items()]
    return "".join(lines)


def _index(wheels: Mapping[str, Wheel]) -> dict[str, bytes]:
    pages = {"/simple/": b"<html></html>"}
    for name, wheel in wheels.items():
        link = f'<a href="../../files/{wheel.file}#sha256={wheel.sha256}">{wheel.file}</a>'
        pages[f"/simple/{name.replace('_', '-')}/"] = f"<html><body>{link}</body></html>".encode()
        pages[f"/files/{wheel.file}"] = wheel.content
    return pages


def _maven() -> dict[str, bytes]:
    organisation, name, version = JAR.split(":")
    coordinates = f"<groupId>{organisation}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("nothing.txt", "nothing")
    place = f"/maven/{organisation.replace('.', '/')}/{name}/{version}/{name}-{version}"
    pom = f"<project><modelVersion>4.0.0</modelVersion>{coordinates}</project>".encode()
    return {f"{place}.pom": pom, f"{place}.jar": jar.getvalue()}


def _serving(pages: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    class Pages(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self):
            page = pages.get(self.path)
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            if self.command == "GET" and page:
                self.wfile.write(page)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    return Pages


def _tunnelling(server_port: int, tunnels: list[str]) -> type[BaseHTTPRequestHandler]:
    """A proxy that wants LOGIN, and brings whoever asks for INSIDE or localhost to the server."""
    wanted = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()

    class Tunnels(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_CONNECT(self):
            if self.headers.get("Proxy-Authorization") != wanted:
                self.send_response(407)
                self.send_header("Proxy-Authenticate", 'Basic realm="company"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            tunnels.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            with socket.create_connection(("127.0.0.1", server_port)) as inner:
                back = threading.Thread(target=_pass_on, args=(inner, self.connection), daemon=True)
                back.start()
                _pass_on(self.connection, inner)
                back.join()

        def log_message(self, *_):
            pass

    return Tunnels


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except (OSError, http.client.HTTPException):
        return
