"""What programs print: figures that are plain numbers or refused in one line, and signs of a lack of memory."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tuner.exceptions import MeasurementError
from pipeline_tuner.program_output import MetricPattern, memory_sign, plain_text


def figure(pattern, printed):
    return MetricPattern("size", re.compile(pattern, re.MULTILINE)).value_in(plain_text(printed))


@pytest.mark.parametrize(
    ("pattern", "printed", "value"),
    [
        (r"took (\S+) s", "took 3.5 s", 3.5),
        (r"took (\S+) s", "took -1.5e3 s", -1500),
        (r"took (\S+) s", "took .5 s", 0.5),
        (r"took (.*)s$", "took   12  s", 12),
        (r"size (\d+)", "size 12.", 12),
        (r"size (\d+)", "size 12, 5 files", 12),
        (r"size (\d+)", "size 12kB", 12),
        (r"-(\d+) files", "10-20 files", 20),
        (r"size (\d+)", "size 1\nsize 2\n", 2),
        (r"^size (\d+)$", "size 12\r\n", 12),
        (r"^size (\d+)$", "10%\r50%\rsize 12\r\n", 12),
        (r"^size (\d+)$", "\x1b[1;32msize\x1b[0m \x1b[01;31m\x1b[K12\x1b[m\x1b[K\n", 12),
        (r"^size (\d+)$", "50%\x1b[1Gsize 12\n", 12),
        (r"^size (\d+)$", "\x1b]0;title\x07size 12\n", 12),
    ],
)
def test_a_plain_number_is_read(pattern, printed, value):
    assert figure(pattern, printed) == value


@pytest.mark.parametrize(
    "number",
    [
        "3,5",
        "1.234,5",
        "1,234",
        "nan",
        "inf",
        "-Infinity",
        "1_000",
        "1e999",
        "0x1F",
        "1.2.3",
        "٣",
        "1'234",
        "1\xa0234",
        "1/2",
        "--5",
        "-",
    ],
)
def test_what_is_no_plain_number_is_refused_in_one_line(number):
    with pytest.raises(MeasurementError, match=r"runner\.options\.metrics\.size: the program printed ") as caught:
        figure(r"took (.*) s", f"took {number} s")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "printed"),
    [
        (r"(\d+)", "size 12.5"),
        (r"size (\d+)", "size 12.5"),
        (r"size (\d+)", "size 1,234"),
        (r"size (\d+).*", "size 1,234"),
        (r"size (\d+)", "size 1_000"),
        (r"size (\d+)", "size 1'234"),
        (r"size (\d+)", "size 1\u202f234"),
        (r"size (\d+)", "size 2e9"),
        (r"size (\d+)", "size 0x1F"),
        (r"size (\d\d)", "size 123"),
        (r"size .*?(\d+)$", "size -5"),
        (r"(\d+)$", "size 1e-5"),
        (r"(\d{3})$", "size 1,234"),
        (r"([.]\d+)$", "size 1.5"),
    ],
)
def test_a_part_of_a_number_is_refused(pattern, printed):
    with pytest.raises(MeasurementError, match="part of a number") as caught:
        figure(pattern, printed)
    assert "\n" not in str(caught.value)


def test_a_pattern_that_matches_nothing_shows_the_last_line():
    with pytest.raises(MeasurementError, match=r"metrics\.size matches .*; its last line is 'size=12'"):
        figure(r"size (\d+)", "begun\nsize=12\n\n")
    with pytest.raises(MeasurementError, match="it printed nothing at all"):
        figure(r"size (\d+)", "\n")
    with pytest.raises(MeasurementError, match="took part in no match"):
        figure(r"size(?: (\d+))?", "size unknown")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_python_prints_is_read_exactly(value):
    assert figure(r"size (\S+)$", f"size {value!r}\r\n") == value


TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n    work()\n    ~~~~^^\n'


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        (f"{TRACEBACK}MemoryError\n", "MemoryError"),
        (f"{TRACEBACK}numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 B\nbye\n", "Unable to allocate"),
        (f"{TRACEBACK}MemoryError\n\nDuring handling of the above exception, another exception occurred:\n\n"
         f"{TRACEBACK}ValueError: no rows\n", "MemoryError"),
        (f'{TRACEBACK}OSError: [Errno 12] Cannot allocate memory\n', "Cannot allocate memory"),
        ("bash: fork: Cannot allocate memory\n", "Cannot allocate memory"),
        ("terminate called ...\n  what():  std::bad_alloc\n", "bad_alloc"),
        ("x\njava.lang.OutOfMemoryError: Java heap space\nat\n", "java.lang.OutOfMemoryError: Java heap space"),
        ("Lost executor 1 on h: Command exited with code 52\n", "code 52"),
    ],
)  # fmt: skip
def test_a_lack_of_memory_is_seen(text, sign):
    assert sign in (memory_sign(text) or "")


@pytest.mark.parametrize(
    "text",
    [
        "this version handles MemoryError better\nthe disk is full\n",
        "MemoryError\n",
        f"{TRACEBACK}ValueError: no MemoryError was raised\n",
        f"{TRACEBACK}MemoryError\nusing smaller batches\n{TRACEBACK}ValueError: no rows\n",
        "retry when you see 'Cannot allocate memory'\n",
    ],
)
def test_the_word_alone_is_no_lack_of_memory(text):
    assert memory_sign(text) is None
