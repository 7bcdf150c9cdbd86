"""The YAML of studies: core schema of YAML 1.2, every key once, the line of every key for messages.

Against YAML 1.1, which PyYAML reads by itself: `on`, `off`, `yes` and `no` are text, `1e6` is a number, `012` is 12 and
`0o12` is 10; `1_000`, `1:30` and dates are text. `<<` still takes over another mapping's keys.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.problems import Path, Problem, shown

NO_TEXT = re.compile("[\0\ud800-\udfff]")
TAG = "tag:yaml.org,2002:"
MAX_VALUES = 100_000
"""More is no document of a person: aliases of aliases multiply."""
MAX_DIGITS = 400


class CoreLoader(yaml.SafeLoader):
    """PyYAML's loader with the core schema's idea of what a plain word is."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", "<<", ["<"]),
):
    CoreLoader.add_implicit_resolver(TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(frozen=True)
class Document:
    """What a YAML text says, where, and what is wrong with it beside its syntax."""

    values: Any
    lines: Mapping[Path, int]
    problems: tuple[Problem, ...]

    def line(self, path: Path) -> int:
        """The line of a key, from 1; of what it would be in, where it is missing."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(text: str, *, source: str) -> Document:
    """The document in a YAML text. Raises StudyError, in one line, where it is no YAML."""
    try:
        node = yaml.compose(text, Loader=CoreLoader)
        reading = _Reading()
        values = reading.value(node, ()) if node is not None else None
    except yaml.YAMLError as error:
        raise StudyError(f"{source}{_described(error)}") from None
    except (RecursionError, _TooMuchError):
        raise StudyError(f"{source} is not a study: it is nested too deeply, or its aliases multiply") from None
    return Document(values, reading.lines, tuple(reading.problems))


def read_text(path: FilePath) -> str:
    """A file of UTF-8 text. Raises StudyError, in one line, where it can't be read or is none."""
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise StudyError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StudyError(
            f"{path.name}:{line}: is not UTF-8 (byte 0x{raw[error.start]:02x}): save it as UTF-8, or run "
            f"iconv -f LATIN1 -t UTF-8 {shlex.quote(path.name)} > converted.yaml if it is Latin-1"
        ) from None


def _described(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    words = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    place = f":{mark.line + 1}: column {mark.column + 1}" if mark else ""
    return f"{place} is not YAML: {words}"


class _TooMuchError(Exception):
    """The document holds more values than a person writes."""


@dataclass
class _Reading:
    """Nodes of YAML as values, with their lines."""

    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _inside: set[int] = field(default_factory=set)
    _count: int = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_VALUES or id(node) in self._inside:
            raise _TooMuchError
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._inside.add(id(node))
        try:
            self._check_tag(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
            return self._mapping(node, path)  # a node is a scalar, a sequence or a mapping
        finally:
            self._inside.discard(id(node))

    def _mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{TAG}merge":
                merged = {**self._merged(value_node, path), **merged}
                continue
            key = self._key(key_node, path)
            here = (*path, key)
            if key in own:
                self._wrong(here, f"is there twice, in lines {self.lines[here]} and {key_node.start_mark.line + 1}")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, here)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        found = self.value(node, path)
        parts = found if isinstance(found, list) else [found]
        if not all(isinstance(part, dict) for part in parts):
            self._wrong((*path, "<<"), "must be a mapping, or a list of mappings")
            return {}
        return {key: value for part in reversed(parts) for key, value in part.items()}

    def _key(self, node: yaml.Node, path: Path) -> str:
        value = self.value(node, (*path, "?"))
        self.lines.pop((*path, "?"), None)
        if isinstance(value, str):
            return value
        text = node.value if isinstance(node, yaml.ScalarNode) else shown(value)
        self._wrong((*path, text), "a key must be text: put it in quotes")
        return text

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Hashable:
        text: str = node.value
        kind = node.tag.removeprefix(TAG)
        try:
            match kind:
                case "str" | "merge":
                    if NO_TEXT.search(text):
                        self._wrong(
                            path, "has a NUL or half a surrogate pair, which PostgreSQL can't keep: leave it out"
                        )
                    return text
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return _whole(text)
                case "float":
                    return self._finite(float(text.lower().replace(".inf", "inf").replace(".nan", "nan")), path)
        except (KeyError, ValueError):
            self._wrong(path, f"{text[:60]!r} is no {kind}")
            return text
        self._check_tag(node, path)
        return text

    def _finite(self, number: float, path: Path) -> float:
        if not math.isfinite(number):
            self._wrong(path, f"is {number}, must be a finite number")
            return 1.0
        return number

    def _check_tag(self, node: yaml.Node, path: Path) -> None:
        if node.tag not in (f"{TAG}map", f"{TAG}seq"):
            self._wrong(path, f"the tag {node.tag.replace(TAG, '!!')!r} has no meaning here: leave it out")

    def _wrong(self, path: Path, words: str) -> None:
        self.problems.append(Problem(path, words))


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(text)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text[2:] if base != 10 else text, base)
