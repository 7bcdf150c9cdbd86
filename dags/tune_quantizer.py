"""Airflow DAG: which settings should the quantizer run with? The study is include/configs/quantizer.yaml."""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("quantizer")
