"""The compiled kernel (numba) of the in-memory studies: making and transforming records as columns.

The two records are those of the Rust benchmark that the streaming report and the in-memory report describe: the heavy
one has 63 KB of text in 429 strings, the compact one 77 bytes in eight fields. Every byte of every record is written.
"""

# ruff: noqa: ANN201, ANN202
# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from pipeline_jobs.compiled import compiled

NAME_BYTES, EMAIL_BYTES, TITLE_BYTES = 16, 24, 20
MIX = np.uint64(0x517CC1B727220A95)


@compiled
def _digits(value, out, at):
    """Write a number in decimal. Returns where it ends."""
    size, rest = 1, value
    while rest >= 10:
        rest //= 10
        size += 1
    for n in range(size):
        out[at + size - 1 - n] = np.uint8(48 + value % 10)
        value //= 10
    return at + size


@compiled
def make_compact(first, ids, names, emails, sizes, ages, places, bits, counts, hashes):
    """Fill columns with records `first` and up. `sizes` are those of name and email."""
    for n in range(len(ids)):
        number = np.int64(first + n)
        ids[n] = number
        names[n, 0] = 117
        end = _digits(number, names[n], 1)
        for k in range(end):
            emails[n, k] = names[n, k]
        for k, byte in enumerate((64, 101, 46, 99, 111, 109)):
            emails[n, end + k] = byte
        sizes[n, 0], sizes[n, 1] = end, end + 6
        ages[n] = 18 + number % 60
        places[n] = number % 1000
        value = np.uint64(number) * MIX
        bits[n] = value ^ (value >> np.uint64(7))
        for k in range(4):
            counts[n, k] = (number * (k + 3)) % 500
        hashes[n] = value


@compiled
def transform_compact(ids, counts, hashes, titles, title_sizes, activities, engagements, out_hashes):
    """ "User #N", the sum of three counts, that by (connections + 1), the hash."""
    for n in range(len(ids)):
        for k, byte in enumerate((85, 115, 101, 114, 32, 35)):
            titles[n, k] = byte
        title_sizes[n] = _digits(ids[n], titles[n], 6)
        total = np.uint32(counts[n, 0]) + np.uint32(counts[n, 1]) + np.uint32(counts[n, 2])
        activities[n] = total
        engagements[n] = np.float32(total) / np.float32(np.uint32(counts[n, 3]) + np.uint32(1))
        out_hashes[n] = hashes[n]


@compiled
def sum_compact(counts, hashes, activities, out_hashes):
    """The light transform: the sum of three counts, the hash."""
    for n in range(len(hashes)):
        activities[n] = np.uint32(counts[n, 0]) + np.uint32(counts[n, 1]) + np.uint32(counts[n, 2])
        out_hashes[n] = hashes[n]


@compiled
def mix(hashes, rounds):
    """Work for the processor: `rounds` of hashing a record."""
    for n in range(len(hashes)):
        value = hashes[n]
        for _ in range(rounds):
            value = (value ^ (value >> np.uint64(29))) * MIX
        hashes[n] = value


@compiled
def make_heavy(first, count, patterns, strings, takes_id, data, ends):
    """Fill `data` with heavy records: a row of `strings` says which pattern is copied, or which character is
    repeated how often.

    `ends[r, s]` becomes where string s of record r ends. Returns the bytes written.
    """
    at = 0
    number = np.empty(20, np.uint8)
    for record in range(count):
        digits = _digits(np.int64(first + record), number, 0)
        for s in range(len(strings)):
            start, size, repeats = strings[s, 0], strings[s, 1], strings[s, 2]
            if size == 1:
                data[at : at + repeats] = patterns[start]
                at += repeats
            else:
                source, target = patterns[start : start + size], data[at : at + size]
                for k in range(size):
                    target[k] = source[k]
                at += size
            if takes_id[s]:
                low = np.uint64(at)
                for k in range(np.uint64(digits)):
                    data[low + k] = number[k]
                at += digits
            ends[record, s] = at
    return at


@compiled
def transform_heavy(data, ends, starts, wanted, blobs, lists, out, out_ends, numbers):
    """Full name, email, "city, state, country" and 50 characters of the bio; lengths of lists and blobs."""
    first_name, last_name, email, city, bio = wanted
    at = 0
    for record in range(len(ends)):
        base = starts[record]
        for part in range(4):
            if part == 0:
                at = _text(data, ends[record], base, first_name, 1000, out, at)
                out[at] = 32
                at = _text(data, ends[record], base, last_name, 1000, out, at + 1)
            elif part == 1:
                at = _text(data, ends[record], base, email, 1000, out, at)
            elif part == 2:
                for n in range(3):
                    if n:
                        out[at], out[at + 1] = 44, 32
                        at += 2
                    at = _text(data, ends[record], base, city + n, 1000, out, at)
            else:
                at = _text(data, ends[record], base, bio, 50, out, at)
            out_ends[record, part] = at
        for n in range(4):
            numbers[record, n] = lists[n]
        total = np.int64(0)
        for s in range(blobs, len(ends[record])):
            total += ends[record, s] - ends[record, s - 1]
        numbers[record, 4] = total
    return at


@compiled
def _text(data, ends, base, string, most, out, at):
    start = ends[string - 1] if string else base
    size = min(ends[string] - start, most)
    for k in range(size):
        out[at + k] = data[start + k]
    return at + size
