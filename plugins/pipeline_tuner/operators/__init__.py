"""Airflow's operators: one module per job, the tasks of a sweep, tuned tasks."""
