"""The records of the in-memory studies, heavy and compact, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline_jobs.streaming_etl import memory_kernel as kernel


def _heavy_strings() -> list[tuple[str, str, int, bool]]:
    """The strings of a heavy record: name, pattern, repeats, and whether the record's number follows."""
    found = [
        ("first_name", "First", 1, True), ("last_name", "Last", 1, True), ("email", "user@example.com.", 1, True),
        ("city", "City", 1, True), ("state", "State", 1, False), ("country", "Country", 1, False),
        ("street", "Main Street ", 1, True), ("bio", "Software dev. ", 10, False),
    ]  # fmt: skip
    lists = (
        ("interest", "Interest ", 1, 5), ("skill", "Skill ", 1, 7), ("institution", "University ", 1, 2),
        ("degree", "Degree", 1, 2), ("company", "Company ", 1, 3), ("title", "Engineer ", 1, 3),
        ("duty", "Built and ran things. ", 1, 3), ("notification", "email", 1, 2),
        ("setting_key", "setting_key_", 1, 10), ("setting_value", "setting_value_", 1, 10),
        ("activity", "Activity entry number ", 1, 20), ("transaction_key", "key_", 1, 15),
        ("transaction_value", "value_", 1, 15), ("metadata", "metadata for entry ", 1, 15),
        ("message", "Message body. ", 10, 10), ("sender", "Sender ", 1, 10), ("subject", "Subject ", 1, 10),
        ("attachment", "attachment.pdf ", 1, 30), ("attachment_type", "application/pdf", 1, 30),
        ("connection", "user_", 1, 50), ("connection_name", "Connection ", 1, 50),
        ("post", "Post content. ", 20, 25), ("post_title", "Post title ", 1, 25), ("post_tag", "tag ", 1, 25),
        ("group", "Group ", 1, 5), ("group_role", "member", 1, 5), ("badge", "Badge ", 1, 29),
    )  # fmt: skip
    for name, pattern, repeats, count in lists:
        found += [(name, pattern, repeats, pattern.endswith((" ", "_")) and repeats == 1)] * count
    return found + [(f"blob{n}", letter, 10_000, False) for n, letter in enumerate("xyzab")]


def _unrolled(pattern: str, repeats: int) -> tuple[str, int]:
    """A short text is copied whole; one of a single character, the blobs', is filled in."""
    return (pattern, repeats) if len(pattern) == 1 else (pattern * repeats, 1)


HEAVY_STRINGS = [(name, *_unrolled(pattern, times), takes) for name, pattern, times, takes in _heavy_strings()]
HEAVY_NAMES = [name for name, *_ in HEAVY_STRINGS]
PATTERNS = np.frombuffer("".join(pattern for _, pattern, _, _ in HEAVY_STRINGS).encode(), np.uint8).copy()
_SIZES = np.array([len(pattern) for _, pattern, _, _ in HEAVY_STRINGS], np.int64)
_TIMES = np.array([times for _, _, times, _ in HEAVY_STRINGS], np.int64)
STRINGS = np.stack([np.cumsum(_SIZES) - _SIZES, _SIZES, _TIMES], axis=1)
TAKES_ID = np.array([takes for *_, takes in HEAVY_STRINGS])
HEAVY_BYTES = int((STRINGS[:, 1] * STRINGS[:, 2]).sum() + 10 * TAKES_ID.sum())
"""Room for one record with a number below 10 ** 10."""
WANTED = tuple(HEAVY_NAMES.index(name) for name in ("first_name", "last_name", "email", "city", "bio"))
LISTS = np.array([HEAVY_NAMES.count(name) for name in ("connection", "post", "message", "activity")], np.int64)


class Columns:
    """Records as columns, arrays of one length."""

    record_bytes = 0

    def __init__(self, *columns: np.ndarray) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def bytes(self) -> int:
        """Their size together."""
        return len(self) * self.record_bytes

    def part(self, first: int, last: int) -> Columns:
        """Some of them, without a copy."""
        if (first, last) == (0, len(self)):
            return self
        return self._same(tuple(column[first:last] for column in self.columns))

    def joined(self, others: Sequence[Columns]) -> Columns:
        """These and others after them."""
        groups = zip(self.columns, *(other.columns for other in others), strict=True)
        return self._same(tuple(np.concatenate(group) for group in groups))

    def _same(self, columns: tuple[np.ndarray, ...]) -> Columns:
        return type(self)(*columns)


