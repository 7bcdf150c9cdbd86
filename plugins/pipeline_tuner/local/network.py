"""Proxy, certificates and package index for downloads, worked out once for pip, uv, Java and apt.

Each of these programs reads other variables and files. What a user says to one of them is here told to all. Only the
standard library is used: the installation runs this first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline_tuner.local.certificates import Certificates
from pipeline_tuner.local.pip_settings import PipSettings

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
ANY_PROXY_VARIABLES = (*PROXY_VARIABLES, "HTTP_PROXY", "http_proxy")
SOCKS = "socks"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""What no proxy is asked for."""


@dataclass(frozen=True)
class Proxy:
    """A proxy and who named it. `url` may hold a password."""

    url: str = field(repr=False)
    origin: str

    @property
    def host(self) -> str:
        """Its name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its port; 80 or 443 where the address says none."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def scheme(self) -> str:
        """`http`, `https` (the proxy itself is asked by TLS) or one that begins with `socks`."""
        return urlsplit(self.url).scheme.lower()

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password, where the address holds them."""
        parts = urlsplit(self.url)
        return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


@dataclass(frozen=True)
class Network:
    """What a download of this machine uses."""

    certificates: Certificates
    pip: PipSettings = field(default_factory=PipSettings)
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @classmethod
    def of_machine(cls, python: str | Path) -> Network:
        """The network as variables, the configuration of a Python's pip and the system say."""
        pip = PipSettings.of(python)
        return cls(Certificates.of_machine(pip.certificates), pip)

    @property
    def proxy(self) -> Proxy | None:
        """The proxy that variables name, else pip's."""
        for name in PROXY_VARIABLES:
            if value := self.variables.get(name):
                return Proxy(_with_scheme(value), name)
        return self.package_proxy if self.pip.proxy else None

    @property
    def package_proxy(self) -> Proxy | None:
        """The proxy for packages: pip's own wins over the variables, as in pip."""
        return Proxy(_with_scheme(self.pip.proxy), "pip's configuration (proxy)") if self.pip.proxy else self.proxy

    def goes_direct(self, host: str) -> bool:
        """True where NO_PROXY says that no proxy is to be asked for a host."""
        return any(name == "*" or host == name or host.endswith(f".{name}") for name in self._unproxied())

    def download_variables(self, bundle: Path) -> dict[str, str]:
        """The variables for any program that downloads; `bundle` is the file that holds the certificates."""
        file = str(bundle.resolve())
        trusted = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"), file)
        return {**self.variables, **trusted} if self.certificates.pems else dict(self.variables)

    def uv_variables(self, bundle: Path, cache: Path | None) -> dict[str, str]:
        """The variables for uv, which reads nothing of pip's. What UV_* says itself stays."""
        pip = self.pip
        told: dict[str, str | None] = {
            "UV_DEFAULT_INDEX": pip.index_url,
            "UV_INDEX": " ".join(pip.extra_index_urls),
            # As pip does it, and safe here: every package is held to the hash in the lock.
            "UV_INDEX_STRATEGY": "unsafe-best-match" if pip.extra_index_urls else None,
            "UV_FIND_LINKS": ",".join(pip.find_links),
            "UV_NO_INDEX": "1" if pip.no_index else None,
            "UV_INSECURE_HOST": " ".join(pip.trusted_hosts),
            "UV_HTTP_TIMEOUT": pip.timeout_s,
            "UV_CACHE_DIR": str(cache) if cache else None,
            "SSL_CLIENT_CERT": pip.client_certificate,
        }
        proxy = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), _with_scheme(pip.proxy)) if pip.proxy else {}
        own = {name: value for name, value in told.items() if value and name not in self.variables}
        return {**self.download_variables(bundle), **proxy, **own}

    def java_proxy_options(self) -> list[str]:
        """The options with which Java uses the proxy: it reads no variable."""
        proxy = self.proxy
        if proxy is None:
            return []
        if proxy.scheme.startswith(SOCKS):
            return [f"-DsocksProxyHost={proxy.host}", f"-DsocksProxyPort={proxy.port}"]
        options = [f"-D{kind}.proxy{name}" for kind in ("http", "https") for name in _place(proxy)]
        options.append(f"-Dhttp.nonProxyHosts={'|'.join(_java_patterns(self._unproxied()))}")
        if proxy.login:
            user, password = proxy.login
            options += [f"-D{kind}.proxyUser={user}" for kind in ("http", "https")]
            options += [f"-D{kind}.proxyPassword={password}" for kind in ("http", "https")]
            options.append("-Djdk.http.auth.tunneling.disabledSchemes=")
        return options

    def _unproxied(self) -> list[str]:
        named = ",".join(filter(None, [self.variables.get("NO_PROXY"), self.variables.get("no_proxy")]))
        return [*LOOPBACK, *(name.strip().lstrip(".") for name in named.split(",") if name.strip())]


def loopback_without_proxy(variables: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY with this machine's own addresses in it: programs that talk on loopback must not ask a proxy.

    A proxy that speaks SOCKS is taken away: Airflow's client of its own server refuses to start beside one.
    """
    named = variables.get("NO_PROXY") or variables.get("no_proxy") or ""
    names = [name for name in named.split(",") if name]
    value = ",".join([*names, *(name for name in LOOPBACK if name not in names)])
    without = {name: "" for name in ANY_PROXY_VARIABLES if variables.get(name, "").lower().startswith(SOCKS)}
    return {**without, "NO_PROXY": value, "no_proxy": value}


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _place(proxy: Proxy) -> tuple[str, str]:
    return f"Host={proxy.host}", f"Port={proxy.port}"


def _java_patterns(names: list[str]) -> list[str]:
    return [pattern for name in names for pattern in ((name,) if name == "*" else (name, f"*.{name}"))]
