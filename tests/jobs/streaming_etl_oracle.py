"""What a column of each type must hold for a BSON value, worked out by pymongo and decimal and not by the kernel."""

from __future__ import annotations

import json
import math
import random
import re
import struct
import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import bson
import numpy as np
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

DAY_MS = 86_400_000
OPTIONS = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
WHOLE = {"smallint": 16, "integer": 32, "bigint": 64}
TYPES = (
    *WHOLE, "real", "double precision", "numeric", "numeric(12,2)", "boolean", "text", "varchar(12)", "scalars",
    "short scalars", "date", "timestamptz", "bytea", "uuid", "text[]", "jsonb",
)  # fmt: skip


@dataclass(frozen=True)
class Refused:
    """The reason that a document with this value in this column must be refused for."""

    reason: str


class OracleError(Exception):
    pass


def expected(kind: str, value: Any) -> Any:
    """The value that the column must hold, None for NULL, or Refused."""
    if value is None:
        return None
    try:
        return _of(kind, value)
    except OracleError as error:
        return Refused(str(error))


def _of(kind: str, value: Any) -> Any:
    if kind in WHOLE:
        return _whole(value, WHOLE[kind])
    if kind.startswith("numeric"):
        return _numeric(value, (12, 2) if "(" in kind else None)
    return {
        "real": _real, "double precision": _double, "boolean": _boolean, "text": _text, "varchar(12)": _short_text,
        "scalars": _scalar, "short scalars": lambda v: _at_most_12(_scalar(v)), "date": _date,
        "timestamptz": _moment, "bytea": _bytes, "uuid": _uuid, "text[]": _texts, "jsonb": _json,
    }[kind](value)  # fmt: skip


def _whole(value: Any, bits: int) -> int:
    _no_decimal(value)
    _check(_is_number(value), "wrong_type")
    _check(math.isfinite(value) and value == math.floor(value), "out_of_range")
    _check(not isinstance(value, float) or abs(value) < 9.2e18, "out_of_range")
    _check(-(2 ** (bits - 1)) <= value < 2 ** (bits - 1), "out_of_range")
    return int(value)


def _numeric(value: Any, size: tuple[int, int] | None) -> Decimal:
    _check(_is_number(value) or isinstance(value, Decimal128), "wrong_type")
    if isinstance(value, Decimal128):
        found = value.to_decimal()
    else:
        found = Decimal(repr(value)).normalize() if isinstance(value, float) else Decimal(int(value))
    if found.is_nan() or size is None:
        return found
    _check(found.is_finite(), "out_of_range")
    precision, scale = size
    if found:
        _check(found.adjusted() < precision - scale, "out_of_range")
        digits = found.as_tuple()
        ending = len(digits.digits) - len("".join(map(str, digits.digits)).rstrip("0"))
        _check(-(int(digits.exponent) + ending) <= scale, "inexact")
    return found


def _double(value: Any) -> float:
    _no_decimal(value)
    _check(_is_number(value), "wrong_type")
    _check(isinstance(value, float) or int(float(value)) == value, "inexact")
    return float(value)


def _real(value: Any) -> float:
    _no_decimal(value)
    _check(_is_number(value), "wrong_type")
    with np.errstate(over="ignore"):
        found = float(np.float32(value))
    _check(isinstance(value, float) or int(found) == value, "inexact")
    _check(not math.isfinite(value) or math.isfinite(found), "out_of_range")
    return found


def _boolean(value: Any) -> bool:
    _check(isinstance(value, bool), "wrong_type")
    return bool(value)


def _text(value: Any) -> str:
    _no_decimal(value)
    if isinstance(value, ObjectId):
        return str(value)
    _check(isinstance(value, str) and not isinstance(value, Code), "wrong_type")
    _check("\0" not in value, "nul_character")
    return str(value)


def _at_most_12(text: str) -> str:
    _check(len(text) <= 12, "too_long")
    return text


def _short_text(value: Any) -> str:
    return _at_most_12(_text(value))


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), repr(value))
    if isinstance(value, int | Decimal128):
        return str(int(value)) if isinstance(value, int) else str(value)
    if isinstance(value, DatetimeMS):
        _check(-62_135_596_800_000 <= int(value) < 253_402_300_800_000, "out_of_range")
        return iso(int(value))
    return _text(value)


def iso(ms: int) -> str:
    text = str(np.datetime64(ms, "ms"))
    return (text[:-4] if text.endswith(".000") else text) + "Z"


