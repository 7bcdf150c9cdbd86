"""Airflow DAG: maintenance of the quantizer's rollups, a task a procedure."""

from pipeline_tuner.maintenance_dag import maintenance_dag

TASKS = ("rewrite_data_files", "rewrite_manifests", "expire_snapshots", "remove_orphan_files")

dag = maintenance_dag("quantizer", table="lake.quantizer.rollups", tasks=TASKS, dag_id="maintain_quantizer")
