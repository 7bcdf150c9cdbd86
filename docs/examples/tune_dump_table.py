"""Airflow DAG: which compression should the nightly dump use?"""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("docs/examples/dump_table.yaml")
