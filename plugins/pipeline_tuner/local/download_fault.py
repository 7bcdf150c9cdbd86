"""Why a download failed (proxy, certificate, name, ...), found by asking its address once more, and what to set.

Only the standard library is used: the installation runs this first.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, StrEnum
from urllib.parse import urlsplit

from pipeline_tuner.local.network import SOCKS, Network, Proxy

TIMEOUT_S = 15


class AddressKind(StrEnum):
    """What is downloaded from an address."""

    PACKAGES = "the package index"
    JARS = "the Maven repository"


class Fault(Enum):
    """What is wrong between this machine and an address."""

    UNKNOWN_ISSUER = "its certificate is signed by nobody whom this machine trusts"
    OUT_OF_DATE = "its certificate is not valid at the time that this machine's clock shows"
    OTHER_NAME = "its certificate is for another name"
    NAME = "its name can't be looked up"
    CONNECTION = "no connection comes about"
    PROXY_CONNECTION = "the proxy can't be reached"
    PROXY_KIND = "the proxy speaks SOCKS, which pip doesn't"
    PROXY_LOGIN = "the proxy wants a user and a password"
    PROXY_REFUSAL = "the proxy refuses this address"
    LOGIN = "it wants a login, or refuses this one"
    MISSING = "there is nothing at this address"
    SERVER = "it answers with an error of its own"
    NONE = "it answers now"


VERIFY_CODES: Mapping[int, Fault] = {9: Fault.OUT_OF_DATE, 10: Fault.OUT_OF_DATE, 62: Fault.OTHER_NAME}
"""OpenSSL's numbers (X509_V_ERR_*); every other one means that the issuer is not trusted."""

MIRRORS: Mapping[AddressKind, str] = {
    AddressKind.PACKAGES: "pip config set global.index-url ADDRESS",
    AddressKind.JARS: "DEFAULT_ARTIFACT_REPOSITORY=ADDRESS",
}

REMEDIES: Mapping[Fault, str] = {
    Fault.UNKNOWN_ISSUER: "Set SSL_CERT_FILE to a PEM file with the certificate of your company's authority.",
    Fault.OUT_OF_DATE: "Set this machine's clock; where it is right, the server's certificate has to be renewed.",
    Fault.OTHER_NAME: "Set the address to the server's own name: {mirror}",
    Fault.NAME: "Behind a proxy set HTTPS_PROXY=http://HOST:PORT; for a mirror of your company's: {mirror}",
    Fault.CONNECTION: "Behind a proxy set HTTPS_PROXY=http://HOST:PORT; for a mirror of your company's: {mirror}",
    Fault.PROXY_CONNECTION: "Correct the proxy's address, or unset it where none is needed.",
    Fault.PROXY_KIND: "Set HTTPS_PROXY=http://HOST:PORT to a proxy that speaks HTTP.",
    Fault.PROXY_LOGIN: "Set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
    Fault.PROXY_REFUSAL: "Ask for the address to be allowed, or set a mirror of your company's: {mirror}",
    Fault.LOGIN: "Put user and password into ~/.netrc, or set the address with them: {mirror}",
    Fault.MISSING: "Correct the address: {mirror}",
    Fault.SERVER: "Try again later, or set another one: {mirror}",
    Fault.NONE: "The lines above say what failed. Try again where it was the network.",
}


@dataclass(frozen=True)
class DownloadFault:
    """What was found at an address, and with what it was asked."""

    kind: AddressKind
    address: str
    """Scheme, host and port; no password."""
    fault: Fault
    detail: str
    network: Network

    def message(self) -> str:
        """Which address failed, why, what was used, and what to set. Four lines."""
        detail = f" ({self.detail})" if self.detail else ""
        proxy = self.network.package_proxy if self.kind is AddressKind.PACKAGES else self.network.proxy
        used = f"{proxy.host}:{proxy.port}, from {proxy.origin}" if proxy else "none"
        return "\n".join(
            [
                f"{self.kind} {self.address}: {self.fault.value}{detail}.",
                f"  certificates used: {self.network.certificates.words()}",
                f"  proxy used: {used}",
                f"  what to do: {REMEDIES[self.fault].format(mirror=MIRRORS[self.kind])}",
            ]
        )


def find_fault(kind: AddressKind, url: str, network: Network) -> DownloadFault:
    """Ask an address once, with the certificates and the proxy that downloads use, and say what is wrong with it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    proxy = network.package_proxy if kind is AddressKind.PACKAGES else network.proxy
    if proxy is not None and network.goes_direct(host):
        proxy = None
    fault, detail = _ask(parts.scheme, host, port, parts.path or "/", network, proxy)
    return DownloadFault(kind, f"{parts.scheme}://{host}:{port}", fault, detail, network)


def _ask(scheme: str, host: str, port: int, path: str, network: Network, proxy: Proxy | None) -> tuple[Fault, str]:
    if proxy is not None:
        if proxy.scheme.startswith(SOCKS):
            return Fault.PROXY_KIND, proxy.scheme
        if refused := _tunnel_refused(proxy, host, port):
            return refused
        if proxy.scheme == "https":
            return Fault.NONE, "asked as far as to the proxy"  # this ssl module makes no TLS inside of TLS
    try:
        with closing(_connected(host, port, proxy)) as plain:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
            connection.sock = _context(network).wrap_socket(plain, server_hostname=host) if scheme == "https" else plain
            connection.request("GET", path, headers={"Host": host})
            return _of_status(connection.getresponse().status), ""
    except ssl.SSLCertVerificationError as error:
        return VERIFY_CODES.get(error.verify_code, Fault.UNKNOWN_ISSUER), error.verify_message
    except socket.gaierror as error:
        return Fault.NAME, error.strerror or ""
    except (OSError, http.client.HTTPException) as error:
        return Fault.CONNECTION, str(error)


def _context(network: Network) -> ssl.SSLContext:
    pems = "\n".join(network.certificates.pems)
    return ssl.create_default_context(cadata=pems) if pems else ssl.create_default_context()


def _connected(host: str, port: int, proxy: Proxy | None) -> socket.socket:
    if proxy is None:
        return socket.create_connection((host, port), TIMEOUT_S)
    connection, _ = _tunnel(proxy, host, port)
    return connection


def _tunnel_refused(proxy: Proxy, host: str, port: int) -> tuple[Fault, str] | None:
    try:
        connection, status = _tunnel(proxy, host, port)
    except (OSError, http.client.HTTPException) as error:
        return Fault.PROXY_CONNECTION, str(error)
    connection.close()
    if status == 200:
        return None
    return (Fault.PROXY_LOGIN if status == 407 else Fault.PROXY_REFUSAL), f"status {status}"


def _tunnel(proxy: Proxy, host: str, port: int) -> tuple[socket.socket, int]:
    """A connection through the proxy, and the status with which the proxy answered."""
    kind = http.client.HTTPSConnection if proxy.scheme == "https" else http.client.HTTPConnection
    connection = kind(proxy.host, proxy.port, timeout=TIMEOUT_S)
    headers = {"Host": f"{host}:{port}"}
    if proxy.login:
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(":".join(proxy.login).encode()).decode()
    connection.putrequest("CONNECT", f"{host}:{port}", skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    # The answer to CONNECT has no body: what follows belongs to the tunnel.
    answer = http.client.HTTPResponse(connection.sock, method="CONNECT")
    answer.begin()
    return connection.sock, answer.status


def _of_status(status: int) -> Fault:
    if status < 400:
        return Fault.NONE
    if status in (401, 403):
        return Fault.LOGIN
    return Fault.MISSING if status < 500 else Fault.SERVER