class CompactColumns(Columns):
    """Compact records."""

    record_bytes = 77

    @classmethod
    def room(cls, count: int) -> CompactColumns:
        """Columns for `count` records, not yet filled."""
        columns = (
            np.empty(count, np.int64), np.empty((count, kernel.NAME_BYTES), np.uint8),
            np.empty((count, kernel.EMAIL_BYTES), np.uint8), np.empty((count, 2), np.uint8), np.empty(count, np.uint8),
            np.empty(count, np.uint16), np.empty(count, np.uint64),
            np.empty((count, 4), np.uint16), np.empty(count, np.uint64),
        )  # fmt: skip
        return cls(*columns)

    def fill(self, first: int) -> None:
        """Make the records with numbers from `first`."""
        kernel.make_compact(first, *self.columns)

    def light(self) -> Transformed:
        """Numbers only, the sum of three counts and the hash: no text is made."""
        out = Transformed.of_numbers(np.empty(len(self), np.uint32), np.empty(len(self), np.uint64))
        kernel.sum_compact(self.columns[7], self.columns[8], out.numbers, out.hashes)
        return out

    def transformed(self) -> Transformed:
        """The transform's columns."""
        ids, counts, hashes = self.columns[0], self.columns[7], self.columns[8]
        count = len(self)
        out = Transformed(
            np.empty((count, kernel.TITLE_BYTES), np.uint8), np.empty(count, np.uint8),
            np.empty(count, np.uint32), np.empty(count, np.float32), np.empty(count, np.uint64),
        )  # fmt: skip
        kernel.transform_compact(ids, counts, hashes, out.text, out.sizes, out.numbers, out.ratios, out.hashes)
        return out


@dataclass
class Transformed:
    """What a transform makes of records, as columns."""

    text: np.ndarray
    sizes: np.ndarray
    numbers: np.ndarray
    ratios: np.ndarray
    hashes: np.ndarray
    answers: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """What a server said to each record, where one was asked."""

    @classmethod
    def of_numbers(cls, numbers: np.ndarray, hashes: np.ndarray) -> Transformed:
        """Without text and ratios."""
        return cls(np.empty(0, np.uint8), np.empty(0, np.uint8), numbers, np.empty(0, np.float32), hashes)


class HeavyColumns(Columns):
    """Heavy records: `columns` are the ends of their strings and where each record begins; `data` holds the text."""

    record_bytes = HEAVY_BYTES
    data: np.ndarray

    @classmethod
    def room(cls, count: int) -> HeavyColumns:
        """Room for `count` records, not yet filled."""
        made = cls(np.empty((count, len(STRINGS)), np.int64), np.empty(count, np.int64))
        made.data = np.empty(count * HEAVY_BYTES, np.uint8)
        return made

    def fill(self, first: int) -> None:
        """Make the records with numbers from `first`."""
        ends, starts = self.columns
        kernel.make_heavy(first, len(self), PATTERNS, STRINGS, TAKES_ID, self.data, ends)
        starts[0] = 0
        starts[1:] = ends[:-1, -1]

    def light(self) -> Transformed:
        """The lengths of the record's lists: no text is read or made."""
        numbers = np.empty((len(self), len(LISTS)), np.int64)
        numbers[:] = LISTS
        return Transformed.of_numbers(numbers, np.arange(len(self), dtype=np.uint64))

    def transformed(self) -> Transformed:
        """The transform's columns; every record's text is in `text`."""
        ends, starts = self.columns
        out = Transformed(
            np.empty(len(self) * 256, np.uint8), np.empty((len(self), 4), np.int64),
            np.empty((len(self), 5), np.int64), np.empty(0, np.float32), np.arange(len(self), dtype=np.uint64),
        )  # fmt: skip
        blobs = len(STRINGS) - 5
        kernel.transform_heavy(self.data, ends, starts, WANTED, blobs, LISTS, out.text, out.sizes, out.numbers)
        return out

    def joined(self, others: Sequence[Columns]) -> Columns:
        """These and others after them, their text copied; only paced records come in pieces smaller than a batch."""
        parts = [self, *others]
        begins = [int(part.columns[1][0]) for part in parts]
        texts = [part.data[begin : int(part.columns[0][-1, -1])] for part, begin in zip(parts, begins, strict=True)]  # type: ignore[attr-defined]
        shifts = np.cumsum([0, *map(len, texts[:-1])]) - begins
        groups = zip(*(part.columns for part in parts), strict=True)
        joined = type(self)(*(np.concatenate([c + shift for c, shift in zip(g, shifts, strict=True)]) for g in groups))
        joined.data = np.concatenate(texts)
        return joined

    def _same(self, columns: tuple[np.ndarray, ...]) -> Columns:
        same = super()._same(columns)
        same.data = self.data  # type: ignore[attr-defined]
        return same


KINDS: dict[str, type[CompactColumns] | type[HeavyColumns]] = {"compact": CompactColumns, "heavy": HeavyColumns}
