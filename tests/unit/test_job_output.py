"""What is kept of a job's output: the end of it, in whole lines, never more than memory holds."""

from pipeline_tuner.runners import job_output
from pipeline_tuner.runners.job_output import JobOutput


def test_of_more_than_is_looked_at_the_last_whole_lines_are(tmp_path, monkeypatch):
    monkeypatch.setattr(job_output, "TEXT_BYTES", 100)
    job = JobOutput(tmp_path / "log", secrets=("s3cret",))
    job.path.write_text("first\n")
    assert (job.text(), job.is_cut) == ("first\n", False)
    job.path.write_text("first s3cret\n" + "x" * 96 + "\nlast\n")
    assert (job.text(), job.is_cut) == ("last\n", True)
    job.path.write_text("begun\n" * 100)
    assert set(job.text().splitlines()) == {"begun"}
    assert len(job.text()) <= 100


def test_a_job_that_printed_nothing_has_an_empty_text(tmp_path):
    job = JobOutput(tmp_path / "none")
    assert (job.text(), job.tail(), job.is_cut) == ("", "", False)
    job.follow()
    job.finish()
