"""The problems of a document that a person wrote (a study, options): every one listed, each with its key and line. No
I/O.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]
"""Keys and places of list entries, from the top of a document."""

SHOWN = 60
"""Characters of a value in a message."""
LISTED = 12
"""Names in a message that says which there are."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what would be right."""

    path: Path
    words: str

    @property
    def key(self) -> str:
        """Where it is: `space.parameters.level.tried, entry 2`."""
        return key_of(self.path)

    def __str__(self) -> str:
        return f"{self.key}: {self.words}" if self.path else self.words

    def __lt__(self, other: Problem) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[Any, ...]:
        return [(isinstance(step, int), step) for step in self.path], self.words

    def below(self, *path: str | int) -> Problem:
        """The problem as seen from further up the document."""
        return Problem((*path, *self.path), self.words)


class ProblemsError(ValueError):
    """All problems that a validator found, with paths below what it validates."""

    def __init__(self, found: Iterable[Problem]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(map(str, self.found)))


def refuse(found: Iterable[Problem]) -> None:
    """Raises ProblemsError where there are any problems."""
    problems = tuple(found)
    if problems:
        raise ProblemsError(problems)


def key_of(path: Path) -> str:
    """A path for people."""
    words = ""
    for step in path:
        words += f", entry {step + 1}" if isinstance(step, int) else f".{step}" if words else step
    return words


def shown(value: Any) -> str:
    """A value as YAML would have it, text in quotes, shortened."""
    named = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    text = named or ("null" if value is None else repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The question after an unknown name, with the nearest one that there is; None where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None


def no_such(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest one, or those that there are."""
    names = list(known)
    meant = did_you_mean(name, names)
    if meant:
        return meant
    if not names:
        return "there are none"
    return f"there are {', '.join(names[:LISTED])}{', ...' if len(names) > LISTED else ''}"


def problems_of(error: ValidationError, model: type[BaseModel], document: Any) -> list[Problem]:
    """A validation's problems in the words of the document, those of the whole model (no path) last."""
    found: dict[Problem, None] = {}
    for one in error.errors(include_url=False):
        path = _within(document, one["loc"])
        cause = one.get("ctx", {}).get("error")
        if isinstance(cause, ProblemsError):
            found |= dict.fromkeys(problem.below(*path) for problem in cause.found)
        elif not _is_other_branch(one):
            found[Problem(path, _words(one, model, path))] = None
    return sorted(found, key=lambda problem: not problem.path)


def _within(document: Any, location: Path) -> Path:
    """The part of pydantic's location that is in the document: it adds the names of types that it tried."""
    path: list[str | int] = []
    for place, step in enumerate(location):
        is_here = isinstance(document, Mapping) and step in document
        if is_here or (isinstance(document, list | tuple) and isinstance(step, int) and step < len(document)):
            document = document[step]
            path.append(step)
        elif place == len(location) - 1 and isinstance(document, Mapping) and isinstance(step, str):
            path.append(step)  # a key that is missing
    return tuple(step for step in path if step != "[key]")


def _is_other_branch(error: Mapping[str, Any]) -> bool:
    """Whether it only says that a mapping is no text, where either is possible and the mapping has problems."""
    return error["type"] == "string_type" and error["loc"][-1:] == ("str",) and isinstance(error["input"], dict)


def _words(error: Mapping[str, Any], model: type[BaseModel], path: Path) -> str:
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"no such key; {no_such(str(path[-1]), _fields_at(model, path[:-1]))}"
        case "value_error":
            return str(context["error"])
        case "too_short":
            return "must not be empty"
    right = _right(kind, context)
    return f"is {shown(error['input'])}, must be {right}" if right else f"is {shown(error['input'])}: {error['msg']}"


BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
WANTED = {
    "string_type": "text (in quotes, if it looks like something else)",
    "dict_type": "a mapping: keys with values",
    "model_type": "a mapping: keys with values",
    "model_attributes_type": "a mapping: keys with values",
    "tuple_type": "a list",
    "list_type": "a list",
}


def _right(kind: str, context: Mapping[str, Any]) -> str:
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        return f"{words} {context[bound]:g}"
    if kind == "literal_error":
        return f"one of {context['expected']}".replace("'", "")
    return WANTED.get(kind, "")


def _fields_at(model: type[BaseModel], path: Path) -> Iterator[str]:
    """The keys that are possible at a path of a model's document."""
    annotation: Any = model
    for step in path:
        annotation = _one_type(annotation)
        if _is_model(annotation):
            field = annotation.model_fields.get(step)
            annotation = field.annotation if field else None
        else:
            parts = get_args(annotation)
            annotation = parts[-1 if get_origin(annotation) is dict else 0] if parts else None
    annotation = _one_type(annotation)
    return iter(annotation.model_fields if _is_model(annotation) else ())


def _one_type(annotation: Any) -> Any:
    """`Notify` for `Notify | None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next((part for part in get_args(annotation) if part is not type(None)), None)
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
