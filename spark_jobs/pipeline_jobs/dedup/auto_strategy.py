"""The strategy `auto`: which strategy moves the fewest bytes, foreseen from a sample of the keys. No Spark in here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from pipeline_jobs.dedup.options import Tuning

BROADCAST_ROW_BYTES = 120
"""Memory of a key in Spark's broadcast table, beside the key itself (measured)."""

BROADCAST_SHARE = 0.1
"""The part of the driver's memory that a broadcast may take; it is built there and kept in each executor."""

TIE_BYTES = 33
"""What max_by carries in each row to see ties (measured, after compression)."""

NEARLY_EQUAL = 1.03
"""Within this factor of the fewest bytes, the strategy that needs the least CPU is taken."""


@dataclass(frozen=True)
class Probe:
    """What a sample says of all records. Counts are estimates; fractions are of the rows."""

    rows: float
    keys: float
    pairs: float
    """(Map task, key) pairs: rows that a reduction ahead of the shuffle leaves."""
    twos: float
    """The same, with up to two rows a pair: what Spark's group limit for `rank` leaves."""
    hottest_fraction: float
    row_bytes: float
    """Bytes of a row in the source's files, about what it takes in a compressed shuffle."""
    key_bytes: float
    driver_memory_bytes: float


class Variant(NamedTuple):
    """A strategy that `auto` may choose, with Spark's group limit or without."""

    strategy: str
    group_limit: bool = False

    def __str__(self) -> str:
        return self.strategy + ("+limit" if self.group_limit else "")


WINDOW, MAX_BY, SEMI_JOIN = Variant("window"), Variant("max_by"), Variant("semi_join")
LIMITED_WINDOW = Variant("window", group_limit=True)
COLUMNAR = Variant("columnar")


@dataclass(frozen=True)
class Choice:
    """What `auto` decided, and why, in sentences."""

    strategy: str
    group_limit: bool
    reasons: tuple[str, ...]
    probe: Probe | None = None
    took_s: float = 0.0
    """What sampling cost."""

    def applied(self, tuning: Tuning) -> Tuning:
        """The parameters with the choice in them."""
        return replace(tuning, strategy=self.strategy, group_limit=self.group_limit)

    def to_dict(self) -> dict[str, object]:
        """For a measurement's details."""
        return asdict(self)


UNSAMPLED = Choice(
    "max_by",
    True,
    ("The source can't be sampled without reading all of it, and max_by never moves much more than the rows once.",),
)


def probe_of(
    hashes: np.ndarray,
    tasks: np.ndarray,
    is_random: np.ndarray,
    *,
    one_in: int,
    size_bytes: float,
    key_bytes: float,
    driver_memory_bytes: float,
) -> Probe:
    """Estimates from sampled records: all those of one key hash in `one_in`, and random ones (`is_random`).

    Keys sampled whole say how duplicates lie; random rows say how many rows there are and find a hot key.
    """
    whole = hashes % one_in == 0
    _, pair_counts = np.unique(np.stack([tasks[whole], hashes[whole]]), axis=1, return_counts=True)
    rows = float(is_random.sum() * one_in)
    _, random_counts = np.unique(hashes[is_random], return_counts=True)
    hottest = float(random_counts.max(initial=0)) if random_counts.max(initial=0) > 3 else 0.0
    return Probe(
        rows=rows,
        keys=float(len(np.unique(hashes[whole])) * one_in),
        pairs=float(len(pair_counts) * one_in),
        twos=float(np.minimum(pair_counts, 2).sum() * one_in),
        hottest_fraction=hottest / max(1.0, float(is_random.sum())),
        row_bytes=size_bytes / max(rows, 1.0),
        key_bytes=key_bytes,
        driver_memory_bytes=driver_memory_bytes,
    )


def choose(probe: Probe, *, with_columnar: bool = False) -> Choice:
    """The strategy with the fewest foreseen bytes; among nearly equal ones, the one with the least work."""
    foreseen = shuffle_bytes(probe, with_columnar=with_columnar)
    limit = min(foreseen.values()) * NEARLY_EQUAL
    chosen = next(variant for variant in foreseen if foreseen[variant] <= limit)
    return Choice(*chosen, _reasons(probe, foreseen, chosen), probe)


def shuffle_bytes(probe: Probe, *, with_columnar: bool = False) -> dict[Variant, float]:
    """Foreseen shuffle bytes of each variant, the least work first; without those that take too much memory."""
    cold = 1 - probe.hottest_fraction
    pairs, twos = min(probe.pairs, probe.rows * cold), min(probe.twos, probe.rows * cold)
    foreseen = {
        WINDOW: probe.rows * probe.row_bytes,
        COLUMNAR: pairs * probe.row_bytes,
        MAX_BY: pairs * (probe.row_bytes + TIE_BYTES),
        SEMI_JOIN: pairs * (probe.key_bytes + 6) + probe.keys * probe.row_bytes,
        LIMITED_WINDOW: twos * probe.row_bytes,
    }
    if not with_columnar:
        del foreseen[COLUMNAR]
    if broadcast_bytes(probe) > BROADCAST_SHARE * probe.driver_memory_bytes:
        del foreseen[SEMI_JOIN]
    return foreseen


def broadcast_bytes(probe: Probe) -> float:
    """Foreseen memory of the newest timestamps of all keys, in the driver and in each executor."""
    return probe.keys * (probe.key_bytes + BROADCAST_ROW_BYTES)


def _reasons(probe: Probe, foreseen: dict[Variant, float], chosen: Variant) -> tuple[str, ...]:
    megabytes = ", ".join(
        f"{variant} {size / 1e6:.0f}" for variant, size in sorted(foreseen.items(), key=lambda i: i[1])
    )
    reasons = [
        f"A key has {probe.rows / max(probe.keys, 1):.1f} records on average, "
        f"{probe.rows / max(probe.pairs, 1):.1f} of them in one task; a record has {probe.row_bytes:.0f} bytes.",
        f"Foreseen shuffle in MB: {megabytes}.",
        WHY[chosen],
    ]
    if probe.hottest_fraction > 0.02:
        reasons.append(f"One key has {probe.hottest_fraction:.0%} of the records.")
    if SEMI_JOIN not in foreseen:
        reasons.append(
            f"{SEMI_JOIN} is excluded: its broadcast would take about {broadcast_bytes(probe) / 1e6:.0f} MB of "
            f"{probe.driver_memory_bytes / 1e6:.0f} MB."
        )
    return tuple(reasons)


WHY = {
    COLUMNAR: "Tasks reduce their own files before Spark has a row; one row per task and key is shuffled.",
    WINDOW: "Hardly anything can be dropped before the shuffle, so nothing is spent on trying.",
    MAX_BY: "Tasks reduce their own rows before the shuffle; one full row per key still goes through it.",
    SEMI_JOIN: "Keys are few: finding the newest timestamps first lets only the winners' rows be shuffled.",
    LIMITED_WINDOW: "The group limit drops superseded rows before the shuffle and adds nothing to a row.",
}


def sampling_divisor(rows_guess: float, wanted: int = 20_000) -> int:
    """One record in how many to sample."""
    return max(1, int(rows_guess / wanted))
