"""Airflow operators: one module per job, and the tasks of a sweep."""
