"""The compiled kernel (numba): sorted points to states of windows, states to those of larger windows.

Every statistic of a state can be merged with that of the neighbouring stretch of time without loss, so that a
window that is cut by a task, a chunk or a batch gives the same row as one computed at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pipeline_jobs.compiled import compiled
from pipeline_jobs.quantizer.exact_sums import MAX_PARTS, PARTS, add, add_stored, store
from pipeline_jobs.quantizer.sketch import BINS_PER_OCTAVE, KEY_OFFSET, MIN_VALUE

SUM, SUM_SQ, RESET_SUM = 0, PARTS, 2 * PARTS
"""Where each exact sum starts in a row of `States.sums`."""
LOG_2 = math.log(2.0)


class States(NamedTuple):
    """The states of n windows in order of (series, window_end, first_ts). Times in us since 1970.

    `sums` (n, 3 * PARTS): the values, their squares (each rounded once), and the values from which a counter fell,
    as exact sums (exact_sums.py). `bins` and `bin_counts` hold state i's sketch from bin_starts[i] on.
    """

    series: np.ndarray
    window_end: np.ndarray
    points: np.ndarray
    sums: np.ndarray
    low: np.ndarray
    high: np.ndarray
    first: np.ndarray
    first_ts: np.ndarray
    last: np.ndarray
    last_ts: np.ndarray
    resets: np.ndarray
    bin_starts: np.ndarray
    bins: np.ndarray
    bin_counts: np.ndarray


@compiled
def empty_states(windows: int, bins: int) -> States:
    """Room for that many windows and bins."""
    return States(
        np.zeros(windows, np.int64),
        np.zeros(windows, np.int64),
        np.zeros(windows, np.int64),
        np.zeros((windows, 3 * PARTS)),
        np.zeros(windows),
        np.zeros(windows),
        np.zeros(windows),
        np.zeros(windows, np.int64),
        np.zeros(windows),
        np.zeros(windows, np.int64),
        np.zeros(windows, np.int64),
        np.zeros(windows + 1, np.int64),
        np.zeros(bins, np.int32),
        np.zeros(bins, np.int64),
    )


@compiled
def window_of(time_us: int, resolution_us: int) -> int:
    """The end of the right-closed window that a time lies in."""
    return -(-time_us // resolution_us) * resolution_us


@compiled
def bin_number(value: float) -> int:
    """The same as sketch.bin_of, compiled."""
    if abs(value) <= MIN_VALUE:
        return 0
    key = math.ceil(math.log(abs(value)) / LOG_2 * BINS_PER_OCTAVE) + KEY_OFFSET
    return key if value > 0 else -key


@compiled
def bin_numbers(values: np.ndarray) -> np.ndarray:
    """The bin of each value."""
    numbers = np.zeros(len(values), np.int32)
    for index in range(len(values)):
        numbers[index] = bin_number(values[index])
    return numbers


MOVES_A_POINT = 16
"""Points mostly come in order of time: insertion is cheapest until stragglers move more than this on average."""


@compiled
def sort_points(
    series: np.ndarray, times: np.ndarray, values: np.ndarray, series_count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points in order of (series, time, value)."""
    starts = np.zeros(series_count + 1, np.int64)
    for code in series:
        starts[code + 1] += 1
    starts = np.cumsum(starts)
    place = starts[:-1].copy()
    sorted_series = np.empty(len(series), np.int64)
    sorted_times = np.empty(len(series), np.int64)
    sorted_values = np.empty(len(series), np.float64)
    for index in range(len(series)):
        target = place[series[index]]
        place[series[index]] += 1
        sorted_series[target] = series[index]
        sorted_times[target] = times[index]
        sorted_values[target] = values[index]
    for code in range(series_count):
        _sort_one(sorted_times[starts[code] : starts[code + 1]], sorted_values[starts[code] : starts[code + 1]])
    return sorted_series, sorted_times, sorted_values


@compiled
def _sort_one(times: np.ndarray, values: np.ndarray) -> None:
    if _insert(times, values, MOVES_A_POINT * len(times)):
        return
    order = np.argsort(times, kind="mergesort")
    times[:] = times[order]
    values[:] = values[order]
    _insert(times, values, len(times) * len(times))


@compiled
def _insert(times: np.ndarray, values: np.ndarray, most_moves: int) -> bool:
    """Insertion sort; gives up, with all points still there, after so many moves."""
    for index in range(1, len(times)):
        time, value, place = times[index], values[index], index
        while place > 0 and (times[place - 1] > time or (times[place - 1] == time and values[place - 1] > value)):
            times[place], values[place] = times[place - 1], values[place - 1]
            place -= 1
        times[place], values[place] = time, value
        most_moves -= index - place
        if most_moves < 0:
            return False
    return True


