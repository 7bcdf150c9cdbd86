"""A batch's documents transcoded by several threads at once, and put together again as one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from pipeline_jobs.streaming_etl.mapping import Mapping
from pipeline_jobs.streaming_etl.records import Documents
from pipeline_jobs.streaming_etl.transcoder import HEADER, TRAILER, Encoded, Transcoder


class ParallelTranscoder(Transcoder):
    """Cuts a batch in `concurrency` parts of about equal bytes, each of them a thread's own transcoder's work."""

    def __init__(self, mapping: Mapping, concurrency: int) -> None:
        super().__init__(mapping)
        self._parts = [Transcoder(mapping) for _ in range(concurrency)]
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="transcode")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _encode(self, documents: Documents, skip: Sequence[int]) -> Encoded:
        self._uses += 1
        cuts = _cuts(documents, len(self._parts))
        skipped = np.array(sorted(skip), np.int64)

        def part(number: int) -> Encoded:
            first, last = cuts[number], cuts[number + 1]
            before = time.thread_time()
            mine = skipped[(skipped >= first) & (skipped < last)] - first
            found = self._parts[number]._encode(documents.part(first, last), mine.tolist())
            found = replace(
                found,
                rejected=tuple(replace(one, number=one.number + first) for one in found.rejected),
                numbers=found.numbers + first,
            )
            self._parts[number].helper_cpu_s += time.thread_time() - before
            return found

        found = list(self._threads.map(part, range(len(cuts) - 1)))
        self.helper_cpu_s = sum(transcoder.helper_cpu_s for transcoder in self._parts)
        return self._joined(found)

    def _joined(self, parts: Sequence[Encoded]) -> Encoded:
        return Encoded(
            tuple(map(_payload, zip(*(part.payloads for part in parts), strict=True))),
            tuple(map(sum, zip(*(part.rows for part in parts), strict=True))),
            tuple(one for part in parts for one in part.rejected),
            tuple(key for part in parts for key in part.keys),
            np.concatenate([part.numbers for part in parts]),
            self._uses,
        )


def _payload(parts: Sequence[memoryview]) -> memoryview:
    """One payload with the rows of all."""
    rows = [np.frombuffer(part, np.uint8)[len(HEADER) : -len(TRAILER)] for part in parts]
    return np.concatenate([HEADER, *rows, TRAILER]).data


def _cuts(documents: Documents, count: int) -> list[int]:
    """Where parts of about equal bytes begin and end; fewer parts where there are fewer documents."""
    ends = np.cumsum(documents.stops - documents.starts)
    total = int(ends[-1]) if len(ends) else 0
    inner = np.searchsorted(ends, [total * n / count for n in range(1, count)])
    return sorted({0, len(documents), *inner.tolist()}) if len(documents) else [0, 0]
