"""The written analysis of a sweep: Markdown with charts, and a short form for a terminal."""

from pipeline_tuner.report.terminal import summary
from pipeline_tuner.report.written import write_report

__all__ = ["summary", "write_report"]
