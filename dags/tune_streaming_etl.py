"""Airflow DAG: which settings should the streaming ETL run with? With databases, then the engine alone in memory."""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("streaming_etl", companions=["streaming_etl_memory"])
