"""The browser's installation: apt is told the certificates and the proxy, and its failure says what was used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local import browser
from pipeline_tuner.local.paths import Layout

APT = """#!/bin/sh
echo "$@" >> {folder}/asked
echo "$https_proxy $SSL_CERT_FILE" >> {folder}/variables
if [ -f {folder}/locked ]; then
  echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)" >&2
  read left < {folder}/locked
  left=$((left - 1))
  echo $left > {folder}/locked
  [ $left -lt 0 ] || exit 100
fi
case "$*" in
  *update*) exit {update} ;;
  *) printf '#!/bin/sh\\n' > {folder}/chromium; chmod 755 {folder}/chromium ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that makes a machine whose apt-get can or can't reach its archive, behind a proxy with a login."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example.com:3128")

    def make(update: int) -> Layout:
        program = tmp_path / "apt-get"
        program.write_text(APT.format(folder=tmp_path, update=update), encoding="utf-8")
        program.chmod(0o755)
        (tmp_path / "chmod").symlink_to("/bin/chmod")
        monkeypatch.setenv("PATH", str(tmp_path))
        return Layout(tmp_path)

    return make


def test_apt_is_told_certificates_and_proxy_and_no_password_is_an_argument(machine, tmp_path):
    assert browser.install_browser(machine(update=0)) == str(tmp_path / "chromium")
    bundle = tmp_path / ".local" / "certificates" / "trusted.pem"
    assert bundle.read_text(encoding="ascii").startswith("-----BEGIN CERTIFICATE-----")
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert asked.count(f"Acquire::https::CaInfo={bundle}") == 2
    assert "secret" not in asked
    assert "http://me:secret@proxy.example.com:3128" in (tmp_path / "variables").read_text(encoding="utf-8")


def test_another_apt_is_waited_for(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "LOCK_POLL_S", 0.01)
    (tmp_path / "locked").write_text("2\n", encoding="utf-8")
    assert browser.install_browser(machine(update=0)) == str(tmp_path / "chromium")
    assert len((tmp_path / "asked").read_text(encoding="utf-8").splitlines()) == 4, "two refused, two done"


def test_another_apt_that_does_not_end_is_said_and_nothing_else_is_blamed(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "LOCK_WAIT_S", 0.0)
    (tmp_path / "locked").write_text("9\n", encoding="utf-8")
    with pytest.raises(InfrastructureError, match="Another apt has been at work on this machine"):
        browser.install_browser(machine(update=0))


def test_an_archive_that_cannot_be_reached_is_named_with_what_was_used(machine):
    with pytest.raises(InfrastructureError) as raised:
        browser.install_browser(machine(update=100))
    said = str(raised.value)
    assert "Debian's package archive" in said
    assert "proxy used: proxy.example.com:3128, from HTTPS_PROXY" in said
    assert "secret" not in said
