"""Sizes among the settings of a run that are too small to be meant: mostly a number that has lost its unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_tuner.advise.application import Settings
from pipeline_tuner.advise.platforms import parsed_size
from pipeline_tuner.wording import byte_words

MB = 1 << 20
MIN_BYTES = {
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": MB,
    "spark.sql.adaptive.shuffle.targetPostShuffleInputSize": MB,
    "spark.sql.autoBroadcastJoinThreshold": 1024,
    "spark.sql.adaptive.autoBroadcastJoinThreshold": 1024,
    "spark.sql.files.maxPartitionBytes": MB,
    "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": MB,
}
"""Setting to the smallest size that does what it is for. 0 and less switch most of them off, which is meant."""


@dataclass(frozen=True)
class OddSetting:
    """A setting, its value as the log has it, and what Spark takes it for."""

    name: str
    value: str
    bytes: int

    @property
    def has_unit(self) -> bool:
        """Whether the value says what it is in."""
        return not self.value.strip().isdecimal()


def odd_settings(settings: Settings) -> Iterator[OddSetting]:
    """The settings whose size makes no sense."""
    for name, least in MIN_BYTES.items():
        size = parsed_size(settings.text(name))
        if size is not None and 0 < size < least:
            yield OddSetting(name, settings.text(name), size)


def odd_words(odd: OddSetting) -> str:
    """A sentence about one: `spark.sql.autoBroadcastJoinThreshold=10 is 10 B: a number without a unit is in bytes.`"""
    why = "less than anything it is for" if odd.has_unit else f"a number without a unit is bytes; {odd.value}m is MB"
    return f"{odd.name}={odd.value} is {byte_words(odd.bytes)}: {why}."
