"""How a parameter's value stands in an argument: as it is, or in a text around it (`driver_memory={mb}m`). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline_tuner.command import PLACEHOLDER, Command
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.space import Scalar

SIZE = re.compile(r"(\d+)\s*([kmgtp])b?", re.IGNORECASE)
"""A size as Spark has it: `4g`, `512MB`. One without a unit means bytes for one setting and MiB for another."""
SIZE_FORM = re.compile(r"\{[^{}]+\}([kmgtp])b?", re.IGNORECASE)
"""A form that gives a size its unit: `{memory_mb}m`."""
POWERS = "kmgtp"


@dataclass(frozen=True)
class Place:
    """An argument's path, and the text that parameters' values stand in there."""

    path: str
    form: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters in it."""
        return Command((self.form,)).placeholders

    @property
    def is_bare(self) -> bool:
        """Whether it is one parameter's value alone, which keeps its type."""
        return len(self.names) == 1 and self.form == f"{{{self.names[0]}}}"

    def filled(self, values: Mapping[str, Scalar]) -> Scalar:
        """What stands there with these values. Raises ConfigurationError where one is missing."""
        missing = [name for name in self.names if name not in values]
        if missing:
            raise ConfigurationError(f"{self.path}={self.form} needs {', '.join(missing)} too")
        return values[self.names[0]] if self.is_bare else Command((self.form,)).filled(values)[0]

    def read(self, text: str) -> dict[str, str] | None:
        """The values in a text that stands there, as texts; None where the text is of another form.

        Sizes are converted to the form's unit where that is exact: `2g` at `{mb}m` is 2048.
        """
        unit = SIZE_FORM.fullmatch(self.form)
        if unit:
            size = _size_in(unit[1], text.strip())
            return None if size is None else {self.names[0]: str(size)}
        found = re.fullmatch("".join(self._patterns()), text)
        return {name: found[index] for name, index in self._groups.items()} if found else None

    @property
    def _groups(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names, start=1)}

    def _patterns(self) -> Iterator[str]:
        """The form as a regular expression: a group for a name, and the same again where the name comes again."""
        end, seen = 0, set[str]()
        for match in PLACEHOLDER.finditer(self.form):
            yield re.escape(self.form[end : match.start()])
            end, name = match.end(), match[2]
            if name is None:
                yield re.escape(f"{{{match[1]}}}")
            else:
                yield rf"(?:\{self._groups[name]})" if name in seen else "(.+?)"
                seen.add(name)
        yield re.escape(self.form[end:])


def place_of(name: str, sets: str) -> Place:
    """The place of a parameter: `executor_cores`, or `executor_memory={memory_mb}m` with the text around its value."""
    path, has_form, form = sets.partition("=")
    return Place(path, form if has_form else f"{{{name}}}")


def written_place(place: Place) -> str:
    """A place as `sets` has it."""
    return f"{place.path}={place.form}"


def form_problem(name: str, sets: str) -> str | None:
    """What is wrong with the text around a parameter's value; None where nothing is."""
    names = place_of(name, sets).names
    if names == (name,):
        return None
    return f"{sets!r}: the text after '=' must have {{{name}}} in it, and no other name in braces"


def _size_in(unit: str, text: str) -> int | None:
    """A size as a whole number of `unit`; None where it is none."""
    found = SIZE.fullmatch(text)
    if found is None:
        return None
    size = int(found[1]) << 10 * (POWERS.index(found[2].lower()) + 1)
    whole, rest = divmod(size, 1 << 10 * (POWERS.index(unit.lower()) + 1))
    return None if rest else whole
