"""Airflow DAG: the streaming engine without databases. The study is include/configs/streaming_etl_memory.yaml."""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("streaming_etl_memory")
