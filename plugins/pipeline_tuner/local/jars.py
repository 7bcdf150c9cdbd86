"""Spark's jars and their versions: resolved by their Maven coordinates through Spark's own Ivy, then used as local
files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipeline_tuner.exceptions import InfrastructureError
from pipeline_tuner.local.certificates import JAVAS_OWN
from pipeline_tuner.local.download_fault import AddressKind, Fault, find_fault
from pipeline_tuner.local.java import QUICKLY_COMPILED, download_options, java_home, own_certificates
from pipeline_tuner.local.network import Network
from pipeline_tuner.local.paths import Layout, one_at_a_time
from pipeline_tuner.local.usable_folders import java_variables

GROUPS = {
    "postgresql": ["org.postgresql:postgresql:42.7.14"],
    "iceberg": ["org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0"],
    "s3": [
        "org.apache.hadoop:hadoop-aws:3.4.2",
        "software.amazon.awssdk:s3-transfer-manager:2.29.52",
        "software.amazon.awssdk:apache-client:2.29.52",
        "software.amazon.awssdk:sts:2.29.52",
    ],
    "glue_catalog": ["org.apache.iceberg:iceberg-aws-bundle:1.12.0"],
}
"""What is downloaded together: a job waits only for the groups that it needs."""
EXCLUDED = ("software.amazon.awssdk:bundle",)
"""641 MB that hadoop-aws asks for; the three small packages beside it are enough."""

MAVEN = "https://repo1.maven.org/maven2/"
MIRROR_VARIABLE = "DEFAULT_ARTIFACT_REPOSITORY"
"""Spark's own: a mirror that it asks instead of Maven's repository."""

RESOLVE = """
import sys
from pyspark import SparkConf
from pyspark.java_gateway import launch_gateway
packages, excludes, folder = sys.argv[1:]
conf = SparkConf(loadDefaults=False)
conf.set("spark.jars.packages", packages).set("spark.jars.excludes", excludes).set("spark.jars.ivy", folder)
launch_gateway(conf).shutdown()
"""
"""Spark resolves before a gateway answers: no session is needed."""


def fetch(layout: Layout, *groups: str) -> list[Path]:
    """The jars of some groups as local files, downloaded where they are not there yet.

    Raises InfrastructureError with what the resolution printed where a package can't be had.
    """
    for group in groups:
        with one_at_a_time(layout.local / "jars" / f"{group}.lock"):
            if not _is_complete(layout, group):
                _resolve(layout, group)
    return [path for group in groups for path in _files(layout, group)]


def present(layout: Layout) -> list[Path]:
    """The jars of the embedded default that have been downloaded; those for AWS clash with one another."""
    return [
        path for group in ("postgresql", "iceberg") if _is_complete(layout, group) for path in _files(layout, group)
    ]


def _folder(layout: Layout, group: str) -> Path:
    return layout.local / "jars" / group


def _files(layout: Layout, group: str) -> list[Path]:
    return sorted((_folder(layout, group) / "jars").glob("*.jar"))


def _is_complete(layout: Layout, group: str) -> bool:
    resolved = _folder(layout, group) / "resolved"
    return resolved.exists() and resolved.read_text(encoding="utf-8").split() == GROUPS[group]


def _resolve(layout: Layout, group: str) -> None:
    folder = _folder(layout, group)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    home = java_home(layout)
    network = _network(home)
    options = _quoted(download_options(layout, home, network))
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, ",".join(GROUPS[group]), ",".join(EXCLUDED), folder],
        env=_variables(layout, home, options),
        capture_output=True,
        text=True,
    )
    wanted = {f"{name}-{version}.jar" for _, name, version in (package.split(":") for package in GROUPS[group])}
    found = {path.name for path in _files(layout, group)}
    if done.returncode or not all(any(jar.endswith(name) for jar in found) for name in wanted):
        found_fault = find_fault(AddressKind.JARS, _address(group), network)
        # Java repeats its options, a proxy's password among them.
        output = done.stderr.replace(options, "...")[-3000:] + "\n" if found_fault.fault is Fault.NONE else ""
        names = ", ".join(GROUPS[group])
        raise InfrastructureError(f"{output}the jars {names} can't be had:\n{found_fault.message()}")
    (folder / "resolved").write_text("\n".join(GROUPS[group]), encoding="utf-8")


def _network(home: Path) -> Network:
    """The machine's network, trusting too whom this Java trusts by itself."""
    network = Network.of_machine(sys.executable)
    own = own_certificates(home)
    return replace(network, certificates=network.certificates.with_more(own, JAVAS_OWN, home)) if own else network


def _variables(layout: Layout, home: Path, options: str) -> dict[str, str]:
    own = {**java_variables(layout.local), "JAVA_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    # A variable and no argument: everybody on the machine sees arguments, and a proxy's address may hold a password.
    own["JAVA_TOOL_OPTIONS"] = " ".join(filter(None, [options, QUICKLY_COMPILED, own.get("JAVA_TOOL_OPTIONS")]))
    return {**os.environ, **own}


def _quoted(options: Iterable[str]) -> str:
    """Java splits them at blanks that stand outside quotes, and knows no quote inside a quoted part."""
    return " ".join(f"'{option}'" if '"' in option else f'"{option}"' for option in options)


def _address(group: str) -> str:
    """Where the first package of a group is looked for."""
    organisation, name, version = GROUPS[group][0].split(":")
    root = os.environ.get(MIRROR_VARIABLE) or MAVEN
    return f"{root.rstrip('/')}/{organisation.replace('.', '/')}/{name}/{version}/{name}-{version}.pom"
