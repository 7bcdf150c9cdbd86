"""Airflow DAG: the deduplication in production, with the configuration that the sweeps found best for its cost."""

from pipeline_tuner.dag_factory import production_dag

dag = production_dag("dedup", goal="cost")
