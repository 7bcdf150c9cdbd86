"""YAML 1.2 in study files: what a plain word is, keys that are there twice, files that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tuner.analysis.glue_prices import parse_prices
from pipeline_tuner.exceptions import StudyError
from pipeline_tuner.study import load_study
from pipeline_tuner.study_yaml import read_yaml


def values(text):
    document = read_yaml(text, source="x.yaml")
    assert not document.problems
    return document.values


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("on", "on"), ("no", "no"), ("Yes", "Yes"), ("y", "y"), ("OFF", "OFF"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("1e6", 1e6), ("-1.5E-3", -0.0015), (".5", 0.5), ("5.", 5.0), ("+7", 7), ("012", 12), ("0o12", 10),
        ("0x1F", 31), ("1_000", "1_000"), ("1:30", "1:30"),
        ("2026-01-31", "2026-01-31"), ("0b1", "0b1"), ("=", "="), ("1.2.3", "1.2.3"),
        ("'5'", "5"), ("!!str 5", "5"), ("!!float 5", 5.0),
    ],
)  # fmt: skip
def test_a_plain_word_is_what_yaml_1_2_says(word, value):
    found = values(f"key: {word}")["key"]
    assert (found, type(found)) == (value, type(value))


def test_aliases_and_merges_are_followed():
    text = "base: &base {a: 1, b: 2}\nother: &other {b: 4, c: 5}\none: {<<: *base, a: 3}\ntwo: {<<: [*base, *other]}\n"
    assert values(text)["one"] == {"a": 3, "b": 2}
    assert values(text)["two"] == {"a": 1, "b": 2, "c": 5}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: {c: 1,\n  c: 2}\n", 2, "b.c: is there twice, in lines 2 and 3"),
        ("a: 1\n\na: 2\n", 1, "a: is there twice, in lines 1 and 3"),
        ("a:\n  1: x\n", 2, "a.1: a key must be text: put it in quotes"),
        ("a:\n  - .inf\n", 2, "a, entry 1: is inf, must be a finite number"),
        ("a: 1e999\n", 1, "a: is inf, must be a finite number"),
        ("a: .NaN\n", 1, "a: is nan, must be a finite number"),
        ("a: !!python/name:os.system x\n", 1, "a: the tag '!!python/name:os.system' has no meaning here: leave it out"),
        ("a: !mine {b: 1}\n", 1, "a: the tag '!mine' has no meaning here: leave it out"),
        ("a: !!int x\n", 1, "a: 'x' is no int"),
        ("a: {<<: 5}\n", 1, "a.<<: must be a mapping, or a list of mappings"),
        (f"a: {'9' * 5000}\n", 1, f"a: '{'9' * 60}' is no int"),
    ],
)
def test_what_is_wrong_beside_the_syntax_has_its_line(text, line, problem):
    document = read_yaml(text, source="x.yaml")
    assert [(document.line(one.path), str(one)) for one in document.problems] == [(line, problem)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", r"x\.yaml:2: column 2 is not YAML"),
        ("a: *b\n", "x.yaml:1: column 4 is not YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "is not YAML: but found another document"),
        ("a: \a\n", "is not YAML: .*not allowed"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("[" * 5000, "nested too deeply"),
        (
            "a0: &a0 [1,1]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
            "multiply",
        ),
    ],
)
def test_what_is_no_yaml_is_one_line(text, message):
    with pytest.raises(StudyError, match=message) as caught:
        read_yaml(text, source="x.yaml")
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_document_or_one_line(text):
    words = ""
    try:
        read_yaml(text, source="x.yaml")
    except StudyError as error:
        words = str(error)
    assert "\n" not in words


def test_a_latin_1_file_is_refused_with_the_remedy_that_works(tmp_path):
    import subprocess

    path = tmp_path / "a study.yaml"
    path.write_bytes("study: x\njob: x\ndescription: größer\n".encode("latin-1"))
    with pytest.raises(StudyError, match=r"a study\.yaml:3: is not UTF-8 \(byte 0xf6\)") as caught:
        load_study(path)
    assert "\n" not in str(caught.value)
    command = str(caught.value).partition("or run ")[2].partition(" if it")[0]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    with pytest.raises(StudyError, match="workload: is missing"):
        load_study(tmp_path / "converted.yaml")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfstudy: Wrong Name\n")
    with pytest.raises(StudyError, match=r"bom\.yaml:1: study: is 'Wrong Name'"):
        load_study(path)


def test_the_price_file_is_read_by_the_same_rules():
    with pytest.raises(StudyError, match="the price file:2: version: is there twice"):
        parse_prices("\nversion: 2\nversion: 2\n")


@pytest.mark.parametrize("line", ['owner: "a\\0b"', 'owner: "\\ud800"', '"ow\\0ner": a', 'tags: [a, "\\udfff"]'])
def test_a_text_that_no_database_keeps_is_a_problem(line):
    problems = read_yaml(line, source="x.yaml").problems
    assert [problem.words.partition(", ")[0] for problem in problems] == ["has a NUL or half a surrogate pair"]
