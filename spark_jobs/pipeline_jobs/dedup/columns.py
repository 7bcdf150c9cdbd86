"""Names of columns: any name of the source inside the job, and which names a target can't have.

Spark takes a dot for a part of a structure, and the job needs names of its own. So a column whose name isn't a plain
word is called `_c` with its number while the job works, and gets its name back where it is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline_jobs import postgres
from pipeline_jobs.contract import BadConfigurationError
from pipeline_jobs.dedup.options import Rule

PLAIN = re.compile(r"[^\W_]\w*")
"""A name that Spark's functions take as it is, and that none of the job's own (they begin with `_`) can be."""
WHEN = "_when"
"""The column of `deleted_when`, where its own names are not those inside the job."""

MAX_NAME_BYTES = {"postgresql": postgres.MAX_NAME_BYTES, "redshift": 127}
OF_POSTGRES = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
"""Columns that each table of PostgreSQL has."""
REDSHIFT_MARKER = "_deleted"
"""The column of the staged files that says that a key is deleted."""


@dataclass(frozen=True)
class Names:
    """The columns' names in source and target (`own`), and inside the job (`inner`), in the source's order."""

    own: tuple[str, ...]
    inner: tuple[str, ...]

    @classmethod
    def of(cls, columns: Sequence[str]) -> Names:
        """Names of the job's for those that are no plain words."""
        inner = (name if PLAIN.fullmatch(name) else f"_c{number}" for number, name in enumerate(columns))
        return cls(tuple(columns), tuple(inner))

    def inside(self, name: str) -> str:
        """What a column is called inside the job. Raises ValueError for one that isn't there."""
        return self.inner[self.own.index(name)]

    def rule(self, rule: Rule) -> Rule:
        """The rule in the names inside the job."""
        return replace(
            rule,
            key=tuple(map(self.inside, rule.key)),
            timestamp=self.inside(rule.timestamp),
            tie_breakers=tuple(map(self.inside, rule.tie_breakers)),
            deleted_when=WHEN if rule.deleted_when and self.own != self.inner else rule.deleted_when,
        )

    def records(self, records: DataFrame, rule: Rule, beside: tuple[str, ...] = ()) -> DataFrame:
        """The source's records under the names inside the job; `beside` names the columns after them."""
        if self.own == self.inner and not beside:
            return records
        if self.own == self.inner or not rule.deleted_when:
            return records.toDF(*self.inner, *beside)
        return records.select("*", F.expr(rule.deleted_when).alias(WHEN)).toDF(*self.inner, *beside, WHEN)

    def written(self, rows: DataFrame, *beside: str) -> DataFrame:
        """The rows under the target's names, and the columns `beside` them."""
        own = (F.col(inner).alias(own) for own, inner in zip(self.own, self.inner, strict=True))
        return rows.select(*own, *beside)


def check_names(columns: Sequence[str], target: str) -> None:
    """Raises BadConfigurationError for a name that a target of this kind can't have, with the remedy."""
    for name in columns:
        size, most = len(name.encode()), MAX_NAME_BYTES.get(target)
        if not name:
            raise BadConfigurationError("the source has a column without a name: give it one")
        if most and size > most:
            raise BadConfigurationError(
                f"the source has the column {name} of {size} bytes: rename it, {target}'s names have {most} at most"
            )
        if (target, name) == ("redshift", REDSHIFT_MARKER) or (target == "postgresql" and name in OF_POSTGRES):
            raise BadConfigurationError(
                f"the source has a column {name}, a name that a {target} target has for itself: rename it"
            )
