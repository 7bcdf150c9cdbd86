"""The tables and columns of the results database, schema `pipeline_tuner`; docs/tables.md is made from the comments
here.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "pipeline_tuner"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    },
)

TIME = DateTime(timezone=True)
# Columns of type JSON keep the order of names: a study's stages and presets come in it. JSONB sorts them by length.

sweep = Table(
    "sweep",
    metadata,
    Column("sweep_id", Text, primary_key=True, comment="Study, start time and a hash of the DAG run"),
    Column("study", Text, nullable=False, comment="Name of the study"),
    Column("job", Text, nullable=False, comment="Name of the job that the study tunes"),
    Column("dag_id", Text, nullable=False, comment="Airflow's DAG"),
    Column("run_id", Text, nullable=False, comment="Airflow's DAG run"),
    Column("triggered_by", Text, comment="User who triggered the run; empty for scheduled runs"),
    Column("status", Text, nullable=False, comment="running, recommended, undecided or failed"),
    Column("reason", Text, nullable=False, server_default="", comment="Why it failed or is undecided, for people"),
    Column("options", JSONB, nullable=False, comment="The sweep's options: strategy, goals, size, seed, budget"),
    Column("study_definition", JSON, nullable=False, comment="The whole study as it was when the sweep started"),
    Column("planned", Integer, nullable=False, server_default="0", comment="Trials planned"),
    Column("measured", Integer, nullable=False, server_default="0", comment="Trials with a valid measurement"),
    Column("failed", Integer, nullable=False, server_default="0", comment="Trials that failed or were lost"),
    Column("workload", JSONB, comment="The workload's size: rows, bytes, shape"),
    Column("workload_fingerprint", Text, comment="Equal for sweeps of the same data"),
    Column("environment", JSONB, comment="Machine and versions that the trials ran on"),
    Column("environment_fingerprint", Text, comment="Equal for sweeps of the same machine and versions"),
    Column("analysis", Text, comment="The written analysis, Markdown"),
    Column(
        "analysis_details",
        Text,
        comment="The written analysis's details, Markdown; empty for analyses that hold them",
    ),
    Column("analysis_path", Text, comment="File of the written analysis on the machine that ran the last task"),
    Column("started_at", TIME, nullable=False, comment="When the sweep's first task started"),
    Column("ended_at", TIME, comment="When the sweep's last task ended"),
    Index(None, "study", "started_at"),
    Index(None, "started_at"),
    Index(None, "dag_id", "run_id"),
    comment="One sweep: one DAG run of a study",
)

trial = Table(
    "trial",
    metadata,
    Column("trial_id", Text, primary_key=True, comment="Equal for every attempt at this trial"),
    Column("sweep_id", Text, ForeignKey(sweep.c.sweep_id, ondelete="CASCADE"), nullable=False, comment="Its sweep"),
    Column("study", Text, nullable=False, comment="Name of the study"),
    Column("phase", Text, nullable=False, comment="search or confirm"),
    Column("round", Integer, nullable=False, comment="Round of planning, from 1"),
    Column("block", Integer, nullable=False, comment="Group of trials run close together in random order"),
    Column("position", Integer, nullable=False, comment="Place in the block"),
    Column("label", Text, nullable=False, comment="Name of the configuration in this sweep"),
    Column("is_control", Boolean, nullable=False, comment="Whether this is the block's control"),
    Column("configuration_id", Text, nullable=False, comment="Equal for equal configurations"),
    Column("configuration", JSON, nullable=False, comment="The whole configuration"),
    Column("fraction", Float, nullable=False, comment="Part of the workload that the trial runs on, 0 to 1"),
    Column("min_work_s", Float, nullable=False, server_default="0", comment="Work that it measures at least, s"),
    Column("status", Text, nullable=False, comment="planned, running, measured or failed"),
    Column("failure", Text, comment="Kind of failure: out_of_memory, timeout, check_failed, lost, ..."),
    Column("reason", Text, nullable=False, server_default="", comment="Why it failed, for people"),
    Column("metrics", JSONB, nullable=False, server_default="{}", comment="Values by metric; units end the names"),
    Column("measurement", JSONB, comment="The whole measurement as the job left it"),
    Column("task_id", Text, comment="Airflow's task that took this trial"),
    Column("map_index", Integer, comment="Map index of the task instance that took this trial"),
    Column("try_number", Integer, comment="Airflow's try that gave this result"),
    Column("planned_at", TIME, nullable=False, comment="When it was planned"),
    Column("started_at", TIME, comment="When its task started it"),
    Column("ended_at", TIME, comment="When its result was written"),
    Index(None, "sweep_id", "phase", "round", "block", "position"),
    Index(None, "study", "configuration_id"),
    Index(None, "study", "ended_at"),
    comment="One configuration measured once: a planned row that its result replaces",
)

recommendation = Table(
    "recommendation",
    metadata,
    Column("sweep_id", Text, ForeignKey(sweep.c.sweep_id, ondelete="CASCADE"), primary_key=True, comment="Its sweep"),
    Column("goal", Text, primary_key=True, comment="Name of the goal"),
    Column("study", Text, nullable=False, comment="Name of the study"),
    Column("status", Text, nullable=False, comment="best, tied, better, keep or undecided"),
    Column("label", Text, comment="Name of the recommended configuration"),
    Column("configuration_id", Text, comment="Equal for equal configurations"),
    Column("configuration", JSON, comment="The whole recommended configuration"),
    Column("estimate", Float, comment="The goal's value, from the confirmation"),
    Column("estimate_low", Float, comment="Lower bound of its interval"),
    Column("estimate_high", Float, comment="Upper bound of its interval"),
    Column("unit", Text, nullable=False, server_default="", comment="Unit of the estimate"),
    Column("gain", Float, comment="Ratio to the control, above 1 where better, from the confirmation"),
    Column("gain_low", Float, comment="Lower bound of its interval"),
    Column("gain_high", Float, comment="Upper bound of its interval"),
    Column("reference", Text, comment="Name of what production ran with, which the decision is held against"),
    Column("reference_gain", Float, comment="Ratio to the reference, above 1 where better, from the confirmation"),
    Column("reference_gain_low", Float, comment="Lower bound of its interval"),
    Column("reference_gain_high", Float, comment="Upper bound of its interval"),
    Column("regret_bound", Float, comment="The best finalist may be better by this fraction at most; empty: unknown"),
    Column("confidence", Float, nullable=False, comment="1 - probability that the statement is wrong, jointly"),
    Column("ties", JSONB, nullable=False, server_default="[]", comment="Labels that can't be told apart"),
    Column("reason", Text, nullable=False, server_default="", comment="One sentence for people"),
    Column("document", JSON, nullable=False, comment="The whole recommendation with its evidence"),
    Column("workload_fingerprint", Text, comment="The data that it is valid for"),
    Column("environment_fingerprint", Text, comment="The machine and versions that it is valid for"),
    Column("created_at", TIME, nullable=False, comment="When it was written"),
    Column("valid_until", TIME, comment="After this, production falls back; empty: no end"),
    Column(
        "is_followed",
        Boolean,
        nullable=False,
        server_default="true",
        comment="Whether production may follow it: a night's only where it confirmed a gain over production",
    ),
    Index(None, "study", "goal", "created_at"),
    comment="What a sweep recommends for one goal",
)

promotion = Table(
    "promotion",
    metadata,
    Column("promotion_id", BigInteger, Identity(), primary_key=True, comment="Counts up"),
    Column("study", Text, nullable=False, comment="Name of the study"),
    Column("goal", Text, nullable=False, comment="Goal that production asks for"),
    Column("action", Text, nullable=False, comment="promote, or roll_back to an earlier configuration"),
    Column("label", Text, nullable=False, comment="Name of the configuration"),
    Column("configuration_id", Text, nullable=False, comment="Equal for equal configurations"),
    Column("configuration", JSON, nullable=False, comment="What production runs with from now on"),
    Column("sweep_id", Text, ForeignKey(sweep.c.sweep_id, ondelete="SET NULL"), comment="The sweep behind it, if any"),
    Column("actor", Text, nullable=False, comment="Who did it"),
    Column("note", Text, nullable=False, server_default="", comment="Why, in the actor's words"),
    Column("created_at", TIME, nullable=False, comment="When"),
    Index(None, "study", "goal", "created_at"),
    Index(None, "sweep_id"),
    comment="Decisions about production, never changed: the newest of a study and goal holds",
)

production_run = Table(
    "production_run",
    metadata,
    Column(
        "production_run_id", Text, primary_key=True, comment="DAG, run, task, map index; for a tuned task its try, too"
    ),
    Column("study", Text, nullable=False, comment="Name of the study"),
    Column("goal", Text, comment="Goal that production asked for, if any"),
    Column("source", Text, nullable=False, comment="given, preset, recommended, promoted, fallback or explored"),
    Column("source_reason", Text, nullable=False, server_default="", comment="Why this configuration was used"),
    Column("label", Text, nullable=False, comment="Name of the configuration"),
    Column("configuration_id", Text, nullable=False, comment="Equal for equal configurations"),
    Column("configuration", JSON, nullable=False, comment="The whole configuration"),
    Column("status", Text, nullable=False, comment="running, measured, failed or skipped"),
    Column("failure", Text, comment="Kind of failure"),
    Column("reason", Text, nullable=False, server_default="", comment="Why it failed, for people"),
    Column("metrics", JSONB, nullable=False, server_default="{}", comment="Values by metric; units end the names"),
    Column("measurement", JSONB, comment="The whole measurement as the job left it"),
    Column("dag_id", Text, nullable=False, comment="Airflow's DAG"),
    Column("run_id", Text, nullable=False, comment="Airflow's DAG run"),
    Column("task_id", Text, comment="Airflow's task; empty for runs noted before there was this column"),
    Column("map_index", Integer, comment="Map index of the task instance; -1 for a task that is not mapped"),
    Column("try_number", Integer, comment="Airflow's try, from 1: a tuned task has a row for each"),
    Column("started_at", TIME, nullable=False, comment="When the run started"),
    Column("ended_at", TIME, comment="When its result was written; empty while there is none"),
    Index(None, "study", "ended_at"),
    comment="A production run: what it ran with, why, and how it went",
)

chart = Table(
    "chart",
    metadata,
    Column("sweep_id", Text, ForeignKey(sweep.c.sweep_id, ondelete="CASCADE"), primary_key=True, comment="Its sweep"),
    Column("name", Text, primary_key=True, comment="Name of the plot as the analysis uses it; -dark ends a dark one"),
    Column("svg", Text, nullable=False, comment="The plot, SVG"),
    comment="Plots of the written analysis, for the page: the folder of the analysis may be on another machine",
)

night = Table(
    "night",
    metadata,
    Column("night_id", Text, primary_key=True, comment="The night's sweep; study and time for a missed night"),
    Column("study", Text, nullable=False, comment="Name of the study"),
    Column("due_at", TIME, nullable=False, comment="When the schedule wanted it to start"),
    Column("status", Text, nullable=False, comment="running, quiet, alert, failed or missed"),
    Column("summary", Text, nullable=False, server_default="", comment="What happened, for people"),
    Column("environment", JSONB, comment="Machine and versions that it was measured on"),
    Column("workload", JSONB, comment="The workload's size: rows, bytes, shape"),
    Column("measured", Integer, nullable=False, server_default="0", comment="Trials with a valid measurement"),
    Column("failed", Integer, nullable=False, server_default="0", comment="Trials that failed or were lost"),
    Column("started_at", TIME, comment="When it started; empty for a missed night"),
    Column("ended_at", TIME, comment="When it ended"),
    Index(None, "study", "due_at"),
    comment="A scheduled sweep that watches over production, kept when its trials are removed",
)

night_value = Table(
    "night_value",
    metadata,
    Column("night_id", Text, ForeignKey(night.c.night_id, ondelete="CASCADE"), primary_key=True, comment="Its night"),
    Column("goal", Text, primary_key=True, comment="Name of the goal"),
    Column("configuration_id", Text, primary_key=True, comment="Equal for equal configurations"),
    Column("label", Text, nullable=False, comment="Name of the configuration in this night"),
    Column("role", Text, nullable=False, comment="champion (production ran with it), control or challenger"),
    Column("value", Float, nullable=False, comment="Median of the goal's value"),
    Column("trials", Integer, nullable=False, comment="Trials behind it"),
    comment="One configuration's value for one goal in one night",
)

alert = Table(
    "alert",
    metadata,
    Column("night_id", Text, ForeignKey(night.c.night_id, ondelete="CASCADE"), primary_key=True, comment="Its night"),
    Column("goal", Text, primary_key=True, comment="Name of the goal; empty: the whole study"),
    Column(
        "kind",
        Text,
        primary_key=True,
        comment="promoted, rolled_back, withdrawn, better, worse, change (of level) or machine",
    ),
    Column("study", Text, nullable=False, comment="Name of the study"),
    Column("words", Text, nullable=False, comment="What happened, for people"),
    Column("details", JSONB, nullable=False, server_default="{}", comment="Its values"),
    Column("created_at", TIME, nullable=False, comment="When it was confirmed"),
    Column("notified_at", TIME, comment="When the study's notifier was called; empty: not yet"),
    Index(None, "study", "created_at"),
    comment="What nights confirmed, once each",
)
