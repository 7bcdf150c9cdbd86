"""Airflow DAG: the quantizer in production, with the configuration that the sweeps found best for throughput."""

from pipeline_tuner.dag_factory import production_dag

dag = production_dag("quantizer", goal="throughput")