def _date(value: Any) -> int:
    """Days since 1970."""
    if isinstance(value, str) and not isinstance(value, Code):
        _check(re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII) is not None, "wrong_type")
        try:
            return date.fromisoformat(value).toordinal() - date(1970, 1, 1).toordinal()
        except ValueError:
            raise OracleError("wrong_type") from None
    _check(isinstance(value, DatetimeMS), "wrong_type")
    ms = int(value)
    _check(-210_866_803_200_000 <= ms < 185_542_587_100_800_000, "out_of_range")
    _check(ms % DAY_MS == 0, "inexact")
    return ms // DAY_MS


def _moment(value: Any) -> int:
    """Milliseconds since 1970."""
    _check(isinstance(value, DatetimeMS), "wrong_type")
    _check(-210_866_803_200_000 <= int(value) < 9_224_318_016_000_000, "out_of_range")
    return int(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, ObjectId):
        return value.binary
    _check(isinstance(value, bytes), "wrong_type")
    return bytes(value)


def _uuid(value: Any) -> str:
    if isinstance(value, Binary):
        _check(value.subtype == 4 and len(value) == 16, "wrong_type")
        return str(uuid.UUID(bytes=bytes(value)))
    _check(isinstance(value, str) and UUID_TEXT.fullmatch(value) is not None, "wrong_type")
    return str(value).lower()


def _texts(value: Any) -> list[str | None]:
    _check(isinstance(value, list), "wrong_type")
    return [None if item is None else _text(item) for item in value]


def _json(value: Any) -> Any:
    text = json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)
    _check("\\u0000" not in text.replace("\\\\", ""), "nul_character")
    return parsed(text)


