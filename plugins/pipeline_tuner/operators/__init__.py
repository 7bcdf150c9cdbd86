"""Airflow operators: one module a job, and the tasks of a sweep."""
