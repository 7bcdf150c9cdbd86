"""Airflow DAG: how should the deduplication run? The study is include/configs/dedup.yaml."""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("dedup")