def parsed(text: str) -> Any:
    """JSON with its numbers exact."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_decimal(value: Any) -> None:
    _check(not isinstance(value, Decimal128), "decimal128")


def _check(holds: bool, reason: str) -> None:
    if not holds:
        raise OracleError(reason)


# Values of every BSON type, many of them at the edges.

EDGES: tuple[Any, ...] = (
    0, -1, 32767, 32768, -32768, -32769, 2**31 - 1, -(2**31), Int64(2**31), Int64(-(2**31) - 1), Int64(2**53),
    Int64(2**53 + 1),
    Int64(2**63 - 1), Int64(-(2**63)), 16_777_216, 16_777_217, Int64(2**63 - 512), Int64(2**63 - 1024),
    0.0, -0.0, 1.0, 0.1, 0.3, 1 / 3, 1e15, 1e16, 1e17, 123456789012345680.0, 1e22, 1e23, 5e-324,
    2.2250738585072014e-308,
    2.225073858507201e-308, 1.7976931348623157e308, 9007199254740993.0, 0.0001, 0.00001, 2**-1074 * 3, 4.35,
    2.675, 1e-7,
    9.2e18, 9.3e18, -9.2e18, 3.4028235e38, 3.5e38, 19.99, 100.0, 1e100, float("nan"), float("inf"), float("-inf"),
    Decimal128("0"), Decimal128("-0"), Decimal128("1.50"), Decimal128("0.00"), Decimal128("1E+3"), Decimal128("-1E-3"),
    Decimal128("9" * 34), Decimal128("9" * 34 + "E+6111"), Decimal128("1E-6176"), Decimal128("NaN"),
    Decimal128("Infinity"),
    Decimal128("-Infinity"), Decimal128("12345678901.23"), Decimal128("1234567890.125"), Decimal128("1234567890.1200"),
    Decimal128("0E-6176"), Decimal128("0E+6111"), Decimal128("0.000001"), Decimal128("0.0000001"), Decimal128("1E+1"),
    "", "a", "NUL \0", "quote \" \\ / \b\f\n\r\t\x01\x1f\x7f", "é東🙂", "2020-02-29", "2021-02-29", "0001-01-01",
    "9999-12-31",
    "0000-01-01", "2020-1-01", "2020-13-01", "2020-12-00", "202O-12-01", "12345678-1234-1234-1234-1234567890AB",
    "12345678-1234-1234-1234-1234567890Ag", "12345678x1234-1234-1234-1234567890ab", "x" * 36, "123456789012",
    "1234567890123",
    "ééééééééééééé", True, False, None, b"", b"\0\xff", Binary(b"abc", 2), Binary(b"", 2),
    Binary(b"0123456789abcdef", 3),
    Binary(b"0123456789abcdef", 4), Binary(b"0123456789abcde", 4), Binary(b"x", 128), Binary(b"xy", 5),
    ObjectId("0123456789abcdef01234567"), DatetimeMS(0), DatetimeMS(-1), DatetimeMS(DAY_MS), DatetimeMS(-DAY_MS),
    DatetimeMS(-62_135_596_800_000), DatetimeMS(253_402_300_799_999), DatetimeMS(253_402_300_800_000),
    DatetimeMS(2**62), DatetimeMS(-(2**62)), DatetimeMS(1_600_000_000_123), DatetimeMS(-62_135_596_800_001),
    Regex("a\"b", "imx"), Code("f()"), Code("f('\"')", {"x": {"y": [1]}}), Timestamp(2**32 - 1, 1), MinKey(), MaxKey(),
    [], [None], ["a", None, ""], ["a", 1], {}, {"": 1}, {"a": {"b": [{}, []]}}, [[[]]], {"$oid": "not one"},
    {"k\0"[:1]: "v\0"},
    {"é\n\"": True}, [MinKey(), Decimal128("1.0"), DatetimeMS(5), Binary(b"\0\1\2\3", 0), 1.5, float("nan"), Int64(5)],
)  # fmt: skip


def values(count: int, rng: random.Random) -> list[Any]:
    """The edges, then values drawn at random."""
    found = list(EDGES)
    while len(found) < count:
        found.append(_value(rng, 0))
    return [bson.decode(bson.encode({"v": value}), OPTIONS)["v"] for value in found]


def _value(rng: random.Random, depth: int) -> Any:
    makers = [_int, _float, _decimal, _string, _moment_ms, _rare]
    if depth < 4:
        makers += [_list, _document]
    maker = rng.choice(makers)
    return maker(rng, depth) if maker in (_list, _document) else maker(rng)  # type: ignore[call-arg]


def _int(rng: random.Random) -> Any:
    value = rng.getrandbits(rng.randint(1, 63)) * rng.choice((1, -1))
    return Int64(value) if rng.random() < 0.5 or abs(value) >= 2**31 else value


def _float(rng: random.Random) -> float:
    style = rng.randrange(4)
    if style == 0:
        return float(struct.unpack("<d", rng.randbytes(8))[0])
    if style == 1:
        return round(rng.uniform(-1e6, 1e6), rng.randint(0, 6))
    if style == 2:
        return rng.uniform(-1, 1) * 10.0 ** rng.randint(-30, 30)
    return float(rng.randint(-(10**6), 10**6))


def _decimal(rng: random.Random) -> Decimal128:
    digits = str(rng.getrandbits(rng.randint(1, 112)))[:34]
    exponent = rng.choice((0, -2, -len(digits), rng.randint(-40, 10), rng.randint(-6176, 6111)))
    return Decimal128(f"{rng.choice(('', '-'))}{digits}E{exponent}")


def _string(rng: random.Random) -> str:
    alphabet = rng.choice(("abc", "0123456789-", 'aé東🙂\n"\\\t', "abc\0"))
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(20)))


def _moment_ms(rng: random.Random) -> DatetimeMS:
    ms = rng.randint(-62_135_596_800_000, 253_402_300_799_999)
    return DatetimeMS(ms if rng.random() < 0.5 else ms // DAY_MS * DAY_MS)


def _rare(rng: random.Random) -> Any:
    return rng.choice((
        None, True, ObjectId(rng.randbytes(12)), Binary(rng.randbytes(rng.randrange(20)), rng.choice((0, 2, 5, 128))),
        Binary(rng.randbytes(16), 4), str(uuid.UUID(bytes=rng.randbytes(16))), Regex("x+", "i"), Code("g()"),
        Timestamp(rng.getrandbits(32), rng.getrandbits(32)), MinKey(),
    ))  # fmt: skip


def _list(rng: random.Random, depth: int) -> list[Any]:
    if rng.random() < 0.3:
        return [rng.choice((None, _string(rng))) for _ in range(rng.randrange(4))]
    return [_value(rng, depth + 1) for _ in range(rng.randrange(5))]


def _document(rng: random.Random, depth: int) -> dict[str, Any]:
    return {_string(rng).replace("\0", "")[:6]: _value(rng, depth + 1) for _ in range(rng.randrange(5))}
