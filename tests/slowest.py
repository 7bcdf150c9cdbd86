"""Which tests a run spent its time on: `python -m tests.slowest` reads what `make test` left in build/tests.xml."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

REPORT = Path("build/tests.xml")


def seconds_by_test(report: Path) -> Counter[str]:
    """Seconds of each test, those of its own fixtures included."""
    found: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):
        found[f"{case.get('classname', '').removeprefix('tests.')} {case.get('name')}"] += float(case.get("time", 0))
    return found


def table(title: str, seconds: Counter[str], count: int) -> str:
    """The slowest as a table in Markdown."""
    whole = sum(seconds.values()) or 1.0
    lines = [f"| s | part | {title} |", "|---|---|---|"]
    lines += [f"| {each:.0f} | {each / whole:.1%} | {name} |" for name, each in seconds.most_common(count)]
    return "\n".join(lines)


def main() -> int:
    """Print the slowest files and tests of the last run. Returns the exit code."""
    if not REPORT.exists():
        print(f"there is no {REPORT}: run `make test` first", file=sys.stderr)
        return 1
    tests = seconds_by_test(REPORT)
    files: Counter[str] = Counter()
    for name, each in tests.items():
        files[name.split(" ")[0]] += each
    print(table("file", files, 20), table("test", tests, 20), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
