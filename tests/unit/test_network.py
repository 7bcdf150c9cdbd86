"""What downloads are told: pip's settings, certificates and the proxy, for programs that read other names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tuner.local import certificates, memory_check
from pipeline_tuner.local.certificates import Certificates
from pipeline_tuner.local.download_fault import AddressKind, Fault, find_fault
from pipeline_tuner.local.network import Network, loopback_without_proxy
from pipeline_tuner.local.pip_settings import PipSettings

LOCAL = Path(certificates.__file__).parent
ONE, TWO = (f"-----BEGIN CERTIFICATE-----\n{letter * 8}\n-----END CERTIFICATE-----" for letter in "AB")


def test_what_the_installation_runs_needs_no_package():
    """Nor does any module that comes with it, such as the package's own."""
    code = f"import sys; sys.path.insert(0, {str(LOCAL.parents[1])!r}); import pipeline_tuner.local.install"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_later_section_of_pips_configuration_wins():
    listing = (
        "global.index-url='https://global/simple'\n"
        "install.index-url='https://install/simple'\n"
        "global.extra-index-url='\\nhttps://a/simple\\nhttps://b/simple'\n"
        "global.trusted-host='a b'\n"
        "download.proxy='http://not-for-install'\n"
        ":env:.cert='/env.pem'\n"
        "global.cert='/global.pem'\n"
        ":env:.no-index='1'\n"
    )
    settings = PipSettings.parse(listing)
    assert settings.index_url == "https://install/simple"
    assert settings.extra_index_urls == ("https://a/simple", "https://b/simple")
    assert settings.trusted_hosts == ("a", "b")
    assert settings.proxy is None
    assert settings.certificates == "/env.pem"
    assert settings.no_index


def test_pips_folder_of_wheels_that_is_not_there_is_left_out(tmp_path: Path):
    listing = f"global.find-links='{tmp_path} {tmp_path}/nowhere https://links'\n"
    assert PipSettings.parse(listing).find_links == (str(tmp_path), "https://links")


def test_uv_is_told_what_pip_is_configured_with_and_its_own_variables_stay(tmp_path: Path):
    pip = PipSettings(
        index_url="https://index/simple", extra_index_urls=("https://more/simple",), proxy="proxy:3128", timeout_s="60"
    )
    network = Network(Certificates((ONE,), ()), pip, {"UV_HTTP_TIMEOUT": "90", "HTTPS_PROXY": "http://other:1"})
    variables = network.uv_variables(tmp_path / "bundle.pem", cache=None)
    assert variables["UV_DEFAULT_INDEX"] == "https://index/simple"
    assert variables["UV_INDEX"] == "https://more/simple"
    assert variables["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert variables["UV_HTTP_TIMEOUT"] == "90"
    assert variables["HTTPS_PROXY"] == "http://proxy:3128"
    assert variables["SSL_CERT_FILE"] == str(tmp_path / "bundle.pem")
    assert "UV_CACHE_DIR" not in variables


def test_a_certificate_in_several_places_counts_once_and_an_empty_place_is_named(tmp_path: Path):
    folder = tmp_path / "hashed"
    folder.mkdir()
    (folder / "one.pem").write_text(f"a comment\n{ONE}\n", encoding="utf-8")
    (folder / "0a1b2c3d.0").symlink_to("one.pem")
    (folder / "dangling.0").symlink_to("nowhere.pem")
    (folder / "two.crt").write_bytes(TWO.replace("\n", "\r\n").encode())
    both = tmp_path / "both.pem"
    both.write_text(f"{TWO}\n{ONE}\n", encoding="utf-8")
    found = Certificates.read([("folder", str(folder)), ("file", str(both)), ("typo", "/nowhere.pem")])
    assert sorted(found.pems) == [ONE, TWO]
    assert [source.count for source in found.sources] == [2, 2, 0]
    assert "none from typo, /nowhere.pem" in found.words()
    assert Certificates.read([("itself", str(found.write(tmp_path / "new" / "all.pem")))]).pems == found.pems


def test_every_variable_and_pips_file_are_read(tmp_path: Path):
    files = {name: tmp_path / name for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "pip")}
    for path in files.values():
        path.write_text(ONE, encoding="utf-8")
    variables = {name: str(path) for name, path in files.items() if name != "pip"}
    found = Certificates.of_machine(str(files["pip"]), variables)
    origins = [source.origin for source in found.sources]
    assert origins[:3] == ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", certificates.PIPS_OWN]
    assert ONE in found.pems


def test_a_machine_without_certificates_gets_those_of_pip(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(certificates, "_system_stores", lambda: iter(()))
    found = Certificates.of_machine(None, {})
    assert [source.origin for source in found.sources] == [certificates.BUNDLED]
    assert len(found.pems) > 50


def test_java_gets_the_proxy_with_its_login_and_who_needs_none():
    network = Network(
        Certificates((), ()),
        variables={
            "HTTPS_PROXY": "http://me:p%40ss@proxy.example.com:3128",
            "NO_PROXY": ".inside.example.com,10.0.0.1",
        },
    )
    options = network.java_proxy_options()
    assert {"-Dhttps.proxyHost=proxy.example.com", "-Dhttps.proxyPort=3128"} <= set(options)
    assert {"-Dhttps.proxyUser=me", "-Dhttps.proxyPassword=p@ss"} <= set(options)
    (unasked,) = (option for option in options if "nonProxyHosts" in option)
    patterns = unasked.split("=")[1].split("|")
    assert {"localhost", "127.0.0.1", "inside.example.com", "*.inside.example.com", "10.0.0.1"} <= set(patterns)
    assert network.goes_direct("a.inside.example.com")
    assert not network.goes_direct("outside.example.com")
    assert "p%40ss" not in repr(network)


@pytest.mark.parametrize("proxy", ["proxy:3128", "http://proxy:3128"])
def test_a_proxy_may_be_named_without_its_scheme(proxy: str):
    found = Network(Certificates((), ()), variables={"https_proxy": proxy}).proxy
    assert found is not None
    assert (found.host, found.port, found.login, found.origin) == ("proxy", 3128, None, "https_proxy")


def test_loopback_is_added_to_what_needs_no_proxy():
    assert loopback_without_proxy({})["NO_PROXY"] == "127.0.0.1,localhost,::1"
    assert loopback_without_proxy({"no_proxy": "a.b,localhost"})["no_proxy"] == "a.b,localhost,127.0.0.1,::1"


def test_a_proxy_that_speaks_socks_is_named_and_kept_from_airflow():
    variables = {"ALL_PROXY": "socks5h://proxy:1080", "HTTP_PROXY": "http://proxy:3128"}
    network = Network(Certificates((), ()), variables=variables)
    found = find_fault(AddressKind.PACKAGES, "https://packages.example.com/simple/", network)
    assert found.fault is Fault.PROXY_KIND
    assert "HTTPS_PROXY=http://HOST:PORT" in found.message()
    assert network.java_proxy_options() == ["-DsocksProxyHost=proxy", "-DsocksProxyPort=1080"]
    told = loopback_without_proxy(variables)
    assert told["ALL_PROXY"] == ""
    assert "HTTP_PROXY" not in told


def test_a_containers_limit_counts_as_the_machines_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("3000000000\n", encoding="ascii")
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    monkeypatch.setattr(memory_check, "CGROUPS", tmp_path)
    limits = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    if "memory" in limits:
        assert memory_check.memory_bytes() <= 3_000_000_000
    (tmp_path / "memory.max").write_text("2000000000\n", encoding="ascii")
    if "0::" in limits:
        assert memory_check.memory_bytes() == 2_000_000_000
