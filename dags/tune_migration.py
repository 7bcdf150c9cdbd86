"""Airflow DAG: which settings should the migration run with? The study is include/configs/migration.yaml."""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("migration")
