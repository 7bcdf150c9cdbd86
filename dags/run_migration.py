"""Airflow DAG: the migration in production, with the configuration that the sweeps found best for throughput."""

from pipeline_tuner.dag_factory import production_dag

dag = production_dag("migration", goal="throughput")
