"""Advice from Spark event logs that exist: where a run's time and money went, and a study that finds out more.

Reads logs without Java and without Spark, in one pass, in memory that doesn't grow with the log.
"""