@compiled
def roll_up(
    series: np.ndarray, times: np.ndarray, values: np.ndarray, resolution_us: int, drop_repeats: bool
) -> tuple[States, int]:
    """The states of the windows of sorted points, and how many repeated points were dropped.

    A repeated point has the series, time and value of another one.
    """
    points = len(series)
    states = empty_states(_count_windows(series, times, resolution_us), points)
    parts, sq_parts, reset_parts = np.zeros(MAX_PARTS), np.zeros(MAX_PARTS), np.zeros(MAX_PARTS)
    bins = np.zeros(16, np.int32)
    row, filled, repeats, point = -1, 0, 0, 0
    while point < points:
        row += 1
        code, window = series[point], window_of(times[point], resolution_us)
        used = sq_used = reset_used = count = resets = 0
        time, value = times[point], values[point] + 0.0
        low, high = value, value
        states.first[row], states.first_ts[row] = value, time
        while True:
            if count == len(bins):
                bins = np.concatenate((bins, bins))
            bins[count] = bin_number(value)
            count += 1
            used = add(parts, used, value)
            sq_used = add(sq_parts, sq_used, value * value)
            last, last_ts = value, time
            point += 1
            while drop_repeats and point < points and _repeats(series, times, values, point, code, last_ts, last):
                repeats += 1
                point += 1
            if point == points or series[point] != code or times[point] > window:
                break
            time, value = times[point], values[point] + 0.0
            low, high = min(low, value), max(high, value)
            if value < last:
                resets += 1
                reset_used = add(reset_parts, reset_used, last)
        states.series[row], states.window_end[row], states.points[row] = code, window, count
        states.low[row], states.high[row], states.resets[row] = low, high, resets
        states.last[row], states.last_ts[row] = last, last_ts
        store(parts, used, states.sums, row, SUM)
        store(sq_parts, sq_used, states.sums, row, SUM_SQ)
        if resets:
            store(reset_parts, reset_used, states.sums, row, RESET_SUM)
        filled = _count_bins(bins, count, states.bins, states.bin_counts, filled)
        states.bin_starts[row + 1] = filled
    return states, repeats


@compiled
def _repeats(
    series: np.ndarray, times: np.ndarray, values: np.ndarray, point: int, code: int, time: int, value: float
) -> bool:
    return bool(times[point] == time and values[point] == value and series[point] == code)


@compiled
def _count_windows(series: np.ndarray, times: np.ndarray, resolution_us: int) -> int:
    windows, code, window = 0, -1, 0
    for point in range(len(series)):
        if series[point] != code or times[point] > window:
            windows += 1
            code, window = series[point], window_of(times[point], resolution_us)
    return windows


@compiled
def _count_bins(bins: np.ndarray, count: int, numbers: np.ndarray, counts: np.ndarray, filled: int) -> int:
    _insertion_sort(bins, count) if count < 64 else bins[:count].sort()
    start = filled
    for index in range(count):
        if filled > start and numbers[filled - 1] == bins[index]:
            counts[filled - 1] += 1
        else:
            numbers[filled] = bins[index]
            counts[filled] = 1
            filled += 1
    return filled


@compiled
def _insertion_sort(items: np.ndarray, count: int) -> None:
    for index in range(1, count):
        moved, place = items[index], index
        while place > 0 and items[place - 1] > moved:
            items[place] = items[place - 1]
            place -= 1
        items[place] = moved


@compiled
def merge(states: States, resolution_us: int) -> States:
    """The states of larger windows. Parts of one window must come one after the other in order of time."""
    rows = len(states.series)
    merged = empty_states(_count_merged(states, resolution_us), len(states.bins))
    parts, sq_parts, reset_parts = np.zeros(MAX_PARTS), np.zeros(MAX_PARTS), np.zeros(MAX_PARTS)
    row, filled, part = -1, 0, 0
    while part < rows:
        row += 1
        start, code = part, states.series[part]
        window = window_of(states.window_end[part], resolution_us)
        used = sq_used = reset_used = count = resets = 0
        low, high, last = states.low[part], states.high[part], -np.inf
        while part < rows and states.series[part] == code and states.window_end[part] <= window:
            if states.first[part] < last:
                resets += 1
                reset_used = add(reset_parts, reset_used, last)
            last = states.last[part]
            low, high = min(low, states.low[part]), max(high, states.high[part])
            count += states.points[part]
            resets += states.resets[part]
            used = add_stored(parts, used, states.sums, part, SUM)
            sq_used = add_stored(sq_parts, sq_used, states.sums, part, SUM_SQ)
            if states.resets[part]:
                reset_used = add_stored(reset_parts, reset_used, states.sums, part, RESET_SUM)
            part += 1
        merged.series[row], merged.window_end[row], merged.points[row] = code, window, count
        merged.low[row], merged.high[row], merged.resets[row] = low, high, resets
        merged.first[row], merged.first_ts[row] = states.first[start], states.first_ts[start]
        merged.last[row], merged.last_ts[row] = last, states.last_ts[part - 1]
        store(parts, used, merged.sums, row, SUM)
        store(sq_parts, sq_used, merged.sums, row, SUM_SQ)
        store(reset_parts, reset_used, merged.sums, row, RESET_SUM)
        filled = _merge_bins(states, start, part, merged.bins, merged.bin_counts, filled)
        merged.bin_starts[row + 1] = filled
    return merged


@compiled
def _count_merged(states: States, resolution_us: int) -> int:
    windows, code, window = 0, -1, 0
    for part in range(len(states.series)):
        if states.series[part] != code or states.window_end[part] > window:
            windows += 1
            code, window = states.series[part], window_of(states.window_end[part], resolution_us)
    return windows


@compiled
def _merge_bins(states: States, start: int, stop: int, numbers: np.ndarray, counts: np.ndarray, filled: int) -> int:
    low, high = states.bin_starts[start], states.bin_starts[stop]
    before = filled
    for place in np.argsort(states.bins[low:high], kind="mergesort"):
        number = states.bins[low + place]
        if filled > before and numbers[filled - 1] == number:
            counts[filled - 1] += states.bin_counts[low + place]
        else:
            numbers[filled] = number
            counts[filled] = states.bin_counts[low + place]
            filled += 1
    return filled
