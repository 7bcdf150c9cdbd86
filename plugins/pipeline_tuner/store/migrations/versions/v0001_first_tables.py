"""Sweeps, trials, recommendations, promotions and observations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "observation",
        sa.Column(
            "observation_id", sa.Text(), nullable=False, comment="DAG, run, task and map index: equal for every attempt"
        ),
        sa.Column("study", sa.Text(), nullable=False, comment="Name of the study"),
        sa.Column("goal", sa.Text(), nullable=True, comment="Goal that production asked for, if any"),
        sa.Column("source", sa.Text(), nullable=False, comment="given, preset, recommended, promoted or fallback"),
        sa.Column(
            "source_reason", sa.Text(), server_default="", nullable=False, comment="Why this configuration was used"
        ),
        sa.Column("label", sa.Text(), nullable=False, comment="Name of the configuration"),
        sa.Column("configuration_id", sa.Text(), nullable=False, comment="Equal for equal configurations"),
        sa.Column(
            "configuration", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="The whole configuration"
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="measured or failed"),
        sa.Column("failure", sa.Text(), nullable=True, comment="Kind of failure"),
        sa.Column("reason", sa.Text(), server_default="", nullable=False, comment="Why it failed, for people"),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Figures by name; units end the names",
        ),
        sa.Column(
            "measurement",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The whole measurement as the job left it",
        ),
        sa.Column("dag_id", sa.Text(), nullable=False, comment="Airflow's DAG"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Airflow's DAG run"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="When the run started"),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False, comment="When its result was written"),
        sa.PrimaryKeyConstraint("observation_id", name=op.f("observation_pkey")),
        schema="pipeline_tuner",
        comment="A production run: what it ran with, why, and how it went",
    )
    op.create_index(
        op.f("observation_study_ended_at_idx"),
        "observation",
        ["study", "ended_at"],
        unique=False,
        schema="pipeline_tuner",
    )
    op.create_table(
        "sweep",
        sa.Column("sweep_id", sa.Text(), nullable=False, comment="Study, start time and a hash of the DAG run"),
        sa.Column("study", sa.Text(), nullable=False, comment="Name of the study"),
        sa.Column("job", sa.Text(), nullable=False, comment="Name of the job that the study tunes"),
        sa.Column("dag_id", sa.Text(), nullable=False, comment="Airflow's DAG"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Airflow's DAG run"),
        sa.Column(
            "triggered_by", sa.Text(), nullable=True, comment="User who triggered the run; empty for scheduled runs"
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="running, recommended, abstained or failed"),
        sa.Column(
            "reason",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="Why the sweep failed or abstained, for people",
        ),
        sa.Column(
            "options",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The sweep's options: strategy, goals, size, seed, budget",
        ),
        sa.Column(
            "study_definition",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The whole study as it was when the sweep started",
        ),
        sa.Column("planned", sa.Integer(), server_default="0", nullable=False, comment="Trials planned"),
        sa.Column(
            "measured", sa.Integer(), server_default="0", nullable=False, comment="Trials with a valid measurement"
        ),
        sa.Column(
            "failed", sa.Integer(), server_default="0", nullable=False, comment="Trials that failed or were lost"
        ),
        sa.Column(
            "workload",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The workload's figures: rows, bytes, shape",
        ),
        sa.Column("workload_fingerprint", sa.Text(), nullable=True, comment="Equal for sweeps of the same data"),
        sa.Column(
            "environment",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Machine and versions that the trials ran on",
        ),
        sa.Column(
            "environment_fingerprint",
            sa.Text(),
            nullable=True,
            comment="Equal for sweeps of the same machine and versions",
        ),
        sa.Column("analysis", sa.Text(), nullable=True, comment="The written analysis, Markdown"),
        sa.Column(
            "analysis_path",
            sa.Text(),
            nullable=True,
            comment="File of the written analysis on the machine that ran the last task",
        ),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), nullable=False, comment="When the sweep's first task started"
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="When the sweep's last task ended"),
        sa.PrimaryKeyConstraint("sweep_id", name=op.f("sweep_pkey")),
        schema="pipeline_tuner",
        comment="One sweep: one DAG run of a study",
    )
    op.create_index(
        op.f("sweep_dag_id_run_id_idx"), "sweep", ["dag_id", "run_id"], unique=False, schema="pipeline_tuner"
    )
    op.create_index(op.f("sweep_started_at_idx"), "sweep", ["started_at"], unique=False, schema="pipeline_tuner")
    op.create_index(
        op.f("sweep_study_started_at_idx"), "sweep", ["study", "started_at"], unique=False, schema="pipeline_tuner"
    )
    op.create_table(
        "promotion",
        sa.Column("promotion_id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Counts up"),
        sa.Column("study", sa.Text(), nullable=False, comment="Name of the study"),
        sa.Column("goal", sa.Text(), nullable=False, comment="Goal that production asks for"),
        sa.Column("action", sa.Text(), nullable=False, comment="promote, or roll_back to an earlier configuration"),
        sa.Column("label", sa.Text(), nullable=False, comment="Name of the configuration"),
        sa.Column("configuration_id", sa.Text(), nullable=False, comment="Equal for equal configurations"),
        sa.Column(
            "configuration",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What production runs with from now on",
        ),
        sa.Column("sweep_id", sa.Text(), nullable=True, comment="The sweep behind it, if any"),
        sa.Column("actor", sa.Text(), nullable=False, comment="Who did it"),
        sa.Column("note", sa.Text(), server_default="", nullable=False, comment="Why, in the actor's words"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["pipeline_tuner.sweep.sweep_id"], name=op.f("promotion_sweep_id_fkey"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("promotion_id", name=op.f("promotion_pkey")),
        schema="pipeline_tuner",
        comment="Decisions about production, never changed: the newest of a study and goal holds",
    )
    op.create_index(
        op.f("promotion_study_goal_created_at_idx"),
        "promotion",
        ["study", "goal", "created_at"],
        unique=False,
        schema="pipeline_tuner",
    )
    op.create_index(op.f("promotion_sweep_id_idx"), "promotion", ["sweep_id"], unique=False, schema="pipeline_tuner")
    op.create_table(
        "recommendation",
        sa.Column("sweep_id", sa.Text(), nullable=False, comment="Its sweep"),
        sa.Column("goal", sa.Text(), nullable=False, comment="Name of the goal"),
        sa.Column("study", sa.Text(), nullable=False, comment="Name of the study"),
        sa.Column("status", sa.Text(), nullable=False, comment="winner, tied or abstained"),
        sa.Column("label", sa.Text(), nullable=True, comment="Name of the recommended configuration"),
        sa.Column("configuration_id", sa.Text(), nullable=True, comment="Equal for equal configurations"),
        sa.Column(
            "configuration",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The whole recommended configuration",
        ),
        sa.Column("estimate", sa.Float(), nullable=True, comment="The goal's figure, from the confirmation"),
        sa.Column("estimate_low", sa.Float(), nullable=True, comment="Lower bound of its interval"),
        sa.Column("estimate_high", sa.Float(), nullable=True, comment="Upper bound of its interval"),
        sa.Column("unit", sa.Text(), server_default="", nullable=False, comment="Unit of the estimate"),
        sa.Column(
            "gain",
            sa.Float(),
            nullable=True,
            comment="Ratio to the control, above 1 where better, from the confirmation",
        ),
        sa.Column("gain_low", sa.Float(), nullable=True, comment="Lower bound of its interval"),
        sa.Column("gain_high", sa.Float(), nullable=True, comment="Upper bound of its interval"),
        sa.Column(
            "confidence", sa.Float(), nullable=False, comment="1 - probability that the statement is wrong, jointly"
        ),
        sa.Column(
            "ties",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
            comment="Labels that can't be told apart",
        ),
        sa.Column("reason", sa.Text(), server_default="", nullable=False, comment="One sentence for people"),
        sa.Column(
            "document",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The whole recommendation with its evidence",
        ),
        sa.Column("workload_fingerprint", sa.Text(), nullable=True, comment="The data that it is valid for"),
        sa.Column(
            "environment_fingerprint", sa.Text(), nullable=True, comment="The machine and versions that it is valid for"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When it was written"),
        sa.Column(
            "valid_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="After this, production falls back; empty: no end",
        ),
        sa.ForeignKeyConstraint(
            ["sweep_id"],
            ["pipeline_tuner.sweep.sweep_id"],
            name=op.f("recommendation_sweep_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sweep_id", "goal", name=op.f("recommendation_pkey")),
        schema="pipeline_tuner",
        comment="What a sweep recommends for one goal",
    )
    op.create_index(
        op.f("recommendation_study_goal_created_at_idx"),
        "recommendation",
        ["study", "goal", "created_at"],
        unique=False,
        schema="pipeline_tuner",
    )
    op.create_table(
        "trial",
        sa.Column("trial_id", sa.Text(), nullable=False, comment="Equal for every attempt at this trial"),
        sa.Column("sweep_id", sa.Text(), nullable=False, comment="Its sweep"),
        sa.Column("study", sa.Text(), nullable=False, comment="Name of the study"),
        sa.Column("phase", sa.Text(), nullable=False, comment="search or confirm"),
        sa.Column("round", sa.Integer(), nullable=False, comment="Round of planning, from 1"),
        sa.Column("block", sa.Integer(), nullable=False, comment="Group of trials run close together in random order"),
        sa.Column("position", sa.Integer(), nullable=False, comment="Place in the block"),
        sa.Column("label", sa.Text(), nullable=False, comment="Name of the configuration in this sweep"),
        sa.Column("is_control", sa.Boolean(), nullable=False, comment="Whether this is the block's control"),
        sa.Column("configuration_id", sa.Text(), nullable=False, comment="Equal for equal configurations"),
        sa.Column(
            "configuration", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="The whole configuration"
        ),
        sa.Column(
            "fraction", sa.Float(), nullable=False, comment="Part of the workload that the trial runs on, 0 to 1"
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="planned, running, measured or failed"),
        sa.Column(
            "failure",
            sa.Text(),
            nullable=True,
            comment="Kind of failure: out_of_memory, timeout, check_failed, lost, ...",
        ),
        sa.Column("reason", sa.Text(), server_default="", nullable=False, comment="Why it failed, for people"),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Figures by name; units end the names",
        ),
        sa.Column(
            "measurement",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The whole measurement as the job left it",
        ),
        sa.Column("task_id", sa.Text(), nullable=True, comment="Airflow's task that took this trial"),
        sa.Column(
            "map_index", sa.Integer(), nullable=True, comment="Map index of the task instance that took this trial"
        ),
        sa.Column("try_number", sa.Integer(), nullable=True, comment="Airflow's try that gave this result"),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False, comment="When it was planned"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True, comment="When its task started it"),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="When its result was written"),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["pipeline_tuner.sweep.sweep_id"], name=op.f("trial_sweep_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", name=op.f("trial_pkey")),
        schema="pipeline_tuner",
        comment="One configuration measured once: a planned row that its result replaces",
    )
    op.create_index(
        op.f("trial_study_configuration_id_idx"),
        "trial",
        ["study", "configuration_id"],
        unique=False,
        schema="pipeline_tuner",
    )
    op.create_index(
        op.f("trial_study_ended_at_idx"), "trial", ["study", "ended_at"], unique=False, schema="pipeline_tuner"
    )
    op.create_index(
        op.f("trial_sweep_id_phase_round_block_position_idx"),
        "trial",
        ["sweep_id", "phase", "round", "block", "position"],
        unique=False,
        schema="pipeline_tuner",
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("trial_sweep_id_phase_round_block_position_idx"), table_name="trial", schema="pipeline_tuner")
    op.drop_index(op.f("trial_study_ended_at_idx"), table_name="trial", schema="pipeline_tuner")
    op.drop_index(op.f("trial_study_configuration_id_idx"), table_name="trial", schema="pipeline_tuner")
    op.drop_table("trial", schema="pipeline_tuner")
    op.drop_index(
        op.f("recommendation_study_goal_created_at_idx"), table_name="recommendation", schema="pipeline_tuner"
    )
    op.drop_table("recommendation", schema="pipeline_tuner")
    op.drop_index(op.f("promotion_sweep_id_idx"), table_name="promotion", schema="pipeline_tuner")
    op.drop_index(op.f("promotion_study_goal_created_at_idx"), table_name="promotion", schema="pipeline_tuner")
    op.drop_table("promotion", schema="pipeline_tuner")
    op.drop_index(op.f("sweep_study_started_at_idx"), table_name="sweep", schema="pipeline_tuner")
    op.drop_index(op.f("sweep_started_at_idx"), table_name="sweep", schema="pipeline_tuner")
    op.drop_index(op.f("sweep_dag_id_run_id_idx"), table_name="sweep", schema="pipeline_tuner")
    op.drop_table("sweep", schema="pipeline_tuner")
    op.drop_index(op.f("observation_study_ended_at_idx"), table_name="observation", schema="pipeline_tuner")
    op.drop_table("observation", schema="pipeline_tuner")
