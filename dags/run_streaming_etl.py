"""Airflow DAG: the streaming ETL in production, with the configuration that the sweeps found best for throughput."""

from pipeline_tuner.dag_factory import production_dag

dag = production_dag("streaming_etl", goal="throughput")
