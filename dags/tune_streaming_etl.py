"""Airflow DAG: which settings should the streaming ETL run with? The study is include/configs/streaming_etl.yaml."""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("streaming_etl")
