"""Logs whole, cut, damaged, rolled, compressed: what of them is read, and what is said to be missing."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import re
import tarfile
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.event_logs import FRAMINGS, SQL, START, FakeApplication, advised, as_lines, even_stage

from pipeline_tuner.__main__ import main
from pipeline_tuner.advise.advice import advise
from pipeline_tuner.advise.application import Outcome
from pipeline_tuner.advise.compression import LogBytes
from pipeline_tuner.advise.findings import Kind
from pipeline_tuner.advise.log_files import LogError, find_logs
from pipeline_tuner.advise.log_reader import read_log
from pipeline_tuner.advise.secrets import holds_secret, names_secret, without_secrets
from pipeline_tuner.advise.terminal import missing_words

WHOLE = FakeApplication([even_stage(0, 1000, 9000), even_stage(1, 9000, 12000)], end=12500)


def read(path):
    (log,) = find_logs([path]).logs
    return read_log(log)


def test_a_whole_log(tmp_path):
    found = read(WHOLE.write(tmp_path / "log"))
    assert found.is_complete
    assert (found.application.wall_ms, len(found.application.stages), found.application.task_ms) == (12500, 2, 44000)
    assert list(missing_words(found)) == []


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_compression_gives_the_same_bytes(tmp_path, framing):
    content = random.Random(1).randbytes(70_000) + WHOLE.text() * 20
    path = tmp_path / "log"
    path.write_bytes(FRAMINGS[framing](content))
    log = LogBytes(path)
    assert b"".join(log) == content
    assert log.damage is None
    assert log.position == path.stat().st_size


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_compressed_log_cut_at_any_byte_keeps_what_can_be_had(tmp_path, framing):
    content = WHOLE.text() * 40
    packed = FRAMINGS[framing](content)
    path = tmp_path / "log"
    lengths = []
    for cut in sorted(random.Random(2).sample(range(1, len(packed)), 40)):
        path.write_bytes(packed[:cut])
        log = LogBytes(path)
        got = b"".join(log)
        assert content.startswith(got)
        # Between two blocks, lz4 and snappy have nothing that says whether another follows.
        assert log.damage or (framing in ("lz4", "snappy") and len(got) % (32 << 10) == 0)
        lengths.append(len(got))
    assert lengths == sorted(lengths)
    assert lengths[-1] > len(content) // 2


@pytest.mark.parametrize("framing", FRAMINGS)
def test_damage_in_the_middle_is_said(tmp_path, framing):
    packed = bytearray(FRAMINGS[framing](random.Random(3).randbytes(200_000)))
    packed[len(packed) // 2 : len(packed) // 2 + 40_000] = b"\xff" * 40_000
    path = tmp_path / "log"
    path.write_bytes(packed)
    log = LogBytes(path)
    assert len(b"".join(log)) < 200_000
    assert "damaged" in (log.damage or "")


@given(cut=st.integers(1, len(WHOLE.text()) - 1))
def test_a_plain_log_cut_at_any_byte(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "log"
    path.write_bytes(WHOLE.text()[:cut])
    try:
        found = read(path)
    except LogError:
        assert cut < 60  # within the first line
        return
    assert found.not_events == 0
    assert not found.has_end or cut >= len(WHOLE.text()) - 1
    assert any("end isn't in the log" in words for words in missing_words(found)) is not found.has_end


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        ("SparkListenerApplicationStart", "application's start isn't in the log"),
        ("SparkListenerEnvironmentUpdate", "settings aren't in the log"),
    ],
)
def test_a_log_without_its_beginning_says_what_is_missing(tmp_path, dropped, words):
    """As the last part of a rolled log, or what `tail` kept of one."""
    app = FakeApplication([even_stage(0, 1000, 9000), even_stage(1, 900_000, 912_000)], end=1_800_000)
    path = tmp_path / "log"
    lines = app.text().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if dropped.encode() not in line))
    found = read(path)
    assert not found.is_complete
    assert words in " ".join(missing_words(found))
    kinds = {finding.kind for finding in advise(found).findings}
    # What looks like a wait is what happened in the part that is missing.
    assert (Kind.DRIVER in kinds) is (dropped != "SparkListenerApplicationStart")


def test_waits_of_a_log_that_lacks_a_part_are_not_the_drivers(tmp_path):
    app = FakeApplication([even_stage(0, 1000, 9000), even_stage(1, 900_000, 912_000)], end=950_000)
    folder = tmp_path / "eventlog_v2_app"
    folder.mkdir()
    lines = app.text().splitlines(keepends=True)
    for number, part in ((1, lines[:12]), (3, lines[12:])):
        (folder / f"events_{number}_app").write_bytes(b"".join(part))
    found = read(folder)
    assert "So nothing is said about start-up, waits and idle cores." in list(missing_words(found))
    assert {Kind.DRIVER, Kind.STARTUP} & {finding.kind for finding in advise(found).findings} == set()


def test_lines_that_are_no_events_are_counted_and_named(tmp_path):
    lines = WHOLE.text().splitlines(keepends=True)
    broken = [*lines[:4], b"what is this?\n", b'{"Event":"SparkListenerTaskEnd","Stage\n', b"\n", *lines[4:]]
    path = tmp_path / "log"
    path.write_bytes(b"".join(broken))
    found = read(path)
    assert (found.not_events, found.first_not_event, found.application.task_ms) == (2, 5, 44000)
    assert "2 lines (the first is line 5) are no events" in " ".join(missing_words(found))


def test_an_event_of_the_wrong_shape_is_no_event(tmp_path):
    wrong = as_lines([{"Event": "SparkListenerTaskEnd", "Stage ID": "three", "Task Info": {}}])
    path = tmp_path / "log"
    path.write_bytes(wrong + WHOLE.text())
    assert read(path).not_events == 1


def test_a_huge_line_that_is_not_needed_is_not_kept(tmp_path):
    plan = json.dumps({"Event": "SparkListenerSomethingElse", "plan": "x" * 5_000_000}).replace(": ", ":", 1).encode()
    path = tmp_path / "log"
    path.write_bytes(plan + b"\n" + WHOLE.text())
    found = read(path)
    assert (found.not_events, found.application.task_ms, found.is_complete) == (0, 44000, True)


def test_a_rolling_folder_says_which_part_is_missing(tmp_path):
    lines = WHOLE.text().splitlines(keepends=True)
    folder = tmp_path / "eventlog_v2_application_1_0001"
    folder.mkdir()
    for number, part in ((1, lines[:6]), (3, lines[9:])):
        (folder / f"events_{number}_application_1_0001").write_bytes(b"".join(part))
    (folder / "appstatus_application_1_0001.inprogress").touch()
    found = read(folder)
    assert found.log.missing_parts == (2,)
    assert not found.is_complete
    assert "Part 2 of the rolling log is missing" in " ".join(missing_words(found))


def test_rolled_parts_are_read_by_number_and_a_compacted_one_stands_for_those_before(tmp_path):
    folder = tmp_path / "eventlog_v2_a"
    folder.mkdir()
    for number in (1, 2, 10):
        (folder / f"events_{number}_a").write_bytes(b"{}")
    (log,) = find_logs([folder]).logs
    assert [path.name for path in log.parts] == ["events_1_a", "events_2_a", "events_10_a"]
    assert log.missing_parts == (3, 4, 5, 6, 7, 8, 9)
    (folder / "events_9_a.compact").write_bytes(b"{}")
    (log,) = find_logs([folder]).logs
    assert [path.name for path in log.parts] == ["events_9_a.compact", "events_10_a"]
    assert (log.missing_parts, log.compacted) == ((), True)


def test_a_folder_of_databricks_is_one_log(tmp_path):
    lines = WHOLE.text().splitlines(keepends=True)
    (tmp_path / "eventlog-2024-01-02--03-00.gz").write_bytes(FRAMINGS["gzip"](b"".join(lines[:8])))
    (tmp_path / "eventlog").write_bytes(b"".join(lines[8:]))
    found = read(tmp_path)
    assert [part.name for part in found.log.parts] == ["eventlog-2024-01-02--03-00.gz", "eventlog"]
    assert found.is_complete


def test_what_is_no_log_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "empty").touch()
    (tmp_path / "notes.txt").write_text("hello")
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, words in (("empty", "is empty"), ("notes.txt", "is no event log"), ("folder", "holds no event log")):
        assert main(["advise", str(tmp_path / path)]) == 1
        assert words in capsys.readouterr().err
    (tmp_path / "lzf").write_bytes(b"ZV\x01\x00\x10\x00\x20")
    assert main(["advise", str(tmp_path / "lzf")]) == 1
    assert "lzf compression is not read" in capsys.readouterr().err
    assert main(["advise", "s3://bucket/logs/app"]) == 1
    assert "copy it here first" in capsys.readouterr().err
    assert main(["advise", str(tmp_path / "nowhere")]) == 1
    assert "No such file" in capsys.readouterr().err


def zipped(content):
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as file:
        file.writestr("eventLogs-app-1/app-1", content)
    return packed.getvalue()


def tarred(content):
    with tarfile.open(fileobj=(packed := io.BytesIO()), mode="w:gz") as file:
        file.addfile(tarfile.TarInfo("app-1"), io.BytesIO(content))
    return packed.getvalue()


OTHERS = {
    "history.zip": (zipped(WHOLE.text()), "a zip archive (the history server's download is one): unpack it"),
    "logs.tar.gz": (tarred(b""), "a tar archive: unpack it"),
    "log.bz2": (bz2.compress(WHOLE.text()), "compressed by bzip2, which Spark doesn't write: unpack it first"),
    "log.xz": (lzma.compress(WHOLE.text()), "compressed by xz, which Spark doesn't write: unpack it first"),
    "nothing.gz": (gzip.compress(b""), "empty once it is unpacked"),
    "nothing.zstd": (FRAMINGS["zstd"](b""), "empty once it is unpacked"),
    "cut.gz": (gzip.compress(WHOLE.text())[:5], "no event log: its gzip stream is cut off"),
    "others.jsonl": (b'{"level":"info","msg":"hello"}\n' * 100, "no event log: its first line is no Spark event"),
    "zeros": (bytes(10_000), "no event log: its first line is no Spark event"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_no_log_is_called_what_it_is(tmp_path, capsys, name):
    content, words = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    assert main(["advise", str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert f"{name} is {words}" in said
    assert len(said.splitlines()) == 1


def test_a_folder_of_what_must_be_unpacked_says_so(tmp_path, capsys):
    (tmp_path / "history.zip").write_bytes(zipped(WHOLE.text()))
    assert main(["advise", str(tmp_path)]) == 1
    assert "history.zip is a zip archive" in capsys.readouterr().err


def test_other_files_of_a_folder_are_named(tmp_path, capsys):
    WHOLE.write(tmp_path / "log")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert main(["advise", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "notes.txt is no event log and was left out" in said
    assert "link is no event log and was left out" in said


def test_logs_of_a_folder_per_day(tmp_path, capsys):
    for day in ("2024/01/01", "2024/01/02"):
        (tmp_path / day).mkdir(parents=True)
        WHOLE.write(tmp_path / day / "log")
    (tmp_path / "2024" / "again").symlink_to(tmp_path, target_is_directory=True)
    found = find_logs([tmp_path])
    assert [str(log.path.relative_to(tmp_path)) for log in found.logs][:2] == ["2024/01/01/log", "2024/01/02/log"]
    assert len(found.logs) == 2


def test_frames_without_content_are_passed_over(tmp_path):
    """As parallel compressors write them before each frame."""
    path = tmp_path / "log"
    halves = [WHOLE.text()[:700], WHOLE.text()[700:]]
    path.write_bytes(b"".join(b"\x50\x2a\x4d\x18\x04\0\0\0size" + FRAMINGS["zstd"](half) for half in halves))
    assert read(path).is_complete


def test_a_log_without_jobs(tmp_path, capsys):
    FakeApplication([], end=5000).write(tmp_path / "log")
    assert main(["advise", str(tmp_path)]) == 0
    assert "No task ran" in capsys.readouterr().out


def test_thousands_of_executors_and_two_attempts(tmp_path, capsys):
    executors = {str(number): 2 for number in range(5000)}
    for attempt in ("1", "2"):
        app = FakeApplication([even_stage(0, 1000, 9000)], end=10000, executors=executors, attempt=attempt)
        app.write(tmp_path / f"log_{attempt}")
    assert main(["advise", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "5,000 executors of 2 cores" in said.replace("\n", " ")
    assert "2 runs; the advice is about the one marked *" in said


def test_the_same_run_twice_counts_once(tmp_path, capsys):
    WHOLE.write(tmp_path / "log")
    (tmp_path / "copy").write_bytes(WHOLE.text()[:3000])
    assert main(["advise", str(tmp_path)]) == 0
    assert "2 runs" not in capsys.readouterr().out


def test_a_stream_is_not_blamed_for_waiting(tmp_path):
    progress = {"Event": "org.apache.spark.sql.streaming.StreamingQueryListener$QueryProgressEvent", "progress": {}}
    app = FakeApplication([even_stage(0, 100_000, 101_000)], end=500_000, others=[progress])
    found = advised(app, tmp_path)
    assert found.read.application.is_streaming
    assert found.findings == ()


def test_an_end_without_a_line_feed_is_an_end(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(WHOLE.text().rstrip(b"\n"))
    assert read(path).is_complete
    assert read(path).application.outcome is Outcome.SUCCEEDED


SECRETS = (
    "jdbc:postgresql://me:hunter2@host/db",
    "jdbc:mysql://host/db?user=me&password=hunter2",
    "CREATE TABLE t USING jdbc OPTIONS (password 'hunter2')",
    "AKIAIOSFODNN7EXAMPLE",
    "Authorization: Bearer hunter2hunter2",
    "fs.azure.account.key: hunter2",
    "--api-token=hunter2",
)


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_in_texts_are_hidden(text):
    assert holds_secret(text)
    assert "hunter2" not in without_secrets(text)
    assert "AKIA" not in without_secrets(text)


@pytest.mark.parametrize(
    "text", ["count at Job.scala:1", "s3://bucket/path/to=1", "local[4]", "4g", "a key of a table"]
)
def test_other_texts_stay(text):
    assert without_secrets(text) == text


def test_names_of_secrets():
    assert all(map(names_secret, ("spark.hadoop.fs.s3a.access.key", "spark.ssl.keyPassword", "my.token", "DB_PASSWD")))
    assert not names_secret("spark.sql.shuffle.partitions")


def test_no_secret_is_printed(tmp_path, capsys):
    settings = {"spark.master": "yarn", "spark.my.secret": "hunter2", "spark.uri": "mongodb://u:hunter2@h/d"}
    stage = even_stage(0, 1000, 60_000, tasks=1, name="password=hunter2")
    app = FakeApplication([stage], end=61_000, settings=settings, name="job password: hunter2")
    app.java_command = "org.apache.spark.deploy.SparkSubmit job.jar --password hunter2"
    app.write(tmp_path / "log")
    for options in ([], ["--json"]):
        assert main(["advise", str(tmp_path), *options]) == 0
        said = capsys.readouterr()
        assert "hunter2" not in said.out + said.err


def test_how_far_it_is_goes_to_stderr(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pipeline_tuner.advise.command.PROGRESS_AFTER_S", 0.0)
    WHOLE.write(tmp_path / "log")
    assert main(["advise", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert re.search(r"^log: ([\d.]+ KB) of \1$", said.err, re.MULTILINE)
    assert "KB of" not in said.out


def test_names_that_differ_by_a_date_are_one_job(tmp_path, capsys):
    for day in ("2024-01-01", "2024-01-02"):
        app = FakeApplication([even_stage(0, 0, 1000)], end=1000, name=f"nightly {day}", app_id=day)
        app.write(tmp_path / day)
    assert main(["advise", str(tmp_path)]) == 0
    assert "2 runs" in capsys.readouterr().out


def test_tens_of_thousands_of_queries_take_seconds(tmp_path):
    stages, others = [], []
    for number in range(10_000):
        begin = 100 * number
        stages.append(even_stage(number, begin + 10, begin + 60, tasks=2, execution=number))
        others.append({"Event": SQL + "SQLExecutionStart", "executionId": number, "time": START + begin})
        others.append({"Event": SQL + "SQLExecutionEnd", "executionId": number, "time": START + begin + 80})
    app = FakeApplication(stages, end=1_000_000, others=others)
    app.write(tmp_path / "log")
    began = time.process_time()
    found = advise(read(tmp_path / "log"))
    assert len(found.breakdown.steps) == 10_000
    assert time.process_time() - began < 20
