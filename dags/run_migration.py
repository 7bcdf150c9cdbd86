"""Airflow DAG: the migration in production, with the configuration that the sweeps found best for throughput.

A migration fills a table once. Each run has a target table of its own here, named by its time: a snapshot a night.
"""

from pipeline_tuner.dag_factory import production_dag

TARGET = "flights_{{ dag_run.run_after.strftime('%Y%m%d_%H%M%S') }}"

dag = production_dag("migration", goal="throughput", workload={"target_table": TARGET})
